"""Causal language modelling: predict every token from those before it.

In: single texts, or rows cut from running text. Out: summed cross-entropy of each token's successor (Radford et al.
2019; across languages: Conneau and Lample 2019, arXiv 1901.07291, section 3.2). With ``context`` the first tokens of
a row are read without being predicted and without a gradient, their keys and values kept for the rest of the row, as
in Transformer-XL's recurrence (Dai et al. 2019, arXiv 1901.02860, eq. in section 3.2); XLM left it out "for
simplicity". Since the context stands in the row itself, batch t stays a pure function of (seed, t).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from interlingua.batch import Batch
from interlingua.errors import RecipeError
from interlingua.models.attention import encode, model_inputs
from interlingua.models.head import masked_losses
from interlingua.objectives.base import IGNORED, Loss, TokenTargets
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["CausalLM"]


class CausalLM:
    """Predict the next token.

    Args:
        context: tokens at the head of every row of running text that are read only; 0: texts by themselves.
        running: rows are cut from running text instead of holding single texts; ``context`` implies it.
    """

    name = "clm"
    splittable = True
    networks: Mapping[str, nn.Module] = {}

    def __init__(self, *, context: int = 0, running: bool = False) -> None:
        self.context = context
        self.layout = Layout("running" if running or context else "single")

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> TokenTargets:
        """Each token's label is its successor in the same text."""
        if self.context >= batch.tokens_BL.shape[1]:
            raise RecipeError(
                f"context = {self.context} in rows of {batch.tokens_BL.shape[1]} tokens",
                expected="a context shorter than train.row_length",
                where="objectives",
            )
        labels_BL = torch.full_like(batch.tokens_BL, IGNORED)
        goes_on_BL = (batch.segments_BL[:, 1:] == batch.segments_BL[:, :-1]) & (batch.segments_BL[:, 1:] > 0)
        labels_BL[:, :-1] = torch.where(goes_on_BL, batch.tokens_BL[:, 1:], IGNORED)
        if self.context:
            labels_BL[:, : self.context] = IGNORED
        return TokenTargets(int((labels_BL != IGNORED).sum()), batch.tokens_BL, labels_BL)

    def rows(self, targets: TokenTargets, batch: Batch, start: int, stop: int) -> TokenTargets:
        """Targets of some rows."""
        return targets.rows(start, stop)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: TokenTargets) -> Loss:
        """Summed cross-entropy over the tokens that have a successor."""
        chosen_BL = targets.labels_BL != IGNORED
        states_BLD = self._continued(model, batch) if self.context else encode(model, batch)
        languages_N = batch.languages_BL[chosen_BL]
        total, each_N = masked_losses(model, states_BLD[chosen_BL], targets.labels_BL[chosen_BL], languages_N)
        return Loss(total, targets.count, each_N, languages_N)

    def _continued(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """States of whole rows, those of the context without a gradient; a row is one text here."""
        network: Any = model.base_model
        types_BL = model_inputs(model, batch).get("token_type_ids")

        def run(start: int, stop: int | None, **past: Any) -> Any:
            types = {} if types_BL is None else {"token_type_ids": types_BL[:, start:stop]}
            return network(batch.tokens_BL[:, start:stop], use_cache=True, **types, **past)

        with torch.no_grad():
            read = run(0, self.context)
        if getattr(read, "past_key_values", None) is None:
            raise RecipeError(
                f"context = {self.context} with a {type(model).__name__}",
                expected="a class that keeps keys and values (gpt2, bert)",
                where="objectives",
                next_step="set the objective's context to 0",
            )
        rest = run(self.context, None, past_key_values=read.past_key_values)
        return torch.cat([read.last_hidden_state, rest.last_hidden_state], dim=1)
