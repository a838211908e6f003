"""Sentences in which a word has a known sense, and where in them the word stands.

In: a table with ``lang``, ``word``, ``sense`` and ``text``, the same as JSON lines, or two columns without a header
(sense, sentence) of one word. Out: `SenseExample` rows, and the characters of an occurrence. Decision: the first
occurrence counts, compared without case: a whole word where words are written apart, any place in the text where they
are not. Price: in Chinese, Japanese, Thai and their like a longer word that holds the word counts as well, and a
sentence with two occurrences of different senses must have the meant one first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interlingua.errors import DataError, RecipeError
from interlingua.languages import canonical, language
from interlingua.text.documents import json_rows, table_cells
from interlingua.text.lines import ReadReport, check_file, file_kind, nfc
from interlingua.text.words import word_starts, words

__all__ = ["SenseExample", "occurrence", "read_senses"]

_FIELDS = ("lang", "word", "sense", "text")


@dataclass(frozen=True, slots=True)
class SenseExample:
    """A sentence in which a word has a sense.

    Attributes:
        lang: canonical tag.
        word: the word.
        sense: name of the sense.
        text: the sentence.
    """

    lang: str
    word: str
    sense: str
    text: str


def occurrence(text: str, word: str, lang: str) -> tuple[int, int] | None:
    """First and last character of a word's first occurrence in a text, None where it does not occur.

    Args:
        text: a sentence.
        word: what to look for, without regard to case; also several words (``New York``).
        lang: tells whether words are written apart.
    """
    # Matched in the text itself: lower-casing first could change how many characters it has.
    found = re.finditer(re.escape(word), text, flags=re.IGNORECASE)
    if not language(lang).spaced:
        return next((match.span() for match in found), None)
    starts = np.flatnonzero(word_starts(text, lang)).tolist()
    ends = {start + len(one) for start, one in zip(starts, words(text, lang), strict=True)}
    return next((match.span() for match in found if match.start() in starts and match.end() in ends), None)


def read_senses(
    path: str | Path, *, word: str | None = None, lang: str | None = None, report: ReadReport | None = None
) -> Iterator[SenseExample]:
    """Stream the rows of a file of senses.

    Args:
        path: ``.tsv`` with a header that has ``sense`` and ``text``, or without one and with two columns (sense,
            sentence); ``.jsonl`` with the same fields; also ``.gz`` or ``.zst``.
        word: the word of rows that name none; of rows that do, only those of this word.
        lang: the language, likewise.
        report: counts what was read.

    Raises:
        DataError: missing, empty or damaged file, a row without sense or text, or no row of this word and language.
        RecipeError: rows that name no word or no language, and none was given.
        LanguageError: an unknown tag.
    """
    path, counts = Path(path), report or ReadReport()
    check_file(path)
    given = {"word": word and nfc(word), "lang": canonical(lang) if lang else None}
    for number, row in _rows(path, counts):
        empty = [name for name in ("sense", "text") if not row.get(name)]
        if empty:
            raise DataError(f"a row without {' and '.join(empty)}", expected="a sense and a sentence in every row",
                            where=f"{path}, line {number}")  # fmt: skip
        for name, value in given.items():
            if not row.get(name) and not value:
                raise RecipeError(f"rows that name no {name}", expected=f"a column {name!r}, or --{name}",
                                  where=f"{path}, line {number}")  # fmt: skip
        example = SenseExample(
            canonical(row.get("lang") or given["lang"] or ""), row.get("word") or given["word"] or "", row["sense"],
            row["text"],
        )  # fmt: skip
        if all(value in (None, getattr(example, name)) for name, value in given.items()):
            counts.rows += 1
            yield example
    if not counts.rows:
        raise DataError(f"no sentence of {word or 'a word'!r} in {lang or 'any language'!r}",
                        expected="rows of this word and language", where=str(path))  # fmt: skip


def _rows(path: Path, report: ReadReport) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields, in normal form."""
    if file_kind(path) == ".jsonl":
        for number, row in json_rows(path, report, "raise"):
            yield number, {name: nfc(str(row.get(name) or "")) for name in _FIELDS}
        return
    header: list[str] | None = None
    for number, cells in table_cells(path, report, "raise"):
        if header is None:
            named = {"sense", "text"} <= set(cells)
            if not named and len(cells) != 2:
                raise DataError(f"columns {cells!r}", expected="lang, word, sense, text; or two: a sense, a sentence",
                                where=f"{path}, line {number}")  # fmt: skip
            header = cells if named else ["sense", "text"]
            if named:
                continue
        yield number, {name: nfc(cell) for name, cell in zip(header, cells, strict=True)}
