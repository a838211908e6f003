"""Repair of the characters of a text.

A text flows in, the same text in NFC with its damage undone flows out. Decision: one regular expression, compiled
once, says whether there is anything to do at all; most texts are fine, and a search costs a tenth of a rewrite.
Cleaning what is clean changes nothing. Price: damage of a kind that the expression does not know stays.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

from interlingua.errors import MissingExtraError
from interlingua.recipe_corpus import CleanRecipe

__all__ = ["Cleaner"]

# What UTF-8 bytes of other letters look like when they were read as Windows-1252: a lead byte, then continuations.
_MOJIBAKE = re.compile(
    "[\u00c2-\u00f4][\u0080-\u00bf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d"
    "\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178]"
)
# Pages are often escaped twice.
_ESCAPED = 3
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
# Controls, soft hyphens, invisible operators, byte order marks, non-characters, lone surrogates. Joiners stay: Persian,
# Hindi and emoji need them; so do marks of direction.
_UNWANTED = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u2060-\u2064\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff"
_SPACES = "\t\x0b\x0c\r\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_ANYTHING = re.compile(f"[{_UNWANTED}{_SPACES}\x85\u2028\u2029\u200b\n]|  |^ | $")
_NOTHING = re.compile(f"[{_UNWANTED}]")
_LINE_END = re.compile("\r\n?|[\x85\u2028\u2029]")
# A zero-width space parts words where no space is written (Khmer, Thai); as a space it would be seen.
_INVISIBLE = re.compile("\u200b+")
_SPACE = re.compile(f"[ {_SPACES}]+")
_AROUND_LINE = re.compile(" ?\n ?")
_EMPTY_LINES = re.compile("\n{3,}")


class Cleaner:
    """Cleaning as a recipe wants it.

    Raises:
        MissingExtraError: repair is wanted and ftfy is not installed.
    """

    def __init__(self, recipe: CleanRecipe) -> None:
        self._recipe = recipe
        self._repair: Any = None
        if recipe.repair:
            try:
                import ftfy
            except ImportError as error:
                raise MissingExtraError(
                    "ftfy is not installed",
                    expected="the extra 'corpus', or clean.repair=false",
                    next_step="pip install 'interlingua[corpus]'",
                ) from error
            self._repair = ftfy.fix_encoding

    def __call__(self, text: str) -> str:
        """Clean one text; what is left may be empty."""
        for _ in range(_ESCAPED):
            if not (self._recipe.entities and "&" in text and _ENTITY.search(text)):
                break
            text = html.unescape(text)
        if self._repair is not None and not text.isascii() and _MOJIBAKE.search(text):
            text = self._repair(text)
        if _ANYTHING.search(text):
            text = self._spaced(text)
        if not unicodedata.is_normalized("NFC", text):
            # Composition can bring marks and spaces together that were apart.
            text = unicodedata.normalize("NFC", text).strip()
        return text

    def _spaced(self, text: str) -> str:
        text = _NOTHING.sub("", _LINE_END.sub("\n", text))
        text = _SPACE.sub(" ", _INVISIBLE.sub("\u200b", text))
        if "\n" in text:
            text = _SPACE.sub(" ", text.replace("\n", " ")) if self._recipe.join_lines else _lines(text)
        return text.strip(" \n\u200b")


def _lines(text: str) -> str:
    return _EMPTY_LINES.sub("\n\n", _AROUND_LINE.sub("\n", text))
