"""Forecasts with intervals, and what they are worth on what was left out.

In: a :class:`Grid` and :class:`Facts`. Out: for mixes and languages never scored a value and a 90 % interval, and the
error, coverage and width of both measured on the grid itself. Two questions, two roads:

- a *known language* after another mix: the language's own process over mixes (:mod:`mixes`), five-fold over mixes;
- a *new language*: every known language is first read off as if it had not been in the mix (zero-shot), then its mean
  level and its ups and downs over mixes are carried to the new one by kinship (:mod:`kinship`), languages left out one
  by one, with everything refitted on the others.

Decision: two plain pieces instead of one large process, since levels differ by tens of points between languages and
by few between mixes. Price: that a new language profits from its own sister in one mix more than in another is seen
only as far as known sisters do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from interlingua.errors import DataError
from interlingua.evaluate.forecast.facts import Facts
from interlingua.evaluate.forecast.grid import Grid, Mix
from interlingua.evaluate.forecast.intervals import fewest, grouped_quantile, quantile
from interlingua.evaluate.forecast.kinship import Kin, fit_kin
from interlingua.evaluate.forecast.mixes import MixModel, fit_mixes, sizes_of

__all__ = ["Cells", "Forecaster", "LeftOut"]

Array = NDArray[np.float64]
_FOLDS = 5


@dataclass(frozen=True)
class Cells:
    """Forecasts of C configurations in A languages, on the grid's scale, each [C, A]."""

    languages: tuple[str, ...]
    value: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class LeftOut:
    """What forecasts were worth on scores that they did not see.

    Attributes:
        asked: ``new mixes``, ``new languages`` or ``new languages and mixes``.
        cells: scores forecast.
        languages: languages they are in; each counts the same.
        error: mean absolute error, in points (hundredths of the whole scale).
        baselines: name -> error of a baseline on the same cells.
        coverage: share of the scores inside their interval.
        width: mean width of the intervals, in points.
        by_language: error of each language, in points.
    """

    asked: str
    cells: int
    languages: int
    error: float
    baselines: dict[str, float]
    coverage: float
    width: float
    by_language: dict[str, float]


@dataclass(frozen=True)
class _Folds:
    """Each configuration as a model of the other folds saw it, [C, L]."""

    fold: NDArray[np.int64]
    value: Array
    deviation: Array
    untaught: Array
    ridge: Array


