"""``interlingua bench``: speed beside what people use today, on this machine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb, group

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
