"""``interlingua study``: published experiments, run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, Verb, group

if TYPE_CHECKING:
    from interlingua.studies import Study

__all__ = ["app"]

app = group("Run published experiments again: claim, ours, verdict.")

RUNS = Path("runs") / "studies"
Name = Annotated[str, typer.Argument(metavar="NAME", help="A study; `interlingua study list` names them.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the study; runs/studies/NAME by default.")]


@app.command("list", cls=Verb)
def list_studies(
    out: Annotated[Path, typer.Option("--out", help="Folder of the studies that were run.")] = RUNS,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """List the studies, and what those that were run found.

    Example:
    interlingua study list
    """
    from interlingua.studies import STUDIES

    rows = [{"name": s.name, "title": s.title, "question": s.question, "claims": len(s.claims), "found": _found(s, out)}
            for s in STUDIES.values()]  # fmt: skip
    width = max(len(str(row["name"])) for row in rows)
    shown = []
    for row in rows:
        shown.append(f"{row['name']:<{width}}  {row['question']}")
        shown.append(f"{'':<{width}}  {row['claims']} claims: {row['found'] or 'not run'}")
    return Answer(rows, shown)


def _found(study: Study, out: Path) -> str:
    from interlingua.studies import counted, measured, verdicts

    scores = measured(out / study.name)
    return counted(verdicts(study, scores)) if scores else ""


@app.command(cls=Verb)
def run(
    name: Name,
    overrides: Overrides = None,
    out: Out = None,
    scale: Annotated[
        Literal["small", "full"], typer.Option(help="small: an hour or so on two cores; full: for a GPU.")
    ] = "small",
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Run a study, and write its report.

    What is measured already is not measured again: interrupted, the same command goes on.

    Example:
    interlingua study run families
    interlingua study run alignment root=data
    """
    from interlingua.cli.progress import Stages
    from interlingua.recipe_file import load_recipe, open_run
    from interlingua.studies import write_pages

    study = _study(name)
    preset = study.scales[scale]
    recipe = load_recipe(preset.model_dump(mode="json"), type(preset), overrides or ())
    folder = out or RUNS / study.name
    # Where the data lie changes no number.
    head = {"kind": "study", "name": study.name}
    with Stages() as stages, open_run(folder, recipe, head=head, execution=("root",)):
        study.run(folder, recipe, say=stages.say)
        page, text = write_pages(study, folder)
    return Answer({"report": page, "markdown": text}, [text.read_text(encoding="utf-8"), f"report: {page}"])


@app.command(cls=Verb)
def report(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A study; without a name, all that were run on one page.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the study, runs/studies/NAME by default; of all, runs/studies."),
    ] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Write the report of a study, or of all, from what is measured.

    Example:
    interlingua study run families
    interlingua study report families
    interlingua study report
    """
    from interlingua.studies import STUDIES, write_overview, write_pages

    if name is None:
        page, text = write_overview(STUDIES, out or RUNS)
    else:
        study = _study(name)
        page, text = write_pages(study, out or RUNS / study.name)
    return Answer({"report": page, "markdown": text}, [text.read_text(encoding="utf-8"), f"report: {page}"])


def _study(name: str) -> Study:
    from interlingua.errors import RecipeError, nearest
    from interlingua.studies import STUDIES

    if name not in STUDIES:
        raise RecipeError(
            f"study {name!r}{nearest(name, STUDIES)}", expected=f"one of {', '.join(STUDIES)}", where="command line"
        )
    return STUDIES[name]
