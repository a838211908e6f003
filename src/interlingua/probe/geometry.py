"""Where languages lie: mean vectors, a map, families in the distances, and how narrow the space is.

In: vectors, or what was summed over them. Out: numbers by their published definitions, in float64. Decisions: the map
is the two first principal components of the means (deterministic, distances readable), not t-SNE; distances between
means are cosines, clusters are joined by average linkage and cut where there are as many as there are families.
Price: V-measure grows with the number of clusters, so a number means something only beside that of shuffled families.

Sources: Libovický et al. 2020 (arXiv 2004.05160) for means and V-measure against families; Ethayarajh 2019
(arXiv 1909.00512) for anisotropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.languages import language

__all__ = [
    "family_of",
    "family_v_measure",
    "language_clusters",
    "language_map",
    "language_means",
    "mean_cosine",
    "mean_distances",
    "shuffled_v_measure",
]

Kinship = Literal["family", "branch"]

#: What the table of languages says where there is no family.
_ALONE = frozenset({"Isolate", "Creole", "Constructed"})


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


def mean_distances(means_GD: NDArray[Any]) -> NDArray[np.float64]:
    """Cosine distances between language means [G, D]: [G, G], zeros on the diagonal.

    Raises:
        DataError: a mean of zero, whose direction nobody knows, or one that is not finite.
    """
    means_GD = means_GD.astype(np.float64)
    lengths_G1 = np.linalg.norm(means_GD, axis=1, keepdims=True)
    if not np.isfinite(lengths_G1).all() or not lengths_G1.all():
        place = int((~np.isfinite(lengths_G1) | (lengths_G1 == 0)).argmax())
        raise DataError(f"the mean of language number {place} has length {lengths_G1[place, 0]}",
                        expected="a finite length above 0")  # fmt: skip
    unit_GD = means_GD / lengths_G1
    distances_GG: NDArray[np.float64] = np.clip(1 - unit_GD @ unit_GD.T, 0, 2)
    np.fill_diagonal(distances_GG, 0)
    return (distances_GG + distances_GG.T) / 2


def family_of(tag: str, *, by: Kinship = "family") -> str:
    """Family of a language, or the branch of it where that is known; a language without one is its own.

    Raises:
        LanguageError: the tag is unknown.
    """
    entry = language(tag)
    if entry.family in _ALONE:
        return entry.name
    return entry.branch or entry.family if by == "branch" else entry.family


def language_clusters(distances_GG: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Clusters of languages by average linkage over their distances: a number a language, [G].

    Args:
        distances_GG: symmetric.
        count: how many clusters the tree is cut into.

    Raises:
        DataError: fewer than two languages.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(distances_GG) < 2:
        raise DataError(f"{len(distances_GG)} languages", expected="at least two for clusters")
    tree = linkage(squareform(distances_GG, checks=False), method="average")
    return np.asarray(fcluster(tree, t=count, criterion="maxclust"), dtype=np.int64)


def family_v_measure(distances_GG: NDArray[np.float64], families: Sequence[str]) -> float:
    """V-measure of the clusters of languages against their families.

    Args:
        distances_GG: between the languages' means.
        families: one a language.

    Raises:
        DataError: fewer than two languages.
    """
    from sklearn.metrics import v_measure_score

    return float(v_measure_score(families, language_clusters(distances_GG, len(set(families)))))


def shuffled_v_measure(
    distances_GG: NDArray[np.float64], families: Sequence[str], *, times: int = 200, seed: int = 0
) -> float:
    """Mean V-measure of the same clusters against families dealt out at random: what the cut alone is worth."""
    from sklearn.metrics import v_measure_score

    clusters = language_clusters(distances_GG, len(set(families)))
    chance = np.random.default_rng(seed)
    return float(np.mean([v_measure_score(chance.permutation(families), clusters) for _ in range(times)]))


def mean_cosine(unit_sum_D: NDArray[np.float64], square_sum: float, count: int) -> float:
    """Mean cosine of all pairs of different vectors, exactly, from sums over unit vectors.

    The square of a sum is the sum over all pairs; the pairs of a vector with itself are taken off.

    Args:
        unit_sum_D: sum of the vectors scaled to length 1.
        square_sum: sum of their squared lengths: their number, less the zero vectors.
        count: how many.

    Raises:
        DataError: fewer than two.
    """
    if count < 2:
        raise DataError(f"{count} vectors", expected="at least two for a pair")
    return float((unit_sum_D @ unit_sum_D - square_sum) / (count * (count - 1)))
