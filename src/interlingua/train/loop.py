"""The one loop: steps, accumulation, clipping, schedules, logging, held-out loss, saving, exact resume.

In: a model, something that gives batch t, and a mixture of objectives the loop knows nothing about. Out: checkpoints
in a run folder. Decisions: batch, masks, dropout and learning rate of step t follow from (seed, t), so a resumed run
is, on CPUs bit for bit, the run that was never stopped; ranks share the rows of one global batch, so their number
changes sums by their rounding alone; batches are prepared in another thread while the step before is computed. Price:
every rank makes the whole batch, and as many threads are needed after a resume (they are kept in the checkpoint).
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from interlingua.batch import Batch
from interlingua.models.varlen import varlen
from interlingua.objectives.base import Loss, Objective
from interlingua.objectives.ranks import rank_and_world
from interlingua.recipe import TrainRecipe
from interlingua.run import Run
from interlingua.shards.sampling import keyed_generator
from interlingua.train.dist import Spread, any_rank, pick_device
from interlingua.train.faults import left_out
from interlingua.train.flops import FlopCounter
from interlingua.train.heldout import HeldOut, LossOf
from interlingua.train.meters import Meters, Readings, TensorBoard
from interlingua.train.optim import Joined, learning_rate_factor
from interlingua.train.prefetch import Prefetcher
from interlingua.train.saving import State, resume, save
from interlingua.train.setup import all_used, by_text, compile_layers, optimizer_of, set_threads, trained
from interlingua.train.step import BatchSource, Objectives, Prepared, autocast, clipped, dropout_key, step

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Progress", "TrainResult", "train"]


@dataclass(frozen=True)
class Progress:
    """What the loop tells after a step.

    Attributes:
        step: steps done.
        steps: steps of the run.
        losses: mean loss by objective, of this step.
        readings: speed, utilisation, memory and so on.
        held_out: held-out losses, at evaluation steps.
    """

    step: int
    steps: int
    losses: dict[str, float]
    readings: Readings
    held_out: HeldOut | None = None

    @property
    def tokens_per_second(self) -> float:
        """Of all ranks together, since the last step."""
        return self.readings.tokens_per_second


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: steps done.
        reason: ``"done"``, ``"stopped"`` (SIGTERM), or ``"patience"``.
        tokens: tokens of all ranks since this process began.
        seconds: spent in the loop by this process.
        checkpoint: the last checkpoint, if a run folder was given.
        held_out: the last held-out losses.
    """

    step: int
    reason: str
    tokens: int
    seconds: float
    checkpoint: Path | None
    held_out: HeldOut | None


