"""vocab/trim.py: a smaller vocabulary against the whole one on the texts that it was cut to."""

from __future__ import annotations

import pytest

from interlingua.errors import VocabularyError
from interlingua.models.checkpoint import open_tokenizer
from interlingua.vocab.train import save_vocabulary
from interlingua.vocab.trim import trim


@pytest.mark.parametrize("kind", ["unigram_tokenizer", "wordpiece_tokenizer", "unigram_nosplit_tokenizer"])
def test_texts_are_segmented_as_before(kind, tiny_texts, tmp_path, request):
    """Tokens of 300 sentences, with specials; new ids map back to the old; a saved copy does the same."""
    whole = request.getfixturevalue(kind)
    if kind == "unigram_nosplit_tokenizer":
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast(tokenizer_object=whole, unk_token="<unk>", pad_token="<pad>")
    else:
        tokenizer = open_tokenizer(save_vocabulary(whole, tmp_path / "whole"))
    texts = [text for lang in ("en", "fi", "ja") for text in tiny_texts[lang][:100]]
    old = tokenizer(texts)["input_ids"]
    smaller, kept = trim(tokenizer, {i for row in old for i in row})
    new = smaller(texts)["input_ids"]
    assert [kept[row].tolist() for row in new] == old
    assert len(smaller) == len(kept) < len(tokenizer)
    assert smaller.convert_ids_to_tokens(new[0]) == tokenizer.convert_ids_to_tokens(old[0])
    assert set(tokenizer.all_special_tokens) == set(smaller.all_special_tokens)
    smaller.save_pretrained(tmp_path / "smaller")
    assert open_tokenizer(tmp_path / "smaller")(texts)["input_ids"] == new
    assert len(tokenizer(texts[0])["input_ids"]) == len(old[0])  # the given one is as it was


def test_merges_are_not_cut(bpe_tokenizer, tmp_path):
    """BPE is refused with the way out."""
    tokenizer = open_tokenizer(save_vocabulary(bpe_tokenizer, tmp_path))
    with pytest.raises(VocabularyError, match="whole"):
        trim(tokenizer, {5, 6})
