"""Crawled pages: WARC and WET files.

A file flows in; the text of each page and its address flow out. Decision: warcio reads the records; of WET the plain
text is taken as it is, of WARC the main content of HTML pages, found by resiliparse. Price: other kinds of pages are
passed over, and counted as missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interlingua.errors import DataError, MissingExtraError
from interlingua.text.lines import OnBad, ReadReport, check_file

__all__ = ["read_web"]


def read_web(path: Path, report: ReadReport, on_bad: OnBad) -> Iterator[tuple[str, str]]:
    """Yield ``(text, address)``.

    Raises:
        DataError: not such a file, or one that was cut short; a page that is not UTF-8 in a WET file.
        MissingExtraError: warcio, or for HTML resiliparse, is not installed.
    """
    try:
        from warcio.archiveiterator import ArchiveIterator
        from warcio.exceptions import ArchiveLoadFailed
    except ImportError as error:
        raise MissingExtraError(
            "warcio is not installed", expected="the extra 'corpus'", next_step="pip install 'interlingua[corpus]'"
        ) from error
    check_file(path)
    number = 0
    try:
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream):
                number += 1
                # warcio takes almost any line for the head of a record in the older ARC format.
                if record.rec_type is None or record.format != "warc":
                    raise _damaged(path, number - 1, "no WARC record")
                yield from _page(record, report, on_bad, f"{path}, record {number}")
    except (ArchiveLoadFailed, EOFError, OSError) as error:
        raise _damaged(path, number, str(error)) from error
    if not number:
        raise _damaged(path, number, "no WARC record")


def _page(record: Any, report: ReadReport, on_bad: OnBad, where: str) -> Iterator[tuple[str, str]]:
    url = record.rec_headers.get_header("WARC-Target-URI") or ""
    if record.rec_type == "conversion":
        body = record.content_stream().read()
        _whole(record, where)
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            report.refuse(DataError(f"not UTF-8: {error.reason}", expected="UTF-8 text", where=where), on_bad)
            return
    elif record.rec_type == "response":
        kind = record.http_headers.get_header("Content-Type", "") if record.http_headers else ""
        body = record.content_stream().read()
        _whole(record, where)
        if "html" not in kind.lower():
            report.missing += 1
            return
        text = _main_content(body)
    else:
        return
    if not text.strip():
        report.blank += 1
        return
    report.rows += 1
    yield text, url


def _whole(record: Any, where: str) -> None:
    """A record says how long it is; what ends before was cut short."""
    if getattr(record.raw_stream, "limit", 0):
        raise DataError(
            f"{record.raw_stream.limit} bytes of a record are missing",
            expected="a complete file",
            where=where,
            next_step="copy or download the file again",
        )


def _main_content(body: bytes) -> str:
    try:
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    except ImportError as error:
        raise MissingExtraError(
            "resiliparse is not installed", expected="the extra 'corpus'", next_step="pip install 'interlingua[corpus]'"
        ) from error
    page = bytes_to_str(body, detect_encoding(body, from_html_meta=True) or "utf-8")
    return str(extract_plain_text(page, main_content=True, alt_texts=False, links=False))


def _damaged(path: Path, number: int, reason: str) -> DataError:
    return DataError(
        f"damaged archive {path.name!r}: {reason}",
        expected="a complete WARC or WET file",
        where=f"{path}, after record {number}",
        next_step="copy or download the file again",
    )
