"""What is hidden together: tokens, words, phrases, n-grams, spans.

In: the maskable tokens of a batch and how many of them are to be hidden. Out: a number for each, of the unit it is
hidden with, or -1. Decisions: units that part a text (tokens, words, phrases) are taken in random order until the count
is reached; spans are drawn by length first and then placed where they fit, all places being equally likely, so that the
lengths follow the stated distribution. The unit that crosses the count is taken or left, whichever keeps the expected
rate. Price: where texts are shorter than a drawn span, or so full that it fits nowhere, the longest that fits is taken.

Sources: whole words: google-research/bert README, May 2019; n-grams: ALBERT, Lan et al. 2020 (arXiv 1909.11942) section
4.1; spans: SpanBERT, Joshi et al. 2020 (arXiv 1907.10529) section 3.1; phrases: ERNIE, Sun et al. 2019 (arXiv
1904.09223) section 3.2; frequency: XLM, Conneau and Lample 2019 (arXiv 1901.07291), paragraph on masked LM.
"""
# ruff: noqa: N815  fields are arrays and carry shape suffixes

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interlingua.batch import Batch

if TYPE_CHECKING:
    from interlingua.objectives.phrases import PhraseLexicon

__all__ = [
    "Maskable",
    "Phrases",
    "Spans",
    "Tokens",
    "Unit",
    "Words",
    "geometric_lengths",
    "inverse_frequency",
    "ngram_lengths",
]

Ints = NDArray[np.int64]

#: Places tried at random for a span before all places are looked at.
TRIES = 20


@dataclass(frozen=True)
class Maskable:
    """The tokens of a batch that may be hidden, in reading order.

    Attributes:
        positions_N: where they stand in the flattened rows.
        tokens_N: their ids.
        languages_N: their languages, as indices.
        word_N: number of the word each is part of, from 0. A word is a run of tokens from one start to the next;
            specials and bounds of segments begin new words.
        run_N: number of the stretch without specials, inside one segment, that each is part of.
    """

    positions_N: Ints
    tokens_N: Ints
    languages_N: Ints
    word_N: Ints
    run_N: Ints

    @classmethod
    def of(cls, batch: Batch) -> Maskable:
        """All tokens of a batch but specials and padding."""
        positions_N = np.flatnonzero(~batch.special_BL.numpy())

        def at(values_BL: Tensor) -> Ints:
            values_N: Ints = values_BL.numpy().reshape(-1)[positions_N]
            return values_N

        broken_N = np.ones(len(positions_N), dtype=bool)
        broken_N[1:] = (np.diff(positions_N) > 1) | (np.diff(at(batch.segments_BL)) != 0)
        return cls(
            positions_N,
            at(batch.tokens_BL),
            at(batch.languages_BL),
            np.cumsum(at(batch.word_starts_BL) | broken_N) - 1,
            np.cumsum(broken_N) - 1,
        )

    def __len__(self) -> int:
        return len(self.positions_N)


class Unit(Protocol):
    """A way to choose what is hidden."""

    @property
    def together(self) -> bool:
        """Whether all tokens of a unit are replaced in one way."""
        ...

    def pick(self, text: Maskable, count: int, generator: np.random.Generator) -> Ints:
        """Choose about ``count`` tokens.

        Returns:
            For each maskable token a number it has in common with those it is hidden with, or -1: int64 [N].
        """
        ...


def inverse_frequency(counts_V: Ints, exponent: float = 0.5) -> NDArray[np.float64]:
    """Weights ``count ** -exponent`` of token ids, float64 [V]; ids that never occur weigh as if they occurred once.

    XLM's is one half: "weights are proportional to the square root of their invert frequencies".
    """
    # Powers differ between machines in the last bits; rounded, the order in which tokens are drawn does not.
    return (np.maximum(counts_V, 1) ** -exponent).astype(np.float32).astype(np.float64)


