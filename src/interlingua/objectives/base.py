"""What everything that learns looks like to the loop.

An :class:`Objective` turns a batch into targets (on the CPU, with a keyed generator, so the same on any machine) and
a model, a batch and targets into a loss. Losses are *sums with a count*: the loop divides by the count of the whole
global batch, so neither the number of ranks nor the number of accumulation steps changes the gradient.
"""
# ruff: noqa: N815  fields are tensors and carry shape suffixes

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from interlingua.batch import Batch
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["IGNORED", "Loss", "Objective", "Part", "Targets", "TokenTargets", "at_least_float32"]

#: Label of a token of which nothing is predicted, as in ``torch`` and ``transformers``.
IGNORED = -100


@dataclass(frozen=True)
class Targets:
    """What is to be predicted. Objectives with more to remember derive from it.

    Attributes:
        count: number of predictions in the batch (what a summed loss is divided by).
    """

    count: int

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class TokenTargets(Targets):
    """Predictions of one label a token.

    Attributes:
        tokens_BL: ids the model is shown, int64.
        labels_BL: labels to predict, -100 where nothing is, int64.
    """

    tokens_BL: Tensor
    labels_BL: Tensor

    def rows(self, start: int, stop: int) -> TokenTargets:
        """The targets of rows ``start:stop``."""
        labels = self.labels_BL[start:stop]
        return TokenTargets(int((labels != IGNORED).sum()), self.tokens_BL[start:stop], labels)


@dataclass(frozen=True)
class Loss:
    """A summed loss.

    Attributes:
        total: scalar with a gradient, the sum over ``count`` predictions.
        count: predictions summed.
        each_N: the summands, without a gradient, [N].
        languages_N: language index of each summand, [N].
    """

    total: Tensor
    count: int
    each_N: Tensor
    languages_N: Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half-precision values as float32, others as they are: losses are never summed in half precision."""
    return values.float() if values.dtype.itemsize < 4 else values


@runtime_checkable
class Objective(Protocol):
    """One thing to learn.

    An objective makes its own kind of targets and gets them back, so their type is its own affair.
    """

    name: str
    layout: Layout
    splittable: bool
    """Whether rows can be computed apart and their losses added; False for in-batch negatives."""
    networks: Mapping[str, nn.Module]
    """What learns beside the model, by name (a generator, a head): optimised, saved and resumed with it."""

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """Make the targets of a whole global batch.

        Args:
            batch: on the CPU.
            generator: the only source of chance.
            progress: share of the run's steps that are done, for what changes on the way; 1 for held-out losses.
        """
        ...

    def rows(self, targets: Any, batch: Batch, start: int, stop: int) -> Targets:
        """The targets of rows ``start:stop``."""
        ...

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Any) -> Loss:
        """The summed loss of a batch or of some of its rows."""
        ...


@dataclass(frozen=True)
class Part:
    """One objective's share in one step: its number (for the random key), itself, and its weight."""

    index: int
    objective: Objective
    weight: float
