"""Translation: from a source to its target, from a damaged text to the text, from one's own translation to the text.

In: pairs, or texts of one language each. Out: the summed cross-entropy over the target's tokens. Decisions: all three
are the same loss and differ in where the source comes from: the pair (supervised); noise (denoising); the network
itself, as it is at this step, in evaluation mode and without a gradient (online back-translation), so it is made when
the loss is and not before, and a run that was cut off goes on exactly. The decoder begins with the token of the
language it is to write. Price: back-translation generates in every step.

Sources: Lample et al. 2018 (arXiv 1711.00043); Lample and Conneau 2019 (XLM, arXiv 1901.07291), section 5.
"""
# ruff: noqa: N815  fields are tensors and carry shape suffixes

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from interlingua.batch import Batch, rows_from_texts
from interlingua.models.seq2seq import generated, padded_ids, target_losses
from interlingua.objectives.base import IGNORED, Loss
from interlingua.objectives.denoise import Seq2SeqTargets, padded
from interlingua.objectives.noise import Ids, Noise, Starts
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["BackTranslation", "Batches", "Drawn", "Frame", "Sides", "Translation"]


@dataclass(frozen=True)
class Sides:
    """A text of one language, or a source and its target.

    Attributes:
        ids: of each side, without specials, not empty.
        languages: index of the language of each side.
        starts: True where a token begins a word; needed where noise moves words.
    """

    ids: tuple[Ids, ...]
    languages: tuple[int, ...]
    starts: Starts | None = None


@dataclass(frozen=True)
class Frame:
    """The special tokens around sources and targets.

    Attributes:
        first: before a source.
        last: behind a source and a target.
        pad_id: padding.
        starts: what a decoder begins with, by index of the language.
    """

    first: tuple[int, ...]
    last: int
    pad_id: int
    starts: tuple[int, ...]

    def source(self, ids: Sequence[int] | Ids) -> Ids:
        """A source as the encoder reads it."""
        return np.array([*self.first, *ids, self.last], dtype=np.int64)


class Drawn:
    """Batch t of a list of texts or pairs, each once an epoch, in an order that follows from (seed, epoch, number).

    Args:
        rows: what there is.
        frame: padding and specials.
        batch_size: rows a batch; the last of an epoch may have fewer.
        seed: of the run.
        number: of the list in the run.
    """

    def __init__(self, rows: Sequence[Sides], frame: Frame, *, batch_size: int, seed: int, number: int = 0) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.steps_an_epoch = -(-len(rows) // batch_size)
        self._frame = frame
        self._key = (seed, number)

    def has(self, split: str) -> bool:
        """Whether there are texts of a split."""
        return split == "train"

    def batch(self, t: int, stream: object = None) -> Batch:
        """Global batch ``t``: a pair or a text a row; positions begin again at the second side."""
        epoch, step = divmod(t, self.steps_an_epoch)
        seed, number = self._key
        order = keyed_generator(seed, epoch, 9, number).permutation(len(self.rows))
        return self.lay_out([self.rows[i] for i in order[step * self.batch_size : (step + 1) * self.batch_size]])

    def lay_out(self, rows: Sequence[Sides]) -> Batch:
        """Some rows as a batch."""
        tokens = [np.concatenate(row.ids) for row in rows]
        starts = [row.starts if row.starts is not None else np.ones(len(t), dtype=bool)
                  for row, t in zip(rows, tokens, strict=True)]  # fmt: skip
        return rows_from_texts(
            tokens,
            pad_id=self._frame.pad_id,
            row_length=max(map(len, tokens)),
            special_ids=np.array([self._frame.pad_id]),
            word_starts=starts,
            positions=[np.concatenate([np.arange(len(side)) for side in row.ids]) for row in rows],
            token_languages=[np.repeat(row.languages, [len(side) for side in row.ids]) for row in rows],
            pack=False,
        )


class Batches:
    """What the loop reads: every objective's own batches.

    Args:
        languages: canonical tags, by index.
    """

    def __init__(self, languages: Sequence[str]) -> None:
        self.languages = tuple(languages)

    def batch(self, t: int, layout: Layout | None = None) -> Batch:
        """Global batch ``t`` of the objective whose layout it is."""
        source: Any = None if layout is None else layout.source
        found: Batch = source.batch(t)
        return found


class Translation:
    """Write the target of a source; of a text without one, the text from what noise leaves of it.

    Args:
        drawn: pairs, or texts.
        frame: specials.
        noise: done to texts, in order.
        smoothing: share of the probability that is spread over the vocabulary.
        name: ``translate`` or ``denoise``.
    """

    splittable = True
    networks: Mapping[str, nn.Module] = {}

    def __init__(
        self, drawn: Drawn, frame: Frame, *, noise: Sequence[Noise] = (), smoothing: float = 0.0, name: str
    ) -> None:
        self.name = name
        self.layout = Layout(source=drawn)
        self.noise = tuple(noise)
        self._frame = frame
        self._smoothing = smoothing

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Seq2SeqTargets:
        """Sources and targets of every row."""
        pairs: list[tuple[Ids, Ids]] = []
        languages: list[int] = []
        for sides, starts, language in _sides(batch):
            source = sides[0]
            if len(sides) == 1:
                for noise in self.noise:
                    source, starts = noise(source, starts, generator)
            pairs.append((source, sides[-1]))
            languages.append(language)
        return _targets(pairs, languages, self._frame)

    def rows(self, targets: Seq2SeqTargets, batch: Batch, start: int, stop: int) -> Seq2SeqTargets:
        """Targets of some rows."""
        return targets.select(torch.arange(start, stop))

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Seq2SeqTargets) -> Loss:
        """Summed cross-entropy over the targets' tokens."""
        return _loss(model, targets, self._smoothing)


