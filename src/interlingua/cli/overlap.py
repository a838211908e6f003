"""``interlingua probe overlap``: subwords that languages share, and whether scores go with them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb
from interlingua.cli.probe import Out, Texts, Vocabulary

if TYPE_CHECKING:
    from interlingua.probe.overlap import Correlation
    from interlingua.scores import Score

__all__ = ["add_to"]

#: Measures and what their columns are called.
_NAMES = {
    "jaccard": "Jaccard",
    "types_in_source": "types in source",
    "tokens_in_source": "tokens in source",
    "entity_jaccard": "Jaccard, entities",
}


def add_to(app: typer.Typer) -> None:
    """Hang the verb into its group."""
    app.command(cls=Verb)(overlap)


def overlap(
    tokenizer: Vocabulary,
    file: Texts,
    source: Annotated[str, typer.Option(metavar="TAG", help="Language the others are compared with.")] = "en",
    entities: Annotated[
        list[str] | None,
        typer.Option(metavar="LANG=FILE", help="Tagged text (IOB2) of a language, the source's too; many times."),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Correlate with the scores of this scores.jsonl.")
    ] = None,
    task: Annotated[str, typer.Option(help="Whose scores: the task.")] = "",
    metric: Annotated[str, typer.Option(help="Whose scores: the metric.")] = "",
    model: Annotated[str, typer.Option(help="Whose scores: the model; all by default.")] = "",
    split: Annotated[
        str, typer.Option(help="Part of the data: of the scores, and of texts in a table that has them.")
    ] = "test",
    measure: Annotated[
        str, typer.Option(metavar="NAME", help=f"What the figure has below: {', '.join(_NAMES)}.")
    ] = "jaccard",
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw one model's scores over a measure.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Texts a language at most, the file's first; 0: all.")] = 0,
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Count the subwords that languages share with the source.

    And, with --scores, how far a task's scores by language go with them.

    Example:
    interlingua probe overlap e5-small package:sib200.tsv.zst --limit 200
    interlingua probe overlap xlm-r text.jsonl --scores runs/topics/scores.jsonl --task topics --metric accuracy
    """
    from interlingua.cli.spoken import spoken_texts
    from interlingua.cli.vocab import named_tokenizer
    from interlingua.errors import DataError
    from interlingua.languages import canonical
    from interlingua.probe.overlap import correlation, subword_overlap
    from interlingua.scores import append_scores, read_scores

    if scores is not None and not (task and metric):
        raise typer.BadParameter("--scores needs --task and --metric")
    if scores is None and (task or metric or model or figure):
        raise typer.BadParameter("--task, --metric, --model and --figure are of scores; give --scores")
    if measure not in _NAMES or (measure == "entity_jaccard" and not entities):
        raise typer.BadParameter(f"--measure {measure!r}: expected one of {', '.join(_NAMES)}, the last of --entities")
    pivot = canonical(source)
    reached = _reached(read_scores(scores), (task, metric, split), model, pivot, scores) if scores is not None else {}
    if figure is not None and len(reached) > 1:
        raise typer.BadParameter(f"--figure draws one model; choose with --model among {', '.join(reached)}")
    opened = named_tokenizer(tokenizer)
    found = subword_overlap(opened, spoken_texts(file, limit=limit, split=split), source=pivot)
    measured = {name: {one.lang: one.measures[name] for one in found} for name in found[0].measures}
    rows = [score for one in found for score in one.scores(tokenizer, pivot)]
    if entities:
        own = subword_overlap(opened, _entities(entities, pivot), source=pivot)
        measured["entity_jaccard"] = {one.lang: one.jaccard for one in own}
        rows += [score for one in own for score in one.scores(tokenizer, pivot, {"jaccard": "entity_jaccard"})]
    links: dict[tuple[str, str], Correlation] = {}
    left_out: dict[tuple[str, str], str] = {}
    for name, by_lang in reached.items():
        for way, values in measured.items():
            try:
                links[name, way] = correlation(values, by_lang)
            except DataError as error:
                # Entities may be there for a few languages only, and a measure the same for all: the others stand.
                left_out[name, way] = f"{error.found}; expected {error.expected}"
    if figure is not None:
        ((name, by_lang),) = reached.items()
        _draw(measured[measure], by_lang, (_NAMES[measure], f"{metric} of {name}"), figure)
    if out is not None:
        append_scores(out, rows)
    document = {
        "scores": rows,
        "correlations": [{"model": name, "measure": way, "correlation": link} for (name, way), link in links.items()],
        "left_out": [{"model": name, "measure": way, "why": why} for (name, way), why in left_out.items()],
    }
    lines = _lines(measured, pivot, reached, links)
    lines += [f"{name} with {_NAMES[way]}: no correlation, {why}" for (name, way), why in left_out.items()]
    return Answer(document, lines)


