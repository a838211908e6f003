"""Multi-parallel text as the measuring verbs want it.

A TSV file flows in; ``id -> language -> text`` flows out, and how many rows were passed over. Decision: rows with the
most languages come first, so that languages are measured on the same meanings as far as the file allows. Price: the
file is held in memory, and the rows taken are not its first ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ParallelRows", "by_language", "parallel_rows"]


@dataclass(frozen=True)
class ParallelRows:
    """Rows chosen from a file.

    Attributes:
        texts: id -> language -> text.
        languages: all languages of the file.
        passed_over: rows that were not taken.
    """

    texts: dict[str, dict[str, str]]
    languages: list[str]
    passed_over: int


def parallel_rows(file: str | Path, *, limit: int, source: str = "en") -> ParallelRows:
    """Read a multi-parallel TSV file.

    Args:
        file: path, or ``package:NAME``.
        limit: rows taken at most; 0 takes all.
        source: the language a row must have.

    Raises:
        DataError: missing, empty or uneven file, or the same id twice.
        LanguageError: no row has the source language.
    """
    from interlingua.data import resolve
    from interlingua.errors import DataError, LanguageError
    from interlingua.text.pairs import read_parallel

    rows: dict[str, dict[str, str]] = {}
    languages: dict[str, None] = {}
    for row in read_parallel(resolve(file)):
        if row.id in rows:
            raise DataError(f"the id {row.id!r} twice", expected="an id for each row", where=str(file))
        rows[row.id] = row.texts
        languages |= dict.fromkeys(row.texts)
    chosen = sorted((name for name, texts in rows.items() if source in texts), key=lambda name: -len(rows[name]))
    if not chosen:
        raise LanguageError(f"no text in {source!r}", expected=f"one of {', '.join(languages)}", where=str(file))
    taken = {name: rows[name] for name in chosen[: limit or None]}
    return ParallelRows(taken, list(languages), len(rows) - len(taken))


def by_language(texts: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """The same texts as language -> id -> text."""
    turned: dict[str, dict[str, str]] = {}
    for name, row in texts.items():
        for lang, text in row.items():
            turned.setdefault(lang, {})[name] = text
    return turned
