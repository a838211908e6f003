"""Reader of word alignments: sentence pairs cut into words, and which words translate which.

Two forms flow in; :class:`AlignedPair` flows out, streamed and NFC-normalised.

- A table with a header: ``src_tokens``, ``tgt_tokens`` (words parted by spaces), ``sure`` and perhaps ``possible``
  (links ``i-j`` parted by spaces, 0-based), perhaps ``pair`` (``en-fr``) and ``split``.
- fast_align's: a file with ``source ||| target`` a line, and one with the links of each line in Pharaoh's format,
  ``i-j`` for a sure link and ``i?j`` or ``ipj`` for a possible one.

Decision: a link to a word that is not there is an error, since it means that words were cut otherwise when the links
were made.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interlingua.errors import DataError, LanguageError
from interlingua.languages import canonical
from interlingua.text.documents import table_cells
from interlingua.text.lines import ReadReport, nfc, numbered_lines

__all__ = ["AlignedPair", "read_alignments"]

Links = frozenset[tuple[int, int]]

_LINK = re.compile(r"(\d+)([-?p])(\d+)")
_COLUMNS = {"src_tokens", "tgt_tokens", "sure"}


@dataclass(frozen=True, slots=True)
class AlignedPair:
    """A sentence and its translation, word by word.

    Attributes:
        source: its words.
        target: the translation's words.
        source_lang: canonical tag.
        target_lang: canonical tag.
        sure: links (word of the source, word of the target), 0-based.
        possible: further links that an alignment may have or not.
        where: file and line.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    source_lang: str
    target_lang: str
    sure: Links
    possible: Links
    where: str


def read_alignments(
    path: str | Path,
    *,
    links: str | Path | None = None,
    source_lang: str | None = None,
    target_lang: str | None = None,
    split: str | None = None,
    report: ReadReport | None = None,
) -> Iterator[AlignedPair]:
    """Stream the aligned pairs of a table, or of a text and its links; each also ``.gz`` or ``.zst``.

    Args:
        path: table, or ``source ||| target`` lines where ``links`` is given.
        links: the links of the lines of ``path``.
        source_lang: language of the first side; of a table with a column ``pair``, only rows of that source are read.
        target_lang: the same for the second side.
        split: only rows whose column ``split`` says so; for tables.
        report: receives the counts; pairs without any link are counted as missing.

    Raises:
        DataError: missing, empty or uneven files, something that is no link, a link to a word that is not there.
        LanguageError: an unknown tag, or none given and no column ``pair``.
    """
    path, counts = Path(path), report or ReadReport()
    tags = tuple(canonical(tag) if tag else None for tag in (source_lang, target_lang))
    if links is not None and split is not None:
        raise DataError(
            f"split = {split!r} with a file of links",
            expected="a table with a column 'split'",
            where=str(path),
            next_step="leave split out, or give the files of that part",
        )
    rows = _fast_align(path, Path(links), tags, counts) if links is not None else _table(path, tags, split, counts)
    for pair in rows:
        if not pair.sure and not pair.possible:
            counts.missing += 1
            continue
        counts.rows += 1
        yield pair
    counts.finish(path)


def _links(cell: str, source: tuple[str, ...], target: tuple[str, ...], where: str) -> tuple[Links, Links]:
    """Sure and possible links."""
    sure: set[tuple[int, int]] = set()
    possible: set[tuple[int, int]] = set()
    for word in cell.split():
        found = _LINK.fullmatch(word)
        if not found:
            raise DataError(f"{word!r} among the links", expected="links such as 0-0, or 0?1 if possible", where=where)
        i, j = int(found[1]), int(found[3])
        if i >= len(source) or j >= len(target):
            raise DataError(
                f"link {word!r} between {len(source)} and {len(target)} words",
                expected="0-based numbers of words that are there",
                where=where,
                next_step="make the links from the same words as the text",
            )
        (sure if found[2] == "-" else possible).add((i, j))
    return frozenset(sure), frozenset(possible)


def _named(tags: tuple[str | None, ...], where: str) -> tuple[str, str]:
    source, target = tags
    if source is None or target is None:
        raise LanguageError("aligned pairs without languages", expected="source_lang and target_lang", where=where)
    return source, target


def _table(path: Path, tags: tuple[str | None, ...], split: str | None, report: ReadReport) -> Iterator[AlignedPair]:
    header: list[str] = []
    for number, cells in table_cells(path, report, "raise"):
        where = f"{path}, line {number}"
        if not header:
            header = cells
            if missing := _COLUMNS - set(header):
                raise DataError(
                    f"no column {', '.join(sorted(missing))} among {header!r}",
                    expected="a header with src_tokens, tgt_tokens, sure; or a file with the links beside this one",
                    where=where,
                )
            if split is not None and "split" not in header:
                raise DataError(f"split = {split!r} and no column 'split' among {header!r}", where=where)
            continue
        row = dict(zip(header, cells, strict=True))
        if split is not None and row.get("split") != split:
            continue
        if "pair" in row:
            first, _, second = row["pair"].partition("-")
            spoken: tuple[str, str] = (canonical(first), canonical(second))
            if any(tag is not None and tag != own for tag, own in zip(tags, spoken, strict=True)):
                continue
        else:
            spoken = _named(tags, where)
        source, target = (tuple(nfc(row[name]).split()) for name in ("src_tokens", "tgt_tokens"))
        sure, more = _links(row["sure"], source, target, where)
        possible = frozenset().union(more, *_links(row.get("possible", ""), source, target, where))
        yield AlignedPair(source, target, *spoken, sure, possible - sure, where)


def _fast_align(path: Path, links: Path, tags: tuple[str | None, ...], report: ReadReport) -> Iterator[AlignedPair]:
    spoken = _named(tags, str(path))
    both = itertools.zip_longest(numbered_lines(path, report), numbered_lines(links, report))
    for text, linked in both:
        if text is None or linked is None:
            short, long = (path, links) if text is None else (links, path)
            raise DataError(
                f"{short.name!r} ends before {long.name!r}", expected="a line of links a line of text", where=str(short)
            )
        (number, line), (_, cell) = text, linked
        where = f"{path}, line {number}"
        sides = nfc(line).split(" ||| ")
        if len(sides) != 2:
            raise DataError(f"{line[:80]!r}", expected="'source words ||| target words'", where=where)
        source, target = (tuple(side.split()) for side in sides)
        sure, possible = _links(cell, source, target, f"{links}, line {number}")
        yield AlignedPair(source, target, *spoken, sure, possible - sure, where)
