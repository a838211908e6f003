"""The figures with a row a language: scores, shifts, retrieval.

In: numbers by language tag. Out: a `page.Figure`, its SVG drawn with the shipped fonts and coloured by family.

Decision: plain mappings rather than score tables come in, so that a study can draw numbers of its own; the report turns
`Scores` into them. A value of ``None`` or NaN keeps its row, gets a dash and goes to the bottom: a language that was
not measured must not look as if it did not exist. Price: sixty languages make a tall figure.

Maps, curves and heat maps are in `interlingua.report.plots`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from interlingua.errors import DataError
from interlingua.report import style
from interlingua.report.fonts import language_fonts
from interlingua.report.page import Figure
from interlingua.report.plots import heatmap, language_map, training_curve
from interlingua.report.rows import LanguageLabel, Rows, label_of, legend_handle, number, open_rows
from interlingua.report.svg import to_svg

__all__ = [
    "heatmap",
    "language_map",
    "retrieval_by_language",
    "scores_by_language",
    "shift_effect",
    "training_curve",
]

Value: TypeAlias = float | None
Grouping: TypeAlias = Literal["family", "script"]


def scores_by_language(
    rows: Mapping[str, Sequence[Value]],
    controls: Mapping[str, Mapping[str, Value]] | None = None,
    source: str | None = None,
    *,
    metric: str = "accuracy",
    chance: float | None = None,
    colour_by: Grouping = "family",
    digits: int = 3,
    title: str | None = None,
    caption: str | None = None,
) -> Figure:
    """Draw a dot a language at the mean over seeds, with a bar from the worst seed to the best.

    Args:
        rows: language -> the score of each seed.
        controls: name of a control (an untrained model, the English head on shuffled labels) -> language -> score.
        source: the language the task was taught in; its score becomes a vertical line.
        metric: name of the score, with its unit if it has one.
        chance: score of a guess; becomes a dashed line.
        colour_by: what colour and marker stand for.
        digits: decimals of the numbers at the right.
        title: heading instead of the automatic one.
        caption: text instead of the automatic one.

    Raises:
        DataError: no language at all.
    """
    _some(rows, "rows")
    controls = controls or {}
    seeds = {tag: [value for value in values if value is not None and _is(value)] for tag, values in rows.items()}
    means = {tag: statistics.fmean(values) if values else None for tag, values in seeds.items()}
    tags = _from_best(means)
    with language_fonts():
        marks = _marks([label_of(tag) for tag in tags], colour_by)
        handles = [
            legend_handle(style.SCRIPTS.get(group, group), mark.marker, mark.colour) for group, mark in marks.items()
        ]
        handles += [
            legend_handle(name, marker, style.MUTED, hollow=True)
            for name, marker in zip(controls, _control_markers(len(controls)), strict=True)
        ]
        figure = open_rows(
            tags,
            [number(means[tag], digits) for tag in tags],
            handles=handles,
            axis_label=metric,
            marked={source: "taught"} if source else None,
        )
        axes = figure.axes
        for place, tag in enumerate(tags):
            for values, marker in zip(controls.values(), _control_markers(len(controls)), strict=True):
                control = values.get(tag)
                if _is(control):
                    axes.plot(control, place, marker, ms=4.2, mec=style.MUTED, mfc="none", mew=0.9, zorder=3)
            mark = marks[_group(figure.labels[place], colour_by)]
            if len(seeds[tag]) > 1:
                ends = (min(seeds[tag]), max(seeds[tag]))
                axes.plot(ends, (place, place), "-", color=mark.colour, lw=3.2, alpha=0.35, solid_capstyle="round")
            if means[tag] is not None:
                axes.plot(means[tag], place, mark.marker, ms=5, mfc=mark.colour, mec=style.PAPER, mew=0.6, zorder=4)
        _reference(figure, chance, "chance", dashed=True)
        if source in means:
            _reference(figure, means[source], figure.labels[tags.index(source)].name, dashed=False)
        svg = to_svg(figure.canvas, _alt(metric, means))
    seed_count = max(len(values) for values in seeds.values())
    spread = f" Bars run from the worst to the best of {seed_count} seeds." if seed_count > 1 else ""
    lines = " The dashed line is chance." if _is(chance) else ""
    taught = (
        f" The solid line is {label_of(source).name}, the language the task was taught in." if source in means else ""
    )
    return Figure(
        title or f"{metric[:1].upper()}{metric[1:]} by language",
        caption if caption is not None else f"{_summary(means, digits)}{spread}{taught}{lines}",
        svg,
        _alt(metric, means),
    )


def shift_effect(
    before: Mapping[str, Value],
    after: Mapping[str, Value],
    *,
    metric: str = "accuracy",
    names: tuple[str, str] = ("before", "after"),
    digits: int = 3,
    title: str | None = None,
    caption: str | None = None,
) -> Figure:
    """Draw for every language a line from its score before to its score after, the largest gain first.

    Args:
        before: language -> score.
        after: language -> score; languages of only one of the two keep a row with what there is.
        metric: name of the score.
        names: what the two ends are called in the legend.
        digits: decimals of the gain at the right.
        title: heading instead of the automatic one.
        caption: text instead of the automatic one.

    Raises:
        DataError: no language at all.
    """
    _some({**before, **after}, "before and after")
    gains: dict[str, Value] = {}
    for tag in {**before, **after}:
        start, end = before.get(tag), after.get(tag)
        gains[tag] = end - start if start is not None and end is not None else None
    tags = _from_best(gains)
    up, down = style.COLOURS[0], style.COLOURS[3]
    with language_fonts():
        handles = [
            legend_handle(names[0], "o", style.MUTED, hollow=True),
            legend_handle(f"{names[1]}, better", "o", up),
            legend_handle(f"{names[1]}, worse", "s", down),
        ]
        figure = open_rows(tags, [_signed(gains[tag], digits) for tag in tags], handles=handles, axis_label=metric)
        axes = figure.axes
        for place, tag in enumerate(tags):
            start, end, gain = before.get(tag), after.get(tag), gains[tag]
            worse = gain is not None and gain < 0
            colour = down if worse else up
            if _is(start) and _is(end):
                axes.plot((start, end), (place, place), "-", color=colour, lw=2.4, alpha=0.45, solid_capstyle="butt")
            if _is(start):
                axes.plot(start, place, "o", ms=4.6, mfc=style.PAPER, mec=style.MUTED, mew=1.0, zorder=3)
            if _is(end):
                axes.plot(end, place, "s" if worse else "o", ms=5, mfc=colour, mec=style.PAPER, mew=0.6, zorder=4)
        alt = _alt(f"gain in {metric}", gains)
        svg = to_svg(figure.canvas, alt)
    filled = [gain for gain in gains.values() if gain is not None and _is(gain)]
    better = sum(gain > 0 for gain in filled)
    mean = _signed(statistics.fmean(filled) if filled else None, digits)
    automatic = f"{better} of {len(filled)} languages gain; the mean change is {mean}. The change is at the right."
    return Figure(
        title or f"{metric[:1].upper()}{metric[1:]}, {names[0]} and {names[1]}",
        caption if caption is not None else automatic,
        svg,
        alt,
    )


def retrieval_by_language(
    values: Mapping[str, Value],
    *,
    compared: Mapping[str, Mapping[str, Value]] | None = None,
    metric: str = "accuracy at 1",
    chance: float | None = None,
    digits: int = 3,
    title: str | None = None,
    caption: str | None = None,
) -> Figure:
    """Draw how often a sentence finds its translation, as a stem from zero for every language.

    Args:
        values: language -> share of sentences whose nearest neighbour is their translation, 0 to 1.
        compared: name of another model or layer -> language -> share; drawn as hollow marks.
        metric: name of the score.
        chance: one over the number of candidates.
        digits: decimals of the numbers at the right.
        title: heading instead of the automatic one.
        caption: text instead of the automatic one.

    Raises:
        DataError: no language at all.
    """
    _some(values, "values")
    compared = compared or {}
    tags = _from_best(values)
    with language_fonts():
        marks = _marks([label_of(tag) for tag in tags], "family")
        handles = [legend_handle(group, mark.marker, mark.colour) for group, mark in marks.items()]
        markers = _control_markers(len(compared))
        handles += [
            legend_handle(name, marker, style.MUTED, hollow=True)
            for name, marker in zip(compared, markers, strict=True)
        ]
        figure = open_rows(tags, [number(values[tag], digits) for tag in tags], handles=handles, axis_label=metric)
        axes = figure.axes
        for place, tag in enumerate(tags):
            mark = marks[_group(figure.labels[place], "family")]
            value = values[tag]
            if value is not None and _is(value):
                axes.plot((0, value), (place, place), "-", color=mark.colour, lw=2.2, alpha=0.45, solid_capstyle="butt")
                axes.plot(value, place, mark.marker, ms=5, mfc=mark.colour, mec=style.PAPER, mew=0.6, zorder=4)
            for others, marker in zip(compared.values(), markers, strict=True):
                other = others.get(tag)
                if _is(other):
                    axes.plot(other, place, marker, ms=4.2, mec=style.MUTED, mfc="none", mew=0.9, zorder=5)
        axes.set_xlim(0, max(1.0, axes.get_xlim()[1]) if _shares(values) else None)
        _reference(figure, chance, "chance", dashed=True)
        svg = to_svg(figure.canvas, _alt(metric, values))
    return Figure(
        title or "How often a sentence finds its translation",
        caption if caption is not None else _summary(values, digits),
        svg,
        _alt(metric, values),
    )


def _is(value: Value) -> bool:
    return value is not None and math.isfinite(value)


def _some(values: Mapping[str, object], where: str) -> None:
    if not values:
        raise DataError(f"no languages to draw: {dict(values)!r}", expected="at least one", where=where)


def _from_best(values: Mapping[str, Value]) -> list[str]:
    """Order by value, the missing last, ties by tag so that the same numbers make the same figure."""
    return sorted(values, key=lambda tag: (not _is(values[tag]), -(values[tag] or 0.0) if _is(values[tag]) else 0, tag))


def _group(label: LanguageLabel, colour_by: Grouping) -> str:
    return label.family if colour_by == "family" else label.script


def _marks(labels: Sequence[LanguageLabel], colour_by: Grouping) -> dict[str, style.Mark]:
    return style.group_marks(_group(label, colour_by) for label in labels)


def _control_markers(count: int) -> list[str]:
    return [style.CONTROL_MARKERS[place % len(style.CONTROL_MARKERS)] for place in range(count)]


def _reference(figure: Rows, value: Value, name: str, *, dashed: bool) -> None:
    """Draw a vertical line over all rows and write its name above it."""
    if not _is(value):
        return
    figure.axes.axvline(value, color=style.MUTED, lw=0.9, linestyle=(0, (4, 3)) if dashed else "-", zorder=1)
    figure.axes.annotate(
        name,
        (value, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 15 if len(figure.labels) > 20 else 3),
        textcoords="offset points",
        ha="center",
        color=style.MUTED,
        fontsize=style.SIZE - 1,
    )


def _signed(value: Value, digits: int) -> str:
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text.strip("0.") else text


def _shares(values: Mapping[str, Value]) -> bool:
    return all(0 <= value <= 1 for value in values.values() if value is not None and _is(value))


def _summary(values: Mapping[str, Value], digits: int) -> str:
    """Say the mean and both ends in a sentence."""
    filled = {tag: value for tag, value in values.items() if value is not None and _is(value)}
    missing = len(values) - len(filled)
    gap = f" {missing} without a value." if missing else ""
    if not filled:
        return f"No values.{gap}"
    if len(filled) == 1:
        tag, value = next(iter(filled.items()))
        return f"{label_of(tag).name}: {number(value, digits)}.{gap}"
    best, worst = max(filled, key=filled.__getitem__), min(filled, key=filled.__getitem__)
    return (
        f"Mean over {len(filled)} languages {number(statistics.fmean(filled.values()), digits)}, from "
        f"{label_of(worst).name} ({number(filled[worst], digits)}) to "
        f"{label_of(best).name} ({number(filled[best], digits)}).{gap}"
    )


def _alt(metric: str, values: Mapping[str, Value]) -> str:
    return f"Chart of {metric} for each of {len(values)} languages. {_summary(values, 3)}"
