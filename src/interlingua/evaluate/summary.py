"""A suite's rows as the figures people compare: averages, XTREME's score, the within/across test, differences.

In: rows of Scores. Out: small tables of numbers. Decisions: an average is over languages, each the mean over seeds; a
task's score is that of XTREME (Hu et al. 2020, arXiv 2003.11080, ``evaluate.py``): for question answering the mean of
exact match and F1, else the main metric; cells of two languages and shifted means count in no average of theirs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.evaluate.cache import ScoreCache, Scored
from interlingua.evaluate.significance import Difference, paired_bootstrap
from interlingua.recipe_suite import SuiteEntry
from interlingua.scores import Score, read_scores

__all__ = [
    "Cell",
    "WithinAcross",
    "cells_of",
    "differences",
    "main_metric",
    "suite_score",
    "task_score",
    "within_across",
]


@dataclass(frozen=True)
class Cell:
    """A model's score in a language.

    Attributes:
        mean: over seeds.
        spread: sample standard deviation over seeds; 0 with one.
        n: examples.
        seeds: how many.
    """

    mean: float
    spread: float
    n: int
    seeds: int


@dataclass(frozen=True)
class WithinAcross:
    """Both sides in one language, or in two (Rajaee and Monz 2024, arXiv 2402.02099).

    Attributes:
        within: language -> score with both sides in it.
        across: language -> mean over the cells with exactly one side in it.
    """

    within: dict[str, float]
    across: dict[str, float]

    @property
    def gap(self) -> float:
        """Mean within minus mean across."""
        return statistics.fmean(self.within.values()) - statistics.fmean(self.across.values())


def main_metric(entry: SuiteEntry) -> str:
    """The metric an entry is shown by."""
    from interlingua.tasks import TASKS

    return TASKS[entry.task.type].main_metric(entry.task) if entry.task else "p1"


def cells_of(scores: Sequence[Score], *, task: str, metric: str) -> dict[str, dict[str, Cell]]:
    """Model -> language -> score, in the order of the rows."""
    values: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        if score.task == task and score.metric == metric:
            values.setdefault((score.model, score.language), []).append(score)
    found: dict[str, dict[str, Cell]] = {}
    for (model, lang), rows in values.items():
        own = [row.value for row in rows]
        spread = statistics.stdev(own) if len(own) > 1 else 0.0
        found.setdefault(model, {})[lang] = Cell(statistics.fmean(own), spread, rows[0].n, len(own))
    return found


def task_score(scores: Sequence[Score], entry: SuiteEntry, model: str) -> float | None:
    """Mean over languages of XTREME's metric of the task; None where the model has no score."""
    from interlingua.tasks import TASKS

    means = []
    for metric in TASKS[entry.task.type].suite_metrics(entry.task) if entry.task else ("p1",):
        cells = cells_of(scores, task=entry.name, metric=metric).get(model, {})
        own = [cell.mean for lang, cell in cells.items() if "/" not in lang]
        if not own:
            return None
        means.append(statistics.fmean(own))
    return statistics.fmean(means)


def suite_score(
    scores: Sequence[Score], entries: Sequence[SuiteEntry], encoder: str, source: str = ""
) -> tuple[float, int] | None:
    """Mean over the tasks that an encoder was scored on, and how many they are.

    Args:
        scores: rows of the suite.
        entries: its tasks.
        encoder: whose.
        source: where an entry has several models, the one of this source; entries without it are left out.
    """
    own = []
    for entry in entries:
        models = {s.model for s in scores if s.task == entry.name and s.model.rpartition("+")[2] != "shift"}
        models = {model for model in models if model == encoder or model.startswith((f"{encoder}/", f"{encoder}+"))}
        chosen = models if len(models) == 1 else {model for model in models if model == f"{encoder}/{source}"}
        own += [value for model in chosen if (value := task_score(scores, entry, model)) is not None]
    return (statistics.fmean(own), len(own)) if own else None


def within_across(cells: dict[str, Cell]) -> WithinAcross | None:
    """The within/across test of a model's cells; None if there are no cells of two languages."""
    crossed = {tuple(lang.split("/")): cell.mean for lang, cell in cells.items() if "/" in lang}
    within = {lang: cell.mean for lang, cell in cells.items() if "/" not in lang}
    across = {
        lang: statistics.fmean(values)
        for lang in within
        if (values := [value for sides, value in crossed.items() if lang in sides])
    }
    return WithinAcross({lang: within[lang] for lang in across}, across) if across else None


def differences(
    first: Path, second: Path, entries: Sequence[SuiteEntry], *, draws: int = 2000
) -> dict[tuple[str, str, str], Difference]:
    """What one suite's models are better by than another's, on the same examples, with several seeds on their mean.

    Args:
        first: run folder of a suite.
        second: of another, or of the same suite with another model.
        entries: whose metrics are compared.
        draws: of the bootstrap.

    Returns:
        (entry, language, source) -> difference of the main metric; sources with the same name are compared, and where
        each side has but one, these.

    Raises:
        DataError: nothing that both have.
    """
    tasks = {entry.name: entry for entry in entries}
    sides = [_by_cell(folder, tasks) for folder in (first, second)]
    found = {}
    for cell in sides[0].keys() & sides[1].keys():
        task, lang, _ = cell
        own, other = sides[0][cell], sides[1][cell]
        for source in own:
            match = other.get(source) or (next(iter(other.values())) if len(own) == len(other) == 1 else None)
            if match is None:
                continue
            if len(own[source]) == len(match):
                # The metric of several seeds is the mean of theirs, so each keeps its own columns.
                ours, theirs = (np.concatenate([s.counts for s in side], axis=1) for side in (own[source], match))
                measure = _mean_metric(match, main_metric(tasks[task]))
                found[task, lang, source] = paired_bootstrap(ours, theirs, measure, draws=draws)
    if not found:
        raise DataError(
            "no entry and language with the same examples in both runs",
            expected="two runs of one suite, with as many seeds",
            where=f"{first}; {second}",
        )
    return dict(sorted(found.items()))


def _by_cell(folder: Path, tasks: dict[str, SuiteEntry]) -> dict[tuple[str, str, str], dict[str, list[Scored]]]:
    """(entry, language, digest of the examples) -> source -> what each seed scored.

    What was scored by a rule or settings that the suite has no more is kept too, but not among its rows.
    """
    file = folder / "scores.jsonl"
    rows = set(read_scores(file)) if file.is_file() else set()
    found: dict[tuple[str, str, str], dict[str, dict[int | None, Scored]]] = {}
    for scored in ScoreCache(folder / "scored").all():
        row = scored.scores[0]
        if row.task in tasks and rows.issuperset(scored.scores):
            source = row.model.rpartition("/")[2]
            found.setdefault((row.task, row.language, scored.examples), {}).setdefault(source, {})[row.seed] = scored
    return {cell: {source: list(own.values()) for source, own in by.items()} for cell, by in found.items()}


def _mean_metric(scored: Sequence[Scored], metric: str) -> Callable[[NDArray[np.float64]], float]:
    """A metric of summed counts, mean over seeds whose columns stand side by side."""
    from interlingua.tasks import TASKS
    from interlingua.tasks.retrieve import RETRIEVAL, retrieval_metrics

    settings = dict(scored[0].task)
    kind = settings.pop("kind")
    metrics = retrieval_metrics if kind == RETRIEVAL else TASKS[kind](**settings).metrics
    return lambda totals_K: statistics.fmean(metrics(part)[metric] for part in np.split(totals_K, len(scored)))
