"""The one loop: steps, accumulation, clipping, schedules, logging, held-out loss, saving, exact resume.

In: a model, something that gives batch t, and a mixture of objectives the loop knows nothing about. Out: checkpoints
in a run folder. Decisions: batch, masks, dropout and learning rate of step t follow from (seed, t), so a resumed run
is bit for bit the run that was never stopped, and a checkpoint's extra state is the optimiser's moments and one
number; batches are prepared in another thread while the step before is computed. Price: the same number of threads
must be used after a resume (it is kept in the checkpoint).

    checkpoints/step-000123/            Hugging Face files
                            NAME/       the same, for an objective's own network of that name (an ELECTRA generator)
                            LANG/       the same with the parts that a language has of its own
                            training/   optimizer.safetensors, state.json, NAME.safetensors for objectives' own networks
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from interlingua.batch import Batch
from interlingua.errors import CheckpointError, RecipeError, TrainingError
from interlingua.models.checkpoint import write_checkpoint
from interlingua.models.separate import LanguageParts, language_parts
from interlingua.objectives.base import Part, Targets
from interlingua.objectives.ranks import rank_and_world, sum_over_ranks
from interlingua.recipe import TrainRecipe
from interlingua.run import Run, atomic_folder
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Layout
from interlingua.train.faults import REMEMBERED, fault, suspects
from interlingua.train.heldout import HeldOut
from interlingua.train.optim import build_optimizer, learning_rate_factor
from interlingua.train.threads import choose_threads

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
        tokens_per_second: since the last report.
        padding: share of the batch that was padding.
        held_out: held-out losses, at evaluation steps.
    """

    step: int
    steps: int
    losses: dict[str, float]
    tokens_per_second: float
    padding: float
    held_out: HeldOut | None = None


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


@dataclass
class _State:
    """What a resumed run must know beyond the weights."""

    step: int = 0
    threads: int = 0
    best: float = math.inf
    best_step: int = 0
    stale: int = 0
    drawn: list[int] = field(default_factory=list)
    """Tokens seen since the run began, by index of the language."""
    norms: list[float] = field(default_factory=list)
    """Gradient norms of the last steps, for a recipe that watches for spikes."""


Prepared = list[tuple[Part, Batch, Targets]]


class _Prefetcher:
    """Prepares the batches of the next steps in one other thread."""

    def __init__(self, make: Callable[[int], Prepared], start: int, stop: int, ahead: int = 2) -> None:
        self._make, self._stop, self._ahead = make, stop, ahead
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._waiting = {t: self._pool.submit(make, t) for t in range(start, min(start + ahead, stop))}

    def get(self, t: int) -> Prepared:
        if t + self._ahead < self._stop:
            self._waiting[t + self._ahead] = self._pool.submit(self._make, t + self._ahead)
        return self._waiting.pop(t).result()

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


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


def pick_device(name: str) -> torch.device:
    """``auto`` is the first GPU, else the CPU."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def _autocast(recipe: TrainRecipe, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    # On CPUs bf16 autocast was slower than fp32 for every small model measured, so "auto" means it on GPUs only.
    wanted = recipe.precision == "bf16" or (recipe.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if wanted else contextlib.nullcontext()


def _step(model: PreTrainedModel, prepared: Prepared, recipe: TrainRecipe) -> dict[str, float]:
    """Gradients of this rank's share of one step into ``.grad``; mean losses by objective of the whole batch."""
    rank, world = rank_and_world()
    device = model.device
    losses: dict[str, float] = {}
    for part, batch, targets in prepared:
        objective, pieces = part.objective, recipe.accumulate * world
        if not objective.splittable:
            if recipe.accumulate > 1:
                raise RecipeError(
                    f"objective {objective.name!r} with {recipe.accumulate} accumulation steps",
                    expected="train.accumulate=1: its negatives are the whole batch's",
                    where="train.accumulate",
                    next_step="set train.accumulate=1, or make train.batch_tokens smaller",
                )
            # Every rank computes the whole loss, from vectors that they made together.
            spans, share = [(0, batch.rows)], 1 / world
        else:
            share = 1.0
            edges = [round(i * batch.rows / pieces) for i in range(pieces + 1)]
            spans = list(itertools.pairwise(edges))[rank::world]
        total = 0.0
        for start, stop in spans:
            if start == stop:
                continue
            whole = (start, stop) == (0, batch.rows)
            rows = batch if whole else batch.select_rows(start, stop)
            wanted = targets if whole else objective.rows(targets, batch, start, stop)
            with _autocast(recipe, device):
                loss = objective.loss(model, rows.to(device), wanted.to(device))
            # The count is the global batch's: the sum over pieces and ranks is then the mean's exact gradient.
            (loss.total * (part.weight * share / max(1, targets.count))).backward()  # type: ignore[no-untyped-call]
            total += float(loss.total.detach()) * share
        losses[objective.name] = total / max(1, targets.count)
    if world > 1:
        summed = sum_over_ranks(torch.tensor(list(losses.values()), dtype=torch.double, device=device))
        losses = dict(zip(losses, summed.tolist(), strict=True))
    return losses


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


