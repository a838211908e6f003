"""What a study is: published claims beside our own numbers, with verdicts computed from these.

In: what a study measured, by arm and unit. Out: one :class:`Verdict` a claim. Decision: a verdict is a comparison of a
sum of means with the noise between units, so nobody writes it by hand:

    seeds      the 95 % interval by Student's t, from the deviation between seeds of the arms that the claim compares
    draws      the middle 95 % of the differences to draws from chance, so below 2.5 % on the wrong side
    any other  the 95 % interval of a bootstrap over the units (languages, blocks of sentences): paired where arms are
               measured on the same ones, each arm by itself where they are not; below ten of them by Student's t

Units that are all equal tell nothing of how others would differ, and leave a claim open.

What is no mean (a correlation) comes with an interval of its own. Price: a sum of such numbers gets the sum of their
intervals, which is too wide; a bootstrap over languages speaks of languages like these, and these are not drawn at
random. Two seeds an arm leave two degrees of freedom, so that only large differences are told.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from interlingua.evaluate.significance import paired_bootstrap
from interlingua.recipe_base import Recipe
from interlingua.report.page import Section
from interlingua.scores import Score

__all__ = [
    "CHECKPOINT",
    "Claim",
    "Evidence",
    "Say",
    "Study",
    "Values",
    "Verdict",
    "pooled_deviation",
    "seed_values",
    "unit_values",
    "verdict",
    "verdicts",
]

#: Told in a line what was done.
Say = Callable[[str], None]

#: Arm -> unit -> value.
Values = Mapping[str, Mapping[Any, float]]

#: Task of the row that says what kind of model was opened.
CHECKPOINT = "checkpoint"
#: A bootstrap over fewer units gives intervals that are too narrow.
_FEWEST = 10
_DRAWS = 2000


@dataclass(frozen=True)
class Claim:
    """One published statement, as a sum of arms' values that is positive if it holds.

    Attributes:
        text: the claim.
        published: the figures it stands on.
        source: paper and table.
        terms: arm -> factor: {"span": 1, "token": -1} says that the arm span is better than the arm token.
        metric: which evidence it is held against.
        margin: the sum must lie above this: negative for claims that something costs little.
        about: the kind of model it was published of (``masked LM``), if of one: others are not comparable. What was
            published of several kinds says so in its text.
    """

    text: str
    published: str
    source: str
    terms: Mapping[str, float]
    metric: str
    margin: float = 0.0
    about: str = ""


@dataclass(frozen=True)
class Evidence:
    """What claims are held against.

    Attributes:
        values: arm -> unit -> value.
        what: what the values are, in words.
        units: ``seeds``, ``draws``, or what else is drawn anew: ``languages``, ``blocks of sentences``.
        model: the kind of model that was measured.
        intervals: arm -> value, low, high of numbers that are no means of units; their claims look at nothing else.
        paired: whether a unit of one arm is the same thing in another; if not, arms are drawn anew by themselves.
    """

    values: Values
    what: str
    units: str = "seeds"
    model: str = ""
    intervals: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    paired: bool = True


@dataclass(frozen=True)
class Verdict:
    """A claim and what we found.

    Attributes:
        claim: the published statement.
        evidence: what it was held against.
        ours: the claim's sum, None where an arm is missing.
        low: lower end of what the noise leaves open, NaN where nothing tells.
        high: its upper end.
        verdict: ``agrees`` or ``differs`` if all of that lies on one side of the margin, ``open`` if it does not,
            ``not comparable`` where an arm is missing or the claim is about another kind of model.
    """

    claim: Claim
    evidence: Evidence
    ours: float | None
    low: float
    high: float
    verdict: Literal["agrees", "differs", "open", "not comparable"]

    @property
    def here(self) -> Literal["agrees", "differs", "open"] | None:
        """What the model that was measured says, of whatever kind it is; None where an arm is missing."""
        if self.ours is None:
            return None
        # Not numbers compare as false: without noise to compare with, a claim stays open.
        margin = self.claim.margin
        return "agrees" if self.low > margin else "differs" if self.high < margin else "open"


class Study(Protocol):
    """Something published, run again."""

    @property
    def name(self) -> str:
        """What it is run by."""
        ...

    @property
    def title(self) -> str:
        """Heading of its page."""
        ...

    @property
    def question(self) -> str:
        """What it asks."""
        ...

    @property
    def scales(self) -> Mapping[str, Recipe]:
        """``small``: an hour or two on two cores; ``full``: for a GPU."""
        ...

    @property
    def claims(self) -> Sequence[Claim]:
        """What was published."""
        ...

    def run(self, folder: Path, recipe: Any, *, say: Say) -> None:
        """Measure what is not measured yet, into ``folder/scores.jsonl``."""
        ...

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """What the claims' metrics are."""
        ...

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """What was found, as the sections of a page; the claims are not among them."""
        ...


def unit_values(scores: Sequence[Score], arm: Callable[[Score], str], unit: Callable[[Score], Any]) -> Values:
    """Arm -> unit -> value of the rows that have an arm; of two of the same arm and unit the mean."""
    found: dict[str, dict[Any, list[float]]] = {}
    for score in scores:
        if name := arm(score):
            found.setdefault(name, {}).setdefault(unit(score), []).append(score.value)
    return {name: {of: statistics.fmean(rows) for of, rows in by.items()} for name, by in found.items()}


