"""Ways to damage a text that a sequence-to-sequence network then repairs.

In: the ids of one text without specials, where its words begin, and a generator. Out: ids of the damaged source, and
for the T5 family also the target. Decision: every noise is a small frozen dataclass with one method, so that a recipe
can compose those of BART in any order; those of T5 define their own target and stand alone.

Sources: BART, Lewis et al. 2020 (arXiv 1910.13461) section 2.2, mBART, Liu et al. 2020 (arXiv 2001.08210); T5, Raffel
et al. 2020 (arXiv 1910.10683) section 3.3, mT5, Xue et al. 2021 (arXiv 2010.11934); words moved a little: Lample et al.
2018 (arXiv 1711.00043) section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Deletion",
    "Deshuffling",
    "DroppedSpans",
    "Infilling",
    "LocalShuffle",
    "Noise",
    "PrefixLM",
    "Recasting",
    "Rotation",
    "SentencePermutation",
    "SpanCorruption",
    "TokenMasking",
    "noise_spans",
]

Ids = NDArray[np.int64]
Starts = NDArray[np.bool_]


class Noise(Protocol):
    """Damage that leaves the original text as the target; any number can be applied one after the other."""

    def __call__(self, ids: Ids, starts: Starts, chance: np.random.Generator) -> tuple[Ids, Starts]:
        """The damaged text, and where its words begin."""
        ...


class Recasting(Protocol):
    """Damage that also says what is to be written."""

    def __call__(self, ids: Ids, chance: np.random.Generator) -> tuple[Ids, Ids]:
        """Source and target."""
        ...


def _rounded(value: float, chance: np.random.Generator) -> int:
    """A whole number that is ``value`` on average."""
    return int(value) + int(chance.random() < value - int(value))


@dataclass(frozen=True)
class TokenMasking:
    """BART: random tokens become the mask token."""

    mask_id: int
    rate: float = 0.15

    def __call__(self, ids: Ids, starts: Starts, chance: np.random.Generator) -> tuple[Ids, Starts]:
        """Mask ``rate`` of the tokens."""
        chosen = chance.permutation(len(ids))[: _rounded(self.rate * len(ids), chance)]
        out = ids.copy()
        out[chosen] = self.mask_id
        return out, starts


@dataclass(frozen=True)
class Deletion:
    """BART: random tokens are taken out; the network must also find where."""

    rate: float = 0.15

    def __call__(self, ids: Ids, starts: Starts, chance: np.random.Generator) -> tuple[Ids, Starts]:
        """Delete ``rate`` of the tokens; at least one is left."""
        count = min(_rounded(self.rate * len(ids), chance), len(ids) - 1)
        kept = np.sort(chance.permutation(len(ids))[max(0, count) :])
        return ids[kept], starts[kept]


@dataclass(frozen=True)
class Infilling:
    """BART: spans of Poisson length become one mask token each; a span of length 0 inserts one.

    Attributes:
        mask_id: the mask token.
        rate: share of the tokens that is covered.
        mean: lambda of the Poisson distribution of span lengths, in tokens (or words).
        words: spans begin and end at word bounds.
    """

    mask_id: int
    rate: float = 0.3
    mean: float = 3.0
    words: bool = False

    def __call__(self, ids: Ids, starts: Starts, chance: np.random.Generator) -> tuple[Ids, Starts]:
        """Replace spans until ``rate`` of the units is covered."""
        begins = np.flatnonzero(starts) if self.words else np.arange(len(ids))
        if self.words and (not len(begins) or begins[0] != 0):
            begins = np.concatenate([[0], begins])
        units = len(begins)
        budget = _rounded(self.rate * units, chance)
        lengths: list[int] = []
        left = budget
        while left > 0:
            length = int(chance.poisson(self.mean))
            lengths.append(min(length, left))
            left -= length
        real = [length for length in lengths if length]
        inserted = len(lengths) - len(real)
        # Spans may not touch: each keeps a unit between itself and the next, as if it were one unit longer.
        room = units - sum(real)
        while len(real) > 1 and room < len(real) - 1:
            room += real.pop()
        slots = np.sort(chance.permutation(room + 1)[: len(real)])
        out_ids: list[Ids] = []
        out_starts: list[Starts] = []
        edges = np.append(begins, len(ids))
        at = taken = 0
        for slot, length in zip(slots.tolist(), real, strict=False):
            first = int(edges[slot + taken])
            last = int(edges[slot + taken + length])
            out_ids += [ids[at:first], np.array([self.mask_id])]
            out_starts += [starts[at:first], np.array([True])]
            at, taken = last, taken + length
        source = np.concatenate([*out_ids, ids[at:]])
        bounds = np.concatenate([*out_starts, starts[at:]])
        places = chance.integers(len(source) + 1, size=inserted)
        return np.insert(source, places, self.mask_id), np.insert(bounds, places, True)


@dataclass(frozen=True)
class SentencePermutation:
    """BART: the text is cut behind full stops and its sentences put in random order.

    Attributes:
        stops: ids of tokens that end a sentence.
    """

    stops: Ids = field(repr=False)

    def __call__(self, ids: Ids, starts: Starts, chance: np.random.Generator) -> tuple[Ids, Starts]:
        """Shuffle the sentences."""
        ends = np.flatnonzero(np.isin(ids, self.stops)) + 1
        pieces = np.split(np.arange(len(ids)), ends[ends < len(ids)])
        order = np.concatenate([pieces[i] for i in chance.permutation(len(pieces))])
        return ids[order], starts[order]


@dataclass(frozen=True)
class Rotation:
    """BART: the text is rotated so that it begins with a random token; the network finds its true beginning."""

    def __call__(self, ids: Ids, starts: Starts, chance: np.random.Generator) -> tuple[Ids, Starts]:
        """Rotate."""
        first = int(chance.integers(max(1, len(ids))))
        return np.roll(ids, -first), np.roll(starts, -first)


@dataclass(frozen=True)
class LocalShuffle:
    """Words change places with their neighbours: sorted by their place and a random number from 0 to ``reach``.

    Attributes:
        reach: a word moves by fewer places than this.
    """

    reach: float = 3.0

    def __call__(self, ids: Ids, starts: Starts, chance: np.random.Generator) -> tuple[Ids, Starts]:
        """Shuffle the words, each with all its tokens."""
        bounds = starts.copy()
        bounds[:1] = True  # what stands before the first word counts as one
        word_of_token = np.cumsum(bounds) - 1
        words = int(bounds.sum())
        keys = np.arange(words) + chance.random(words) * self.reach
        order = np.argsort(keys[word_of_token], kind="stable")
        return ids[order], starts[order]


def noise_spans(length: int, rate: float, mean: float, chance: np.random.Generator) -> list[tuple[int, int]]:
    """Which spans T5 hides: random cuts of the hidden and of the shown tokens, taken in turn, a shown span first.

    Args:
        length: tokens of the text.
        rate: share hidden; at least one token is, and at least one is not.
        mean: mean length of a hidden span.
        chance: generator.

    Returns:
        (begin, end) of the hidden spans, in order; none touches another. Empty for texts of fewer than two tokens.
    """
    if length < 2:
        return []
    hidden = min(max(round(length * rate), 1), length - 1)
    count = min(max(round(hidden / mean), 1), hidden, length - hidden)

    def cut(total: int) -> Ids:
        bounds = np.sort(chance.permutation(total - 1)[: count - 1]) + 1
        return np.diff(np.concatenate([[0], bounds, [total]]))

    shown_K, hidden_K = cut(length - hidden), cut(hidden)
    ends = np.cumsum(shown_K + hidden_K)
    return [(int(end - own), int(end)) for end, own in zip(ends, hidden_K, strict=True)]


def _runs(chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _with_sentinels(ids: Ids, spans: Sequence[tuple[int, int]], sentinels: Ids) -> tuple[Ids, Ids]:
    """Source: each span one sentinel; target: each sentinel and its span, closed by one sentinel more."""
    source: list[Ids] = []
    target: list[Ids] = []
    at = 0
    for number, (begin, end) in enumerate(spans[: len(sentinels) - 1]):
        source += [ids[at:begin], sentinels[number : number + 1]]
        target += [sentinels[number : number + 1], ids[begin:end]]
        at = end
    last = min(len(spans), len(sentinels) - 1)
    return np.concatenate([*source, ids[at:]]), np.concatenate([*target, sentinels[last : last + 1]])


@dataclass(frozen=True)
class SpanCorruption:
    """T5: hidden spans become sentinels; the target lists each sentinel with what it hid.

    Attributes:
        sentinels: ids of ``<extra_id_0>``, ``<extra_id_1>``, ...
        rate: share of the tokens hidden.
        mean: mean span length; None hides single tokens independently (T5's "i.i.d."), runs sharing a sentinel.
    """

    sentinels: Ids = field(repr=False)
    rate: float = 0.15
    mean: float | None = 3.0

    def __call__(self, ids: Ids, chance: np.random.Generator) -> tuple[Ids, Ids]:
        """Source and target."""
        return _with_sentinels(ids, _hidden(ids, self.rate, self.mean, chance), self.sentinels)


def _hidden(ids: Ids, rate: float, mean: float | None, chance: np.random.Generator) -> list[tuple[int, int]]:
    if mean is not None:
        return noise_spans(len(ids), rate, mean, chance)
    chosen = np.zeros(len(ids), dtype=bool)
    chosen[chance.permutation(len(ids))[: max(1, _rounded(rate * len(ids), chance))]] = True
    return _runs(chosen)


@dataclass(frozen=True)
class DroppedSpans:
    """T5's "drop corrupted tokens": hidden tokens leave no trace in the source; the target is what was dropped.

    Attributes:
        rate: share of the tokens dropped.
        mean: mean span length; None drops single tokens independently.
    """

    rate: float = 0.15
    mean: float | None = None

    def __call__(self, ids: Ids, chance: np.random.Generator) -> tuple[Ids, Ids]:
        """Source and target."""
        gone = np.zeros(len(ids), dtype=bool)
        for begin, end in _hidden(ids, self.rate, self.mean, chance):
            gone[begin:end] = True
        return ids[~gone], ids[gone]


@dataclass(frozen=True)
class PrefixLM:
    """T5's prefix language modelling: cut at a random place; the source is what stands before, the target the rest."""

    def __call__(self, ids: Ids, chance: np.random.Generator) -> tuple[Ids, Ids]:
        """Source and target."""
        cut = int(chance.integers(1, len(ids))) if len(ids) > 1 else 0
        return ids[:cut], ids[cut:]


@dataclass(frozen=True)
class Deshuffling:
    """T5's deshuffling: all tokens in random order; the target is the text."""

    def __call__(self, ids: Ids, chance: np.random.Generator) -> tuple[Ids, Ids]:
        """Source and target."""
        return ids[chance.permutation(len(ids))], ids
