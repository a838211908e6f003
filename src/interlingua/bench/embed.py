"""Sentence vectors: texts/s of our encoder and of sentence-transformers' ``encode``, with equal vectors.

In: a model and texts of mixed length. Out: texts/s, tokens/s, peak memory, and how far the vectors are apart. Both
sides have the same float32 weights, tokenizer, prefix and longest length, and return normalised means. Decisions:
vectors must agree, or the comparison is void; sentence-transformers gets the batch size and both sides the number of
threads that were best on a part of the texts; a third side is ours with torch's own matrix products, so that what is
due to the processor is told from what is due to the batches, and a fourth is a probe's pass, which pools the states of
all layers. Price: the search takes as long as a run.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlingua.bench.sides import answer, ask, with_torchs_products
from interlingua.errors import MissingExtraError, RunError

__all__ = ["SIDES", "Embedding", "compare_embedding", "mixed_texts"]

#: Cosine distance and largest difference of a component that two sides may have.
TOLERANCE = 1e-5
#: Batch sizes tried for sentence-transformers, whose own default is 32.
BATCH_SIZES = (4, 8, 32)
#: Side -> how it is called where people read it.
SIDES = {
    "ours": "ours", "ours-plain": "ours, torch's products", "ours-layers": "ours, all layers pooled",
    "sentence-transformers": "sentence-transformers",
}  # fmt: skip
#: Every so many-th text is in the search for the best settings.
SEARCHED = 5


@dataclass
class Embedding:
    """What was measured.

    Attributes:
        texts: number of texts.
        tokens: their tokens, with prefix and specials.
        seconds: by side of :data:`SIDES`, one a repeat.
        settings: threads, and batch size, by side.
        peak_mb: largest resident memory by side.
        difference: largest difference of a component between the two sides' vectors.
        distance: largest cosine distance.
    """

    texts: int
    tokens: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, dict[str, int]] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    difference: float = 0.0
    distance: float = 0.0

    def rate(self, side: str, amount: int) -> float:
        """``amount`` per second of a side, the median of its runs."""
        return amount / statistics.median(self.seconds[side])

    def ratios(self, side: str = "ours") -> list[float]:
        """How many times faster than sentence-transformers a side is, in neighbouring runs."""
        pairs = zip(self.seconds["sentence-transformers"], self.seconds[side], strict=True)
        return [theirs / own for theirs, own in pairs]


def mixed_texts(count: int, *, seed: int = 0) -> list[str]:
    """Bundled texts of 13 and more languages: lines of programs, sentences, and passages of up to twelve verses."""
    from interlingua.data import read_packed

    chance = np.random.default_rng(seed)
    lines = [cell for row in read_packed("general.tsv.zst").splitlines()[1:] for cell in row.split("\t")[1:] if cell]
    sentences = [row.split("\t")[4] for row in read_packed("sib200.tsv.zst").splitlines()[1:]]
    verses = [row.split("\t")[1:] for row in read_packed("bible.tsv.zst").splitlines()[1:]]
    texts: list[str] = []
    while len(texts) < count:
        kind = len(texts) % 3
        if kind < 2:
            source = (lines, sentences)[kind]
            texts.append(source[chance.integers(len(source))])
            continue
        length = int(np.exp(chance.uniform(0, np.log(13))))  # as many short passages as long ones, by orders
        start, language = chance.integers(len(verses) - length), chance.integers(len(verses[0]))
        passage = " ".join(filter(None, (row[language] for row in verses[start : start + length])))
        if passage:
            texts.append(passage)
    return texts


def compare_embedding(
    model: str, texts: Sequence[str], *, repeats: int = 3, say: Callable[[str], None] = lambda text: None
) -> Embedding:
    """Measure the sides in turn.

    Args:
        model: name or folder.
        texts: what is encoded.
        repeats: runs a side.
        say: told in a line what was measured.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        RunError: a side failed, or their vectors differ.
        ModelUnavailableError: no such model.
    """
    import importlib.util

    from interlingua.models.encoder import resolve
    from interlingua.train.threads import available_cores

    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError("the other side is not installed", next_step="pip install sentence-transformers")
    resolve(model)  # before any process is started: it may be long, and fail
    found = Embedding(len(texts))
    vectors: dict[str, NDArray[Any]] = {}
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:

        def run(side: str, some: Sequence[str], settings: dict[str, int]) -> dict[str, Any]:
            (Path(folder) / "texts.json").write_text(json.dumps(list(some)), encoding="utf-8")
            return ask(__name__, side, {"model": model, "folder": folder, **facts, **settings})

        for side, sizes in (("ours", (0,)), ("sentence-transformers", BATCH_SIZES)):
            trials = [
                {"threads": threads} | ({"batch_size": size} if size else {})
                for threads in sorted({1, available_cores()})
                for size in sizes
            ]
            rows = [run(side, texts[::SEARCHED], settings) for settings in trials]
            facts |= {key: rows[0][key] for key in ("prefix", "max_length") if key in rows[0]}
            found.settings[side] = trials[int(np.argmin([row["seconds"] for row in rows]))]
            say(f"{side}: best with {found.settings[side]}")
        found.settings |= dict.fromkeys(("ours-plain", "ours-layers"), found.settings["ours"])
        for _ in range(repeats):
            for side in ("ours", "sentence-transformers", "ours-plain", "ours-layers"):
                row = run(side, texts, found.settings[side])
                found.seconds.setdefault(side, []).append(row["seconds"])
                found.peak_mb[side] = max(found.peak_mb.get(side, 0.0), row["peak_mb"])
                found.tokens = row.get("tokens", found.tokens)
                vectors[side] = np.load(Path(folder) / "vectors.npy")
                say(f"{side}: {len(texts) / row['seconds']:,.1f} texts/s, {row['peak_mb']:,.0f} MB")
    _check(found, vectors)
    return found


def _check(found: Embedding, vectors: dict[str, NDArray[Any]]) -> None:
    theirs = vectors["sentence-transformers"].astype(np.float64)
    for side in vectors.keys() - {"sentence-transformers"}:
        own = vectors[side].astype(np.float64)
        found.difference = max(found.difference, float(np.abs(own - theirs).max()))
        found.distance = max(found.distance, float((1 - (own * theirs).sum(axis=1)).max()))
    if max(found.difference, found.distance) > TOLERANCE:
        raise RunError(
            f"the vectors differ by {found.difference:.1e}, cosine distance {found.distance:.1e}",
            expected=f"at most {TOLERANCE:.0e}",
            next_step="report this: one of the two computes something else",
        )


def ours(work: dict[str, Any]) -> dict[str, Any]:
    """Time :meth:`interlingua.models.encoder.Encoder.encode`."""
    import torch

    from interlingua.models.encoder import load

    torch.set_num_threads(work["threads"])
    encoder = load(work["model"])
    texts = json.loads((Path(work["folder"]) / "texts.json").read_text(encoding="utf-8"))
    return _timed(work, encoder.encode, texts) | {
        "tokens": sum(map(len, encoder.tokenize(texts))),
        "prefix": encoder.prefix,
        "max_length": encoder.max_length,
    }


def layers(work: dict[str, Any]) -> dict[str, Any]:
    """Time :func:`interlingua.probe.state_blocks`: the states of all layers, pooled; the last layer's are compared."""
    import torch

    from interlingua.models.encoder import load
    from interlingua.probe.neighbours import unit
    from interlingua.probe.states import state_blocks

    torch.set_num_threads(work["threads"])
    encoder = load(work["model"])
    texts = json.loads((Path(work["folder"]) / "texts.json").read_text(encoding="utf-8"))

    def pooled(some: list[str]) -> NDArray[Any]:
        return np.concatenate([unit(block[-1]) for block in state_blocks(encoder, some, dtype=torch.float32)])

    return _timed(work, pooled, texts)


