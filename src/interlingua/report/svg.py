"""From a matplotlib figure to an SVG that may stand in any page, together with others.

In: a `matplotlib.figure.Figure`. Out: one ``<svg>`` element as text, with letters as paths.

Decision: matplotlib's SVG is a whole document with global ids, comments, metadata and fixed colours. We take off what a
page does not need, prefix the ids with a digest of the drawing (two figures in one page would otherwise share clip
paths and letters), and turn house colours into CSS custom properties. Price: regular expressions over matplotlib's
output; the tests parse what comes out as XML, and CI pins matplotlib.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
from typing import TYPE_CHECKING

from interlingua.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

__all__ = ["to_svg"]


def to_svg(canvas: Canvas, alt: str) -> str:
    """Write ``canvas`` as an SVG element; call it inside `fonts.language_fonts`.

    Args:
        canvas: a matplotlib figure.
        alt: what a reader who cannot see the figure should know; becomes its accessible name.

    Returns:
        ``<svg ...>...</svg>``, the same text for the same figure.
    """
    stream = io.StringIO()
    canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawing = stream.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    for unwanted in (r"<!--.*?-->", r"<metadata>.*?</metadata>", r"<style[^>]*>.*?</style>", r"<defs>\s*</defs>"):
        drawing = re.sub(unwanted, "", drawing, flags=re.DOTALL)
    drawing = drawing.replace("xlink:href=", "href=")
    prefix = "f" + hashlib.sha256(drawing.encode()).hexdigest()[:8]
    drawing = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', drawing)
    drawing = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', drawing)
    drawing = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", drawing)
    for role, colour in style.ROLES.items():
        drawing = re.sub(rf"(?<=[:\s]){colour}\b", f"var(--{role},{colour})", drawing)
    drawing = re.sub(r"\s*\n\s*", "\n", drawing)
    width, height = (round(inches * 96) for inches in canvas.get_size_inches())
    box = re.search(r'viewBox="[^"]*"', drawing)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {box.group(0) if box else ""} '
        f'role="img" aria-label="{html.escape(alt)}" stroke-linejoin="round">'
    )
    return opening + drawing[drawing.index(">") + 1 :].strip()
