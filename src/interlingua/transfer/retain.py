"""What a network keeps of earlier steps while it learns a new one.

In: examples of earlier steps, or the network as it was. Out: a buffer to replay from, and an objective beside the task.

- replay: a sample of every earlier language, drawn by reservoir sampling (Vitter 1985, algorithm R), the same number
  of each;
- LwF: a distillation from the network that the step began with (Li and Hoiem 2016, arXiv 1606.09282), by the heads that
  were taught before, at a temperature (2 there), on the new step's inputs.

(L2-SP and EWC are :class:`~interlingua.transfer.regularise.Anchor`.) Decisions: a buffer is a pure function of seed and
of the examples in the order of their files, so neither batches nor a restart change it; the old network's outputs are
computed as they are needed. Price: LwF runs the network's forward pass twice.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from interlingua.batch import Batch
from interlingua.errors import RecipeError
from interlingua.models.attention import encode_at
from interlingua.models.head import pooled_states, sequence_logits, token_logits
from interlingua.objectives.base import IGNORED, Loss, Targets, at_least_float32
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Layout
from interlingua.tasks import Classify, Tag
from interlingua.transfer.shared import Headed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Buffer", "Distillation", "Reservoir", "frozen_copy"]

T = TypeVar("T")


class Reservoir(Generic[T]):
    """A uniform sample of a stream whose length is not known.

    Args:
        size: how many items are kept.
        key: of the random numbers.
    """

    def __init__(self, size: int, *key: int) -> None:
        self.items: list[T] = []
        self.seen = 0
        self._size = size
        self._chance = keyed_generator(*key)

    def add(self, item: T) -> None:
        """Show the next item: it is kept with probability size / seen, in the place of any other."""
        self.seen += 1
        if len(self.items) < self._size:
            self.items.append(item)
        elif (place := int(self._chance.integers(self.seen))) < self._size:
            self.items[place] = item

    def shrink(self, size: int) -> None:
        """Keep fewer: a uniform sample of those that are kept, in their order."""
        self._size = min(size, self._size)
        if len(self.items) > size:
            kept = np.sort(self._chance.choice(len(self.items), size=size, replace=False))
            self.items = [self.items[i] for i in kept]


class Buffer(Generic[T]):
    """Items of several groups (a language of a task), as many of each.

    Args:
        size: items of all groups together.
        seed: of the sampling.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._seed = seed
        self._groups: dict[Hashable, Reservoir[T]] = {}

    def add(self, groups: Mapping[Any, list[T]]) -> None:
        """Show what a step was taught, by group; quotas of earlier groups shrink, and a group may come again."""
        for group in groups:
            if group not in self._groups:
                self._groups[group] = Reservoir(self.size, self._seed, len(self._groups), 9)
        each, more = divmod(self.size, max(1, len(self._groups)))
        for number, (group, reservoir) in enumerate(self._groups.items()):
            reservoir.shrink(each + (number < more))
            for item in groups.get(group, ()):
                reservoir.add(item)

    @property
    def items(self) -> dict[Any, list[T]]:
        """What is kept, by group."""
        return {group: list(reservoir.items) for group, reservoir in self._groups.items()}


def frozen_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A network as it is now; parameters that do not learn are shared with it."""
    shared = {id(p): p for p in model.parameters() if not p.requires_grad}
    return copy.deepcopy(model, shared).requires_grad_(False).eval()


class Distillation:
    """The outputs of a head as they were: temperature^2 x KL(before || now), summed over predictions.

    Args:
        headed: a task that was taught before, with its network.
        teacher: the same network as it was.
        temperature: both logits are divided by it.

    Raises:
        RecipeError: a task of another type than classify or tag.
    """

    layout = Layout("single")
    splittable = True

    def __init__(self, headed: Headed, teacher: PreTrainedModel, *, temperature: float = 2.0) -> None:
        if not isinstance(headed.task, Classify | Tag):
            raise RecipeError(
                f"learning without forgetting for a task of type {headed.task.kind!r}",
                expected="classify or tag",
                where="retain.lwf",
                next_step="use retain.replay, retain.ewc or retain.l2_sp",
            )
        self.task = headed.task
        self.model = headed.model
        self.teacher = teacher
        self.temperature = temperature
        self.name = f"lwf-{headed.task.name}"
        self.networks: Mapping[str, nn.Module] = {headed.task.name: headed.model}

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """One prediction a segment, or a token."""
        return Targets(batch.segments if isinstance(self.task, Classify) else int(_tokens(batch).sum()))

    def rows(self, targets: Targets, batch: Batch, start: int, stop: int) -> Targets:
        """Targets of some rows."""
        return self.prepare(batch.select_rows(start, stop), np.random.default_rng(0))

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """The summed divergence."""
        with torch.no_grad():
            before_NC = (self._logits(self.teacher, batch) / self.temperature).log_softmax(-1)
        now_NC = (self._logits(self.model, batch) / self.temperature).log_softmax(-1)
        each_N = self.temperature**2 * (before_NC.exp() * (before_NC - now_NC)).sum(-1)
        languages_N = torch.zeros(len(each_N), dtype=torch.long, device=each_N.device)
        return Loss(each_N.sum(), targets.count, each_N.detach(), languages_N)

    def _logits(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        if isinstance(self.task, Classify):
            return at_least_float32(sequence_logits(model, pooled_states(model, batch)))
        return at_least_float32(token_logits(model, encode_at(model, batch, _tokens(batch))))


def _tokens(batch: Batch) -> Tensor:
    """Where a tagger speaks: at first tokens of words where the batch says which those are, and else everywhere."""
    labels = batch.labels
    tagged = labels is not None and labels.shape == batch.tokens_BL.shape
    return labels != IGNORED if tagged and labels is not None else batch.segments_BL > 0
