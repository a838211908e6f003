"""What a study is: published claims beside our own numbers, with verdicts computed from these.

In: rows of scores that a study measured. Out: one :class:`Verdict` a claim. Decision: a verdict is a comparison of
means with the noise between seeds, so nobody writes it by hand. Price: claims that are not a difference of two numbers
need one made of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from interlingua.errors import DataError
from interlingua.report.markdown import to_markdown
from interlingua.report.page import Cell, Section, Table, write_report
from interlingua.run import atomic_write
from interlingua.scores import Score

__all__ = [
    "Claim",
    "Say",
    "Study",
    "Verdict",
    "claims_section",
    "pooled_deviation",
    "seed_values",
    "verdict",
    "write_pages",
]

#: Told in a line what was done.
Say = Callable[[str], None]

#: Arm -> seed -> value.
Values = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Claim:
    """One published statement, as a sum of arms' values that is positive if it holds.

    Attributes:
        text: the claim.
        published: the figures it stands on.
        source: paper and table.
        terms: arm -> factor: {"span": 1, "token": -1} says that the arm span is better than the arm token.
        metric: what is compared.
        margin: the sum must lie above this: negative for claims that something costs little.
    """

    text: str
    published: str
    source: str
    terms: Mapping[str, float]
    metric: str
    margin: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """A claim and what we found.

    Attributes:
        claim: the published statement.
        ours: mean of the claim's sum over seeds, None where an arm is missing.
        error: its standard error.
        verdict: ``agrees`` or ``differs`` if the sum is further from the margin than twice the standard error, ``open``
            if it is not, ``not comparable`` where an arm is missing.
    """

    claim: Claim
    ours: float | None
    error: float
    verdict: Literal["agrees", "differs", "open", "not comparable"]


class Study(Protocol):
    """Something published, run again."""

    name: str
    title: str
    question: str

    def run(self, folder: Path, *, scale: str, say: Say) -> None:
        """Measure what is not measured yet, into ``folder/scores.jsonl``."""
        ...

    def sections(self, folder: Path) -> list[Section]:
        """What was found, as the sections of a page."""
        ...


def seed_values(
    scores: Sequence[Score], task: str, metric: str, languages: Sequence[str]
) -> dict[str, dict[int, float]]:
    """Arm -> seed -> mean over languages of what was measured."""
    found: dict[str, dict[int, list[float]]] = {}
    for score in scores:
        if score.task == task and score.metric == metric and score.language in languages and score.seed is not None:
            found.setdefault(score.model, {}).setdefault(score.seed, []).append(score.value)
    return {arm: {seed: statistics.fmean(rows) for seed, rows in by.items()} for arm, by in found.items()}


def pooled_deviation(values: Values) -> float:
    """Standard deviation between seeds, pooled over all arms: few seeds an arm say little, all of them together do.

    NaN where no arm has two seeds.
    """
    squares, freedom = 0.0, 0
    for by_seed in values.values():
        if len(by_seed) > 1:
            squares += statistics.variance(by_seed.values()) * (len(by_seed) - 1)
            freedom += len(by_seed) - 1
    return math.sqrt(squares / freedom) if freedom else math.nan


def verdict(claim: Claim, values: Values) -> Verdict:
    """Compare a claim with what was measured."""
    if any(not values.get(arm) for arm in claim.terms):
        return Verdict(claim, None, math.nan, "not comparable")
    ours = sum(factor * statistics.fmean(values[arm].values()) for arm, factor in claim.terms.items())
    deviation = pooled_deviation(values)
    error = deviation * math.sqrt(sum(factor**2 / len(values[arm]) for arm, factor in claim.terms.items()))
    distance = ours - claim.margin
    if math.isnan(error) or abs(distance) <= 2 * error:
        return Verdict(claim, ours, error, "open")
    return Verdict(claim, ours, error, "agrees" if distance > 0 else "differs")


def claims_section(claims: Sequence[Claim], values: Values, what: str) -> Section:
    """Every claim beside ours."""
    rows: list[list[Cell]] = []
    for claim in claims:
        found = verdict(claim, values)
        ours = None if found.ours is None else f"{found.ours:+.3f} \u00b1 {found.error:.3f}"
        rows.append([claim.text, claim.published, claim.source, ours, found.verdict])
    text = (
        f"Ours is the difference in {what}, \u00b1 its standard error (from the deviation between seeds, pooled over "
        "all arms). A claim agrees or differs where the difference is further from the margin than two standard "
        "errors; elsewhere it is open."
    )
    columns = ["claim", "published", "source", "ours", "verdict"]
    return Section("Published, and ours", [text], [Table("Claims and verdicts", "", columns, rows)])


def write_pages(study: Study, folder: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.md`` of a study that was run; return their paths.

    Raises:
        DataError: nothing was measured yet.
    """
    if not (folder / "scores.jsonl").is_file():
        raise DataError(
            f"nothing measured in {str(folder)!r}",
            expected="scores.jsonl of the study",
            where=str(folder),
            next_step=f"interlingua study run {study.name}",
        )
    sections = study.sections(folder)
    page = write_report(folder / "report.html", study.title, study.question, {}, sections)
    text = folder / "report.md"
    atomic_write(text, to_markdown(study.title, study.question, sections))
    return page, text
