"""What is known of a language before any score: its kin, its writing, its share of the pretraining text.

In: tags, the table ``data/language_facts.tsv``, columns of the user's own (typology, measures of a model). Out: one
similarity matrix a fact, the kernels of :mod:`interlingua.evaluate.forecast.kinship`. Decision: a fact that is not
known makes a language similar to none but itself, so its forecast falls back to the mean and its interval widens.
Price: nothing is guessed from the facts that are known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, LanguageError
from interlingua.languages import Language, canonical, language

__all__ = ["Facts", "read_facts"]

#: An unspaced language stands this many standard deviations off the others before any score is seen.
_UNSPACED = 2.0


@dataclass(frozen=True)
class Facts:
    """Numbers by language.

    Attributes:
        columns: name of a fact -> canonical tag -> number; a missing tag is a fact not known.
    """

    columns: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def with_columns(self, more: Mapping[str, Mapping[str, float]]) -> Facts:
        """These facts and more; a column of the same name is replaced."""
        return Facts({**self.columns, **more})

    def unknown(self, tags: Sequence[str]) -> dict[str, list[str]]:
        """For each language that lacks facts, which ones."""
        lacking: dict[str, list[str]] = {}
        for tag in tags:
            missing = [name for name, column in self.columns.items() if tag not in column]
            if _entry(tag) is None:
                missing.append("family")
            if missing:
                lacking[tag] = missing
        return lacking

    def kernels(self, tags: Sequence[str], *, scored: int | None = None) -> NDArray[np.float64]:
        """One [L, L] similarity a fact: family, branch, spaces, then each column (standardised, linear).

        Args:
            tags: L canonical tags.
            scored: the first so many of them set the columns' mean and spread; all if None.
        """
        entries = [_entry(tag) for tag in tags]
        family = [entry.family if entry else f"?{tag}" for tag, entry in zip(tags, entries, strict=True)]
        branch = [
            f"{entry.family}/{entry.branch or tag}" if entry else f"?{tag}"
            for tag, entry in zip(tags, entries, strict=True)
        ]
        unspaced = np.array([_UNSPACED if entry and not entry.spaced else 0.0 for entry in entries])
        same = [np.equal.outer(np.array(names), np.array(names)).astype(np.float64) for names in (family, branch)]
        columns = [self._linear(name, tags, scored) for name in self.columns]
        return np.stack([*same, np.outer(unspaced, unspaced), *columns])

    def _linear(self, name: str, tags: Sequence[str], scored: int | None) -> NDArray[np.float64]:
        column = self.columns[name]
        known = np.array([tag in column for tag in tags])
        values = np.array([column.get(tag, 0.0) for tag in tags])
        of_scored = values[:scored][known[:scored]]
        if len(of_scored):
            values = np.where(known, (values - of_scored.mean()) / (of_scored.std() or 1.0), 0.0)
        return np.asarray(np.outer(values, values) + np.diag(1.0 - known))


def read_facts(path: Path | None = None) -> Facts:
    """The facts of the package, and those of a file beside them.

    Args:
        path: TSV with a header; the first column ``language``, every other a number or empty.

    Raises:
        DataError: another layout, or a cell that is no number.
        LanguageError: a language tag nobody knows.
    """
    table = resources.files("interlingua").joinpath("data/language_facts.tsv").read_text(encoding="utf-8")
    sizes = _columns(table, "language_facts.tsv")["cc100_gib"]
    facts = Facts({"cc100": {tag: math.log(size) for tag, size in sizes.items()}})
    if path is None:
        return facts
    if not path.is_file():
        raise DataError(f"no facts at {str(path)!r}", expected="a TSV with a column `language`", where=str(path))
    return facts.with_columns(_columns(path.read_text(encoding="utf-8"), str(path)))


def _entry(tag: str) -> Language | None:
    try:
        return language(tag)
    except LanguageError:  # a language of the user's own
        return None


def _columns(text: str, where: str) -> dict[str, dict[str, float]]:
    head, *lines = text.splitlines() or [""]
    first, *names = head.split("\t")
    if first != "language" or not names or len(set(names)) != len(names):
        raise DataError(f"header {head[:60]!r}", expected="`language` and then names of facts, tab-separated",
                        where=f"{where}, line 1")  # fmt: skip
    columns: dict[str, dict[str, float]] = {name: {} for name in names}
    for number, line in enumerate(lines, start=2):
        tag, *cells = line.split("\t")
        if len(cells) != len(names):
            raise DataError(f"{len(cells) + 1} cells", expected=f"{len(names) + 1}", where=f"{where}, line {number}")
        for name, cell in zip(names, cells, strict=True):
            try:
                value = float(cell) if cell.strip() else None
            except ValueError:
                value = math.nan
            if value is not None and not math.isfinite(value):
                raise DataError(f"{cell!r} as {name}", expected="a number, or nothing",
                                where=f"{where}, line {number}")  # fmt: skip
            if value is not None:
                columns[name][canonical(tag)] = value
    return columns
