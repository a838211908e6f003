"""models/encoder.py: plain transformers with mean pooling, one text at a time in float64, is the oracle."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError
from interlingua.models.encoder import Encoder

TEXTS = ["the cat sat", "a dog", "the mat is on the floor and the cat is on the mat", "", "dog " * 60, "sat on"]


@pytest.fixture(params=["bert", "xlm-roberta", "modernbert", "distilbert"])
def encoder(request, hf_tokenizer):
    torch.manual_seed(0)
    config = tiny_config(request.param, vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    return Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, "query: ", 60)


def expected(encoder: Encoder, texts: list[str]) -> np.ndarray:
    """Return mean-pooled and normalised vectors of plain calls in float64."""
    model = copy.deepcopy(encoder.model).double()
    rows = []
    for text in texts:
        inputs = encoder.tokenizer(encoder.prefix + text, truncation=True, max_length=60, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.no_grad():
            mean = model(**inputs).last_hidden_state[0].mean(dim=0)
        rows.append((mean / mean.norm()).numpy())
    return np.array(rows)


@pytest.mark.parametrize("batch_tokens", [1, 70, 1024])
def test_vectors_are_those_of_plain_transformers(encoder, batch_tokens, monkeypatch):
    """Any batch size, by torch's products and by oneDNN's: equal to 1e-5."""
    for quick in ("0", "1"):
        monkeypatch.setenv("INTERLINGUA_ONEDNN", quick)
        from interlingua.models import linear

        linear.onednn_is_quicker.cache_clear()
        monkeypatch.setattr(linear, "SMALLEST", 0)
        found = encoder.encode(TEXTS, batch_tokens=batch_tokens)
        np.testing.assert_allclose(found, expected(encoder, TEXTS), atol=1e-5)
    linear.onednn_is_quicker.cache_clear()


def test_blocks_of_an_iterator(encoder):
    """Texts that come one by one are read block by block, and no further than asked."""
    read = []

    def endless():
        while True:
            read.append(TEXTS[len(read) % len(TEXTS)])
            yield read[-1]

    blocks = encoder.encode_blocks(endless(), block=4)
    first, second = next(blocks), next(blocks)
    assert len(read) == 8
    np.testing.assert_allclose(np.concatenate([first, second]), encoder.encode(iter(read[:8])), atol=1e-5)


def test_nothing_and_a_single_string(encoder):
    """No texts: no rows. A string instead of a list: an error that says what to write."""
    assert encoder.encode([]).shape == (0, 32)
    with pytest.raises(DataError, match="single string"):
        encoder.encode("one text")
    done = []
    encoder.encode(TEXTS, progress=done.append, normalize=False)
    assert sum(done) == len(TEXTS)
