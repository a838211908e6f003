"""What one vocabulary does to each language.

A tokenizer, texts a language and, where there are any, translations flow in; a `VocabularyRow` a language flows out.

Decision: everything is counted in tokens of running text against the words of `interlingua.text.words`, never
against white space, so that Chinese and Thai get figures that mean the same as English. Price: fertility depends on
that word rule, and is comparable between languages only as far as words are; parity, which compares the same meaning,
is not touched by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import LanguageError
from interlingua.languages import canonical
from interlingua.text.words import word_starts_batch
from interlingua.vocab.words import WordStarts, fast_tokenizer

__all__ = ["VocabularyRow", "unknown_and_byte_ids", "vocabulary_report"]


@dataclass(frozen=True, slots=True)
class VocabularyRow:
    """One language under one vocabulary; special tokens of the template are not counted.

    Attributes:
        lang: BCP-47 tag.
        texts: number of texts.
        characters: their characters (code points).
        words: their words, punctuation marks included.
        tokens: their tokens.
        fertility: tokens a word.
        continued_words: share of words that are cut into two or more tokens.
        unknown_rate: share of tokens that are the unknown token.
        byte_rate: share of tokens that are bytes of byte fallback.
        bits_per_character: entropy of the tokens' own unigram distribution, times tokens a character.
        parity: tokens relative to English for the same meaning (Petrov et al. 2023, tokenization premium); None
            without translations.
    """

    lang: str
    texts: int
    characters: int
    words: int
    tokens: int
    fertility: float
    continued_words: float
    unknown_rate: float
    byte_rate: float
    bits_per_character: float
    parity: float | None


def vocabulary_report(
    tokenizer: Any,
    texts: Mapping[str, Sequence[str]],
    parallel: Mapping[str, Mapping[str, str]] | None = None,
    *,
    pivot: str = "en",
) -> list[VocabularyRow]:
    """Measure a vocabulary on every language.

    Args:
        tokenizer: a `tokenizers.Tokenizer` or a transformers tokenizer built on one.
        texts: language tag -> texts.
        parallel: id -> language tag -> text, for parity.
        pivot: the language that has parity 1.

    Returns:
        One row a language, in the order of ``texts``.

    Raises:
        LanguageError: an unknown language, or one with no text.
        VocabularyError: not a fast tokenizer.
    """
    inner = fast_tokenizer(tokenizer)
    starts = WordStarts(inner)
    unknown, bytes_ = unknown_and_byte_ids(inner)
    premiums = _parity(inner, parallel, canonical(pivot)) if parallel else {}
    rows = []
    for lang, own in texts.items():
        characters = sum(map(len, own))
        if not any(text.strip() for text in own):
            raise LanguageError(f"a language with no text: {lang!r}", expected="text in every language")
        encodings = inner.encode_batch(list(own), add_special_tokens=False)
        ids = np.array([number for encoding in encodings for number in encoding.ids], dtype=np.int64)
        words = sum(int(found.sum()) for found in word_starts_batch(own, lang))
        firsts = starts([e.ids for e in encodings], own, lang, [e.offsets for e in encodings])
        counts = np.bincount(ids)
        shares = counts[counts > 0] / len(ids)
        entropy = float(-(shares * np.log2(shares)).sum())
        rows.append(
            VocabularyRow(
                lang=canonical(lang),
                texts=len(own),
                characters=characters,
                words=words,
                tokens=len(ids),
                fertility=len(ids) / words,
                continued_words=_continued(firsts),
                unknown_rate=float(np.isin(ids, unknown).mean()),
                byte_rate=float(np.isin(ids, bytes_).mean()),
                bits_per_character=entropy * len(ids) / characters,
                parity=premiums.get(canonical(lang)),
            )
        )
    return rows


def unknown_and_byte_ids(inner: Any) -> tuple[list[int], list[int]]:
    """Ids of the unknown token, and of the bytes of byte fallback."""
    names = [name for name in ("<unk>", "[UNK]", "<|unk|>") if inner.token_to_id(name) is not None]
    model_unknown = getattr(inner.model, "unk_token", None)
    if model_unknown and inner.token_to_id(model_unknown) is not None:
        names.append(model_unknown)
    numbers = [inner.token_to_id(f"<0x{byte:02X}>") for byte in range(256)]
    return [inner.token_to_id(name) for name in names], [number for number in numbers if number is not None]


def _continued(firsts: Sequence[NDArray[np.bool_]]) -> float:
    """Return the share of word-starting tokens that are followed by a token of the same word."""
    starting = continued = 0
    for row in firsts:
        starting += int(row.sum())
        continued += int((row[:-1] & ~row[1:]).sum())
    return continued / starting if starting else 0.0


def _parity(inner: Any, parallel: Mapping[str, Mapping[str, str]], pivot: str) -> dict[str, float]:
    own: dict[str, list[str]] = {}
    pivots: dict[str, list[str]] = {}
    for texts in parallel.values():
        tagged = {canonical(lang): text for lang, text in texts.items() if text}
        if pivot not in tagged:
            continue
        for lang, text in tagged.items():
            own.setdefault(lang, []).append(text)
            pivots.setdefault(lang, []).append(tagged[pivot])
    return {lang: _tokens(inner, texts) / max(1, _tokens(inner, pivots[lang])) for lang, texts in own.items()}


def _tokens(inner: Any, texts: list[str]) -> int:
    return sum(len(encoding.ids) for encoding in inner.encode_batch(texts, add_special_tokens=False))
