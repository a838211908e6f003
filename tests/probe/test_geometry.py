"""Geometry by layer, likeness of models, removal of language; oracles are scipy, scikit-learn and float64 formulas."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import TruncatedSVD
from sklearn.metrics import v_measure_score
from sklearn.metrics.pairwise import cosine_similarity
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError, LanguageError, RecipeError
from interlingua.models.encoder import Encoder
from interlingua.probe import (
    PairedSums,
    compare_models,
    family_v_measure,
    language_geometry,
    language_identity,
    language_subspace,
    linear_cka,
    lir,
    lsar,
    mean_distances,
    procrustes_distance,
    removed,
    retrieve,
    sentence_states,
    state_blocks,
)
from interlingua.probe.geometry import family_of, shuffled_v_measure

LANGUAGES = ("en", "de", "fi", "hu")


def tiny(tokenizer: Any, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    model = AutoModel.from_config(tiny_config("bert", vocabulary=len(tokenizer))).eval()
    return Encoder(f"tiny{seed}", model, tokenizer, max_length=100)


def spoken(texts: dict[str, list[str]], count: int = 12) -> list[tuple[str, str]]:
    return [(lang, text) for lang in LANGUAGES for text in texts[lang][:count]]


def clouds(seed: int = 0, count: int = 60, width: int = 9) -> dict[str, Any]:
    """Three languages with means of their own."""
    chance = np.random.default_rng(seed)
    meaning = chance.normal(size=(count, width))
    return {
        lang: (meaning + 3 * chance.normal(size=width) + 0.3 * chance.normal(size=(count, width))).astype(np.float32)
        for lang in ("en", "de", "fi")
    }


def test_layers_equal_numbers_from_all_vectors(hf_tokenizer: Any, tiny_texts: dict[str, list[str]]) -> None:
    """Streamed sums against every vector at once: scipy's distances, scikit-learn's clusters and cosines."""
    encoder = tiny(hf_tokenizer)
    texts = spoken(tiny_texts)
    states = sentence_states(encoder, [text for _, text in texts], layers=[0, 3]).astype(np.float64)
    found = language_geometry(encoder, texts, layers=[0, 3], keep=10)
    families = [family_of(lang) for lang in LANGUAGES]
    assert families == ["Indo-European", "Indo-European", "Uralic", "Uralic"]
    for layer, all_ND in zip(found, states, strict=True):
        own = all_ND.reshape(4, 12, -1)
        means = own.mean(axis=1)
        np.testing.assert_allclose(layer.means, means, atol=1e-6)
        np.testing.assert_allclose(layer.distances, cdist(means, means, "cosine"), atol=1e-6)
        clusters = AgglomerativeClustering(2, metric="cosine", linkage="average").fit_predict(means)
        assert layer.v_measure == pytest.approx(v_measure_score(families, clusters))
        pairs = cosine_similarity(all_ND)[~np.eye(len(all_ND), dtype=bool)]
        assert layer.anisotropy == pytest.approx(pairs.mean(), abs=1e-6)
        english = cosine_similarity(own[0])[~np.eye(12, dtype=bool)]
        assert layer.own_anisotropy["en"] == pytest.approx(english.mean(), abs=1e-6)
        assert layer.counts == dict.fromkeys(LANGUAGES, 12)
        assert (layer.held_out, layer.majority) == (8, 0.25)
        assert layer.full == 0
    assert language_geometry(encoder, [*texts, ("en", "word " * 300)], layers=[0])[0].full == 1
    scores = found[1].scores("m")
    assert {(s.model, s.metric) for s in scores if s.task == "geometry.layer3" and s.language == "mul"} == {
        ("m", "v_measure"), ("m+shuffled", "v_measure"), ("m", "language_accuracy"), ("majority", "language_accuracy"),
        ("m", "anisotropy"),
    }  # fmt: skip
    far = {s.language: s.value for s in scores if s.metric == "mean_distance"}
    assert far["en"] == pytest.approx(found[1].distances[0, 1:].mean())


def test_numbers_do_not_depend_on_batches(hf_tokenizer: Any, tiny_texts: dict[str, list[str]]) -> None:
    """One text a forward pass against many; blocks of three against one; languages in turn or not."""
    encoder = tiny(hf_tokenizer)
    texts = spoken(tiny_texts)
    turned = [texts[12 * language + i] for i in range(12) for language in range(4)]
    one, other = (
        language_geometry(encoder, list_, batch_tokens=tokens) for list_, tokens in ((texts, 1), (turned, 4000))
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.distances, b.distances, atol=1e-5)
        assert a.anisotropy == pytest.approx(b.anisotropy, abs=1e-5)
        assert a.identity == pytest.approx(b.identity)
    plain = [text for _, text in texts]
    blocks = np.concatenate(list(state_blocks(encoder, iter(plain), block=3)), axis=1)
    np.testing.assert_allclose(blocks, sentence_states(encoder, plain, layers=range(4)), atol=1e-5)


def test_texts_are_read_as_they_are_needed(hf_tokenizer: Any) -> None:
    """An endless stream gives its first block; nothing beyond it is asked for."""
    asked = itertools.count()
    next(state_blocks(tiny(hf_tokenizer), (f"text {next(asked)}" for _ in itertools.count()), block=7))
    assert next(asked) == 7


def test_families_and_clusters() -> None:
    """Two tight groups are found whole; a wrong grouping is worth what scikit-learn says; isolates are families."""
    distances = np.array([[0, 1, 9, 9], [1, 0, 9, 9], [9, 9, 0, 1], [9, 9, 1, 0]]) / 10
    assert family_v_measure(distances, ["a", "a", "b", "b"]) == 1
    wanted = v_measure_score([0, 1, 0, 1], [0, 0, 1, 1])
    assert family_v_measure(distances, ["a", "b", "a", "b"]) == pytest.approx(wanted)
    # Of the six ways to deal out two and two, two are right (1) and four wrong (0).
    assert shuffled_v_measure(distances, ["a", "a", "b", "b"], times=2000) == pytest.approx(1 / 3, abs=0.04)
    assert family_of("eu") != family_of("ko")
    assert family_of("de", by="branch") == "Germanic"
    with pytest.raises(DataError, match=r"length 0\.0"):
        mean_distances(np.zeros((2, 3)))
    with pytest.raises(DataError, match="1 languages"):
        family_v_measure(np.zeros((1, 1)), ["a"])


def test_identity_of_languages() -> None:
    """Clouds apart are told apart, clouds of one mean are not; the share of the largest language is by hand."""
    vectors = clouds()
    assert language_identity(vectors) == (1.0, pytest.approx(1 / 3), 36)
    same = {lang: own - own.mean(axis=0) for lang, own in vectors.items()}
    assert language_identity(same)[0] < 0.6
    assert language_identity(vectors | {"fi": vectors["fi"][:5]})[1] == pytest.approx(12 / 25)
    with pytest.raises(DataError, match="fi with fewer than 5"):
        language_identity(vectors | {"fi": vectors["fi"][:4]})


def test_likeness_equals_the_papers_formulas() -> None:
    """CKA by Gram matrices (Kornblith et al., HSIC), Procrustes by scipy's best turn; blocks give the same."""
    chance = np.random.default_rng(3)
    x = chance.normal(size=(50, 7)) + 4
    y = x @ chance.normal(size=(7, 5)) + chance.normal(size=(50, 5))
    centre = np.eye(50) - 1 / 50
    k, m = (centre @ a @ a.T @ centre for a in (x, y))
    assert linear_cka(x, y) == pytest.approx((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))
    a, b = (v - v.mean(axis=0) for v in (x, np.pad(y, ((0, 0), (0, 2)))))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    turn, _ = orthogonal_procrustes(a, b)
    assert procrustes_distance(x, y) == pytest.approx(np.linalg.norm(a @ turn - b) ** 2)
    sums = PairedSums(7, 5)
    for i in range(0, 50, 9):
        sums.add(x[i : i + 9], y[i : i + 9])
    assert sums.linear_cka() == pytest.approx(linear_cka(x, y))
    turned = 3 * x @ np.linalg.qr(chance.normal(size=(7, 7)))[0] + 1
    assert linear_cka(x, turned) == pytest.approx(1)
    assert procrustes_distance(x, turned) == pytest.approx(0, abs=1e-9)


