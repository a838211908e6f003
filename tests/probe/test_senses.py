"""Senses by layer: silhouettes against Rousseeuw's formula in float64, vectors against plain transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.fixtures_models import tiny_encoder

from interlingua.errors import DataError, RecipeError
from interlingua.models.encoder import Encoder
from interlingua.probe.senses import sense_layer, word_senses
from interlingua.text.senses import SenseExample


@pytest.fixture(scope="module")
def encoder(hf_tokenizer: Any) -> Encoder:
    model = tiny_encoder("bert", vocabulary=len(hf_tokenizer))
    return Encoder("tiny", model.float(), hf_tokenizer, prefix="query: ", max_length=60)


def example(sense: str, text: str, word: str = "father", lang: str = "en") -> SenseExample:
    return SenseExample(lang, word, sense, text)


SENTENCES = [
    example("a", "his father was old and went to the city"),
    example("b", "our Father in heaven, hallowed be thy name"),
    example("a", "the son saw the father of the man"),
    example("b", "pray to the father who is in secret"),
    example("a", "father, said the child"),
    example("b", "nobody at all"),
]


def silhouette(vectors_ND: np.ndarray, senses: list[str]) -> float:
    x = vectors_ND.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    distance = 1 - x @ x.T
    values = []
    for i, own in enumerate(senses):
        means = {
            name: np.mean([distance[i, j] for j, s in enumerate(senses) if s == name and j != i])
            for name in set(senses)
        }
        inside, outside = means.pop(own), min(means.values())
        values.append((outside - inside) / max(inside, outside))
    return float(np.mean(values))


def test_measures_by_their_formulas() -> None:
    chance = np.random.default_rng(0)
    senses = ["x"] * 4 + ["y"] * 5 + ["z"] * 2
    vectors = chance.normal(size=(11, 6)) + 2 * np.repeat(chance.normal(size=(3, 6)), [4, 5, 2], axis=0)
    found = sense_layer(vectors, senses, layer=3)
    assert found.silhouette == pytest.approx(silhouette(vectors, senses), abs=1e-5)
    cosine = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in vectors] for a in vectors])
    np.testing.assert_allclose(found.cosines, cosine, atol=1e-5)
    pairs = [(i, j) for i in range(11) for j in range(11) if i != j]
    for value, alike in ((found.same, True), (found.other, False)):
        wanted = [cosine[i, j] for i, j in pairs if (senses[i] == senses[j]) == alike]
        assert value == pytest.approx(np.mean(wanted), abs=1e-5)
    np.fill_diagonal(cosine, -2)
    assert found.nearest_same == np.mean([senses[i] == senses[j] for i, j in enumerate(cosine.argmax(axis=1))])


def test_static_vectors_tell_nothing() -> None:
    # One vector for all, as any table of words gives: by construction 0, whatever float32 makes of equal numbers.
    one = np.random.default_rng(1).normal(size=384).astype(np.float32)
    found = sense_layer(np.tile(one, (10, 1)) * np.linspace(1, 3, 10, dtype=np.float32)[:, None], ["a", "b"] * 5)
    assert (found.silhouette, found.nearest_same) == (0, 0)
    assert found.same == pytest.approx(1, abs=1e-5)


def test_vectors_are_those_of_the_word(encoder: Encoder) -> None:
    # Plain transformers, one sentence at a time; the word's tokens by offsets; the sentence without the word counted.
    (found,) = word_senses(encoder, SENTENCES, layers=[0, 2])
    assert (found.without, found.cut, found.senses) == (1, 0, ("a", "a", "a", "b", "b"))
    assert [one.layer for one in found.layers] == [None, 0, 2]
    vectors = []
    for text in found.texts:
        full = encoder.prefix + text
        first = full.lower().index("father")
        inputs = encoder.tokenizer(full, return_tensors="pt", return_offsets_mapping=True)
        offsets = inputs.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            states = encoder.model(**inputs, output_hidden_states=True).hidden_states[2][0]
        own = [i for i, (a, b) in enumerate(offsets) if b > a and a < first + 6 and b > first]
        vectors.append(states[own].mean(dim=0).numpy())
    x = np.stack(vectors)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(found.layers[2].cosines, x @ x.T, atol=1e-4)
    # Written alike, alike in the table: of the five only "Father" is another word there.
    alike = found.layers[0].cosines > 0.9999
    lower = [i for i, text in enumerate(found.texts) if "Father" not in text]
    assert alike[np.ix_(lower, lower)].all()


def test_rows(encoder: Encoder) -> None:
    (found,) = word_senses(encoder, SENTENCES, layers=[-1])
    scores = found.scores("m")
    assert {(s.task, s.language, s.n) for s in scores} == {
        ("senses.father.static", "en", 5), ("senses.father.layer3", "en", 5)
    }  # fmt: skip
    values = {s.metric: s.value for s in scores if s.task.endswith("layer3")}
    assert values["nearest_same_chance"] == pytest.approx((3 * 2 + 2 * 1) / (5 * 4))
    assert found.best.silhouette == max(s.value for s in scores if s.metric == "silhouette")


@pytest.mark.parametrize(
    ("sentences", "match"),
    [
        (SENTENCES[:1], "a 1 of 'father'"),
        ([s for s in SENTENCES if s.sense == "a"], "a 3 of 'father'"),  # one sense
        (SENTENCES[:3], "a 2, b 1 of"),  # a single sentence of one of two
        (SENTENCES[-1:] * 4, "no occurrence of 'father' in 'en'; 4 sentences lack it"),
        ([*SENTENCES[:3], example("b", "word " * 200 + "father")], "1 have it behind the longest text"),
    ],
)
def test_too_little(encoder: Encoder, sentences: list[SenseExample], match: str) -> None:
    with pytest.raises(DataError, match=match):
        word_senses(encoder, sentences)


def test_a_word_with_too_little_is_left_out(encoder: Encoder) -> None:
    # One short of a sense is said before anything is encoded; one cut short by the longest text once it is known; what
    # is left is the same as alone.
    short = [example(s, f"the {w} of the city", "city") for s, w in zip("aab", ("son", "man", "child"), strict=True)]
    behind = [example(s, "word " * n + "heaven", "heaven") for s, n in zip("aabb", (1, 1, 1, 200), strict=True)]
    (alone,) = word_senses(encoder, SENTENCES)
    told: list[Any] = []
    (found,) = word_senses(encoder, [*SENTENCES, *behind, *short], progress=told.append, left_out=told.append)
    assert (found.word, found.layers[-1].silhouette) == ("father", pytest.approx(alone.layers[-1].silhouette, abs=1e-5))
    assert [one.partition(";")[0] for one in told if isinstance(one, str)] == [
        "a 2, b 1 of 'city' in 'en'", "a 2, b 1 of 'heaven' in 'en'"
    ]  # fmt: skip
    assert sum(one for one in told if isinstance(one, int)) == len(SENTENCES) + len(behind) + len(short)
    with pytest.raises(DataError, match=r"of 'city'.*and 1 more words alike"):
        word_senses(encoder, [*short, *behind])


def test_wrong_vectors_and_layers(encoder: Encoder) -> None:
    with pytest.raises(DataError, match="not finite"):
        sense_layer(np.full((4, 3), np.nan), ["a", "a", "b", "b"])
    with pytest.raises(DataError, match="one sense"):
        sense_layer(np.ones((2, 3)), ["a", "a"])
    with pytest.raises(DataError, match="one occurrence of 'b'"):
        sense_layer(np.ones((3, 3)), ["a", "a", "b"])
    with pytest.raises(RecipeError, match="layer 7"):
        word_senses(encoder, SENTENCES, layers=[7])
