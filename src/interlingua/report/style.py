"""The look of every figure and of the page around it, defined once.

In: names of language families or scripts. Out: colours, markers and type sizes, the same in every figure, so that a
reader who has learnt "Turkic is sky blue" in one figure can read the next.

Decision: colours are roles. A figure is drawn with the light values, and the SVG that leaves `svg.to_svg` names each
as ``var(--role, #light)``; the page sets the dark values. One drawing serves both modes, at the price that a figure may
use no colour that is not listed here (colour maps of heat maps excepted).

The eight data colours come from Okabe and Ito, "Color Universal Design" (2008), with the yellow, unreadable on white,
and the black replaced by two of Paul Tol's "muted" scheme (2021); where they run out the marker's shape changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "COLOURS",
    "CONTROL_MARKERS",
    "DARK",
    "FAMILIES",
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "ROLES",
    "SCRIPTS",
    "SIZE",
    "Mark",
    "group_marks",
]

INK, MUTED, GRID, PAPER = "#1c2024", "#69727b", "#dde1e5", "#fefefe"

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#882255", "#999933")

ROLES: dict[str, str] = {
    "ink": INK,
    "muted": MUTED,
    "grid": GRID,
    "paper": PAPER,
    **{f"data-{number}": colour for number, colour in enumerate(COLOURS)},
}
"""CSS custom property (without ``--``) -> light value."""

DARK: dict[str, str] = {
    "ink": "#e6e8ea",
    "muted": "#9aa3ac",
    "grid": "#363c43",
    "paper": "#16191d",
    **dict(
        zip(
            (f"data-{number}" for number in range(len(COLOURS))),
            ("#4ba3dc", "#efb22f", "#2cbf95", "#ef7d3b", "#85cbf4", "#e09cc2", "#d06c99", "#bfbf58"),
            strict=True,
        )
    ),
}
"""The same properties' values on a dark page."""

MARKERS = ("o", "s", "D", "^", "v")
CONTROL_MARKERS = ("x", "+", "1", "2", "|")

SIZE = 8.5
"""Type size of labels in points; a figure of 7.4 inches fills the text column at its natural size."""

FAMILIES = (
    "Indo-European",
    "Afro-Asiatic",
    "Niger-Congo",
    "Sino-Tibetan",
    "Turkic",
    "Austronesian",
    "Uralic",
    "Dravidian",
    "Austroasiatic",
    "Kra-Dai",
    "Japonic",
    "Koreanic",
    "Kartvelian",
    "Isolate",
    "Mongolic",
    "Northeast Caucasian",
    "Quechuan",
    "Creole",
    "Constructed",
)
"""The order of families, fixed so that a family keeps its colour in every figure of every run."""

SCRIPTS = {
    "Latn": "Latin",
    "Cyrl": "Cyrillic",
    "Arab": "Arabic",
    "Deva": "Devanagari",
    "Hans": "Simplified Chinese",
    "Hant": "Traditional Chinese",
    "Jpan": "Japanese",
    "Kore": "Korean",
    "Grek": "Greek",
    "Hebr": "Hebrew",
    "Ethi": "Ethiopic",
    "Beng": "Bengali",
    "Taml": "Tamil",
    "Telu": "Telugu",
    "Thai": "Thai",
    "Geor": "Georgian",
    "Armn": "Armenian",
    "Khmr": "Khmer",
    "Mymr": "Burmese",
    "Sinh": "Sinhala",
    "Knda": "Kannada",
    "Mlym": "Malayalam",
    "Gujr": "Gujarati",
    "Guru": "Gurmukhi",
    "Laoo": "Lao",
    "Orya": "Odia",
    "Tibt": "Tibetan",
}
"""Scripts (ISO 15924) and their names, in an order that is fixed for the same reason."""


@dataclass(frozen=True)
class Mark:
    """How one group of languages is drawn."""

    colour: str
    marker: str


def group_marks(groups: Iterable[str]) -> dict[str, Mark]:
    """Give each family or script its colour and marker.

    Args:
        groups: names of families or scripts; repetitions are fine. Unknown names follow the known ones in
            alphabetical order.

    Returns:
        The groups in their fixed order, each with its mark.
    """
    present = set(groups)
    order = SCRIPTS if present & set(SCRIPTS) else FAMILIES
    unknown = sorted(present - set(order))
    places = {name: place for place, name in enumerate((*order, *unknown))}
    return {
        name: Mark(COLOURS[place % len(COLOURS)], MARKERS[place // len(COLOURS) % len(MARKERS)])
        for name, place in sorted(places.items(), key=lambda item: item[1])
        if name in present
    }
