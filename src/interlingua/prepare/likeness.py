"""Hashes by which copies and near copies of a text are found.

Texts of one batch flow in; 128-bit keys for copies, and hashes of MinHash bands for near copies (Broder 1997), flow
out. Decision: a shingle is a few tokens as `Letters` hashes them, so all of a batch is numpy; a permutation is x -> a
x + b modulo 2^32 with odd a over well-mixed shingle hashes, which keeps them apart and costs two instructions. Price:
keys depend on this code; files of keys live only as long as one build.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from interlingua.prepare.letters import Letters, mixed

__all__ = ["MinHash", "exact_keys", "shingles"]

_BASE = np.uint64(0xD1B54A32D192ED03)
# Permuted shingles held at once: a few MB, so that the cache does the work and not the memory.
_CHUNK = 1 << 18


def exact_keys(groups: Sequence[str], texts: Sequence[bytes]) -> np.ndarray:
    """uint64 [texts, 2]: a hash of each text and of the group in which it is unique (its language)."""
    seeds = {group: hashlib.blake2b(group.encode(), digest_size=8).digest() for group in set(groups)}
    digests = b"".join(
        hashlib.blake2b(text, digest_size=16, key=seeds[group]).digest()
        for group, text in zip(groups, texts, strict=True)
    )
    return np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2)


def shingles(letters: Letters, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Hash of every run of ``size`` tokens, and int64 [texts + 1] where each text's shingles begin."""
    tokens, bounds = letters.tokens
    counts = np.maximum(np.diff(bounds) - size + 1, 0)
    starts = np.concatenate(([0], np.cumsum(counts)))
    if not starts[-1]:
        return np.zeros(0, dtype=np.uint64), starts
    # Rolling over all texts at once makes shingles across their borders; those are taken out again.
    rolled = np.zeros(len(tokens) - size + 1, dtype=np.uint64)
    for place in range(size):
        rolled *= _BASE
        rolled += tokens[place : len(tokens) - size + 1 + place]
    first = np.arange(starts[-1]) + np.repeat(bounds[:-1] - starts[:-1], counts)
    return mixed(rolled[first]), starts


@dataclass(frozen=True)
class MinHash:
    """Signatures of ``bands`` x ``rows`` minima."""

    bands: int
    rows: int

    @cached_property
    def _permutations(self) -> tuple[np.ndarray, np.ndarray]:
        numbers = mixed(np.arange(2 * self.bands * self.rows, dtype=np.uint64)).astype(np.uint32)
        return numbers[::2] | np.uint32(1), numbers[1::2]

    def signatures(self, hashes: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Minima of every permutation over each text's shingles.

        Args:
            hashes: shingles of all texts, one text after another.
            starts: int64 [texts + 1].

        Returns:
            uint32 [bands x rows, texts with a shingle].
        """
        factors, terms = self._permutations
        begins = starts[:-1][np.diff(starts) > 0]
        found = np.empty((len(factors), len(begins)), dtype=np.uint32)
        short = (hashes >> np.uint64(32)).astype(np.uint32)
        # Whole texts at a time, about _CHUNK shingles.
        cuts = np.unique(np.searchsorted(begins, np.arange(0, len(short) + _CHUNK, _CHUNK)))
        for low, high in itertools.pairwise(cuts):
            end = begins[high] if high < len(begins) else len(short)
            part = short[begins[low] : end]
            inside = begins[low:high] - begins[low]
            buffer = np.empty_like(part)
            for number in range(len(factors)):
                np.multiply(part, factors[number], out=buffer)
                buffer += terms[number]
                np.minimum.reduceat(buffer, inside, out=found[number, low:high])
        return found

    def band_keys(self, signatures: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """uint64 [texts, bands]: texts that share one are near copies.

        Args:
            signatures: of `signatures`.
            seeds: uint64 [texts], the group in which a text is compared.
        """
        keys = np.empty((signatures.shape[1], self.bands), dtype=np.uint64)
        for band in range(self.bands):
            key = mixed(seeds + np.uint64(band))
            for row in signatures[band * self.rows : (band + 1) * self.rows]:
                key = mixed(key ^ row)
            keys[:, band] = key
        return keys
