"""Draw the training questions of docs/results/transfer.md: python scripts/draw_questions.py DATA/qa OUT

8,000 questions of SQuAD 1.0 whose answer's offset is certain, and 8,000 of JaQuAD, at random with one seed.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import zstandard

COUNT = 8000


def lines_of(path: Path) -> list[str]:
    """Lines of a packed file, with their ends."""
    text = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).decode("utf-8")
    return [f"{line}\n" for line in text.removesuffix("\n").split("\n")]


def main() -> None:
    """Write squad.jsonl and jaquad.jsonl."""
    data, out = map(Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    chance = random.Random(0)
    squad = [line for line in lines_of(data / "squad_v10.en.train.jsonl.zst") if json.loads(line)["start_unique"]]
    jaquad = lines_of(data / "jaquad.ja.train.jsonl.zst")
    for name, lines in (("squad", squad), ("jaquad", jaquad)):
        chance.shuffle(lines)
        (out / f"{name}.jsonl").write_text("".join(lines[:COUNT]), encoding="utf-8")


if __name__ == "__main__":
    main()
