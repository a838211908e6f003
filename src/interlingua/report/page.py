"""The report page: one HTML file that needs nothing else.

In: a title, a few facts, and sections of paragraphs, figures and tables. Out: one file with its style, its drawings and
a sorting script of a dozen lines inside; no font, image or script is fetched, and a content security policy in the page
forbids it.

Decision: frozen values in, text out, with no template engine: the page has six kinds of thing. Price: a new kind of
thing is Python here rather than a template somewhere. All text is escaped; text in another language travels as a
`Phrase`, so that it gets its ``lang`` and ``dir`` and with them the right font, line breaks and voice.
"""

from __future__ import annotations

import html
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias
from xml.etree import ElementTree

from interlingua.errors import DataError, LanguageError, SaveError
from interlingua.languages import language
from interlingua.report.pagestyle import SORTING, STYLE

__all__ = ["Align", "Cell", "Figure", "Paragraph", "Phrase", "Section", "Table", "write_report"]

Align: TypeAlias = Literal["left", "right"]

#: Tables of so many columns are set smaller and closer, and their headings may break.
_DENSE = 7


@dataclass(frozen=True)
class Phrase:
    """Text in a language other than the page's English.

    Attributes:
        text: the text.
        language: any tag `interlingua.languages.language` accepts; for others the browser guesses the direction.
    """

    text: str
    language: str


Cell: TypeAlias = str | int | float | Phrase | None
Paragraph: TypeAlias = str | Phrase | Sequence[str | Phrase]


@dataclass(frozen=True)
class Figure:
    """One drawing.

    Attributes:
        title: what it shows, or better: what it says.
        caption: how to read it, with the numbers that matter.
        svg: one ``<svg>`` element.
        alt: the same for a reader who cannot see it.
    """

    title: str
    caption: str
    svg: str
    alt: str


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: what it shows.
        caption: how to read it.
        columns: headings.
        rows: as many cells as there are columns; ``None`` and NaN become a dash.
        align: per column; by default columns of numbers to the right, others to the left.
        highlight: (row, column) of cells to set in bold.
        digits: decimals of floating-point cells.
    """

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    align: Sequence[Align] | None = None
    highlight: frozenset[tuple[int, int]] = frozenset()
    digits: int = 3


@dataclass(frozen=True)
class Section:
    """A heading, some paragraphs, and the figures and tables that belong to them."""

    heading: str
    paragraphs: Sequence[Paragraph] = ()
    items: Sequence[Figure | Table] = field(default=())


def write_report(
    path: str | Path, title: str, lead: Paragraph, facts: Mapping[str, str], sections: Sequence[Section]
) -> Path:
    """Write the page; what stood at ``path`` is replaced only when the new page is complete.

    Args:
        path: where to; missing folders are made.
        title: heading of the page.
        lead: what came out, in a sentence or two.
        facts: the run in short: model, data, seed and so on.
        sections: the rest.

    Returns:
        The path written.

    Raises:
        DataError: a table's rows do not match its columns, or a figure's SVG is not a plain drawing.
        SaveError: the file could not be written.
    """
    page = _page(title, lead, facts, sections)
    target = Path(path)
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(page)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files for their owner alone; a report is there to be shared.
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise SaveError(
            f"the report could not be written: {error}",
            where=str(target),
            next_step="free some space or choose a folder you may write to",
        ) from error
    return target


def _page(title: str, lead: Paragraph, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    known = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items())
    contents = "".join(
        f'<li><a href="#section-{place}">{_text(section.heading)}</a></li>' for place, section in enumerate(sections, 1)
    )
    body = "\n".join(_section(section, place) for place, section in enumerate(sections, 1))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'; img-src data:">
<title>{_text(title)}</title>
<style>
{STYLE}
</style>
</head>
<body>
<header>
<h1>{_text(title)}</h1>
<p class="lead">{_inline(lead)}</p>
{f'<dl class="facts">{known}</dl>' if facts else ""}
{f'<nav aria-label="Contents"><ol>{contents}</ol></nav>' if len(sections) > 2 else ""}
</header>
<main>
{body}
</main>
<script>
{SORTING}
</script>
</body>
</html>
"""


def _section(section: Section, place: int) -> str:
    paragraphs = "".join(f"<p>{_inline(paragraph)}</p>\n" for paragraph in section.paragraphs)
    items = "\n".join(_figure(item) if isinstance(item, Figure) else _table(item) for item in section.items)
    return f'<section id="section-{place}">\n<h2>{_text(section.heading)}</h2>\n{paragraphs}{items}\n</section>'


