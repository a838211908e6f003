"""Sequences that are no language, written in words: does a network of text learn from them?

In: DNA, proteins, notes: sequences of symbols with a label, or with a label a symbol. Out: texts in which each symbol
is a word of the vocabulary, drawn at random, one token long. Decision: the mapping is to words that the tokenizer gives
back as one token each, so that the result is plain labelled text that any tool reads; and whether symbols are
characters or words is decided once a file, since a sequence of one note looks like a word of letters. Price: a
vocabulary without whole words (bytes, characters) has none to give, and a file is read twice.

Source: Kao and Lee 2021 (arXiv 2103.07162).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interlingua.errors import DataError, VocabularyError
from interlingua.text.documents import table_cells
from interlingua.text.lines import ReadReport, check_file, file_kind, numbered_lines
from interlingua.vocab.words import fast_tokenizer

__all__ = ["SymbolSequence", "labelled_parts", "read_sequences", "symbol_words"]

_Row = tuple[int, list[str], str]
"""Line, cells of the columns asked for, split."""

_FASTA = (".fa", ".fasta", ".faa", ".fna")


@dataclass(frozen=True)
class SymbolSequence:
    """A sequence and what is known of it.

    Attributes:
        symbols: its symbols.
        labels: one of the whole, or one a symbol.
        split: part of the data, or empty.
    """

    symbols: tuple[str, ...]
    labels: tuple[str, ...]
    split: str = ""


def symbol_words(tokenizer: Any, symbols: Iterable[str], *, seed: int = 0) -> dict[str, str]:
    """Give each symbol a word of its own, drawn at random from the vocabulary.

    Args:
        tokenizer: a fast tokenizer.
        symbols: in any order, with any repetitions.
        seed: of the drawing.

    Raises:
        VocabularyError: not a fast tokenizer, or fewer whole words in the vocabulary than symbols.
    """
    inner = fast_tokenizer(tokenizer)
    wanted = sorted(set(symbols))
    vocabulary = inner.get_vocab()
    names = sorted(vocabulary)
    found: list[str] = []
    taken: set[int] = set()
    for place in np.random.default_rng(seed).permutation(len(names)).tolist():
        if len(found) == len(wanted):
            break
        word = inner.decode([vocabulary[names[place]]]).strip()
        # Between others it must be the one token that it is alone.
        ids = inner.encode(f"{word} {word}", add_special_tokens=False).ids
        if len(word) > 1 and word.isalpha() and len(ids) == 2 and ids[0] == ids[1] and ids[0] not in taken:
            found.append(word)
            taken.add(ids[0])
    if len(found) < len(wanted):
        raise VocabularyError(f"{len(found)} whole words in the vocabulary for {len(wanted)} symbols",
                              expected="a word of one token for each symbol",
                              next_step="take a model whose vocabulary has whole words")  # fmt: skip
    return dict(zip(wanted, found, strict=True))


def labelled_parts(
    sequences: Iterable[SymbolSequence], words: Mapping[str, str], *, tags: bool
) -> dict[str, list[str]]:
    """Texts of labelled files by part of the data (``all`` where there are none), a sequence an item.

    Args:
        sequences: what is written.
        words: of the symbols.
        tags: a word and its label a line, for the task ``tag``; otherwise the label and the text, below a header.
    """
    parts: dict[str, list[str]] = {}
    for one in sequences:
        written = [words[symbol] for symbol in one.symbols]
        if tags:
            row = "".join(f"{word}\t{tag}\n" for word, tag in zip(written, one.labels, strict=True)) + "\n"
        else:
            row = f"{one.labels[0]}\t{' '.join(written)}\n"
        parts.setdefault(one.split or "all", ["" if tags else "label\ttext\n"]).append(row)
    return parts


def read_sequences(
    path: str | Path,
    *,
    sequence: str = "sequence",
    label: str = "label",
    labels: str | None = None,
    mask: str | None = None,
    report: ReadReport | None = None,
) -> Iterator[SymbolSequence]:
    """Stream the sequences of a table or of a FASTA file.

    Args:
        path: ``.tsv`` with a header, or FASTA (``>name label``, then the sequence); also ``.gz`` or ``.zst``.
        sequence: column of the sequence: symbols parted by spaces if any sequence of the file has one, or else its
            characters.
        label: column of the label of a whole sequence.
        labels: column of labels that are a character a symbol, instead.
        mask: column of digits, one a symbol; symbols with a 0 are left out.
        report: counts what was read; ``missing`` are sequences of which the mask leaves no symbol.

    Raises:
        DataError: missing, empty or damaged file, a column that is not there, a sequence without symbols or label, or
            labels or a mask of another length.
    """
    path = Path(path)
    check_file(path)
    if file_kind(path) in _FASTA and (labels or mask):
        raise DataError("labels or a mask of symbols with FASTA", expected="a table", where=str(path))

    def rows(report: ReadReport) -> Iterator[_Row]:
        if file_kind(path) in _FASTA:
            return _fasta(path, report)
        return _table(path, (sequence, labels or label, *([mask] if mask else [])), report)

    apart = any(" " in cells[0] for _, cells, _ in rows(ReadReport()))
    counts = report or ReadReport()
    for number, cells, split in rows(counts):
        where = f"{path}, line {number}"
        symbols = tuple(cells[0].split() if apart else cells[0])
        if not symbols or not cells[1]:
            raise DataError("a sequence without symbols or label", expected="both in every row", where=where)
        own = tuple(cells[1]) if labels else (cells[1],)
        for name, column in (*([("labels", 1)] if labels else []), *([("mask", 2)] if mask else [])):
            if len(cells[column]) != len(symbols):
                raise DataError(f"{name} of {len(cells[column])} for {len(symbols)} symbols", expected="one a symbol",
                                where=where)  # fmt: skip
        if mask:
            kept = [place for place, digit in enumerate(cells[2]) if digit != "0"]
            symbols = tuple(symbols[place] for place in kept)
            own = tuple(own[place] for place in kept) if labels else own
        if symbols:
            counts.rows += 1
            yield SymbolSequence(symbols, own, split)
        else:
            counts.missing += 1
    if not counts.rows:
        raise DataError(f"no sequence in {path.name!r}", expected="at least one", where=str(path))


def _table(path: Path, columns: Sequence[str], report: ReadReport) -> Iterator[_Row]:
    header: list[str] = []
    for number, cells in table_cells(path, report, "raise"):
        if not header:
            header = cells
            if absent := [name for name in columns if name not in header]:
                raise DataError(f"no column {', '.join(map(repr, absent))}", expected=f"one of {', '.join(header)}",
                                where=f"{path}, line {number}")  # fmt: skip
            continue
        row = dict(zip(header, cells, strict=True))
        yield number, [row[name].strip() for name in columns], row.get("split", "")


def _fasta(path: Path, report: ReadReport) -> Iterator[_Row]:
    begin, label, parts = 0, "", list[str]()
    for number, line in numbered_lines(path, report):
        if line.startswith(">"):
            if begin:
                yield begin, ["".join(parts), label], ""
            begin, label, parts = number, line.partition(" ")[2].strip(), []
        elif not begin:
            raise DataError(f"line {line[:60]!r}", expected=">name label", where=f"{path}, line {number}")
        else:
            parts.append(line.strip())
    if begin:
        yield begin, ["".join(parts), label], ""