def _reached(
    rows: Sequence[Score], wanted: tuple[str, str, str], model: str, source: str, path: Path
) -> dict[str, dict[str, float]]:
    """Model -> language -> mean over seeds of (task, metric, split); the source, which shares all, is left out."""
    from interlingua.errors import DataError

    task, metric, split = wanted
    every_split = [row for row in rows if (row.task, row.metric) == (task, metric) and model in ("", row.model)]
    chosen = [row for row in every_split if row.split == split]
    if every_split and not chosen:
        raise DataError(f"no score {metric!r} of task {task!r} and split {split!r}", where=str(path),
                        expected="--split " + ", ".join(sorted({row.split for row in every_split})))  # fmt: skip
    if not chosen:
        there = sorted({f"{row.task} {row.metric} of {row.model}" for row in rows})
        raise DataError(f"no score {metric!r} of task {task!r}" + (f" and model {model!r}" if model else ""),
                        expected="one of " + ", ".join(there), where=str(path))  # fmt: skip
    values: dict[str, dict[str, list[float]]] = {}
    for row in chosen:
        if row.language != source:
            values.setdefault(row.model, {}).setdefault(row.language, []).append(row.value)
    return {name: {lang: statistics.fmean(own) for lang, own in by.items()} for name, by in values.items()}


def _entities(words: Sequence[str], source: str) -> Iterator[tuple[str, str]]:
    from interlingua.languages import canonical
    from interlingua.tasks.tag import entity_texts, read_tagged_sentences

    for word in words:
        lang, equals, path = word.partition("=")
        if not equals:
            raise typer.BadParameter(f"--entities {word!r}: expected LANG=FILE")
        tag = canonical(lang)
        for text in entity_texts(read_tagged_sentences(Path(path), lang=tag)):
            yield tag, text


def _lines(
    measured: Mapping[str, Mapping[str, float]],
    source: str,
    reached: Mapping[str, Mapping[str, float]],
    links: Mapping[tuple[str, str], Correlation],
) -> list[object]:
    from interlingua.cli.tables import language_names, number, table

    languages = dict.fromkeys(lang for values in measured.values() for lang in values)
    ordered = sorted(languages, key=lambda lang: -measured["jaccard"].get(lang, -1))
    rows = [
        (
            language_names(lang)[0],
            lang,
            *(number(values.get(lang)) for values in measured.values()),
            *(number(values.get(lang)) for values in reached.values()),
            language_names(lang)[1],
        )
        for lang in ordered
    ]
    columns = ["language", "tag", *(_NAMES[name] for name in measured), *reached, ""]
    lines: list[object] = [f"subwords shared with {source}:", table(columns, rows, left=2)]
    if links:
        shown = [
            (name, _NAMES[way], number(link.pearson.value), _span(link.pearson.low, link.pearson.high),
             number(link.spearman.value), _span(link.spearman.low, link.spearman.high), link.n)
            for (name, way), link in links.items()
        ]  # fmt: skip
        heads = ["scores of", "with", "Pearson", "95 %", "Spearman", "95 %", "languages"]
        lines += ["correlation over languages, the source left out:", table(heads, shown, left=2)]
    return lines


def _span(low: float, high: float) -> str:
    from interlingua.cli.tables import number

    return f"{number(low, 2)} to {number(high, 2)}"


def _draw(values: Mapping[str, float], reached: Mapping[str, float], axes_names: tuple[str, str], path: Path) -> None:
    from interlingua.report.plots import language_map
    from interlingua.run import atomic_write

    points = {lang: (value, reached[lang]) for lang, value in values.items() if lang in reached}
    figure = language_map(points, axes_names=axes_names, one_scale=False, title=" and ".join(axes_names), caption="")
    atomic_write(path, figure.svg)
