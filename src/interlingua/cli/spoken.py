"""Texts with their languages, as the probes read them.

A file flows in, ``lang`` and ``text`` in columns or fields or a column a language; (language, text) flows out, as a
stream. Decision: the limit counts each language's first texts, and blank cells are passed over and counted. Price: a
file sorted by language is read to its end although nothing more is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlingua.text.lines import ReadReport

__all__ = ["spoken_texts"]


def spoken_texts(
    file: str | Path,
    *,
    languages: Sequence[str] = (),
    limit: int = 0,
    split: str = "",
    report: ReadReport | None = None,
) -> Iterator[tuple[str, str]]:
    """Stream (canonical tag, text).

    Args:
        file: path or ``package:NAME``: ``.jsonl``, ``.tsv`` or ``.parquet`` with ``lang`` and ``text``; or
            multi-parallel ``.tsv`` with ``id`` and a column a language.
        languages: only these; all if there are none.
        limit: texts a language at most; 0 for all.
        split: of a table with a column ``split``, only the rows of this part; all if none is named.
        report: receives the counts.

    Raises:
        DataError: unreadable, or text whose language nobody has named.
        LanguageError: an unknown tag, or a language that the file does not have.
    """
    from interlingua.data import resolve
    from interlingua.errors import DataError, LanguageError
    from interlingua.languages import canonical
    from interlingua.text.documents import UNDETERMINED

    wanted = {canonical(tag) for tag in languages}
    taken: Counter[str] = Counter()
    path = resolve(file)
    for lang, text in _rows(path, report, split):
        if lang == UNDETERMINED:
            raise DataError("text whose language nobody has named", expected="a column or field 'lang'",
                            where=str(path))  # fmt: skip
        if (wanted and lang not in wanted) or (limit and taken[lang] >= limit):
            continue
        taken[lang] += 1
        yield lang, text
    if missing := wanted - set(taken):
        raise LanguageError(f"no text in {', '.join(sorted(missing))}", expected="languages of the file",
                            where=str(path))  # fmt: skip


def _rows(path: Path, report: ReadReport | None, split: str) -> Iterator[tuple[str, str]]:
    from interlingua.languages import canonical
    from interlingua.text.documents import read_documents, table_cells
    from interlingua.text.lines import ReadReport, check_file, file_kind
    from interlingua.text.pairs import read_parallel

    check_file(path)
    if file_kind(path) == ".tsv":
        _, header = next(table_cells(path, ReadReport(), "raise"), (0, []))
        if "text" not in header:
            for row in read_parallel(path, report=report):
                yield from row.texts.items()
            return
        if split and {"split", "lang"} <= set(header):
            lang, text, part = (header.index(name) for name in ("lang", "text", "split"))
            rows = (cells for number, cells in table_cells(path, report or ReadReport(), "raise") if number > 1)
            yield from ((canonical(cells[lang]), cells[text]) for cells in rows if cells[part] == split)
            return
    for document in read_documents(path, report=report):
        yield document.lang, document.text
