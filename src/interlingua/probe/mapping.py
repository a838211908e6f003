"""Bring the words of two languages together without knowing a single translation.

In: vectors of the words of two languages, most frequent first. Out: both turned into one space. After Artetxe, Labaka
and Agirre 2018 (arXiv 1805.06297): words whose likeness to all others is spread in the same way are first taken for
translations, then a turn and a dictionary are learned from each other in turns, the dictionary from a random part of
the similarities that grows whenever nothing improves; at last both sides are whitened, turned, and their directions
weighed by how far the sides agree in them. Decision: the most frequent words learn, all are mapped. Price: similarities
of learning words are held, 4 bytes for each pair; a pair of spaces without a common shape ends at something arbitrary,
and only a lexicon tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, RecipeError
from interlingua.probe.neighbours import unit

__all__ = ["Mapped", "centred_unit", "map_unsupervised"]

Vectors = NDArray[np.float32]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

#: The paper's section 4: neighbours of CSLS, first share of similarities that is kept and its growth, iterations
#: without progress after which it grows, and the smallest progress.
_NEIGHBOURS, _FIRST_KEPT, _GROWTH, _PATIENCE, _PROGRESS = 10, 0.1, 2.0, 50, 1e-6


@dataclass(frozen=True)
class Mapped:
    """Two languages' vectors in one space.

    Attributes:
        source: [N, D].
        target: [M, D].
        agreement: mean cosine of learning words to the words that are their translations in the end.
        iterations: how often a dictionary was learned.
    """

    source: Vectors
    target: Vectors
    agreement: float
    iterations: int


def map_unsupervised(
    source_ND: NDArray[Any],
    target_MD: NDArray[Any],
    *,
    first: int = 2000,
    most: int = 2000,
    seed: int = 0,
    progress: Callable[[float], Any] | None = None,
) -> Mapped:
    """Map two sets of vectors into one space.

    Args:
        source_ND: vectors of words, most frequent first.
        target_MD: of the same width.
        first: words a side that the first dictionary is made of; the paper has 4,000.
        most: words a side that dictionaries are learned with; the paper has 20,000, on vectors of far more text.
        seed: of what is left out of a dictionary.
        progress: called after each iteration with the share of similarities that is kept.

    Raises:
        DataError: other widths, fewer words than the width or than CSLS's neighbours, or numbers that are not finite.
        RecipeError: no word to learn from.
    """
    if source_ND.shape[1] != target_MD.shape[1]:
        raise DataError(f"vectors of width {source_ND.shape[1]} and {target_MD.shape[1]}", expected="one width")
    if min(first, most) < 1:
        raise RecipeError(f"{min(first, most)} words to learn from", expected="at least 1")
    least = max(source_ND.shape[1], _NEIGHBOURS + 1)
    if min(len(source_ND), len(target_MD)) < least:
        raise DataError(f"{len(source_ND)} and {len(target_MD)} words", expected=f"at least {least} a side, the width",
                        next_step="give more text, or make the vectors narrower")  # fmt: skip
    source_ND, target_MD = centred_unit(source_ND), centred_unit(target_MD)
    x_ND, z_MD = source_ND[:most], target_MD[:most]
    pairs = _first_pairs(source_ND[:first], target_MD[:first])
    chance, kept, best, since, iterations = np.random.default_rng(seed), _FIRST_KEPT, -np.inf, 0, 0
    while True:
        iterations += 1
        left_DD, _, right_DD = np.linalg.svd(x_ND[pairs[0]].T @ z_MD[pairs[1]])
        pairs, agreement = _dictionary(x_ND @ (left_DD @ right_DD), z_MD, chance, kept)
        if progress:
            progress(kept)
        if agreement - best >= _PROGRESS:
            best, since = agreement, 0
            continue
        since += 1
        if since > _PATIENCE:
            if kept >= 1:
                break
            kept, since = min(1.0, kept * _GROWTH), 0
    mapped = _weighed(source_ND, target_MD, pairs)
    return Mapped(*mapped, float(agreement), iterations)


def centred_unit(vectors_ND: NDArray[Any]) -> Vectors:
    """Length 1, mean 0, length 1 again."""
    unit_ND = unit(vectors_ND)
    return unit(unit_ND - unit_ND.mean(axis=0))


def _first_pairs(x_ND: Vectors, z_MD: Vectors) -> Pairs:
    """Words whose likeness to all others, sorted, is most alike: the sorted rows of the roots of X X' and Z Z'."""
    count = min(len(x_ND), len(z_MD))
    spread = []
    for side_ND in (x_ND[:count], z_MD[:count]):
        left_ND, size_D, _ = np.linalg.svd(side_ND, full_matrices=False)
        spread.append(centred_unit(np.sort((left_ND * size_D) @ left_ND.T, axis=1)))
    similarity_NM = spread[0] @ spread[1].T
    there_N = (similarity_NM - _popular(similarity_NM.T) / 2).argmax(axis=1)
    back_M = (similarity_NM.T - _popular(similarity_NM) / 2).argmax(axis=1)
    return _union(there_N, back_M)


def _popular(similarity_NM: Vectors) -> Vectors:
    """Mean of each row's largest values, CSLS's r, [N]."""
    k = min(_NEIGHBOURS, similarity_NM.shape[1])
    found: Vectors = -np.partition(-similarity_NM, k - 1, axis=1)[:, :k].mean(axis=1)
    return found


def _union(there_N: NDArray[np.int64], back_M: NDArray[np.int64]) -> Pairs:
    """The best target of every source and the best source of every target; pairs that agree count twice."""
    return (
        np.concatenate([np.arange(len(there_N)), back_M]),
        np.concatenate([there_N, np.arange(len(back_M))]),
    )


def _dictionary(x_ND: Vectors, z_MD: Vectors, chance: np.random.Generator, kept: float) -> tuple[Pairs, float]:
    """Learn translations from a random part of the similarities, and how alike the best ones of all of them are."""
    similarity_NM = x_ND @ z_MD.T
    agreement = float((similarity_NM.max(axis=1).mean() + similarity_NM.max(axis=0).mean()) / 2)
    best = []
    for side, popular in ((similarity_NM, _popular(similarity_NM.T)), (similarity_NM.T, _popular(similarity_NM))):
        score = side - popular / 2
        if kept < 1:
            score = np.where(chance.random(score.shape, dtype=np.float32) < kept, score, 0)
        best.append(score.argmax(axis=1))
    return _union(best[0], best[1]), agreement


def _weighed(source_ND: Vectors, target_MD: Vectors, pairs: Pairs) -> tuple[Vectors, Vectors]:
    """Whiten both sides, turn them, weigh directions by the root of their correlation, and take the whitening back."""
    sides = (source_ND.astype(np.float64), target_MD.astype(np.float64))
    roots, inverses = zip(*(_whitening(side[own]) for side, own in zip(sides, pairs, strict=True)), strict=True)
    white = [side @ root for side, root in zip(sides, roots, strict=True)]
    left_DD, size_D, right_DD = np.linalg.svd(white[0][pairs[0]].T @ white[1][pairs[1]])
    mapped = []
    for side, turn_DD, inverse_DD in zip(white, (left_DD, right_DD.T), inverses, strict=True):
        weighed = (side @ turn_DD) * np.sqrt(size_D)
        mapped.append(np.asarray(weighed @ (turn_DD.T @ inverse_DD @ turn_DD), dtype=np.float32))
    return mapped[0], mapped[1]


def _whitening(vectors_ND: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The symmetric matrix that makes X'X the unit matrix, and its inverse."""
    _, size_D, right_DD = np.linalg.svd(vectors_ND, full_matrices=False)
    size_D = np.maximum(size_D, size_D[0] * 1e-6)
    return (right_DD.T / size_D) @ right_DD, (right_DD.T * size_D) @ right_DD