def seed_values(scores: Sequence[Score], task: str, metric: str, languages: Sequence[str]) -> Values:
    """Arm -> seed -> mean over languages of what was measured."""
    wanted = [s for s in scores if s.task == task and s.metric == metric and s.language in languages]
    return unit_values([s for s in wanted if s.seed is not None], lambda s: s.model, lambda s: s.seed)


def pooled_deviation(values: Values) -> tuple[float, int]:
    """Standard deviation between seeds, pooled over arms, and its degrees of freedom; NaN if no arm has two seeds."""
    squares, freedom = 0.0, 0
    for by_seed in values.values():
        if len(by_seed) > 1:
            squares += statistics.variance(by_seed.values()) * (len(by_seed) - 1)
            freedom += len(by_seed) - 1
    return (math.sqrt(squares / freedom) if freedom else math.nan), freedom


def _over_seeds(claim: Claim, values: Values) -> tuple[float, float, float]:
    ours = sum(factor * statistics.fmean(values[arm].values()) for arm, factor in claim.terms.items())
    spread = math.sqrt(sum(factor**2 / len(values[arm]) for arm, factor in claim.terms.items()))
    # Of these arms alone: others may differ from seed to seed by much less, as networks that were not trained do.
    deviation, freedom = pooled_deviation({arm: values[arm] for arm in claim.terms})
    return _student(ours, deviation * spread, freedom)


def _student(ours: float, error: float, freedom: int) -> tuple[float, float, float]:
    """The 95 % interval of a sum with this standard error."""
    from scipy.stats import t

    if not freedom or not error:
        return ours, math.nan, math.nan
    half = float(t.ppf(0.975, freedom)) * error
    return ours, ours - half, ours + half


def _over_units(claim: Claim, values: Values, *, draws: bool) -> tuple[float, float, float]:
    """Interval of the mean over the units that all arms have, or of the units themselves."""
    shared = sorted(set.intersection(*(set(values[arm]) for arm in claim.terms)))
    sums = np.array([sum(factor * values[arm][unit] for arm, factor in claim.terms.items()) for unit in shared])
    if not len(sums):
        return math.nan, math.nan, math.nan
    ours = float(sums.mean())
    if draws and len(sums) >= _FEWEST:
        low, high = np.quantile(sums, [0.025, 0.975])
        return ours, float(low), float(high)
    if len(sums) < _FEWEST or not np.ptp(sums):
        return _student(ours, float(sums.std(ddof=1)) / math.sqrt(len(sums)) if np.ptp(sums) else 0.0, len(sums) - 1)
    ones = np.ones(len(sums))
    both = (np.stack([sums, ones], axis=1), np.stack([np.zeros(len(sums)), ones], axis=1))
    found = paired_bootstrap(*both, lambda total: total[0] / total[1])
    return found.value, found.low, found.high


def _over_samples(claim: Claim, values: Values) -> tuple[float, float, float]:
    """Interval of the means of arms that share no units, each over all of its own."""
    arms = {arm: np.array(list(values[arm].values())) for arm in claim.terms}
    ours = float(sum(factor * arms[arm].mean() for arm, factor in claim.terms.items()))
    fewest = min(map(len, arms.values()))
    if fewest < _FEWEST:
        if fewest < 2:
            return ours, math.nan, math.nan
        # With the smallest sample's degrees of freedom, which are at most Welch's.
        error = math.sqrt(
            sum(factor**2 * arms[arm].var(ddof=1) / len(arms[arm]) for arm, factor in claim.terms.items())
        )
        return _student(ours, error, fewest - 1)
    chance, sums = np.random.default_rng(0), np.zeros(_DRAWS)
    for arm, factor in claim.terms.items():
        count = len(arms[arm])
        sums += factor * chance.choice(arms[arm], size=(_DRAWS, count)).mean(axis=1)
    low, high = np.quantile(sums, [0.025, 0.975])
    return ours, float(low), float(high)


def _over_intervals(claim: Claim, intervals: Mapping[str, tuple[float, float, float]]) -> tuple[float, float, float]:
    # A term that is taken off is largest where the sum is smallest.
    ends = [sorted(factor * end for end in intervals[arm][1:]) for arm, factor in claim.terms.items()]
    ours = sum(factor * intervals[arm][0] for arm, factor in claim.terms.items())
    return ours, sum(low for low, _ in ends), sum(high for _, high in ends)


def verdict(claim: Claim, evidence: Evidence) -> Verdict:
    """Compare a claim with what was measured."""
    values, intervals = evidence.values, evidence.intervals
    there = intervals or values
    if any(not there.get(arm) for arm in claim.terms):
        return Verdict(claim, evidence, None, math.nan, math.nan, "not comparable")
    if intervals:
        ours, low, high = _over_intervals(claim, intervals)
    elif evidence.units == "seeds":
        ours, low, high = _over_seeds(claim, values)
    elif not evidence.paired:
        ours, low, high = _over_samples(claim, values)
    else:
        ours, low, high = _over_units(claim, values, draws=evidence.units == "draws")
    found = Verdict(claim, evidence, ours, low, high, "not comparable")
    if (claim.about and claim.about != evidence.model) or found.here is None:
        return found
    return replace(found, verdict=found.here)


def verdicts(study: Study, scores: Sequence[Score]) -> list[Verdict]:
    """All claims of a study beside what it measured."""
    evidence = study.evidence(scores)
    return [verdict(claim, evidence[claim.metric]) for claim in study.claims]
