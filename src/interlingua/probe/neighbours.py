"""Nearest vectors of the other side, and margins that tell a good neighbour from a popular one.

In: vectors of two sides. Out: the k nearest by cosine of every row, exactly, and for every row its best one by a
scoring. Decision: similarities are made a block of rows at a time and only k a row are kept, so memory is rows x k and
never rows x rows; and, as in LASER's code, a margin chooses among the k nearest by cosine. Price: a text that is best
by margin but not among the k nearest is not found, and each direction multiplies the matrices once more.

Scorings, where r(x) is the mean cosine of x to its k nearest on the other side:

    cosine    cos(x, y)                            k 1   "absolute" in Artetxe and Schwenk
    csls      2 cos(x, y) - r(x) - r(y)            k 10  Conneau et al. 2018, arXiv 1710.04087
    distance  cos(x, y) - (r(x) + r(y)) / 2        k 4   Artetxe and Schwenk 2019, arXiv 1811.01136
    ratio     cos(x, y) / ((r(x) + r(y)) / 2)      k 4   the same
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interlingua.errors import DataError, RecipeError
from interlingua.errors import nearest as closest_word

__all__ = ["SCORINGS", "Best", "Neighbours", "best_matches", "check_scoring", "nearest", "unit"]

#: Scoring -> neighbours that it looks at.
SCORINGS = {"cosine": 1, "csls": 10, "distance": 4, "ratio": 4}
# Similarities held at a time: 32 MB of float32, and twice that for the places that a partial sort returns.
_BLOCK = 1 << 23
#: Keys of a block.
_COLUMNS = 1 << 14

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Neighbours:
    """The k nearest keys of every query, nearest first; of equally near ones the first stands first.

    Attributes:
        similarity: cosines, [N, k].
        index: rows of the keys, [N, k].
    """

    similarity: Vectors
    index: NDArray[np.int64]


@dataclass(frozen=True)
class Best:
    """One key for every query.

    Attributes:
        score: [N], how well it fits, by the scoring.
        index: [N], row of the key.
    """

    score: NDArray[np.float64]
    index: NDArray[np.int64]


def unit(vectors_ND: NDArray[Any]) -> Vectors:
    """Vectors of length 1; a zero vector stays one.

    Raises:
        DataError: none at all, or one that is not finite.
    """
    if vectors_ND.ndim != 2 or not len(vectors_ND):
        raise DataError(f"vectors of shape {vectors_ND.shape}", expected="[N, D] with at least one row")
    broken = ~np.isfinite(vectors_ND).all(axis=1)
    if broken.any():
        raise DataError(
            f"{int(broken.sum())} of {len(vectors_ND)} vectors are not finite, the first is number {broken.argmax()}",
            expected="finite numbers",
            next_step="check the model: its weights, or its precision, give NaN or infinite states for these texts",
        )
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.asarray(vectors_ND / np.maximum(lengths_N1, 1e-12), dtype=np.float32)


def nearest(
    queries_ND: Vectors, keys_MD: Vectors, k: int, *, block: int = _BLOCK, columns: int = _COLUMNS
) -> Neighbours:
    """The k nearest keys of every query by cosine, exactly.

    Args:
        queries_ND: vectors; they need not be of length 1.
        keys_MD: vectors of the other side.
        k: how many; all keys if there are fewer.
        block: similarities held at a time.
        columns: keys of them.

    Raises:
        DataError: sides of different width, or as :func:`unit`.
    """
    queries_ND, keys_MD = unit(queries_ND), unit(keys_MD)
    if queries_ND.shape[1] != keys_MD.shape[1]:
        raise DataError(f"vectors of shapes {queries_ND.shape} and {keys_MD.shape}", expected="the same width")
    k = min(k, len(keys_MD))
    # Blocks of some rows and many keys: products of a few rows with all keys are slow, and all at once do not fit.
    columns = min(len(keys_MD), columns)
    rows = max(1, block // columns)
    parts = [_nearest(queries_ND[i : i + rows], keys_MD, k, columns) for i in range(0, len(queries_ND), rows)]
    return Neighbours(np.concatenate([s for s, _ in parts]), np.concatenate([i for _, i in parts]))


def _nearest(queries_BD: Vectors, keys_MD: Vectors, k: int, columns: int) -> tuple[Vectors, NDArray[np.int64]]:
    """The k nearest of some queries, block of keys by block of keys."""
    best_BK, index_BK = np.zeros((len(queries_BD), 0), np.float32), np.zeros((len(queries_BD), 0), np.int64)
    for start in range(0, len(keys_MD), columns):
        # By numpy: oneDNN, though quicker, gives equal keys similarities that differ in the last bit.
        similarity_BM = queries_BD @ keys_MD[start : start + columns].T
        found, places = _top(similarity_BM, min(k, similarity_BM.shape[1]))
        best_BK, index_BK = np.concatenate([best_BK, found], axis=1), np.concatenate([index_BK, places + start], axis=1)
        if start:
            # Stable: of equally near keys those of earlier blocks stand first.
            order_BK = np.argsort(-best_BK, axis=1, kind="stable")[:, :k]
            best_BK = np.take_along_axis(best_BK, order_BK, axis=1)
            index_BK = np.take_along_axis(index_BK, order_BK, axis=1)
    return best_BK, index_BK


def _top(similarity_BM: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
    """The k largest of every row, ties by place."""
    if k == 1:
        index_BK = similarity_BM.argmax(axis=1)[:, None]
        return np.take_along_axis(similarity_BM, index_BK, axis=1), index_BK
    found = torch.topk(torch.from_numpy(similarity_BM), k, dim=1)
    index_BK, last_B1 = found.indices.numpy(), found.values[:, -1:].numpy()
    # Where more than k reach the k-th value, topk keeps any of them; a stable sort keeps the first.
    for row in np.flatnonzero((similarity_BM >= last_B1).sum(axis=1) > k):
        index_BK[row] = np.argsort(-similarity_BM[row], kind="stable")[:k]
    index_BK.sort(axis=1)
    found_BK = np.take_along_axis(similarity_BM, index_BK, axis=1)
    order_BK = np.argsort(-found_BK, axis=1, kind="stable")
    return np.take_along_axis(found_BK, order_BK, axis=1), np.take_along_axis(index_BK, order_BK, axis=1)


def check_scoring(scoring: str, k: int | None = None) -> int:
    """Number of neighbours that a scoring looks at: ``k``, or its own number.

    Raises:
        RecipeError: an unknown scoring, or a k below 1.
    """
    if scoring not in SCORINGS:
        raise RecipeError(
            f"scoring {scoring!r}{closest_word(scoring, SCORINGS)}",
            expected=f"one of {', '.join(SCORINGS)}",
            where="scoring",
        )
    if k is not None and k < 1:
        raise RecipeError(f"{k} neighbours", expected="at least 1", where="neighbours")
    return SCORINGS[scoring] if k is None else k


def best_matches(
    source_ND: Vectors, target_MD: Vectors, *, scoring: str = "cosine", k: int | None = None
) -> tuple[Best, Best]:
    """The best target of every source and the best source of every target.

    Args:
        source_ND: vectors.
        target_MD: vectors of the other side.
        scoring: one of :data:`SCORINGS`.
        k: neighbours instead of the scoring's own number.

    Returns:
        (for each source, for each target). Of equally good ones the nearer by cosine, then the first.

    Raises:
        RecipeError: as :func:`check_scoring`.
        DataError: as :func:`nearest`.
    """
    k = check_scoring(scoring, k)
    there, back = nearest(source_ND, target_MD, k), nearest(target_MD, source_ND, k)
    source_mean_N = there.similarity.mean(axis=1, dtype=np.float64)
    target_mean_M = back.similarity.mean(axis=1, dtype=np.float64)
    return _best(there, source_mean_N, target_mean_M, scoring), _best(back, target_mean_M, source_mean_N, scoring)


def _best(found: Neighbours, own_N: NDArray[Any], other_M: NDArray[Any], scoring: str) -> Best:
    cosine_NK = found.similarity.astype(np.float64)
    mean_NK = (own_N[:, None] + other_M[found.index]) / 2
    if scoring == "cosine":
        score_NK = cosine_NK
    elif scoring == "ratio":
        score_NK = cosine_NK / np.where(np.abs(mean_NK) < 1e-12, 1e-12, mean_NK)
    else:
        score_NK = (cosine_NK - mean_NK) * (2 if scoring == "csls" else 1)
    place_N1 = score_NK.argmax(axis=1)[:, None]
    return Best(
        np.take_along_axis(score_NK, place_N1, axis=1)[:, 0], np.take_along_axis(found.index, place_N1, axis=1)[:, 0]
    )
