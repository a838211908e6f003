"""Where languages lie: their mean vectors, and a map of them.

In: vectors of texts by language. Out: means, and two coordinates a language. Decision: the map is the two first
principal components of the means (deterministic, distances readable), not t-SNE.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError

__all__ = ["language_map", "language_means"]


def language_means(vectors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Mean vector [D] of each language's vectors [N, D] (Liu et al. 2020, arXiv 2010.10041)."""
    return {lang: v.mean(axis=0) for lang, v in vectors.items()}


def language_map(means: Mapping[str, NDArray[np.float32]]) -> dict[str, tuple[float, float]]:
    """Two principal components of the language means.

    Raises:
        DataError: fewer than three languages.
    """
    if len(means) < 3:
        raise DataError(f"{len(means)} languages", expected="at least three for a map")
    matrix = np.stack(list(means.values()))
    matrix = matrix - matrix.mean(axis=0)
    u, s, _ = np.linalg.svd(matrix, full_matrices=False)
    points = u[:, :2] * s[:2]
    # The sign of a component is arbitrary; the entry of largest size is made positive so that runs agree.
    points *= np.sign(points[np.abs(points).argmax(axis=0), [0, 1]])
    return {lang: (float(x), float(y)) for lang, (x, y) in zip(means, points, strict=True)}