def test_what_cannot_be_compared() -> None:
    """Uneven sides, NaN, one text, one vector for all."""
    x = np.ones((4, 3))
    for left, right, text in ((x, x[:3], "4 and 3"), (x * np.nan, x, "not finite"), (x[:1], x[:1], "1 texts"),
                              (x, x, "one vector")):  # fmt: skip
        with pytest.raises(DataError, match=text):
            linear_cka(left, right)


def test_two_models(hf_tokenizer: Any, tiny_texts: dict[str, list[str]]) -> None:
    """A model beside itself, and beside another: oracle the functions on all vectors at once."""
    one, other = tiny(hf_tokenizer), tiny(hf_tokenizer, 1)
    texts = tiny_texts["en"][:30]
    for found in compare_models(one, one, texts):
        assert (found.layer, found.count) == (found.other, 30)
        assert found.cka == pytest.approx(1, abs=1e-6)
        assert found.procrustes == pytest.approx(0, abs=1e-5)
    x, y = (sentence_states(e, texts, layers=[2])[0] for e in (one, other))
    (found,) = compare_models(one, other, iter(texts), layers=[-2])
    assert (found.layer, found.other) == (2, 2)
    assert found.cka == pytest.approx(linear_cka(x, y), abs=1e-5)
    assert found.procrustes == pytest.approx(procrustes_distance(x, y), abs=1e-5)
    assert [s.metric for s in found.scores("a~b")] == ["linear_cka", "procrustes_distance"]


