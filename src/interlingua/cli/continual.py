"""``interlingua continual``: tasks or languages one after another, and what is left of each."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, RecipeName
from interlingua.cli.keys import ContinualVerb

if TYPE_CHECKING:
    from interlingua.transfer.forgetting import Forgetting

__all__ = ["add_to"]


def continual(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; runs/NAME by default. Finished steps are kept.")
    ] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Teach tasks or languages one after another.

    After every step all steps' tests are scored, also those to come. The matrix shows what is forgotten, and what one
    language gives to the next.

    Example:
    interlingua continual stream
    interlingua continual stream retain.replay=300 --out runs/replay
    """
    from interlingua.cli.progress import Stages
    from interlingua.cli.tables import number, table
    from interlingua.recipe_continual import ContinualRecipe
    from interlingua.recipe_file import load_recipe
    from interlingua.transfer.continual import continual as run
    from interlingua.transfer.forgetting import forgetting, row_name, score_matrix

    plan = load_recipe(recipe, ContinualRecipe, overrides or ())
    folder = out or Path("runs") / plan.name
    with Stages() as stages:
        stream, scores = run(
            plan,
            folder,
            say=stages.say,
            on_step=lambda seed, step, p: stages.stage(
                f"seed {seed}, step {step}", p.step, p.steps, "  ".join(f"{n} {x:.3f}" for n, x in p.losses.items())
            ),
        )
    by_seed = {
        seed: score_matrix([s for s in scores if s.seed == seed], stream.names, stream.metrics) for seed in plan.seeds
    }
    measures = {seed: forgetting(matrix) for seed, matrix in by_seed.items()}
    mean = score_matrix([s for s in scores if s.seed in plan.seeds], stream.names, stream.metrics)
    document = {
        "folder": folder,
        "steps": stream.names,
        "metrics": stream.metrics,
        "matrix": mean.tolist(),
        "measures": {seed: asdict(found) for seed, found in measures.items()},
        "by_seed": {seed: matrix.tolist() for seed, matrix in by_seed.items()},
    }
    rows = [
        (row_name(k), "before" if not k else stream.names[k - 1], *(number(value) for value in row))
        for k, row in enumerate(mean.tolist())
    ]
    metrics = ", ".join(dict.fromkeys(m.replace("_", " ") for m in stream.metrics.values()))
    lines: list[object] = [
        table(["network", "taught last", *stream.names], rows, left=2),
        f"{metrics} on every step's test; mean over seeds {', '.join(map(str, plan.seeds))}",
        *(
            ["every step that was taught is scored with its own adapter, others with the last one of their task"]
            if plan.retain.grow
            else []
        ),
        *_measures(list(measures.values())),
        f"scores: {folder / 'scores.jsonl'}",
        *(f"next: interlingua evaluate {folder / task.name}" for task in stream.tasks),
    ]
    return Answer(document, lines)


def _measures(found: Sequence[Forgetting]) -> list[str]:
    """A line a measure: mean, and spread over seeds."""
    from interlingua.cli.tables import number

    lines = []
    for name in ("average", "backward_transfer", "forgetting", "forward_transfer"):
        values = [getattr(one, name) for one in found]
        spread = f" (spread {number(statistics.stdev(values))})" if len(values) > 1 else ""
        signed = name.endswith("transfer")
        lines.append(f"{name.replace('_', ' ')}: {number(statistics.fmean(values), signed=signed)}{spread}")
    return lines


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("continual", cls=ContinualVerb)(continual)
