"""Languages as points of a Gaussian process: what holds for one holds for its kin.

In: similarity matrices of languages and a number (or many) for some of them. Out: the number for the others, with a
standard deviation, and for the known ones the forecast that would have been made without them. The mean is unknown
and estimated (universal kriging), the weights of the similarities maximise the restricted likelihood under a weak
prior. Leaving one out needs no second fit (Dubrule 1983, "Cross validation of kriging in a unique neighborhood").
Decision: a handful of weights, since there are a handful of languages. Price: no similarity is ever bent to the task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Kin", "fit_kin"]

Array = NDArray[np.float64]
# Prior of each log weight, in units of the values' variance: a fifth of it, give or take a factor of seven.
_CENTRE, _SPREAD = -1.5, 2.0


@dataclass(frozen=True)
class Kin:
    """A fitted process.

    Attributes:
        weights: weight of each similarity, in units of the values' variance.
        noise: variance that no similarity explains, in the same units.
        scale: standard deviation of the values it was fitted on.
    """

    weights: Array
    noise: float
    scale: float

    def left_out(self, kernels_KNN: Array, values_NM: Array) -> tuple[Array, Array]:
        """Forecast of each language from the others.

        Args:
            kernels_KNN: similarities of the N languages.
            values_NM: M numbers a language.

        Returns:
            Forecasts [N, M] and their standard deviations [N].
        """
        projector = _projector(self._covariance(kernels_KNN))
        precision = np.diag(projector)
        return values_NM - (projector @ values_NM) / precision[:, None], self.scale / np.sqrt(precision)

    def predict(self, kernels_KAA: Array, values_NM: Array) -> tuple[Array, Array]:
        """Forecast of new languages.

        Args:
            kernels_KAA: similarities of all A languages, the N known ones first.
            values_NM: M numbers for each known language.

        Returns:
            Forecasts [A - N, M] and their standard deviations [A - N].
        """
        known = len(values_NM)
        between = np.tensordot(self.weights, kernels_KAA, 1)
        inverse = np.linalg.inv(self._covariance(kernels_KAA[:, :known, :known]))
        ones = inverse.sum(axis=1)
        mean_M = ones @ values_NM / ones.sum()
        cross = between[known:, :known]
        forecast = mean_M + cross @ inverse @ (values_NM - mean_M)
        variance = np.diag(between)[known:] + self.noise - np.einsum("ij,jk,ik->i", cross, inverse, cross)
        variance += (1 - cross @ ones) ** 2 / ones.sum()
        return forecast, self.scale * np.sqrt(variance)

    def _covariance(self, kernels_KNN: Array) -> Array:
        matrix: Array = np.tensordot(self.weights, kernels_KNN, 1) + self.noise * np.eye(kernels_KNN.shape[1])
        return matrix


def _projector(covariance_NN: Array) -> Array:
    """Inverse covariance with the estimated mean projected out."""
    inverse = np.linalg.inv(covariance_NN)
    ones = inverse.sum(axis=1)
    return np.asarray(inverse - np.outer(ones, ones) / ones.sum())


def fit_kin(kernels_KNN: Array, values_NM: Array) -> Kin:
    """Weigh the similarities.

    Args:
        kernels_KNN: similarities of the N languages.
        values_NM: M numbers a language, all of one law.
    """
    from scipy.optimize import minimize

    count, columns = values_NM.shape
    centred = values_NM - values_NM.mean(axis=0)
    scale = float(np.sqrt((centred**2).mean()))
    unit = centred / (scale or 1.0)  # languages that do not differ at all have nothing to scale by
    second_moment = unit @ unit.T / columns

    def loss(logs: Array) -> tuple[float, Array]:
        weights = np.exp(logs)
        covariance = np.tensordot(weights[:-1], kernels_KNN, 1) + weights[-1] * np.eye(count)
        inverse = np.linalg.inv(covariance)
        ones = inverse.sum(axis=1)
        projector = inverse - np.outer(ones, ones) / ones.sum()
        prior = (logs - _CENTRE) / _SPREAD**2
        value = np.linalg.slogdet(covariance)[1] + np.log(ones.sum()) + np.sum(projector * second_moment)
        outer = projector - projector @ second_moment @ projector
        slope = np.append(np.einsum("knm,nm->k", kernels_KNN, outer), np.trace(outer)) * weights
        return (
            0.5 * columns * float(value) + 0.5 * float(prior @ (logs - _CENTRE)),
            0.5 * columns * slope + prior,
        )

    start = np.full(len(kernels_KNN) + 1, _CENTRE)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-9.0, 4.0)] * len(start))
    return Kin(np.exp(best.x[:-1]), float(np.exp(best.x[-1])), scale)
