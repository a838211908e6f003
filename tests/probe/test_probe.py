"""Retrieval, states by layer, language means and map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError, LanguageError, RecipeError
from interlingua.models.encoder import Encoder
from interlingua.probe import centred, language_map, language_means, precision_at_1, retrieve, sentence_states


@pytest.fixture(scope="module")
def encoder(hf_tokenizer: Any) -> Encoder:
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer))
    return Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, max_length=100)


def test_precision_at_1_equals_nearest_neighbours() -> None:
    """Both ways against scikit-learn's brute-force cosine neighbours."""
    chance = np.random.default_rng(0)
    left = chance.normal(size=(80, 6)).astype(np.float32)
    right = (left + chance.normal(size=(80, 6)) * 0.8).astype(np.float32)
    found = precision_at_1(left, right)
    for (query, index), value in zip(((left, right), (right, left)), found, strict=True):
        nearest = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(index)
        near = nearest.kneighbors(query, return_distance=False)[:, 0]
        assert value == pytest.approx((near == np.arange(80)).mean())
    assert 0.2 < found[0] < 1


def test_vectors_of_different_number_are_refused() -> None:
    """Five against four."""
    with pytest.raises(DataError, match="shapes"):
        precision_at_1(np.zeros((5, 2), np.float32), np.zeros((4, 2), np.float32))


def test_states_by_layer_equal_plain_transformers(encoder: Encoder, tiny_texts: dict[str, list[str]]) -> None:
    """Mean-pooled states of every layer against the plain model run on one text at a time."""
    texts = tiny_texts["en"][:7]
    ours = sentence_states(encoder, texts, layers=[0, 1, 2, 3])
    for i, text in enumerate(texts):
        ids = encoder.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            plain = encoder.model(input_ids=ids, output_hidden_states=True).hidden_states
        for layer in range(4):
            pooled = plain[layer][0].mean(0).numpy()
            cosine = ours[layer, i] @ pooled / (np.linalg.norm(ours[layer, i]) * np.linalg.norm(pooled))
            assert cosine > 0.999  # inference may be in bf16
    with pytest.raises(RecipeError, match="layer 9"):
        sentence_states(encoder, texts, layers=[9])


def test_retrieve_a_language_from_itself_is_perfect(encoder: Encoder, tiny_texts: dict[str, list[str]]) -> None:
    """Identical texts on both sides; ids in another order; one id missing."""
    texts = dict(zip("abcdefgh", tiny_texts["en"][:8], strict=True))
    backwards = {i: texts[i] for i in reversed("abcdefg")}
    scores = {s.metric: s for s in retrieve(encoder, {"en": texts, "de": backwards})}
    assert scores["p1"].value == 1.0
    assert scores["p1"].n == 7
    with pytest.raises(LanguageError, match="no text in 'en'"):
        retrieve(encoder, {"de": texts})
    with pytest.raises(DataError, match="has an id"):
        retrieve(encoder, {"en": texts, "de": {"z": "x"}})


def test_centring_and_means_by_hand() -> None:
    """Means of two small clouds; centred vectors have mean 0."""
    vectors = {"en": np.array([[1, 3], [3, 5]], np.float32), "de": np.array([[0, 0], [0, 2]], np.float32)}
    means = language_means(vectors)
    assert means["en"].tolist() == [2, 4]
    assert means["de"].tolist() == [0, 1]
    assert centred(vectors["en"]).tolist() == [[-1, -1], [1, 1]]


def test_language_map_equals_scikit_learns_pca() -> None:
    """Coordinates up to the sign of a component against PCA."""
    chance = np.random.default_rng(1)
    means = {lang: chance.normal(size=8).astype(np.float32) for lang in ("en", "de", "fr", "ru", "ja")}
    ours = np.array(list(language_map(means).values()))
    theirs = PCA(2, svd_solver="full").fit_transform(np.stack(list(means.values())))
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-5)
    with pytest.raises(DataError, match="2 languages"):
        language_map(dict(list(means.items())[:2]))
