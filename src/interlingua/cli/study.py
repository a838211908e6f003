"""``interlingua study``: published experiments, run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb, group

if TYPE_CHECKING:
    from interlingua.studies import Study

__all__ = ["app"]

app = group("Run published experiments again: claim, ours, verdict.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A study; `interlingua study list` names them.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the study; runs/studies/NAME by default.")]


@app.command("list", cls=Verb)
def list_studies(as_json: JSON = False, debug: Debug = False) -> Answer:
    """List the studies.

    Example:
    interlingua study list
    """
    from interlingua.studies import STUDIES

    rows = [{"name": s.name, "title": s.title, "question": s.question} for s in STUDIES.values()]
    width = max(len(row["name"]) for row in rows)
    return Answer(rows, [f"{row['name']:<{width}}  {row['question']}" for row in rows])


@app.command(cls=Verb)
def run(
    name: Name,
    out: Out = None,
    scale: Annotated[
        Literal["small", "full"], typer.Option(help="small: an hour on two cores; full: for a GPU.")
    ] = "small",
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Run a study, and write its report.

    What is measured already is not measured again: interrupted, the same command goes on.

    Example:
    interlingua study run objectives
    """
    from interlingua.cli.progress import Stages
    from interlingua.run import Run
    from interlingua.studies import write_pages

    study = _study(name)
    folder = out or Path("runs") / "studies" / study.name
    with Stages() as stages, Run(folder, f"kind: study\nname: {study.name}\nscale: {scale}\n"):
        study.run(folder, scale=scale, say=stages.say)
        page, text = write_pages(study, folder)
    return Answer({"report": page, "markdown": text}, [text.read_text(encoding="utf-8"), f"report: {page}"])


@app.command(cls=Verb)
def report(name: Name, out: Out = None, as_json: JSON = False, debug: Debug = False) -> Answer:
    """Write the report of a study from what is measured.

    Example:
    interlingua study run objectives
    interlingua study report objectives
    """
    from interlingua.studies import write_pages

    study = _study(name)
    page, text = write_pages(study, out or Path("runs") / "studies" / study.name)
    return Answer({"report": page, "markdown": text}, [text.read_text(encoding="utf-8"), f"report: {page}"])


def _study(name: str) -> Study:
    from interlingua.errors import RecipeError, nearest
    from interlingua.studies import STUDIES

    if name not in STUDIES:
        raise RecipeError(
            f"study {name!r}{nearest(name, STUDIES)}", expected=f"one of {', '.join(STUDIES)}", where="command line"
        )
    return STUDIES[name]
