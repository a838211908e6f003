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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import LanguageError, RecipeError
from interlingua.recipe_file import open_run
from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile, TaskRecipe
from interlingua.run import atomic_folder
from interlingua.transfer.bottlenecks import ADAPTER_METHODS, check_languages, opened
from interlingua.transfer.freezing import freeze, share_frozen
from interlingua.transfer.grow import Grown
from interlingua.transfer.heads import new_head
from interlingua.transfer.methods import Adapted, attach, write_added
from interlingua.transfer.shots import draw_shots
from interlingua.transfer.tune import Tuned, forget_checkpoints, tune_once

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Encoded, Example, Task
    from interlingua.train.loop import Progress

__all__ = ["build_task", "finetune", "open_tuned", "read_examples", "save_tuned"]

#: Keys that say how a tuning is computed, how often, or where and how it is tested, and not what a seed learns.
EXECUTION = ("tune.device", "tune.threads", "tune.save_every", "seeds", "task.test", "task.unseen_labels")


def read_examples(recipe: TaskRecipe, files: Sequence[LabelledFile]) -> list[Any]:
    """All examples of some files of a task, under the labels of the recipe's mappings.

    Raises:
        DataError: missing, empty or uneven files.
        LanguageError: a language asked for that a file does not have.
        RecipeError: a tag file without a language.
    """
    from interlingua.tasks import TASKS
    from interlingua.tasks.labels import mapped, read_mapping

    examples: list[Any] = []
    for file in files:
        found = TASKS[recipe.type].read(recipe, file)
        for mapping in (file.mapping, recipe.mapping):
            if mapping:
                found = mapped(found, read_mapping(mapping) if isinstance(mapping, Path) else mapping)
        if file.languages:
            there = {example.lang for example in found}
            found = [example for example in found if example.lang in file.languages]
            if lacking := sorted(set(file.languages) - there):
                raise LanguageError(
                    f"no example in {', '.join(lacking)}",
                    expected=f"languages of the file: {', '.join(sorted(there))}",
                    where=str(file.path),
                )
        examples += spread(found, file.limit)
    return examples


