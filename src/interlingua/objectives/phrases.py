"""Phrases and entities of a user's lexicon, found in token ids.

In: phrases, one a line, and a tokenizer. Out: for the tokens of a batch, which belong together. Decisions: phrases are
tokenised once, as they stand at the beginning of a word and inside an unspaced text, and looked up in a trie that is a
sorted array, all words of a batch at a time; where matches overlap, the first and longest counts. Price: a phrase that
the tokenizer spells otherwise in its context is not found, nor one that begins or ends inside a word.

Source: ERNIE, Sun et al. 2019 (arXiv 1904.09223) section 3.2: entity- and phrase-level masking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import RecipeError
from interlingua.languages import canonical
from interlingua.objectives.units import Maskable
from interlingua.text.lines import OnBad, ReadReport, nfc, numbered_lines

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PhraseLexicon", "read_phrases"]

Ints = NDArray[np.int64]

#: What a phrase stands behind when it is tokenised as in the middle of an unspaced text.
STOP = "。"


def read_phrases(
    path: str | Path, *, on_bad: OnBad = "raise", report: ReadReport | None = None
) -> Iterator[tuple[str, str | None]]:
    """Stream the (phrase, language) pairs of a file, also ``.gz`` or ``.zst``.

    Args:
        path: a phrase a line, or ``lang<TAB>phrase``; a phrase without a language is looked for in all.
        on_bad: ``"raise"`` at the first line that cannot be read, or ``"count"`` it and go on.
        report: counts what was read.

    Raises:
        DataError: file missing, empty, damaged or not UTF-8.
        LanguageError: a tag nobody knows.
    """
    path, report = Path(path), report or ReadReport()
    for _, line in numbered_lines(path, report, on_bad):
        lang, tab, phrase = line.rpartition("\t")
        if not phrase.strip():
            report.blank += 1
            continue
        report.rows += 1
        yield nfc(phrase), canonical(lang.strip()) if tab else None
    report.finish(path)


class PhraseLexicon:
    """A trie of phrases over token ids.

    Args:
        phrases: each with a canonical language tag, or None: looked for in all languages.
        tokenizer: of the texts.
        languages: canonical tags in stream order; phrases of other languages are left out.

    Raises:
        RecipeError: no phrase is left.
    """

    def __init__(
        self,
        phrases: Iterable[tuple[str, str | None]],
        tokenizer: PreTrainedTokenizerBase,
        languages: Sequence[str] = (),
    ) -> None:
        column = {tag: i for i, tag in enumerate(languages)}
        wanted = sorted({(text, -1 if lang is None else column[lang]) for text, lang in phrases
                         if lang is None or lang in column})  # fmt: skip
        spelt = _spellings([text for text, _ in wanted], tokenizer)
        # Node 0 begins phrases of all languages, node l + 1 those of language l. An edge's key is node x V + token.
        self._vocabulary = len(tokenizer)
        edges: dict[int, int] = {}
        nodes = len(languages) + 1
        ends: list[int] = []
        for (_, language), spellings in zip(wanted, spelt, strict=True):
            for ids in spellings:
                node = language + 1
                for token in ids:
                    key = node * self._vocabulary + token
                    if key not in edges:
                        edges[key] = nodes
                        nodes += 1
                    node = edges[key]
                ends.append(node)
        if not edges:
            raise RecipeError(
                f"no phrase of the languages drawn in a lexicon of {len(wanted)} usable phrases",
                expected="phrases" + (f" of {', '.join(languages)}" if languages else ""),
                where="objectives.lexicon",
                next_step="give phrases of these languages, or without a language",
            )
        self._keys = np.array(sorted(edges), dtype=np.int64)
        self._children = np.array([edges[key] for key in self._keys.tolist()], dtype=np.int64)
        self._ends = np.zeros(nodes, dtype=bool)
        self._ends[ends] = True

    def phrases(self, text: Maskable) -> Ints:
        """Number of the phrase, or else of the word, that each maskable token is part of: int64 [N], from 0."""
        firsts = np.flatnonzero(np.diff(text.word_N, prepend=-1))
        lengths = np.maximum(
            self._longest(text, firsts, np.zeros(len(firsts), dtype=np.int64)),
            self._longest(text, firsts, text.languages_N[firsts] + 1),
        )
        joined_N = np.zeros(len(text), dtype=bool)  # tokens that do not begin a unit
        joined_N[np.flatnonzero(np.diff(text.word_N, prepend=-1) == 0)] = True
        reached = 0
        found = np.flatnonzero(lengths)
        for first, length in zip(firsts[found].tolist(), lengths[found].tolist(), strict=True):
            if first >= reached:
                reached = first + length
                joined_N[first + 1 : reached] = True
        return np.cumsum(~joined_N) - 1

    def _longest(self, text: Maskable, firsts: NDArray[np.intp], nodes: Ints) -> Ints:
        """Tokens of the longest phrase that begins at each of some tokens and ends where a word ends; 0: none."""
        size = len(text)
        ends_word = np.ones(size, dtype=bool)
        ends_word[:-1] = np.diff(text.word_N) > 0
        longest = np.zeros(len(firsts), dtype=np.int64)
        alive = np.arange(len(firsts))
        depth = 0
        while len(alive):
            at = firsts[alive] + depth
            inside = at < size
            inside[inside] &= text.run_N[at[inside]] == text.run_N[firsts[alive[inside]]]
            alive, nodes, at = alive[inside], nodes[inside], at[inside]
            keys = nodes * self._vocabulary + text.tokens_N[at]
            slots = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            known = self._keys[slots] == keys
            alive, nodes, at = alive[known], self._children[slots[known]], at[known]
            depth += 1
            longest[alive[self._ends[nodes] & ends_word[at]]] = depth
        return longest


def _spellings(phrases: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[set[tuple[int, ...]]]:
    """Ids of each phrase at the beginning of a text, behind a space, and behind a full stop without a space."""
    if not phrases:
        return []
    found: list[set[tuple[int, ...]]] = [set() for _ in phrases]
    for before in ("", f"{STOP} ", STOP):
        stop = tokenizer(before.strip(), add_special_tokens=False)["input_ids"] if before else []
        rows = tokenizer([before + phrase for phrase in phrases], add_special_tokens=False)["input_ids"]
        for own, row in zip(found, rows, strict=True):
            # An unknown token would match every other, and may have swallowed the full stop.
            if row[: len(stop)] == stop and row[len(stop) :] and tokenizer.unk_token_id not in row:
                own.add(tuple(row[len(stop) :]))
    return found
