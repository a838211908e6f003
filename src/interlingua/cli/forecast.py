"""``interlingua forecast``: accuracy in languages, and after training mixes, that were never scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb

if TYPE_CHECKING:
    from interlingua.evaluate.forecast import Cells, Facts, LeftOut
    from interlingua.evaluate.forecast.grid import Mix

__all__ = ["add_to"]


def forecast(
    scores: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SCORES...]", help="scores.jsonl of one task, or JSON in the layout of SumEval."),
    ] = None,
    languages: Annotated[str, typer.Option("--for", metavar="TAG,...", help="Languages to forecast.")] = "",
    mix: Annotated[
        str, typer.Option(metavar="LANG=N,...", help="Training mix to forecast, in examples; all scored ones if none.")
    ] = "",
    facts: Annotated[
        Path | None, typer.Option(metavar="FILE.tsv", help="More facts: `language` and columns of numbers.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Encoder whose alignment with English is one more fact.")
    ] = None,
    parallel: Annotated[
        str | None, typer.Option(metavar="FILE.tsv[.zst]", help="Multi-parallel text to measure --model on.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows of --parallel at most; 0: all.")] = 200,
    source: Annotated[
        str, typer.Option(metavar="TAG,...", help="Languages the models of a scores.jsonl were taught in.")
    ] = "en",
    sumeval: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Forecast every file of FOLDER/test_release, instead.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="Where --sumeval's files go.")] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Forecast accuracy where nothing was scored.

    From scores in some languages after some training mixes: a value and a 90 % interval for others, and what such
    forecasts were worth on scores left out.

    Example:
    interlingua forecast runs/topics/scores.jsonl --for gl,kn
    interlingua forecast train/UDPOS_XLMR.json.zst --for pl,ga --mix en=1000,ru=1000
    interlingua forecast --sumeval forecast --out forecast/answers
    """
    from interlingua.evaluate.forecast import Forecaster, read_facts, read_grid

    if bool(scores) == bool(sumeval) or bool(sumeval) != bool(out):
        raise typer.BadParameter("expected SCORES, or --sumeval FOLDER with --out FOLDER")
    if bool(model) != bool(parallel):
        raise typer.BadParameter("--model and --parallel go together")
    known = read_facts(facts)
    if model and parallel:
        known = known.with_columns(_alignment(model, parallel, limit))
    if sumeval and out:
        return _sumeval(sumeval, out, known)
    grid = read_grid(scores or [], taught=_tags(source))
    wanted = _tags(languages) or list(grid.languages)
    mixes: list[Mix] = [_mix(mix)] if mix else list(grid.mixes) or [{} for _ in grid.labels]
    forecaster = Forecaster(grid, known)
    new = [tag for tag in wanted if tag not in grid.languages]
    cells = forecaster.predict(mixes, wanted)
    left_out: list[LeftOut] = [forecaster.left_out_mixes()] if len(new) < len(wanted) else []
    if new:
        left_out.append(forecaster.left_out_languages(new_mixes=bool(mix)))
    lacking = known.unknown(new)
    document = {
        "languages": cells.languages, "mixes": mixes, "value": cells.value.tolist(), "low": cells.low.tolist(),
        "high": cells.high.tolist(), "left_out": left_out, "lacking_facts": lacking, "left_aside": grid.dropped,
    }  # fmt: skip
    aside = [f"left aside, not scored everywhere: {', '.join(grid.dropped)}"] if grid.dropped else []
    shown = [_cells_table(cells, len(mixes)), _left_out_table([("", left_out)]), *_lacking(lacking), *aside]
    return Answer(document, shown)


def _tags(text: str) -> list[str]:
    from interlingua.languages import canonical

    return [canonical(word.strip()) for word in text.split(",") if word.strip()]


def _mix(text: str) -> dict[str, float]:
    from interlingua.languages import canonical

    sizes: dict[str, float] = {}
    for word in text.split(","):
        lang, equals, size = word.partition("=")
        if not equals or not size.strip().isdecimal():
            raise typer.BadParameter(f"--mix {word!r}: expected LANG=EXAMPLES")
        sizes[canonical(lang.strip())] = float(size)
    return sizes


def _alignment(model: str, parallel: str, limit: int) -> dict[str, dict[str, float]]:
    """How well a model aligns each language of a parallel text with English, as a column of facts."""
    from interlingua.cli.parallel import by_language, parallel_rows
    from interlingua.cli.progress import Stages
    from interlingua.models.encoder import load
    from interlingua.probe.retrieval import retrieve

    texts = by_language(parallel_rows(parallel, limit=limit).texts)
    total = sum(map(len, texts.values()))
    with Stages({"encode": 1.0}) as stages:
        encoded = stages.counter("encode", total)
        found = retrieve(load(model), texts, ways=["centred"], progress=encoded)
    return {"P@1 with English": {one.language: one.p1 for one in found}}


def _sumeval(folder: Path, out: Path, facts: Facts) -> Answer:
    from interlingua.cli.progress import Stages
    from interlingua.evaluate.forecast.sumeval import forecast_folder

    with Stages({"tasks": 1.0}) as stages:
        reports = forecast_folder(
            folder, out, facts, progress=lambda done, total, name: stages.stage("tasks", done, total, name)
        )
    lacking = {tag: names for report in reports for tag, names in report.lacking.items()}
    written = [file for report in reports for file in report.written]
    table = _left_out_table([(report.task, report.left_out) for report in reports])
    return Answer(reports, [table, *_lacking(lacking), f"{len(written)} files: {out}"])


def _cells_table(cells: Cells, mixes: int) -> object:
    from interlingua.cli.tables import language_names, number, table

    means = [part.mean(axis=0) for part in (cells.value, cells.low, cells.high)]
    rows = sorted(zip(cells.languages, *means, strict=True), key=lambda row: -row[1])
    lines = [
        (language_names(tag)[0], tag, *(number(float(part)) for part in parts), language_names(tag)[1])
        for tag, *parts in rows
    ]
    over = f" (mean of {mixes})" if mixes > 1 else ""
    return table(["language", "tag", f"forecast{over}", "from", "to", ""], lines, left=2)


def _left_out_table(reports: Sequence[tuple[str, Sequence[LeftOut]]]) -> object:
    from interlingua.cli.tables import number, table

    lines = [
        (
            task,
            one.asked,
            number(one.error, 2),
            "; ".join(f"{name} {number(error, 2)}" for name, error in one.baselines.items()),
            f"{one.coverage:.1%}",
            number(one.width, 1),
            one.languages,
            one.cells,
        )
        for task, left_out in reports
        for one in left_out
    ]
    columns = ["task", "left out", "error", "baselines' error", "inside 90 %", "width", "languages", "scores"]
    return table(columns, lines, left=2)


def _lacking(lacking: dict[str, list[str]]) -> list[str]:
    if not lacking:
        return []
    named = "; ".join(f"{tag} ({', '.join(names)})" for tag, names in lacking.items())
    return [f"{len(lacking)} languages lack facts, so their intervals are wider: {named}"]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("forecast", cls=Verb)(forecast)
