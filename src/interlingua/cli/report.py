"""``interlingua report``: a run folder's measurements as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb

__all__ = ["add_to"]


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder with metrics.jsonl or scores.jsonl in it.")],
    out: Annotated[Path | None, typer.Option("--out", help="The page; RUN/report.html by default.")] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Write the report of a run folder.

    Training curves and scores by language in one HTML file that needs nothing beside it.

    Example:
    interlingua pretrain bible-tiny --out runs/try train.steps=50 vocab.size=4000
    interlingua report runs/try
    """
    from interlingua.report.run import report_run

    page = report_run(run, out)
    return Answer({"report": page}, [f"report: {page}"])


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("report", cls=Verb)(report)
