"""Code-switching: words of a text are replaced by translations from a lexicon, before any objective sees it.

In: lexicons and a rate. Out: a transform of texts. Words that stand in both languages' contexts are the anchor points
of Conneau et al. 2020 (arXiv 1911.01464, "default + anchors"); as augmentation: Lin et al. 2020 (mRASP, arXiv
2010.03142), Qin et al. 2020 (CoSDA-ML, arXiv 2006.06402). Decision: the lexicon is tokenised once, and a word is found
by its ids, so that switching costs a look-up a word. Price: a word that is tokenised otherwise in the middle of a text
than by itself is found only where the vocabulary marks word beginnings, or its script has no spaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from interlingua.errors import RecipeError
from interlingua.languages import language
from interlingua.shards.stream import Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["CodeSwitching", "LexiconEntry"]


@dataclass(frozen=True)
class LexiconEntry:
    """A word and a translation, each with its canonical language tag."""

    source: str
    source_lang: str
    target: str
    target_lang: str


def _cases(entry: LexiconEntry) -> Iterable[tuple[str, str]]:
    """The entry as it is, and for cased scripts as a sentence begins and in capitals."""
    yield entry.source, entry.target
    for change in (str.capitalize, str.upper):
        if change(entry.source) != entry.source:
            yield change(entry.source), change(entry.target)


class CodeSwitching:
    """Replace words by translations.

    Args:
        entries: the lexicon; both directions are used.
        tokenizer: of the shards.
        languages: canonical tags in stream order; entries of other languages are left out.
        rate: share of the words *that have an entry* that is replaced.

    Raises:
        RecipeError: no entry is left.
    """

    def __init__(
        self,
        entries: Iterable[LexiconEntry],
        tokenizer: PreTrainedTokenizerBase,
        languages: Sequence[str],
        *,
        rate: float,
    ) -> None:
        self.rate = rate
        index = {tag: i for i, tag in enumerate(languages)}
        both = [
            e
            for one in entries
            for e in (one, LexiconEntry(one.target, one.target_lang, one.source, one.source_lang))
            if one.source_lang in index and one.target_lang in index
        ]
        if not both:
            raise RecipeError(
                "no lexicon entry of the languages drawn",
                expected=f"words of two of {', '.join(languages)}",
                where="data.lexicons",
            )
        words = sorted({word for e in both for pair in _cases(e) for word in pair})
        ids = tokenizer(words, add_special_tokens=False)["input_ids"]
        tokens = {word: tuple(row) for word, row in zip(words, ids, strict=True)}
        #: Language index -> ids of a word -> the translations: ids and language index each.
        self._lexicon: dict[int, dict[tuple[int, ...], list[tuple[tuple[int, ...], int]]]] = {}
        inside = _inside(sorted({e.source for e in both if not language(e.source_lang).spaced}), tokenizer)
        for entry in both:
            own = self._lexicon.setdefault(index[entry.source_lang], {})
            for source, target in _cases(entry):
                translation = (tokens[target], index[entry.target_lang])
                for key in {tokens[source], inside.get(source, tokens[source])}:
                    if key and translation[0] and translation not in own.setdefault(key, []):
                        own[key].append(translation)

    def __call__(self, text: Text, chance: np.random.Generator) -> Text:
        """Replace words of the text; the tokens of a translation are marked with its language."""
        begins = np.flatnonzero(text.starts)
        if not len(begins):
            return text
        ids, languages = text.tokens.tolist(), text.languages.tolist()
        edges = [*begins.tolist(), len(ids)]
        dice, choice = chance.random(len(begins)), chance.random(len(begins))
        out_ids, out_starts = ids[: edges[0]], [False] * edges[0]
        out_languages = languages[: edges[0]]
        for number in range(len(begins)):
            begin, end = edges[number], edges[number + 1]
            known = self._lexicon.get(languages[begin], {}).get(tuple(ids[begin:end]))
            new, lang = ids[begin:end], languages[begin]
            if known and dice[number] < self.rate:
                translation, lang = known[int(choice[number] * len(known))]
                new = list(translation)
            out_ids += new
            out_starts += [True] + [False] * (len(new) - 1)
            out_languages += [lang] * len(new)
        return Text(np.array(out_ids), np.array(out_starts), np.array(out_languages))


def _inside(words: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> dict[str, tuple[int, ...]]:
    """Ids of words of unspaced scripts as they are in the middle of a text: behind an ideographic full stop."""
    if not words:
        return {}
    stop = tokenizer("。", add_special_tokens=False)["input_ids"]
    rows = tokenizer([f"。{word}" for word in words], add_special_tokens=False)["input_ids"]
    return {w: tuple(row[len(stop) :]) for w, row in zip(words, rows, strict=True) if row[: len(stop)] == stop}
