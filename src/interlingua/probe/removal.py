"""What tells languages apart, taken out of vectors; no labels and no parallel text are needed.

In: vectors by language. Out: the same without the directions of language. LIR takes off the first ``rank`` singular
directions of each language's own vectors; LSAR one subspace for all: the ``rank`` directions in which the languages'
means differ, with the mean they share made to stand at right angles to it. Decision: both are fitted on the vectors
they are used on, as centring is; a caller with other text can fit there. Price: with ``rank`` above the number of
languages less one LSAR has nothing to take.

Sources: Yang et al. 2021 (arXiv 2109.04727) section 2; Xie et al. 2022 (arXiv 2401.05792) section 3, after Piratla et
al. 2020 (arXiv 2003.12815).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, RecipeError, nearest

__all__ = ["REMOVALS", "check_removal", "language_subspace", "lir", "lsar", "removed", "without"]

Vectors = NDArray[np.float32]

#: Ways of removal.
REMOVALS = ("lir", "lsar")


def without(vectors_ND: NDArray[Any], directions_DR: NDArray[np.float64]) -> Vectors:
    """Vectors with what they have in orthonormal directions [D, R] taken off."""
    return np.asarray(vectors_ND - (vectors_ND @ directions_DR) @ directions_DR.T, dtype=np.float32)


def lir(vectors_ND: Vectors, rank: int = 1) -> Vectors:
    """Vectors of one language without their first ``rank`` right singular directions; they are not centred before.

    Raises:
        RecipeError: a rank that leaves nothing, or below 1.
    """
    most = min(vectors_ND.shape) - 1
    if not 1 <= rank <= most:
        raise RecipeError(f"{rank} directions of {vectors_ND.shape} vectors", expected=f"1 to {most}", where="rank")
    # Of D x D products and not of the vectors, so that the time does not grow with their number squared.
    products_DD = vectors_ND.astype(np.float64).T @ vectors_ND.astype(np.float64)
    directions_DD = np.linalg.eigh(products_DD)[1]
    return without(vectors_ND, directions_DD[:, ::-1][:, :rank])


def language_subspace(means_GD: NDArray[Any], rank: int | None = None) -> NDArray[np.float64]:
    """Orthonormal directions [D, rank] in which language means differ, at right angles to what they share.

    Args:
        means_GD: a mean a language.
        rank: how many; one less than there are languages if None.

    Raises:
        DataError: fewer than two languages.
        RecipeError: a rank below 1, or not below the number of languages.
    """
    means_GD = means_GD.astype(np.float64)
    count = len(means_GD)
    if count < 2:
        raise DataError(f"{count} languages", expected="at least two whose means can differ")
    rank = count - 1 if rank is None else rank
    if not 1 <= rank < count:
        raise RecipeError(f"{rank} directions of {count} languages", expected=f"1 to {count - 1}", where="rank")
    centre_D = means_GD.mean(axis=0)
    u, s, vt = np.linalg.svd(means_GD - centre_D, full_matrices=False)
    close_GD = centre_D + (u[:, :rank] * s[:rank]) @ vt[:rank]
    # The point of the means' plane that is nearest to the origin: what is shared, at right angles to the differences.
    shared_D = np.linalg.pinv(close_GD) @ np.ones(count)
    shared_D /= shared_D @ shared_D
    return np.asarray(np.linalg.svd(close_GD - shared_D, full_matrices=False)[2][:rank].T)


def lsar(vectors: Mapping[str, Vectors], rank: int | None = None) -> dict[str, Vectors]:
    """Vectors of all languages without the subspace of :func:`language_subspace`."""
    directions_DR = language_subspace(np.stack([own.mean(axis=0, dtype=np.float64) for own in vectors.values()]), rank)
    return {lang: without(own, directions_DR) for lang, own in vectors.items()}


def check_removal(name: str) -> None:
    """Refuse an unknown way.

    Raises:
        RecipeError: not one of :data:`REMOVALS`.
    """
    if name not in REMOVALS:
        raise RecipeError(
            f"removal {name!r}{nearest(name, REMOVALS)}", expected=f"one of {', '.join(REMOVALS)}", where="remove"
        )


def removed(vectors: Mapping[str, Vectors], way: str, rank: int | None = None) -> dict[str, Vectors]:
    """Vectors by language after a removal.

    Args:
        vectors: language -> [N, D].
        way: one of :data:`REMOVALS`.
        rank: directions; if None, one for LIR, and one less than there are languages for LSAR.

    Raises:
        RecipeError: an unknown way, or a rank that does not fit.
    """
    check_removal(way)
    if way == "lsar":
        return lsar(vectors, rank)
    return {lang: lir(own, 1 if rank is None else rank) for lang, own in vectors.items()}
