"""What is left of every step after every other.

In: scores of all steps' tests after each step. Out: the matrix R (row k: after step k, row 0: before the first; column
j: test of step j) and the measures drawn from it (Lopez-Paz and Ranzato 2017, arXiv 1706.08840):

    average            mean over j of R[T, j]
    backward transfer  mean over j < T of R[T, j] - R[j, j]
    forward transfer   mean over j > 1 of R[j - 1, j] - R[0, j]
    forgetting         mean over j < T of max over j <= k < T of R[k, j] - R[T, j]   (Chaudhry et al. 2018)

Decision: R[0], a body as it was pretrained under heads that have learnt nothing, stands for the random network of the
paper. Price: forward transfer is above all what the first step of a task gives to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlingua.scores import Score

__all__ = ["Forgetting", "forgetting", "row_name", "score_matrix"]


@dataclass(frozen=True)
class Forgetting:
    """Measures of a stream; those that need two steps are NaN with one.

    Attributes:
        average: mean score of all steps after the last.
        backward_transfer: what later steps changed of earlier ones; below 0 is forgetting.
        forgetting: how far earlier steps fell below their best.
        forward_transfer: what earlier steps gave to one that was not taught yet.
    """

    average: float
    backward_transfer: float
    forgetting: float
    forward_transfer: float


def row_name(step: int) -> str:
    """Name of the network after a step, in rows of scores."""
    return f"after-{step}"


def score_matrix(scores: Sequence[Score], steps: Sequence[str], metrics: Mapping[str, str]) -> NDArray[np.float64]:
    """R, [steps + 1, steps], mean over languages and seeds; NaN where nothing was measured.

    Args:
        scores: rows whose model is ``after-K`` and whose split is the name of a step.
        steps: names, in their order.
        metrics: the main metric of every step.
    """
    matrix = np.full((len(steps) + 1, len(steps)), np.nan)
    for k in range(len(steps) + 1):
        for j, step in enumerate(steps):
            found = [s.value for s in scores if (s.model, s.split, s.metric) == (row_name(k), step, metrics[step])]
            matrix[k, j] = np.mean(found) if found else np.nan
    return matrix


def forgetting(matrix: NDArray[np.float64]) -> Forgetting:
    """The measures of a matrix [steps + 1, steps] of :func:`score_matrix`."""
    count = matrix.shape[1]
    before, after = matrix[0], matrix[1:]
    if count < 2:
        return Forgetting(float(after[-1].mean()), np.nan, np.nan, np.nan)
    last = after[-1, :-1]
    best = np.array([after[j:-1, j].max() for j in range(count - 1)])
    forward = np.array([after[j - 1, j] - before[j] for j in range(1, count)])
    return Forgetting(
        float(after[-1].mean()),
        float((last - after.diagonal()[:-1]).mean()),
        float((best - last).mean()),
        float(forward.mean()),
    )
