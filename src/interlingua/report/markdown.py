"""A report's sections as Markdown, for pages that stand in a documentation site.

In: the title, lead and sections that :func:`~interlingua.report.page.write_report` takes. Out: Markdown text. Decision:
figures become their alternative text, since a drawing inside Markdown is shown by few readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from interlingua.report.page import Cell, Paragraph, Phrase, Section, Table

__all__ = ["to_markdown"]


def to_markdown(title: str, lead: Paragraph, sections: Sequence[Section]) -> str:
    """The page's text; ends with a line feed."""
    lines = [f"# {title}", "", _inline(lead), ""]
    for section in sections:
        lines += [f"## {section.heading}", ""]
        for paragraph in section.paragraphs:
            lines += [_inline(paragraph), ""]
        for item in section.items:
            lines += _table(item) if isinstance(item, Table) else [item.alt, ""]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    align = table.align or ["left"] * len(table.columns)
    rows = [[_cell(cell, table.digits) for cell in row] for row in table.rows]
    for row, column in table.highlight:
        rows[row][column] = f"**{rows[row][column]}**"
    return [
        *([table.caption, ""] if table.caption else []),
        "| " + " | ".join(name.replace("|", "\\|") for name in table.columns) + " |",
        "| " + " | ".join("---:" if a == "right" else "---" for a in align) + " |",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def _cell(cell: Cell, digits: int) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    text = f"{cell:.{digits}f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else _inline(cell)
    return text.replace("|", "\\|")


def _inline(paragraph: Paragraph) -> str:
    if isinstance(paragraph, (str, Phrase)):
        paragraph = [paragraph]
    return "".join(part.text if isinstance(part, Phrase) else part for part in paragraph)
