"""Tasks or languages taught one after another, and what is left of each.

In: a recipe of kind ``continual``. Out: after every step the scores of all steps' tests, also of those to come, in
``scores.jsonl``; at the end folders ``TASK/seed-N`` that plain ``transformers`` opens. Decisions: every task has one
head from the start, so a step in another language goes on with the head of the first; a step that is finished is not
taught again, and what a later one needs of it is a network, what mattered in it (EWC), and a buffer that follows from
seed and files. Price: a network a task on the disk after every step.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import RecipeError
from interlingua.recipe_continual import ContinualRecipe, RetainRecipe
from interlingua.recipe_file import to_yaml
from interlingua.recipe_transfer import TuneRecipe
from interlingua.run import Run, atomic_folder
from interlingua.scores import Score, append_scores, read_scores
from interlingua.transfer.finetune import EXECUTION, open_tuned, save_tuned
from interlingua.transfer.grow import Grown
from interlingua.transfer.methods import rate_of
from interlingua.transfer.multitask import write_single_recipes
from interlingua.transfer.stream import Step, Stream, plan_stream
from interlingua.transfer.tune import forget_checkpoints

if TYPE_CHECKING:
    from torch import Tensor

    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Encoded, Example
    from interlingua.train.loop import Progress
    from interlingua.transfer.retain import Buffer
    from interlingua.transfer.shared import Headed

__all__ = ["continual"]


@dataclass
class _State:
    """What one seed's stream holds between two steps."""

    heads: list[Headed]
    done: int = 0
    fisher: dict[str, Tensor] = field(default_factory=dict)
    selection: str = ""
    grown: list[Grown] = field(default_factory=list)
    """What the steps of each task left, where they leave adapters."""

    def becomes(self, step: Step) -> Headed:
        """The network of a step's task, with the adapter of that step (of the last one, if it was not taught)."""
        headed = self.heads[step.task]
        if self.grown:
            Grown.put(headed.model, self.grown[step.task].named(step.name))
        return headed


def continual(
    recipe: ContinualRecipe,
    out: Path | None = None,
    *,
    encoder: Encoder | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_step: Callable[[int, int, Progress], None] | None = None,
) -> tuple[Stream, list[Score]]:
    """Run a stream; scores of all steps' tests after each go to ``OUT/scores.jsonl``.

    Args:
        recipe: tasks, steps, what is done against forgetting, tuning.
        out: run folder, ``runs/NAME`` by default.
        encoder: the recipe's model, if it is open already.
        say: told in a line what was done.
        on_step: called as (seed, number of the stream's step from 1, progress) after every step of the tuning.

    Returns:
        The stream, and the rows of ``scores.jsonl``: model ``after-K``, split the name of the tested step.

    Raises:
        DataError, LabelError, RecipeError, RunError, ModelUnavailableError: as their names say.
    """
    from interlingua.models.encoder import load

    _check_retain(recipe)
    if recipe.tune.l2_sp:
        raise RecipeError("tune.l2_sp in a stream", expected="retain.l2_sp, towards the weights before each step",
                          where="tune.l2_sp")  # fmt: skip
    out = out or Path("runs") / recipe.name
    with Run(out, to_yaml(recipe), execution=EXECUTION):
        stream = plan_stream(recipe, say)
        write_single_recipes(out, recipe.tasks, recipe.model, recipe.seeds, recipe.tune)
        encoder = encoder or load(recipe.model)
        for task in stream.tasks:
            for line in task.notes(encoder.tokenizer):
                say(f"task {task.name}: {line}")
        for seed in recipe.seeds:
            if all((out / task.name / f"seed-{seed}" / "interlingua.json").is_file() for task in stream.tasks):
                say(f"seed {seed}: finished before")
                continue
            _run_seed(recipe, stream, encoder, out, seed, say, on_step)
        return stream, read_scores(out / "scores.jsonl")


def _check_retain(recipe: ContinualRecipe) -> None:
    from interlingua.transfer.shared import METHODS, check_tuning

    retain = recipe.retain
    check_tuning(recipe.tune, ("adapter",) if retain.grow else METHODS)
    brakes = [name for name in ("replay", "ewc", "l2_sp", "lwf") if getattr(retain, name)]
    if retain.grow and brakes:
        raise RecipeError(f"retain.{brakes[0]} with retain.grow", expected="one of the two: what a step left is not "
                          "changed by another", where=f"retain.{brakes[0]}")  # fmt: skip
    if retain.grow and any(task.calibrate for task in recipe.tasks):
        raise RecipeError("task.calibrate with retain.grow", expected="one of the two: what texts without content give "
                          "differs from step to step", where="retain.grow")  # fmt: skip


