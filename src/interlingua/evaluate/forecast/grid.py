"""Scores as a grid: configurations down, languages across.

In: the layout of SumEval 2022 (a list of ``{"train_config": {language: examples}, "eval_results": {language: score}}``,
also zstd-compressed) or rows of our ``scores.jsonl``. Out: a complete :class:`Grid` of canonical tags on one scale.
Decision: a configuration is a training mix, or, in ``scores.jsonl``, a model of which no mix is known. Price: a
language that some model was not scored in is left out of the grid, and named.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, LanguageError
from interlingua.languages import canonical
from interlingua.scores import read_scores

__all__ = ["Grid", "Mix", "read_grid", "read_mixes", "read_raw"]

#: Examples a language, by canonical tag.
Mix = Mapping[str, float]


@dataclass(frozen=True)
class Grid:
    """Scores of C configurations in L languages.

    Attributes:
        name: where they come from.
        labels: a name a configuration.
        mixes: training examples by language; empty where no mix is known.
        languages: canonical tags.
        values: scores [C, L], complete.
        scale: 1 for shares, 100 for percentages.
        dropped: languages left out because a configuration lacks them.
    """

    name: str
    labels: tuple[str, ...]
    mixes: tuple[Mix, ...]
    languages: tuple[str, ...]
    values: NDArray[np.float64]
    scale: float
    dropped: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Languages that some mix names, sorted."""
        return tuple(sorted({lang for mix in self.mixes for lang in mix}))


def read_grid(paths: Sequence[Path], *, taught: Sequence[str] = ("en",)) -> Grid:
    """Read scores of one task.

    Args:
        paths: one or more files of one kind: ``.jsonl`` holds rows of scores, anything else the layout of SumEval.
        taught: languages that the models of a ``.jsonl`` were taught in; their scores tell nothing about transfer.

    Raises:
        DataError: unreadable, empty, of several tasks, or of mixed scales.
        LanguageError: a configuration names a language that nobody knows.
    """
    name = ", ".join(map(str, paths))
    kinds = {path.suffix == ".jsonl" for path in paths}
    if len(kinds) != 1:
        raise DataError(f"{len(paths)} files of mixed kinds", expected="only scores.jsonl, or only SumEval's layout",
                        where=name, next_step="forecast one kind after the other")  # fmt: skip
    table, mixes = _from_scores(paths, taught) if kinds.pop() else _from_mixes(paths)
    common = set.intersection(*(set(row) for row in table.values()))
    every = {lang for row in table.values() for lang in row}
    if not common:
        raise DataError("no language that every configuration was scored in", expected="at least one", where=name)
    languages = tuple(sorted(common))
    values = np.array([[row[lang] for lang in languages] for row in table.values()], dtype=np.float64)
    return Grid(name, tuple(table), mixes, languages, values, _scale(values, name), tuple(sorted(every - common)))


def read_raw(path: Path) -> list[dict[str, dict[str, Any]]]:
    """The rows of a SumEval file as they stand.

    Raises:
        DataError: missing, not JSON, or of another layout.
    """
    import zstandard

    expected = 'a list of {"train_config": {language: examples}, "eval_results": {language: score}}'
    try:
        packed = path.read_bytes()
        text = zstandard.ZstdDecompressor().decompressobj().decompress(packed) if path.suffix == ".zst" else packed
        rows = json.loads(text)
    except FileNotFoundError as error:
        raise DataError(f"no file {str(path)!r}", expected=expected, where=str(path)) from error
    except (UnicodeDecodeError, json.JSONDecodeError, zstandard.ZstdError) as error:
        raise DataError(f"not JSON: {error}", expected=expected, where=str(path)) from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{type(rows).__name__} of {len(rows) if hasattr(rows, '__len__') else 0}", expected=expected,
                        where=str(path))  # fmt: skip
    for number, row in enumerate(rows, start=1):
        parts = [row.get(key) if isinstance(row, dict) else None for key in ("train_config", "eval_results")]
        if not all(isinstance(part, dict) for part in parts):
            raise DataError(f"not a configuration: {str(row)[:60]!r}", expected=expected, where=f"{path}, row {number}")
    return rows