def _sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    import torch.distributed as dist

    for parameter in parameters:
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)


def _save(
    run: Run,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    networks: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    state: _State,
) -> Path:
    from safetensors.torch import save_file, save_model
    from transformers import PreTrainedModel

    folder = run.checkpoints / f"step-{state.step:06d}"
    with atomic_folder(folder) as temporary:
        write_checkpoint(temporary, model, tokenizer)
        training = temporary / "training"
        training.mkdir()
        moments: dict[str, torch.Tensor] = {}
        for index, entry in optimizer.state_dict()["state"].items():
            moments |= {f"{index}.{key}": value for key, value in entry.items()}
        save_file(moments, training / "optimizer.safetensors")
        for name, network in networks.items():
            save_model(network, str(training / f"{name}.safetensors"))
            if isinstance(network, PreTrainedModel):
                write_checkpoint(temporary / name, network, tokenizer)
            if isinstance(network, LanguageParts):
                for index in network.indices:
                    with network.speaking(model, language := network.languages[index]):
                        write_checkpoint(temporary / language, model, tokenizer)
        (training / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
    index = run.index() | {"last": folder.name}
    if state.best_step == state.step:
        index |= {"best": folder.name, "best_value": state.best}
    run.write_index(index)
    return folder


def _resume(
    run: Run, model: PreTrainedModel, networks: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> _State | None:
    """Load the last checkpoint into model, objectives' networks and optimiser, if there is one."""
    from safetensors.torch import load_file, load_model

    last = run.index().get("last")
    if last is None:
        return None
    folder = run.checkpoints / str(last)
    try:
        state = _State(**json.loads((folder / "training" / "state.json").read_text(encoding="utf-8")))
        weights = load_file(folder / "model.safetensors")
        moments = load_file(folder / "training" / "optimizer.safetensors")
        for name, network in networks.items():
            load_model(network, folder / "training" / f"{name}.safetensors", device=str(model.device))
    except Exception as error:  # a missing or damaged file, in any of the libraries' own words
        raise CheckpointError(
            f"checkpoint {last!r} cannot be resumed from: {error}",
            expected="model.safetensors and training/",
            where=str(folder),
            next_step="remove the run folder and start again, or restore the files",
        ) from error
    own = model.state_dict()
    misshapen = [key for key, value in weights.items() if key in own and own[key].shape != value.shape]
    fitting = {key: value for key, value in weights.items() if key not in misshapen}
    missing, unexpected = model.load_state_dict(fitting, strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", None) or getattr(model, "_tied_weights_keys", None) or ())
    if wrong := {*misshapen, *unexpected, *missing} - tied:
        raise CheckpointError(
            f"checkpoint {last!r} does not fit the network: {sorted(wrong)[:3]}",
            where=str(folder),
            next_step="the recipe's model changed; start a new run folder",
        )
    per_parameter: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in moments.items():
        index, name = key.split(".", 1)
        per_parameter.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": per_parameter, "param_groups": optimizer.state_dict()["param_groups"]})
    run.rewind_log(state.step)
    return state


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    source: BatchSource,
    mixture: Objectives,
    recipe: TrainRecipe,
    *,
    seed: int,
    run: Run | None = None,
    evaluate: Callable[[PreTrainedModel], HeldOut] | None = None,
    on_step: Callable[[Progress], None] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> TrainResult:
    """Train until the steps are done, the patience is over, or SIGTERM comes.

    Args:
        model: trained in place.
        tokenizer: saved beside the model.
        source: gives batch t.
        mixture: says what step t learns.
        recipe: steps, rates, accumulation, saving.
        seed: of batches' masks and of dropout.
        run: where checkpoints and metrics go; without one nothing is written. A run with a checkpoint is resumed.
        evaluate: measures held-out losses every ``evaluate_every`` steps.
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
    named = _trained(model, mixture.networks)
    parts = language_parts(model)
    tables = {id(model.get_input_embeddings().weight), *(id(t.weight) for t in (parts.tables if parts else ()))}
    optimizer = optimizer or build_optimizer(
        [
            ([(n, p) for n, p in named if id(p) not in tables], recipe.lr),
            ([(n, p) for n, p in named if id(p) in tables], recipe.embedding_lr or recipe.lr),
        ],
        weight_decay=recipe.weight_decay,
        betas=(recipe.beta1, recipe.beta2),
        epsilon=recipe.epsilon,
    )
    state = _resume(run, model, mixture.networks, optimizer) if run else None
    if state is None:
        state = _State()
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
        _set_threads(model, mixture.networks, recipe, state, make)
    checkpoint = run.checkpoints / str(run.index()["last"]) if run and run.index() else None
    prefetcher = _Prefetcher(make, state.step, recipe.steps)
    reason, tokens, last_held_out = "done", 0, None
    begin = last_report = time.perf_counter()
    tokens_then = 0
    parameters = [p for _, p in named]
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
                # Dropout's numbers follow from the step, so that a resumed run draws the same ones.
                torch.manual_seed(int(keyed_generator(seed, t, 6, rank_and_world()[0]).integers(2**62)))
                losses = _step(model, prepared, recipe)
                if rank_and_world()[1] > 1:
                    _sum_gradients(parameters)
                norm = float(torch.nn.utils.clip_grad_norm_(parameters, recipe.clip or math.inf, foreach=True))
                skipped = _left_out(model, prepared, source, recipe, state, losses, norm)
                if not skipped:
                    optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                state.step += 1
                _count_languages(state, prepared)
                seen = sum(batch.tokens for _, batch, _ in prepared)
                room = sum(batch.tokens_BL.numel() for _, batch, _ in prepared)
                tokens += seen
                finished = state.step == recipe.steps
                if evaluate and (state.step % recipe.evaluate_every == 0 or finished):
                    _training_mode(model, mixture.networks, on=False)
                    held_out = last_held_out = evaluate(model)
                    _training_mode(model, mixture.networks, on=True)
                    _note_best(state, held_out)
                else:
                    held_out = None
                now = time.perf_counter()
                progress = Progress(
                    state.step,
                    recipe.steps,
                    losses,
                    (tokens - tokens_then) / max(now - last_report, 1e-9),
                    1 - seen / max(1, room),
                    held_out,
                )
                last_report, tokens_then = now, tokens
                if run:
                    row = _row(progress, norm, recipe.lr * factor, state, getattr(source, "languages", ()))
                    run.log(row | ({"skipped": skipped} if skipped else {}))
                if on_step:
                    on_step(progress)
                tired, stop = _tired(state, recipe), asked_to_stop()
                if run and (state.step % recipe.save_every == 0 or finished or tired or stop
                            or (held_out is not None and state.best_step == state.step)):  # fmt: skip
                    checkpoint = _save(run, model, tokenizer, mixture.networks, optimizer, state)
                if stop and not finished:
                    reason = "stopped"
                    break
            if state.step < recipe.steps and reason == "done":
                reason = "patience"
    finally:
        prefetcher.close()
    _training_mode(model, mixture.networks, on=False)
    return TrainResult(state.step, reason, tokens, time.perf_counter() - begin, checkpoint, last_held_out)


def _left_out(
    model: PreTrainedModel,
    prepared: Prepared,
    source: BatchSource,
    recipe: TrainRecipe,
    state: _State,
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
    where = suspects(model, prepared, source, state.step)
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
    model: PreTrainedModel,
    networks: Mapping[str, nn.Module],
    recipe: TrainRecipe,
    state: _State,
    make: Callable[[int], Prepared],
) -> None:
    if recipe.threads or state.threads:
        torch.set_num_threads(recipe.threads or state.threads)
        state.threads = recipe.threads or state.threads
        return
    prepared = make(0)
    # A trial must leave no trace: queues and momentum copies move on with every loss.
    kept = [(tensor, tensor.clone()) for network in networks.values() for tensor in network.state_dict().values()]

    def trial() -> None:
        _step(model, prepared, recipe)
        for module in (model, *networks.values()):
            module.zero_grad(set_to_none=True)

    state.threads = choose_threads(trial, repeats=2)
    for tensor, before in kept:
        tensor.copy_(before)


def _tired(state: _State, recipe: TrainRecipe) -> bool:
    """Whether the early-stopping rule says enough; asked before a step, so that a run that ended stays ended."""
    return 0 < recipe.patience <= state.stale


def _note_best(state: _State, held_out: HeldOut) -> None:
    if held_out.mean < state.best:
        state.best, state.best_step, state.stale = held_out.mean, state.step, 0
    else:
        state.stale += 1


def _count_languages(state: _State, prepared: Prepared) -> None:
    for _, batch, _ in prepared:
        counts = torch.bincount(batch.languages_BL[batch.segments_BL > 0], minlength=len(state.drawn)).tolist()
        before = state.drawn + [0] * (len(counts) - len(state.drawn))
        state.drawn = [a + b for a, b in zip(before, counts, strict=True)]


def _row(progress: Progress, norm: float, rate: float, state: _State, languages: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "step": progress.step,
        "loss": {k: round(v, 6) for k, v in progress.losses.items() if math.isfinite(v)},
        "lr": rate,
        "grad_norm": round(norm, 6) if math.isfinite(norm) else None,
        "tokens_per_second": round(progress.tokens_per_second, 1),
        "padding": round(progress.padding, 4),
    }
    if progress.held_out is not None:
        row["held_out"] = progress.held_out.losses
        row["bits_per_character"] = progress.held_out.bits_per_character
        if languages:
            drawn = state.drawn + [0] * (len(languages) - len(state.drawn))
            row["drawn_tokens"] = dict(zip(languages, drawn, strict=True))
    return row
