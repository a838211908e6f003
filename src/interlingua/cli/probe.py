"""``interlingua probe``: look inside an encoder."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb, group

if TYPE_CHECKING:
    from interlingua.scores import Score

__all__ = ["app"]

app = group("Look inside an encoder.")


# A group of a single verb would otherwise be that verb: `probe retrieve` must not become `probe`.
@app.callback()
def _group() -> None:
    pass


@app.command(cls=Verb)
def retrieve(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Name, hub id, checkpoint or run folder; `interlingua doctor` lists.")
    ],
    parallel: Annotated[
        str, typer.Option(metavar="FILE.tsv[.zst]", help="Multi-parallel text: id, then a column a language.")
    ],
    source: Annotated[str, typer.Option(help="Language searched from and to.")] = "en",
    centre: Annotated[bool, typer.Option("--centre", help="Take each language's mean vector off first.")] = False,
    layer: Annotated[
        int | None, typer.Option(help="Layer, 0 the embeddings, -1 the last; the last by default.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, help="Candidates at most, rows with the most languages first; 0: all.")
    ] = 500,
    out: Annotated[Path | None, typer.Option("--out", help="Add the rows to this scores.jsonl.")] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Find translations by cosine.

    How often is the sentence nearest in the other language the translation (P@1)?

    Example:
    interlingua probe retrieve e5-small --parallel package:general.tsv.zst --limit 200
    """
    from interlingua.cli.parallel import by_language, parallel_rows
    from interlingua.cli.progress import Stages
    from interlingua.languages import canonical
    from interlingua.models.encoder import load
    from interlingua.probe.alignment import retrieve as run
    from interlingua.scores import append_scores

    pivot = canonical(source)
    rows = parallel_rows(parallel, limit=limit, source=pivot)
    texts = by_language(rows.texts)
    total, done = sum(map(len, texts.values())), 0
    with Stages({"encode": 1.0}) as stages:
        stages.say(f"{len(rows.texts):,} rows in {len(texts)} languages, {rows.passed_over:,} passed over")
        encoder = load(model)

        def encoded(count: int) -> None:
            nonlocal done
            done += count
            stages.stage("encode", done, total)

        scores = run(encoder, texts, source=pivot, centre=centre, layer=layer, progress=encoded)
    if out is not None:
        append_scores(out, scores)
    return Answer(scores, [_table(scores, pivot)])


def _table(scores: list[Score], source: str) -> object:
    from interlingua.cli.tables import language_names, number, table

    values = {(score.language, score.metric): score.value for score in scores}
    count = {score.language: score.n for score in scores}
    ordered = sorted(count, key=lambda lang: -values[lang, "p1"])
    metrics = ("p1_from_source", "p1_to_source", "p1")
    rows = [
        (language_names(lang)[0], lang, *(number(values[lang, metric]) for metric in metrics), count[lang],
         language_names(lang)[1])
        for lang in ordered
    ]  # fmt: skip
    means = [number(statistics.fmean(values[lang, metric] for lang in ordered)) for metric in metrics]
    rows.append((f"mean of {len(ordered)}", "", *means, "", ""))
    columns = ["language", "tag", f"from {source}", f"to {source}", "P@1", "candidates", ""]
    return table(columns, rows, left=2, spare=[5])