def _run_seed(
    recipe: ContinualRecipe,
    stream: Stream,
    encoder: Encoder,
    out: Path,
    seed: int,
    say: Callable[[str], None],
    on_step: Callable[[int, int, Progress], None] | None,
) -> None:
    from interlingua.transfer.retain import Buffer

    folder = out / "training" / f"seed-{seed}"
    state = _resumed(folder, stream, encoder, recipe, seed)
    encoded = [_encoded(state.heads[step.task], step.train, recipe.tune) for step in stream.steps]
    tests = [_by_language(state.heads[step.task], step.test, recipe.tune) for step in stream.steps]
    buffer: Buffer[Encoded] = Buffer(recipe.retain.replay, seed)
    for step, examples in zip(stream.steps[: state.done], encoded, strict=False):
        _remember(buffer, step, examples)
    if state.done:
        say(f"seed {seed}: goes on after {stream.names[state.done - 1]}")
    else:
        append_scores(out / "scores.jsonl", _scores(state, stream, tests, seed))
    for number in range(state.done, len(stream.steps)):
        with Run(folder / f"step-{number + 1}", to_yaml(recipe), execution=EXECUTION) as run:
            _teach(
                recipe, stream, state, encoded[number], buffer, seed=seed, run=run,
                on_step=(lambda p, n=number: on_step(seed, n + 1, p)) if on_step else None,  # type: ignore[misc]
            )  # fmt: skip
            forget_checkpoints(run)
        _remember(buffer, stream.steps[number], encoded[number])
        found = _scores(state, stream, tests, seed)
        append_scores(out / "scores.jsonl", found)
        _save(state, stream, out, folder, seed, encoder, keep_all=recipe.keep == "all")
        own = [f"{s.split} {s.value:.3f}" for s in found if stream.metrics[s.split] == s.metric]
        say(f"seed {seed}: after {stream.names[number]}: {', '.join(own)}")


def _teach(
    recipe: ContinualRecipe,
    stream: Stream,
    state: _State,
    encoded: list[Encoded],
    buffer: Buffer[Encoded],
    *,
    seed: int,
    run: Run,
    on_step: Callable[[Progress], None] | None,
) -> None:
    """Teach the next step, in place."""
    from interlingua.shards.sampling import keyed_generator
    from interlingua.tasks.base import TaskStream
    from interlingua.transfer.regularise import fisher
    from interlingua.transfer.shared import common_names
    from interlingua.transfer.together import OnHead, Schedule, apportioned, learn

    step, retain = stream.steps[state.done], recipe.retain
    headed = state.becomes(step)
    tune = _slower(recipe.tune, retain.lr_factor**state.done)
    if tune.select != "last" and not step.dev:
        raise RecipeError(f"tune.select = {tune.select!r} and step {step.name!r} without development examples",
                          expected="dev files of its languages, or tune.select=last", where="tasks")  # fmt: skip
    examples = headed.with_states(encoded) if tune.epochs > 1 else encoded
    batches = {"batch_size": tune.batch_size, "seed": seed}
    streams = [TaskStream(headed.task, examples, headed.tokenizer, **batches)]
    objectives, involved, counts = [OnHead(headed)], [headed], [streams[0].steps_an_epoch]
    kept = _by_task(buffer)
    if kept:
        replayed = math.ceil(retain.replay_share * counts[0])
        counts += apportioned(max(replayed, len(kept)), [len(items) for items in kept.values()])
        for number, items in kept.items():
            other = state.heads[number]
            streams.append(TaskStream(other.task, other.with_states(items), other.tokenizer, **batches))
            objectives.append(OnHead(other, name=f"replay-{other.task.name}"))
            involved.append(other)
    added = _brakes(retain, stream, state)
    taught = sorted({one.task for one in stream.steps[: state.done]})
    involved += [state.heads[number] for number in taught] if retain.lwf else []
    schedule = Schedule(streams, objectives, counts, epochs=tune.epochs, seed=seed, model=headed.model, added=added)
    dev = [(headed, _encoded(headed, step.dev, tune))] if step.dev and tune.select != "last" else []
    unique = list({one.task.name: one for one in involved}.values())
    best = learn(unique, schedule, tune, seed=seed, dev=dev, on_step=on_step, run=run)
    chosen = f"epoch {best.epoch}" if best.epoch else "the last epoch"
    state.done += 1
    state.selection = f"{chosen} of {tune.epochs} of step {state.done}, {step.name}"
    if state.grown:
        state.grown[step.task].keep(headed.model, step.name, sorted({e.lang for e in step.train}))
    if retain.ewc and state.done < len(stream.steps):
        drawn = keyed_generator(seed, state.done, 10).permutation(len(examples))[: retain.ewc_examples]
        mattered = fisher(headed.model, headed.task, [examples[i] for i in drawn], headed.tokenizer)
        names = common_names(headed)
        state.fisher = {name: retain.ewc_decay * value for name, value in state.fisher.items()}
        for own, value in mattered.items():
            state.fisher[names[own]] = state.fisher.get(names[own], 0) + value