@dataclass(frozen=True)
class BackTargets(Seq2SeqTargets):
    """Texts, and the language that each is to be translated from.

    Attributes:
        into_S: index of the language of its source.
    """

    into_S: Tensor


class BackTranslation:
    """Write a text from the network's own translation of it.

    Args:
        drawn: texts.
        frame: specials.
        languages: indices of the languages that texts are translated into: all but their own, each as often.
        longest: tokens of a side at most.
        sample: translations are drawn, not the likeliest.
        smoothing: share of the probability that is spread over the vocabulary.
    """

    name = "backtranslate"
    splittable = True
    networks: Mapping[str, nn.Module] = {}

    def __init__(
        self,
        drawn: Drawn,
        frame: Frame,
        *,
        languages: Sequence[int],
        longest: int,
        sample: bool = False,
        smoothing: float = 0.0,
    ) -> None:
        self.layout = Layout(source=drawn)
        self._frame = frame
        self._languages = tuple(languages)
        self._longest = longest
        self._sample = sample
        self._smoothing = smoothing

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> BackTargets:
        """The texts, and into which language each is translated."""
        pairs: list[tuple[Ids, Ids]] = []
        languages: list[int] = []
        into: list[int] = []
        for sides, _, language in _sides(batch):
            others = [other for other in self._languages if other != language]
            into.append(others[int(generator.integers(len(others)))])
            pairs.append((sides[-1], sides[-1]))
            languages.append(language)
        plain = _targets(pairs, languages, self._frame)
        return BackTargets(**vars(plain), into_S=torch.tensor(into))

    def rows(self, targets: BackTargets, batch: Batch, start: int, stop: int) -> BackTargets:
        """Targets of some rows."""
        return targets.select(torch.arange(start, stop))

    def loss(self, model: PreTrainedModel, batch: Batch, targets: BackTargets) -> Loss:
        """Summed cross-entropy over the texts' tokens, from what the network makes of them in other languages."""
        texts = [row[mask].tolist() for row, mask in zip(targets.source_SX, targets.mask_SX, strict=True)]
        # A translation that does not end would make the step as long as the network's positions. Each text has a bound
        # of its own, so that what is written does not depend on the texts beside it.
        longest = [min(self._longest - 1 - len(self._frame.first), len(text) * 3 // 2 + 8) for text in texts]
        training = model.training
        model.eval()
        try:
            written = generated(
                model,
                texts,
                [self._frame.starts[i] for i in targets.into_S.tolist()],
                longest=max(longest),
                sample=self._sample,
            )
        finally:
            model.train(training)
        sources = [self._frame.source(ids[:n]).tolist() for ids, n in zip(written, longest, strict=True)]
        device = targets.source_SX.device
        source_SX = padded_ids(sources, self._frame.pad_id).to(device)
        mask_SX = padded_ids([[1] * len(source) for source in sources], 0).bool().to(device)
        translated = Seq2SeqTargets(
            targets.count, source_SX, mask_SX, targets.decoder_SY, targets.labels_SY, targets.languages_S
        )
        return _loss(model, translated, self._smoothing)


def _sides(batch: Batch) -> list[tuple[list[Ids], NDArray[np.bool_], int]]:
    """Of every row its sides, where the words of the last one begin, and the language of that."""
    found = []
    lengths = (batch.segments_BL > 0).sum(dim=1).tolist()
    for row, length in enumerate(lengths):
        ids = batch.tokens_BL[row, :length].numpy()
        cuts = np.flatnonzero(batch.positions_BL[row, :length].numpy() == 0)
        starts = batch.word_starts_BL[row, int(cuts[-1]) : length].numpy()
        found.append((np.split(ids, cuts[1:]), starts, int(batch.languages_BL[row, length - 1])))
    return found


def _targets(pairs: Sequence[tuple[Ids, Ids]], languages: Sequence[int], frame: Frame) -> Seq2SeqTargets:
    sources = [frame.source(source) for source, _ in pairs]
    labels = [np.append(target, frame.last) for _, target in pairs]
    shown = [np.append([frame.starts[i]], target) for i, (_, target) in zip(languages, pairs, strict=True)]
    return Seq2SeqTargets(
        sum(map(len, labels)),
        padded(sources, frame.pad_id),
        padded([np.ones(len(source), dtype=np.int64) for source in sources], 0).bool(),
        padded(shown, frame.pad_id),
        padded(labels, IGNORED),
        torch.tensor(languages),
    )


def _loss(model: PreTrainedModel, targets: Seq2SeqTargets, smoothing: float) -> Loss:
    total, each_N = target_losses(
        model, targets.source_SX, targets.mask_SX, targets.decoder_SY, targets.labels_SY, smoothing=smoothing
    )
    languages_SY = targets.languages_S[:, None].expand_as(targets.labels_SY)
    return Loss(total, targets.count, each_N, languages_SY[targets.labels_SY >= 0])
