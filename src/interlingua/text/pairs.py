"""Readers of parallel text.

TSV, JSON lines, two-file Moses, TMX and multi-parallel TSV flow in; `Pair` or `Parallel` flow out, streamed and
NFC-normalised.

Decision: alignment is by row, so anything that could shift it is an error and not a repair: a line with another
number of columns, two Moses files of different length. Price: one stray tab stops the reading until it is mended
or ``on_bad="count"`` is asked for; a Moses length difference is found only at the end of the shorter file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from interlingua.errors import DataError, LanguageError
from interlingua.languages import canonical
from interlingua.text.documents import json_rows, table_cells
from interlingua.text.lines import OnBad, ReadReport, check_file, file_kind, nfc, numbered_lines, opened

__all__ = ["Pair", "Parallel", "read_moses", "read_pairs", "read_parallel"]

_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_HEADERS = {("src", "tgt"), ("source", "target")}

_Sides = Iterator[tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class Pair:
    """One text and its translation; both NFC-normalised and not blank. ``line`` counts from 1 (TMX: units)."""

    source: str
    target: str
    source_lang: str
    target_lang: str
    origin: str
    line: int


@dataclass(frozen=True, slots=True)
class Parallel:
    """One meaning in several languages: ``texts`` maps BCP-47 tags to texts; a missing language has no entry.

    ``continues``: it goes on with the one before it, as a further part of one document.
    """

    id: str
    texts: dict[str, str]
    continues: bool = False


def read_pairs(
    path: str | Path,
    source_lang: str,
    target_lang: str,
    *,
    on_bad: OnBad = "raise",
    report: ReadReport | None = None,
) -> Iterator[Pair]:
    """Stream the pairs of one file.

    Args:
        path: ``.tsv`` (source, target, then any constant number of further columns, which are ignored; a first line
            ``src tgt``, ``source target`` or of the two tags is a header), ``.jsonl`` with ``src`` and ``tgt``, or
            ``.tmx``; each optionally ``.gz`` or ``.zst``.
        source_lang: language of the first side.
        target_lang: language of the second side.
        on_bad: ``"raise"`` at the first row that cannot be read, or ``"count"`` it and go on.
        report: receives the counts.

    Raises:
        DataError: missing or empty file, unknown format, unreadable row, or no pair at all.
        LanguageError: a tag is unknown.
    """
    path = Path(path)
    check_file(path)
    tags = (canonical(source_lang), canonical(target_lang))
    counts = report if report is not None else ReadReport()
    kind = file_kind(path)
    if kind == ".tsv":
        sides = _table_sides(path, tags, counts, on_bad)
    elif kind == ".jsonl":
        sides = _json_sides(path, counts, on_bad)
    elif kind == ".tmx":
        sides = _tmx_sides(path, tags, counts)
    else:
        raise DataError(
            f"cannot tell the format of {path.name!r} from its suffix {kind!r}",
            expected=".tsv, .jsonl or .tmx (also .gz, .zst); two Moses files go through read_moses",
            where=str(path),
        )
    return _pairs(sides, path, tags, counts)


def read_moses(
    source_path: str | Path,
    target_path: str | Path,
    source_lang: str,
    target_lang: str,
    *,
    report: ReadReport | None = None,
) -> Iterator[Pair]:
    """Stream the pairs of two line-aligned files (the Moses layout).

    Bytes that are not UTF-8 always stop the reading, since a skipped line would shift the alignment.

    Raises:
        DataError: a missing or empty file, undecodable bytes, or files of different length.
        LanguageError: a tag is unknown.
    """
    paths = (Path(source_path), Path(target_path))
    for path in paths:
        check_file(path)
    tags = (canonical(source_lang), canonical(target_lang))
    counts = report if report is not None else ReadReport()
    return _pairs(_moses_sides(paths, counts), paths[0], tags, counts)


def _pairs(sides: _Sides, path: Path, tags: tuple[str, str], report: ReadReport) -> Iterator[Pair]:
    for number, source, target in sides:
        source, target = nfc(source), nfc(target)
        if not source or not target:
            report.blank += 1
            continue
        report.rows += 1
        yield Pair(source, target, tags[0], tags[1], path.name, number)
    report.finish(path)


def _table_sides(path: Path, tags: tuple[str, str], report: ReadReport, on_bad: OnBad) -> _Sides:
    for place, (number, cells) in enumerate(table_cells(path, report, on_bad)):
        if len(cells) < 2:
            raise DataError(
                f"one column in {cells[0][:80]!r}",
                expected="two or more columns separated by tabs",
                where=f"{path}, line {number}",
            )
        if place == 0 and _is_header(cells, tags):
            continue
        yield number, cells[0], cells[1]


def _is_header(cells: list[str], tags: tuple[str, str]) -> bool:
    first = (cells[0].strip().lower(), cells[1].strip().lower())
    if first in _HEADERS:
        return True
    try:
        return (canonical(first[0]), canonical(first[1])) == tags
    except LanguageError:
        return False


def _json_sides(path: Path, report: ReadReport, on_bad: OnBad) -> _Sides:
    for number, row in json_rows(path, report, on_bad):
        source, target = row.get("src"), row.get("tgt")
        if isinstance(source, str) and isinstance(target, str):
            yield number, source, target
        else:
            refusal = DataError(
                f"'src' is {source!r} and 'tgt' is {target!r}",
                expected='{"src": "...", "tgt": "..."} with two strings',
                where=f"{path}, line {number}",
            )
            report.refuse(refusal, on_bad)


def _moses_sides(paths: tuple[Path, Path], report: ReadReport) -> _Sides:
    streams = [numbered_lines(path, report) for path in paths]
    for source, target in itertools.zip_longest(*streams):
        if source is None or target is None:
            longer = 1 if source is None else 0
            ended = (target if source is None else source)[0] - 1
            counts = [ended, ended]
            counts[longer] += 1 + sum(1 for _ in streams[longer])
            raise DataError(
                f"{paths[0].name!r} has {counts[0]} lines, {paths[1].name!r} has {counts[1]} lines",
                expected="two files with the same number of lines",
                where=f"{paths[longer]}, line {ended + 1}",
                next_step="find the first line that does not translate its neighbour; all after it are shifted",
            )
        yield source[0], source[1], target[1]


def _tmx_sides(path: Path, tags: tuple[str, str], report: ReadReport) -> _Sides:
    number = 0
    try:
        with opened(path) as stream:
            parser = ElementTree.iterparse(stream, events=("start", "end"))
            _, root = next(parser)
            for event, element in parser:
                if event != "end" or _local(element.tag) != "tu":
                    continue
                number += 1
                texts = _unit_texts(element)
                # Without this the tree of all units read so far stays in memory; `tu` sits in `body`, below the root.
                for child in root:
                    if _local(child.tag) == "body":
                        child.clear()
                if tags[0] in texts and tags[1] in texts:
                    yield number, texts[tags[0]], texts[tags[1]]
                else:
                    report.missing += 1
    except ElementTree.ParseError as error:
        raise DataError(
            f"not well-formed XML: {error}", expected="a TMX file", where=f"{path}, after unit {number}"
        ) from error


def _unit_texts(unit: ElementTree.Element) -> dict[str, str]:
    texts: dict[str, str] = {}
    for variant in unit:
        tag = variant.get(_XML_LANG) or variant.get("lang")
        segment = next((child for child in variant if _local(child.tag) == "seg"), None)
        if tag is None or segment is None:
            continue
        try:
            texts.setdefault(canonical(tag), "".join(segment.itertext()))
        except LanguageError:
            # A unit may hold languages we do not know beside the two that were asked for.
            continue
    return texts


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def read_parallel(path: str | Path, *, on_bad: OnBad = "raise", report: ReadReport | None = None) -> Iterator[Parallel]:
    """Stream a multi-parallel TSV: a header ``id``, then one language tag a column; an empty cell is missing.

    A column ``document`` may stand behind ``id``: rows in a run that name the same one are the parts of a document.

    Raises:
        DataError: missing or empty file, a header that is not ``id`` and two or more different language tags, a line
            with another number of columns.
    """
    path = Path(path)
    check_file(path)
    counts = report if report is not None else ReadReport()
    return _parallel(path, counts, on_bad)


def _parallel(path: Path, report: ReadReport, on_bad: OnBad) -> Iterator[Parallel]:
    tags: list[str] = []
    previous = ""
    for number, cells in table_cells(path, report, on_bad):
        if not tags:
            tags = _parallel_header(cells, f"{path}, line {number}")
            named = len(cells) - len(tags) == 2
            continue
        texts = {tag: text for tag, cell in zip(tags, cells[-len(tags) :], strict=True) if (text := nfc(cell))}
        if not texts:
            report.blank += 1
            continue
        report.rows += 1
        document = cells[1].strip() if named else ""
        yield Parallel(cells[0].strip(), texts, continues=bool(document) and document == previous)
        previous = document
    report.finish(path)


def _parallel_header(cells: list[str], where: str) -> list[str]:
    first = 2 if len(cells) > 1 and cells[1].strip().lower() == "document" else 1
    if cells[0].strip().lower() != "id" or len(cells) < first + 2:
        raise DataError(f"header {cells!r}", expected="'id' and two or more language tags", where=where)
    try:
        tags = [canonical(cell) for cell in cells[first:]]
    except LanguageError as error:
        raise DataError(f"in the header, {error.found}", expected="a language tag a column", where=where) from error
    twice = sorted({tag for tag in tags if tags.count(tag) > 1})
    if twice:
        raise DataError(f"languages {twice!r} stand in two columns", expected="one column a language", where=where)
    return tags
