"""Code points of many texts as one array, with what each of them is.

Texts flow in; a `Letters` flows out, on which quality and likeness are counted by numpy for thousands of texts at
once. Decision: everything is looked up in tables over the first three planes of Unicode, made once a process from
Python's own character data and fontTools' script data; a token is a run of letters, marks and digits, or one such
character in scripts without spaces. Price: four bytes a character while a batch is looked at, and words of such
scripts are not seen.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

__all__ = ["DIGIT", "LETTER", "OTHER", "SPACE", "Letters", "script_numbers"]

SPACE, LETTER, DIGIT, OTHER = range(4)
# Private use and unassigned planes behind it are all OTHER.
_PLANES = 0x40000
_UNSPACED = ("Hani", "Hira", "Kana", "Bopo", "Thai", "Laoo", "Khmr", "Mymr", "Yiii")
_STRIPPED = ("Latn", "Grek", "Cyrl")
_KINDS = {"L": LETTER, "M": LETTER, "N": DIGIT, "Z": SPACE}


@dataclass(frozen=True)
class _Tables:
    kind: np.ndarray
    script: np.ndarray
    unspaced: np.ndarray
    folded: np.ndarray
    scripts: dict[str, int]


@cache
def _tables() -> _Tables:
    from fontTools.unicodedata import Scripts

    # Surrogates can stand in no text that came from UTF-8.
    characters = [chr(point) if not 0xD800 <= point < 0xE000 else "\ufffd" for point in range(_PLANES)]
    categories = map(unicodedata.category, characters)
    kind = np.fromiter((_KINDS.get(c[0], OTHER) for c in categories), dtype=np.uint8, count=_PLANES)
    kind[[9, 10, 11, 12, 13, 0x85]] = SPACE
    names = sorted(set(Scripts.VALUES))
    scripts = {name: number for number, name in enumerate(names)}
    sizes = np.diff([*Scripts.RANGES, 0x110000])
    script = np.repeat(np.array([scripts[name] for name in Scripts.VALUES], dtype=np.uint8), sizes)[:_PLANES]
    unspaced = np.isin(script, [scripts[name] for name in _UNSPACED])
    lower = (c.lower() for c in characters)
    folded = np.fromiter((ord(c) if len(c) == 1 else ord(c[0]) for c in lower), dtype=np.uint32, count=_PLANES)
    for point in np.flatnonzero(np.isin(script, [scripts[name] for name in _STRIPPED]) & (kind == LETTER)):
        folded[point] = ord(unicodedata.normalize("NFD", chr(folded[point]))[0])
    folded[kind == DIGIT] = ord("0")
    return _Tables(kind, script, unspaced, folded, scripts)


@cache
def script_numbers(scripts: tuple[str, ...]) -> frozenset[int]:
    """Numbers in `Letters.script` of ISO 15924 scripts; joint ones (Jpan, Kore, Hans) mean their parts."""
    parts = {
        "Jpan": ("Hani", "Hira", "Kana"),
        "Kore": ("Hang", "Hani"),
        "Hans": ("Hani", "Bopo"),
        "Hant": ("Hani", "Bopo"),
    }
    table = _tables().scripts
    return frozenset(table[part] for name in scripts for part in parts.get(name, (name,)) if part in table)


class Letters:
    """A batch of texts.

    Attributes:
        texts: how many.
        offsets: int64 [texts + 1], where each text begins; a line end follows each.
        kind: uint8 [points], one of SPACE, LETTER, DIGIT, OTHER.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._tables = _tables()
        self.texts = len(texts)
        sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + 1
        self.offsets = np.concatenate(([0], np.cumsum(sizes)))
        joined = "".join([f"{text}\n" for text in texts])
        self.points = np.frombuffer(joined.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
        # One look-up for all that is rare and far away: such points are read as U+FFFD.
        self._index = np.where(self.points < _PLANES, self.points, np.uint32(0xFFFD))
        self.kind = self._tables.kind[self._index]

    @cached_property
    def script(self) -> np.ndarray:
        """uint8 [points]: number of the script, see `script_numbers`."""
        return self._tables.script[self._index]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """int64 [texts]: sum over each text of a value a point."""
        if not self.texts:
            return np.zeros(0, dtype=np.int64)
        return np.add.reduceat(values, self.offsets[:-1], dtype=np.int64)

    @cached_property
    def tokens(self) -> tuple[np.ndarray, np.ndarray]:
        """Hash of each token, and int64 [texts + 1] where each text's tokens begin.

        A token's hash is of its letters in lower case, in Latin, Greek and Cyrillic without accents, with all digits
        alike; punctuation only separates.
        """
        inside = (self.kind == LETTER) | (self.kind == DIGIT)
        alone = self._tables.unspaced[self._index] & inside
        begins = inside.copy()
        # A point goes on with the one before it if both are inside a token and neither stands alone.
        begins[1:] &= ~inside[:-1] | alone[1:] | alone[:-1]
        starts = np.flatnonzero(begins)
        if not len(starts):
            return np.zeros(0, dtype=np.uint64), np.zeros(self.texts + 1, dtype=np.int64)
        place = np.arange(len(begins), dtype=np.int32)
        place -= np.maximum.accumulate(np.where(begins, place, 0))
        values = mixed(self._tables.folded[self._index]) * _POWERS[np.minimum(place, len(_POWERS) - 1)]
        values *= inside
        hashes = np.add.reduceat(values, starts)
        return mixed(hashes), np.searchsorted(starts, self.offsets)


def _powers(base: int, count: int) -> np.ndarray:
    found = [1]
    for _ in range(count - 1):
        found.append(found[-1] * base % 2**64)
    return np.array(found, dtype=np.uint64)


_POWERS = _powers(0x9E3779B97F4A7C15, 64)


def mixed(values: np.ndarray) -> np.ndarray:
    """Scatter whole numbers over 64 bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = values.astype(np.uint64)
    x += np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
