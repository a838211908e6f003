"""What stands in a hidden token's place, other than the mask: tokens of its language, neighbours in other languages.

In: hidden tokens and their languages. Out: ids. Decision: both are tables made before training, so that a draw is a
look-up. Price: a table of neighbours belongs to one vocabulary and is k x 4 bytes a token.
"""
# ruff: noqa: N815  fields are arrays and carry shape suffixes

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interlingua.errors import RecipeError

__all__ = ["LanguageVocabulary", "cross_lingual_neighbours", "read_neighbours", "replace_by_neighbours"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LanguageVocabulary:
    """The tokens of each language, to draw random replacements from.

    Attributes:
        tokens_T: ids, language after language.
        edges_T: upper bound of each token's share, added up; language l's run from l to l + 1.
        last_G: index of each language's last token.
    """

    tokens_T: Ints
    edges_T: NDArray[np.float64]
    last_G: Ints

    @classmethod
    def of(cls, counts: Iterable[Ints], vocabulary: Ints, *, unigram: bool = False) -> LanguageVocabulary:
        """From counts of tokens.

        Args:
            counts: [V] for each language, in stream order; one at a time is held.
            vocabulary: ids that may stand in.
            unigram: draw as often as tokens occur; else all that occur at all alike.

        Returns:
            The table; a language without a token of its own has the whole vocabulary.
        """
        tokens, edges = [], []
        for number, counts_V in enumerate(counts):
            own = vocabulary[counts_V[vocabulary] > 0]
            shares = counts_V[own] if unigram else np.ones(len(own), dtype=np.int64)
            if not len(own):
                own, shares = vocabulary, np.ones(len(vocabulary), dtype=np.int64)
            tokens.append(own)
            edges.append(number + np.cumsum(shares) / shares.sum())
        last_G = np.cumsum([len(own) for own in tokens]) - 1
        return cls(np.concatenate(tokens), np.concatenate(edges), last_G)

    def draw(self, languages_N: Ints, generator: np.random.Generator) -> Ints:
        """One token of each language asked for, int64 [N]."""
        at = np.searchsorted(self.edges_T, languages_N + generator.random(len(languages_N)), side="right")
        return self.tokens_T[np.minimum(at, self.last_G[languages_N])]


def replace_by_neighbours(
    tokens_N: Ints, neighbours_VK: NDArray[np.int32], mask_id: int, generator: np.random.Generator
) -> Ints:
    """A random neighbour of each token, all of its own alike; the mask for tokens that have none."""
    own_NK = neighbours_VK[tokens_N]
    counts_N = (own_NK >= 0).sum(axis=1)
    picked_N = (generator.random(len(tokens_N)) * counts_N).astype(np.int64)
    return np.where(counts_N > 0, own_NK[np.arange(len(tokens_N)), picked_N], mask_id).astype(np.int64)


def read_neighbours(path: Path, vocabulary: int) -> NDArray[np.int32]:
    """Open a table of :func:`cross_lingual_neighbours`, saved by ``np.save``: int32 [V, K], memory-mapped.

    Raises:
        RecipeError: missing, no such table, or of a vocabulary of another size.
    """
    where = f"objectives.neighbours = {str(path)!r}"
    try:
        table: NDArray[np.int32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"{path.name!r} cannot be opened: {error}", expected="an array saved by np.save", where=where
        ) from error
    if table.ndim != 2 or table.dtype != np.int32 or len(table) != vocabulary or table.max(initial=-1) >= vocabulary:
        raise RecipeError(
            f"neighbours of type {table.dtype} and shape {table.shape}, largest id {table.max(initial=-1)}",
            expected=f"int32 [{vocabulary}, K]: a row for each token of the vocabulary in use",
            where=where,
            next_step="make the table from vectors of this vocabulary (cross_lingual_neighbours)",
        )
    return table


def cross_lingual_neighbours(vectors_VD: Tensor, occurs_VG: Tensor, k: int, *, block: int = 4096) -> NDArray[np.int32]:
    """The nearest tokens of other languages, by cosine.

    Args:
        vectors_VD: a vector a token (embeddings of a trained network, or averaged word vectors); on any device.
        occurs_VG: bool, True where token v is one of language g. Two tokens with a language in common are no
            neighbours; a token without a language has none and is none (specials, tokens of all languages).
        k: neighbours a token.
        block: tokens compared at a time; the memory is about 12 x block x block bytes.

    Returns:
        int32 [V, k], nearest first, then -1 where there are fewer.
    """
    unit_VD = torch.nn.functional.normalize(vectors_VD.float(), dim=1)
    own_VG = occurs_VG.to(unit_VD)
    every_V = torch.arange(len(unit_VD), device=unit_VD.device)
    table_VK = torch.full((len(unit_VD), k), -1, dtype=torch.int32)
    alone_V = own_VG.sum(dim=1) == 0
    for rows in torch.split(every_V, block):
        best = unit_VD.new_full((len(rows), k), -torch.inf)
        found = rows.new_full((len(rows), k), -1)
        for columns in torch.split(every_V, block):
            near = unit_VD[rows] @ unit_VD[columns].T
            near[(own_VG[rows] @ own_VG[columns].T > 0) | alone_V[rows, None] | alone_V[columns]] = -torch.inf
            best, order = torch.cat([best, near], dim=1).topk(k, dim=1)
            found = torch.cat([found, columns.expand(len(rows), -1)], dim=1).gather(1, order)
        table_VK[rows.cpu()] = found.masked_fill(best == -torch.inf, -1).int().cpu()
    return table_VK.numpy()
