"""The one loop: steps, accumulation, clipping, schedules, logging, held-out loss, saving, exact resume.

In: a model, something that gives batch t, and a mixture of objectives the loop knows nothing about. Out: checkpoints
in a run folder. Decisions: batch, masks, dropout and learning rate of step t follow from (seed, t), so a resumed run
is bit for bit the run that was never stopped; ranks share the rows of one global batch, so their number changes sums
by their rounding alone; batches are prepared in another thread while the step before is computed. Price: every rank
makes the whole batch, and the same number of threads must be used after a resume (it is kept in the checkpoint).
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
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from interlingua.batch import Batch
from interlingua.errors import RecipeError, TrainingError
from interlingua.models.separate import language_parts
from interlingua.objectives.base import Objective, Part, Targets
from interlingua.objectives.ranks import rank_and_world, sum_over_ranks
from interlingua.recipe import TrainRecipe
from interlingua.run import Run
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Layout
from interlingua.train.dist import Spread, any_rank, of_first_rank, pick_device
from interlingua.train.faults import REMEMBERED, fault, suspects
from interlingua.train.flops import FlopCounter
from interlingua.train.heldout import HeldOut, LossOf
from interlingua.train.meters import Meters, Readings, TensorBoard
from interlingua.train.optim import build_optimizer, learning_rate_factor
from interlingua.train.prefetch import Prefetcher
from interlingua.train.saving import State, resume, save
from interlingua.train.threads import available_cores, choose_threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["BatchSource", "Objectives", "Progress", "TrainResult", "train"]


class BatchSource(Protocol):
    """Anything that gives batch t."""

    def batch(self, t: int, layout: Layout | None = None) -> Batch:
        """Global batch ``t``."""
        ...


class Objectives(Protocol):
    """Anything that says what step t learns."""

    @property
    def objectives(self) -> Sequence[Objective]:
        """All that there are."""
        ...

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What learns beside the model, by name."""
        ...

    def parts(self, t: int) -> tuple[Part, ...]:
        """The parts of step ``t``."""
        ...


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
        tokens: tokens seen by this process.
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


Prepared = list[tuple[Part, Batch, Targets]]


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


