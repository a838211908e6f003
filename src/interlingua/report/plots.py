"""The figures without language rows: map, curves, heat map.

In: coordinates, series or a matrix. Out: a `page.Figure`.

Decision: names stand beside what they name (at the point, at the end of the line) rather than in a legend, as far as
they can be kept from lying on each other by a greedy search. Price: on a crowded map some names stand at the end of a
thin line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colors
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.report import style
from interlingua.report.fonts import language_fonts
from interlingua.report.page import Figure
from interlingua.report.rows import WIDTH, label_of, legend_handle, legend_size, number, text_width
from interlingua.report.svg import to_svg

__all__ = ["heatmap", "language_map", "layer_curves", "training_curve"]

_SEQUENTIAL = ("#f3f6fa", "#c5d9ec", "#7fb3d9", "#2f82bb", "#0a5590", "#04305a")
_DIVERGING = ("#8c3a00", "#d98246", "#f3cfae", "#f5f5f3", "#b3d3ea", "#4b96c9", "#084f88")


def language_map(
    points: Mapping[str, tuple[float, float]],
    families: Mapping[str, str] | None = None,
    *,
    axes_names: tuple[str, str] = ("first component", "second component"),
    one_scale: bool = True,
    title: str = "Languages by their mean vectors",
    caption: str = "Languages near each other have similar mean vectors. The two axes have the same scale.",
) -> Figure:
    """Draw languages as points of a plane, each with its autonym.

    Args:
        points: language -> (x, y), for example the first two principal components of the language means.
        families: language -> group that sets colour and marker; by default the family in the table of languages.
        axes_names: names of the two axes.
        one_scale: whether distances mean something; else each axis is as long as its numbers need, for two measures.
        title: heading.
        caption: how to read it.

    Raises:
        DataError: no language, or a coordinate that is not a finite number.
    """
    if not points:
        raise DataError(f"no languages to draw: {dict(points)!r}", expected="at least one", where="points")
    for tag, point in points.items():
        if len(point) != 2 or not all(math.isfinite(value) for value in point):
            raise DataError(f"{tag!r} lies at {point!r}", expected="two finite numbers", where="points")
    tags = sorted(points)
    places_N2 = np.array([points[tag] for tag in tags], dtype=float)
    with language_fonts():
        labels = [label_of(tag) for tag in tags]
        groups = [(families or {}).get(label.tag, label.family) for label in labels]
        marks = style.group_marks(groups)
        handles = [legend_handle(group, mark.marker, mark.colour) for group, mark in marks.items()]
        legend_height, legend_columns = legend_size(handles)
        canvas, axes = _square(places_N2, legend_height) if one_scale else _oblong(places_N2, legend_height)
        for place_2, group in zip(places_N2, groups, strict=True):
            mark = marks[group]
            axes.plot(*place_2, mark.marker, ms=5.5, mfc=mark.colour, mec=style.PAPER, mew=0.6, zorder=3)
        axes.set_xlabel(axes_names[0])
        axes.set_ylabel(axes_names[1])
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(-0.01, 1.0),
            ncols=legend_columns,
            handletextpad=0.2,
            columnspacing=1.2,
            labelspacing=0.35,
        )
        size = style.SIZE if len(tags) <= 40 else style.SIZE - 1
        boxes_N2 = np.array([(text_width(label.short, size, label.code) * 72 + 2, size * 1.5) for label in labels])
        anchors_N2 = axes.transData.transform(places_N2) * 72 / canvas.dpi
        frame = axes.get_window_extent().extents * 72 / canvas.dpi
        centres_N2 = _place_labels(anchors_N2, boxes_N2, frame)
        for label, anchor_2, centre_2, box_2 in zip(labels, anchors_N2, centres_N2, boxes_N2, strict=True):
            _write_label(canvas, axes, label.short, label.code, anchor_2, centre_2, box_2, size)
        alt = f"Map of {len(tags)} languages in two dimensions, coloured by {len(marks)} groups: {', '.join(marks)}."
        svg = to_svg(canvas, alt)
    return Figure(title, caption, svg, alt)


def _square(places_N2: NDArray[np.float64], above: float) -> tuple[Canvas, Any]:
    """Open axes with one scale for both directions, since distances are what a map is read for."""
    low_2, high_2 = places_N2.min(0), places_N2.max(0)
    span = float((high_2 - low_2).max()) or 1.0
    span_2 = np.maximum(high_2 - low_2, span * 0.3)
    width = WIDTH - 0.65
    # Few names need little room; a crowded map takes as much height as the page's width.
    height = min(width * float(span_2[1] / span_2[0]), 2.6 + 0.14 * len(places_N2), 7.5)
    total = height + above + 0.6
    canvas = Canvas(figsize=(WIDTH, total))
    axes = canvas.add_axes((0.55 / WIDTH, 0.5 / total, width / WIDTH, height / total))
    # Units per inch, the same both ways and such that all points fit: matplotlib's own equal aspect may cut points off.
    scale = 1.12 * max(span_2[0] / width, span_2[1] / height)
    middle_2, half_2 = (low_2 + high_2) / 2, scale * np.array([width, height]) / 2
    axes.set_xlim(middle_2[0] - half_2[0], middle_2[0] + half_2[0])
    axes.set_ylim(middle_2[1] - half_2[1], middle_2[1] + half_2[1])
    return canvas, axes


def _oblong(places_N2: NDArray[np.float64], above: float) -> tuple[Canvas, Any]:
    """Open axes whose directions have a scale each."""
    height = min(3.4 + 0.05 * len(places_N2), 6.0)
    total = height + above + 0.6
    canvas = Canvas(figsize=(WIDTH, total))
    axes = canvas.add_axes((0.65 / WIDTH, 0.5 / total, (WIDTH - 0.75) / WIDTH, height / total))
    low_2, high_2 = places_N2.min(0), places_N2.max(0)
    margin_2 = 0.06 * np.where(high_2 > low_2, high_2 - low_2, 1.0)
    axes.set_xlim(low_2[0] - margin_2[0], high_2[0] + margin_2[0])
    axes.set_ylim(low_2[1] - margin_2[1], high_2[1] + margin_2[1])
    return canvas, axes


def _place_labels(
    anchors_N2: NDArray[np.float64], boxes_N2: NDArray[np.float64], frame: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Find a centre for every label, in points, the most crowded first.

    Each label tries sixteen directions at growing distances and takes the cheapest, where overlap with labels already
    placed, with points, and with the frame costs most, and distance a little.
    """
    spacing_NN = np.linalg.norm(anchors_N2[:, None] - anchors_N2[None], axis=-1)
    crowding_N = (spacing_NN < 60).sum(1)
    angles = np.arange(16) * (2 * np.pi / 16)
    centres_N2 = anchors_N2.copy()
    placed: list[int] = []
    for index in np.argsort(-crowding_N, kind="stable"):
        half_2 = boxes_N2[index] / 2
        best = (math.inf, anchors_N2[index])
        for distance in (5.0, 9.0, 15.0, 23.0, 33.0, 45.0, 60.0):
            for angle in angles:
                direction_2 = np.array([math.cos(angle), math.sin(angle)])
                # The box touches the circle of this radius, whichever way it lies.
                reach = distance + min(
                    half_2[0] / max(abs(direction_2[0]), 1e-9), half_2[1] / max(abs(direction_2[1]), 1e-9)
                )
                centre_2 = anchors_N2[index] + direction_2 * reach
                cost = distance * 3 + 4 * (1 - direction_2[0])
                cost += _overlap(centre_2, half_2, centres_N2[placed], boxes_N2[placed] / 2) * 8
                cost += _overlap(centre_2, half_2, anchors_N2, np.full_like(anchors_N2, 3.2)) * 6
                outside_2 = np.maximum(frame[:2] - (centre_2 - half_2), 0) + np.maximum(
                    centre_2 + half_2 - frame[2:], 0
                )
                cost += float(outside_2.sum()) * 40
                if cost < best[0]:
                    best = (cost, centre_2)
        centres_N2[index] = best[1]
        placed.append(int(index))
    return centres_N2


