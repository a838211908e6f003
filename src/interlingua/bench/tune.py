"""Tuning examples/s of our tuner and of ``transformers.Trainer``: same weights, same head, same batches.

In: a task's shape. Out: examples/s, peak memory, the losses of every step and a score of both sides. Trainer pads to
the longest length, or to the longest of a batch (``DataCollatorWithPadding``), or has its batches made of texts of one
length, which are other batches, so that only its time counts there; it has fused AdamW, no logging and the better of
one and all threads. Decisions: losses must agree, or the comparison is void; dropout is off, and what is frozen is
frozen on both sides. The texts are real, their labels what the bundled data says of them; no span task is there, so
question answering is stood for by classification of texts of its length.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from interlingua.bench.sides import answer, ask, run_trainer, with_torchs_products
from interlingua.errors import MissingExtraError, RunError

if TYPE_CHECKING:
    from interlingua.tasks import TextExample

__all__ = ["TUNE_SHAPES", "TuneShape", "Tuning", "compare_tuning"]

SEED, HELD_OUT = 0, 64
#: Losses of the two sides may differ by so much, relative: sums in another order, over a few steps of Adam.
TOLERANCE = 1e-3
OURS = ("ours", "ours-plain")
TRAINERS = ("trainer-longest", "trainer-batch", "trainer-grouped")


@dataclass(frozen=True)
class TuneShape:
    """A task to measure.

    Attributes:
        texts: ``pairs`` (verse and translation, next verse or another: three classes), ``sentences`` (SIB-200's seven
            topics) or ``passages`` (which of five books).
        max_length: longest example in tokens, and what Trainer pads to.
        batch: examples a step.
    """

    texts: str
    max_length: int
    batch: int


#: By name.
TUNE_SHAPES = {
    "xnli": TuneShape("pairs", 128, 32),
    "topic": TuneShape("sentences", 128, 32),
    "long": TuneShape("passages", 384, 8),
}


@dataclass
class Tuning:
    """What was measured of one shape.

    Attributes:
        shape: the task.
        steps: steps that are timed.
        seconds: of the timed steps, by side, one a repeat.
        threads: by side.
        peak_mb: largest resident memory by side.
        score: accuracy on held-out examples after the steps, by side.
        difference: largest relative difference of a step's loss between ours and Trainer on the same batches.
    """

    shape: TuneShape
    steps: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    threads: dict[str, int] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    score: dict[str, float] = field(default_factory=dict)
    difference: float = 0.0

    def rate(self, side: str) -> float:
        """Examples per second of a side, the median of its runs."""
        return self.steps * self.shape.batch / statistics.median(self.seconds[side])

    def ratios(self, side: str) -> list[float]:
        """How many times faster ours is than a side, in neighbouring runs."""
        return [theirs / own for theirs, own in zip(self.seconds[side], self.seconds["ours"], strict=True)]


def examples(shape: TuneShape, count: int) -> list[TextExample]:
    """``count`` labelled texts of a shape."""
    from interlingua.data import read_packed
    from interlingua.tasks import TextExample

    chance = np.random.default_rng(SEED)
    if shape.texts == "sentences":
        rows = [row.split("\t") for row in read_packed("sib200.tsv.zst").splitlines()[1:]]
        return [TextExample(rows[i][4], rows[i][0], rows[i][3]) for i in chance.permutation(len(rows))[:count]]
    header, *lines = (row.split("\t") for row in read_packed("bible.tsv.zst").splitlines())
    if shape.texts == "passages":
        books = ("Gen", "Isa", "Ps", "Matt", "Acts")
        starts = [i for i in range(len(lines) - 12) if lines[i][0].split(".")[0] in books]
        return [
            TextExample(
                " ".join(filter(None, (line[1] for line in lines[i : i + 12]))), "en", lines[i][0].split(".")[0]
            )
            for i in chance.choice(starts, count)
        ]
    pairs: list[TextExample] = []
    while len(pairs) < count:
        at, (one, other) = chance.integers(len(lines) - 1), 1 + chance.permutation(len(header) - 1)[:2]
        label = ("same", "next", "other")[len(pairs) % 3]
        there = {"same": at, "next": at + 1, "other": chance.integers(len(lines))}[label]
        if 0 < len(lines[at][one]) <= 130 and 0 < len(lines[there][other]) <= 90:  # about XNLI's lengths
            pairs.append(TextExample(lines[at][one], header[one], label, lines[there][other]))
    return pairs


def compare_tuning(
    shape: TuneShape,
    *,
    model: str = "e5-small",
    freeze: str = "embeddings",
    repeats: int = 3,
    steps: int = 5,
    warm: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> Tuning:
    """Measure the sides in turn.

    Args:
        shape: the task.
        model: name or folder.
        freeze: frozen part, as in ``tune.freeze``, on every side.
        repeats: runs a side.
        steps: steps that are timed.
        warm: steps before them.
        say: told in a line what was measured.

    Raises:
        MissingExtraError: Trainer needs accelerate.
        RunError: a side failed, or their losses or scores differ.
    """
    import importlib.util

    from interlingua.models.encoder import resolve
    from interlingua.train.threads import available_cores

    if importlib.util.find_spec("accelerate") is None:
        raise MissingExtraError("transformers.Trainer needs accelerate", next_step="pip install accelerate")
    resolve(model)
    found, rows = Tuning(shape, steps), dict[str, dict[str, Any]]()
    work = {"shape": asdict(shape), "model": model, "freeze": freeze, "steps": steps, "warm": warm}
    cores = available_cores()
    if cores > 1:
        tried = {count: ask(__name__, "trainer-batch", work | {"threads": count})["seconds"] for count in (1, cores)}
        cores = min(tried, key=lambda count: tried[count])
    for _ in range(repeats):
        for side in ("ours", *TRAINERS, "ours-plain"):
            row = rows[side] = ask(__name__, side, work | {"threads": 0 if side in OURS else cores})
            found.seconds.setdefault(side, []).append(row["seconds"])
            found.peak_mb[side] = max(found.peak_mb.get(side, 0.0), row["peak_mb"])
            found.threads[side], found.score[side] = row["threads"], row["score"]
            say(f"{side}: {steps * shape.batch / row['seconds']:,.1f} examples/s, {row['peak_mb']:,.0f} MB")
    for side in TRAINERS[:2]:
        for own, other in zip(rows["ours"]["losses"], rows[side]["losses"], strict=True):
            found.difference = max(found.difference, abs(own / other - 1))
    if found.difference > TOLERANCE:
        raise RunError(
            f"the losses of the sides differ by {found.difference:.1e}: "
            f"{ {side: row['losses'] for side, row in rows.items()} }",
            expected=f"at most {TOLERANCE:.0e}",
            next_step="report this: one of the two computes something else",
        )
    return found


def _parts(work: dict[str, Any]) -> tuple[Any, ...]:
    """Encoder, task, recipe, training examples and held-out ones."""
    from interlingua.models.encoder import load
    from interlingua.recipe_transfer import TuneRecipe
    from interlingua.tasks import Classify

    shape, steps = TuneShape(**work["shape"]), work["steps"] + work["warm"]
    every = examples(shape, steps * shape.batch + HELD_OUT)
    task = Classify(sorted({e.label for e in every}), name="bench")
    recipe = TuneRecipe(
        epochs=1,
        batch_size=shape.batch,
        head_lr=None,
        warmup=0.0,
        freeze=work["freeze"],
        max_length=shape.max_length,
        threads=work["threads"],
    )
    return load(work["model"]), task, recipe, every[HELD_OUT:], every[:HELD_OUT]


def _row(
    work: dict[str, Any], marks: list[float], losses: list[float], model: Any, tokenizer: Any, task: Any, held_out: Any
) -> dict[str, Any]:
    import torch

    threads = torch.get_num_threads()
    encoded, _ = task.encode(held_out, tokenizer, max_length=work["shape"]["max_length"])
    score = task.score(task.predict(model.eval(), encoded, tokenizer), encoded)["accuracy"]
    return {"seconds": marks[-1] - marks[work["warm"]], "losses": losses, "threads": threads, "score": score}


def ours(work: dict[str, Any]) -> dict[str, Any]:
    """Time the steps of :func:`interlingua.transfer.finetune.tune_once`."""
    from interlingua.train.loop import Progress
    from interlingua.transfer.tune import tune_once

    encoder, task, recipe, train, held_out = _parts(work)
    marks, losses = [time.perf_counter()], []

    def on_step(progress: Progress) -> None:
        marks.append(time.perf_counter())
        losses.append(progress.losses["bench"])

    tuned = tune_once(encoder, task, train, recipe, seed=SEED, on_step=on_step)
    return _row(work, marks, losses, tuned.model, tuned.tokenizer, task, held_out)


def trainer(work: dict[str, Any], padding: str) -> dict[str, Any]:
    """Time Trainer's steps on the batches that our stream draws."""
    import torch
    from transformers import DataCollatorWithPadding

    from interlingua.shards.sampling import keyed_generator
    from interlingua.transfer.freezing import freeze
    from interlingua.transfer.heads import new_head
    from interlingua.transfer.methods import rate_of

    encoder, task, recipe, train, held_out = _parts(work)
    torch.set_num_threads(work["threads"])
    model, tokenizer = new_head(encoder, task, seed=SEED)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    freeze(model, recipe.freeze)
    encoded, _ = task.encode(train, tokenizer, max_length=recipe.max_length)
    order = keyed_generator(SEED, 0, 7).permutation(len(encoded))
    if padding == "grouped":
        order = np.argsort([len(e.tokens) for e in encoded], kind="stable")
    rows = [{"input_ids": encoded[i].tokens.tolist(), "label": int(encoded[i].labels[0])} for i in order]
    if encoded[0].types is not None:
        rows = [row | {"token_type_ids": encoded[i].types.tolist()} for row, i in zip(rows, order, strict=True)]
    if padding == "grouped":  # any number of steps must see short and long batches alike
        batches = [rows[i : i + recipe.batch_size] for i in range(0, len(rows), recipe.batch_size)]
        rows = [row for i in np.random.default_rng(SEED).permutation(len(batches)) for row in batches[i]]

    to = {"padding": "max_length", "max_length": recipe.max_length} if padding == "longest" else {"padding": True}
    marks, losses = run_trainer(
        model,
        rows,
        DataCollatorWithPadding(tokenizer, **to),
        per_device_train_batch_size=recipe.batch_size,
        max_steps=work["steps"] + work["warm"],
        learning_rate=rate_of(recipe),
        weight_decay=recipe.weight_decay,
        adam_epsilon=1e-6,
        seed=SEED,
    )
    return _row(work, marks, losses, model, tokenizer, task, held_out)


def main() -> None:
    """Run the side that the command line names."""
    answer(
        {"ours": ours, "ours-plain": with_torchs_products(ours)}
        | {name: partial(trainer, padding=name.removeprefix("trainer-")) for name in TRAINERS}
    )