def _brakes(retain: RetainRecipe, stream: Stream, state: _State) -> list[tuple[Any, float]]:
    """What is added to the loss of the next step, with weights."""
    from interlingua.transfer.regularise import Anchor
    from interlingua.transfer.retain import Distillation, frozen_copy
    from interlingua.transfer.shared import common_names

    if not state.done:
        return []
    step = stream.steps[state.done]
    headed = state.heads[step.task]
    taught = sorted({one.task for one in stream.steps[: state.done]})
    names = common_names(headed)
    start = {n: p.detach().clone() for n, p in headed.model.named_parameters() if p.requires_grad}
    found: list[tuple[Any, float]] = []
    if retain.l2_sp:
        old = {n: value for n, value in start.items() if step.task in taught or names[n].startswith("body/")}
        found.append((Anchor(old), retain.l2_sp))
    if retain.ewc:
        old = {n: value for n, value in start.items() if names[n] in state.fisher}
        found.append((Anchor(old, {n: state.fisher[names[n]] for n in old}, name="ewc"), retain.ewc))
    if retain.lwf:
        found += [
            (Distillation(other, frozen_copy(other.model), temperature=retain.temperature), retain.lwf)
            for other in (state.heads[number] for number in taught)
        ]
    return found


def _slower(tune: TuneRecipe, factor: float) -> TuneRecipe:
    """The same with rates multiplied."""
    lr = rate_of(tune) * factor
    return tune.model_copy(update={"lr": lr, "head_lr": tune.head_lr and tune.head_lr * factor})


def _encoded(headed: Headed, examples: Sequence[Example], tune: TuneRecipe) -> list[Encoded]:
    return headed.task.encode(examples, headed.tokenizer, max_length=tune.max_length)[0]


def _by_language(headed: Headed, examples: Sequence[Example], tune: TuneRecipe) -> dict[str, tuple[list[Encoded], int]]:
    """Tokenised examples with the states of the frozen layers, and how many they were, by language."""
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.lang, []).append(example)
    return {lang: (headed.with_states(_encoded(headed, own, tune)), len(own)) for lang, own in groups.items()}


def _remember(buffer: Buffer[Encoded], step: Step, encoded: Sequence[Encoded]) -> None:
    """Show a step's examples to the buffer, a group a language."""
    groups: dict[Any, list[Encoded]] = {}
    for example in encoded:
        groups.setdefault((step.task, example.lang), []).append(example)
    if buffer.size:
        buffer.add(groups)


def _by_task(buffer: Buffer[Encoded]) -> dict[int, list[Encoded]]:
    found: dict[int, list[Encoded]] = {}
    for (task, _), items in buffer.items.items():
        found.setdefault(task, []).extend(items)
    return {task: items for task, items in found.items() if items}


def _scores(state: _State, stream: Stream, tests: Sequence[dict[str, Any]], seed: int) -> list[Score]:
    """All steps' tests, by the networks as they are."""
    from interlingua.transfer.forgetting import row_name

    found = []
    for step, by_language in zip(stream.steps, tests, strict=True):
        headed = state.becomes(step)
        model = headed.model.eval()
        task = headed.task.settled(model, headed.tokenizer)
        for lang, (examples, n) in by_language.items():
            values = task.score(task.predict(model, examples, headed.tokenizer), examples)
            found += [
                Score(row_name(state.done), task.name, lang, step.name, metric, value, n, seed)
                for metric, value in values.items()
            ]
    return found


def _save(
    state: _State, stream: Stream, out: Path, folder: Path, seed: int, encoder: Encoder, *, keep_all: bool
) -> None:
    """Keep what the next step needs, or after the last one the networks."""
    from safetensors.torch import save_file

    for headed, grown in zip(state.heads, state.grown, strict=False):
        Grown.put(headed.model, grown.last)  # scoring left that of any step
    networks = [
        headed.tuned(seed, state.selection, state.grown[number] if state.grown else None)
        for number, headed in enumerate(state.heads)
    ]
    if state.done == len(stream.steps):
        for one in networks:
            save_tuned(one, out / one.task.name / f"seed-{seed}", encoder)
    else:
        with atomic_folder(folder / f"after-{state.done}") as temporary:
            for one in networks:
                save_tuned(one, temporary / one.task.name, encoder)
            save_file({n: v.contiguous() for n, v in state.fisher.items()}, temporary / "fisher.safetensors")
    for old in () if keep_all else folder.glob("after-*"):
        if old.name != f"after-{state.done}":
            shutil.rmtree(old, ignore_errors=True)


def _resumed(folder: Path, stream: Stream, encoder: Encoder, recipe: ContinualRecipe, seed: int) -> _State:
    """The state after the last finished step, or before the first."""
    from safetensors.torch import load_file

    from interlingua.transfer.shared import new_heads, opened_heads

    done = max((int(path.name.removeprefix("after-")) for path in folder.glob("after-*")), default=0)
    if not done:
        heads = new_heads(encoder, stream.tasks, recipe.tune, seed=seed)
        return _State(heads, grown=[Grown() for _ in heads] if recipe.retain.grow else [])
    last = folder / f"after-{done}"
    tuned = [open_tuned(last / task.name, encoder=encoder) for task in stream.tasks]
    if recipe.retain.grow:
        heads = new_heads(encoder, stream.tasks, recipe.tune, seed=seed)
        return _State(heads, done, {}, tuned[0].selection, [one.grown or Grown() for one in tuned])
    heads = opened_heads(tuned, encoder, recipe.tune)
    fisher = {n: v.to(heads[0].model.device) for n, v in load_file(last / "fisher.safetensors").items()}
    return _State(heads, done, fisher, tuned[0].selection)
