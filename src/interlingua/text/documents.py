"""Readers of monolingual text.

A file people already have flows in (``.txt``, ``.jsonl``, ``.tsv``, each also ``.gz`` or ``.zst``, and Parquet); a
stream of `Document` flows out, NFC-normalised, with the file and line each came from.

Decision: readers are generators and count in a `ReadReport` that the caller passes, so that a corpus is never held
in memory and a row that cannot be read is seen. By default such a row stops the reading. Price: the counts are
complete only after the last row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from interlingua.errors import DataError, LanguageError, MissingExtraError
from interlingua.languages import canonical
from interlingua.text.lines import OnBad, ReadReport, Span, check_file, file_kind, nfc, numbered_lines

__all__ = ["UNDETERMINED", "Document", "json_rows", "read_documents", "require_pyarrow", "table_cells"]

UNDETERMINED = "und"
"""BCP-47's own tag for text whose language nobody has named."""

_Row = tuple[int, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Document:
    """One text in one language.

    Attributes:
        text: NFC-normalised, not blank.
        lang: BCP-47 tag, or `UNDETERMINED`.
        source: the row's own ``source`` field where it has one, else the file's name.
        line: line (Parquet: row) number in the file, from 1.
        continues: it goes on with the text before it, as a further part of one document.
    """

    text: str
    lang: str
    source: str
    line: int
    continues: bool = False


def read_documents(
    path: str | Path,
    lang: str | None = None,
    *,
    paragraphs: bool = False,
    on_bad: OnBad = "raise",
    report: ReadReport | None = None,
    span: Span | None = None,
) -> Iterator[Document]:
    """Stream the documents of one file.

    Args:
        path: ``.txt`` (a text a line), ``.jsonl`` or ``.tsv`` with a header (fields ``text``, optionally ``lang``,
            ``source`` and ``document``), each optionally ``.gz`` or ``.zst``; or ``.parquet`` with the same columns.
            Rows in a run with the same ``document`` and language are the parts of one document.
        lang: language of the rows that name none; without it those are `UNDETERMINED`.
        paragraphs: ``.txt`` only: lines up to the next blank one are the parts of one document (BERT's input format).
        on_bad: ``"raise"`` at the first row that cannot be read, or ``"count"`` it and go on.
        report: receives the counts.
        span: a part of the file only, which may be without text: lines of an unpacked ``.txt`` or ``.jsonl`` that begin
            at these bytes, or these row groups of a ``.parquet``; ``Document.line`` is counted within it.

    Returns:
        An iterator; blank rows are skipped and counted.

    Raises:
        DataError: missing or empty file, unknown format, a row that cannot be read, or no text at all.
        LanguageError: ``lang`` is unknown.
        MissingExtraError: Parquet without pyarrow.
    """
    path = Path(path)
    check_file(path)
    default = canonical(lang) if lang is not None else UNDETERMINED
    counts = report if report is not None else ReadReport()
    kind = file_kind(path)
    readers: dict[str, Callable[[Path, ReadReport, OnBad], Iterator[_Row]]] = {
        ".txt": _text_rows,
        ".jsonl": json_rows,
        ".tsv": _table_rows,
        ".parquet": _parquet_rows,
    }
    if kind not in readers:
        raise DataError(
            f"cannot tell the format of {path.name!r} from its suffix {kind!r}",
            expected=".txt, .jsonl or .tsv (also .gz, .zst), or .parquet",
            where=str(path),
        )
    if paragraphs and kind != ".txt":
        raise DataError(
            f"paragraphs of {path.name!r}",
            expected="a .txt file; other formats name the document in a field 'document'",
            where=str(path),
        )
    if paragraphs:
        readers[".txt"] = _paragraph_rows
    if kind == ".parquet":
        require_pyarrow()
    if span is not None:
        cut = {".txt": _text_rows, ".jsonl": json_rows, ".parquet": _parquet_rows}
        rows = cut[kind](path, counts, on_bad, span)
    else:
        rows = readers[kind](path, counts, on_bad)
    return _documents(rows, path, default, on_bad, counts, whole=span is None)


def _documents(
    rows: Iterator[_Row], path: Path, default: str, on_bad: OnBad, report: ReadReport, *, whole: bool
) -> Iterator[Document]:
    previous: tuple[object, str] | None = None
    for number, row in rows:
        where = f"{path}, line {number}"
        text = row.get("text")
        if not isinstance(text, str):
            found = f"field 'text' is {text!r}" if "text" in row else f"no field 'text' among {sorted(row)!r}"
            report.refuse(DataError(found, expected="a string in the field 'text'", where=where), on_bad)
            continue
        if not (text := nfc(text)):
            report.blank += 1
            continue
        tag = row.get("lang")
        try:
            code = canonical(str(tag)) if tag and tag != UNDETERMINED else default
        except LanguageError as error:
            refusal = DataError(error.found, expected=error.expected, where=f"{where}, field 'lang'")
            report.refuse(refusal, on_bad)
            continue
        source, name = row.get("source"), row.get("document")
        document = None if name is None or name == "" else (name, code)
        report.rows += 1
        yield Document(
            text,
            code,
            source if isinstance(source, str) and source else path.name,
            number,
            continues=document is not None and document == previous,
        )
        previous = document
    if whole:
        report.finish(path)


def _text_rows(path: Path, report: ReadReport, on_bad: OnBad, span: Span | None = None) -> Iterator[_Row]:
    for number, line in numbered_lines(path, report, on_bad, span):
        yield number, {"text": line}


def _paragraph_rows(path: Path, report: ReadReport, on_bad: OnBad) -> Iterator[_Row]:
    document = 0
    for number, line in numbered_lines(path, report, on_bad):
        document += not line.strip()
        yield number, {"text": line, "document": document}


def json_rows(path: Path, report: ReadReport, on_bad: OnBad, span: Span | None = None) -> Iterator[_Row]:
    """Yield ``(line number, object)`` of a JSON-lines file; blank lines are counted, other values refused."""
    for number, line in numbered_lines(path, report, on_bad, span):
        if not line.strip():
            report.blank += 1
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            found = f"not JSON ({error}): {line[:80]!r}"
            report.refuse(DataError(found, expected="one JSON object a line", where=where), on_bad)
            continue
        if not isinstance(row, dict):
            report.refuse(DataError(f"{line[:80]!r}", expected="one JSON object a line", where=where), on_bad)
            continue
        yield number, row


def table_cells(path: Path, report: ReadReport, on_bad: OnBad) -> Iterator[tuple[int, list[str]]]:
    """Yield ``(line number, cells)`` of a TSV file whose lines all have the first line's number of cells.

    Tabs separate, nothing quotes: a quotation mark is text.
    """
    columns = 0
    for number, line in numbered_lines(path, report, on_bad):
        if not line.strip("\t \r"):
            report.blank += 1
            continue
        cells = line.split("\t")
        columns = columns or len(cells)
        if len(cells) != columns:
            refusal = DataError(
                f"{len(cells)} columns in {line[:80]!r}",
                expected=f"{columns} columns, as in the first line",
                where=f"{path}, line {number}",
                next_step="replace tabs inside the text by spaces",
            )
            report.refuse(refusal, on_bad)
            continue
        yield number, cells


def _table_rows(path: Path, report: ReadReport, on_bad: OnBad) -> Iterator[_Row]:
    header: list[str] = []
    for number, cells in table_cells(path, report, on_bad):
        if header:
            yield number, dict(zip(header, cells, strict=True))
            continue
        header = cells
        if "text" not in header:
            raise DataError(
                f"no column 'text' among {header!r}",
                expected="a header line with the column 'text'",
                where=f"{path}, line {number}",
            )


def require_pyarrow() -> None:
    """Raise `MissingExtraError` unless Parquet can be read."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "Parquet needs pyarrow, which is not installed", next_step="pip install 'interlingua[parquet]'"
        ) from error


def _parquet_rows(path: Path, report: ReadReport, on_bad: OnBad, span: Span | None = None) -> Iterator[_Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = [name for name in ("text", "lang", "source", "document") if name in file.schema_arrow.names]
        if "text" not in columns:
            raise DataError(f"no column 'text' among {file.schema_arrow.names!r}", where=str(path))
        number = 0
        groups = range(file.num_row_groups) if span is None else range(*span)
        for batch in file.iter_batches(columns=columns, row_groups=groups):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except pyarrow.ArrowException as error:
        raise DataError(f"cannot read {path.name!r}: {error}", expected="a Parquet file", where=str(path)) from error
