"""``interlingua finetune``: a task, or several at once, taught in source languages, one model a seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, RecipeName
from interlingua.cli.keys import FinetuneVerb

if TYPE_CHECKING:
    from interlingua.recipe_multitask import MultitaskRecipe

__all__ = ["add_to"]


def finetune(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; runs/NAME by default. Seeds that are there are kept.")
    ] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Teach an encoder a task in one language.

    Leaves a folder seed-N for each seed, which plain transformers opens. A recipe of kind multitask teaches several
    tasks to one network and leaves TASK/seed-N.

    Example:
    interlingua finetune topics
    interlingua finetune topics seeds=[0] tune.epochs=1 --out runs/quick
    """
    from interlingua.cli.progress import Stages
    from interlingua.recipe_file import load_recipe, recipe_kind
    from interlingua.recipe_multitask import MultitaskRecipe
    from interlingua.recipe_transfer import FinetuneRecipe
    from interlingua.transfer.finetune import finetune as run

    if recipe_kind(recipe) is MultitaskRecipe:
        return _several(load_recipe(recipe, MultitaskRecipe, overrides or ()), out)
    plan = load_recipe(recipe, FinetuneRecipe, overrides or ())
    folder = out or Path("runs") / plan.name
    with Stages({f"seed {seed}": 1.0 for seed in plan.seeds}) as stages:
        tuned = run(
            plan,
            folder,
            say=stages.say,
            on_step=lambda seed, p: stages.stage(
                f"seed {seed}", p.step, p.steps, "  ".join(f"loss {loss:.3f}" for loss in p.losses.values())
            ),
        )
    document = {
        "folder": folder,
        "task": tuned[0].task.name,
        "labels": tuned[0].task.labels,
        "tuned": [{"seed": one.seed, "folder": one.folder, "selection": one.selection} for one in tuned],
    }
    lines = [f"{one.folder}: {one.selection}" for one in tuned]
    return Answer(document, [*lines, f"next: interlingua evaluate {folder}"])


def _several(plan: MultitaskRecipe, out: Path | None) -> Answer:
    from interlingua.cli.progress import Stages
    from interlingua.transfer.multitask import multitask

    folder = out or Path("runs") / plan.name
    with Stages({f"seed {seed}": 1.0 for seed in plan.seeds}) as stages:
        tuned = multitask(
            plan,
            folder,
            say=stages.say,
            on_step=lambda seed, p: stages.stage(
                f"seed {seed}", p.step, p.steps, "  ".join(f"{name} {loss:.3f}" for name, loss in p.losses.items())
            ),
        )
    tasks = {
        name: {
            "labels": found[0].task.labels,
            "tuned": [{"seed": one.seed, "folder": one.folder, "selection": one.selection} for one in found],
        }
        for name, found in tuned.items()
    }
    lines = [f"{one.folder}: {one.selection}" for found in tuned.values() for one in found]
    next_steps = [f"next: interlingua evaluate {folder / name}" for name in tuned]
    return Answer({"folder": folder, "tasks": tasks}, [*lines, *next_steps])


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("finetune", cls=FinetuneVerb)(finetune)
