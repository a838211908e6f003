"""Encoders measured while they are pretrained.

In: a run and what is to be measured. Out: rows whose task names the step. Decision: checkpoints that the run writes
anyway are measured in the call after the next step, and rows are kept in ``along.jsonl`` of the run, so that a run that
was stopped loses none. Price: training waits while it is measured.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.studies.measures import Measure, Row, Trained

if TYPE_CHECKING:
    from interlingua.train.loop import Progress

__all__ = ["following", "read_log", "rows_along"]

ALONG = "along.jsonl"


def read_log(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics, a step each."""
    return [json.loads(row) for row in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def following(
    run: Path, every: int, measures: Sequence[Measure], looked: Callable[[Path], Trained]
) -> Callable[[Progress], None]:
    """What is to be called after every step.

    Args:
        run: folder of the run.
        every: steps between its checkpoints.
        measures: of each checkpoint, beside the mean loss since the one before.
        looked: makes what is measured of a checkpoint.
    """

    def on_step(progress: Progress) -> None:
        # A step's checkpoint is written after its call.
        at = progress.step - 1
        if not at or at % every:
            return
        trained = looked(run / "checkpoints" / f"step-{at:06d}")
        losses = [sum(row["loss"].values()) for row in read_log(run)[at - every : at]]
        rows: list[Row] = [("loss", "und", "loss", statistics.fmean(losses), len(losses))]
        rows += [row for measure in measures for row in measure(trained)]
        with (run / ALONG).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps([f"{task}.step{at}", *rest]) + "\n" for task, *rest in rows)

    return on_step


def rows_along(run: Path) -> list[Row]:
    """What was measured on the way; of a step that came twice, in a run that was resumed, the last."""
    if not (run / ALONG).is_file():
        return []
    rows = [json.loads(line) for line in (run / ALONG).read_text(encoding="utf-8").splitlines()]
    return list({tuple(row[:3]): (row[0], row[1], row[2], row[3], row[4]) for row in rows}.values())
