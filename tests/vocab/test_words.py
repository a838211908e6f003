"""vocab/words.py against text.words through offsets, and against hand-written examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import Unigram

from interlingua.errors import VocabularyError
from interlingua.languages import language
from interlingua.text.words import word_starts, words
from interlingua.vocab.words import WordStarts, align_words, token_bytes, word_start_tokens

KINDS = (
    "wordpiece_tokenizer",
    "unigram_tokenizer",
    "unigram_nosplit_tokenizer",
    "byte_bpe_tokenizer",
    "bpe_tokenizer",
)
SPACED = ("en", "de", "fr", "es", "ru", "ko", "vi", "el", "fi", "hu")


@pytest.fixture(params=KINDS)
def tokenizer(request):
    return request.getfixturevalue(request.param)


def by_hand(encoding, text: str, lang: str) -> list[bool]:
    """A plain loop over tokens and characters: does the first visible character of the span start a word?"""
    starts = word_starts(text, lang)
    found, taken = [], set()
    for token, (first, last), special in zip(
        encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True
    ):
        seen = next((place for place in range(first, last) if not text[place].isspace()), None)
        blank = special or token in ("▁", "Ġ") or seen is None
        found.append(not blank and bool(starts[seen]) and seen not in taken)
        if found[-1]:
            taken.add(seen)
    return found


def test_english_example(tokenizer) -> None:
    """Words of a sentence with an apostrophe and a hyphen are found by every kind of tokenizer."""
    text = "Don't say: Jesus is a well-known son of Abraham, David."
    encoding = tokenizer.encode(text)
    (found,) = word_start_tokens(tokenizer, [encoding], [text], "en")
    assert found.sum() == len(words(text, "en")) - unstarted(tokenizer, encoding, found, text)
    assert not found[0]
    assert not found[-1]


def unstarted(tokenizer, encoding, found, text: str) -> int:
    """Count words that begin inside a token (only where tokens may cross words)."""
    starts = np.flatnonzero(word_starts(text, "en"))
    spans = [s for s, special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True) if not special]
    firsts = {next((p for p in range(*span) if text[p] != " "), None) for span in spans}
    return sum(int(start) not in firsts for start in starts)


@pytest.mark.parametrize("lang", SPACED)
def test_fast_path_agrees_with_offsets(tokenizer, tiny_texts, lang: str) -> None:
    """Tokens' own text against offsets and text.words in a plain loop: all but one token in two hundred agree."""
    texts = tiny_texts[lang][:40]
    encodings = tokenizer.encode_batch(texts)
    fast = word_start_tokens(tokenizer, encodings, texts, lang)
    slow = [by_hand(encoding, text, lang) for encoding, text in zip(encodings, texts, strict=True)]
    wrong = sum(int((np.array(b) != a).sum()) for a, b in zip(fast, slow, strict=True))
    assert wrong <= sum(map(len, fast)) / 200


@pytest.mark.parametrize("lang", ["ja", "my"])
def test_general_path_equals_a_plain_loop(tokenizer, tiny_texts, lang: str) -> None:
    """Unspaced languages: vectorised offsets against the plain loop, exactly."""
    texts = tiny_texts[lang][:60]
    encodings = tokenizer.encode_batch(texts)
    found = word_start_tokens(tokenizer, encodings, texts, lang)
    for row, encoding, text in zip(found, encodings, texts, strict=True):
        assert row.tolist() == by_hand(encoding, text, lang)


@pytest.mark.parametrize("lang", [*SPACED, "ja", "my"])
def test_without_texts_or_offsets(tokenizer, tiny_texts, lang: str) -> None:
    """Ids alone against ids with texts and offsets: all but three tokens in a hundred agree."""
    texts = tiny_texts[lang][:40]
    encodings = tokenizer.encode_batch(texts)
    starts = WordStarts(tokenizer)
    blind = np.concatenate(starts([e.ids for e in encodings], None, lang))
    seeing = np.concatenate(starts([e.ids for e in encodings], texts, lang, [e.offsets for e in encodings]))
    assert (blind != seeing).mean() <= 0.03


