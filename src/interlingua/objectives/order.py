"""Do two texts follow one another? Beside masked LM, in one pass over the same tokens.

In: pairs of texts of one document, half of them not in order (the layout makes and labels them). Out: the masked-LM
loss plus that of a two-way classifier over the first token's state,

    L = sum L_mlm / count_mlm + weight x sum L_order / pairs

which is the loss of ``BertForPreTraining`` and ``AlbertForPreTraining``. Next-sentence prediction (NSP, Devlin et al.
2019, arXiv 1810.04805) takes its wrong second texts from other documents, which a topic gives away; sentence-order
prediction (SOP, Lan et al. 2020, ALBERT, arXiv 1909.11942) swaps the two.

Decision: one objective rather than two in a mixture, since both papers read the *corrupted* pair once. Price: "none"
on the same pairs, for a comparison, is this objective with weight 0, and not ``mlm``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from interlingua.batch import Batch
from interlingua.models.architectures import head_piece
from interlingua.models.attention import encode_at
from interlingua.models.head import first_tokens, masked_losses
from interlingua.objectives.base import IGNORED, Loss, TokenTargets, at_least_float32
from interlingua.objectives.masking import Masking
from interlingua.objectives.mlm import MaskedLM
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["OrderTargets", "TextOrder"]


@dataclass(frozen=True)
class OrderTargets(TokenTargets):
    """Targets of the masked LM, and how many predictions of it the order of one pair is worth.

    Attributes:
        ratio: masked tokens / pairs, of the whole global batch.
    """

    ratio: float


class TextOrder(MaskedLM):
    """Predict hidden tokens of two texts, and whether the second follows the first.

    Args:
        masking: which tokens are hidden.
        wrong: what half of the pairs are, see :class:`~interlingua.shards.stream.Layout`; ``swapped`` makes it SOP, all
            others NSP.
        weight: of the order's loss; 0: the pairs are read and masked, their order is not asked for.
    """

    def __init__(self, masking: Masking, *, wrong: str = "either", weight: float = 1.0) -> None:
        super().__init__(masking)
        self.name = "sop" if wrong == "swapped" else "nsp"
        self.layout = Layout("ordered", wrong=wrong)  # type: ignore[arg-type]
        self.weight = weight

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> OrderTargets:
        """Corrupt the batch; the labels of its pairs are in it."""
        hidden = super().prepare(batch, generator, progress)
        return OrderTargets(hidden.count, hidden.tokens_BL, hidden.labels_BL, hidden.count / max(1, batch.segments))

    def rows(self, targets: TokenTargets, batch: Batch, start: int, stop: int) -> OrderTargets:
        """Targets of some rows."""
        assert isinstance(targets, OrderTargets)
        part = targets.rows(start, stop)
        return OrderTargets(part.count, part.tokens_BL, part.labels_BL, targets.ratio)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: TokenTargets) -> Loss:
        """Both losses, summed over the hidden tokens."""
        assert isinstance(targets, OrderTargets)
        chosen_BL, first_BL = targets.labels_BL != IGNORED, first_tokens(batch)
        asked_BL = chosen_BL | first_BL
        states_ND = encode_at(model, replace(batch, tokens_BL=targets.tokens_BL), asked_BL)
        languages_N = batch.languages_BL[chosen_BL]
        hidden_ND = states_ND[chosen_BL[asked_BL]]
        total, each_N = masked_losses(model, hidden_ND, targets.labels_BL[chosen_BL], languages_N)
        if self.weight:
            order_S = self.order_losses(model, batch, states_ND[first_BL[asked_BL]])
            total = total + self.weight * targets.ratio * order_S.sum()
        return Loss(total, targets.count, each_N, languages_N)

    def order_losses(self, model: PreTrainedModel, batch: Batch, first_SD: Tensor) -> Tensor:
        """Cross-entropy of every pair, from the states of first tokens in row order: [S]."""
        assert batch.labels is not None
        labels_S = batch.labels[batch.segments_BL[first_tokens(batch)] - 1]
        logits_S2 = head_piece(model, "order_logits")(model, first_SD)
        return F.cross_entropy(at_least_float32(logits_S2), labels_S, reduction="none")
