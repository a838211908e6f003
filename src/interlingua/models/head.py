"""Logits only where they are asked for.

In: a model with a head and the hidden states it ran to on packed rows. Out: logits of the positions or segments asked
for. A vocabulary of 120k-250k makes the dense head the dearest part of a small model; at
15 % masking this is a seventh of it. Equal to the dense path: the head acts on each position alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from interlingua.batch import Batch
from interlingua.models.attention import architecture, pool_segments

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["masked_logits", "pooled_states", "sequence_logits", "token_logits"]


def masked_logits(model: PreTrainedModel, states_BLD: Tensor, chosen_BL: Tensor) -> Tensor:
    """Vocabulary logits at chosen positions.

    Args:
        model: a masked language model (``AutoModelForMaskedLM``).
        states_BLD: its last hidden states.
        chosen_BL: bool, True where logits are wanted.

    Returns:
        [N, V] in row-major order of the chosen positions.
    """
    logits: Tensor = architecture(model).masked_logits(model, states_BLD[chosen_BL])
    return logits


def pooled_states(model: PreTrainedModel, states_BLD: Tensor, batch: Batch) -> Tensor:
    """What a sequence classifier of this class looks at: [S, D]."""
    how = getattr(model.config, "classifier_pooling", "cls") if architecture(model).family == "modernbert" else "cls"
    return pool_segments(states_BLD, batch, how="mean" if how == "mean" else "first")


def sequence_logits(model: PreTrainedModel, pooled_SD: Tensor) -> Tensor:
    """Class logits [S, C] of a sequence classifier from pooled states."""
    return architecture(model).sequence_logits(model, pooled_SD)


def token_logits(model: PreTrainedModel, states_ND: Tensor) -> Tensor:
    """Tag logits [N, C] of a token classifier from states of the tokens asked for."""
    return architecture(model).token_logits(model, states_ND)
