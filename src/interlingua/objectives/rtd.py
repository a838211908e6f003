"""Replaced-token detection: a small generator fills in masked tokens, the model tells which tokens it made up.

In: single texts. Out: the generator's masked-LM loss plus the discriminator's, which is over *all* tokens:

    L = sum L_mlm / count_mlm + lambda x sum L_disc / count_disc                    (Clark et al. 2020, eq. after (1))

Decisions: the model of the run is the discriminator (what is kept), the generator a network of the objective's own,
saved beside it as a plain ``ElectraForMaskedLM``. Three ways to share token embeddings: ``shared`` (ELECTRA: one
table, both gradients), ``none``, and ``gdes`` (DeBERTa-v3: the discriminator's table is the generator's plus a
difference of its own, E_D = stop_gradient(E_G) + E_delta). Under gdes the table kept in the checkpoint is the sum, so
that it opens anywhere; the generator's last movement is added at the beginning of the next step. Price: a checkpoint's
table lags the generator by one step, a table's worth of memory, and weight decay pulls the sum, not the difference.

Sources: ELECTRA, Clark et al. 2020 (arXiv 2003.10555); DeBERTaV3, He et al. 2021 (arXiv 2111.09543) section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from interlingua.batch import Batch
from interlingua.models.architectures import head_piece
from interlingua.models.attention import encode, encode_at
from interlingua.models.head import sampled_losses
from interlingua.objectives.base import IGNORED, Loss, TokenTargets, at_least_float32
from interlingua.objectives.masking import Masking
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ReplacedTokenDetection", "ReplacedTokenTargets", "share_embeddings"]


@dataclass(frozen=True)
class ReplacedTokenTargets(TokenTargets):
    """Targets of the generator, and how many predictions of it one of the discriminator's is worth.

    Attributes:
        ratio: masked tokens / all tokens, of the whole global batch.
    """

    ratio: float


def share_embeddings(discriminator: PreTrainedModel, generator: PreTrainedModel) -> None:
    """Let the generator use the discriminator's token embeddings, and its position and type embeddings if they fit."""
    theirs, own = discriminator.base_model.embeddings, generator.base_model.embeddings
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        table, other = getattr(own, name), getattr(theirs, name)  # DeBERTa has only the first
        if table is not None and other is not None and table.weight.shape == other.weight.shape:
            table.weight = other.weight
    generator.tie_weights()


class _Generator(nn.Module):
    """The generator's table as the discriminator last saw it, kept beside it for gdes."""

    def __init__(self, table_VE: Tensor) -> None:
        super().__init__()
        self.register_buffer("seen_VE", table_VE.detach().clone())


class ReplacedTokenDetection:
    """Tell made-up tokens from those of the text.

    Args:
        masking: which tokens the generator fills in (ELECTRA: 15 %, all shown as the mask token).
        generator: a masked language model over the same vocabulary; its embeddings are as wide as the discriminator's.
        sharing: ``shared``, ``gdes`` or ``none``; ``shared`` needs :func:`share_embeddings` to have been called.
        weight: lambda, 50 in the papers.
    """

    name = "rtd"
    layout = Layout("single")
    splittable = True

    def __init__(
        self, masking: Masking, generator: PreTrainedModel, *, sharing: str = "shared", weight: float = 50.0
    ) -> None:
        self.masking = masking
        self.generator = generator
        self.sharing = sharing
        self.weight = weight
        self.networks: Mapping[str, nn.Module] = {"generator": generator}
        if sharing == "gdes":
            self._moved = _Generator(generator.get_input_embeddings().weight)
            self.networks = {"generator": generator, "generator-embeddings": self._moved}

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> ReplacedTokenTargets:
        """Mask for the generator."""
        hidden = self.masking.apply(batch, generator, progress)
        return ReplacedTokenTargets(
            hidden.count, hidden.tokens_BL, hidden.labels_BL, hidden.count / max(1, batch.tokens)
        )

    def rows(self, targets: ReplacedTokenTargets, batch: Batch, start: int, stop: int) -> ReplacedTokenTargets:
        """Targets of some rows."""
        part = targets.rows(start, stop)
        return ReplacedTokenTargets(part.count, part.tokens_BL, part.labels_BL, targets.ratio)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: ReplacedTokenTargets) -> Loss:
        """Both losses, summed over the generator's predictions."""
        if self.sharing == "gdes" and model.training:
            self._follow(model)
        chosen_BL = targets.labels_BL != IGNORED
        states_ND = encode_at(self.generator, replace(batch, tokens_BL=targets.tokens_BL), chosen_BL)
        total, each_N, drawn_N = sampled_losses(self.generator, states_ND, targets.labels_BL[chosen_BL])
        shown_BL = batch.tokens_BL.masked_scatter(chosen_BL, drawn_N)
        found = self.detection_losses(model, replace(batch, tokens_BL=shown_BL), shown_BL != batch.tokens_BL)
        total = total + self.weight * targets.ratio * found.sum()
        return Loss(total, targets.count, each_N, batch.languages_BL[chosen_BL])

    def detection_losses(self, model: PreTrainedModel, batch: Batch, replaced_BL: Tensor) -> Tensor:
        """Binary cross-entropy of every token that is not padding, [N]."""
        real_BL = batch.segments_BL > 0
        logits_N = head_piece(model, "replaced_logits")(model, encode(model, batch)[real_BL])
        labels_N = replaced_BL[real_BL].to(logits_N.dtype)
        return F.binary_cross_entropy_with_logits(at_least_float32(logits_N), labels_N, reduction="none")

    @torch.no_grad()
    def _follow(self, model: PreTrainedModel) -> None:
        """Add to the discriminator's table what the generator's has moved since the last step."""
        table: Any = self.generator.get_input_embeddings().weight
        seen: Any = self._moved.seen_VE
        model.get_input_embeddings().weight.add_(table - seen)
        seen.copy_(table)