def _figure(figure: Figure) -> str:
    _check_drawing(figure)
    caption = f"<p>{_text(figure.caption)}</p>" if figure.caption else ""
    return (
        f"<figure><figcaption><h3>{_text(figure.title)}</h3>{caption}</figcaption>"
        f'<div class="wide" tabindex="0" role="group" aria-label="{_text(figure.alt)}">{figure.svg}</div></figure>'
    )


def _check_drawing(figure: Figure) -> None:
    """Refuse what could run or fetch: an SVG goes into the page unescaped."""
    where = f"figure {figure.title!r}"
    try:
        root = ElementTree.fromstring(figure.svg)
    except ElementTree.ParseError as error:
        raise DataError(f"the SVG is not XML: {error}", expected="one <svg> element", where=where) from error
    for element in root.iter():
        name = element.tag.rpartition("}")[2].lower()
        links = [value for key, value in element.attrib.items() if key.rpartition("}")[2].lower() in ("href", "src")]
        runs = [key for key in element.attrib if key.rpartition("}")[2].lower().startswith("on")]
        foreign = [value for value in links if not value.startswith(("#", "data:image/"))]
        if name in ("script", "foreignobject", "style", "iframe") or runs or foreign:
            raise DataError(
                f"the SVG holds <{name}> with {(runs + foreign)!r}",
                expected="a drawing without scripts, style sheets or outside references",
                where=where,
                next_step="draw it with interlingua.report.figures",
            )


def _table(table: Table) -> str:
    for place, row in enumerate(table.rows):
        if len(row) != len(table.columns):
            raise DataError(
                f"row {place} has {len(row)} cells: {list(row)!r}",
                expected=f"{len(table.columns)} cells, one for each of {list(table.columns)!r}",
                where=f"table {table.title!r}",
            )
    align = table.align or [
        _natural_alignment([row[place] for row in table.rows]) for place in range(len(table.columns))
    ]
    if len(align) != len(table.columns):
        raise DataError(
            f"align names {len(align)} columns: {list(align)!r}",
            expected=f"{len(table.columns)}",
            where=f"table {table.title!r}",
        )
    head = "".join(
        f'<th scope="col"{_side(side)}>{_text(name)}</th>' for name, side in zip(table.columns, align, strict=True)
    )
    rows = []
    for place, row in enumerate(table.rows):
        cells = []
        for column, (cell, side) in enumerate(zip(row, align, strict=True)):
            strong = (place, column) in table.highlight
            content = f"<strong>{_cell(cell, table.digits)}</strong>" if strong else _cell(cell, table.digits)
            opening, closing = ('<th scope="row"', "</th>") if column == 0 else ("<td", "</td>")
            cells.append(f"{opening}{_side(side)}{_sort_key(cell)}>{content}{closing}")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    caption = f"<p>{_text(table.caption)}</p>" if table.caption else ""
    dense = " dense" if len(table.columns) >= _DENSE else ""
    return (
        f'<figure class="table{dense}"><figcaption><h3>{_text(table.title)}</h3>{caption}</figcaption>'
        f'<div class="wide" tabindex="0" role="group" aria-label="{_text(table.title)}"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(rows)}</tbody></table></div></figure>"
    )


def _natural_alignment(cells: Sequence[Cell]) -> Align:
    filled = [cell for cell in cells if cell is not None]
    return "right" if filled and all(isinstance(cell, int | float) for cell in filled) else "left"


def _side(side: Align) -> str:
    return ' class="number"' if side == "right" else ""


def _sort_key(cell: Cell) -> str:
    if not isinstance(cell, int | float) or not math.isfinite(cell):
        return ""
    # Through float, since the repr of numpy's numbers is not a number.
    return f' data-value="{float(cell)!r}"'


def _cell(cell: Cell, digits: int) -> str:
    if cell is None or cell != cell:
        return '<span class="missing" title="no value">–</span>'
    if isinstance(cell, Phrase):
        return _inline(cell)
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        # A thin space groups thousands in every locale.
        return f"{cell:,}".replace(",", "\u202f").replace("-", "−")
    if isinstance(cell, float):
        return f"{cell:.{digits}f}".replace("-", "−")
    return _text(cell)


def _inline(content: Paragraph) -> str:
    if isinstance(content, str):
        return _text(content)
    if isinstance(content, Phrase):
        try:
            known = language(content.language)
        except LanguageError:
            return f'<bdi lang="{_text(content.language)}" dir="auto">{_text(content.text)}</bdi>'
        return f'<bdi lang="{_text(known.code)}" dir="{known.direction}">{_text(content.text)}</bdi>'
    return "".join(_inline(part) for part in content)


def _text(text: str) -> str:
    return html.escape(text, quote=True)