@contextlib.contextmanager
def _sigterm(*, caught: bool) -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM has come; the default action is put back at the end.

    Not caught where nothing can be saved: then the signal ends the process as it always does.
    """
    asked = threading.Event()
    if not caught or threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # only the main thread may set handlers
        return

    def note(_signal: int, _frame: FrameType | None) -> None:
        asked.set()

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    source: BatchSource,
    mixture: Objectives,
    recipe: TrainRecipe,
    *,
    seed: int,
    run: Run | None = None,
    evaluate: Callable[[LossOf], HeldOut] | None = None,
    on_step: Callable[[Progress], None] | None = None,
    optimizer: torch.optim.Optimizer | Joined | None = None,
) -> TrainResult:
    """Train until the steps are done, the patience is over, or SIGTERM comes (to any of the ranks).

    Called by every rank of a process group alike, all with the same network and arguments.

    Args:
        model: trained in place.
        tokenizer: saved beside the model.
        source: gives batch t.
        mixture: says what step t learns.
        recipe: steps, rates, accumulation, saving.
        seed: of batches' masks and of dropout.
        run: where checkpoints and metrics go; without one nothing is written. A run with a checkpoint is resumed.
        evaluate: measures held-out losses every ``evaluate_every`` steps, by means of a function that computes one.
        on_step: called after every step.
        optimizer: with ``peak_lr`` in its groups; AdamW over all parameters by default.

    Raises:
        SaveError: disk full; the last good checkpoint stays.
        CheckpointError: the run's last checkpoint cannot be resumed from.
        TrainingError: a loss or gradient that is not finite, or a spike, and the recipe says stop.
    """
    device = pick_device(recipe.device)
    model.to(device)
    for network in mixture.networks.values():
        network.to(device)
    spread = Spread(model, mixture.networks, recipe.parallel)
    named = trained(model, mixture.networks)
    optimizer = optimizer or optimizer_of(spread, named, recipe)
    state = resume(run, spread, mixture.networks, named, optimizer) if run else None
    if state is None:
        state = State()
        if run:
            run.rewind_log(0)  # a process killed before its first checkpoint leaves rows of steps that come again

    def make(t: int) -> Prepared:
        prepared = []
        for part in mixture.parts(t):
            batch = source.batch(t, part.objective.layout)
            chance = keyed_generator(seed, t, 5, part.index)
            prepared.append((part, batch, part.objective.prepare(batch, chance, t / recipe.steps)))
        return prepared

    def loss_of(objective: Objective, batch: Batch, targets: Any) -> Loss:
        with autocast(recipe, device):
            return spread.loss(objective, batch, targets)

    checkpoint = run.checkpoints / str(run.index()["last"]) if run and run.index() else None
    parameters = [p for _, p in named]
    languages = list(getattr(source, "languages", ()))
    reason, last_held_out = "done", None
    with contextlib.ExitStack() as running:
        running.enter_context(varlen(model, wanted=by_text(recipe, model, device)))
        compile_layers(recipe, model)
        _training_mode(model, mixture.networks, on=True)
        if device.type == "cpu":
            set_threads(spread, mixture.networks, recipe, state, make)
        if rank_and_world()[1] > 1 and not spread.sharded:
            spread.replicate(all_used=all_used(spread, mixture, named, recipe, make(0)))
        board = TensorBoard(run, state.step) if run and run.leads and recipe.tensorboard else None
        if board:
            running.callback(board.close)
        meters = Meters(device, FlopCounter.of(model, mixture.networks) if run else None, ranks=rank_and_world()[1])
        prefetcher = Prefetcher(make, state.step, recipe.steps)
        running.callback(prefetcher.close)
        asked_to_stop = running.enter_context(_sigterm(caught=run is not None))
        while state.step < recipe.steps and not _tired(state, recipe):
            t = state.step
            prepared = prefetcher.get(t)
            factor = learning_rate_factor(
                t, recipe.steps, schedule=recipe.schedule, warmup=recipe.warmup, decay=recipe.decay
            )
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            losses, tally = step(spread, prepared, recipe, dropout_key(seed, t), languages=len(languages))
            norm = clipped(parameters, recipe.clip)
            skipped = left_out(loss_of, model, prepared, source, recipe, state, losses, norm)
            if not skipped:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            state.step += 1
            _count_languages(state, prepared)
            if not skipped:
                _add_tally(state, tally)
            finished = state.step == recipe.steps
            if evaluate and (state.step % recipe.evaluate_every == 0 or finished):
                _training_mode(model, mixture.networks, on=False)
                held_out = last_held_out = evaluate(loss_of)
                _training_mode(model, mixture.networks, on=True)
                _note_best(state, held_out)
            else:
                held_out = None
            readings = meters.read(prepared, prefetcher.waited)
            progress = Progress(state.step, recipe.steps, losses, readings, held_out)
            if run:
                row = _row(progress, norm, recipe.lr * factor, state, languages)
                run.log(row | ({"skipped": skipped} if skipped else {}))
                if board:
                    board.write(row)
                if held_out is not None:
                    state.tally = {}
            if on_step:
                on_step(progress)
            tired, stop = _tired(state, recipe), any_rank(asked_to_stop())
            if run and (state.step % recipe.save_every == 0 or finished or tired or stop
                        or (held_out is not None and state.best_step == state.step)):  # fmt: skip
                checkpoint = save(run, spread, tokenizer, mixture.networks, named, optimizer, state)
            if stop and not finished:
                reason = "stopped"
                break
        if state.step < recipe.steps and reason == "done":
            reason = "patience"
    _training_mode(model, mixture.networks, on=False)
    return TrainResult(state.step, reason, meters.tokens, meters.seconds, checkpoint, last_held_out)


def _training_mode(model: PreTrainedModel, networks: Mapping[str, nn.Module], *, on: bool) -> None:
    for module in (model, *networks.values()):
        module.train(on)


def _tired(state: State, recipe: TrainRecipe) -> bool:
    """Whether the early-stopping rule says enough; asked before a step, so that a run that ended stays ended."""
    return 0 < recipe.patience <= state.stale


def _note_best(state: State, held_out: HeldOut) -> None:
    if held_out.mean < state.best:
        state.best, state.best_step, state.stale = held_out.mean, state.step, 0
    else:
        state.stale += 1


def _add_tally(state: State, tally: dict[str, torch.Tensor]) -> None:
    for name, sums in tally.items():
        if sums.numel():
            before = state.tally.get(name)
            state.tally[name] = (sums if before is None else sums + torch.tensor(before, dtype=sums.dtype)).tolist()


def _count_languages(state: State, prepared: Prepared) -> None:
    for _, batch, _ in prepared:
        counts = torch.bincount(batch.languages_BL[batch.segments_BL > 0], minlength=len(state.drawn)).tolist()
        before = state.drawn + [0] * (len(counts) - len(state.drawn))
        state.drawn = [a + b for a, b in zip(before, counts, strict=True)]


def _row(progress: Progress, norm: float, rate: float, state: State, languages: Sequence[str]) -> dict[str, Any]:
    readings = progress.readings
    row: dict[str, Any] = {
        "step": progress.step,
        "loss": {k: round(v, 6) for k, v in progress.losses.items() if math.isfinite(v)},
        "lr": rate,
        "grad_norm": round(norm, 6) if math.isfinite(norm) else None,
        "tokens_per_second": round(progress.tokens_per_second, 1),
        "padding": round(readings.padding, 4),
        "data_wait": round(readings.data_wait, 4),
        "memory_mb": round(readings.memory_mb),
    }
    if readings.flops_utilisation is not None:
        row["flops_utilisation"] = float(f"{readings.flops_utilisation:.3g}")
    if progress.held_out is not None:
        row["held_out"] = progress.held_out.losses
        row["bits_per_character"] = progress.held_out.bits_per_character
        row["loss_by_language"] = {
            name: {lang: s / n for lang, s, n in zip(languages, sums, counts, strict=True) if n}
            for name, (sums, counts) in state.tally.items()
        }
        if languages:
            drawn = state.drawn + [0] * (len(languages) - len(state.drawn))
            row["drawn_tokens"] = dict(zip(languages, drawn, strict=True))
    return row