def spread(examples: Sequence[Any], limit: int) -> list[Any]:
    """At most so many of the examples, evenly spread, so that parallel files keep parallel rows; all for 0."""
    count = len(examples)
    return [examples[i * count // limit] for i in range(limit)] if 0 < limit < count else list(examples)


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
    from interlingua.tasks.labels import label_differences

    shots = recipe.task.shots
    if not recipe.task.train and shots != 0:
        raise RecipeError("a task without training files", expected="task.train: [{path, lang}]", where="task.train")
    out = out or Path("runs") / recipe.name
    with open_run(out, recipe, execution=EXECUTION):
        train_examples = read_examples(recipe.task, recipe.task.train)
        dev_examples = read_examples(recipe.task, recipe.task.dev)
        if recipe.tune.select == "source-dev":
            sources = {e.lang for e in train_examples}
            dev_examples = [e for e in dev_examples if e.lang in sources]
        task = build_task(recipe.task, train_examples)
        languages = ", ".join(sorted({e.lang for e in train_examples}))
        labels = f", {len(task.labels)} labels" if task.labels else ""
        taught = f"{len(train_examples):,} examples in {languages}" if train_examples else "no examples"
        say(f"task {task.name}: {taught}{labels}")
        if recipe.tune.method == "madx":
            for line in check_languages(recipe.tune.language_adapters, recipe.tune.without_adapter,
                                        [*train_examples, *dev_examples]):  # fmt: skip
                say(line)
        encoder = encoder or load(recipe.model)
        for line in (
            *notes_of([*train_examples, *dev_examples]),
            *label_differences(train_examples),
            *task.notes(encoder.tokenizer),
        ):
            say(line)
        tuned: list[Tuned] = []
        cache: dict[str, list[Encoded]] = {}
        for seed in recipe.seeds:
            folder = out / f"seed-{seed}"
            if (folder / "interlingua.json").exists():
                found = open_tuned(folder, encoder=encoder)
                if found.adapted is None:
                    freeze(found.model, recipe.tune.freeze)
                share_frozen(found.model, encoder.model)
                tuned.append(found)
                say(f"seed {seed}: found in {folder}")
                continue
            with open_run(out / "training" / f"seed-{seed}", recipe, execution=EXECUTION) as run:
                result = tune_once(
                    encoder,
                    task,
                    train_examples if shots is None else draw_shots(train_examples, shots, seed),
                    recipe.tune,
                    seed=seed,
                    dev_examples=dev_examples,
                    on_step=(lambda p, seed=seed: on_step(seed, p)) if on_step else None,  # type: ignore[misc]
                    cache=cache if shots is None else None,
                    run=run,
                )
                save_tuned(result, folder, encoder)
                forget_checkpoints(run)
            tuned.append(replace(result, folder=folder))
            say(f"seed {seed}: {result.selection}")
    return tuned


def notes_of(examples: Sequence[Example]) -> list[str]:
    """What readers did to some examples, each kind counted, with the place of the first."""
    noted = [(note, e.where) for e in examples if (note := getattr(e, "note", ""))]
    first = dict(reversed(noted))
    return [f"{count:,} x {note} (first: {first[note]})" for note, count in Counter(n for n, _ in noted).items()]


def save_tuned(tuned: Tuned, folder: Path, encoder: Encoder | None = None) -> None:
    """Save a tuned model; what the measuring verbs need beyond it goes to ``interlingua.json``.

    Weights that were added to an encoder are saved alone, with the configuration of the whole network beside, those of
    ``peft`` as it has them: ``PeftModel.from_pretrained(AutoModelFor...from_pretrained(BASE, config=config), folder)``.

    Args:
        tuned: the model.
        folder: where to.
        encoder: what it was tuned from; needed where only the added weights are saved.
    """
    from interlingua.models.checkpoint import fingerprint, write_checkpoint

    facts: dict[str, Any] = {
        "task": tuned.task.kind,
        "settings": tuned.task.settings(),
        "seed": tuned.seed,
        "frozen_layers": tuned.frozen_layers,
        "selection": tuned.selection,
        "fingerprint": fingerprint(tuned.model, head=True),
        "trained_parameters": tuned.trained_parameters,
    }
    with atomic_folder(folder) as temporary:
        if tuned.adapted is None or not tuned.adapted.alone:
            write_checkpoint(temporary, tuned.model, tuned.tokenizer)
        else:
            assert encoder is not None
            write_added(temporary, tuned.adapted)
            facts |= {"method": tuned.adapted.method,
                      "base": {"name": encoder.name, "fingerprint": fingerprint(encoder.model)}}  # fmt: skip
            if tuned.grown and tuned.adapted.bottlenecks:
                facts["grown"] = tuned.grown.write(temporary, tuned.model, tuned.adapted.bottlenecks)
        (temporary / "interlingua.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def open_tuned(folder: Path, *, encoder: Encoder | None = None) -> Tuned:
    """Open what :func:`save_tuned` saved.

    Args:
        folder: ``seed-N`` of a run.
        encoder: what it was tuned from, if it is open already; only used where the folder holds added weights alone.

    Raises:
        CheckpointError: not such a folder, or added weights made for another encoder.
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
    if "base" in facts:
        model, tokenizer, adapted = _with_added(folder, facts, task, encoder)
    else:
        adapted = None
        model, tokenizer = open_checkpoint(folder, getattr(transformers, task.auto))
    told = {name: facts[name] for name in ("seed", "frozen_layers", "selection", "trained_parameters")}
    grown = None
    if adapted and adapted.bottlenecks and "grown" in facts:
        grown = Grown.read(folder, facts["grown"], model, adapted.bottlenecks)
    return Tuned(model, tokenizer, task, folder=folder, adapted=adapted, grown=grown, **told)


def _with_added(
    folder: Path, facts: dict[str, Any], task: Task, encoder: Encoder | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Adapted]:
    from interlingua.errors import CheckpointError
    from interlingua.models.checkpoint import fingerprint
    from interlingua.models.encoder import load

    name = facts["base"]["name"]
    encoder = encoder or load(name)
    if (own := fingerprint(encoder.model)) != facts["base"]["fingerprint"]:
        raise CheckpointError(
            f"weights that were added to another encoder than {encoder.name!r} (fingerprint {own})",
            expected=f"{name!r} with fingerprint {facts['base']['fingerprint']}",
            where=str(folder / "interlingua.json"),
            next_step="give the encoder that it was tuned from, or tune this one",
        )
    model, tokenizer = new_head(encoder, task, seed=facts["seed"])
    method = facts["method"]
    if method in ADAPTER_METHODS:
        adapters = opened(model, folder, facts["base"])
        adapted = Adapted(model, tokenizer, tokenizer, method, facts["frozen_layers"], bottlenecks=adapters)
    else:
        adapted = attach(model, tokenizer, str(folder), method)
    return adapted.model.eval(), adapted.tokenizer, adapted
