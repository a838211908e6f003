"""Several streams of labelled examples learnt in one run.

In: heads on one body, and a stream of batches for each thing to learn. Out: the body and heads, changed in place.
Decisions: a step is about one stream (as in MT-DNN, Liu et al. 2019, arXiv 1901.11504); within an epoch every stream
has a fixed number of steps and chance decides their order alone, so that one stream by itself is single-task tuning
bit for bit; what is added to every loss (a penalty, a distillation) sees the step's own batch. Price: all heads take
batches of one size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from interlingua.batch import Batch
from interlingua.objectives.base import Loss, Objective, Part, Targets
from interlingua.recipe_transfer import TuneRecipe
from interlingua.run import Run
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Layout
from interlingua.tasks.base import TaskStream
from interlingua.train.loop import Progress
from interlingua.transfer.heads import parameter_groups
from interlingua.transfer.methods import rate_of
from interlingua.transfer.shared import Headed
from interlingua.transfer.tune import Best, train_epochs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from interlingua.tasks import Encoded

__all__ = ["OnHead", "Schedule", "Uncertain", "apportioned", "learn"]


class OnHead:
    """A task's objective, computed by its own network whatever network the loop is about.

    Args:
        headed: task and network.
        name: shown in the log; the task's by default.
    """

    def __init__(self, headed: Headed, *, name: str | None = None) -> None:
        self.task = headed.task
        self.model = headed.model
        self.name = name or headed.task.name
        self.layout = headed.task.layout
        self.splittable = headed.task.splittable
        self.networks: Mapping[str, nn.Module] = {headed.task.name: headed.model}

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """The task's targets."""
        return self.task.prepare(batch, generator, progress)

    def rows(self, targets: Any, batch: Batch, start: int, stop: int) -> Targets:
        """Targets of some rows."""
        return self.task.rows(targets, batch, start, stop)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Any) -> Loss:
        """The task's loss on its own network."""
        return self.task.loss(self.model, batch, targets)


class _LogVariance(nn.Module):
    """One number that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(1))


class Uncertain:
    """Uncertainty weighting (Kendall et al. 2018, arXiv 1705.07115): exp(-s) loss + s / 2, with s learnt.

    Args:
        inner: the objective whose loss is weighted; several may share a weight.
        weight: holds s, the logarithm of the task's variance.
    """

    def __init__(self, inner: OnHead, weight: _LogVariance | None = None) -> None:
        self.inner = inner
        self.weight = weight or _LogVariance()
        self.name, self.layout, self.splittable = inner.name, inner.layout, inner.splittable
        self.networks: Mapping[str, nn.Module] = {
            **inner.networks, f"{inner.task.name}-uncertainty": self.weight,
        }  # fmt: skip

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """The task's targets."""
        return self.inner.prepare(batch, generator, progress)

    def rows(self, targets: Any, batch: Batch, start: int, stop: int) -> Targets:
        """Targets of some rows."""
        return self.inner.rows(targets, batch, start, stop)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Any) -> Loss:
        """The weighted loss; the summands by language stay those of the task."""
        loss, s = self.inner.loss(model, batch, targets), self.weight.log_variance[0]
        return replace(loss, total=torch.exp(-s) * loss.total + 0.5 * s * loss.count)


