"""Translation ranking: a text's vector must be nearer to its translation's than to any other text's.

In: linked segments, mean-pooled. Out: the InfoNCE loss in both directions, with an optional additive margin (Yang et
al. 2019, arXiv 1902.08564; Feng et al. 2022, LaBSE, arXiv 2007.01852):

    loss(i -> j) = -log  e^{(s_ij - m)/T} / ( e^{(s_ij - m)/T} + sum_{k in wrong(i)} e^{s_ik/T} )

with cosine s, and wrong(i) all texts that are neither i nor a translation of i: those of the other side only
(``negatives="other"``, the papers' form), or of both sides (``"both"``, the default: texts in i's own language are
the harder negatives, and pushing them away leaves less language identity in the vectors).

Decision: in-batch negatives make the loss of a row depend on all rows, so the batch cannot be split for gradient
accumulation; the loop refuses that. Ranks share the work of making the vectors (:mod:`interlingua.objectives.ranks`),
so negatives are those of the global batch.
More negatives than a batch holds come from a queue (MoCo, He et al. 2020, arXiv 1911.05722): a slowly moving copy of
the network, theta_k <- m theta_k + (1 - m) theta, encodes every batch once more, and the last ``queue`` of its
vectors are wrong candidates for all. Price: a second forward pass, and the memory of a second network.
"""
# ruff: noqa: N815  buffers carry shape suffixes

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from interlingua.batch import Batch
from interlingua.objectives.base import Loss, Targets, at_least_float32
from interlingua.objectives.ranks import segment_vectors
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["MomentumQueue", "TranslationRanking", "ranking_losses"]


def ranking_losses(
    vectors_SD: Tensor,
    links_P2: Tensor,
    *,
    temperature: float,
    margin: float,
    negatives: str,
    queue_QD: Tensor | None = None,
) -> Tensor:
    """The losses of all links, first in the given direction, then in the other.

    Args:
        vectors_SD: one vector a segment, any length.
        links_P2: rows (i, j), 0-based: segments that translate each other. All pairs of a group must be listed.
        temperature: T.
        margin: m.
        negatives: ``"other"`` or ``"both"``.
        queue_QD: unit vectors that are wrong candidates for every text, without a gradient.

    Returns:
        [2P].
    """
    unit_SD = F.normalize(vectors_SD, dim=-1)
    first, second = links_P2.unbind(1)
    side_S = torch.zeros(len(unit_SD), 1, dtype=unit_SD.dtype, device=unit_SD.device)
    side_S[second] = 1
    similarity_SS = unit_SD @ unit_SD.T / temperature
    wrong_SS = ~torch.eye(len(unit_SD), dtype=torch.bool, device=unit_SD.device)
    wrong_SS[first, second] = False
    wrong_SS[second, first] = False
    if negatives == "other":
        wrong_SS &= side_S != side_S.T
    wrong = similarity_SS.masked_fill(~wrong_SS, -torch.inf)
    if queue_QD is not None:
        wrong = torch.cat([wrong, unit_SD @ queue_QD.T / temperature], dim=1)
    log_wrong_S = wrong.logsumexp(dim=1)
    source, target = torch.cat([first, second]), torch.cat([second, first])
    right = similarity_SS[source, target] - margin / temperature
    return torch.logaddexp(right, log_wrong_S[source]) - right


class MomentumQueue(nn.Module):
    """A slowly moving copy of a network, and the last vectors it made.

    Args:
        model: the network that learns.
        size: vectors kept.
        momentum: m.
    """

    queue_QD: Tensor
    filled: Tensor

    def __init__(self, model: PreTrainedModel, *, size: int, momentum: float) -> None:
        super().__init__()
        self.size = size
        self.momentum = momentum
        self.network: PreTrainedModel = copy.deepcopy(model.base_model).requires_grad_(False)
        self.register_buffer("queue_QD", torch.zeros(size, model.config.hidden_size, dtype=model.dtype))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    def candidates(self) -> Tensor | None:
        """The vectors there are, or None at the beginning."""
        count = int(self.filled)
        # A copy: the queue moves on before the backward pass needs the vectors once more.
        return self.queue_QD[:count].clone() if count else None

    @torch.no_grad()
    def move(self, model: PreTrainedModel, batch: Batch, pooling: str) -> None:
        """Take a step towards the network, and put the batch's vectors at the queue's head."""
        for own, other in zip(self.network.parameters(), model.base_model.parameters(), strict=True):
            own.lerp_(other.to(own.dtype), 1 - self.momentum)
        unit_SD = F.normalize(segment_vectors(self.network, batch, pooling=pooling), dim=-1)
        newest = torch.cat([unit_SD.to(self.queue_QD), self.queue_QD])[: self.size]
        self.queue_QD.copy_(newest)
        self.filled.fill_(min(self.size, int(self.filled) + len(unit_SD)))


class TranslationRanking:
    """Rank translations first among the texts of the batch.

    Args:
        temperature: T.
        margin: m, taken off true pairs.
        languages: languages drawn of each translation group.
        negatives: ``"both"`` or ``"other"``.
        pooling: ``"mean"`` or ``"first"``.
        queue: more wrong candidates from earlier batches, or None.
    """

    name = "contrast"
    splittable = False

    def __init__(
        self,
        *,
        temperature: float = 0.05,
        margin: float = 0.0,
        languages: int = 2,
        negatives: str = "both",
        pooling: str = "mean",
        queue: MomentumQueue | None = None,
    ) -> None:
        self.queue = queue
        self.networks: Mapping[str, nn.Module] = {} if queue is None else {"momentum": queue}
        self.temperature = temperature
        self.margin = margin
        self.negatives = negatives
        self.pooling = pooling
        self.layout = Layout("apart", languages=languages)

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """Nothing is hidden; one prediction a direction of a link."""
        return Targets(2 * len(batch.links_P2))

    def rows(self, targets: Targets, batch: Batch, start: int, stop: int) -> Targets:
        """The whole only: see ``splittable``."""
        return targets

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Summed ranking loss over all links, both directions."""
        vectors_SD = segment_vectors(model, batch, pooling=self.pooling)
        languages_S = torch.zeros(batch.segments + 1, dtype=torch.long, device=vectors_SD.device)
        languages_S[batch.segments_BL.reshape(-1)] = batch.languages_BL.reshape(-1)
        links_P2 = batch.links_P2 - 1
        each = ranking_losses(
            at_least_float32(vectors_SD),
            links_P2,
            temperature=self.temperature,
            margin=self.margin,
            negatives=self.negatives,
            queue_QD=None if self.queue is None else self.queue.candidates(),
        )
        if self.queue is not None and model.training:
            self.queue.move(model, batch, self.pooling)
        pairs = torch.cat([links_P2[:, 1], links_P2[:, 0]])
        return Loss(each.sum(), each.shape[0], each.detach(), languages_S[1:][pairs])
