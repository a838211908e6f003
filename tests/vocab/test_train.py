"""vocab/train.py against transformers, against counts by hand, and against its own promise of determinism."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from interlingua.errors import LanguageError, VocabularyError
from interlingua.vocab.train import memory_estimate, sample_texts, save_vocabulary, train_vocabulary

KINDS = {"wordpiece": "wordpiece_tokenizer", "unigram": "unigram_tokenizer", "byte-bpe": "byte_bpe_tokenizer",
         "bpe": "bpe_tokenizer"}  # fmt: skip
SIZES = {"wordpiece": 3000, "unigram": 3000, "byte-bpe": 2000, "bpe": 3000}
SAMPLE = {"exponent": 1.0, "characters": 10**6, "coverage": 1.0, "normalization": "NFKC", "lowercase": False,
          "cut_unspaced": True, "seed": 0}  # fmt: skip


# The NFKC tables of the tokenizers library are older than Python's: only characters that both must know.
OLD_CHARACTERS = st.characters(exclude_categories=["Cs", "Cc", "Cn"]).filter(
    lambda character: unicodedata.ucd_3_2_0.category(character) != "Cn"
)


@pytest.mark.parametrize("kind", KINDS)
def test_folder_opens_with_transformers(kind: str, request, tmp_path, tiny_texts) -> None:
    """AutoTokenizer gives the same ids, and the special tokens in their places."""
    from transformers import AutoTokenizer

    tokenizer = request.getfixturevalue(KINDS[kind])
    opened = AutoTokenizer.from_pretrained(str(save_vocabulary(tokenizer, tmp_path / "v", max_length=77)))
    assert opened.model_max_length == 77
    assert len(opened) == tokenizer.get_vocab_size() == SIZES[kind]
    for lang in ("en", "ja", "ko", "my"):
        assert opened(tiny_texts[lang][5])["input_ids"] == tokenizer.encode(tiny_texts[lang][5]).ids
    names = (opened.pad_token_id, opened.cls_token_id, opened.sep_token_id, opened.unk_token_id, opened.mask_token_id)
    assert names == (0, 1, 2, 3, 4)
    assert (opened.bos_token_id, opened.eos_token_id) == (1, 2)
    ids = opened("one", "two")["input_ids"]
    assert ids[0] == 1
    assert ids[-1] == 2
    assert ids.count(2) == (2 if kind == "wordpiece" else 3)


@pytest.mark.parametrize("kind", ["unigram", "byte-bpe", "bpe"])
@example(text="¼ ½")
@given(text=st.text(OLD_CHARACTERS, max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_unknown(kind: str, text: str, request) -> None:
    """Any text comes back, up to NFKC and white space, and without the unknown token."""
    tokenizer = request.getfixturevalue(KINDS[kind])
    ids = tokenizer.encode(text).ids
    assert 3 not in ids
    if "▁" in text:
        return  # U+2581 is the space itself in SentencePiece's convention
    expected = " ".join(unicodedata.normalize("NFKC", text).split())
    assert " ".join(tokenizer.decode(ids).split()) == expected


def test_unigram_knows_frequent_words_that_are_part_of_no_other(unigram_tokenizer, tiny_texts) -> None:
    """Vietnamese syllables met twenty times or more are one token (the library's trainer alone misses most)."""
    counts: dict[str, int] = {}
    for text in tiny_texts["vi"]:
        for word in text.replace(",", " ").replace(".", " ").split():
            counts[word] = counts.get(word, 0) + 1
    frequent = [word for word, count in counts.items() if count >= 20]
    assert len(frequent) > 20
    whole = [len(unigram_tokenizer.encode(word, add_special_tokens=False).ids) == 1 for word in frequent]
    assert sum(whole) >= 0.9 * len(whole)


@pytest.mark.parametrize("kind", ["wordpiece", "byte-bpe", "bpe"])
def test_the_same_seed_gives_the_same_vocabulary(kind: str, request, tiny_texts) -> None:
    """A second training against the fixture, to the last byte of its JSON."""
    again = train_vocabulary(tiny_texts, kind=kind, size=SIZES[kind])
    assert again.to_str() == request.getfixturevalue(KINDS[kind]).to_str()


def test_unigram_is_nearly_the_same_again(unigram_tokenizer, tiny_texts) -> None:
    """A second training shares nineteen pieces in twenty with the fixture (the trainer's hash order decides ties)."""
    again = train_vocabulary(tiny_texts, kind="unigram", size=SIZES["unigram"])
    assert len(again.get_vocab().keys() & unigram_tokenizer.get_vocab().keys()) >= 0.95 * SIZES["unigram"]


def test_tokens_of_unspaced_text_respect_words(bpe_tokenizer, tiny_texts) -> None:
    """No learned Japanese token holds a full stop or comma, and the sample's marker is in no token."""
    for token in bpe_tokenizer.get_vocab():
        assert "\ue000" not in token
        assert not (len(token.strip("▁")) > 1 and ("。" in token or "、" in token))


def test_sample_follows_the_smoothed_shares() -> None:
    """Two languages of 90,000 and 10,000 characters, S = 0.5: shares 3/4 and 1/4, by hand."""
    texts = {"en": ["a" * 10] * 9000, "de": ["b" * 10] * 1000}
    sample = "".join(sample_texts(texts, **{**SAMPLE, "exponent": 0.5, "characters": 40_000}))
    assert sample.count("a") == pytest.approx(30_000, abs=10)
    assert sample.count("b") == pytest.approx(10_000, abs=10)


def test_sample_cuts_rare_characters_and_unspaced_words() -> None:
    """Coverage leaves the rare letter out; Chinese is cut where budoux cuts; NFKC folds the comma."""
    (text,) = sample_texts({"en": ["aaaa aaaz"]}, **{**SAMPLE, "coverage": 0.8})
    assert text == "aaaa aaa\ue000"
    (text,) = sample_texts({"zh": ["今天天气很好，我们去公园"]}, **SAMPLE)
    assert text.replace("\ue000", "") == "今天天气很好,我们去公园"
    assert "今天\ue000" in text


def test_language_tokens_and_lowercase(tiny_texts) -> None:
    """Language tokens follow the special ones and are never split; upper case is folded."""
    tokenizer = train_vocabulary({"en": tiny_texts["en"]}, size=800, lowercase=True, languages=["eng_Latn", "zh-TW"])
    assert [tokenizer.token_to_id(token) for token in ("<en>", "<zh-Hant>")] == [5, 6]
    assert tokenizer.encode("DAVID").ids == tokenizer.encode("david").ids


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_larger_than_the_text(kind: str) -> None:
    """The size asked and the size reached are both named."""
    with pytest.raises(VocabularyError, match=r"size 5000 asked, size \d+ reached"):
        train_vocabulary({"en": ["only a few words here", "and a few words there"]}, kind=kind, size=5000)


def test_senseless_requests(tiny_texts) -> None:
    """A size below the reserved tokens, an unknown kind, a language without text, a size below the alphabet."""
    with pytest.raises(VocabularyError, match="size 100"):
        train_vocabulary(tiny_texts, size=100)
    with pytest.raises(VocabularyError, match="'sentencepiece'"):
        train_vocabulary(tiny_texts, kind="sentencepiece", size=5000)
    with pytest.raises(LanguageError, match="'sw'"):
        train_vocabulary({**tiny_texts, "sw": []}, size=3000)
    with pytest.raises(VocabularyError, match="reached"):
        train_vocabulary(tiny_texts, size=400)


def test_a_foreign_tokenizer_cannot_be_saved(tmp_path) -> None:
    """Without special tokens there is no folder."""
    from tokenizers import Tokenizer, models

    with pytest.raises(VocabularyError, match="<mask>"):
        save_vocabulary(Tokenizer(models.BPE()), tmp_path / "v")


def test_memory_estimate_by_hand() -> None:
    """120,000 tokens of width 256: 30,720,000 weights, 123 MB, four times that with gradient and Adam."""
    estimate = memory_estimate(120_000, 256)
    assert (estimate.parameters, estimate.embedding_bytes) == (30_720_000, 122_880_000)
    assert estimate.training_bytes == 491_520_000
    assert str(estimate).startswith("30,720,000 embedding weights: 123 MB, 492 MB")