def theirs(work: dict[str, Any]) -> dict[str, Any]:
    """Time ``SentenceTransformer.encode``; it sorts by length and pads a batch to its longest text."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    from interlingua.models.encoder import resolve

    torch.set_num_threads(work["threads"])
    network = Transformer(str(resolve(work["model"])), max_seq_length=work["max_length"])
    model = SentenceTransformer(
        modules=[network, Pooling(network.get_embedding_dimension(), "mean"), Normalize()], device="cpu"
    )
    texts = json.loads((Path(work["folder"]) / "texts.json").read_text(encoding="utf-8"))
    options = {"prompt": work["prefix"] or None, "batch_size": work["batch_size"], "show_progress_bar": False}
    return _timed(work, lambda some: model.encode(some, **options), texts)


def _timed(work: dict[str, Any], encode: Callable[[list[str]], NDArray[Any]], texts: list[str]) -> dict[str, Any]:
    encode(texts[:8])  # weights are read from disk when they are first touched
    begin = time.perf_counter()
    vectors = encode(texts)
    seconds = time.perf_counter() - begin
    np.save(Path(work["folder"]) / "vectors.npy", vectors)
    return {"seconds": seconds}


def main() -> None:
    """Run the side that the command line names."""
    answer(
        {"ours": ours, "ours-plain": with_torchs_products(ours), "ours-layers": layers, "sentence-transformers": theirs}
    )
