"""Where words begin, in every language, for whole batches at once.

Texts and a language tag flow in; boolean arrays that are True at the first character of every word flow out. Masking,
tagging, alignment and the vocabulary report all ask here, so that "a word" means one thing in the project.

The rule, for languages that write spaces:

- white space, control characters and U+200B never belong to a word;
- combining marks, joiners and variation selectors never start a word: they belong to what precedes them;
- letters and digits in a row are one word (``covid19``);
- every punctuation mark or symbol is a word of its own, except that an apostrophe, hyphen, middle dot or Hebrew
  geresh *between two letters or digits* stays inside (``don't``, ``well-known``, ``col·lega``), and so does a full
  stop or comma between two digits (``3.14``, ``1,000``).

For Chinese, Japanese and Thai the BudouX models decide between characters of those scripts, and a run of Latin
letters or digits is a word. For Khmer, Lao, Burmese and Tibetan a word ends at spaces, punctuation and changes of
script only.

Decision: one pass of numpy over the concatenated code points; no per-character Python. Prices: in Khmer, Lao and
Burmese a "word" is often a phrase of ten or more characters, so whole-word masking hides phrases there; BudouX cuts
Japanese into bunsetsu (a noun with its particles), not into dictionary words; text of an unspaced script inside a
spaced language is one word up to the next space.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from interlingua.languages import language
from interlingua.text.segment import SEPARATOR, phrase_model

__all__ = ["code_points", "is_east_asian", "is_space", "word_start_codes", "word_starts", "word_starts_batch", "words"]

_SPACE, _MARK, _LETTER, _DIGIT, _PUNCT, _JOINER, _POINT = range(7)

# UAX #29 MidLetter, MidNumLet and hyphens; U+05F3 and U+05F4 are Hebrew geresh and gershayim.
_JOINERS = "'’‘-‐‑·‧׳״"
_POINTS = ".,٫٬"
_EXTRA_SPACES = "\u200b\u2060\ufeff"
_EMOJI_MODIFIERS = range(0x1F3FB, 0x1F400)

_MODELS = {"zh": "zh-hans", "zh-Hant": "zh-hant", "wuu": "zh-hans", "wuu-Hant": "zh-hant", "yue": "zh-hant",
           "yue-Hans": "zh-hans", "ja": "ja", "th": "th"}  # fmt: skip

# Blocks of scripts written without spaces; Han and kana are one group, since Japanese words mix them.
_EAST_ASIAN = 1
_UNSPACED_BLOCKS = (
    (_EAST_ASIAN, ((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x303B),
                   (0x3040, 0x30FA), (0x30FC, 0x30FF), (0x3100, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF),
                   (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F),
                   (0x20000, 0x3FFFF))),
    (2, ((0x0E00, 0x0E7F),)),
    (3, ((0x0E80, 0x0EFF),)),
    (4, ((0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F))),
    (5, ((0x1780, 0x17FF), (0x19E0, 0x19FF))),
    (6, ((0x0F00, 0x0FFF),)),
)  # fmt: skip


@lru_cache(maxsize=1)
def _classes() -> NDArray[np.uint8]:
    """Class of every code point, [0x110000]; built once, in about 30 ms."""
    by_category = {"L": _LETTER, "M": _MARK, "N": _DIGIT, "P": _PUNCT, "S": _PUNCT, "Z": _SPACE}
    by_category |= {"Cc": _SPACE, "Cf": _MARK, "Cs": _PUNCT, "Co": _PUNCT, "Cn": _PUNCT}
    table = np.full(0x110000, _PUNCT, dtype=np.uint8)
    category = unicodedata.category
    for code in range(0x20000):
        name = category(chr(code))
        table[code] = by_category.get(name[0], by_category.get(name, _PUNCT))
    table[0x20000:0x40000] = _LETTER
    table[0xE0000:0xE1000] = _MARK
    for characters, value in ((_JOINERS, _JOINER), (_POINTS, _POINT), (_EXTRA_SPACES, _SPACE)):
        table[[ord(character) for character in characters]] = value
    table[_EMOJI_MODIFIERS.start : _EMOJI_MODIFIERS.stop] = _MARK
    return table


@lru_cache(maxsize=1)
def _groups() -> NDArray[np.uint8]:
    """Group of unspaced scripts of every code point; 0 for all others, [0x110000]."""
    table = np.zeros(0x110000, dtype=np.uint8)
    for group, blocks in _UNSPACED_BLOCKS:
        for first, last in blocks:
            table[first : last + 1] = group
    return table


def code_points(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Concatenate texts into code points.

    Returns:
        Code points [N] with `SEPARATOR` before, between and after the texts, and the first index of each text,
        [number of texts]. A text of n characters occupies ``codes[first : first + n]``.
    """
    joined = SEPARATOR + SEPARATOR.join(texts) + SEPARATOR
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    lengths = np.fromiter((len(text) for text in texts), dtype=np.int64, count=len(texts))
    firsts = np.cumsum(lengths + len(SEPARATOR)) - lengths
    return codes, firsts