def read_mixes(path: Path) -> list[tuple[Mix, tuple[str, ...]]]:
    """What a file without scores asks: a mix and the languages to forecast for, a row each."""
    rows = enumerate(read_raw(path), start=1)
    return [(_mix(row, path, number), tuple(_tags(row["eval_results"], path, number))) for number, row in rows]


def _tags(codes: Mapping[str, Any], path: Path, number: int) -> dict[str, Any]:
    """Canonical tags instead of the codes of a file."""
    tags = {}
    for code, value in codes.items():
        try:
            tags[canonical(code)] = value
        except LanguageError as error:
            raise LanguageError(error.found, expected="a language that the table knows", where=f"{path}, row {number}",
                                next_step="correct the code, or take it out of the row") from error  # fmt: skip
    return tags


def _mix(row: Mapping[str, Any], path: Path, number: int) -> Mix:
    mix = _tags(row["train_config"], path, number)
    for lang, size in mix.items():
        if isinstance(size, bool) or not isinstance(size, int | float) or not (0 <= size < math.inf):
            raise DataError(f"{size!r} examples of {lang!r}", expected="a number, zero or more",
                            where=f"{path}, row {number}")  # fmt: skip
    return mix


def _from_mixes(paths: Sequence[Path]) -> tuple[dict[str, dict[str, float]], tuple[Mix, ...]]:
    table: dict[str, dict[str, float]] = {}
    mixes = []
    for path in paths:
        for number, row in enumerate(read_raw(path), start=1):
            mixes.append(_mix(row, path, number))
            scores = _tags(row["eval_results"], path, number)
            for lang, value in scores.items():
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    raise DataError(f"score {value!r} of {lang!r}", expected="a number",
                                    where=f"{path}, row {number}")  # fmt: skip
            table[f"{path.name}:{number}"] = scores
    return table, tuple(mixes)


def _from_scores(paths: Sequence[Path], taught: Sequence[str]) -> tuple[dict[str, dict[str, float]], tuple[Mix, ...]]:
    rows = [score for path in paths for score in read_scores(path)]
    where = ", ".join(map(str, paths))
    kinds = {(row.task, row.split, row.metric) for row in rows}
    if len(kinds) != 1:
        shown = "; ".join(" ".join(kind) for kind in sorted(kinds)) or "no rows"
        raise DataError(f"scores of {len(kinds)} tasks, splits or metrics: {shown}", expected="exactly one",
                        where=where, next_step="keep the rows of one task and metric in the file")  # fmt: skip
    seeds: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row.language not in taught:
            seeds.setdefault(row.model, {}).setdefault(row.language, []).append(row.value)
    if not seeds:
        raise DataError("only scores in the language the task was taught in", expected="scores of other languages",
                        where=where, next_step="run `interlingua evaluate` in every language there is")  # fmt: skip
    table = {name: {lang: statistics.fmean(v) for lang, v in row.items()} for name, row in seeds.items()}
    return table, ()


def _scale(values_CL: NDArray[np.float64], where: str) -> float:
    """Shares or percentages; a row whose best score is one or less holds shares."""
    shares: NDArray[np.bool_] = np.asarray((values_CL <= 1).all(axis=1))
    if values_CL.min() < 0 or values_CL.max() > 100 or shares.any() != shares.all():
        raise DataError(
            f"scores from {values_CL.min():g} to {values_CL.max():g}, {int(shares.sum())} of {len(shares)} rows at"
            " most 1",
            expected="all rows as shares (0-1), or all as percentages (0-100)",
            where=where,
            next_step="bring the scores to one scale",
        )
    return 1.0 if shares.all() else 100.0
