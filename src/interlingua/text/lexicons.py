"""Reader of translation lexicons: a word and its translation a line, separated by a tab or a space (MUSE's format)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from interlingua.errors import DataError
from interlingua.text.lines import OnBad, ReadReport, nfc, numbered_lines

__all__ = ["read_lexicon"]


def read_lexicon(
    path: str | Path, *, on_bad: OnBad = "raise", report: ReadReport | None = None
) -> Iterator[tuple[str, str]]:
    """Stream the (word, translation) pairs of a file, also ``.gz`` or ``.zst``; a word may come several times.

    Args:
        path: two columns a line, split at the first tab, or else at the first space.
        on_bad: ``"raise"`` at the first line without two columns, or ``"count"`` it and go on.
        report: counts what was read.

    Raises:
        DataError: file missing, empty, damaged or not UTF-8, or a line without two columns.
    """
    path, report = Path(path), report or ReadReport()
    for number, line in numbered_lines(path, report, on_bad):
        if not line.strip():
            report.blank += 1
            continue
        source, _, target = line.strip().partition("\t" if "\t" in line else " ")
        if not target.strip():
            refusal = DataError(
                f"line {line!r}",
                expected="a word, a tab or a space, and its translation",
                where=f"{path}, line {number}",
                next_step="repair or remove the line",
            )
            report.refuse(refusal, on_bad)
            continue
        report.rows += 1
        yield nfc(source), nfc(target)
    report.finish(path)