class Forecaster:
    """Fitted on a grid; see the module.

    Args:
        grid: scores.
        facts: of languages.
        progress: called with (done, total) fits over mixes.
    """

    def __init__(self, grid: Grid, facts: Facts, *, progress: Callable[[int, int], Any] | None = None) -> None:
        self.grid, self.facts = grid, facts
        self._sizes_CS = sizes_of(grid.mixes, grid.sources)
        self._mixes: MixModel | None = None
        self._folds: _Folds | None = None
        taught = np.zeros(grid.values.shape, dtype=bool)
        untaught = grid.values
        if grid.mixes:
            self._mixes, self._folds = self._fit(progress or (lambda done, total: None))
            untaught = self._mixes.predict(self._sizes_CS, untaught=True)[0]
            for place, lang in enumerate(grid.languages):
                if lang in grid.sources:
                    taught[:, place] = self._sizes_CS[:, grid.sources.index(lang)] > 0
        self._zero_shot_CL = ~taught
        self._untaught_CL: Array = untaught
        self._level_L: Array = untaught.mean(axis=0)
        self._kernels = facts.kernels(grid.languages)
        self._levels: dict[tuple[int, ...], Kin] = {}

    def predict(self, mixes: Sequence[Mix], languages: Sequence[str]) -> Cells:
        """Forecast.

        Args:
            mixes: training mixes, each of the grid or new; of a grid without mixes its own (empty) ones.
            languages: canonical tags, scored before or not.

        Raises:
            DataError: too few languages or configurations for an interval, or a mix where the grid knows of none.
        """
        known = [lang for lang in languages if lang in self.grid.languages]
        new = [lang for lang in languages if lang not in self.grid.languages]
        value, half = np.empty((2, len(mixes), len(languages)))
        unnamed = {lang for mix in mixes for lang in mix if mix[lang] > 0} - set(self.grid.sources)
        if unnamed:
            raise DataError(
                f"a mix with {', '.join(sorted(unnamed))}",
                expected=f"only languages that the scored mixes name: {', '.join(self.grid.sources) or 'none'}",
                where=self.grid.name,
                next_step="no score tells what training on another language does; leave it out",
            )
        if known and self._mixes is None:
            raise DataError(f"{', '.join(known)}: scored already", expected="a language without scores",
                            where=self.grid.name, next_step="ask for other languages")  # fmt: skip
        places = {lang: place for place, lang in enumerate(languages)}
        if known and self._mixes and self._folds:
            means, deviations = self._mixes.predict(sizes_of(mixes, self.grid.sources))
            factors_L = self._factors(np.ones(len(self.grid.values), dtype=bool))
            for lang in known:
                own = self.grid.languages.index(lang)
                value[:, places[lang]], half[:, places[lang]] = means[:, own], factors_L[own] * deviations[:, own]
        if new:
            columns = [places[lang] for lang in new]
            value[:, columns], half[:, columns] = self._new_languages(mixes, new)
        low, high = (np.clip(end, 0, self.grid.scale) for end in (value - half, value + half))
        return Cells(tuple(languages), np.clip(value, 0, self.grid.scale), low, high)

    def left_out_mixes(self) -> LeftOut:
        """Known languages after mixes of another fold; intervals from the folds that are neither."""
        if self._folds is None:
            raise DataError("no training mixes", expected="scores in the layout of SumEval", where=self.grid.name)
        folds, truth = self._folds, self.grid.values
        half = np.empty_like(truth)
        for fold in range(_FOLDS):
            inside = folds.fold == fold
            half[inside] = self._factors(~inside) * folds.deviation[inside]
        means = np.stack([truth[folds.fold != fold].mean(axis=0) for fold in folds.fold])
        baselines = {"mean of the language": means, "ridge on log sizes": folds.ridge}
        everywhere = np.ones(truth.shape, dtype=bool)
        return self._judge("new mixes", folds.value, half, baselines, everywhere)

    def left_out_languages(self, *, new_mixes: bool = False) -> LeftOut:
        """Each language as if it had never been scored, in the mixes that do not hold it.

        Args:
            new_mixes: also as if the mix had never been scored, in any language.

        Raises:
            DataError: too few languages.
        """
        truth, kernels = self.grid.values, self._kernels
        untaught = self._folds.untaught if new_mixes and self._folds else self._untaught_CL
        value, half, plain = np.empty((3, *truth.shape))
        for place in range(truth.shape[1]):
            others = [other for other in range(truth.shape[1]) if other != place]
            order = [*others, place]
            level, wander = self._kin(others)
            factor = self._group_factor(wander, others, untaught)
            forecast, deviation = self._carry(level, wander, kernels[:, order][:, :, order], others, untaught)
            value[:, place], half[:, place] = forecast[:, 0], factor * deviation[0]
            own = truth[:, others]
            plain[:, place] = own.mean() if new_mixes else own.mean(axis=1)
        asked = "new languages and mixes" if new_mixes else "new languages"
        return self._judge(asked, value, half, {"mean of the configuration": plain}, self._zero_shot_CL)

    def _fit(self, progress: Callable[[int, int], Any]) -> tuple[MixModel, _Folds]:
        from sklearn.linear_model import RidgeCV

        sizes, truth = self._sizes_CS, self.grid.values
        if len(truth) < 2 * fewest():
            raise DataError(f"{len(truth)} configurations", expected=f"at least {2 * fewest()}", where=self.grid.name,
                            next_step="score more training mixes")  # fmt: skip
        names = {"sources": self.grid.sources, "languages": self.grid.languages}
        fold_C = np.random.default_rng(0).permutation(len(truth)) % _FOLDS
        value, deviation, untaught, ridge = np.empty((4, *truth.shape))
        logs = np.log1p(sizes)
        for fold in range(_FOLDS):
            inside = fold_C == fold
            model = fit_mixes(sizes[~inside], truth[~inside], **names)
            value[inside], deviation[inside] = model.predict(sizes[inside])
            untaught[inside] = model.predict(sizes[inside], untaught=True)[0]
            for place in range(truth.shape[1]):
                plain = RidgeCV(np.logspace(-2, 4, 19)).fit(logs[~inside], truth[~inside, place])
                ridge[inside, place] = plain.predict(logs[inside])
            progress(fold + 1, _FOLDS + 1)
        whole = fit_mixes(sizes, truth, **names)
        progress(_FOLDS + 1, _FOLDS + 1)
        return whole, _Folds(fold_C, value, deviation, untaught, ridge)

    def _factors(self, chosen_C: NDArray[np.bool_]) -> Array:
        """Width factor of each known language, from the left-out residuals of some configurations."""
        assert self._folds is not None
        ratios = np.abs(self.grid.values - self._folds.value) / self._folds.deviation
        return np.array([quantile(column) for column in ratios[chosen_C].T])

    def _kin(self, known: Sequence[int]) -> tuple[Kin, Kin]:
        """Processes of the level and of the ups and downs, from some of the languages."""
        kernels = self._kernels[:, known][:, :, known]
        with threadpool_limits(1):  # matrices of a few dozen rows
            wander = fit_kin(kernels, (self._untaught_CL - self._level_L).T[known])
        return self._level(known), wander

    def _level(self, known: Sequence[int]) -> Kin:
        key = tuple(known)
        if key not in self._levels:
            with threadpool_limits(1):
                self._levels[key] = fit_kin(self._kernels[:, known][:, :, known], self._level_L[known, None])
        return self._levels[key]

    def _carry(
        self, level: Kin, wander: Kin, kernels: Array, known: Sequence[int], untaught_CL: Array
    ) -> tuple[Array, Array]:
        """Zero-shot scores [C, new] of languages behind the known ones in the kernels, and deviations [new]."""
        ups = (untaught_CL - self._level_L).T[known]
        value, first = level.predict(kernels, self._level_L[known, None])
        moved, second = wander.predict(kernels, ups)
        return (value + moved).T, np.hypot(first, second)

    def _group_factor(self, wander: Kin, known: Sequence[int], untaught_CL: Array) -> float:
        """Width factor for a new language, from known ones left out in turn.

        The level is fitted again without each: with a few dozen languages its weights lean on every one of them, and
        residuals that share them are too small. The ups and downs have many mixes to lean on.
        """
        kernels = self._kernels[:, known][:, :, known]
        value, first = np.empty((len(known), 1)), np.empty(len(known))
        for at, own in enumerate(known):
            others = [other for other in known if other != own]
            order = [*others, own]
            one, deviation = self._level(others).predict(
                self._kernels[:, order][:, :, order], self._level_L[others, None]
            )
            value[at], first[at] = one[0], deviation[0]
        moved, second = wander.left_out(kernels, (untaught_CL - self._level_L).T[known])
        ratios = np.abs(self.grid.values[:, known] - (value + moved).T) / np.hypot(first, second)
        return grouped_quantile([ratios[self._zero_shot_CL[:, own], at] for at, own in enumerate(known)])

    def _new_languages(self, mixes: Sequence[Mix], languages: Sequence[str]) -> tuple[Array, Array]:
        every = list(range(len(self.grid.languages)))
        kernels = self.facts.kernels([*self.grid.languages, *languages], scored=len(every))
        level, wander = self._kin(every)
        untaught = self._untaught_CL
        if self._mixes:
            untaught = self._mixes.predict(sizes_of(mixes, self.grid.sources), untaught=True)[0]
        value, deviation = self._carry(level, wander, kernels, every, untaught)
        seen = self._folds.untaught if self._folds else self._untaught_CL
        factor = self._group_factor(wander, every, seen)
        return value, np.broadcast_to(factor * deviation, value.shape)

    def _judge(
        self, asked: str, value: Array, half: Array, baselines: dict[str, Array], cells: NDArray[np.bool_]
    ) -> LeftOut:
        scale, truth = self.grid.scale, self.grid.values
        points = 100 / scale
        counted = [place for place in range(truth.shape[1]) if cells[:, place].any()]

        def mean(numbers_CL: Array) -> float:
            return float(np.mean([numbers_CL[cells[:, place], place].mean() for place in counted]))

        low, high = np.clip(value - half, 0, scale), np.clip(value + half, 0, scale)
        error = points * np.abs(np.clip(value, 0, scale) - truth)
        return LeftOut(
            asked=asked,
            cells=int(cells.sum()),
            languages=len(counted),
            error=mean(error),
            baselines={name: mean(points * np.abs(other - truth)) for name, other in baselines.items()},
            coverage=mean(((low <= truth) & (truth <= high)).astype(np.float64)),
            width=mean(points * (high - low)),
            by_language={self.grid.languages[place]: float(error[cells[:, place], place].mean()) for place in counted},
        )
