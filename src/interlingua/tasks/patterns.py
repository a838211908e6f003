"""Cloze questions: a pattern and a verbaliser a language, from a file to tokens.

In: a YAML file (patterns such as ``{text} This is about {mask}.``, and for every label the words that may stand at the
mask), a tokenizer. Out: a :class:`Wording` a language: the words' ids, and texts put into the pattern with masks where
a word would be. Decisions: a word has as many masks as it has tokens (Schick and Schütze 2021, arXiv 2009.07118), and
these stand where the tokens of the word itself would, so that the tokens around them are those of a sentence that was
really written; a text that is too long is cut, the pattern never. Price: an input for each number of masks that a
language's words need.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from interlingua.data import resolve
from interlingua.errors import DataError, LabelError, RecipeError, VocabularyError
from interlingua.languages import canonical
from interlingua.recipe_base import Recipe
from interlingua.recipe_file import load_recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Filled", "Patterns", "Wording", "read_patterns"]

_FIELD = re.compile(r"\{(\w*)\}")


class Patterns(Recipe):
    """What a masked language model is asked, by language, and the words that answer for each label."""

    default: str = "en"
    """Language whose pattern and words stand in for those of languages without."""
    words: Literal["mean", "max"] = "mean"
    """Score of a label with several words: the mean of theirs, or the highest."""
    patterns: dict[str, str] = Field(default_factory=dict)
    """Language -> pattern with {text}, {mask} and, for pairs, {text_pair}."""
    verbalisers: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    """Language -> label -> words."""

    @property
    def labels(self) -> list[str]:
        """All labels, in order."""
        return sorted(self.verbalisers[self.default])

    def language(self, lang: str) -> str:
        """The language whose pattern a text is put into: its own, that of its first side, or the default."""
        first = lang.partition("/")[0]
        return next((tag for tag in (first, first.partition("-")[0]) if tag in self.patterns), self.default)


def read_patterns(path: str | Path) -> Patterns:
    """Read and check a pattern file.

    Raises:
        DataError: no such file.
        RecipeError: unknown keys, a pattern without exactly one ``{mask}`` and one ``{text}``, a language with a
            pattern or a verbaliser only, no default.
        LabelError: a label without words, or a word of two labels.
    """
    file = resolve(path)
    if not file.is_file():
        raise DataError(f"no pattern file {str(path)!r}", expected="a YAML file", where="task.patterns")
    found = load_recipe(file, Patterns)
    found = found.model_copy(
        update={
            "default": canonical(found.default),
            "patterns": {canonical(lang): pattern for lang, pattern in found.patterns.items()},
            "verbalisers": {canonical(lang): words for lang, words in found.verbalisers.items()},
        }
    )
    if alone := sorted(({found.default} | found.patterns.keys()) ^ found.verbalisers.keys()):
        raise RecipeError(
            f"{', '.join(alone)} without a pattern or without a verbaliser",
            expected="both for every language, and for the default",
            where=str(file),
        )
    for lang, pattern in found.patterns.items():
        _check_pattern(pattern, where=f"{file}, patterns.{lang}")
        _check_words(found.verbalisers[lang], found.labels, where=f"{file}, verbalisers.{lang}")
    return found


def _check_pattern(pattern: str, *, where: str) -> None:
    fields = _FIELD.findall(pattern)
    wrong = set(fields) - {"text", "text_pair", "mask"} or len(fields) != len(set(fields))
    if wrong or not {"text", "mask"} <= set(fields):
        raise RecipeError(
            f"pattern {pattern!r}", expected="{text} and {mask} once each, and at most once {text_pair}", where=where
        )


def _check_words(words: dict[str, tuple[str, ...]], labels: Sequence[str], *, where: str) -> None:
    if sorted(words) != list(labels) or len(labels) < 2:
        raise LabelError(
            f"words for {', '.join(sorted(words))}",
            expected=f"the labels of the default language, at least two: {', '.join(labels)}",
            where=where,
        )
    owner: dict[str, str] = {}
    for label, own in words.items():
        if not own or not all(word.strip() for word in own):
            raise LabelError(f"label {label!r} with the words {list(own)}", expected="at least one word", where=where)
        for word in own:
            if owner.setdefault(word, label) != label:
                raise LabelError(
                    f"word {word!r} of the labels {owner[word]!r} and {label!r}", expected="one label", where=where
                )


@dataclass(frozen=True)
class Filled:
    """A text in a pattern, once for each number of masks.

    Attributes:
        tokens: ids with specials, one input after another, int64 [n].
        ends: behind the last token of each input.
        masks: places of the masks, int64 [k].
    """

    tokens: NDArray[np.int64]
    ends: NDArray[np.int64]
    masks: NDArray[np.int64]


@dataclass(frozen=True)
class Wording:
    """A language's pattern and words as a vocabulary has them.

    Attributes:
        pattern: with {text}, {mask} and perhaps {text_pair}.
        fillers: a word for each number of masks; it is written where these will stand.
        sizes: how many masks each filler makes, rising.
        ids: of every label in order, the token ids of each of its words.
    """

    pattern: str
    fillers: Sequence[str]
    sizes: Sequence[int]
    ids: Sequence[Sequence[Sequence[int]]]

    @classmethod
    def of(cls, patterns: Patterns, lang: str, tokenizer: PreTrainedTokenizerBase) -> tuple[Self, list[str], list[str]]:
        """Tokenise a language's words; also return those of several tokens, and those that are not in the vocabulary.

        A word is lost, too, where the tokenizer runs it together with what stands beside it in the pattern.

        Raises:
            VocabularyError: no mask token, or a label whose words are all lost.
        """
        if tokenizer.mask_token_id is None:
            raise VocabularyError(
                "a tokenizer without a mask token",
                expected="the tokenizer of a masked language model",
                where=str(getattr(tokenizer, "name_or_path", "")) or None,
                next_step="take a model that was pretrained with masks, or task.type=classify",
            )
        pattern, verbaliser = patterns.patterns[lang], patterns.verbalisers[lang]
        ids: list[list[list[int]]] = []
        fillers: dict[int, str] = {}
        split, lost = [], []
        for label in patterns.labels:
            ids.append([])
            for word in verbaliser[label]:
                own = _ids_in_place(pattern, word, tokenizer)
                if own is None:
                    lost.append(word)
                    continue
                ids[-1].append(own)
                fillers.setdefault(len(own), word)
                if len(own) > 1:
                    split.append(word)
            if not ids[-1]:
                raise VocabularyError(
                    f"no word of label {label!r} in {lang!r} is in the vocabulary: {', '.join(verbaliser[label])}",
                    expected="at least one word that the tokenizer can spell and keeps apart from the pattern",
                    where=f"verbalisers.{lang}.{label}",
                    next_step="name another word, or put a space or quotes around {mask}",
                )
        sizes = sorted(fillers)
        return cls(pattern, [fillers[size] for size in sizes], sizes, ids), split, lost

    def fill(
        self, texts: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> tuple[list[Filled], int]:
        """Put texts (or pairs of them) into the pattern; also return how many were cut.

        Raises:
            RecipeError: the pattern alone is longer than ``max_length``.
        """
        kept = [(len(first), len(second)) for first, second in texts]  # characters
        cut: set[int] = set()
        while True:
            short = [(a[:n], b[:m]) for (a, b), (n, m) in zip(texts, kept, strict=True)]
            inputs = list(zip(*(self._inputs(*one, short, tokenizer) for one in self.masked), strict=True))
            longest = [max(len(tokens) for tokens, _ in own) for own in inputs]
            over = [i for i, length in enumerate(longest) if length > max_length]
            if not over:
                return [_joined(own, self.sizes) for own in inputs], len(cut)
            cut.update(over)
            for i in over:
                if not any(short[i]):
                    raise RecipeError(
                        f"pattern {self.pattern!r} of {longest[i]} tokens",
                        expected=f"at least {longest[i] + 1}",
                        where="tune.max_length",
                    )
                kept[i] = _shorter(short[i], longest[i] - max_length, tokenizer)

    @property
    def masked(self) -> list[tuple[str, int]]:
        """The fillers with their numbers of masks."""
        return list(zip(self.fillers, self.sizes, strict=True))

    def _inputs(
        self, filler: str, size: int, texts: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase
    ) -> list[tuple[list[int], int]]:
        """Ids of every text with so many masks in place of the filler, and where the first of them is."""
        written = [_written(self.pattern, first, second, filler) for first, second in texts]
        out = tokenizer([text for text, _ in written], return_offsets_mapping=True, verbose=False)
        found = []
        for ids, offsets, (_, begin) in zip(out["input_ids"], out["offset_mapping"], written, strict=True):
            places = _within(offsets, begin, begin + len(filler))
            masks = [tokenizer.mask_token_id] * size
            found.append(([*ids[: places[0]], *masks, *ids[places[-1] + 1 :]], places[0]))
        return found


def _written(pattern: str, text: str, text_pair: str, word: str) -> tuple[str, int]:
    """The pattern filled in, and the character at which the word begins."""
    before, after = (
        _FIELD.sub(lambda match: {"text": text, "text_pair": text_pair}[match[1]], part)
        for part in pattern.split("{mask}")
    )
    return before + word + after, len(before)


def _within(offsets: Sequence[tuple[int, int]], begin: int, end: int) -> list[int]:
    """Tokens that have a character in common with a piece of the text."""
    return [i for i, (first, last) in enumerate(offsets) if first < end and last > begin]


def _ids_in_place(pattern: str, word: str, tokenizer: PreTrainedTokenizerBase) -> list[int] | None:
    """Ids of a word where the pattern has its mask; None where it has an unknown token or none of its own."""
    text, begin = _written(pattern, "a", "a", word)
    out = tokenizer(text, return_offsets_mapping=True, verbose=False)
    offsets, end = out["offset_mapping"], begin + len(word)
    places = _within(offsets, begin, end)
    outside = "".join(text[offsets[i][0] : begin] + text[end : offsets[i][1]] for i in places)
    ids = [out["input_ids"][i] for i in places]
    return None if not ids or outside.strip() or tokenizer.unk_token_id in ids else ids


def _shorter(texts: tuple[str, str], tokens: int, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """How many characters to keep of two texts that are to lose so many tokens, the longer one first."""
    offsets: list[Any] = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )["offset_mapping"]  # fmt: skip
    kept = [list(own) for own in offsets]
    for _ in range(tokens):
        max(kept, key=len)[-1:] = []
    for own, whole in zip(kept, offsets, strict=True):
        # A character of several tokens (its bytes) is kept with all of them or not at all.
        while own and len(own) < len(whole) and own[-1][1] >= whole[len(own)][1]:
            own.pop()
    first, second = (own[-1][1] if own else 0 for own in kept)
    return first, second


def _joined(inputs: Sequence[tuple[list[int], int]], sizes: Sequence[int]) -> Filled:
    """Inputs one after another."""
    ends = np.cumsum([len(ids) for ids, _ in inputs])
    masks = [
        np.arange(size) + first + end - len(ids)
        for (ids, first), size, end in zip(inputs, sizes, ends, strict=True)
    ]  # fmt: skip
    return Filled(np.array([i for ids, _ in inputs for i in ids], dtype=np.int64), ends, np.concatenate(masks))