def _overlap(
    centre_2: NDArray[np.float64],
    half_2: NDArray[np.float64],
    centres_K2: NDArray[np.float64],
    halves_K2: NDArray[np.float64],
) -> float:
    """Return the area, in square points, that a box shares with others."""
    shared_K2 = np.maximum(half_2 + halves_K2 - np.abs(centre_2 - centres_K2), 0)
    return float(shared_K2.prod(1).sum())


def _write_label(
    canvas: Canvas,
    axes: Any,
    text: str,
    code: str,
    anchor_2: NDArray[np.float64],
    centre_2: NDArray[np.float64],
    box_2: NDArray[np.float64],
    size: float,
) -> None:
    gap_2 = np.abs(centre_2 - anchor_2) - box_2 / 2
    far = float(np.linalg.norm(np.maximum(gap_2, 0))) > 11
    to_pixels = canvas.dpi / 72
    if far:
        nearest_2 = np.clip(anchor_2, centre_2 - box_2 / 2, centre_2 + box_2 / 2)
        ends_22 = axes.transData.inverted().transform(np.array([anchor_2, nearest_2]) * to_pixels)
        axes.plot(ends_22[:, 0], ends_22[:, 1], "-", color=style.MUTED, lw=0.5, zorder=2, scalex=False, scaley=False)
    x, y = axes.transData.inverted().transform(centre_2 * to_pixels)
    axes.text(x, y, text, ha="center", va="center", fontsize=size, language=code or None, zorder=5)


