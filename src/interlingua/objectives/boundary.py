"""Masked LM plus the span-boundary objective: a hidden token from the two tokens beside its span.

In: single texts and a masking policy whose units are runs of tokens. Out: for each hidden token x_i of a span s .. e

    L(x_i) = L_MLM(x_i) + L_SBO(x_i),   y_i = f(x_{s-1}, x_{e+1}, p_{i-s+1})        (Joshi et al. 2020, section 3.2)
    h_1 = LayerNorm(GeLU(W_1 [x_{s-1}; x_{e+1}; p])),   y_i = LayerNorm(GeLU(W_2 h_1))

with the network's own output embeddings as the decoder of y_i. Decision: the head is the objective's own network and
thrown away with it; the losses reported are the masked LM's, comparable with those of other objectives. Price: tokens
further than the position table from the beginning of their span have the masked LM's loss alone; at the edge of a text
without specials the span's own first or last token stands for the missing neighbour.

Source: SpanBERT, Joshi et al. 2020 (arXiv 1907.10529) eq. 1 and 2.
"""
# ruff: noqa: N815  fields are tensors and carry shape suffixes

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from interlingua.batch import Batch
from interlingua.models.attention import encode_at
from interlingua.models.head import linear_cross_entropy, masked_losses, output_layer
from interlingua.objectives.base import IGNORED, Loss, TokenTargets
from interlingua.objectives.masking import Masking
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["BoundaryHead", "BoundaryTargets", "SpanBoundary"]


@dataclass(frozen=True)
class BoundaryTargets(TokenTargets):
    """Targets with the bounds of their spans.

    Attributes:
        left_BL: for hidden tokens, the column of the token before their span; else 0.
        right_BL: for hidden tokens, the column of the token behind it; else 0.
        place_BL: for hidden tokens, their place in the span, from 0; else 0.
    """

    left_BL: Tensor
    right_BL: Tensor
    place_BL: Tensor


class BoundaryHead(nn.Module):
    """f of the objective.

    Args:
        width: D, of the hidden states.
        out: E, of the output embeddings.
        positions: tokens of a span that have a position embedding.
        position_width: width of these, 200 in SpanBERT.
    """

    def __init__(self, width: int, out: int, *, positions: int = 20, position_width: int = 200) -> None:
        super().__init__()
        self.positions = nn.Embedding(positions, position_width)
        self.first = nn.Linear(2 * width + position_width, width)
        self.first_norm = nn.LayerNorm(width)
        self.second = nn.Linear(width, out)
        self.second_norm = nn.LayerNorm(out)

    def forward(self, left_ND: Tensor, right_ND: Tensor, place_N: Tensor) -> Tensor:
        """The vectors y, [N, E]."""
        inputs = torch.cat([left_ND, right_ND, self.positions(place_N).to(left_ND.dtype)], dim=1)
        hidden_ND = self.first_norm(nn.functional.gelu(self.first(inputs)))
        found: Tensor = self.second_norm(nn.functional.gelu(self.second(hidden_ND)))
        return found

    @classmethod
    def for_model(cls, model: PreTrainedModel, *, positions: int = 20, seed: int = 0) -> BoundaryHead:
        """A head that fits a masked language model, initialised as its linear layers are."""
        weight_VE, _ = output_layer(model)
        config = model.config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = cls(config.hidden_size, weight_VE.shape[1], positions=positions)
            for module in (head.positions, head.first, head.second):
                nn.init.normal_(module.weight, std=getattr(config, "initializer_range", 0.02))
        for linear in (head.first, head.second):
            nn.init.zeros_(linear.bias)
        return head.to(device=weight_VE.device, dtype=weight_VE.dtype)


