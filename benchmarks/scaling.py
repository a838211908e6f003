"""What a corpus of many tokens costs: storage, hours of cores, hours of GPUs, from figures of one unit each.

    python benchmarks/scaling.py --tokens 1e12 --languages 100

Measured here: bytes of text and of shards a token, over the bundled sentences in XLM-R's pieces. Given, with what was
measured elsewhere as defaults: MB/s of a core through `corpus build` (docs/results/corpus.md) and through `shards
write` (docs/results/bench.md). Assumed: how much of the raw text is kept, and the share of a GPU's rate that training
reaches, which nobody but a run on that GPU can tell; its log says it (`flops_utilisation`).
"""

from __future__ import annotations

import argparse

from tokenizers import Tokenizer

from interlingua.data import read_packed
from interlingua.train.flops import GPU_RATES

#: Bytes of a unit in a shard beside its tokens: end, characters, group and document (docs/shards.md).
UNIT_BYTES = 8 + 4 + 4 + 4
#: (name, layers, width, rate of hidden tokens): BERT's base and small shapes over a vocabulary of 250,000.
SHAPES = [("small, 384x6", 6, 384, 0.15), ("base, 768x12", 12, 768, 0.15), ("base, 768x12", 12, 768, 0.3)]


def bytes_a_token() -> float:
    """UTF-8 bytes of text a token, the mean over the bundled languages."""
    tokenizer = Tokenizer.from_str(read_packed("xlmr_tokenizer.json.zst"))
    rows = [row.split("\t")[1:] for row in read_packed("general.tsv.zst").splitlines()[1:]]
    ratios = []
    for texts in zip(*rows, strict=True):
        kept = [text for text in texts if text]
        if kept:
            tokens = sum(len(e.ids) for e in tokenizer.encode_batch(kept, add_special_tokens=False))
            ratios.append(sum(len(text.encode()) for text in kept) / tokens)
    return sum(ratios) / len(ratios)


def operations(layers: int, width: int, rate: float, *, vocabulary: int, length: int) -> float:
    """Operations a token of masked LM, forward and backward, by the formula of interlingua.train.flops."""
    matrices = 12 * width**2
    asked = matrices - 2 * width**2  # of the highest layer, at hidden tokens alone
    body = 6 * (matrices * layers - asked * (1 - rate))
    attention = 12 * width * length * (layers - 1 + rate)
    return body + attention + 6 * rate * (vocabulary * width + width**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=float, default=1e12)
    parser.add_argument("--languages", type=int, default=100)
    parser.add_argument("--kept", type=float, default=0.5, help="share of the raw text that is kept")
    parser.add_argument("--corpus", type=float, default=4.83, help="MB/s a core through corpus build")
    parser.add_argument("--shards", type=float, default=2.78, help="MB/s a core through shards write")
    parser.add_argument("--unit", type=int, default=512, help="tokens a unit and a row")
    parser.add_argument("--utilisation", type=float, nargs="+", default=[0.1, 0.4])
    parser.add_argument("--gpu", choices=list(GPU_RATES), default="H200")
    given = parser.parse_args()
    each = bytes_a_token()
    clean = given.tokens * each
    raw = clean / given.kept
    shards = given.tokens * (4 + 1 / 8 + UNIT_BYTES / given.unit)
    print(f"{given.tokens:.2g} tokens in {given.languages} languages, {each:.2f} bytes of text a token\n")
    print("| what | amount |\n| --- | --- |")
    print(f"| raw text | {raw / 1e12:,.1f} TB |")
    print(f"| clean text | {clean / 1e12:,.1f} TB |")
    print(f"| shards, 4-byte tokens | {shards / 1e12:,.1f} TB |")
    print(f"| corpus build | {raw / 1e6 / given.corpus / 3600:,.0f} core hours |")
    print(f"| shards write | {clean / 1e6 / given.shards / 3600:,.0f} core hours |")
    print(f"| index in memory of each rank, shards of 20 MB | {shards / 20e6 * given.languages * 48 / 1e9:,.1f} GB |")
    columns = " | ".join(f"{share:.0%} of a {given.gpu}" for share in given.utilisation)
    print(f"\n| network, hidden tokens | operations a token | {columns} |")
    print("| --- | --- |" + " --- |" * len(given.utilisation))
    for name, layers, width, rate in SHAPES:
        need = operations(layers, width, rate, vocabulary=250_000, length=given.unit)
        hours = [given.tokens * need / (GPU_RATES[given.gpu] * share) / 3600 for share in given.utilisation]
        print(f"| {name}, {rate:.0%} | {need / 1e6:,.0f} M | {' | '.join(f'{h:,.0f} GPU hours' for h in hours)} |")


if __name__ == "__main__":
    main()
