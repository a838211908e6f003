"""Intervals that hold what they promise, from residuals of what was left out.

In: residuals in units of their own predicted deviation. Out: by how many deviations to widen. Decision: nothing is
assumed of the residuals' law, only that what is asked is exchangeable with what was left out: scores of one language
(split conformal) or whole languages (hierarchical conformal: Lee, Barber and Willett 2023, arXiv 2306.06342). Price:
nine groups at least for nine in ten, and one width factor for all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError

__all__ = ["LEVEL", "fewest", "grouped_quantile", "quantile"]

Array = NDArray[np.float64]
#: Share of the truths that an interval should hold.
LEVEL = 0.9


def fewest(level: float = LEVEL) -> int:
    """Fewest exchangeable things from which an interval of this level has an end."""
    return math.ceil(level / (1 - level) - 1e-9)


def quantile(ratios_N: Array, level: float = LEVEL) -> float:
    """Width factor from N exchangeable residuals: the ceil(level (N + 1))-th smallest.

    Raises:
        DataError: too few of them.
    """
    place = math.ceil(level * (len(ratios_N) + 1) - 1e-9)
    if place > len(ratios_N):
        raise _too_few(len(ratios_N), "configurations", level)
    return float(np.sort(ratios_N)[place - 1])


def grouped_quantile(groups: Sequence[Array], level: float = LEVEL) -> float:
    """Width factor from residuals of exchangeable groups, each group counting once whatever its size.

    Raises:
        DataError: too few groups.
    """
    groups = [group for group in groups if len(group)]
    ratios = np.concatenate([*groups, [np.inf]])
    shares = np.concatenate([np.full(len(group), 1 / len(group)) for group in groups] + [[1.0]]) / (len(groups) + 1)
    order = np.argsort(ratios, kind="stable")
    reached = np.searchsorted(np.cumsum(shares[order]), level - 1e-9)
    factor = float(ratios[order][reached])
    if math.isinf(factor):
        raise _too_few(len(groups), "languages", level)
    return factor


def _too_few(count: int, what: str, level: float) -> DataError:
    return DataError(
        f"{count} {what} to learn an interval from",
        expected=f"at least {fewest(level)} for one that holds {level:.0%}",
        next_step=f"score more {what}",
    )
