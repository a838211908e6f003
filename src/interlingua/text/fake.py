"""Fake languages: real text in letters that no real text has; grammar and meaning are the same, and no letter is.

In: text. Out: the same text, in Unicode's form NFKC, with every character but white space moved into the private
planes, perhaps with its words in reverse order. A network that is taught on both has two languages of which all is
known (K et al. 2020, arXiv 1912.07840, "Fake-English"; Dufter and Schuetze 2020, arXiv 2005.00396). Decision: code
points are shifted, not ids of a vocabulary, so that all that reads text reads a fake language too;
:mod:`interlingua.vocab.fake` makes a vocabulary in which it is cut as the real one. Price: characters from U+20000 on
(rare ideographs) have no room to move to.
"""

from __future__ import annotations

import unicodedata

from interlingua.errors import DataError
from interlingua.languages import canonical

__all__ = ["PRIVATE", "SHIFT", "fake_tag", "fake_text", "real_text"]

#: Added to every code point: U+0021 becomes U+F0021, in the private planes 15 and 16.
SHIFT = 0xF0000
#: What a fake language's tag ends with (BCP 47: subtags behind ``x`` are of private use).
PRIVATE = "x-fake"


def fake_tag(tag: str) -> str:
    """Tag of the fake language beside a real one: ``en-x-fake`` for ``en``."""
    return f"{canonical(tag)}-{PRIVATE}"


def fake_text(text: str, *, reverse: bool = False, where: str = "") -> str:
    """Write a text in fake letters.

    Args:
        text: any text; put into the form NFKC first, as vocabularies do with real text and cannot with fake text.
        reverse: put its words, as white space cuts them, in reverse order ("inv-order").
        where: which text, for errors.

    Raises:
        DataError: a character that cannot be shifted, or that is shifted already.
    """
    text = unicodedata.normalize("NFKC", text)
    if reverse:
        text = " ".join(reversed(text.split()))
    for character in text:
        if ord(character) >= 0x20000:
            raise DataError(
                f"the character U+{ord(character):04X}",
                expected="characters up to U+1FFFF, which have room in the private planes",
                where=where or text[:60],
                next_step="leave the text out, or put another character in its place",
            )
    return "".join(c if c.isspace() else chr(ord(c) + SHIFT) for c in text)


def real_text(text: str) -> str:
    """Write a fake text in its real letters again, in the form NFKC; real ones stay as they are."""
    return "".join(chr(ord(c) - SHIFT) if ord(c) >= SHIFT else c for c in text)
