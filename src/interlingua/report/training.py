"""How a run learnt, from its ``metrics.jsonl``.

In: a row a step, as the loop logs them. Out: a section with the curves. Decision: the last line of a run that is going
on, or was killed, may be half written and is passed over in silence; any other line that is no row of a step is counted
under the figure. Price: a damaged file still makes a page.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlingua.errors import DataError
from interlingua.report.figures import training_curve
from interlingua.report.page import Section

__all__ = ["Metrics", "curve_section", "read_metrics"]


@dataclass(frozen=True)
class Metrics:
    """The rows of a run.

    Attributes:
        rows: an object a step.
        unreadable: lines before the last one that are none.
    """

    rows: list[dict[str, Any]]
    unreadable: int = 0


def read_metrics(path: Path) -> Metrics:
    """Read ``metrics.jsonl``.

    Raises:
        DataError: no row at all.
    """
    read = [_row(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    rows = [row for row in read if row is not None]
    if not rows:
        raise DataError(f"no step in {str(path)!r}", expected="a JSON object a step", where=str(path))
    return Metrics(rows, sum(row is None for row in read[:-1]))


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def curve_section(metrics: Metrics, *, heading: str, paragraphs: Sequence[str], points: int = 40) -> Section:
    """Training curves: loss by objective in ``points`` bins, held-out bits per character by language."""
    losses: dict[str, dict[int, float]] = {}
    bits: dict[str, dict[int, float]] = {}
    for row in metrics.rows:
        for name, value in row.get("loss", {}).items():
            losses.setdefault(name, {})[row["step"]] = value
        for by_language in list(row.get("bits_per_character", {}).values())[:1]:
            for lang, value in by_language.items():
                bits.setdefault(lang, {})[row["step"]] = value
    last = max((step for by in losses.values() for step in by), default=0)
    width = max(1, last // points)
    steps = list(range(width, last + 1, width))
    # A point is the mean over its bin: single steps of a small batch jump about.
    binned: dict[str, list[float | None]] = {
        name: [
            statistics.fmean(inside) if (inside := [v for s, v in by.items() if step - width < s <= step]) else None
            for step in steps
        ]
        for name, by in losses.items()
    }
    caption = f"{metrics.unreadable} unreadable line(s) of the run's log are left out." if metrics.unreadable else ""
    figures = [training_curve(steps, binned, measure="loss (nats a prediction)", caption=caption)]
    if bits:
        marks = sorted({step for by in bits.values() for step in by})
        figures.append(
            training_curve(
                marks,
                {lang: [by.get(step) for step in marks] for lang, by in bits.items()},
                measure="held-out bits per character",
                languages=True,
            )
        )
    return Section(heading, tuple(paragraphs), tuple(figures))
