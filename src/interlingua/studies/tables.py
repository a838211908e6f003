"""Tables and words that the pages of studies of arms share.

In: values by arm and seed. Out: a row an arm, mean and deviation. Decision: an arm that was not measured has no row.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from interlingua.languages import language
from interlingua.report.page import Align, Cell, Table
from interlingua.scores import Score
from interlingua.studies.arms import Arm
from interlingua.studies.base import Values

__all__ = ["Column", "arms_table", "languages_of", "number_of", "seeds_of", "shown", "spoken"]

#: Values by arm and seed, and their digits; or a number by arm.
Column = tuple[Values, int] | Mapping[str, float]


def languages_of(scores: Sequence[Score], task: str) -> list[str]:
    """The languages of a task's rows, in their order."""
    return [*dict.fromkeys(s.language for s in scores if s.task == task)]


def spoken(languages: Sequence[str]) -> str:
    """Names of languages."""
    return ", ".join(language(lang).name for lang in languages)


def seeds_of(scores: Sequence[Score]) -> int:
    """How many seeds there are."""
    return len({s.seed for s in scores if s.seed is not None})


def number_of(scores: Sequence[Score], metric: str) -> dict[str, float]:
    """A number that does not depend on the seed, by arm."""
    return {s.model: round(s.value) for s in scores if s.metric == metric}


def shown(values: Mapping[int, float] | None, digits: int) -> str | None:
    """Mean and deviation over seeds."""
    if not values:
        return None
    spread = statistics.stdev(values.values()) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values.values()):.{digits}f} \u00b1 {spread:.{digits}f}"


def arms_table(title: str, arms: Sequence[Arm], columns: Mapping[str, Column]) -> Table | None:
    """A row an arm; None where none was measured.

    Args:
        title: over the table.
        arms: in order.
        columns: heading -> values.
    """
    measured = {name for column in columns.values() for name in (column[0] if isinstance(column, tuple) else column)}
    rows: list[list[Cell]] = [
        [arm.label, *(shown(column[0].get(arm.name), column[1]) if isinstance(column, tuple) else column.get(arm.name)
                      for column in columns.values())]
        for arm in arms if arm.name in measured
    ]  # fmt: skip
    align: list[Align] = ["left", *["right"] * len(columns)]  # type: ignore[list-item]
    return Table(title, "", ["arm", *columns], rows, align) if rows else None
