"""Figures with one row a language share this floor: labels in two columns, rows, numbers at the right edge.

In: language tags and the number of each. Out: a matplotlib figure with one axes whose y values 0..N-1 run downwards.

Decision: margins are measured from the text, not guessed, since autonyms differ in width by a factor of ten and no
automatic layout of matplotlib sees text outside the axes. Price: every label is laid out twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from interlingua.errors import LanguageError
from interlingua.languages import language
from interlingua.report import style
from interlingua.report.fonts import missing_glyphs

__all__ = [
    "WIDTH",
    "LanguageLabel",
    "Rows",
    "label_of",
    "legend_handle",
    "legend_size",
    "number",
    "open_rows",
    "text_width",
]

WIDTH = 7.4
"""Width of figures in inches: 710 CSS pixels, the text column of the page."""

_ROW, _MARGIN, _GAP = 0.205, 0.08, 0.1
_X_HEIGHT = 0.31 * style.SIZE / 72
# Scripts with stacked marks need a little more than Latin to be read.
_AUTONYM_SIZE = style.SIZE + 0.5


@dataclass(frozen=True)
class LanguageLabel:
    """What a figure says about one language; ``autonym`` is empty where it would repeat the name or cannot be drawn."""

    tag: str
    name: str
    autonym: str
    code: str
    family: str
    script: str

    @property
    def short(self) -> str:
        """The autonym, or the name where there is none to draw."""
        return self.autonym or self.name


def label_of(tag: str) -> LanguageLabel:
    """Look ``tag`` up; a language the table does not know (an invented one, say) is labelled with its tag."""
    try:
        known = language(tag)
    except LanguageError:
        return LanguageLabel(tag, tag, "", "", "other", "other")
    drawable = not missing_glyphs(known.autonym)
    autonym = known.autonym if drawable and known.autonym.casefold() != known.name.casefold() else ""
    return LanguageLabel(tag, known.name, autonym, known.code, known.family, known.script)


def number(value: float | None, digits: int) -> str:
    """Write a value with its true minus sign, or a dash where there is none."""
    if value is None or value != value:
        return "–"
    text = f"{value:.{digits}f}"
    # No "−0.00": a sign that rounding has left without a number says nothing.
    return text.replace("-", "−") if text.strip("-0.") else text.lstrip("-")


def text_width(text: str, size: float, code: str = "") -> float:
    """Return the width in inches that ``text`` takes at ``size`` points; call it inside `fonts.language_fonts`."""
    canvas = Canvas(dpi=100)
    drawn = canvas.text(0, 0, text, fontsize=size, language=code or None)
    return float(drawn.get_window_extent(RendererAgg(800, 100, 100)).width) / 100


def legend_handle(label: str, marker: str, colour: str, *, hollow: bool = False, size: float = 5.0) -> Line2D:
    """Make one legend entry that looks like the mark it explains."""
    face = "none" if hollow else colour
    return Line2D([], [], linestyle="none", marker=marker, markersize=size, mec=colour, mfc=face, label=label)


@dataclass(frozen=True)
class Rows:
    """An open figure: draw on ``axes``, row ``i`` at ``y = i``, then hand ``canvas`` to `svg.to_svg`."""

    canvas: Canvas
    axes: Any
    labels: tuple[LanguageLabel, ...]


def open_rows(
    tags: Sequence[str],
    numbers: Sequence[str],
    *,
    handles: Sequence[Line2D] = (),
    axis_label: str = "",
    marked: Mapping[str, str] | None = None,
) -> Rows:
    """Lay out a figure with a row for each of ``tags``.

    Args:
        tags: languages from top to bottom.
        numbers: what stands at the right end of each row.
        handles: legend entries, set above the rows in as many columns as fit.
        axis_label: name and unit of the horizontal axis.
        marked: tag -> words to add to that language's name, such as "taught".

    Returns:
        The figure, with labels, grid and legend drawn.
    """
    labels = tuple(label_of(tag) for tag in tags)
    names = [item.name + (f" ({marked[item.tag]})" if marked and item.tag in marked else "") for item in labels]
    name_width = max(text_width(name, style.SIZE) for name in names)
    autonym_width = max(text_width(item.autonym, _AUTONYM_SIZE, item.code) if item.autonym else 0 for item in labels)
    number_width = max(text_width(text, style.SIZE - 1) for text in numbers)
    left = _MARGIN + autonym_width + _GAP + name_width + _GAP
    right = WIDTH - _MARGIN - number_width - _GAP
    legend_height, columns = legend_size(handles)
    # Room for the tick labels and annotations above the rows, and for ticks and the axis' name below.
    top, bottom = legend_height + (0.48 if len(labels) > 20 else 0.3), 0.5
    body = _ROW * (len(labels) + 0.6)
    height = top + body + bottom
    canvas = Canvas(figsize=(WIDTH, height))
    axes = canvas.add_axes((left / WIDTH, bottom / height, (right - left) / WIDTH, body / height))
    axes.set_ylim(len(labels) - 0.2, -0.8)
    axes.set_yticks(range(len(labels)), labels=[])
    axes.grid(axis="y", linewidth=0.5)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labeltop=len(labels) > 20)
    axes.set_xlabel(axis_label)
    for place, (item, name) in enumerate(zip(labels, names, strict=True)):
        # One baseline for the row: scripts differ in height, so centring each text would make the line dance.
        y = 1 - (top + _ROW * (place + 0.8) + _X_HEIGHT) / height
        canvas.text((left - _GAP) / WIDTH, y, name, ha="right", va="baseline")
        if item.autonym:
            x = (left - 2 * _GAP - name_width) / WIDTH
            canvas.text(
                x, y, item.autonym, ha="right", va="baseline", color=style.MUTED, size=_AUTONYM_SIZE, language=item.code
            )
        size = style.SIZE - 1
        x = (WIDTH - _MARGIN) / WIDTH
        canvas.text(x, y, numbers[place], ha="right", va="baseline", color=style.MUTED, fontsize=size)
    if handles:
        canvas.legend(
            handles=list(handles),
            ncols=columns,
            loc="upper left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.2,
            handletextpad=0.2,
            columnspacing=1.2,
            labelspacing=0.35,
        )
    return Rows(canvas, axes, labels)


def legend_size(handles: Sequence[Line2D]) -> tuple[float, int]:
    """Return the height in inches and the number of columns of a legend as wide as a figure."""
    if not handles:
        return 0.0, 1
    widest = max(text_width(str(handle.get_label()), style.SIZE) for handle in handles) + 0.48
    columns = max(1, min(len(handles), int((WIDTH - 0.2) / widest)))
    lines = -(-len(handles) // columns)
    return 0.1 + 0.175 * lines, columns
