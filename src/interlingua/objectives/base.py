"""What everything that learns looks like to the loop.

An :class:`Objective` turns a batch into targets (on the CPU, with a keyed generator, so the same on any machine) and
a model, a batch and targets into a loss. Losses are *sums with a count*: the loop divides by the count of the whole
global batch, so neither the number of ranks nor the number of accumulation steps changes the gradient.
"""
# ruff: noqa: N815  fields are tensors and carry shape suffixes

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from interlingua.batch import Batch
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Loss", "Objective", "Part", "Targets", "at_least_float32"]


@dataclass(frozen=True)
class Targets:
    """What is to be predicted.

    Attributes:
        tokens_BL: ids the model is shown, int64.
        labels_BL: ids to predict, -100 where nothing is; None if the target is not a token.
        count: number of predictions in the batch (what a summed loss is divided by).
    """

    tokens_BL: Tensor
    labels_BL: Tensor | None
    count: int

    def to(self, device: object) -> Targets:
        """The same on another device."""
        labels = None if self.labels_BL is None else self.labels_BL.to(device)  # type: ignore[call-overload]
        return replace(self, tokens_BL=self.tokens_BL.to(device), labels_BL=labels)  # type: ignore[call-overload]


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
    """One thing to learn."""

    name: str
    layout: Layout
    splittable: bool
    """Whether rows can be computed apart and their losses added; False for in-batch negatives."""

    def prepare(self, batch: Batch, generator: np.random.Generator) -> Targets:
        """Make the targets of a whole global batch."""
        ...

    def rows(self, targets: Targets, batch: Batch, start: int, stop: int) -> Targets:
        """The targets of rows ``start:stop``."""
        ...

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """The summed loss of a batch or of some of its rows."""
        ...


@dataclass(frozen=True)
class Part:
    """One objective's share in one step: its number (for the random key), itself, and its weight."""

    index: int
    objective: Objective
    weight: float
