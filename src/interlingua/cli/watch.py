"""``interlingua watch``: follow a run from another terminal."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated, Any

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb, show

__all__ = ["add_to"]


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that another process works on.")],
    every: Annotated[int, typer.Option(min=1, help="Steps a line.")] = 1,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Follow a run from another terminal.

    A line a step, or every so many: losses, rate of learning, norm of the gradient, speed, and held-out figures where
    they were measured; steps that were left out are always shown. Ends with the run; with --json all rows come then.

    Example:
    interlingua pretrain bible-tiny --out runs/try train.steps=50 vocab.size=4000
    interlingua watch runs/try --every 10
    """
    from interlingua.train.watch import follow, planned_steps

    steps, rows = planned_steps(run), []
    for row in follow(run):
        rows.append(row)
        noted = row["step"] % every == 0 or row["step"] == steps or "skipped" in row or "held_out" in row
        if noted and not as_json:
            show([_line(row, steps)])
    last = rows[-1]["step"] if rows else 0
    over = steps is not None and last >= steps
    word = "done" if over else "no process works on this run any more; the same command goes on with it"
    return Answer({"step": last, "steps": steps, "done": over, "rows": rows}, [f"step {last:,}: {word}"])


def _line(row: dict[str, Any], steps: int | None) -> str:
    parts = [f"{row['step']:>7,}" + (f"/{steps:,}" if steps else "")]
    parts += [f"{name} {value:.4f}" for name, value in row.get("loss", {}).items()]
    if "lr" in row:
        parts.append(f"lr {row['lr']:.2e}")
    if isinstance(row.get("grad_norm"), (int, float)):
        parts.append(f"norm {row['grad_norm']:.3g}")
    if "tokens_per_second" in row:
        parts.append(f"{row['tokens_per_second']:,.0f} tokens/s")
    if "flops_utilisation" in row:
        parts.append(f"{row['flops_utilisation']:.1%} of the machine")
    if row.get("data_wait", 0) >= 0.01:
        parts.append(f"{row['data_wait']:.0%} waiting for data")
    for name, by_language in row.get("held_out", {}).items():
        parts.append(f"held out {name} {statistics.fmean(by_language.values()):.4f}" if by_language else "")
    if "skipped" in row:
        parts.append(f"LEFT OUT: {row['skipped']}")
    return "  ".join(filter(None, parts))


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("watch", cls=Verb)(watch)
