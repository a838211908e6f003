r"""Numbered, decoded lines from plain, gzip and zstandard files.

A path flows in; ``(line number, text)`` flows out, streamed, so that a file may be larger than memory. Whatever
cannot be read goes through one door, `ReadReport.refuse`, which raises or counts.

Decision: a line ends at ``\n`` only (a trailing ``\r`` is cut), never at the other characters that Unicode calls
line breaks, because corpora contain U+2028 and U+0085 inside sentences. Text is UTF-8, with or without a byte order
mark. Price: other encodings must be converted first; they are refused with line and byte, not guessed.
"""

from __future__ import annotations

import gzip
import io
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from interlingua.errors import DataError

__all__ = ["OnBad", "ReadReport", "Span", "check_file", "file_kind", "nfc", "numbered_lines", "opened"]

OnBad = Literal["raise", "count"]
Span = tuple[int, int]
"""First byte, and the one behind the last (Parquet: row groups)."""

_EXAMPLES_KEPT = 5


@dataclass(slots=True)
class ReadReport:
    """What a reader met: filled while it runs, complete when its iterator is exhausted.

    Attributes:
        rows: rows handed out.
        blank: rows skipped because they, or one side of a pair, hold nothing but white space.
        missing: rows skipped because they lack what was asked for: a language (TMX), links, symbols that a mask leaves.
        bad: rows that could not be read.
        examples: messages of the first few bad rows.
    """

    rows: int = 0
    blank: int = 0
    missing: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)

    def refuse(self, error: DataError, on_bad: OnBad) -> None:
        """Raise ``error``, or count it where ``on_bad`` is ``"count"``."""
        if on_bad == "raise":
            raise error
        self.bad += 1
        if len(self.examples) < _EXAMPLES_KEPT:
            self.examples.append(str(error))

    def finish(self, path: Path) -> None:
        """Raise `DataError` when the whole file gave no row."""
        if self.rows == 0:
            raise DataError(
                f"no text in {path.name!r}: {self.blank} blank, {self.missing} without the languages, {self.bad} bad",
                expected="at least one row with text",
                where=str(path),
                next_step=self.examples[0] if self.examples else None,
            )


def nfc(text: str) -> str:
    """Return ``text`` in Unicode normalisation form C, without white space at its ends."""
    return unicodedata.normalize("NFC", text).strip()


def file_kind(path: Path) -> str:
    """Return the suffix that names the format, in lower case: ``.jsonl`` for ``x.JSONL.zst``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in (".gz", ".zst"):
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def check_file(path: Path) -> None:
    """Raise `DataError` unless ``path`` is a file with at least one byte."""
    if not path.exists():
        raise DataError(f"no such file: {str(path)!r}", expected="a file to read", where=str(path))
    if not path.is_file():
        raise DataError(f"not a file: {str(path)!r}", expected="one file; folders are read file by file")
    if path.stat().st_size == 0:
        raise DataError(f"empty file: {str(path)!r}", expected="at least one row of text", where=str(path))


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain, ``.gz`` or ``.zst`` file for reading bytes; damaged archives become `DataError`."""
    check_file(path)
    import zstandard

    suffix = path.suffix.lower()
    try:
        with path.open("rb") as raw:
            if suffix == ".gz":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield io.BufferedReader(unpacked)
            elif suffix == ".zst":
                # read_across_frames: files made by appending hold several frames.
                with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as frames:
                    yield io.BufferedReader(frames, 1 << 20)
            else:
                yield raw
    except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(
            f"damaged archive {path.name!r}: {error}",
            expected=f"a complete {suffix} file",
            where=str(path),
            next_step="copy or download the file again",
        ) from error


def numbered_lines(
    path: Path, report: ReadReport, on_bad: OnBad = "raise", span: Span | None = None
) -> Iterator[tuple[int, str]]:
    """Yield ``(number, line)`` from 1, without line ends; blank lines are yielded too.

    Args:
        path: plain, ``.gz`` or ``.zst``.
        report: receives the counts.
        on_bad: what to do with bytes that are not UTF-8.
        span: only the lines that begin at these bytes of a plain file; they are counted from the first of them.

    Raises:
        DataError: missing, empty or damaged file; bytes that are not UTF-8 (unless counted).
    """
    with opened(path) as stream:
        for number, raw in enumerate(stream if span is None else _within(stream, span), start=1):
            body = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            try:
                line = body.decode("utf-8")
            except UnicodeDecodeError as error:
                report.refuse(_undecodable(path, number, body, error, cut=len(raw) - len(body)), on_bad)
                continue
            yield number, line.removesuffix("\n").removesuffix("\r")


def _within(stream: IO[bytes], span: Span) -> Iterator[bytes]:
    """Lines that begin at a byte of the span: with other spans of a file, every line once."""
    begin, end = span
    if begin:
        # Ends at once where the span begins with a line, and else with the line that an earlier span has.
        stream.seek(begin - 1)
        begin += len(stream.readline()) - 1
    while begin < end and (raw := stream.readline()):
        begin += len(raw)
        yield raw


def _undecodable(path: Path, number: int, line: bytes, error: UnicodeDecodeError, cut: int) -> DataError:
    around = line[max(0, error.start - 10) : error.start + 10]
    return DataError(
        f"byte 0x{line[error.start]:02x} is not UTF-8, in {around!r}",
        expected="UTF-8 text",
        where=f"{path}, line {number}, byte {error.start + 1 + cut}",
        next_step="convert the file, for instance: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW",
    )