def training_curve(
    steps: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    *,
    measure: str = "loss",
    axis: str = "step",
    languages: bool = False,
    title: str = "Training",
    caption: str = "",
) -> Figure:
    """Draw one line a series over the steps, each named at its end.

    Args:
        steps: the horizontal axis, in updates (or tokens: say so in the caption).
        series: name (an objective, or a language tag) -> as many values as steps; ``None`` leaves a gap.
        measure: name and unit of the vertical axis: "loss (nats per token)", "bits per character".
        axis: what one place of the horizontal axis is: a step, a layer.
        languages: the names of series are language tags, to be written as languages.
        title: heading.
        caption: how to read it.

    Raises:
        DataError: no series, or one of another length than ``steps``.
    """
    if not series:
        raise DataError(f"no series to draw: {dict(series)!r}", expected="at least one", where="series")
    for name, values in series.items():
        if len(values) != len(steps):
            raise DataError(
                f"series {name!r} has {len(values)} values", expected=f"{len(steps)}, one a step", where="series"
            )
    with language_fonts():
        labels = {name: label_of(name) for name in series} if languages else {}
        texts = {name: labels[name].short if languages else name for name in series}
        codes = {name: labels[name].code if languages else "" for name in series}
        widest = max(text_width(texts[name], style.SIZE, codes[name]) for name in series)
        height = max(3.4, 0.175 * len(series) + 0.8)
        canvas = Canvas(figsize=(WIDTH, height))
        axes = canvas.add_axes((0.6 / WIDTH, 0.5 / height, (WIDTH - 0.95 - widest) / WIDTH, 1 - 0.7 / height))
        dashes = ((0, ()), (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1.5, 2)))
        ends: list[tuple[str, float, str]] = []
        for place, (name, values) in enumerate(series.items()):
            colour = style.COLOURS[place % len(style.COLOURS)]
            line = np.array([math.nan if value is None else value for value in values], dtype=float)
            pattern = dashes[place // len(style.COLOURS) % len(dashes)]
            marker = "o" if np.isfinite(line).sum() == 1 else None
            axes.plot(steps, line, color=colour, lw=1.6, linestyle=pattern, marker=marker, ms=4)
            finite = line[np.isfinite(line)]
            ends.append((name, float(finite[-1]) if finite.size else math.nan, colour))
        axes.set_xlabel(axis)
        axes.set_ylabel(measure)
        axes.margins(x=0.01)
        _name_ends(canvas, axes, ends, texts, codes)
        alt = f"Curves of {measure} over {len(steps)} {axis}s. " + " ".join(
            f"{name} ends at {number(end, 3)}." for name, end, _ in ends
        )
        svg = to_svg(canvas, alt)
    return Figure(title, caption, svg, alt)


def _name_ends(
    canvas: Canvas,
    axes: Any,
    ends: Sequence[tuple[str, float, str]],
    texts: Mapping[str, str],
    codes: Mapping[str, str],
) -> None:
    """Write names at the right edge, pushed apart until none touches another, with a line to where each belongs."""
    named = sorted((end for end in ends if math.isfinite(end[1])), key=lambda end: end[1])
    if not named:
        return
    frame = axes.get_window_extent().extents * 72 / canvas.dpi
    # Reading the limits makes matplotlib settle them; transData alone would still be the empty axes'.
    axes.get_ylim()
    wanted = np.array([axes.transData.transform((0, end[1]))[1] * 72 / canvas.dpi for end in named])
    step = style.SIZE * 1.42
    heights = _spread(wanted, step, float(frame[1]), float(frame[3]))
    for (name, end, colour), height in zip(named, heights, strict=True):
        share = (height - frame[1]) / (frame[3] - frame[1])
        line = {"arrowstyle": "-", "color": colour, "lw": 0.8, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
        axes.annotate(
            texts[name],
            (1, end),
            xycoords=("axes fraction", "data"),
            xytext=(1 + 16 / (frame[2] - frame[0]), share),
            textcoords="axes fraction",
            va="center",
            language=codes[name] or None,
            arrowprops=line,
            annotation_clip=False,
        )


def _spread(wanted: NDArray[np.float64], step: float, low: float, high: float) -> NDArray[np.float64]:
    """Move sorted heights as little as needed so that neighbours are ``step`` apart, between ``low`` and ``high``.

    The least-squares answer is isotonic regression of ``wanted - i * step``, done by pooling neighbours.
    """
    offsets = wanted - step * np.arange(len(wanted))
    blocks: list[tuple[float, int]] = []
    for offset in offsets:
        mean, size = float(offset), 1
        while blocks and blocks[-1][0] > mean:
            other, others = blocks.pop()
            mean, size = (mean * size + other * others) / (size + others), size + others
        blocks.append((mean, size))
    pooled = np.concatenate([np.full(size, mean) for mean, size in blocks])
    clipped: NDArray[np.float64] = np.clip(pooled, low, max(low, high - step * (len(wanted) - 1)))
    return clipped + step * np.arange(len(wanted))


def heatmap(
    matrix: Sequence[Sequence[float | None]] | NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    measure: str = "",
    centre: float | None = None,
    languages: bool = True,
    digits: int = 2,
    title: str = "",
    caption: str = "",
) -> Figure:
    """Draw a matrix as tinted cells; up to 16 columns the numbers stand in the cells.

    Args:
        matrix: [rows, columns]; ``None`` or NaN leaves a cell empty, with a dash.
        rows: names of the rows; language tags are written as languages.
        columns: names of the columns, likewise.
        measure: name and unit of the numbers.
        centre: with a value, two colours part there; without, one colour grows darker with the number.
        languages: read names as language tags where they are.
        digits: decimals.
        title: heading.
        caption: how to read it.

    Raises:
        DataError: an empty matrix, or one of another shape than its names.
    """
    if not rows or not columns:
        raise DataError(f"names {list(rows)!r} by {list(columns)!r}", expected="a row and a column", where="matrix")
    uneven = [len(row) for row in matrix if len(row) != len(columns)]
    if len(matrix) != len(rows) or uneven:
        raise DataError(
            f"{len(matrix)} rows of {sorted({len(row) for row in matrix})!r} cells",
            expected=f"{len(rows)} rows of {len(columns)}",
            where="matrix",
        )
    cells = np.array([[math.nan if cell is None else cell for cell in row] for row in matrix], dtype=float)
    with language_fonts():
        row_names = [_short(name, languages) for name in rows]
        column_names = [_short(name, languages) for name in columns]
        left = 0.2 + max(text_width(*name) for name in row_names)
        above = 0.2 + max(text_width(*name) for name in column_names)
        side = min(0.52, (WIDTH - left - 0.85) / len(columns))
        tall = max(0.2, min(side, 0.3))
        height = above + tall * len(rows) + 0.15
        canvas = Canvas(figsize=(WIDTH, height))
        box = (left / WIDTH, 0.1 / height, side * len(columns) / WIDTH, tall * len(rows) / height)
        axes = canvas.add_axes(box)
        norm, palette = _tints(cells, centre)
        axes.pcolormesh(np.ma.masked_invalid(cells), cmap=palette, norm=norm, edgecolors=style.PAPER, linewidth=0.8)
        axes.set_ylim(len(rows), 0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(labelleft=False, labelbottom=False)
        for place, (text, size, code) in enumerate(row_names):
            axes.annotate(
                text,
                (0, place + 0.5),
                (-5, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                language=code or None,
                size=size,
            )
        for place, (text, size, code) in enumerate(column_names):
            axes.annotate(
                text,
                (place + 0.5, 0),
                (0, 5),
                textcoords="offset points",
                ha="center",
                va="bottom",
                rotation=90,
                language=code or None,
                size=size,
            )
        if side >= 0.33:
            _write_cells(axes, cells, norm, palette, digits)
        key = canvas.add_axes(((left + side * len(columns) + 0.15) / WIDTH, box[1], 0.12 / WIDTH, box[3]))
        _draw_key(key, norm, palette, measure)
        finite = cells[np.isfinite(cells)]
        ends = (
            f"from {number(float(finite.min()), digits)} to {number(float(finite.max()), digits)}"
            if finite.size
            else "empty"
        )
        alt = f"Heat map of {measure or 'values'}, {len(rows)} rows by {len(columns)} columns, {ends}."
        svg = to_svg(canvas, alt)
    return Figure(title or measure, caption, svg, alt)


def _short(name: str, languages: bool) -> tuple[str, float, str]:
    """Return text, size and language code of a row or column name."""
    label = label_of(name) if languages else None
    return (label.short, style.SIZE, label.code) if label else (name, style.SIZE, "")


def _tints(cells: NDArray[np.float64], centre: float | None) -> tuple[colors.Normalize, colors.Colormap]:
    finite = cells[np.isfinite(cells)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if centre is None:
        return colors.Normalize(low, high if high > low else low + 1), colors.LinearSegmentedColormap.from_list(
            "interlingua", _SEQUENTIAL
        )
    reach = max(abs(low - centre), abs(high - centre)) or 1.0
    palette = colors.LinearSegmentedColormap.from_list("interlingua-diverging", _DIVERGING)
    return colors.Normalize(centre - reach, centre + reach), palette


def _write_cells(
    axes: Any, cells: NDArray[np.float64], norm: colors.Normalize, palette: colors.Colormap, digits: int
) -> None:
    for (row, column), value in np.ndenumerate(cells):
        if math.isfinite(value):
            red, green, blue, _ = palette(norm(value))
            # Relative luminance, WCAG 2.2, without the gamma step: enough to choose between two inks.
            ink = "#14181c" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.48 else "#ffffff"
        else:
            ink = style.MUTED
        text = number(float(value), digits)
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink, fontsize=style.SIZE - 1.5)


def _draw_key(axes: Any, norm: colors.Normalize, palette: colors.Colormap, measure: str) -> None:
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 0.0)
    edges = np.linspace(low, high, 49)
    axes.pcolormesh(
        [0, 1],
        edges,
        edges[:-1, None] + np.diff(edges)[:, None] / 2,
        cmap=palette,
        norm=norm,
        edgecolors="face",
        lw=0.6,
    )
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(measure)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def layer_curves(
    series: Mapping[str, Mapping[int, float]], measure: str, *, title: str, caption: str = "", languages: bool = False
) -> Figure:
    """Draw one line a series over the layers.

    Args:
        series: name -> layer (0: the embeddings) -> value; a layer that a series lacks leaves a gap.
        measure: name of the vertical axis.
        title: heading.
        caption: how to read it.
        languages: the names of series are language tags, to be written as languages.

    Raises:
        DataError: no series.
    """
    layers = sorted({layer for by_layer in series.values() for layer in by_layer})
    rows = {name: [by_layer.get(layer) for layer in layers] for name, by_layer in series.items()}
    return training_curve(
        layers, rows, measure=measure, axis="layer", languages=languages, title=title, caption=caption
    )