def test_lir_takes_off_what_scikit_learn_finds() -> None:
    """Oracle: TruncatedSVD, which does not centre, of each language alone."""
    for own in clouds().values():
        directions = TruncatedSVD(2, algorithm="arpack", random_state=0).fit(own.astype(np.float64)).components_
        np.testing.assert_allclose(lir(own, 2), own - own @ directions.T @ directions, atol=1e-4)


def test_lsar_takes_off_the_papers_subspace() -> None:
    """Oracle: the paper's procedure with whole decompositions; means meet in one point when the rank is full."""
    vectors = clouds()
    w = np.stack([own.mean(axis=0, dtype=np.float64) for own in vectors.values()], axis=1)
    centre = w.mean(axis=1, keepdims=True)
    u, s, vt = np.linalg.svd(w - centre)
    best = centre + u[:, :1] * s[0] @ vt[:1]
    shared = np.linalg.pinv(best).T @ np.ones(3)
    shared /= shared @ shared
    wanted = np.linalg.svd(best - shared[:, None])[0][:, :1]
    found = language_subspace(w.T, 1)
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=1e-8)
    means = [own.mean(axis=0) for own in lsar(vectors).values()]
    np.testing.assert_allclose(means, [means[0]] * 3, atol=1e-5)
    assert removed(vectors, "lsar")["en"].shape == (60, 9)
    for way, rank, text in (("lsar", 3, "3 directions"), ("lir", 0, "0 directions"), ("lirr", None, "did you mean")):
        with pytest.raises(RecipeError, match=text):
            removed(vectors, way, rank)
    with pytest.raises(DataError, match="1 languages"):
        language_subspace(w.T[:1])


def test_retrieval_after_removal(hf_tokenizer: Any, tiny_texts: dict[str, list[str]]) -> None:
    """The same texts on both sides are still found; the row says what was done."""
    texts = {lang: {str(i): t for i, t in enumerate(tiny_texts["en"][:15])} for lang in ("en", "de")}
    for way in ("lir", "lsar"):
        found = retrieve(tiny(hf_tokenizer), texts, ways=[way], layers=[1])
        assert {(one.model, one.layer, one.p1) for one in found} == {(f"tiny0+{way}", 1, 1.0)}


def test_texts_that_will_not_do(hf_tokenizer: Any, tiny_texts: dict[str, list[str]]) -> None:
    """One language, a language of one sentence, none at all, an unknown one, a broken network."""
    encoder = tiny(hf_tokenizer)
    texts = spoken(tiny_texts)
    for some, text in ((texts[:12], "1 languages"), (texts[:13], "de with fewer than 5"), ([], "0 languages")):
        with pytest.raises(DataError, match=text):
            language_geometry(encoder, some)
    with pytest.raises(LanguageError, match="xx"):
        language_geometry(encoder, [*texts, ("xx", "a b c")])
    with torch.no_grad():
        encoder.model.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        language_geometry(encoder, texts)
