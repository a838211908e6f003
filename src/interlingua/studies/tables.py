"""Tables and words that the pages of studies of arms share.

In: values by arm and seed. Out: a row an arm, mean and deviation. Decision: an arm that was not measured has no row,
and one seed has no deviation.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from interlingua.languages import language
from interlingua.report.page import Align, Cell, Table
from interlingua.scores import Score
from interlingua.studies.arms import Arm
from interlingua.studies.base import Values

__all__ = ["Column", "arms_table", "languages_of", "number_of", "others_of", "seeds_of", "shown", "spoken"]

#: Values by arm and seed, and their digits; or a number by arm.
Column = tuple[Values, int] | Mapping[str, float]


def languages_of(scores: Sequence[Score], task: str) -> list[str]:
    """The languages of a task's rows, in their order."""
    return [*dict.fromkeys(s.language for s in scores if s.task == task)]


def others_of(scores: Sequence[Score]) -> list[str]:
    """The languages that English was compared with."""
    return languages_of(scores, "retrieval")


def spoken(languages: Sequence[str]) -> str:
    """Names of languages."""
    return ", ".join(language(lang).name for lang in languages)


def seeds_of(scores: Sequence[Score]) -> int:
    """How many seeds there are."""
    return len({s.seed for s in scores if s.seed is not None})


def number_of(scores: Sequence[Score], metric: str) -> dict[str, float]:
    """A number that does not depend on the seed, by arm."""
    return {s.model: round(s.value) for s in scores if s.metric == metric}


def shown(values: Iterable[float], digits: int = 3) -> str | None:
    """A cell: the mean over seeds, and their deviation where there are several."""
    numbers = list(values)
    if not numbers:
        return None
    spread = f" \u00b1 {statistics.stdev(numbers):.{digits}f}" if len(numbers) > 1 else ""
    return f"{statistics.fmean(numbers):.{digits}f}{spread}"


def arms_table(title: str, arms: Sequence[Arm], columns: Mapping[str, Column]) -> Table | None:
    """A row an arm; None where none was measured.

    Args:
        title: over the table.
        arms: in order.
        columns: heading -> values.
    """
    measured = {name for column in columns.values() for name in (column[0] if isinstance(column, tuple) else column)}

    def cell(column: Column, arm: Arm) -> Cell:
        if isinstance(column, tuple):
            return shown(column[0].get(arm.name, {}).values(), column[1])
        return column.get(arm.name)

    rows: list[list[Cell]] = [
        [arm.label, *(cell(column, arm) for column in columns.values())] for arm in arms if arm.name in measured
    ]
    align: list[Align] = ["left", *["right"] * len(columns)]  # type: ignore[list-item]
    return Table(title, "", ["arm", *columns], rows, align) if rows else None