def apportioned(steps: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers of steps by shares, at least one each (the largest remainders are rounded up)."""
    wanted = np.array(shares, dtype=float) / sum(shares) * steps
    counts = np.maximum(1, np.floor(wanted)).astype(int)
    for i in np.argsort(counts - wanted, kind="stable"):
        if counts.sum() >= steps:
            break
        counts[i] += 1
    return [int(count) for count in counts]


class Schedule:
    """What step t is about, and its batch: both pure functions of seed and t.

    Args:
        streams: batches of each thing to learn.
        objectives: one a stream.
        counts: steps an epoch, one number a stream.
        epochs: how often these come.
        seed: of their order.
        model: the network that the loop is about; those of other heads are named beside it.
        added: objectives that are added to every step, with their weights; those of weight 0 are left out.
    """

    def __init__(
        self,
        streams: Sequence[TaskStream],
        objectives: Sequence[Objective],
        counts: Sequence[int],
        *,
        epochs: int,
        seed: int,
        model: PreTrainedModel,
        added: Sequence[tuple[Objective, float]] = (),
    ) -> None:
        self._streams = streams
        self._model = model
        self._main = objectives
        self._added = [
            Part(len(objectives) + i, objective, weight) for i, (objective, weight) in enumerate(added) if weight
        ]
        self.objectives = (*objectives, *(part.objective for part in self._added))
        self.steps_an_epoch = sum(counts)
        plain = np.repeat(np.arange(len(streams)), counts)
        self._which = np.concatenate([keyed_generator(seed, epoch, 8).permutation(plain) for epoch in range(epochs)])
        self._ordinal = np.empty_like(self._which)
        for i in range(len(streams)):
            own = self._which == i
            self._ordinal[own] = np.arange(own.sum())

    @property
    def networks(self) -> dict[str, nn.Module]:
        """What learns beside the model, by name."""
        found = {name: network for objective in self.objectives for name, network in objective.networks.items()}
        return {name: network for name, network in found.items() if network is not self._model}

    def parts(self, t: int) -> tuple[Part, ...]:
        """One stream's objective, and what is added."""
        which = int(self._which[t])
        return (Part(which, self._main[which], 1.0), *self._added)

    def batch(self, t: int, layout: Layout | None = None) -> Batch:
        """The next batch of step t's stream."""
        return self._streams[int(self._which[t])].batch(int(self._ordinal[t]))


def learn(
    heads: Sequence[Headed],
    schedule: Schedule,
    recipe: TuneRecipe,
    *,
    seed: int,
    dev: Sequence[tuple[Headed, Sequence[Encoded]]] = (),
    on_step: Callable[[Progress], None] | None = None,
    run: Run | None = None,
) -> Best:
    """Tune heads and their body, in place.

    Args:
        heads: all that the schedule is about.
        schedule: steps and batches.
        recipe: rates, epochs, and whether an epoch is selected.
        seed: of dropout.
        dev: development examples by head; the mean of their main metrics selects the epoch.
        on_step: called after every step.
        run: where a long training saves what it needs to be taken up again.

    Returns:
        The epoch that was kept; number 0 if nothing was selected.
    """
    models = [headed.model for headed in heads]
    groups, learns = _groups(models, schedule, recipe)
    return train_epochs(
        models,
        heads[0].tokenizer,
        schedule,
        schedule,
        recipe,
        groups=groups,
        learns=learns,
        steps_an_epoch=schedule.steps_an_epoch,
        judge=lambda: float(np.mean([_score(headed, examples) for headed, examples in dev])),
        seed=seed,
        on_step=on_step,
        run=run,
    )


def _score(headed: Headed, examples: Sequence[Encoded]) -> float:
    task = headed.task
    return task.score(task.predict(headed.model, examples, headed.tokenizer), examples)[task.metric]


def _groups(
    models: Sequence[PreTrainedModel], schedule: Schedule, recipe: TuneRecipe
) -> tuple[list[tuple[list[tuple[str, nn.Parameter]], float]], dict[str, nn.Parameter]]:
    """Parameters with their rates, every shared one once; and all that learn, by a name."""
    lr = rate_of(recipe)
    groups = []
    named: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for number, model in enumerate(models):
        for parameters, rate in parameter_groups(model, recipe, lr):
            new = [(name, p) for name, p in parameters if id(p) not in seen and p.requires_grad]
            seen.update(id(p) for _, p in new)
            named |= {f"{number}-{name}": p for name, p in new}
            groups.append((new, rate))
    for name, network in schedule.networks.items():
        new = [(n, p) for n, p in network.named_parameters() if id(p) not in seen and p.requires_grad]
        seen.update(id(p) for _, p in new)
        named |= {f"{name}-{n}": p for n, p in new}
        groups.append((new, recipe.head_lr or lr))
    return groups, named
