"""Pretraining tokens/s of our loop and of ``transformers.Trainer``: same weights, same batches, same masks.

In: a BERT's shape. Out: tokens/s, peak memory and the losses of both sides, step by step. Both see full blocks of 128
tokens of bundled text (13 languages, XLM-R's pieces renumbered by frequency so that they fit the table), with the masks
our loop would draw; Trainer gets them ready made, so its collator costs it nothing, and runs with fused AdamW, no
logging and no padding. Decisions: losses must agree, or the comparison is void; a side is one process, since memory and
threads of the one would disturb the other. Price: importing torch again for every measurement.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interlingua.bench.sides import answer, ask, run_trainer, with_torchs_products
from interlingua.errors import MissingExtraError, RunError

if TYPE_CHECKING:
    from interlingua.batch import Batch
    from interlingua.shards.stream import Layout

__all__ = ["COLUMNS", "SHAPES", "Comparison", "Shape", "compare_pretraining"]

BLOCK, SEED, RATE = 128, 0, 1e-4
FIRST, LAST, PAD, MASK, ORDINARY = 2, 3, 0, 4, 5
#: Losses of the two sides may differ by so much, relative: sums in another order, over a few steps.
TOLERANCE = 2e-4


@dataclass(frozen=True)
class Shape:
    """A network to measure.

    Attributes:
        hidden: width; a head per 64 of it, feed-forward four times as wide.
        layers: depth.
        vocabulary: entries of the table, tied to the output.
        rows: blocks of 128 tokens a step.
    """

    hidden: int
    layers: int
    vocabulary: int
    rows: int = 32


#: By name.
SHAPES = {
    "h256-30k": Shape(256, 6, 30_000),
    "h256-120k": Shape(256, 6, 120_000),
    "h256-250k": Shape(256, 6, 250_000),
    "h768-120k": Shape(768, 12, 120_000, rows=8),
}


@dataclass
class Comparison:
    """What was measured of one shape.

    Attributes:
        shape: the network.
        rates: side -> tokens/s, one a repeat; sides are :data:`SIDES`.
        threads: side -> threads; Trainer has the number that was better in the first round.
        peak_mb: side -> largest resident memory.
        difference: largest relative difference between the losses of a step, of ours and Trainer's.
        operations: that a token needs, by :mod:`interlingua.train.flops`.
        utilisation: share of the machine's rate that ours reached, best repeat.
    """

    shape: Shape
    rates: dict[str, list[float]]
    threads: dict[str, int]
    peak_mb: dict[str, float]
    difference: float
    operations: float
    utilisation: float

    def ratios(self, side: str) -> list[float]:
        """A side's tokens/s to Trainer's, of neighbouring runs."""
        return [a / b for a, b in zip(self.rates[side], self.rates["trainer"], strict=True)]

    def rows(self) -> list[tuple[str, ...]]:
        """A row a side, under :data:`COLUMNS`."""
        name = f"H{self.shape.hidden} L{self.shape.layers}, {self.shape.vocabulary:,}"
        shares = {"ours": f"{self.utilisation:.0%}"}
        return [
            (
                name, shown, f"{statistics.median(self.rates[side]):,.0f}", _range(self.ratios(side)),
                str(self.threads[side]), f"{self.peak_mb[side]:,.0f}", shares.get(side, ""),
            )
            for side, shown in SIDES.items()
        ]  # fmt: skip


#: Sides, and what they are called in tables.
SIDES = {"ours": "ours", "ours-plain": "ours, torch's products", "trainer": "Trainer"}
#: Of :meth:`Comparison.rows`.
COLUMNS = ("network, vocabulary", "side", "tokens/s", "ratio, median (min-max)", "threads", "peak MB", "of the machine")


def _range(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def compare_pretraining(
    shape: Shape, *, repeats: int = 3, steps: int = 4, warm: int = 2, say: Callable[[str], None] = lambda text: None
) -> Comparison:
    """Measure both sides in turn.

    Args:
        shape: the network.
        repeats: runs a side.
        steps: steps that are timed.
        warm: steps before them.
        say: told in a line what was measured.

    Raises:
        MissingExtraError: Trainer needs accelerate.
        RunError: a side failed, or their losses differ.
    """
    import importlib.util

    from interlingua.train.threads import available_cores

    if importlib.util.find_spec("accelerate") is None:
        raise MissingExtraError("transformers.Trainer needs accelerate", next_step="pip install accelerate")
    # Many threads can be slower than one on small matrices: Trainer gets the number that was better in the first round.
    candidates = sorted({1, available_cores()})
    found: dict[str, list[dict[str, Any]]] = {}
    for repeat in range(repeats):
        for side, threads in (("ours", 0), ("ours-plain", 0), *(("trainer", count) for count in candidates)):
            work = {"shape": asdict(shape), "steps": steps, "warm": warm, "threads": threads}
            row = ask(__name__, side, work)
            found.setdefault(f"trainer-{threads}" if side == "trainer" else side, []).append(row)
            say(f"{side}, {row['threads']} threads: {row['rate']:,.0f} tokens/s, {row['peak_mb']:,.0f} MB")
        if repeat == 0:
            candidates = [max(candidates, key=lambda count: found[f"trainer-{count}"][0]["rate"])]
    by_side = {"ours": found["ours"], "ours-plain": found["ours-plain"], "trainer": found[f"trainer-{candidates[0]}"]}
    losses = {side: rows[0]["losses"] for side, rows in by_side.items()}
    difference = max(
        abs(a / b - 1) for side in ("ours", "ours-plain") for a, b in zip(losses[side], losses["trainer"], strict=True)
    )
    if difference > TOLERANCE:
        raise RunError(
            f"the losses of the sides differ by {difference:.1e}: {losses}",
            expected=f"at most {TOLERANCE:.0e}",
            next_step="report this: one of them computes something else",
        )
    return Comparison(
        shape,
        {side: [row["rate"] for row in rows] for side, rows in by_side.items()},
        {side: rows[0]["threads"] for side, rows in by_side.items()},
        {side: statistics.median(row["peak_mb"] for row in rows) for side, rows in by_side.items()},
        difference,
        by_side["ours"][0]["operations"],
        max(row["utilisation"] for row in by_side["ours"]),
    )


class Blocks:
    """Batch t of full blocks, as our loop reads it."""

    def __init__(self, shape: Shape, steps: int) -> None:
        self.shape = shape
        self.languages = ["und"]
        ids = _text(shape.vocabulary)
        inner = BLOCK - 2
        need = shape.rows * steps * inner
        self._ids = np.resize(ids, need).reshape(steps, shape.rows, inner)

    def batch(self, t: int, layout: Layout | None = None) -> Batch:
        """Rows of one segment each."""
        from interlingua.batch import rows_from_texts

        rows = [np.concatenate([[FIRST], row, [LAST]]) for row in self._ids[t]]
        return rows_from_texts(rows, pad_id=PAD, row_length=BLOCK, special_ids=np.arange(ORDINARY), pack=False)


def _text(vocabulary: int) -> np.ndarray:
    """Piece ids of bundled text, the most frequent piece first, so that the ids fit any table."""
    from tokenizers import Tokenizer

    from interlingua.data import read_packed

    tokenizer = Tokenizer.from_str(read_packed("xlmr_tokenizer.json.zst"))
    rows = read_packed("general.tsv.zst").splitlines()[1:]
    texts = [cell for row in rows for cell in row.split("\t")[1:] if cell]
    flat = np.concatenate([e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)])
    pieces, place, counts = np.unique(flat, return_inverse=True, return_counts=True)
    rank = np.empty(len(pieces), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(pieces))
    return ORDINARY + rank[place] % (vocabulary - ORDINARY)


def _objective(vocabulary: int) -> Any:
    from interlingua.objectives.masking import Masking
    from interlingua.objectives.mlm import MaskedLM

    return MaskedLM(Masking(MASK, np.arange(ORDINARY, vocabulary)))


def _network(shape: Shape) -> Any:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(SEED)
    return BertForMaskedLM(
        BertConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=max(1, shape.hidden // 64),
            intermediate_size=4 * shape.hidden,
            max_position_embeddings=BLOCK,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=PAD,
        )
    )


def ours(shape: Shape, steps: int, threads: int) -> dict[str, Any]:
    """Times after every step, losses, threads, operations a token, and those a second that the machine can do."""
    import torch

    from interlingua.objectives.base import Part
    from interlingua.objectives.mix import Mixture
    from interlingua.recipe import TrainRecipe
    from interlingua.train.flops import FlopCounter, peak_rate
    from interlingua.train.loop import Progress, train

    marks, losses = [time.perf_counter()], []

    def on_step(progress: Progress) -> None:
        marks.append(time.perf_counter())
        losses.append(progress.losses["mlm"])

    recipe = TrainRecipe(steps=steps, lr=RATE, warmup=0.0, weight_decay=0.0, beta2=0.999, epsilon=1e-8, threads=threads)
    blocks, objective, network = Blocks(shape, steps), _objective(shape.vocabulary), _network(shape)
    train(network, None, blocks, Mixture([objective], [1.0], how="sum", seed=SEED), recipe, seed=SEED, on_step=on_step)
    batch = blocks.batch(0)
    prepared = (Part(0, objective, 1.0), batch, objective.prepare(batch, np.random.default_rng(SEED)))
    return {
        "marks": marks,
        "losses": losses,
        "threads": torch.get_num_threads(),
        "operations": FlopCounter(network).step([prepared]) / batch.tokens,
        "peak": peak_rate(torch.device("cpu")),
    }


def trainer(shape: Shape, steps: int, threads: int) -> dict[str, Any]:
    """Times after every step and losses of Trainer."""
    import torch
    from transformers import default_data_collator

    from interlingua.shards.sampling import keyed_generator

    torch.set_num_threads(threads)
    blocks, objective = Blocks(shape, steps), _objective(shape.vocabulary)
    rows = []
    for t in range(steps):
        # The masks that our loop draws for this step.
        targets = objective.prepare(blocks.batch(t), keyed_generator(SEED, t, 5, 0), t / steps)
        rows += [
            {"input_ids": shown, "labels": labels, "attention_mask": torch.ones_like(shown)}
            for shown, labels in zip(targets.tokens_BL, targets.labels_BL, strict=True)
        ]

    marks, losses = run_trainer(
        _network(shape),
        rows,
        default_data_collator,
        per_device_train_batch_size=shape.rows,
        max_steps=steps,
        learning_rate=RATE,
        seed=SEED,
    )
    return {"marks": marks, "losses": losses, "threads": threads, "operations": 0.0, "peak": 1.0}


def _timed(run: Callable[[Shape, int, int], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A side: its tokens/s over the steps after those that warm up."""

    def side(work: dict[str, Any]) -> dict[str, Any]:
        shape, steps, warm = Shape(**work["shape"]), work["steps"], work["warm"]
        found = run(shape, steps + warm, work["threads"])
        marks = found.pop("marks")
        rate = steps * shape.rows * BLOCK / (marks[-1] - marks[warm])
        return found | {"rate": rate, "utilisation": found["operations"] * rate / found["peak"]}

    return side


def main() -> None:
    """One side, in a process of its own."""
    answer({"ours": _timed(ours), "ours-plain": _timed(with_torchs_products(ours)), "trainer": _timed(trainer)})
