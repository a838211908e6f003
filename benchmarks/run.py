"""All benchmarks; medians over repeats, written to docs/results/bench.md.

    make bench            or    python benchmarks/run.py [--repeats 3] [--steps 8]

Nothing here is a test: machines are shared and noisy, so two things are always measured in turn and the ratio is the
figure to quote. The text is the bundled Bible's English, German and Russian columns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

HERE = Path(__file__).parent
RESULTS = HERE.parent / "docs" / "results" / "bench.md"


def bible_texts() -> dict[str, list[str]]:
    from interlingua.tour.bible import read_verses

    languages, verses = read_verses()
    return {lang: [texts[lang] for texts in verses.values() if lang in texts] for lang in languages}


def pretraining(folder: Path, repeats: int, steps: int) -> list[str]:
    from interlingua.vocab.train import save_vocabulary, train_vocabulary

    texts = bible_texts()
    file = folder / "text.txt"
    file.write_text("\n".join(t for lang in ("en", "de", "ru") for t in texts[lang][:4000]) + "\n", encoding="utf-8")
    # Ids come from a small vocabulary; the table and head of the network have the size measured.
    tokenizer = folder / "vocab"
    save_vocabulary(train_vocabulary({k: texts[k] for k in ("en", "de", "ru")}, kind="bpe", size=16_000), tokenizer)
    lines = [
        "| vocabulary | ours, tokens/s | Trainer, tokens/s | ratio, median (min-max) | peak MB, ours / Trainer |",
        "| --- | --- | --- | --- | --- |",
    ]
    for vocabulary in (30_000, 120_000):
        runs: dict[str, list[dict[str, float]]] = {"ours": [], "trainer-1": [], "trainer-2": []}
        for _ in range(repeats):
            for side, threads in (("ours", 0), ("trainer", 1), ("trainer", 2)):
                out = subprocess.run(
                    [sys.executable, HERE / "pretrain_speed.py", side, "--vocabulary", str(vocabulary), "--steps",
                     str(steps), "--threads", str(threads), "--tokenizer", tokenizer, "--text", file],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                key = side if side == "ours" else f"{side}-{threads}"
                runs[key].append(json.loads(out.stdout.splitlines()[-1]))
                print(vocabulary, key, runs[key][-1], flush=True)
        speed = {key: [r["tokens_per_second"] for r in rows] for key, rows in runs.items()}
        best = max(("trainer-1", "trainer-2"), key=lambda key: statistics.median(speed[key]))
        ratios = sorted(a / b for a, b in zip(speed["ours"], speed[best], strict=True))
        peak = {key: statistics.median(r["peak_mb"] for r in rows) for key, rows in runs.items()}
        lines.append(
            f"| {vocabulary:,} | {statistics.median(speed['ours']):,.0f} | {statistics.median(speed[best]):,.0f} "
            f"({best[-1]} thread{'s' if best[-1] != '1' else ''}) | {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f}-{ratios[-1]:.2f}) | {peak['ours']:,.0f} / {peak[best]:,.0f} |"
        )
    return lines


def shards(folder: Path, repeats: int) -> list[str]:
    """Tokenise + write shards, and the share of the time that is not the tokenizer itself."""
    from interlingua.shards import write_shards
    from interlingua.shards.write import tokenizer_batches
    from interlingua.text.documents import Document
    from interlingua.vocab.train import train_vocabulary

    texts = bible_texts()
    tokenizer = train_vocabulary({k: v[:6000] for k, v in texts.items()}, kind="bpe", size=16_000)
    lines = [
        "| languages | MB of text | MB/s, one core | not the tokenizer | peak MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, languages in (("all 13", list(texts)), ("ja", ["ja"]), ("de", ["de"])):
        documents = [Document(t, lang, "bench", i) for lang in languages for i, t in enumerate(texts[lang])]
        size = sum(len(d.text.encode()) for d in documents) / 1e6
        whole, alone = [], []
        for repeat in range(repeats):
            begin = time.process_time()
            write_shards(folder / f"{name}-{repeat}", documents, tokenizer, sorted(languages))
            whole.append(time.process_time() - begin)
            begin = time.process_time()
            for lang in languages:
                # The batches of the writer: the tokenizer is up to twice as slow on tens of thousands of texts at once.
                for batch in tokenizer_batches(texts[lang]):
                    ids = [e.ids for e in tokenizer.encode_batch_fast(texts[lang][batch], add_special_tokens=False)]
            del ids
            alone.append(time.process_time() - begin)
            print(name, f"{size / whole[-1]:.2f} MB/s, tokenizer alone {size / alone[-1]:.2f} MB/s", flush=True)
        share = statistics.median(1 - a / w for a, w in zip(alone, whole, strict=True))
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines.append(f"| {name} | {size:.1f} | {size / statistics.median(whole):.2f} | {share:.0%} | {peak:,.0f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    chosen = parser.parse_args()
    import torch
    import transformers

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = shards(folder, chosen.repeats)
        trained = pretraining(folder, chosen.repeats, chosen.steps)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(
        "\n".join(
            [
                "# Benchmarks",
                "",
                "    make bench",
                "",
                f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}, transformers "
                f"{transformers.__version__}, medians over {chosen.repeats} repeats. The machine is shared: quote the "
                "ratios, which are of runs made in turn.",
                "",
                "## Pretraining",
                "",
                "BERT H256 L6, dropout 0, float32, about 4,096 tokens a step, 15 % masked; padding is not counted. "
                "Trainer: `DataCollatorForLanguageModeling` over full blocks of 128 tokens, fused AdamW, the better of "
                "1 and 2 threads. Ours: threads chosen by the loop.",
                "",
                *trained,
                "",
                "## Tokenise and write shards",
                "",
                "CPU time of one process, word starts included; the tokenizer alone is `encode_batch_fast` and ids.",
                "",
                *written,
                "",
            ]
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
