"""Retrieval, states by layer, language means and map."""

from __future__ import annotations

import itertools
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
from interlingua.probe import (
    WAYS,
    centred,
    language_map,
    language_means,
    precision_at_1,
    retrieve,
    sentence_states,
)


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
    (found,) = retrieve(encoder, {"en": texts, "de": backwards})
    assert (found.p1, found.count) == (1.0, 7)
    assert {(s.task, s.metric, s.n) for s in found.scores()} == {
        ("retrieval", name, 7) for name in ("p1_from_source", "p1_to_source", "p1")
    }
    with pytest.raises(LanguageError, match="no text in 'en'"):
        retrieve(encoder, {"de": texts})
    with pytest.raises(DataError, match="has an id"):
        retrieve(encoder, {"en": texts, "de": {"z": "x"}})


def test_retrieval_by_layer_pooling_and_way(
    hf_tokenizer: Any, tiny_texts: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell of a single pass against plain states of one text at a time and scikit-learn's neighbours."""
    monkeypatch.setattr("interlingua.probe.states.inference_dtype", lambda model: torch.float32)
    torch.manual_seed(0)
    # With the usual small weights all first tokens lie so close together that rounding decides who is nearest.
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), initializer_range=0.5)
    encoder = Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, max_length=100)
    texts = {
        lang: {str(i): text for i, text in enumerate(list(dict.fromkeys(tiny_texts[lang]))[:24])}
        for lang in ("en", "de")
    }
    plain = {}
    for lang, by_id in texts.items():
        states = []
        for text in by_id.values():
            ids = encoder.tokenizer(text, truncation=True, max_length=100, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                states.append(encoder.model(input_ids=ids, output_hidden_states=True).hidden_states)
        plain[lang] = states
    pools = {"mean": lambda s: s.mean(0), "first": lambda s: s[0], "max": lambda s: s.amax(0)}
    found = retrieve(encoder, texts, layers=[0, 2], poolings=list(pools), ways=["raw", "centred"])
    assert [(one.layer, one.model) for one in found] == [
        (layer, f"tiny{pool}{way}")
        for layer in (0, 2) for pool in ("", "+first", "+max") for way in ("", "+centred")
    ]  # fmt: skip
    assert found[0].scores()[0].task == "retrieval.layer0"
    cells = itertools.product((0, 2), pools.values(), (False, True))
    for (layer, pool, centre), one in zip(cells, found, strict=True):
        if layer == 0 and pool is pools["first"]:
            continue  # The first token's embedding is the same in every text, and so is every distance.
        left, right = (np.stack([pool(s[layer][0]).numpy() for s in plain[lang]]) for lang in ("en", "de"))
        if centre:
            left, right = left - left.mean(axis=0), right - right.mean(axis=0)
        for value, (query, index) in ((one.from_source, (left, right)), (one.to_source, (right, left))):
            nearest = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(index)
            hits = nearest.kneighbors(query, return_distance=False)[:, 0] == np.arange(24)
            assert value == pytest.approx(hits.mean())


def test_retrieval_by_margin_and_projection(encoder: Encoder, tiny_texts: dict[str, list[str]]) -> None:
    """All ways and scorings on copies find all; with a projection half of the pairs are searched."""
    copies = {str(i): text for i, text in enumerate(list(dict.fromkeys(tiny_texts["en"]))[:16])}
    texts = {"en": copies, "de": copies, "fr": copies}
    found = retrieve(encoder, texts, ways=WAYS, scorings=["cosine", "csls", "ratio"])
    assert {(one.count, one.p1) for one in found} == {(8, 1.0)}
    assert len({one.model for one in found}) == 3 * len(WAYS)
    assert {"tiny+csls+projected", "tiny+lsar", "tiny"} <= {one.model for one in found}
    three = {lang: dict(list(by_id.items())[:5]) for lang, by_id in texts.items()}
    with pytest.raises(DataError, match=r"5 texts of 'de'(?s:.*)at least 6"):
        retrieve(encoder, three, ways=["projected"])
    for words, text in (({"ways": ["centered"]}, "did you mean 'centred'"), ({"poolings": ["cls"]}, "pooling 'cls'"),
                        ({"scorings": ["dot"]}, "scoring 'dot'")):  # fmt: skip
        with pytest.raises(RecipeError, match=text):
            retrieve(encoder, texts, **words)


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
