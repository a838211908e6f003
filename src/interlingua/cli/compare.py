"""``interlingua compare``: ways to tune side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, RecipeName, Verb

__all__ = ["add_to"]


def compare(
    recipe: RecipeName,
    overrides: Overrides = None,
    ways: Annotated[
        str,
        typer.Option(
            metavar="WAY,...",
            help="Ways by name: full, embeddings, layers, frozen, bitfit, lora, ia3, prompt, prefix, adapter, madx, "
            "layer-decay, l2-sp, mixout, dropout.",
        ),
    ] = "full,frozen,bitfit,lora,ia3,prompt,prefix,adapter",
    way: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:KEY=VALUE,...", help="A way of your own, by keys of tune; repeatable."),
    ] = None,
    languages: Annotated[str, typer.Option(metavar="TAG,...", help="Score only these; all by default.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the comparison; runs/NAME-compared by default.")
    ] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Compare ways to tune: numbers trained, minutes, memory, and the score in every language.

    Each is trained in a process of its own. What is in the folder already is kept.

    Example:
    interlingua compare topics --ways frozen,lora
    interlingua compare topics --ways lora --way rank-32:method=lora,rank=32,lr=3e-4
    """
    from interlingua.cli.progress import Stages
    from interlingua.cli.suite import cell_text
    from interlingua.cli.tables import number, table
    from interlingua.evaluate.compare import compare as run
    from interlingua.evaluate.compare import way_of
    from interlingua.evaluate.summary import main_metric
    from interlingua.languages import canonical
    from interlingua.recipe_file import load_recipe
    from interlingua.recipe_suite import SuiteEntry
    from interlingua.recipe_transfer import FinetuneRecipe
    from interlingua.scores import append_scores

    plan = load_recipe(recipe, FinetuneRecipe, overrides or ())
    chosen = dict(way_of(word) for word in [*filter(None, ways.split(",")), *(way or ())])
    folder = out or Path("runs") / f"{plan.name}-compared"
    tags = [canonical(word.strip()) for word in languages.split(",") if word.strip()]
    with Stages() as stages:
        rows = run(plan, chosen, folder, languages=tags, say=stages.say, stage=stages.stage)
    for row in rows:
        append_scores(folder / "scores.jsonl", [replace(score, model=row.way) for score in row.scores])
    langs = list(dict.fromkeys(lang for row in rows for lang in row.cells))
    lines = [
        (row.way, f"{row.cost.trained_parameters:,}", number(row.cost.minutes, 1),
         number(row.cost.processor_minutes, 1), f"{row.cost.memory_mb:,.0f}",
         *(cell_text(row.cells.get(lang)) for lang in langs), number(row.mean))
        for row in rows
    ]  # fmt: skip
    metric = main_metric(SuiteEntry(name=plan.task.name, task=plan.task))
    seeds = ", ".join(map(str, plan.seeds))
    document = {"folder": folder, "metric": metric, "ways": chosen, "rows": rows}
    shown = [
        table(["way", "trained", "minutes", "of processors", "MB", *langs, "mean"], lines),
        f"{metric.replace('_', ' ')}, seeds {seeds}; +/-: standard deviation over them; minutes: a seed; selection: "
        f"{plan.tune.select}",
        f"scores: {folder / 'scores.jsonl'}",
    ]
    return Answer(document, shown)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("compare", cls=Verb)(compare)
