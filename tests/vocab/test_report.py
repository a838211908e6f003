"""vocab/report.py against counts by hand and against scipy."""

from __future__ import annotations

from collections import Counter

import pytest
from scipy.stats import entropy

from interlingua.errors import LanguageError
from interlingua.text.words import words
from interlingua.vocab.report import vocabulary_report

TEXT = {"en": ["the son of David", "the son of Jesus."]}


def test_counts_by_hand(bpe_tokenizer) -> None:
    """Every figure of a nine-word text, counted in plain Python; the entropy by scipy."""
    (row,) = vocabulary_report(bpe_tokenizer, TEXT)
    tokens = [t for text in TEXT["en"] for t in bpe_tokenizer.encode(text, add_special_tokens=False).tokens]
    assert (row.texts, row.words, row.tokens) == (2, 9, len(tokens))
    assert row.fertility == pytest.approx(len(tokens) / 9)
    bits = entropy(list(Counter(tokens).values()), base=2) * len(tokens)
    assert row.bits_per_character == pytest.approx(bits / sum(map(len, TEXT["en"])))
    split = [w for text in TEXT["en"] for w in words(text, "en")]
    several = sum(len(bpe_tokenizer.encode(w, add_special_tokens=False).ids) > 1 for w in split if w != ".")
    assert row.continued_words == pytest.approx(several / 9)
    assert row.parity is None


def test_unknown_and_byte_rates(wordpiece_tokenizer, bpe_tokenizer) -> None:
    """One unknown word of three; four bytes and a space of six tokens."""
    (row,) = vocabulary_report(wordpiece_tokenizer, {"eng_Latn": ["the 🦖 son"]})
    assert (row.lang, row.unknown_rate, row.byte_rate) == ("en", pytest.approx(1 / 3), 0.0)
    (row,) = vocabulary_report(bpe_tokenizer, {"en": ["the son 🦖"]})
    tokens = bpe_tokenizer.encode("the son 🦖", add_special_tokens=False).tokens
    assert row.byte_rate == pytest.approx(4 / len(tokens))
    assert row.unknown_rate == 0.0


def test_parity_by_hand(bpe_tokenizer, tiny_texts, tiny_parallel) -> None:
    """Tokens of the German verses over those of the English ones; English itself is 1."""
    rows = {row.lang: row for row in vocabulary_report(bpe_tokenizer, tiny_texts, tiny_parallel)}
    count = {
        lang: sum(len(bpe_tokenizer.encode(text, add_special_tokens=False).ids) for text in tiny_texts[lang])
        for lang in ("en", "de")
    }
    assert rows["en"].parity == 1.0
    assert rows["de"].parity == pytest.approx(count["de"] / count["en"])


def test_every_kind_and_language_gives_sane_rows(
    tiny_texts, wordpiece_tokenizer, unigram_tokenizer, unigram_nosplit_tokenizer, byte_bpe_tokenizer, bpe_tokenizer
) -> None:
    """Rates lie between 0 and 1, and byte-level BPE has neither unknown nor byte tokens."""
    for tokenizer in (wordpiece_tokenizer, unigram_tokenizer, unigram_nosplit_tokenizer, bpe_tokenizer):
        for row in vocabulary_report(tokenizer, tiny_texts):
            assert 0 <= row.continued_words <= 1
            assert 0 <= row.unknown_rate < 0.3
            assert 0.3 < row.fertility < 15
            assert 0 < row.bits_per_character < 20
    assert all(r.unknown_rate == r.byte_rate == 0 for r in vocabulary_report(byte_bpe_tokenizer, tiny_texts))


def test_a_language_without_text(bpe_tokenizer) -> None:
    """Blank texts are an error that names the language."""
    with pytest.raises(LanguageError, match="'sw'"):
        vocabulary_report(bpe_tokenizer, {"sw": [" "]})
