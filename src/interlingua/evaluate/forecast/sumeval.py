"""Every file of SumEval 2022 in one go.

In: a folder with ``train`` (scores) and ``test_release`` (the same layout without scores). Out: for each file of
``test_release`` one of the same name and layout with forecasts as scores, the same again under ``intervals`` with
``[low, high]`` in place of each, and what the forecasts of each task were worth on left-out training scores.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlingua.errors import DataError
from interlingua.evaluate.forecast.facts import Facts
from interlingua.evaluate.forecast.forecaster import Cells, Forecaster, LeftOut
from interlingua.evaluate.forecast.grid import read_grid, read_mixes, read_raw
from interlingua.languages import canonical
from interlingua.run import atomic_write

__all__ = ["TaskReport", "forecast_folder"]

_END = ".json.zst"


@dataclass(frozen=True)
class TaskReport:
    """One task.

    Attributes:
        task: name of its file under ``train``.
        left_out: what its kinds of forecast were worth.
        written: the files written.
        lacking: new languages without some fact, and which.
    """

    task: str
    left_out: tuple[LeftOut, ...]
    written: tuple[Path, ...]
    lacking: dict[str, list[str]]


def forecast_folder(
    folder: Path, out: Path, facts: Facts, *, progress: Callable[[int, int, str], Any] = lambda done, total, name: None
) -> list[TaskReport]:
    """Forecast all that ``test_release`` asks.

    Args:
        folder: holds ``train`` and ``test_release``.
        out: where the answers go.
        facts: of languages.
        progress: called with tasks done, tasks in all, and the task at hand.

    Raises:
        DataError: a folder of another layout, or a test file that no training file belongs to.
    """
    training = {file.name.removesuffix(_END): file for file in sorted((folder / "train").glob(f"*{_END}"))}
    tests = sorted((folder / "test_release").glob(f"*{_END}"))
    if not training or not tests:
        raise DataError(f"{len(training)} training and {len(tests)} test files", where=str(folder),
                        expected=f"train/*{_END} and test_release/*{_END}")  # fmt: skip
    asked: dict[str, list[Path]] = {name: [] for name in training}
    for test in tests:
        name = test.name.removesuffix(_END).partition("_surprise_langs")[0]
        if name not in training:
            raise DataError(f"no training file for {test.name!r}", expected=f"one of {', '.join(training)}",
                            where=str(test))  # fmt: skip
        asked[name].append(test)
    reports = []
    for done, (name, files) in enumerate(asked.items()):
        progress(done, len(asked), name)
        reports.append(_task(name, training[name], files, out, facts))
    progress(len(asked), len(asked), "")
    return reports


def _task(name: str, training: Path, files: list[Path], out: Path, facts: Facts) -> TaskReport:
    grid = read_grid([training])
    forecaster = Forecaster(grid, facts)
    scored = {json.dumps(mix, sort_keys=True) for mix in grid.mixes}
    kinds: set[tuple[bool, bool]] = set()
    new: set[str] = set()
    for file in files:
        questions = read_mixes(file)
        languages = sorted({lang for _, wanted in questions for lang in wanted})
        cells = forecaster.predict([mix for mix, _ in questions], languages)
        new |= set(languages) - set(grid.languages)
        new_mixes = any(json.dumps(mix, sort_keys=True) not in scored for mix, _ in questions)
        kinds |= {(lang not in grid.languages, new_mixes) for lang in languages}
        _write(file, out, cells)
    left_out = [forecaster.left_out_mixes()] if any(not is_new for is_new, _ in kinds) else []
    left_out += [forecaster.left_out_languages(new_mixes=both) for is_new, both in sorted(kinds) if is_new]
    return TaskReport(name, tuple(left_out), tuple(out / file.name for file in files), facts.unknown(sorted(new)))


def _write(file: Path, out: Path, cells: Cells) -> None:
    """The questions of a file with answers in place of its scores; intervals in a file beside."""
    import zstandard

    places = {lang: place for place, lang in enumerate(cells.languages)}
    answers, intervals = [], []
    for at, row in enumerate(read_raw(file)):
        column = {code: places[canonical(code)] for code in row["eval_results"]}
        values = {code: round(float(cells.value[at, place]), 6) for code, place in column.items()}
        ends = {
            code: [round(float(cells.low[at, place]), 6), round(float(cells.high[at, place]), 6)]
            for code, place in column.items()
        }
        answers.append({"train_config": row["train_config"], "eval_results": values})
        intervals.append({"train_config": row["train_config"], "eval_results": ends})
    for target, rows in ((out / file.name, answers), (out / "intervals" / file.name, intervals)):
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(target, zstandard.ZstdCompressor(10).compress(json.dumps(rows).encode()))
