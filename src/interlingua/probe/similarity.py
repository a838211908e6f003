"""How alike two sets of vectors of the same texts are, whatever their width and however each is turned.

In: vectors of two models, block by block. Out: linear CKA and the Procrustes distance. Decision: both are functions of
three products of width x width, which are summed in float64 as blocks come, so memory does not grow with the texts.
Price: products of raw vectors and their means are subtracted, which costs digits where a mean is far longer than the
spread; float64 has enough of them for the states of networks.

Sources: Kornblith et al. 2019 (arXiv 1905.00414) section 3 for CKA; Ding et al. 2021 (arXiv 2108.01661) section 2 for
the Procrustes distance, between matrices of Frobenius norm 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError

__all__ = ["PairedSums", "linear_cka", "procrustes_distance"]


class PairedSums:
    """Sums over rows of two sides, from which their likeness follows.

    Args:
        left: width of the one.
        right: width of the other.
    """

    def __init__(self, left: int, right: int) -> None:
        self.count = 0
        self._sums = [np.zeros(width) for width in (left, right)]
        self._products = [np.zeros(shape) for shape in ((left, left), (right, right), (left, right))]

    def add(self, left_ND: NDArray[Any], right_ND: NDArray[Any]) -> None:
        """Take rows in; row i of one side is the same text as row i of the other.

        Raises:
            DataError: sides of different length, or numbers that are not finite.
        """
        if len(left_ND) != len(right_ND):
            raise DataError(f"{len(left_ND)} and {len(right_ND)} vectors", expected="the same texts on both sides")
        if not (np.isfinite(left_ND).all() and np.isfinite(right_ND).all()):
            raise DataError("vectors that are not finite", expected="finite numbers",
                            next_step="check the models: their weights, or their precision")  # fmt: skip
        left, right = left_ND.astype(np.float64), right_ND.astype(np.float64)
        self.count += len(left)
        for total, own in zip(self._sums, (left, right), strict=True):
            total += own.sum(axis=0)
        for product, (one, other) in zip(self._products, ((left, left), (right, right), (left, right)), strict=True):
            product += one.T @ other

    def _centred(self) -> list[NDArray[np.float64]]:
        if self.count < 2:
            raise DataError(f"{self.count} texts", expected="at least two to compare models on")
        x, y = self._sums
        xx, yy, xy = (
            product - np.outer(one, other) / self.count
            for product, (one, other) in zip(self._products, ((x, x), (y, y), (x, y)), strict=True)
        )
        if not (np.trace(xx) > 0 and np.trace(yy) > 0):
            raise DataError("a model gives all texts one vector", expected="vectors that differ")
        return [xx, yy, xy]

    def linear_cka(self) -> float:
        """Linear CKA of centred vectors, from 0 to 1 (1: equal up to a turn and one scale).

        Raises:
            DataError: fewer than two rows, or all of them equal.
        """
        xx, yy, xy = self._centred()
        return float((xy**2).sum() / (np.linalg.norm(xx) * np.linalg.norm(yy)))

    def procrustes_distance(self) -> float:
        """Squared distance left after the best turn, of centred vectors of norm 1: from 0 (equal) to 2.

        Raises:
            DataError: fewer than two rows, or all of them equal.
        """
        xx, yy, xy = self._centred()
        nuclear = np.linalg.norm(xy, "nuc") / np.sqrt(np.trace(xx) * np.trace(yy))
        return float(max(0.0, 2 - 2 * nuclear))


def _sums(left_ND: NDArray[Any], right_ND: NDArray[Any]) -> PairedSums:
    sums = PairedSums(left_ND.shape[1], right_ND.shape[1])
    sums.add(left_ND, right_ND)
    return sums


def linear_cka(left_ND: NDArray[Any], right_ND: NDArray[Any]) -> float:
    """:meth:`PairedSums.linear_cka` of vectors that are all there."""
    return _sums(left_ND, right_ND).linear_cka()


def procrustes_distance(left_ND: NDArray[Any], right_ND: NDArray[Any]) -> float:
    """:meth:`PairedSums.procrustes_distance` of vectors that are all there."""
    return _sums(left_ND, right_ND).procrustes_distance()
