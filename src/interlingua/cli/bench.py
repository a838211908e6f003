"""``interlingua bench``: speed beside what people use today, on this machine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, Verb, group

__all__ = ["app"]

app = group("Speed beside what people use today, on this machine.")


@app.command(cls=Verb)
def pretrain(
    shapes: Annotated[
        list[str] | None, typer.Argument(metavar="[SHAPE]...", help="h256-30k, h256-120k, h256-250k, h768-120k.")
    ] = None,
    against: Annotated[Literal["transformers"], typer.Option(help="The other side: its Trainer.")] = "transformers",
    repeats: Annotated[int, typer.Option(min=1, help="Runs a side, in turn.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Steps timed.")] = 4,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Pretraining tokens/s of our loop and of transformers.Trainer.

    The same BERT (width, depth, vocabulary), the same weights, batches and masks; the losses of both sides must agree,
    step by step. Without a shape all four are measured, which takes long.

    Example:
    interlingua bench pretrain h256-30k --against transformers
    """
    import statistics

    from interlingua.bench import SHAPES, compare_pretraining
    from interlingua.cli.progress import Stages
    from interlingua.cli.tables import table
    from interlingua.errors import RecipeError, nearest

    names = shapes or list(SHAPES)
    for name in names:
        if name not in SHAPES:
            raise RecipeError(
                f"shape {name!r}{nearest(name, SHAPES)}", expected=f"one of {', '.join(SHAPES)}", where="command line"
            )
    document: list[dict[str, Any]] = []
    rows = []
    with Stages() as stages:
        for name in names:
            found = compare_pretraining(SHAPES[name], repeats=repeats, steps=steps, say=stages.say)
            ratios = sorted(found.ratios)
            document.append({**vars(found), "shape": name, "ratios": ratios})
            rows.append(
                (
                    name, f"{statistics.median(found.ours):,.0f}", f"{statistics.median(found.trainer):,.0f}",
                    f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})",
                    f"{found.threads[0]} / {found.threads[1]}", f"{found.peak_mb[0]:,.0f} / {found.peak_mb[1]:,.0f}",
                    f"{found.difference:.0e}",
                )
            )  # fmt: skip
    columns = ["shape", "ours, tokens/s", "Trainer", "ratio (range)", "threads", "peak MB", "loss difference"]
    return Answer(document, [table(columns, rows, left=1)])


@app.command(cls=Verb)
def corpus(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A corpus recipe: whose texts are measured.")
    ] = "corpus",
    overrides: Overrides = None,
    against: Annotated[Literal["datatrove"], typer.Option(help="The other side: its own steps.")] = "datatrove",
    megabytes: Annotated[float, typer.Option(min=0.1, help="MB of text both sides get.")] = 20.0,
    repeats: Annotated[int, typer.Option(min=0, help="Runs a side, in turn.")] = 3,
    sizes: Annotated[
        list[float] | None, typer.Option("--size", help="MB of input to measure memory at; repeat it.")
    ] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """MB of raw text a second and core through `corpus build` and through plain datatrove steps.

    Both clean, identify, drop copies and near copies, and write. Processor time of one process a side is counted. With
    --size the build runs on inputs of these sizes as well, for its memory; where the recipe has less text, its texts
    are joined to new ones.

    Example:
    interlingua bench corpus corpus --megabytes 5 --repeats 1
    interlingua bench corpus corpus --repeats 0 --size 20 --size 60
    """
    import statistics
    import tempfile
    from pathlib import Path

    from interlingua.bench import compare_corpus, grown_corpus, write_input
    from interlingua.cli.progress import Stages
    from interlingua.cli.tables import table
    from interlingua.recipe_corpus import CorpusRecipe
    from interlingua.recipe_file import load_recipe

    plan = load_recipe(recipe, CorpusRecipe, overrides or ())
    shown: list[Any] = []
    with tempfile.TemporaryDirectory() as name, Stages() as stages:
        folder = Path(name)
        runs = []
        if repeats:
            size = write_input(plan, folder / "input.jsonl", megabytes)
            runs = compare_corpus(folder / "input.jsonl", size, folder, repeats=repeats, say=stages.say)
        grown = grown_corpus(plan, sizes or (), folder, say=stages.say)
    by_side = {side: [run for run in runs if run.side == side] for side in ("ours", "datatrove")}
    ratios = sorted(a.speed / b.speed for a, b in zip(by_side["ours"], by_side["datatrove"], strict=True))
    if runs:
        rows = [
            (side, f"{found[0].megabytes:.1f}", f"{statistics.median(run.speed for run in found):.2f}",
             f"{found[0].kept:,}", f"{max(run.peak_mb for run in found):,.0f}")
            for side, found in by_side.items()
        ]  # fmt: skip
        shown.append(table(["side", "MB", "MB/s a core", "texts kept", "peak MB"], rows, left=1))
        shown.append(f"ratio: {statistics.median(ratios):.1f} ({ratios[0]:.1f}-{ratios[-1]:.1f})")
        steps = [
            (step, f"{statistics.median(run.megabytes / max(run.stages[step], 1e-9) for run in by_side['ours']):.1f}")
            for step in by_side["ours"][0].stages
        ]
        shown.append(table(["our step", "MB/s a core"], steps, left=1))
    if grown:
        lines = [(f"{run.megabytes:,.0f}", f"{run.peak_mb:,.0f}", f"{run.speed:.2f}", f"{run.kept:,}") for run in grown]
        shown.append(table(["input, MB", "peak MB", "MB/s a core", "texts kept"], lines, left=0))
    return Answer({"runs": runs, "ratios": ratios, "sizes": grown}, shown)
