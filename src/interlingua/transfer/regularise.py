"""What keeps a network near the one it was, while it learns a task.

In: a network and the weights to stay near. Out: an objective beside the task (L2-SP; with a weight for every parameter,
EWC), or weights that are mixed with the old ones while training (mixout). A network pulled away from its pretraining by
one language's examples loses what it shares with the others; these are the classical brakes.

- L2-SP (Li et al. 2018, arXiv 1802.01483): strength / 2 x sum (w - w0)^2;
- EWC (Kirkpatrick et al. 2017, arXiv 1612.00796): strength / 2 x sum F (w - w0)^2, F the diagonal of the Fisher
  information, from squared gradients of single examples;
- mixout (Lee et al. 2020, arXiv 1909.11299): every weight of a matrix is, with probability p, the old one, and the
  result is scaled so that its mean is the weight itself.

Decision: penalties are objectives like any other, added to the task's loss. Price: they are shown in nats beside it,
though they are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from interlingua.batch import Batch
from interlingua.objectives.base import Loss, Targets
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.tasks import Encoded, Task

__all__ = ["Anchor", "add_mixout", "fisher", "remove_mixout"]


class Anchor:
    """A quadratic penalty on leaving some weights.

    Args:
        towards: the weights to stay near, by the network's own names; others are free.
        importance: a factor for every weight (EWC's Fisher information), by the same names; 1 if None.
        name: shown in the log.
    """

    layout = Layout("single")
    splittable = False
    networks: Mapping[str, nn.Module] = {}

    def __init__(
        self, towards: Mapping[str, Tensor], importance: Mapping[str, Tensor] | None = None, *, name: str = "l2_sp"
    ) -> None:
        self.towards = towards
        self.importance = importance
        self.name = name

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """Nothing is predicted."""
        return Targets(1)

    def rows(self, targets: Targets, batch: Batch, start: int, stop: int) -> Targets:
        """The penalty is of the network, whatever the rows."""
        return targets

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Half the weighted sum of squared distances."""
        total = torch.zeros((), device=model.device)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and name in self.towards:
                squared = (parameter - self.towards[name]).square()
                total = total + 0.5 * (squared if self.importance is None else squared * self.importance[name]).sum()
        return Loss(total, 1, total.detach()[None], torch.zeros(1, dtype=torch.long, device=total.device))


def fisher(
    model: PreTrainedModel, task: Task, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase
) -> dict[str, Tensor]:
    """The diagonal of the empirical Fisher information: the mean over examples of squared gradients of their losses.

    Args:
        model: a network that was taught the task.
        task: gives the losses.
        examples: some of its training examples.
        tokenizer: lays them out.

    Returns:
        For every trained parameter a tensor of its shape, by name.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    sums = {name: torch.zeros_like(parameter) for name, parameter in named}
    model.eval()
    for example in examples:
        batch = task.batch([example], tokenizer).to(model.device)
        targets = task.prepare(batch, np.random.default_rng(0))
        loss = task.loss(model, batch, targets)
        gradients = torch.autograd.grad(loss.total, [p for _, p in named], allow_unused=True)
        for (name, _), gradient in zip(named, gradients, strict=True):
            if gradient is not None:
                sums[name] += gradient.detach().square()
    return {name: total / max(1, len(examples)) for name, total in sums.items()}


class _Mixed(nn.Module):
    """A weight that is partly another while training."""

    old: Tensor

    def __init__(self, old: Tensor, rate: float) -> None:
        super().__init__()
        self.register_buffer("old", old, persistent=False)
        self.rate = rate

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return weight
        mixed = torch.where(torch.rand_like(weight) < self.rate, self.old, weight)
        return (mixed - self.rate * self.old) / (1 - self.rate)


def add_mixout(model: PreTrainedModel, towards: Mapping[str, Tensor], rate: float) -> None:
    """Mix the matrices of a network with old ones while it trains, in place.

    Args:
        model: the network.
        towards: old weights by the network's names.
        rate: probability that a weight is the old one.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and module.weight.requires_grad and f"{name}.weight" in towards:
            parametrize.register_parametrization(module, "weight", _Mixed(towards[f"{name}.weight"], rate))


def remove_mixout(model: PreTrainedModel) -> None:
    """Leave the learnt weights alone, under their own names, in place."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrizations: Any = module.parametrizations
            weight = parametrizations.weight.original
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
            assert isinstance(module, nn.Linear)
            assert module.weight is weight
            if module.bias is not None:  # behind the weight again, where optimisers and copies expect it
                module._parameters["bias"] = module._parameters.pop("bias")
