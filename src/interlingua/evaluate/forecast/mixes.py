"""What a training mix does to each language that was scored.

In: examples by language (C configurations x S sources) and scores (C x L). Out: for any mix, each language's score
and its standard deviation. Decision: a Gaussian process a language over log sizes, each source stretched by the size
of its ridge coefficient, so that a language looks at the sources that move it (its own, its neighbours'); the
kernel's few numbers are fitted on at most 120 configurations, the process itself on all. Where there are no more than
that, forecasts are drawn towards the language's mean by as much as left-out configurations ask for: on a task that is
all noise the mean is best. Price: the stretch is linear's judgement; a source whose effect cancels out is not seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from interlingua.evaluate.forecast.grid import Mix

__all__ = ["MixModel", "fit_mixes", "sizes_of"]

Array = NDArray[np.float64]
_FITTED_ON = 120


@dataclass(frozen=True)
class _OneLanguage:
    """One language's process: stretch of each source, and the fitted regressor."""

    stretch: Array
    process: Any
    mean: float


@dataclass(frozen=True)
class MixModel:
    """Fitted on C configurations.

    Attributes:
        sources: names of the S columns of sizes.
        languages: the L languages.
        top: largest log size seen; the unit of the features.
        middle: mean log of the whole mix's size.
        processes: one a language.
        trust: share of a process's departure from the language's mean that forecasts keep.
    """

    sources: tuple[str, ...]
    languages: tuple[str, ...]
    top: float
    middle: float
    processes: tuple[_OneLanguage, ...]
    trust: float

    def predict(self, sizes_CS: Array, *, untaught: bool = False) -> tuple[Array, Array]:
        """Scores of mixes.

        Args:
            sizes_CS: examples of each source.
            untaught: as if each language had no example of its own (zero-shot).

        Returns:
            Means and standard deviations (of a single score, noise included), [C, L].
        """
        means, deviations = np.empty((2, len(sizes_CS), len(self.languages)))
        for place, (lang, one) in enumerate(zip(self.languages, self.processes, strict=True)):
            sizes = sizes_CS
            if untaught and lang in self.sources:
                sizes = sizes_CS.copy()
                sizes[:, self.sources.index(lang)] = 0
            features = _features(sizes, self.top, self.middle) * one.stretch
            mean_C, deviations[:, place] = one.process.predict(features, return_std=True)
            means[:, place] = one.mean + self.trust * (mean_C - one.mean)
        return means, deviations


def sizes_of(mixes: Sequence[Mix], sources: Sequence[str]) -> Array:
    """Examples of each source in each mix, [C, S]."""
    return np.array([float(mix.get(lang, 0)) for mix in mixes for lang in sources]).reshape(len(mixes), len(sources))


def fit_mixes(sizes_CS: Array, values_CL: Array, *, sources: Sequence[str], languages: Sequence[str]) -> MixModel:
    """Fit one process a language."""
    top = max(float(np.log1p(sizes_CS).max()), 1.0)
    middle = float(np.log1p(sizes_CS.sum(axis=1)).mean())
    features_CF = _features(sizes_CS, top, middle)
    chosen = np.random.default_rng(0).permutation(len(sizes_CS))[:_FITTED_ON]
    # Matrices of a few hundred rows are slower on several threads than on one.
    with threadpool_limits(1):
        processes = tuple(_fit_one(features_CF, values_C, chosen) for values_C in values_CL.T)
        few = len(sizes_CS) <= _FITTED_ON
        trust = _trust(features_CF, values_CL, [one.process.kernel_ for one in processes]) if few else 1.0
    return MixModel(tuple(sources), tuple(languages), top, middle, processes, trust)


def _trust(features_CF: Array, values_CL: Array, kernels: Sequence[Any]) -> float:
    """The share of the departure from the mean that forecasts of left-out configurations do best with."""
    count, folds = len(features_CF), min(5, len(features_CF))
    fold_C = np.random.default_rng(1).permutation(count) % folds
    departure, truth = np.empty((2, *values_CL.shape))
    for fold in range(folds):
        inside = fold_C == fold
        for place, kernel in enumerate(kernels):
            kept = values_CL[~inside, place]
            stretch = _stretch(features_CF[~inside], kept)
            process = _process(kernel, features_CF[~inside] * stretch, kept, fixed=True)
            departure[inside, place] = process.predict(features_CF[inside] * stretch) - kept.mean()
            truth[inside, place] = values_CL[inside, place] - kept.mean()
    shares = np.linspace(0, 1, 21)
    return float(shares[np.argmin([np.abs(share * departure - truth).mean() for share in shares])])


def _features(sizes_CS: Array, top: float, middle: float) -> Array:
    """Logs of the sizes, and of the mix's whole size."""
    whole = np.log1p(sizes_CS.sum(axis=1, keepdims=True)) - middle
    return np.asarray(np.concatenate([np.log1p(sizes_CS), whole], axis=1) / top)


def _stretch(features_CF: Array, values_C: Array) -> Array:
    from sklearn.linear_model import RidgeCV

    moved = np.abs(RidgeCV(np.logspace(-2, 3, 11)).fit(features_CF, values_C).coef_)
    return np.asarray(moved / (moved.max() or 1.0))


def _process(kernel: Any, features_CF: Array, values_C: Array, *, fixed: bool) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor

    optimizer = None if fixed else "fmin_l_bfgs_b"
    with warnings.catch_warnings():
        # A weight at its bound means that the data do not need that part; nothing to tell the user.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel, optimizer=optimizer, normalize_y=True).fit(features_CF, values_C)


def _fit_one(features_CF: Array, values_C: Array, chosen: NDArray[np.int64]) -> _OneLanguage:
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

    stretch = _stretch(features_CF, values_C)
    stretched = features_CF * stretch
    kernel = (
        ConstantKernel(1.0) * Matern(1.0, nu=2.5)
        + ConstantKernel(1.0) * DotProduct(1.0, sigma_0_bounds="fixed")
        + WhiteKernel(0.1)
    )
    rough = _process(kernel, stretched[chosen], values_C[chosen], fixed=False)
    process = _process(rough.kernel_, stretched, values_C, fixed=True)
    return _OneLanguage(stretch, process, float(values_C.mean()))
