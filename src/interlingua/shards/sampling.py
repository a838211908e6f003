"""Which text is drawn when: a pure function of the seed and the number of the draw.

In: how many units each language has and its share. Out: for draw k, the language and which of its units. Decisions:
draws come in blocks in which every language gets its exact share (so realised shares never drift, and the number of
draws a language had before block b is one multiplication: resuming is seeking); inside an epoch of a language every
unit comes once, in the order of a keyed permutation that needs no memory. Price: where one epoch ends and the next
begins, a unit may come twice in short order.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from interlingua.errors import LanguageError, RecipeError

__all__ = ["DrawPlan", "keyed_generator", "permute"]

SCALE = 1 << 40
#: A block's table is held in memory: 16 bytes a draw.
LONGEST_BLOCK = 1 << 24


def keyed_generator(*key: int) -> np.random.Generator:
    """A generator that depends on the key alone: the same numbers on any machine (Philox, counter-based)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def _mix(x: np.ndarray, key: int) -> np.ndarray:
    """SplitMix64's finaliser: the round function of the permutation."""
    with np.errstate(over="ignore"):
        x = (x + np.uint64(key)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


def permute(index: np.ndarray, size: int, *key: int) -> np.ndarray:
    """Where ``index`` goes under a keyed permutation of ``range(size)``, without holding the permutation.

    A four-round Feistel network over the smallest even number of bits, with cycle walking (Black and Rogaway 2002).

    Args:
        index: integers in [0, size).
        size: length of the permuted range.
        key: any integers; another key, another permutation.

    Returns:
        int64 array of the same shape, a bijection of [0, size).
    """
    if size <= 1:
        return np.zeros_like(index)
    half = max(1, (int(size - 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    shift = np.uint64(half)
    keys = [int(k) for k in np.random.SeedSequence(key).generate_state(4, np.uint64)]
    x = index.astype(np.uint64)
    outside = np.ones(x.shape, dtype=bool)
    while outside.any():
        left, right = x[outside] >> shift, x[outside] & mask
        for k in keys:
            left, right = right, left ^ (_mix(right, k) & mask)
        x[outside] = (left << shift) | right
        outside = x >= size
    return x.astype(np.int64)


class DrawPlan:
    """The schedule of draws over languages.

    Args:
        sizes: units a language has.
        shares: probability of each language; those with share 0 are never drawn.
        seed: of the run.
        window: units of a language that are permuted together, window after window in an order of their own; 0: all.

    Raises:
        LanguageError: a language with a share and no text.
        RecipeError: no language has a share, or one's is too small to be drawn.
    """

    def __init__(self, sizes: Mapping[str, int], shares: Mapping[str, float], seed: int, *, window: int = 0) -> None:
        drawn = [lang for lang in sizes if shares.get(lang, 0) > 0]
        for lang in shares:
            if shares[lang] > 0 and not sizes.get(lang):
                raise LanguageError(
                    f"language {lang!r} has a share of {shares[lang]:g} and no text",
                    expected="at least one text in every language drawn",
                    where="data.weights",
                    next_step="add text in that language, or take it out",
                )
        if not drawn:
            raise RecipeError("no language is drawn", expected="at least one positive share", where="data.weights")
        total = sum(shares[lang] for lang in drawn)
        self.languages = drawn
        self.sizes = [sizes[lang] for lang in drawn]
        self.seed = seed
        self.window = window
        probability = np.array([shares[lang] / total for lang in drawn])
        # Integer bounds, so that counts before any block are exact however long the run.
        bounds = np.round(np.cumsum(probability) * SCALE).astype(object)
        bounds[-1] = SCALE
        self._bounds = [0, *(int(b) for b in bounds)]
        # Blocks so long that every language has at least one draw in each: then no count is ever negative.
        smallest = min(b - a for a, b in itertools.pairwise(self._bounds))
        self.block = max(1024, -(-SCALE // max(1, smallest)))
        if self.block > LONGEST_BLOCK:
            lang = min(drawn, key=lambda lang: shares[lang])
            raise RecipeError(
                f"language {lang!r} has {shares[lang] / total:.1g} of the draws",
                expected=f"a share of at least {1 / LONGEST_BLOCK:.1g}",
                where="data.weights",
                next_step="take the language out, give it a larger weight, or lower data.exponent",
            )
        self._table = lru_cache(maxsize=4)(self._make_table)

    def drawn_before(self, block: int) -> list[int]:
        """How often each language was drawn before a block."""
        marks = [block * self.block * b // SCALE for b in self._bounds]
        return [b - a for a, b in itertools.pairwise(marks)]

    def _make_table(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        before, after = self.drawn_before(block), self.drawn_before(block + 1)
        counts = [b - a for a, b in zip(before, after, strict=True)]
        language = keyed_generator(self.seed, block, 1).permutation(np.repeat(np.arange(len(counts)), counts))
        # Only languages are shuffled: a language's own draws stay in order, so that its epochs do not run together.
        ordinal = np.empty_like(language)
        in_order = np.concatenate([np.arange(a, b) for a, b in zip(before, after, strict=True)])
        ordinal[np.argsort(language, kind="stable")] = in_order
        return language, ordinal

    def draw(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws ``start:stop``.

        Returns:
            (index into ``languages``, number of the unit in its language), int64 [stop - start] each.
        """
        language = np.empty(stop - start, dtype=np.int64)
        unit = np.empty(stop - start, dtype=np.int64)
        for block in range(start // self.block, -(-stop // self.block)):
            low, high = max(start, block * self.block), min(stop, (block + 1) * self.block)
            languages, ordinals = self._table(block)
            inside = slice(low - block * self.block, high - block * self.block)
            language[low - start : high - start] = languages[inside]
            unit[low - start : high - start] = ordinals[inside]
        for index, size in enumerate(self.sizes):
            chosen = (language == index).nonzero()[0]
            epochs, rest = np.divmod(unit[chosen], size)
            for epoch in np.unique(epochs):
                now = epochs == epoch
                unit[chosen[now]] = self._scattered(rest[now], size, index, int(epoch))
        return language, unit

    def _scattered(self, ordinals: np.ndarray, size: int, *key: int) -> np.ndarray:
        """Which units the draws of an epoch are."""
        if not self.window or self.window >= size:
            return permute(ordinals, size, self.seed, *key)
        # The last window is shorter and stays last, so that all others can change places.
        full = size // self.window
        places, inside = np.divmod(ordinals, self.window)
        found = np.empty_like(ordinals)
        for place in np.unique(places).tolist():
            here = places == place
            number = int(permute(np.array([place]), full, self.seed, *key, 1)[0]) if place < full else place
            length = min(self.window, size - number * self.window)
            found[here] = number * self.window + permute(inside[here], length, self.seed, *key, 2, number)
        return found
