"""Fonts for the autonyms of every language, and a context in which matplotlib uses them.

In: text in any of the scripts of ``languages.tsv``. Out: a ``with`` block in which matplotlib shapes and draws it, and
the characters that it could not draw.

Decision: the package ships its own small fonts (``fonts/``, cut from Noto by ``scripts/subset_fonts.py``), so that a
figure looks the same on a bare container. Price: 2.3 MB in the wheel, and Han and Hangul only as far as names of
languages go; ask `missing_glyphs` before drawing other text. matplotlib (3.11 and later) shapes and orders complex and
right-to-left scripts itself, through libraqm.
"""

from __future__ import annotations

import functools
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from fontTools.ttLib import TTFont
from matplotlib import font_manager

from interlingua.report import style

__all__ = ["font_files", "language_fonts", "missing_glyphs"]

_FOLDER = Path(__file__).parent / "fonts"

# matplotlib has one font manager for the whole process, and it is not thread safe.
_LOCK = threading.RLock()


@functools.cache
def font_files() -> tuple[Path, ...]:
    """Return the shipped fonts, Latin (with Greek and Cyrillic) first, since that order is the order of fallback."""
    files = sorted((*_FOLDER.glob("*.ttf"), *_FOLDER.glob("*.otf")))
    return tuple(sorted(files, key=lambda file: file.stem != "Latn"))


@functools.cache
def _covered() -> frozenset[int]:
    """Code points that at least one font draws."""
    points: set[int] = set()
    for file in font_files():
        with TTFont(file, lazy=True) as font:
            points.update(font.getBestCmap())
    return frozenset(points)


def missing_glyphs(text: str) -> set[str]:
    """Return the characters of ``text`` that no shipped font draws.

    White space and invisible format characters (joiners, direction marks) need no glyph. The text is compared after
    NFC normalisation, as the shaper does.
    """
    return {
        character
        for character in unicodedata.normalize("NFC", text)
        if ord(character) not in _covered()
        and not character.isspace()
        and unicodedata.category(character) not in ("Cf", "Cc")
    }


@contextmanager
def language_fonts() -> Iterator[None]:
    """Let matplotlib find the shipped fonts, and set the house type, inside a ``with`` block.

    Text is laid out when a figure is saved, not when it is made, so the block must enclose the saving too. Afterwards
    the caller's rcParams and list of fonts are as they were. Only one thread at a time draws.
    """
    with _LOCK:
        manager = font_manager.fontManager
        before = list(manager.ttflist)
        try:
            for file in font_files():
                manager.addfont(file)
            families = [f"Interlingua Sans {file.stem}" for file in font_files()]
            with mpl.rc_context(_house_style(families)):
                yield
        finally:
            manager.ttflist[:] = before


def _house_style(families: list[str]) -> dict[str, object]:
    return {
        **mpl.rcParamsDefault,
        # Leaving the back end alone: figures here never meet a screen, and naming one would be global.
        "backend": mpl.rcParams["backend"],
        "font.family": families,
        "font.size": style.SIZE,
        "axes.edgecolor": style.GRID,
        "axes.labelcolor": style.MUTED,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "grid.color": style.GRID,
        "grid.linewidth": 0.6,
        "text.color": style.INK,
        "text.parse_math": False,
        "xtick.color": style.MUTED,
        "ytick.color": style.MUTED,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "svg.fonttype": "path",
        # A fixed salt makes the same figure the same bytes.
        "svg.hashsalt": "interlingua",
        "path.simplify": True,
    }
