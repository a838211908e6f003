"""A task taught in its source language(s): from a recipe to one tuned model a seed.

In: a recipe of kind ``finetune``. Out: folders ``seed-N`` that plain ``transformers`` opens, by the class of the task
(``AutoModelForSequenceClassification`` and so on), with ``interlingua.json`` for the measuring verbs beside. Decision:
a seed that is there is not trained again, and one that was cut off goes on where it was. Price: the run folder belongs
to one recipe.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import RecipeError
from interlingua.recipe_file import to_yaml
from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile, TaskRecipe
from interlingua.run import Run, atomic_folder
from interlingua.transfer.freezing import freeze, share_frozen
from interlingua.transfer.tune import Tuned, forget_checkpoints, tune_once

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Encoded, Example, Task
    from interlingua.train.loop import Progress

__all__ = ["build_task", "finetune", "open_tuned", "read_examples", "save_tuned"]

#: Keys that say how a tuning is computed, and not what it learns.
EXECUTION = ("tune.device", "tune.threads", "tune.save_every")


def read_examples(recipe: TaskRecipe, files: Sequence[LabelledFile]) -> list[Any]:
    """All examples of some files of a task.

    Raises:
        DataError: missing, empty or uneven files.
        RecipeError: a tag file without a language.
    """
    from interlingua.tasks import TASKS

    return [example for file in files for example in TASKS[recipe.type].read(recipe, file)]


def build_task(recipe: TaskRecipe, train: Sequence[Example]) -> Task:
    """The task over the labels of its training examples.

    Raises:
        LabelError: fewer than two labels.
    """
    from interlingua.tasks import TASKS

    return TASKS[recipe.type].taught_with(recipe, train)


def finetune(
    recipe: FinetuneRecipe,
    out: Path | None = None,
    *,
    encoder: Encoder | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_step: Callable[[int, Progress], None] | None = None,
) -> list[Tuned]:
    """Run a tuning recipe: one model a seed, saved as ``OUT/seed-N``.

    A seed whose folder is there already is opened, not trained again.

    Args:
        recipe: task, model, tuning.
        out: run folder, ``runs/NAME`` by default.
        encoder: the recipe's model, if it is open already.
        say: told in a line what was done.
        on_step: called as (seed, progress) after every step.

    Raises:
        DataError, LabelError, RecipeError, RunError, ModelUnavailableError: as their names say.
    """
    from interlingua.models.encoder import load

    if not recipe.task.train:
        raise RecipeError("a task without training files", expected="task.train: [{path, lang}]", where="task.train")
    out = out or Path("runs") / recipe.name
    with Run(out, to_yaml(recipe), execution=EXECUTION):
        train_examples = read_examples(recipe.task, recipe.task.train)
        dev_examples = read_examples(recipe.task, recipe.task.dev)
        if recipe.tune.select == "source-dev":
            sources = {e.lang for e in train_examples}
            dev_examples = [e for e in dev_examples if e.lang in sources]
        task = build_task(recipe.task, train_examples)
        languages = ", ".join(sorted({e.lang for e in train_examples}))
        labels = f", {len(task.labels)} labels" if task.labels else ""
        say(f"task {task.name}: {len(train_examples):,} examples in {languages}{labels}")
        for line in notes_of([*train_examples, *dev_examples]):
            say(line)
        encoder = encoder or load(recipe.model)
        tuned: list[Tuned] = []
        cache: dict[str, list[Encoded]] = {}
        for seed in recipe.seeds:
            folder = out / f"seed-{seed}"
            if (folder / "interlingua.json").exists():
                found = open_tuned(folder)
                freeze(found.model, recipe.tune.freeze)
                share_frozen(found.model, encoder.model)
                tuned.append(found)
                say(f"seed {seed}: found in {folder}")
                continue
            with Run(out / "training" / f"seed-{seed}", to_yaml(recipe), execution=EXECUTION) as run:
                result = tune_once(
                    encoder,
                    task,
                    train_examples,
                    recipe.tune,
                    seed=seed,
                    dev_examples=dev_examples,
                    on_step=(lambda p, seed=seed: on_step(seed, p)) if on_step else None,  # type: ignore[misc]
                    cache=cache,
                    run=run,
                )
                save_tuned(result, folder)
                forget_checkpoints(run)
            tuned.append(Tuned(**{**result.__dict__, "folder": folder}))
            say(f"seed {seed}: {result.selection}")
    return tuned


def notes_of(examples: Sequence[Example]) -> list[str]:
    """What readers did to some examples, each kind counted, with the place of the first."""
    noted = [(note, e.where) for e in examples if (note := getattr(e, "note", ""))]
    first = dict(reversed(noted))
    return [f"{count:,} x {note} (first: {first[note]})" for note, count in Counter(n for n, _ in noted).items()]


def save_tuned(tuned: Tuned, folder: Path) -> None:
    """Save a tuned model; what the measuring verbs need beyond it goes to ``interlingua.json``."""
    from interlingua.models.checkpoint import write_checkpoint

    with atomic_folder(folder) as temporary:
        write_checkpoint(temporary, tuned.model, tuned.tokenizer)
        facts = {
            "task": tuned.task.kind,
            "settings": tuned.task.settings(),
            "seed": tuned.seed,
            "frozen_layers": tuned.frozen_layers,
            "selection": tuned.selection,
        }
        (temporary / "interlingua.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def open_tuned(folder: Path) -> Tuned:
    """Open what :func:`save_tuned` saved.

    Raises:
        CheckpointError: not such a folder.
    """
    import transformers

    from interlingua.errors import CheckpointError
    from interlingua.models.checkpoint import open_checkpoint
    from interlingua.tasks import TASKS

    path = folder / "interlingua.json"
    if not path.is_file():
        raise CheckpointError(
            f"{str(folder)!r} is not a tuned model",
            expected="a folder seed-N written by `interlingua finetune`",
            where=str(path),
        )
    facts = json.loads(path.read_text(encoding="utf-8"))
    task = TASKS[facts["task"]](**facts["settings"])
    model, tokenizer = open_checkpoint(folder, getattr(transformers, task.auto))
    return Tuned(model, tokenizer, task, facts["seed"], facts["frozen_layers"], facts["selection"], folder)
