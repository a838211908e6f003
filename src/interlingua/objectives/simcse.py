"""Dropout pairs: a text's two vectors under two dropout masks must be nearer than any other text's.

In: single texts. Out: the InfoNCE loss between the two runs, both ways (Gao et al. 2021, SimCSE, arXiv 2104.08821,
eq. 4, which uses one direction and temperature 0.05). It learns from text alone what translation ranking learns from
pairs, for languages that have none. Needs dropout in the network: without it the two vectors are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from interlingua.batch import Batch
from interlingua.objectives.base import Loss, Targets, at_least_float32
from interlingua.objectives.contrast import ranking_losses
from interlingua.objectives.ranks import segment_vectors
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["DropoutPairs"]


class DropoutPairs:
    """Rank a text's other dropout view first.

    Args:
        temperature: similarities are divided by it.
        pooling: ``"mean"`` or ``"first"``.
    """

    name = "simcse"
    layout = Layout("single")
    splittable = False
    networks: Mapping[str, nn.Module] = {}

    def __init__(self, *, temperature: float = 0.05, pooling: str = "mean") -> None:
        self.temperature = temperature
        self.pooling = pooling

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """Nothing is hidden; two predictions a text."""
        return Targets(2 * batch.segments)

    def rows(self, targets: Targets, batch: Batch, start: int, stop: int) -> Targets:
        """The whole only: its negatives are the batch."""
        return targets

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Summed ranking loss, both directions; in evaluation mode both views are the same vector."""
        views = [segment_vectors(model, batch, pooling=self.pooling) for _ in range(2)]
        one_S = torch.arange(batch.segments, device=views[0].device)
        links_P2 = torch.stack([one_S, one_S + batch.segments], dim=1)
        each = ranking_losses(
            at_least_float32(torch.cat(views)),
            links_P2,
            temperature=self.temperature,
            margin=0.0,
            negatives="other",
        )
        languages_S = torch.zeros(batch.segments + 1, dtype=torch.long, device=each.device)
        languages_S[batch.segments_BL.reshape(-1)] = batch.languages_BL.reshape(-1)
        return Loss(each.sum(), len(each), each.detach(), languages_S[1:].repeat(2))
