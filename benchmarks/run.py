"""All benchmarks; medians over repeats, written to docs/results/bench.md.

    make bench            or    python benchmarks/run.py [--repeats 3] [--steps 4] [--parts pretraining,shards]

Parts that are not measured keep the section they have on the page. Nothing here is a test: machines are shared and
noisy, so two things are always measured in turn and the ratio is the figure to quote. The text is the bundled Bible's.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "bench.md"


def bible_texts() -> dict[str, list[str]]:
    from interlingua.tour.bible import read_verses

    languages, verses = read_verses()
    return {lang: [texts[lang] for texts in verses.values() if lang in texts] for lang in languages}


def pretraining(folder: Path, repeats: int, steps: int) -> list[str]:
    from interlingua.bench import COLUMNS, SHAPES, compare_pretraining

    lines = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    notes = []
    for name, shape in SHAPES.items():
        found = compare_pretraining(
            shape, repeats=repeats, steps=steps, say=lambda text, name=name: print(name, text, flush=True)
        )
        lines += [f"| {' | '.join(row)} |" for row in found.rows()]
        notes.append(f"- {name}: losses of a step differ by at most {found.difference:.0e}, relative; "
                     f"{found.operations / 1e6:,.1f} M operations a token.")  # fmt: skip
    return [*lines, "", *notes]


class Timed:
    """A tokenizer that counts the processor time spent in it, ids included."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.spent = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def encode_batch_fast(self, texts: list[str], **options: Any) -> list[SimpleNamespace]:
        begin = time.process_time()
        found = [SimpleNamespace(ids=e.ids) for e in self.tokenizer.encode_batch_fast(texts, **options)]
        self.spent += time.process_time() - begin
        return found


def shards(folder: Path, repeats: int) -> list[str]:
    """Tokenise + write shards, and the share of the time that is not the tokenizer itself, both in the same run."""
    from interlingua.shards import write, write_shards
    from interlingua.text.documents import Document
    from interlingua.vocab.train import train_vocabulary

    timed: list[Timed] = []

    class Worker(write._Worker):
        def __init__(self, settings: Any) -> None:
            super().__init__(settings)
            self.tokenizer = Timed(self.tokenizer)
            timed.append(self.tokenizer)

    texts = bible_texts()
    tokenizer = train_vocabulary({k: v[:6000] for k, v in texts.items()}, kind="bpe", size=16_000)
    lines = [
        "| languages | MB of text | MB/s, one core | not the tokenizer | peak MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, languages in (("all 13", list(texts)), ("ja", ["ja"]), ("de", ["de"])):
        documents = [Document(t, lang, "bench", i) for lang in languages for i, t in enumerate(texts[lang])]
        size = sum(len(d.text.encode()) for d in documents) / 1e6
        whole, share = [], []
        for repeat in range(repeats):
            with mock.patch.object(write, "_Worker", Worker):
                begin = time.process_time()
                write_shards(folder / f"{name}-{repeat}", documents, tokenizer, sorted(languages))
                whole.append(time.process_time() - begin)
            share.append(1 - timed[-1].spent / whole[-1])
            print(name, f"{size / whole[-1]:.2f} MB/s, {share[-1]:.0%} not the tokenizer", flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines.append(
            f"| {name} | {size:.1f} | {size / statistics.median(whole):.2f} | {statistics.median(share):.0%} "
            f"| {peak:,.0f} |"
        )
    return lines


PARTS = {
    "pretraining": (
        "Pretraining",
        "BERT, dropout 0, float32, 32 blocks of 128 tokens a step (8 at width 768), 15 % masked, no "
        "padding; the same weights, batches "
        "and masks on both sides (`interlingua bench pretrain`). Trainer: fused AdamW, no logging, the better of 1 and "
        "all threads; ours chooses its threads.",
    ),
    "shards": (
        "Tokenise and write shards",
        "Processor time of one process, word starts included; the tokenizer is `encode_batch_fast` and its ids, timed "
        "inside the same run.",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--parts", default=",".join(PARTS))
    chosen = parser.parse_args()
    import torch
    import transformers

    sections = {}
    if RESULTS.exists():
        sections = {s.split("\n")[0]: s for s in RESULTS.read_text(encoding="utf-8").split("\n## ")[1:]}
    machine = (
        f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}, transformers "
        f"{transformers.__version__}, medians over {chosen.repeats} repeats"
    )
    for part in chosen.parts.split(","):
        title, text = PARTS[part]
        with tempfile.TemporaryDirectory() as name:
            found = shards(Path(name), chosen.repeats) if part == "shards" else (
                pretraining(Path(name), chosen.repeats, chosen.steps)
            )  # fmt: skip
        sections[title] = "\n".join([title, "", f"{text} {machine}.", "", *found, ""])
        head = ["# Benchmarks", "", "    make bench", "", "The machine is shared: quote the ratios, which are of runs "
                "made in turn.", ""]  # fmt: skip
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        page = "\n".join(head) + "".join(f"\n## {section.rstrip()}\n" for section in sections.values())
        RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