class SpanBoundary:
    """Predict hidden tokens from their context, and from the bounds of their span.

    Args:
        masking: which tokens are hidden; what it hides together is a span.
        head: f; learns with the network.
    """

    name = "sbo"
    layout = Layout("single")
    splittable = True

    def __init__(self, masking: Masking, head: BoundaryHead) -> None:
        self.masking = masking
        self.head = head
        self.networks: Mapping[str, nn.Module] = {"span-boundary": head}

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> BoundaryTargets:
        """Corrupt the batch and note the bounds of what is hidden."""
        units_BL = self.masking.units(batch, generator, progress)
        hidden = self.masking.corrupt(batch, units_BL, generator)
        bounds = (torch.from_numpy(each_BL) for each_BL in _bounds(units_BL, batch.segments_BL.numpy()))
        return BoundaryTargets(hidden.count, hidden.tokens_BL, hidden.labels_BL, *bounds)

    def rows(self, targets: BoundaryTargets, batch: Batch, start: int, stop: int) -> BoundaryTargets:
        """Targets of some rows."""
        part = targets.rows(start, stop)
        bounds = (each_BL[start:stop] for each_BL in (targets.left_BL, targets.right_BL, targets.place_BL))
        return BoundaryTargets(part.count, part.tokens_BL, part.labels_BL, *bounds)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: BoundaryTargets) -> Loss:
        """Both losses, summed over the hidden tokens, logits computed only there."""
        chosen_BL = targets.labels_BL != IGNORED
        row_N, _ = chosen_BL.nonzero(as_tuple=True)
        left_N, right_N, place_N = (
            each_BL[chosen_BL] for each_BL in (targets.left_BL, targets.right_BL, targets.place_BL)
        )
        wanted_BL = chosen_BL.clone()
        wanted_BL[row_N, left_N] = True
        wanted_BL[row_N, right_N] = True
        states_XD = encode_at(model, replace(batch, tokens_BL=targets.tokens_BL), wanted_BL)
        at_BL = wanted_BL.flatten().cumsum(0).view_as(targets.labels_BL) - 1  # row of a token's state
        labels_N = targets.labels_BL[chosen_BL]
        total, each_N = masked_losses(model, states_XD[at_BL[chosen_BL]], labels_N, batch.languages_BL[chosen_BL])
        near_N = place_N < self.head.positions.num_embeddings
        row_N, left_N, right_N, place_N = row_N[near_N], left_N[near_N], right_N[near_N], place_N[near_N]
        spoken_NE = self.head(states_XD[at_BL[row_N, left_N]], states_XD[at_BL[row_N, right_N]], place_N)
        boundary, _ = linear_cross_entropy(spoken_NE, *output_layer(model), labels_N[near_N])
        return Loss(total + boundary, targets.count, each_N, batch.languages_BL[chosen_BL])


def _bounds(units_BL: np.ndarray, segments_BL: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns before and behind each hidden token's run, and its place in the run: int64 [B, L] each."""
    rows, columns = np.nonzero(units_BL >= 0)
    units, segments = units_BL[rows, columns], segments_BL[rows, columns]
    goes_on = np.zeros(len(rows), dtype=bool)
    goes_on[1:] = (np.diff(rows) == 0) & (np.diff(columns) == 1) & (np.diff(units) == 0) & (np.diff(segments) == 0)
    firsts = np.flatnonzero(~goes_on)
    run = np.cumsum(~goes_on) - 1
    begin = columns[firsts]
    end = columns[np.append(firsts[1:], len(columns)) - 1] if len(columns) else begin
    row, segment = rows[firsts], segments[firsts]
    left, right = np.maximum(begin - 1, 0), np.minimum(end + 1, units_BL.shape[1] - 1)
    left = np.where(segments_BL[row, left] == segment, left, begin)
    right = np.where(segments_BL[row, right] == segment, right, end)
    left_BL, right_BL, place_BL = (np.zeros(units_BL.shape, dtype=np.int64) for _ in range(3))
    left_BL[rows, columns], right_BL[rows, columns] = left[run], right[run]
    place_BL[rows, columns] = columns - begin[run]
    return left_BL, right_BL, place_BL
