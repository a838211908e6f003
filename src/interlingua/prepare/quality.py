"""Whether a text looks like text.

Cleaned texts with their languages flow in; for each the first reason to drop it, or none, flows out. Decision: the
measures are counts over a batch as arrays (`Letters`), and the limits follow the script of the language, since ten
Chinese characters say what forty English ones do. The measures are those of Gopher and C4 (Rae et al. 2021, Raffel et
al. 2020), put so that they need no list of words in any language. Price: a well-formed text that says nothing is
kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from interlingua.languages import language
from interlingua.prepare.letters import LETTER, SPACE, Letters, script_numbers
from interlingua.prepare.likeness import shingles
from interlingua.recipe_corpus import QualityRecipe

__all__ = ["REASONS", "Judge"]

#: Reasons, in the order in which they are tested.
REASONS = ("short", "long", "symbols", "script", "repetition", "boilerplate")
# What ends a sentence, in any script; and what may close behind it.
_END = re.compile(r"[.!?:;…。！？：；।॥؟۔።፧။៖។๏։՞჻‽][\"'»”’)\]」』）]*$")
_WORDS = 5
_SHORT = 16  # characters of a short line in scripts without spaces
_GRAM = 5


@dataclass(frozen=True, eq=False)
class _Limits:
    """Limits for a language, and the numbers of its scripts (none: any)."""

    quality: QualityRecipe
    scripts: frozenset[int]
    spaced: bool


class Judge:
    """Quality as a recipe wants it."""

    def __init__(self, recipe: QualityRecipe) -> None:
        self._recipe = recipe
        self._phrases = [phrase.lower() for phrase in recipe.phrases]
        self._limits = cache(self._limits_of)

    def _limits_of(self, lang: str) -> _Limits:
        if lang == "und":
            return _Limits(self._recipe, frozenset(), spaced=True)
        known = language(lang)
        scripts = script_numbers((known.script, *known.scripts))
        limits: dict[str, Any] = dict(self._recipe.scripts.get(known.script, {}).items())
        return _Limits(self._recipe.model_copy(update=limits), scripts, known.spaced)

    def __call__(self, texts: Sequence[str], langs: Sequence[str], letters: Letters) -> list[str]:
        """The first of `REASONS` to drop each text, or an empty string.

        Args:
            texts: cleaned.
            langs: BCP-47 tag of each, or ``und``.
            letters: of the texts.
        """
        if not texts:
            return []
        sizes = np.diff(letters.offsets) - 1
        # The line end behind each text is white space, as are those inside; at least 1, so that all can be divided.
        written = np.maximum(letters.sums(letters.kind != SPACE), 1)
        is_letter = letters.kind == LETTER
        count = letters.sums(is_letter)
        same = np.zeros(len(letters.points), dtype=bool)
        same[1:] = (letters.points[1:] == letters.points[:-1]) & (letters.kind[1:] != SPACE)
        runs = letters.sums(same) / written
        repeated = _repeated(letters)
        limits = [self._limits(lang) for lang in langs]
        native = self._native(letters, is_letter, limits)
        # The first fault in this order is the reason; what has to be read line by line comes last.
        faults = (
            sizes < self._each(limits, "min_characters"),
            sizes > self._each(limits, "max_characters"),
            count < self._each(limits, "min_letters") * written,
            native < self._each(limits, "min_script") * count,
            (repeated > self._each(limits, "max_repetition")) | (runs > self._each(limits, "max_run")),
            np.zeros(len(texts), dtype=bool),
        )
        # One search through the batch; where it finds nothing, none is made in the texts.
        joined = "\n".join(texts).lower()
        suspect = any(phrase in joined for phrase in self._phrases)
        for number, text in enumerate(texts):
            if "\n" in text:
                limit = limits[number]
                faults[-1][number] = _short_lines(text, limit.spaced) > limit.quality.max_short_lines
            if suspect and any(phrase in text.lower() for phrase in self._phrases):
                faults[-1][number] = True
        return [("", *REASONS)[place] for place in np.select(faults, range(1, len(faults) + 1), 0).tolist()]

    @staticmethod
    def _each(limits: Sequence[_Limits], name: str) -> np.ndarray:
        """A limit of every text."""
        values = {limit: float(getattr(limit.quality, name)) for limit in set(limits)}
        return np.fromiter((values[limit] for limit in limits), dtype=np.float64, count=len(limits))

    @staticmethod
    def _native(letters: Letters, is_letter: np.ndarray, limits: Sequence[_Limits]) -> np.ndarray:
        """Letters of each text that are in a script of its language, or in none of their own (joint marks)."""
        groups = {scripts: number for number, scripts in enumerate({limit.scripts: None for limit in limits})}
        allowed = np.zeros((len(groups), 256), dtype=bool)
        for scripts, number in groups.items():
            allowed[number, [*(scripts or range(256)), *script_numbers(("Zyyy", "Zinh"))]] = True
        group = np.fromiter((groups[limit.scripts] for limit in limits), dtype=np.intp, count=len(limits))
        return letters.sums(allowed[np.repeat(group, np.diff(letters.offsets)), letters.script] & is_letter)


def _repeated(letters: Letters) -> np.ndarray:
    """Share of each text's five-token sequences that occurred in it before."""
    hashes, starts = shingles(letters, _GRAM)
    counts = np.diff(starts)
    if not len(hashes):
        return np.zeros(letters.texts)
    # The text's number above, as much of the hash as there is room for below: one sort finds what is twice in a text.
    room = np.uint64(64 - max(1, int(letters.texts - 1).bit_length()))
    owners = np.repeat(np.arange(letters.texts, dtype=np.uint64), counts)
    keys = (owners << room) | (hashes >> (np.uint64(64) - room))
    keys.sort()
    twice = (keys[1:][keys[1:] == keys[:-1]] >> room).astype(np.int64)
    return np.bincount(twice, minlength=letters.texts) / np.maximum(counts, 1)


def _short_lines(text: str, spaced: bool) -> float:
    """Share of the characters that are in short lines without an end mark."""
    lines = [line for line in text.split("\n") if line]
    if len(lines) < 3:
        return 0.0
    total = sum(map(len, lines))
    short = sum(
        len(line)
        for line in lines
        if (len(line.split(None, _WORDS)) <= _WORDS if spaced else len(line) < _SHORT) and not _END.search(line)
    )
    return short / total
