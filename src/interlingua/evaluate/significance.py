"""Is one system really better than another on the same examples?

In: for two systems what every example adds to the metrics (``Task.counts``). Out: the difference, a confidence interval
and a p-value by paired bootstrap (Efron and Tibshirani 1993; Koehn 2004 for corpus metrics): examples are drawn with
replacement, the same for both systems, and the metric of the sums is taken anew. Decision: sums are resampled, not
scores of examples, so that corpus metrics such as span F1 are what they are. Price: counts must be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError

__all__ = ["Difference", "paired_bootstrap"]

#: Multinomial weights of so many draws are held at once.
_BLOCK = 250


@dataclass(frozen=True)
class Difference:
    """How much better the first system is.

    Attributes:
        value: first minus second, on all examples.
        low: lower end of the interval that holds 95 % of the resampled differences.
        high: its upper end.
        p: share of resampled differences on the other side of 0, twice (two-sided), at least 1 / (draws + 1).
        n: examples.
    """

    value: float
    low: float
    high: float
    p: float
    n: int


def paired_bootstrap(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    metric: Callable[[NDArray[np.float64]], float],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Difference:
    """Compare two systems on the same examples.

    Args:
        first: counts of the first system, [examples, K].
        second: of the second.
        metric: from summed counts [K] to the metric.
        draws: how often examples are drawn anew.
        seed: of the drawing.

    Raises:
        DataError: another number of examples, or none.
    """
    if first.shape != second.shape or not len(first):
        raise DataError(
            f"counts of shapes {first.shape} and {second.shape}", expected="the same examples, at least one"
        )
    chance = np.random.default_rng(seed)
    count = len(first)
    found = np.empty(draws)
    for start in range(0, draws, _BLOCK):
        drawn = chance.multinomial(count, np.full(count, 1 / count), size=min(_BLOCK, draws - start)).astype(float)
        pairs = zip(drawn @ first, drawn @ second, strict=True)
        found[start : start + len(drawn)] = [metric(a) - metric(b) for a, b in pairs]
    value = metric(first.sum(axis=0)) - metric(second.sum(axis=0))
    other = min(int((found <= 0).sum()), int((found >= 0).sum()))
    low, high = np.quantile(found, [0.025, 0.975])
    return Difference(value, float(low), float(high), min(1.0, 2 * (other + 1) / (draws + 1)), count)
