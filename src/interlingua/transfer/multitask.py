"""Several tasks taught to one network.

In: a recipe of kind ``multitask``. Out: folders ``TASK/seed-N`` that plain ``transformers`` opens, each by the class
of its task, with a recipe of the single task beside them for ``interlingua evaluate``. Decisions: steps are shared out
by size^S or by fixed weights; weights of losses may be learnt; several source languages are one pool, or streams of
their own. Price: the body is written once a task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import RecipeError
from interlingua.recipe_file import to_yaml
from interlingua.recipe_multitask import MixRecipe, MultitaskRecipe
from interlingua.recipe_transfer import FinetuneRecipe, TaskRecipe, TuneRecipe
from interlingua.run import Run, atomic_write
from interlingua.transfer.finetune import EXECUTION, build_task, notes_of, open_tuned, read_examples, save_tuned
from interlingua.transfer.tune import Tuned, forget_checkpoints, pretrained_brakes

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Encoded, Example, Task
    from interlingua.train.loop import Progress
    from interlingua.transfer.shared import Headed

__all__ = ["TaskExamples", "multitask", "teach_together", "write_single_recipes"]


@dataclass(frozen=True)
class TaskExamples:
    """A task with its examples.

    Attributes:
        task: labels and metric.
        train: what is taught.
        dev: for choosing the epoch.
    """

    task: Task
    train: Sequence[Example]
    dev: Sequence[Example] = ()


def multitask(
    recipe: MultitaskRecipe,
    out: Path | None = None,
    *,
    encoder: Encoder | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_step: Callable[[int, Progress], None] | None = None,
) -> dict[str, list[Tuned]]:
    """Run a recipe of several tasks: one network a task and seed, saved as ``OUT/TASK/seed-N``.

    Args:
        recipe: tasks, how they are mixed, model, tuning.
        out: run folder, ``runs/NAME`` by default.
        encoder: the recipe's model, if it is open already.
        say: told in a line what was done.
        on_step: called as (seed, progress) after every step.

    Returns:
        By name of the task, a tuned network a seed.

    Raises:
        DataError, LabelError, RecipeError, RunError, ModelUnavailableError: as their names say.
    """
    from interlingua.models.encoder import load
    from interlingua.transfer.shared import check_tasks, check_tuning

    check_tasks(recipe.tasks)
    check_tuning(recipe.tune)
    out = out or Path("runs") / recipe.name
    with Run(out, to_yaml(recipe), execution=EXECUTION):
        sets = [_examples(one, place, recipe, say) for place, one in enumerate(recipe.tasks)]
        write_single_recipes(out, recipe.tasks, recipe.model, recipe.seeds, recipe.tune)
        encoder = encoder or load(recipe.model)
        for one in sets:
            for line in one.task.notes(encoder.tokenizer):
                say(f"task {one.task.name}: {line}")
        tuned: dict[str, list[Tuned]] = {one.task.name: [] for one in sets}
        for seed in recipe.seeds:
            folders = {name: out / name / f"seed-{seed}" for name in tuned}
            if all((folder / "interlingua.json").is_file() for folder in folders.values()):
                say(f"seed {seed}: found in {', '.join(str(folder) for folder in folders.values())}")
            else:
                with Run(out / "training" / f"seed-{seed}", to_yaml(recipe), execution=EXECUTION) as run:
                    heads, selection = teach_together(
                        encoder,
                        sets,
                        recipe.tune,
                        recipe.mix,
                        seed=seed,
                        on_step=(lambda p, seed=seed: on_step(seed, p)) if on_step else None,  # type: ignore[misc]
                        run=run,
                    )
                    for headed in heads:
                        save_tuned(headed.tuned(seed, selection), folders[headed.task.name])
                    forget_checkpoints(run)
                say(f"seed {seed}: {selection}")
            for name, folder in folders.items():
                tuned[name].append(open_tuned(folder, encoder=encoder))
    return tuned


def write_single_recipes(
    out: Path, tasks: Sequence[TaskRecipe], model: str, seeds: Sequence[int], tune: TuneRecipe
) -> None:
    """Say beside the folders of every task what it is, as a recipe of that task alone, for the verbs that measure."""
    for task in tasks:
        single = FinetuneRecipe(name=task.name, model=model, seeds=tuple(seeds), task=task, tune=tune)
        atomic_write(out / task.name / "recipe.yaml", to_yaml(single))


def _examples(recipe: TaskRecipe, place: int, whole: MultitaskRecipe, say: Callable[[str], None]) -> TaskExamples:
    from interlingua.tasks.labels import label_differences

    train_examples, dev_examples = read_examples(recipe, recipe.train), read_examples(recipe, recipe.dev)
    task = build_task(recipe, train_examples)
    languages = sorted({e.lang for e in train_examples})
    labels = f", {len(task.labels)} labels" if task.labels else ""
    say(f"task {task.name}: {len(train_examples):,} examples in {', '.join(languages)}{labels}")
    differences = label_differences(train_examples, key=f"tasks.{place}.mapping")
    for line in (*notes_of([*train_examples, *dev_examples]), *differences):
        say(line)
    if whole.tune.select == "last":
        return TaskExamples(task, train_examples)
    if whole.tune.select == "source-dev":
        dev_examples = [e for e in dev_examples if e.lang in languages]
    missing = [lang for lang in languages if lang not in {e.lang for e in dev_examples}]
    if missing:
        found = f"task {task.name}: no development examples in {', '.join(missing)}"
        if whole.missing_dev == "stop":
            raise RecipeError(
                found, expected=f"files in tasks.{place}.dev, or missing_dev: others", where="missing_dev"
            )
        say(f"{found}; the epoch is chosen without them")
    return TaskExamples(task, train_examples, dev_examples)


def teach_together(
    encoder: Encoder,
    sets: Sequence[TaskExamples],
    recipe: TuneRecipe,
    mix: MixRecipe | None = None,
    *,
    seed: int,
    on_step: Callable[[Progress], None] | None = None,
    run: Run | None = None,
) -> tuple[list[Headed], str]:
    """Teach several tasks to one body.

    Args:
        encoder: where to start from; not changed.
        sets: tasks and examples.
        recipe: epochs, rates, freezing.
        mix: how the tasks share the steps.
        seed: of heads, order and dropout.
        on_step: called after every step.
        run: where a long training saves what it needs to be taken up again.

    Returns:
        A network a task, and how the epoch was chosen, in words.

    Raises:
        RecipeError: an epoch is to be chosen and no task has development examples; weights for other streams.
    """
    from interlingua.tasks.base import TaskStream
    from interlingua.transfer.shared import new_heads
    from interlingua.transfer.together import OnHead, Schedule, Uncertain, learn

    mix = mix or MixRecipe()
    if recipe.select != "last" and not any(one.dev for one in sets):
        raise RecipeError(f"tune.select = {recipe.select!r} and no development examples at all", where="tasks",
                          expected="dev files of a task, or tune.select=last")  # fmt: skip
    heads = new_heads(encoder, [one.task for one in sets], recipe, seed=seed)
    names, streams, objectives = [], [], []
    for headed, one in zip(heads, sets, strict=True):
        encoded, _ = one.task.encode(one.train, headed.tokenizer, max_length=recipe.max_length)
        if recipe.epochs > 1:
            encoded = headed.with_states(encoded)
        objective: Any = OnHead(headed)
        objective = Uncertain(objective) if mix.uncertainty else objective
        for name, examples in _streams(one.task.name, encoded, mix):
            names.append(name)
            objectives.append(objective)
            streams.append(TaskStream(one.task, examples, headed.tokenizer, batch_size=recipe.batch_size, seed=seed))
    added = [(anchor, recipe.l2_sp) for anchor in pretrained_brakes(heads[0].model, recipe)]
    counts = _counts(mix, names, streams)
    schedule = Schedule(streams, objectives, counts, epochs=recipe.epochs, seed=seed, model=heads[0].model, added=added)
    dev = [
        (headed, headed.task.encode(one.dev, headed.tokenizer, max_length=recipe.max_length)[0])
        for headed, one in zip(heads, sets, strict=True)
        if one.dev
    ]
    best = learn(heads, schedule, recipe, seed=seed, dev=dev, on_step=on_step, run=run)
    said = f"last of {recipe.epochs} epochs, nothing selected"
    if best.epoch:
        which = "the sources'" if recipe.select == "source-dev" else "the target languages'"
        judged = ", ".join(f"{headed.task.metric} of {headed.task.name}" for headed, _ in dev)
        said = f"epoch {best.epoch} of {recipe.epochs}, best mean of {judged} on {which} development examples"
    if mix.uncertainty:
        learnt_weights = {o.name: math.exp(-float(o.weight.log_variance.detach())) for o in objectives}
        said += "; learnt weights " + ", ".join(f"{name} {weight:.3f}" for name, weight in learnt_weights.items())
    return heads, said


def _streams(name: str, encoded: list[Encoded], mix: MixRecipe) -> list[tuple[str, list[Encoded]]]:
    """What gets a share of the steps: a task's examples, or those of each of its languages."""
    if mix.over == "task":
        return [(name, encoded)]
    languages = dict.fromkeys(e.lang for e in encoded)
    return [(f"{name}/{lang}", [e for e in encoded if e.lang == lang]) for lang in languages]


def _counts(mix: MixRecipe, names: Sequence[str], streams: Sequence[Any]) -> list[int]:
    """Steps an epoch of every stream; an epoch has as many as all examples fill once."""
    from interlingua.transfer.together import apportioned

    sizes = [stream.steps_an_epoch for stream in streams]
    if mix.weights:
        if set(mix.weights) != set(names):
            raise RecipeError(
                f"weights of {', '.join(sorted(mix.weights))}",
                expected=f"a weight for each of {', '.join(names)}",
                where="mix.weights",
            )
        return apportioned(sum(sizes), [mix.weights[name] for name in names])
    return apportioned(sum(sizes), [size**mix.smoothing for size in sizes])
