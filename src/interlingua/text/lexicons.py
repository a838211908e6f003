"""Readers of translation lexicons: a word and its translation a line, separated by a tab or a space (MUSE's format).

Also tables with a header, of many language pairs and of parts to learn from and to test on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interlingua.errors import DataError
from interlingua.languages import canonical
from interlingua.text.documents import table_cells
from interlingua.text.lines import OnBad, ReadReport, nfc, numbered_lines

__all__ = ["LexiconEntry", "read_lexicon", "read_lexicon_pairs", "read_lexicon_parts"]

#: MUSE's parts by the order of source words in its full lists: 5,000 to learn from, 1,500 to test on.
_MUSE_TRAIN, _MUSE_TEST = 5000, 6500


@dataclass(frozen=True, slots=True)
class LexiconEntry:
    """A word and a translation of it.

    Attributes:
        source: the word.
        target: the translation.
        part: ``train``, ``test``, what the file says, or empty.
    """

    source: str
    target: str
    part: str = ""


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


def read_lexicon_parts(
    path: str | Path, *, source_lang: str, target_lang: str, report: ReadReport | None = None
) -> Iterator[LexiconEntry]:
    """Stream the entries of a lexicon between two languages; a word may come several times.

    Args:
        path: two columns, as :func:`read_lexicon`; or a table with a header: ``src``, ``tgt``, and perhaps ``pair``
            (``en-de``), ``split`` (the part), ``src_rank`` (place of the source word in a MUSE list, which tells the
            part).
        source_lang: tag.
        target_lang: tag; with a column ``pair`` only rows of these two languages in this order are read.
        report: counts what was read.

    Raises:
        DataError: as :func:`read_lexicon`, or no row of these languages.
        LanguageError: an unknown tag.
    """
    path, counts = Path(path), report or ReadReport()
    wanted = (canonical(source_lang), canonical(target_lang))
    _, first = next(numbered_lines(path, ReadReport()), (0, ""))
    header = first.split("\t")
    if not {"src", "tgt"} <= set(header):
        for source, target in read_lexicon(path, report=counts):
            yield LexiconEntry(source, target)
        return
    for pair, entry in _entries(path, header, counts):
        if pair in (None, wanted):
            counts.rows += 1
            yield entry
    if not counts.rows:
        raise DataError(
            f"no entries from {wanted[0]!r} to {wanted[1]!r} in {path.name!r}",
            expected="rows whose pair names these two languages, in this order",
            where=str(path),
        )


def read_lexicon_pairs(path: str | Path) -> dict[tuple[str, str], list[LexiconEntry]]:
    """(source, target) -> entries of a table of many pairs of languages, in the file's order.

    Args:
        path: a table with ``pair``, ``src``, ``tgt``, and what else :func:`read_lexicon_parts` reads.

    Raises:
        DataError: unreadable, a column that is missing, or a table without rows.
        LanguageError: an unknown tag.
    """
    path = Path(path)
    _, first = next(numbered_lines(path, ReadReport()), (0, ""))
    header = first.split("\t")
    if missing := {"pair", "src", "tgt"} - set(header):
        raise DataError(f"no column {', '.join(sorted(missing))} among {header!r}",
                        expected="pair (en-de), src and tgt", where=str(path))  # fmt: skip
    found: dict[tuple[str, str], list[LexiconEntry]] = {}
    for pair, entry in _entries(path, header, ReadReport()):
        assert pair is not None  # there is the column
        found.setdefault(pair, []).append(entry)
    if not found:
        raise DataError("a table without rows", expected="words and their translations", where=str(path))
    return found


def _entries(
    path: Path, header: list[str], counts: ReadReport
) -> Iterator[tuple[tuple[str, str] | None, LexiconEntry]]:
    """Rows of a table with their pair of languages, where it has a column for it."""
    known: dict[str, tuple[str, str]] = {}
    for number, cells in table_cells(path, counts, "raise"):
        if number == 1:
            continue
        row = dict(zip(header, cells, strict=True))
        name = row.get("pair")
        if name is not None and name not in known:
            source, dash, target = name.partition("-")
            if not dash:
                raise DataError(f"pair {name!r}", expected="two tags, as en-de", where=f"{path}, line {number}")
            known[name] = canonical(source), canonical(target)
        part = row.get("split", "")
        if not part and row.get("src_rank", "").isdigit():
            rank = int(row["src_rank"])
            part = "train" if rank < _MUSE_TRAIN else "test" if rank < _MUSE_TEST else "rest"
        yield (known[name] if name is not None else None), LexiconEntry(nfc(row["src"]), nfc(row["tgt"]), part)
