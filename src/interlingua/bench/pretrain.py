"""Pretraining tokens/s of our loop and of ``transformers.Trainer``: same weights, same batches, same masks.

In: a BERT's shape. Out: tokens/s, peak memory and the losses of both sides, step by step. Both see full blocks of 128
tokens of bundled text (13 languages, XLM-R's pieces renumbered by frequency so that they fit the table), with the masks
our loop would draw; Trainer gets them ready made, so its collator costs it nothing, and runs with fused AdamW, no
logging and no padding. Decisions: losses must agree, or the comparison is void; a side is one process, since memory and
threads of the one would disturb the other. Price: importing torch again for every measurement.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from interlingua.errors import MissingExtraError, RunError

if TYPE_CHECKING:
    from interlingua.batch import Batch
    from interlingua.shards.stream import Layout

__all__ = ["SHAPES", "Comparison", "Shape", "compare_pretraining"]

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
        ours: tokens/s, one a repeat.
        trainer: the same of Trainer, with the number of threads that was better.
        threads: (ours, Trainer's).
        peak_mb: largest resident memory, (ours, Trainer's).
        difference: largest relative difference between the losses of a step.
    """

    shape: Shape
    ours: list[float] = field(default_factory=list)
    trainer: list[float] = field(default_factory=list)
    threads: tuple[int, int] = (0, 0)
    peak_mb: tuple[float, float] = (0.0, 0.0)
    difference: float = 0.0

    @property
    def ratios(self) -> list[float]:
        """Ours to Trainer's, of neighbouring runs."""
        return [a / b for a, b in zip(self.ours, self.trainer, strict=True)]


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
        for side, threads in (("ours", 0), *(("trainer", count) for count in candidates)):
            row = _side(side, shape, steps, warm, threads)
            found.setdefault(f"{side}-{threads}", []).append(row)
            say(f"{side}, {row['threads']} threads: {row['tokens_per_second']:,.0f} tokens/s, {row['peak_mb']:,.0f} MB")
        if repeat == 0:
            candidates = [max(candidates, key=lambda count: found[f"trainer-{count}"][0]["tokens_per_second"])]
    best = f"trainer-{candidates[0]}"
    ours, theirs = found["ours-0"], found[best]
    result = Comparison(
        shape,
        [row["tokens_per_second"] for row in ours],
        [row["tokens_per_second"] for row in theirs],
        (ours[0]["threads"], theirs[0]["threads"]),
        (_median(ours, "peak_mb"), _median(theirs, "peak_mb")),
        max(abs(a / b - 1) for a, b in zip(ours[0]["losses"], theirs[0]["losses"], strict=True)),
    )
    if result.difference > TOLERANCE:
        raise RunError(
            f"the losses of the two sides differ by {result.difference:.1e}: {ours[0]['losses']} and "
            f"{theirs[0]['losses']}",
            expected=f"at most {TOLERANCE:.0e}",
            next_step="report this: one of the two computes something else",
        )
    return result


def _median(rows: Sequence[dict[str, Any]], key: str) -> float:
    return float(statistics.median(row[key] for row in rows))


def _side(side: str, shape: Shape, steps: int, warm: int, threads: int) -> dict[str, Any]:
    numbers = (shape.hidden, shape.layers, shape.vocabulary, shape.rows, steps, warm, threads)
    environment = os.environ | {
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import main; main()", side, *map(str, numbers)],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise RunError(
            f"{side} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:] or 'no message'}",
            where=f"side {side} of {shape}",
        )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


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


def ours(shape: Shape, steps: int, threads: int) -> tuple[list[float], list[float], int]:
    """Times after every step, losses, and threads."""
    import torch

    from interlingua.objectives.mix import Mixture
    from interlingua.recipe import TrainRecipe
    from interlingua.train.loop import Progress, train

    marks, losses = [time.perf_counter()], []

    def on_step(progress: Progress) -> None:
        marks.append(time.perf_counter())
        losses.append(progress.losses["mlm"])

    recipe = TrainRecipe(steps=steps, lr=RATE, warmup=0.0, weight_decay=0.0, beta2=0.999, epsilon=1e-8, threads=threads)
    mixture = Mixture([_objective(shape.vocabulary)], [1.0], how="sum", seed=SEED)
    train(_network(shape), None, Blocks(shape, steps), mixture, recipe, seed=SEED, on_step=on_step)
    return marks, losses, torch.get_num_threads()


def trainer(shape: Shape, steps: int, threads: int) -> tuple[list[float], list[float], int]:
    """The same of Trainer."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator

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

    class InOrder(torch.utils.data.IterableDataset[dict[str, torch.Tensor]]):
        def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
            return iter(rows)

    marks, losses = [time.perf_counter()], []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(time.perf_counter())

    class Recording(Trainer):  # type: ignore[misc]
        def compute_loss(self, *args: Any, **more: Any) -> Any:
            loss = super().compute_loss(*args, **more)
            losses.append(float(loss.detach()))
            return loss

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=shape.rows,
            max_steps=steps,
            optim="adamw_torch_fused",
            learning_rate=RATE,
            lr_scheduler_type="linear",
            report_to=[],
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            seed=SEED,
            remove_unused_columns=False,
        )
        Recording(
            model=_network(shape),
            args=arguments,
            train_dataset=InOrder(),
            data_collator=default_data_collator,
            callbacks=[Clock()],
        ).train()
    return marks, losses, threads


def main() -> None:
    """Run the side that the command line names and print a line of JSON."""
    side, (hidden, layers, vocabulary, rows, steps, warm, threads) = sys.argv[1], map(int, sys.argv[2:])
    shape = Shape(hidden, layers, vocabulary, rows)
    marks, losses, used = {"ours": ours, "trainer": trainer}[side](shape, steps + warm, threads)
    spent = marks[-1] - marks[warm]
    row = {
        "side": side,
        "tokens_per_second": steps * rows * BLOCK / spent,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": used,
        "losses": losses,
    }
    sys.stdout.write(json.dumps(row) + "\n")
