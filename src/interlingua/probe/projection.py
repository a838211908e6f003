"""A linear map of one language's vectors onto another's, learned from few pairs of translations.

In: vectors of translations, row by row. Out: a map [D, D]. Decision: the identity plus a ridge regression of what it
leaves, so that vectors which agree already stay as they are; its strength is the one by which pairs that were held out
find each other best. Price: a third of the pairs is learned from only at the end.
"""

from __future__ import annotations

import statistics

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.probe.alignment import precision_at_1
from interlingua.probe.neighbours import unit

__all__ = ["projection"]

Vectors = NDArray[np.float32]

#: Of the regression, in mean squares of a dimension.
STRENGTHS = (1000.0, 100.0, 10.0, 1.0, 0.1)


def projection(source_ND: Vectors, target_ND: Vectors) -> Vectors:
    """A map [D, D]: ``source @ map`` lies near ``target``.

    Args:
        source_ND: vectors, perhaps centred; they are scaled to length 1 here.
        target_ND: those of their translations.

    Raises:
        DataError: fewer than three pairs.
    """
    if len(source_ND) < 3:
        raise DataError(f"{len(source_ND)} pairs to learn a projection from", expected="at least 3; hundreds are usual")
    source_ND, target_ND = unit(source_ND), unit(target_ND)
    learned = len(source_ND) * 2 // 3

    def found(strength: float) -> float:
        map_DD = _ridge(source_ND[:learned], target_ND[:learned], strength)
        return statistics.fmean(precision_at_1(target_ND[learned:], source_ND[learned:] @ map_DD))

    return _ridge(source_ND, target_ND, max(STRENGTHS, key=found))


def _ridge(source_ND: Vectors, target_ND: Vectors, strength: float) -> Vectors:
    width = source_ND.shape[1]
    ridge_DD = strength * (source_ND**2).sum() / width * np.eye(width)
    left_DD = np.linalg.solve(source_ND.T @ source_ND + ridge_DD, source_ND.T @ (target_ND - source_ND))
    return np.asarray(np.eye(width) + left_DD, dtype=np.float32)