@given(
    text=st.text(st.sampled_from("ab é'’-.,3 1„(한국доѓ ĳ😀\u200d\ufeffש\n\t"), max_size=40),
    lang=st.sampled_from(["en", "ko", "ja", "th", "he"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_gives_one_flag_a_token(tokenizer, text: str, lang: str) -> None:
    """Shape, no start on special tokens, and never more starts than the text has words."""
    encoding = tokenizer.encode(text)
    (found,) = word_start_tokens(tokenizer, [encoding], [text], lang)
    assert found.shape == (len(encoding.ids),)
    assert not (found & np.array(encoding.special_tokens_mask, dtype=bool) & (np.array(encoding.ids) != 3)).any()
    if not language(lang).spaced:
        assert found.sum() <= word_starts(text, lang).sum()


def test_bytes_of_one_character_start_once(bpe_tokenizer, byte_bpe_tokenizer) -> None:
    """A character spelled in four bytes gives one start, by hand."""
    for tokenizer in (bpe_tokenizer, byte_bpe_tokenizer):
        encoding = tokenizer.encode("🦖 x", add_special_tokens=False)
        for offsets in (None, [encoding.offsets]):
            (found,) = WordStarts(tokenizer)([encoding.ids], ["🦖 x"], "en", offsets)
            assert found.sum() == 2
            (found,) = WordStarts(tokenizer)([encoding.ids], ["🦖 x"], "th", offsets)
            assert found.sum() == 2


def test_wide_spaces_inside_tokens() -> None:
    """A token that opens with a space of several bytes starts a word where its letter does, by hand."""
    pieces = ["<unk>", "\u3000神", "\u00a0a", "\u3000", " b", "c"]
    tokenizer = Tokenizer(Unigram([(piece, -1.0) for piece in pieces], 0))
    for lang in ("en", "ja"):
        (found,) = WordStarts(tokenizer)([[1, 2, 3, 4, 5]], None, lang)
        assert found.tolist() == [True, True, False, True, False]


def test_characters_cut_anywhere(bpe_tokenizer) -> None:
    """Bytes that are no whole characters, by hand: a letter where one would begin, nothing at the later bytes."""
    spelled = [["<0x80>"], ["<0xE3>"], ["<0xE3>", "<0x81>", "a"], ["a", "<0xC3>"], ["<0xF0>", "<0xE3>"]]
    rows = [[bpe_tokenizer.token_to_id(token) for token in row] for row in spelled]
    found = [row.tolist() for row in WordStarts(bpe_tokenizer)(rows, None, "en")]
    assert found == [[False], [True], [True, False, False], [True, False], [True, False]]


def test_rows_end_to_end(tokenizer, tiny_texts) -> None:
    """Rows laid end to end give what each row gives alone."""
    rows = [e.ids for e in tokenizer.encode_batch(tiny_texts["en"][:20])] + [[], [5]]
    starts = WordStarts(tokenizer)
    found = starts.of_rows(np.concatenate(rows).astype(np.int64), np.array([len(row) for row in rows]), "en")
    alone = [flag for row in rows for flag in starts([row], None, "en")[0].tolist()]
    assert found.tolist() == alone


def test_token_bytes_spell_the_text(tokenizer, tiny_texts) -> None:
    """Tokens' bytes joined are the text, up to spaces and normalisation (tokenizers' own decoder as oracle)."""
    tokens = token_bytes(tokenizer)
    for lang in ("en", "ru", "hu"):
        text = tiny_texts[lang][3]
        ids = tokenizer.encode(text).ids
        spelled = b"".join(tokens.data[tokens.first[i] : tokens.first[i + 1]].tobytes() for i in ids).decode()
        decoded = tokenizer.decode(ids)
        if "UNK" not in " ".join(tokenizer.encode(text).tokens):
            assert spelled.replace(" ", "") == decoded.replace(" ", "")


def test_ids_outside_the_vocabulary(bpe_tokenizer) -> None:
    """An id the vocabulary does not have is an error that names it."""
    with pytest.raises(VocabularyError, match="99999"):
        WordStarts(bpe_tokenizer)([[5, 99999]], None, "en")


def test_slow_tokenizers_are_refused() -> None:
    """Something that is no fast tokenizer is an error that names its type."""
    with pytest.raises(VocabularyError, match="'dict'"):
        WordStarts({})


def test_empty_batches(tokenizer) -> None:
    """No rows, and rows without tokens."""
    starts = WordStarts(tokenizer)
    assert starts([], None, "en") == []
    assert [len(row) for row in starts([[], []], None, "en")] == [0, 0]


def test_align_words_points_at_each_word(tokenizer, tiny_texts) -> None:
    """The token pointed at begins with the word's first character, by the tokenizer's own offsets."""
    for lang in ("en", "ru", "fi"):
        sentence = words(tiny_texts[lang][0], lang)
        aligned = align_words(sentence, tokenizer, 512)
        encoding = tokenizer.encode(" ".join(sentence))
        assert aligned.ids == encoding.ids
        text, place = " ".join(sentence), 0
        for word, first in zip(sentence, aligned.first_token_of_word, strict=True):
            if first >= 0:
                start, end = encoding.offsets[first]
                assert text[start:end].lstrip()[0] == word[0]
                assert start <= place < end
            place += len(word) + 1
        if tokenizer.to_str().find('"split":false') < 0:
            assert -1 not in aligned.first_token_of_word


def test_align_words_marks_what_truncation_cut(bpe_tokenizer) -> None:
    """Words beyond max_length get -1, the rest increase, and the row ends with its special token."""
    aligned = align_words(["the", "son", "of", "David"] * 20, bpe_tokenizer, 12)
    assert len(aligned.ids) == 12
    assert aligned.ids[-1] == 2
    kept = [first for first in aligned.first_token_of_word if first >= 0]
    assert kept == sorted(kept)
    assert max(kept) < 11
    assert aligned.first_token_of_word[-1] == -1
    with pytest.raises(VocabularyError, match="max_length 2"):
        align_words(["a"], bpe_tokenizer, 2)
