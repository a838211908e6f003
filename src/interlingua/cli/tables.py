"""Tables for the terminal: languages by name, numbers to the right.

Decision: a language's own name stands in the last column, since scripts that run to the left or stack their marks
upset the columns of many terminals. Price: the eye travels.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlingua.errors import LanguageError
from interlingua.languages import language

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.table import Table

    from interlingua.scores import LanguageRow

__all__ = ["Grid", "language_names", "number", "score_table", "table"]

CONTROLS = {"majority": "majority", "mean": "mean", "tfidf": "tf-idf", "random": "random"}
_ENDLESS = 10_000
_NARROWEST_NAME = 9


def language_names(tag: str) -> tuple[str, str]:
    """English name and autonym; the tag itself for a language that the table does not know (an invented one)."""
    try:
        known = language(tag)
    except LanguageError:
        return tag, ""
    return known.name, known.autonym


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A number, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


@dataclass(frozen=True)
class Grid:
    """A table that fits: a narrow terminal breaks the languages' own names, then loses columns, but no number is cut.

    Attributes:
        columns: headings.
        rows: cells; numbers already written out.
        left: how many columns are text; those, and one without a heading, are set to the left.
        spare: numbers of the columns that can be done without, the first to go first.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    left: int = 1
    spare: Sequence[int] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType | Segment]:
        """Draw with as many columns as there is room for."""
        for gone in range(len(self.spare) + 1):
            for padding in (1, 0):
                drawn = self._draw(set(self.spare[:gone]), padding)
                needed = console.measure(drawn, options=options.update(width=_ENDLESS)).minimum
                if needed <= options.max_width:
                    yield drawn
                    return
        # Lines that a narrow terminal breaks are better than numbers that are not there.
        yield from console.render(drawn, options.update(width=needed))

    def _draw(self, without: set[int], padding: int) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.cells import cell_len
        from rich.table import Table
        from rich.text import Text

        drawn = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, padding, 0, 0))
        kept = [place for place in range(len(self.columns)) if place not in without]
        for place in kept:
            name = self.columns[place]
            own_names = not name and place == len(self.columns) - 1
            widest = max(map(cell_len, [name, *(str(row[place]) for row in self.rows)]))
            drawn.add_column(
                name,
                justify="left" if place < self.left or not name else "right",
                no_wrap=not own_names,
                min_width=min(widest, _NARROWEST_NAME) if own_names else widest,
            )
        for row in self.rows:
            drawn.add_row(*(Text(str(row[place])) for place in kept))
        return drawn


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, left: int = 1, spare: Sequence[int] = ()) -> Grid:
    """A table; see :class:`Grid`. The column of the languages' own names, if it is the last one, can be spared."""
    names = [len(columns) - 1] if columns and not columns[-1] and len(columns) > left else []
    return Grid(columns, rows, left, (*spare, *names))


def score_table(rows: Sequence[LanguageRow], *, metric: str, source: str) -> Any:
    """Scores by language beside their controls, the mean over the other languages last.

    Args:
        rows: a row a language.
        metric: name of the score.
        source: the language the gap is to.
    """
    controls = [name for name in CONTROLS if any(name in row.controls for row in rows)]
    lines = [
        (
            language_names(row.language)[0],
            row.language,
            number(row.mean),
            number(row.spread),
            number(row.gap, signed=True),
            *(number(row.controls.get(name)) for name in controls),
            row.n,
            language_names(row.language)[1],
        )
        for row in rows
    ]
    others = [row for row in rows if row.language != source]
    if others:
        mean = [statistics.fmean(getattr(row, name) for row in others) for name in ("mean", "spread", "gap")]
        beside = [
            statistics.fmean(values) if (values := [r.controls[name] for r in others if name in r.controls]) else None
            for name in controls
        ]
        average = (number(mean[0]), number(mean[1]), number(mean[2], signed=True), *(number(value) for value in beside))
        lines.append((f"mean of {len(others)} others", "", *average, "", ""))
    names = [CONTROLS[name] for name in controls]
    columns = ["language", "tag", metric.replace("_", " "), "spread", "gap", *names, "n", ""]
    return table(columns, lines, left=2, spare=[len(columns) - 2, 1])
