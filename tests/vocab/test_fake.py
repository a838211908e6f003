"""A doubled vocabulary cuts the fake text where the plain one cuts the real text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from interlingua.errors import VocabularyError
from interlingua.text.fake import fake_text
from interlingua.vocab.fake import doubled
from interlingua.vocab.train import save_vocabulary, train_vocabulary


def test_ids_are_those_of_the_text_and_a_half_more(
    wordpiece_tokenizer: Tokenizer, tiny_texts: dict[str, list[str]], tmp_path: Path
) -> None:
    """In twelve languages, of four scripts; unknown words and other specials alone are shared. The plain half stays."""
    both = doubled(wordpiece_tokenizer)
    size = wordpiece_tokenizer.get_vocab_size()
    assert both.get_vocab_size() == 2 * size
    save_vocabulary(both, tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert len(opened) == 2 * size
    shared = set(opened.all_special_ids)
    for texts in tiny_texts.values():
        for text in [*texts[:40], "Wait\u2026 \uff0cthe e\ufb00ect of \u2167\u00a0kings"]:
            plain = wordpiece_tokenizer.encode(text).ids
            assert opened(text)["input_ids"] == plain
            moved = [i if i in shared else i + size for i in plain]
            assert opened(fake_text(text))["input_ids"] == moved


MARKS = "abcdeGodthe.,;!?'\"-()[]1234 \u00bf\u2019\u3002\u795e\u00e9"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from(MARKS), max_size=40))
def test_marks_cut_fake_words_too(text: str, pair: tuple[Tokenizer, Tokenizer]) -> None:
    plain, both = pair
    ids = plain.encode(text, add_special_tokens=False).ids
    size, unknown = plain.get_vocab_size(), plain.token_to_id("[UNK]")
    moved = [i if i == unknown else i + size for i in ids]
    assert both.encode(fake_text(text), add_special_tokens=False).ids == moved


@pytest.fixture(scope="module")
def pair(wordpiece_tokenizer: Tokenizer) -> tuple[Tokenizer, Tokenizer]:
    return wordpiece_tokenizer, doubled(wordpiece_tokenizer)


def test_what_cannot_be_doubled(unigram_tokenizer: Tokenizer, tiny_texts: dict[str, list[str]]) -> None:
    with pytest.raises(VocabularyError, match=r"kind Unigram(?s:.*)kind wordpiece"):
        doubled(unigram_tokenizer)
    folded = train_vocabulary(tiny_texts, kind="wordpiece", size=2000, lowercase=True)
    with pytest.raises(VocabularyError, match="folds case"):
        doubled(folded)
