"""From rows of scores to sections of a report.

In: :class:`~interlingua.scores.Score` rows. Out: :class:`~interlingua.report.page.Section` values, each a figure and
the table behind it. Decision: a figure never stands without its numbers.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from interlingua.languages import language
from interlingua.report.figures import retrieval_by_language, scores_by_language, shift_effect
from interlingua.report.page import Figure, Phrase, Section, Table
from interlingua.report.plots import layer_curves
from interlingua.scores import LanguageRow, Score, summarise

__all__ = [
    "CONTROL_NAMES",
    "found_section",
    "language_cells",
    "layer_section",
    "retrieval_section",
    "score_section",
    "shift_section",
]

#: How controls are called where people read them.
CONTROL_NAMES = {
    "majority": "majority class",
    "mean": "mean score",
    "tfidf": "TF-IDF n-grams",
    "random": "random weights",
}

#: The language of a measure of several together.
_MANY = "mul"


def language_cells(tag: str) -> tuple[str, Phrase]:
    """English name and autonym of a language, for a table."""
    known = language(tag)
    return known.name, Phrase(known.autonym, tag)


def _values(scores: Sequence[Score], model: str, metric: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for score in scores:
        if score.model == model and score.metric == metric:
            found.setdefault(score.language, []).append(score.value)
    return found


def _means(scores: Sequence[Score], model: str, metric: str) -> dict[str, float]:
    return {lang: statistics.fmean(values) for lang, values in _values(scores, model, metric).items()}


def _examples(rows: Sequence[LanguageRow]) -> str:
    counts = sorted({row.n for row in rows})
    return (
        f"{counts[0]:,} examples a language."
        if len(counts) == 1
        else f"{counts[0]:,} to {counts[-1]:,} examples a language."
    )


def score_section(
    scores: Sequence[Score],
    *,
    heading: str,
    paragraphs: Sequence[str],
    model: str,
    metric: str,
    source: str,
    chance: float | None = None,
) -> Section:
    """Scores by language beside their controls, as a figure and a table."""
    rows: list[LanguageRow] = summarise(scores, metric=metric, source=source, model=model)
    shown = [name for name in CONTROL_NAMES if any(name in row.controls for row in rows)]
    controls: Mapping[str, Mapping[str, float | None]] = {
        CONTROL_NAMES[name]: {row.language: row.controls.get(name) for row in rows} for name in shown
    }
    figure = scores_by_language(
        _values(scores, model, metric), controls, source, metric=metric.replace("_", " "), chance=chance
    )
    table = Table(
        title="The numbers",
        caption=f"{metric.replace('_', ' ')}, mean over {rows[0].seeds} seed(s); spread is the standard deviation over "
        f"seeds; gap is {language(source).name} minus the language.",
        columns=("language", "own name", "mean", "spread", f"gap to {source}", *(CONTROL_NAMES[n] for n in shown)),
        rows=[
            (*language_cells(row.language), row.mean, row.spread, row.gap, *(row.controls.get(n) for n in shown))
            for row in rows
        ],
    )
    return Section(heading, tuple(paragraphs), (figure, table))


def shift_section(
    scores: Sequence[Score], *, heading: str, paragraphs: Sequence[str], model: str, metric: str
) -> Section:
    """What moving each language's mean onto the source's does, per language."""
    before, after = _means(scores, model, metric), _means(scores, f"{model}+shift", metric)
    others = {lang: value for lang, value in before.items() if lang in after and after[lang] != value}
    kept = others or before
    figure = shift_effect(
        {lang: before[lang] for lang in kept},
        {lang: after.get(lang) for lang in kept},
        metric=metric.replace("_", " "),
        names=("as it is", "mean shifted"),
    )
    return Section(heading, tuple(paragraphs), (figure,))


def retrieval_section(
    scores: Sequence[Score], *, heading: str, paragraphs: Sequence[str], model: str, chance: float | None = None
) -> Section:
    """Retrieval by language, raw and centred, as a figure and a table."""
    raw, moved = _means(scores, model, "p1"), _means(scores, f"{model}+centred", "p1")
    figure = retrieval_by_language(
        raw,
        compared={"each language centred": dict(moved)} if moved else None,
        metric="P@1, mean of both ways",
        chance=chance,
    )
    there, back = _means(scores, model, "p1_from_source"), _means(scores, model, "p1_to_source")
    table = Table(
        title="The numbers",
        caption="P@1: share of sentences whose nearest sentence is their translation.",
        columns=("language", "own name", "from the source", "to the source", "mean", "mean, centred"),
        rows=[
            (*language_cells(lang), there.get(lang), back.get(lang), raw[lang], moved.get(lang))
            for lang in sorted(raw, key=lambda tag: -raw[tag])
        ],
    )
    return Section(heading, tuple(paragraphs), (figure, table))


def found_section(scores: Sequence[Score], *, heading: str, model: str, metric: str) -> Section:
    """What was found by vectors, by language: one metric as a figure, all as a table; centred beside it where measured.

    Args:
        scores: rows of one task.
        heading: of the section.
        model: name in the rows.
        metric: what the figure shows.
    """
    names = list(dict.fromkeys(score.metric for score in scores if score.model == model))
    raw = {name: _means(scores, model, name) for name in names}
    moved = _means(scores, f"{model}+centred", metric)
    figure = retrieval_by_language(
        raw[metric],
        compared={"centred": dict(moved)} if moved else None,
        metric=metric,
        title="By language",
        caption="",
    )
    table = Table(
        title="The numbers",
        caption="",
        columns=("language", "own name", *names, *([f"{metric}, centred"] if moved else [])),
        rows=[
            (*language_cells(lang), *(raw[name].get(lang) for name in names), *([moved.get(lang)] if moved else []))
            for lang in sorted(raw[metric], key=lambda tag: -raw[metric][tag])
        ],
    )
    counts = sorted({score.n for score in scores if score.model == model})
    number = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return Section(
        heading, (f"Found by vectors; nothing was taught. {number} looked for a language.",), (figure, table)
    )


def layer_section(scores: Sequence[Score], *, heading: str) -> Section:
    """What a probe measured by layer: for every metric the curves and the table of means over languages.

    Args:
        scores: rows of one probe, each with a layer in its task's name.
        heading: of the section.
    """
    blocks: list[Figure | Table] = []
    for metric in dict.fromkeys(score.metric for score in scores):
        if metric.endswith(("_from_source", "_to_source")):
            continue
        own = [score for score in scores if score.metric == metric]
        both = len({score.language == _MANY for score in own}) == 2
        cells: dict[str, dict[int, list[float]]] = {}
        for score in own:
            if score.layer is not None:
                name = _measured(score) + (", languages together" if both and score.language == _MANY else "")
                cells.setdefault(name, {}).setdefault(score.layer, []).append(score.value)
        means = {name: {layer: statistics.fmean(some) for layer, some in by.items()} for name, by in cells.items()}
        layers = sorted({layer for by in means.values() for layer in by})
        called = metric.replace("_", " ")
        if len(layers) > 1:
            blocks.append(layer_curves(means, called, title=f"{called} by layer"))
        rows = [(layer, *(by.get(layer) for by in means.values())) for layer in layers]
        blocks.append(Table(f"{called}", "", ("layer", *means), rows))
    spoken: dict[str, set[str]] = {}
    for score in scores:
        spoken.setdefault(_measured(score), set()).add(score.language)
    count = max(len(own - {_MANY}) for own in spoken.values())
    text = f"Means over up to {count} languages. Layer 0: the embeddings." if count > 1 else "Layer 0: the embeddings."
    return Section(heading, (text,), tuple(blocks))


def _measured(score: Score) -> str:
    """The model, and what the task's name says beside the probe and the layer."""
    _, *parts = (part for part in score.task.split(".") if part != f"layer{score.layer}")
    return ", ".join([score.model, *parts])