def _autocast(recipe: TrainRecipe, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    # On CPUs bf16 autocast was slower than fp32 for every small model measured, so "auto" means it on GPUs only.
    wanted = recipe.precision == "bf16" or (recipe.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if wanted else contextlib.nullcontext()


def _step(
    spread: Spread, prepared: Prepared, recipe: TrainRecipe, key: Callable[[int, int], int], *, languages: int = 0
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Gradients of one step into ``.grad``, averaged over the ranks.

    Args:
        spread: the network, as far as this rank has it.
        prepared: batch and targets of every part.
        recipe: in how many pieces.
        key: seed of dropout, from the number of the part and of the piece of it.
        languages: how many there are.

    Returns:
        Of the whole batch, by objective: mean losses; and [2, languages], summed losses and their number.
    """
    world, device = rank_and_world()[1], spread.model.device
    passes = [work for number, one in enumerate(prepared) for work in _passes(number, *one, recipe)]
    names = list(dict.fromkeys(part.objective.name for part, _, _ in prepared))
    # A row an objective: its mean loss, then the sums and counts of the languages.
    found = torch.zeros(len(names), 1 + 2 * languages, dtype=torch.double)
    for place, (number, piece, rows, scale) in enumerate(passes):
        part, batch, targets = prepared[number]
        whole = (rows.start, rows.stop) == (0, batch.rows)
        own = batch if whole else batch.select_rows(rows.start, rows.stop)
        wanted = targets if whole else part.objective.rows(targets, batch, rows.start, rows.stop)
        # Dropout's numbers follow from step and piece, so that a resumed run draws the same ones, on any ranks.
        torch.manual_seed(key(part.index, piece))
        with contextlib.ExitStack() as around:
            if place + 1 < len(passes):
                around.enter_context(spread.unsynced())
            with _autocast(recipe, device):
                loss = spread.loss(part.objective, own.to(device), wanted.to(device))
            # The count is the global batch's: the sum over pieces and ranks is then the mean's exact gradient. The
            # ranks' gradients are averaged, not summed, hence their number.
            share = scale * world / max(1, targets.count)
            (loss.total * (part.weight * share)).backward()  # type: ignore[no-untyped-call]
        row = found[names.index(part.objective.name)]
        row[0] += float(loss.total.detach()) * scale / max(1, targets.count)
        if languages:
            of_N, each_N = loss.languages_N.cpu(), loss.each_N.cpu().double()
            row[1 : 1 + languages].index_add_(0, of_N, each_N * scale)
            row[1 + languages :].index_add_(0, of_N, torch.full_like(each_N, scale))
    found = sum_over_ranks(found.to(device)).cpu() if world > 1 else found
    means = dict(zip(names, found[:, 0].tolist(), strict=True))
    return means, {name: found[i, 1:].view(2, languages) for i, name in enumerate(names)}


def _passes(
    number: int, part: Part, batch: Batch, targets: Targets, recipe: TrainRecipe
) -> list[tuple[int, int, slice, float]]:
    """This rank's forward passes over a part: (number of the part, of the piece, its rows, how much they count)."""
    rank, world = rank_and_world()
    if not part.objective.splittable:
        if recipe.accumulate > 1:
            raise RecipeError(
                f"objective {part.objective.name!r} with {recipe.accumulate} accumulation steps",
                expected="train.accumulate=1: its negatives are the whole batch's",
                where="train.accumulate",
                next_step="set train.accumulate=1, or make train.batch_tokens smaller",
            )
        # Every rank computes the whole loss, from vectors that they made together.
        return [(number, rank, slice(0, batch.rows), 1 / world)]
    pieces = -(-recipe.accumulate // world) * world  # as many on each rank: they meet in every backward pass
    edges = [round(i * batch.rows / pieces) for i in range(pieces + 1)]
    # A piece without rows runs one that counts nothing.
    return [
        (number, i, slice(edges[i], edges[i + 1]), 1.0) if edges[i] < edges[i + 1] else (number, i, slice(0, 1), 0.0)
        for i in range(rank, pieces, world)
    ]


def _trained(model: PreTrainedModel, networks: Mapping[str, nn.Module]) -> list[tuple[str, nn.Parameter]]:
    """Every parameter once, by name: networks may share tensors with the model."""
    seen: set[int] = set()
    named = []
    for prefix, module in (("", model), *((f"{name}.", network) for name, network in networks.items())):
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                named.append((prefix + name, parameter))
    return named


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
    optimizer: torch.optim.Optimizer | None = None,
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
    named = _trained(model, mixture.networks)
    optimizer = optimizer or _optimizer(model, named, recipe)
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

    _training_mode(model, mixture.networks, on=True)
    if device.type == "cpu":
        _set_threads(spread, mixture.networks, recipe, state, make)
    if rank_and_world()[1] > 1:
        spread.replicate(all_used=_all_used(spread, mixture, named, recipe, make(0)))
    checkpoint = run.checkpoints / str(run.index()["last"]) if run and run.index() else None
    parameters = [p for _, p in named]
    languages = list(getattr(source, "languages", ()))
    board = TensorBoard(run, state.step) if run and run.leads and recipe.tensorboard else None
    meters = Meters(device, FlopCounter(model, mixture.networks) if run else None, ranks=rank_and_world()[1])
    prefetcher = Prefetcher(make, state.step, recipe.steps)
    reason, last_held_out = "done", None
    try:
        with _sigterm(caught=run is not None) as asked_to_stop:
            while state.step < recipe.steps and not _tired(state, recipe):
                t = state.step
                prepared = prefetcher.get(t)
                factor = learning_rate_factor(
                    t, recipe.steps, schedule=recipe.schedule, warmup=recipe.warmup, decay=recipe.decay
                )
                for group in optimizer.param_groups:
                    group["lr"] = group["peak_lr"] * factor
                losses, tally = _step(spread, prepared, recipe, _dropout_key(seed, t), languages=len(languages))
                norm = _clipped(parameters, recipe.clip)
                skipped = _left_out(spread, prepared, source, recipe, state, losses, norm)
                if not skipped:
                    optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                state.step += 1
                _count_languages(state, prepared)
                _add_tally(state, tally)
                finished = state.step == recipe.steps
                if evaluate and (state.step % recipe.evaluate_every == 0 or finished):
                    _training_mode(model, mixture.networks, on=False)
                    held_out = last_held_out = evaluate(spread.loss)
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
    finally:
        prefetcher.close()
        if board:
            board.close()
    _training_mode(model, mixture.networks, on=False)
    return TrainResult(state.step, reason, meters.tokens, meters.seconds, checkpoint, last_held_out)


def _optimizer(
    model: PreTrainedModel, named: Sequence[tuple[str, nn.Parameter]], recipe: TrainRecipe
) -> torch.optim.Optimizer:
    """AdamW over all parameters; token tables may have a rate of their own."""
    parts = language_parts(model)
    tables = {id(model.get_input_embeddings().weight), *(id(t.weight) for t in (parts.tables if parts else ()))}
    return build_optimizer(
        [
            ([(n, p) for n, p in named if id(p) not in tables], recipe.lr),
            ([(n, p) for n, p in named if id(p) in tables], recipe.embedding_lr or recipe.lr),
        ],
        weight_decay=recipe.weight_decay,
        betas=(recipe.beta1, recipe.beta2),
        epsilon=recipe.epsilon,
    )


def _dropout_key(seed: int, t: int) -> Callable[[int, int], int]:
    return lambda part, piece: int(keyed_generator(seed, t, 6, part, piece).integers(2**62))


def _clipped(parameters: Sequence[nn.Parameter], largest: float) -> float:
    """The norm of the gradient before it was clipped."""
    norm = torch.nn.utils.clip_grad_norm_(parameters, largest or math.inf, foreach=True)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def _all_used(
    spread: Spread,
    mixture: Objectives,
    named: Sequence[tuple[str, nn.Parameter]],
    recipe: TrainRecipe,
    prepared: Prepared,
) -> bool:
    """Whether every step has a gradient to every parameter: certain only of one objective over one network."""
    if len(mixture.objectives) > 1 or mixture.networks:
        return False
    _step(spread, prepared, recipe, _dropout_key(0, 0))
    used = all(parameter.grad is not None for _, parameter in named)
    for _, parameter in named:
        parameter.grad = None
    return used


def _left_out(
    spread: Spread,
    prepared: Prepared,
    source: BatchSource,
    recipe: TrainRecipe,
    state: State,
    losses: dict[str, float],
    norm: float,
) -> str:
    """Why a step is left out, and where the text is that made it so; empty for one that is taken.

    Raises:
        TrainingError: something is wrong with the step and the recipe says stop.
    """
    wrong = fault(losses, norm, state.norms, recipe.spike)
    if not wrong:
        if recipe.spike:
            state.norms = [*state.norms, norm][-REMEMBERED:]
        return ""
    where = suspects(spread.loss, spread.model, prepared, source, state.step)
    if recipe.on_bad == "stop":
        spikes = f", norms up to {recipe.spike:g} medians" if recipe.spike else ""
        raise TrainingError(
            f"step {state.step + 1}: {wrong}",
            expected=f"finite losses and gradients{spikes}",
            where=where,
            next_step="look at the text there; train.on_bad=skip leaves such steps out, and a smaller train.lr or "
            "train.clip makes them rarer",
        )
    return f"{wrong}; {where}"


def _training_mode(model: PreTrainedModel, networks: Mapping[str, nn.Module], *, on: bool) -> None:
    for module in (model, *networks.values()):
        module.train(on)


def _set_threads(
    spread: Spread,
    networks: Mapping[str, nn.Module],
    recipe: TrainRecipe,
    state: State,
    make: Callable[[int], Prepared],
) -> None:
    if recipe.threads or state.threads:
        state.threads = recipe.threads or min(state.threads, available_cores())
        torch.set_num_threads(state.threads)
        return
    prepared = make(0)
    # A trial must leave no trace: queues and momentum copies move on with every loss.
    kept = [(tensor, tensor.clone()) for network in networks.values() for tensor in network.state_dict().values()]

    def trial() -> None:
        _step(spread, prepared, recipe, _dropout_key(0, 0))
        for module in (spread.model, *networks.values()):
            module.zero_grad(set_to_none=True)

    state.threads = of_first_rank(choose_threads(trial, repeats=2))
    torch.set_num_threads(state.threads)
    for tensor, before in kept:
        tensor.copy_(before)


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