def _order(weights_U: NDArray[np.float64] | None, count: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """A random order of units; with weights, as if drawn one after the other without putting back."""
    if weights_U is None:
        return generator.permutation(count)
    # Efraimidis and Spirakis 2006: of exponential clocks with these rates, the first to ring is a weighted draw.
    return np.argsort(generator.standard_exponential(count) / weights_U, kind="stable")


def _take(
    unit_N: Ints, text: Maskable, count: int, weights_V: NDArray[np.float64] | None, generator: np.random.Generator
) -> Ints:
    """Units, numbered from 0 without gaps, in random order up to the count. A unit weighs the mean of its tokens."""
    lengths_U = np.bincount(unit_N) if len(unit_N) else np.zeros(0, dtype=np.int64)
    weights_U = None if weights_V is None else np.bincount(unit_N, weights_V[text.tokens_N]) / np.maximum(lengths_U, 1)
    order = _order(weights_U, len(lengths_U), generator)
    ends = np.cumsum(lengths_U[order])
    before = ends - lengths_U[order]
    crossing = (before < count) & (ends > count)
    taken = (ends <= count) | (crossing & (generator.random() < (count - before) / np.maximum(lengths_U[order], 1)))
    picked_U = np.zeros(len(lengths_U), dtype=bool)
    picked_U[order[taken]] = True
    return np.where(picked_U[unit_N], unit_N, -1)


@dataclass(frozen=True)
class Tokens:
    """Single tokens.

    Attributes:
        weights_V: how readily each token id is chosen (:func:`inverse_frequency`); None: all alike.
    """

    weights_V: NDArray[np.float64] | None = None
    together = False

    def pick(self, text: Maskable, count: int, generator: np.random.Generator) -> Ints:
        """Choose ``count`` tokens."""
        weights_N = None if self.weights_V is None else self.weights_V[text.tokens_N]
        chosen = _order(weights_N, len(text), generator)[:count]
        unit_N = np.full(len(text), -1, dtype=np.int64)
        unit_N[chosen] = chosen
        return unit_N


@dataclass(frozen=True)
class Words:
    """Whole words.

    Attributes:
        weights_V: how readily each token id is chosen; a word weighs the mean of its tokens, so that on average a token
            is chosen as readily as alone. None: all words alike.
    """

    weights_V: NDArray[np.float64] | None = None
    together = False

    def pick(self, text: Maskable, count: int, generator: np.random.Generator) -> Ints:
        """Choose words of about ``count`` tokens."""
        return _take(text.word_N, text, count, self.weights_V, generator)


@dataclass(frozen=True)
class Phrases:
    """Phrases of a lexicon, and the words around them.

    Attributes:
        lexicon: finds them.
        weights_V: as for :class:`Words`.
    """

    lexicon: PhraseLexicon
    weights_V: NDArray[np.float64] | None = None
    together = True

    def pick(self, text: Maskable, count: int, generator: np.random.Generator) -> Ints:
        """Choose phrases and words of about ``count`` tokens."""
        return _take(self.lexicon.phrases(text), text, count, self.weights_V, generator)


def geometric_lengths(p: float = 0.2, most: int = 10) -> NDArray[np.float64]:
    """Probabilities of span lengths 1 .. ``most``: geometric, cut off there and scaled to add up to 1.

    SpanBERT's Geo(.2) with at most 10 words has a mean of 3.8 in this way (Joshi et al. 2020, figure 2); lengths above
    10 are not counted as 10, which would make it 4.5.
    """
    shares = p * (1 - p) ** np.arange(most)
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def ngram_lengths(most: int = 3) -> NDArray[np.float64]:
    """Probabilities of n = 1 .. ``most``, proportional to 1 / n (Lan et al. 2020, section 4.1)."""
    shares = 1 / np.arange(1, most + 1)
    return np.asarray(shares / shares.sum())


@dataclass(frozen=True)
class Spans:
    """Runs of whole words, of random length, that neither overlap nor leave their text.

    Attributes:
        lengths: probabilities of 1, 2, ... words (:func:`geometric_lengths`, :func:`ngram_lengths`).
        together: whether a span is masked, replaced or kept as a whole (SpanBERT) or token by token (n-grams).
    """

    lengths: NDArray[np.float64]
    together: bool = True

    def pick(self, text: Maskable, count: int, generator: np.random.Generator) -> Ints:
        """Choose spans of about ``count`` tokens."""
        unit_N = np.full(len(text), -1, dtype=np.int64)
        if not count:
            return unit_N
        firsts = np.flatnonzero(np.diff(text.word_N, prepend=-1))  # first token of each word
        bounds = [*firsts.tolist(), len(text)]
        words = len(firsts)
        run_W = text.run_N[firsts]
        stops = np.searchsorted(run_W, run_W, side="right")  # first word behind the run
        stops_list = stops.tolist()
        free = bytearray(words)  # 0: free, 1: taken
        drawn = _drawn_lengths(self.lengths, generator)
        dice = _dice(generator)
        used = number = 0
        while used < count:
            length = next(drawn)
            for _ in range(TRIES):
                start = int(next(dice) * words)
                stop = start + length
                if stop <= stops_list[start] and free.find(1, start, stop) < 0:
                    break
            else:
                room = _room(np.frombuffer(free, dtype=np.uint8), stops)
                length = min(length, int(room.max()))
                places = np.flatnonzero(room >= length)
                start = int(places[int(next(dice) * len(places))])
                stop = start + length
            cost = bounds[stop] - bounds[start]
            if used + cost > count and next(dice) >= (count - used) / cost:
                break
            free[start:stop] = b"\1" * length
            unit_N[bounds[start] : bounds[stop]] = number
            used += cost
            number += 1
        return unit_N


def _room(taken_W: NDArray[np.uint8], stops_W: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many words from each on are free, up to the end of its run."""
    words = np.arange(len(taken_W))
    next_taken = np.where(taken_W > 0, words, len(taken_W))
    return np.minimum(np.minimum.accumulate(next_taken[::-1])[::-1], stops_W) - words


def _dice(generator: np.random.Generator) -> Iterator[float]:
    """Uniform numbers without end: drawing one at a time costs more than placing a span."""
    while True:
        yield from generator.random(256).tolist()


def _drawn_lengths(shares: NDArray[np.float64], generator: np.random.Generator) -> Iterator[int]:
    """Lengths without end."""
    edges = np.cumsum(shares)[:-1]
    while True:
        yield from (np.searchsorted(edges, generator.random(256), side="right") + 1).tolist()
