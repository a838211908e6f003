"""Denoising with an encoder-decoder: repair a damaged text (BART, mBART), or write what was hidden (T5, mT5).

In: single texts. Out: the summed cross-entropy over the target's tokens. The damage is described in
:mod:`interlingua.objectives.noise`. Decision: encoder and decoder run one text a row, since source and target have
lengths of their own; texts are short, and the batch's are padded to its longest. Price: that padding.

Sources: Lewis et al. 2020 (arXiv 1910.13461), Liu et al. 2020 (arXiv 2001.08210), Raffel et al. 2020 (arXiv
1910.10683), Xue et al. 2021 (arXiv 2010.11934).
"""
# ruff: noqa: N815  fields are tensors and carry shape suffixes

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor, nn

from interlingua.batch import Batch
from interlingua.models.seq2seq import target_losses
from interlingua.objectives.base import IGNORED, Loss, Targets
from interlingua.objectives.noise import Ids, Noise, Recasting
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Denoising", "Seq2SeqTargets", "padded"]


@dataclass(frozen=True)
class Seq2SeqTargets(Targets):
    """Sources and targets, one text a row, in the order of the batch's segments.

    Attributes:
        source_SX: damaged texts with specials, padded.
        mask_SX: True at source tokens.
        decoder_SY: the targets one place to the right.
        labels_SY: the targets, -100 behind their end.
        languages_S: language index of each text.
    """

    source_SX: Tensor
    mask_SX: Tensor
    decoder_SY: Tensor
    labels_SY: Tensor
    languages_S: Tensor

    def select(self, texts: Tensor) -> Self:
        """Some of the texts, by index."""
        kept = {f.name: v[texts] for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        return replace(self, count=int((kept["labels_SY"] >= 0).sum()), **kept)


class Denoising:
    """Repair texts.

    Args:
        noise: one or more noises of BART, applied in order; or one recasting of T5.
        pad_id: padding.
        first_id: special that opens source and target (BART); None for none (T5).
        last_id: special that closes source and target.
        start_id: what the decoder is shown first: ``config.decoder_start_token_id``.
    """

    name = "denoise"
    layout = Layout("single")
    splittable = True
    networks: Mapping[str, nn.Module] = {}

    def __init__(
        self, noise: Sequence[Noise] | Recasting, *, pad_id: int, first_id: int | None, last_id: int, start_id: int
    ) -> None:
        self.noise = noise
        self.pad_id = pad_id
        self.start_id = start_id
        self._first = np.array([] if first_id is None else [first_id], dtype=np.int64)
        self._last = np.array([last_id])

    def _damage(self, ids: Ids, starts: np.ndarray, chance: np.random.Generator) -> tuple[Ids, Ids]:
        if isinstance(self.noise, Sequence):
            source = ids
            for noise in self.noise:
                source, starts = noise(source, starts, chance)
            target = ids
        else:
            source, target = self.noise(ids, chance)
        return (np.concatenate([self._first, source, self._last]), np.concatenate([self._first, target, self._last]))

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Seq2SeqTargets:
        """Damage every text of the batch."""
        tokens, starts = batch.tokens_BL.numpy().reshape(-1), batch.word_starts_BL.numpy().reshape(-1)
        segments = np.where(batch.special_BL.numpy(), 0, batch.segments_BL.numpy()).reshape(-1)
        order = np.argsort(segments, kind="stable")
        edges = np.searchsorted(segments[order], np.arange(1, batch.segments + 2))
        pairs = []
        languages = np.zeros(batch.segments, dtype=np.int64)
        for number, (begin, end) in enumerate(itertools.pairwise(edges)):
            own = order[begin:end]
            languages[number] = batch.languages_BL.numpy().reshape(-1)[own[0]] if len(own) else 0
            pairs.append(self._damage(tokens[own], starts[own], generator))
        source_SX = padded([source for source, _ in pairs], self.pad_id)
        labels_SY = padded([target for _, target in pairs], IGNORED)
        decoder_SY = padded([np.append([self.start_id], target[:-1]) for _, target in pairs], self.pad_id)
        mask_SX = padded([np.ones(len(source), dtype=np.int64) for source, _ in pairs], 0).bool()
        count = int((labels_SY >= 0).sum())
        return Seq2SeqTargets(count, source_SX, mask_SX, decoder_SY, labels_SY, torch.from_numpy(languages))

    def rows(self, targets: Seq2SeqTargets, batch: Batch, start: int, stop: int) -> Seq2SeqTargets:
        """Targets of the texts that stand in some rows."""
        texts = torch.unique(batch.segments_BL[start:stop])
        return targets.select(texts[texts > 0] - 1)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Seq2SeqTargets) -> Loss:
        """Summed cross-entropy over the targets' tokens."""
        total, each_N = target_losses(model, targets.source_SX, targets.mask_SX, targets.decoder_SY, targets.labels_SY)
        languages_SY = targets.languages_S[:, None].expand_as(targets.labels_SY)
        return Loss(total, targets.count, each_N, languages_SY[targets.labels_SY >= 0])


def padded(rows: Sequence[np.ndarray], fill: int) -> Tensor:
    """Ids of several lengths as an int64 matrix."""
    out = np.full((len(rows), max(map(len, rows), default=0)), fill, dtype=np.int64)
    for row, values in zip(out, rows, strict=True):
        row[: len(values)] = values
    return torch.from_numpy(out)
