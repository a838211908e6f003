"""Masked language modelling (Devlin et al. 2019), and over joined pairs translation LM (Conneau and Lample 2019).

The two share everything but the layout of the batch: TLM sees a sentence and its translation as one segment, masks
both sides, restarts positions at the second side and marks languages where the model has language embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from interlingua.batch import Batch
from interlingua.models.attention import encode_at
from interlingua.models.head import masked_losses
from interlingua.objectives.base import IGNORED, Loss, TokenTargets
from interlingua.objectives.masking import Masking
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["MaskedLM", "TranslationLM"]


class MaskedLM:
    """Predict hidden tokens of single texts.

    Args:
        masking: which tokens are hidden.
    """

    name = "mlm"
    layout = Layout("single")
    splittable = True
    networks: Mapping[str, nn.Module] = {}

    def __init__(self, masking: Masking) -> None:
        self.masking = masking

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> TokenTargets:
        """Corrupt the batch."""
        return self.masking.apply(batch, generator, progress)

    def rows(self, targets: TokenTargets, batch: Batch, start: int, stop: int) -> TokenTargets:
        """Targets of some rows."""
        return targets.rows(start, stop)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: TokenTargets) -> Loss:
        """Summed cross-entropy over the hidden tokens, logits computed only there."""
        chosen_BL = targets.labels_BL != IGNORED
        states_ND = encode_at(model, replace(batch, tokens_BL=targets.tokens_BL), chosen_BL)
        languages_N = batch.languages_BL[chosen_BL]
        total, each_N = masked_losses(model, states_ND, targets.labels_BL[chosen_BL], languages_N)
        return Loss(total, each_N.shape[0], each_N, languages_N)


class TranslationLM(MaskedLM):
    """Predict hidden tokens of a sentence and its translation from both.

    Args:
        masking: which tokens are hidden.
        restart_positions: positions of the second side start at 0 again (as in XLM).
    """

    name = "tlm"

    def __init__(self, masking: Masking, *, restart_positions: bool = True) -> None:
        super().__init__(masking)
        self.layout = Layout("joined", restart_positions=restart_positions)
