"""Permutation language modelling: predict some tokens in random order, each from those before it in that order.

In: single texts and a masking policy that chooses the targets. Out: summed cross-entropy of the targets, from XLNet's
query stream, which knows a target's place but not its token:

    max  E_z  sum_{t > c} log p(x_{z_t} | x_{z_<t})          (Yang et al. 2019, arXiv 1906.08237, eq. 5)

Targets come last in the order z and in a random order among themselves; all other tokens, specials included, come
before them, see one another, and are seen by all. Packed texts see only themselves: XLNet's permutation mask keeps
them apart, and its positions are relative, so that a text's place in the row does not matter.
"""
# ruff: noqa: N815  fields are tensors and carry shape suffixes

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from interlingua.batch import Batch
from interlingua.models.head import linear_cross_entropy
from interlingua.objectives.base import IGNORED, Loss, TokenTargets
from interlingua.objectives.masking import Masking
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["PermutationLM", "PermutationTargets", "permutation_mask"]


@dataclass(frozen=True)
class PermutationTargets(TokenTargets):
    """Targets and the order in which they are predicted.

    Attributes:
        order_BL: place in the order of prediction, from 0 in every row; -1 for tokens that are not predicted.
    """

    order_BL: Tensor


def permutation_mask(segments_BL: Tensor, order_BL: Tensor) -> Tensor:
    """XLNet's ``perm_mask``: 1 where row i's token may not see token j, float [B, L, L].

    A token sees those of its own text that come before it in the order; tokens that are not predicted (-1) are seen by
    the whole text.
    """
    apart = segments_BL[:, :, None] != segments_BL[:, None, :]
    later = (order_BL[:, None, :] >= 0) & (order_BL[:, :, None] <= order_BL[:, None, :])
    return (apart | later).float()


class PermutationLM:
    """Predict chosen tokens in random order; for XLNet.

    Args:
        masking: chooses the targets; nothing is masked. XLNet: spans of 1 to 5 tokens, one token in six (K = 6).
    """

    name = "plm"
    layout = Layout("single")
    splittable = True
    networks: Mapping[str, nn.Module] = {}

    def __init__(self, masking: Masking) -> None:
        self.masking = masking

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> PermutationTargets:
        """Choose targets and their order."""
        chosen_BL = self.masking.choose(batch, generator, progress)
        order_BL = np.full(chosen_BL.shape, -1, dtype=np.int64)
        for order_L, chosen_L in zip(order_BL, chosen_BL, strict=True):
            order_L[chosen_L] = generator.permutation(int(chosen_L.sum()))
        labels_BL = np.where(chosen_BL, batch.tokens_BL.numpy(), IGNORED)
        return PermutationTargets(
            int(chosen_BL.sum()), batch.tokens_BL, torch.from_numpy(labels_BL), torch.from_numpy(order_BL)
        )

    def rows(self, targets: PermutationTargets, batch: Batch, start: int, stop: int) -> PermutationTargets:
        """Targets of some rows."""
        part = targets.rows(start, stop)
        return PermutationTargets(part.count, part.tokens_BL, part.labels_BL, targets.order_BL[start:stop])

    def loss(self, model: PreTrainedModel, batch: Batch, targets: PermutationTargets) -> Loss:
        """Summed cross-entropy over the targets, logits computed only there."""
        chosen_BL = targets.labels_BL != IGNORED
        counts_B = chosen_BL.sum(dim=1)
        most = max(1, int(counts_B.max()))
        places_BP = chosen_BL.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
        wanted_BP = torch.arange(most, device=places_BP.device) < counts_B[:, None]
        network: Any = model.base_model
        queries_BPD = network(
            input_ids=targets.tokens_BL,
            perm_mask=permutation_mask(batch.segments_BL, targets.order_BL).to(model.dtype),
            target_mapping=nn.functional.one_hot(places_BP, chosen_BL.shape[1]).to(model.dtype),
            use_mems=False,
        ).last_hidden_state
        output: Any = model.get_output_embeddings()
        total, each_N = linear_cross_entropy(
            queries_BPD[wanted_BP], output.weight, output.bias, targets.labels_BL[chosen_BL]
        )
        return Loss(total, targets.count, each_N, batch.languages_BL[chosen_BL])