def is_space(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return True at white space and control characters, which belong to no word, [N]."""
    spaces: NDArray[np.bool_] = _classes()[codes] == _SPACE
    return spaces


def is_east_asian(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return True at Han characters, kana and bopomofo, [N]."""
    east_asian: NDArray[np.bool_] = _groups()[codes] == _EAST_ASIAN
    return east_asian


def word_start_codes(codes: NDArray[np.uint32], lang: str) -> NDArray[np.bool_]:
    """Find word starts in concatenated code points.

    Args:
        codes: code points with `SEPARATOR` at both ends and between texts, [N].
        lang: language tag of all of them.

    Returns:
        True at the first character of every word, [N]; False in separators.
    """
    entry = language(lang)
    classes = _classes()[codes]
    # Combining marks take the class of what they stand on: a letter with marks continues as a letter.
    if (marks := classes == _MARK).any():
        base = np.maximum.accumulate(np.where(marks, 0, np.arange(len(classes))))
        carried = classes[base]
    else:
        base, carried = None, classes
    wordlike = (carried == _LETTER) | (carried == _DIGIT)
    inside = _kept_inside(classes, carried, wordlike)
    joined = wordlike | inside
    starts = classes >= _LETTER
    # A character continues its word where both it and what precedes it are letters, digits or kept marks.
    starts[1:] &= ~(joined[1:] & joined[:-1])
    starts &= ~marks
    if not entry.spaced:
        _unspaced(starts, codes, base, wordlike, entry.code)
    return starts


def _kept_inside(
    classes: NDArray[np.uint8], carried: NDArray[np.uint8], wordlike: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return True at apostrophes, hyphens, points that stand between letters or digits, [N]."""
    inside = np.zeros(len(classes), dtype=np.bool_)
    if len(classes) < 3:
        return inside
    inner, before, after = classes[1:-1], carried[:-2], classes[2:]
    joiner = (inner == _JOINER) & wordlike[:-2] & ((after == _LETTER) | (after == _DIGIT))
    point = (inner == _POINT) & (before == _DIGIT) & (after == _DIGIT)
    inside[1:-1] = joiner | point
    return inside


def _unspaced(
    starts: NDArray[np.bool_],
    codes: NDArray[np.uint32],
    base: NDArray[np.int64] | None,
    wordlike: NDArray[np.bool_],
    code: str,
) -> None:
    """Add, in place, the boundaries between two wordlike characters that are not both of a spaced script."""
    groups = _groups()[codes]
    if base is not None:
        groups = groups[base]
    here, before = groups[1:], groups[:-1]
    both = wordlike[1:] & wordlike[:-1]
    cut = both & (here != before)
    model = _MODELS.get(code)
    if model is not None:
        cut |= both & (here > 0) & (here == before) & phrase_model(model).boundaries(codes)[1:]
    if base is not None:
        cut &= base[1:] != base[:-1]
    starts[1:] |= cut


def word_starts_batch(texts: Sequence[str], lang: str) -> list[NDArray[np.bool_]]:
    """Find the word starts of many texts of one language.

    Args:
        texts: the texts; a few thousand at a time keep the arrays in cache.
        lang: language tag of all of them.

    Returns:
        One boolean array a text, [len(text)] (length in code points, Python's ``len``).

    Raises:
        LanguageError: the tag is unknown.
    """
    codes, firsts = code_points(texts)
    starts = word_start_codes(codes, lang)
    return [starts[first : first + len(text)] for first, text in zip(firsts.tolist(), texts, strict=True)]


def word_starts(text: str, lang: str) -> NDArray[np.bool_]:
    """Find the word starts of one text: True at the first character of every word, [len(text)].

    Raises:
        LanguageError: the tag is unknown.
    """
    return word_starts_batch([text], lang)[0]


def words(text: str, lang: str) -> list[str]:
    """Cut a text into words, punctuation marks included, white space left out.

    Raises:
        LanguageError: the tag is unknown.
    """
    starts = np.flatnonzero(word_starts(text, lang)).tolist()
    spaces = _classes()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")] == _SPACE
    found = []
    for first, last in itertools.pairwise([*starts, len(text)]):
        gap = np.flatnonzero(spaces[first:last])
        found.append(text[first : first + int(gap[0])] if len(gap) else text[first:last])
    return found
