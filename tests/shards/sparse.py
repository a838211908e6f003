"""Make a synthetic set of shards, most of whose bytes are holes, and read from it.

    python sparse.py FOLDER SHARDS BATCHES

Fifty shards are made, of 20 MB and one language each; the others are further names of the same files. Prints one JSON
line: bytes by name, resident memory before and after, seconds to open and to the first batch.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from interlingua.shards.format import HEADER, MAGIC, VERSION, ShardHeader
from interlingua.shards.read import ShardSet
from interlingua.shards.stream import Stream

UNITS, TOKENS, LANGUAGES, MADE = 40_000, 126, 50, 50


def make(path: Path, language: int) -> str:
    """A shard of units of equal length whose tokens are a hole; its checksum."""
    header = ShardHeader(4, UNITS, UNITS * TOKENS, LANGUAGES, 0, 0, UNITS)
    offsets, size = header.offsets()
    table = np.zeros((LANGUAGES, 3), dtype="<u8")
    table[language, 1:] = UNITS
    values = {"ends": np.arange(1, UNITS + 1, dtype="<u8") * TOKENS, "languages": table,
              "documents": np.arange(UNITS, dtype="<u4"), "characters": np.full(UNITS, 300, dtype="<u4")}  # fmt: skip
    with path.open("wb") as file:
        packed = bytearray(64)
        HEADER.pack_into(packed, 0, MAGIC, VERSION, 4, UNITS, UNITS * TOKENS, LANGUAGES, 0, 0, UNITS)
        file.write(packed)
        for name, value in values.items():
            file.seek(offsets[name])
            file.write(value.tobytes())
        file.truncate(size)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(folder: Path, shards: int) -> None:
    """The set and its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    sums = [make(folder / f"{i:06d}.shard", i % LANGUAGES) for i in range(MADE)]
    for i in range(MADE, shards):
        os.link(folder / f"{i % MADE:06d}.shard", folder / f"{i:06d}.shard")
    counts = np.zeros((shards, LANGUAGES, 3), dtype=np.uint32)
    counts[np.arange(shards), np.arange(shards) % MADE % LANGUAGES, 1:] = UNITS
    np.save(folder / "counts.npy", counts, allow_pickle=False)
    names = [f"x{i}" for i in range(LANGUAGES)]
    each = shards // LANGUAGES * UNITS
    manifest = {
        "format": "interlingua-shards",
        "version": VERSION,
        "split": "train",
        "vocabulary": "",
        "languages": names,
        "per_language": {n: {"units": each, "tokens": each * TOKENS, "characters": each * 300} for n in names},
        "counts": hashlib.sha256((folder / "counts.npy").read_bytes()).hexdigest(),
        "shards": [{"file": f"{i:06d}.shard", "sha256": sums[i % MADE]} for i in range(shards)],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def tokenizer() -> PreTrainedTokenizerFast:
    """One that knows the specials; the holes are all token 0."""
    words = {"a": 0, "<s>": 1, "</s>": 2, "<pad>": 3}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="a")),
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
    )


if __name__ == "__main__":
    folder, shards, batches = Path(sys.argv[1]) / "train", int(sys.argv[2]), int(sys.argv[3])
    write(folder, shards)
    words = tokenizer()
    before = psutil.Process().memory_info().rss
    begin = time.perf_counter()
    stream = Stream(ShardSet(folder), words, seed=0, batch_tokens=8192, row_length=128)
    opened = time.perf_counter() - begin
    stream.batch(0)
    first = time.perf_counter() - begin
    for t in range(1, batches):
        stream.batch(t)
    row = {
        "bytes": sum(file.stat().st_size for file in folder.glob("*.shard")),
        "grown_mb": (psutil.Process().memory_info().rss - before) / 1e6,
        "opened": opened,
        "first": first,
        "batches": batches,
    }
    sys.stdout.write(json.dumps(row) + "\n")
