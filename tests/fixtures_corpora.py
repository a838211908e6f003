"""Small inputs for the corpus tests, and how to read what came of them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path

import zstandard


def write_lines(path: Path, texts: Iterable[str], **fields: str) -> Path:
    """A jsonl file with a row a text."""
    rows = (json.dumps({"text": text, **fields}, ensure_ascii=False) for text in texts)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def rows_of(file: Path) -> list[str]:
    """Lines of a zstd file."""
    with file.open("rb") as raw:
        unpacked = zstandard.ZstdDecompressor().stream_reader(raw)
        return io.TextIOWrapper(unpacked, encoding="utf-8", newline="\n").readlines()


def kept_rows(out: Path, lang: str) -> list[dict[str, str]]:
    """Rows of a language, in order."""
    return [json.loads(line) for file in sorted((out / "texts" / lang).glob("*")) for line in rows_of(file)]


def kept_texts(out: Path, lang: str) -> list[str]:
    """Texts of a language, in order."""
    return [row["text"] for row in kept_rows(out, lang)]


def corpus_bytes(out: Path) -> dict[str, bytes]:
    """Everything that a build promises to make again byte for byte."""
    files = [*out.glob("texts/*/*"), *out.glob("pairs/*/*"), out / "statistics.json"]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}
