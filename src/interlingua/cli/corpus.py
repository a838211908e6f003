"""``interlingua corpus``: raw files to clean texts by language."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, RecipeName, group
from interlingua.cli.keys import CorpusVerb

if TYPE_CHECKING:
    from interlingua.prepare import CorpusResult

__all__ = ["app"]

app = group("Make a clean corpus by language from raw files.")


@app.command(cls=CorpusVerb)
def build(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the corpus; runs/NAME by default. A build is taken up again."),
    ] = None,
    executor: Annotated[
        Literal["local", "ray", "slurm"],
        typer.Option(help="Processes here, a Ray cluster (RAY_ADDRESS, or one on this machine), or scripts for Slurm."),
    ] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Tasks at a time.")] = 1,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Read, clean, identify, judge, deduplicate and write texts by language.

    The same input gives the same bytes on any executor, with any number of workers, and after a crash, when the same
    command goes on. statistics.json says of every language what was read, kept and dropped, and why.

    Example:
    interlingua corpus build corpus
    interlingua corpus build corpus --out runs/de-en languages=[de,en] --workers 2
    """
    from interlingua.cli.progress import Stages
    from interlingua.prepare import build_corpus
    from interlingua.recipe_corpus import CorpusRecipe
    from interlingua.recipe_file import load_recipe

    plan = load_recipe(recipe, CorpusRecipe, overrides or ())
    with Stages() as stages:
        result = build_corpus(plan, out or Path("runs") / plan.name, executor=executor, workers=workers, say=stages.say)
    return _answer(result)


def _answer(result: CorpusResult) -> Answer:
    from interlingua.cli.tables import language_names, table

    if result.statistics is None:
        document: dict[str, Any] = {"folder": result.folder, "submit": result.submit, "statistics": None}
        return Answer(document, [f"nothing is submitted yet; next: bash {result.submit}"])
    found = result.statistics
    totals: dict[str, int] = {}
    for row in (*found["texts"].values(), *found["pairs"].values()):
        for reason, count in row["dropped"].items():
            totals[reason] = totals.get(reason, 0) + count
    reasons = sorted(totals, key=lambda reason: (-totals[reason], reason))
    columns = ["language", "tag", "read", "kept", "characters", *reasons, ""]
    rows = []
    for tag, row in sorted(found["texts"].items(), key=lambda item: (-item[1]["kept"], item[0])):
        name, own = language_names(tag) if tag != "und" else ("no language found", "")
        rows.append((name, tag, *_cells(row, reasons), own))
    rows += [("pairs", tag, *_cells(row, reasons), "") for tag, row in found["pairs"].items()]
    met = found["input"]
    skipped = ", ".join(
        f"{met[key]:,} {key.replace('_', ' ')}" for key in ("blank", "missing", "unreadable", "damaged_files")
    )
    shown: list[Any] = [
        table(columns, rows, left=2, spare=[len(columns) - 1]),
        f"rows read: {met['rows']:,}; besides: {skipped}",
    ]
    shown += [f"  {example}" for example in met["examples"][:3]]
    for reason, samples in found["samples"].items():
        shown += [f"{reason:<12} {sample['group']:<6} {sample['text'][:90]!r}" for sample in samples[:1]]
    texts = sum(row["kept"] for row in found["texts"].values())
    shown.append(f"{texts:,} texts: {result.folder}; a pretraining recipe reads them with the section in data.yaml")
    return Answer({"folder": result.folder, "statistics": found}, shown)


def _cells(row: dict[str, Any], reasons: list[str]) -> tuple[str, ...]:
    counts = (row["read"], row["kept"], row["characters"], *(row["dropped"].get(reason, 0) for reason in reasons))
    return tuple(f"{count:,}" for count in counts)
