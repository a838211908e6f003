"""Words by their mean vectors; oracles are the plain model on single texts, ranks by hand and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group, rankdata
from tests.fixtures_models import tiny_config
from tests.fixtures_vectors import cosines, sides
from transformers import AutoModel

from interlingua.errors import DataError, RecipeError
from interlingua.models.encoder import Encoder
from interlingua.probe import WordVectors, translate_words, translation_ranks, word_vectors
from interlingua.probe.words import procrustes
from interlingua.text.lexicons import LexiconEntry
from interlingua.text.words import words


@pytest.fixture(scope="module")
def encoder(hf_tokenizer: Any) -> Encoder:
    torch.manual_seed(0)
    model = AutoModel.from_config(tiny_config("bert", vocabulary=len(hf_tokenizer))).eval()
    return Encoder("tiny", model, hf_tokenizer, max_length=100)


def test_mean_over_occurrences(encoder: Encoder, tiny_texts: dict[str, list[str]]) -> None:
    """Two words in forty texts against the plain model, one at a time; unwanted words leave no trace."""
    texts = [(lang, tiny_texts[lang][i]) for i in range(20) for lang in ("en", "de")]
    wanted = {"en": ["the", "and", "zyzzyva"], "de": ["und"]}
    cut: dict[str, Any] = {"truncation": True, "max_length": 100}
    found = word_vectors(encoder, iter([*texts, ("fi", "the and und")]), wanted)
    assert found["en"].words == ("the", "and")
    assert found["de"].words == ("und",)
    for lang, own in found.items():
        for place, word in enumerate(own.words):
            sums, count = 0.0, 0
            for text in (text for spoken, text in texts if spoken == lang):
                inputs = encoder.tokenizer(text, return_tensors="pt", return_offsets_mapping=True, **cut)
                offsets = inputs.pop("offset_mapping")[0].tolist()
                with torch.no_grad():
                    layers = encoder.model(input_ids=inputs["input_ids"], output_hidden_states=True).hidden_states
                states, at = torch.stack(layers)[:, 0], 0
                for one in words(text, lang):
                    at = text.index(one, at)
                    if one.lower() == word:
                        tokens = [t for t, (a, b) in enumerate(offsets) if max(a, at) < min(b, at + len(one))]
                        if tokens:
                            sums, count = sums + states[:, tokens].mean(dim=1).numpy(), count + 1
                    at += len(one)
            assert own.counts[place] == count > 3
            np.testing.assert_allclose(own.vectors[:, place], sums / count, atol=1e-4)


def test_batches_change_nothing(encoder: Encoder, tiny_texts: dict[str, list[str]]) -> None:
    """One text a forward pass against all at once; texts in another order."""
    texts = [("en", text) for text in tiny_texts["en"][:150]]
    wanted = {"en": sorted({word.lower() for _, text in texts for word in words(text, "en")})}
    one = word_vectors(encoder, texts, wanted, batch_tokens=1)["en"]
    other = word_vectors(encoder, texts[::-1], wanted, batch_tokens=9000)["en"]
    assert one.words == other.words
    assert one.counts.tolist() == other.counts.tolist()
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)


@pytest.mark.parametrize("scoring", ["cosine", "csls"])
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_ranks_equal_scipys(scoring: str, block: int) -> None:
    """Ranks of all targets by scipy on float64 formulas; several translations: the best one's, others left out."""
    x, y = sides(40, 60)
    score = 2 * cosines(x, y)
    if scoring == "csls":
        score = score - np.sort(score / 2, axis=0)[::-1][:10].mean(axis=0)
    one = translation_ranks(x, y, [[i] for i in range(40)], scoring=scoring, block=block)
    wanted = [rankdata(-row, "max")[i] for i, row in enumerate(score)]
    assert one.tolist() == wanted
    assert len(set(wanted)) > 5
    two = translation_ranks(x, y, [[i, 59] for i in range(40)], scoring=scoring, block=block)
    ranks = [rankdata(-row, "max") for row in score]
    assert two.tolist() == [min(r[i], r[59]) for i, r in enumerate(ranks)]


@given(st.integers(2, 30))
@settings(max_examples=10, deadline=None)
def test_equal_vectors_find_nothing(count: int) -> None:
    """All targets alike: every word is last."""
    same = np.ones((count, 4), dtype=np.float32)
    assert translation_ranks(same, same, [[i] for i in range(count)]).tolist() == [count] * count


def lexicon(part: str = "test") -> list[LexiconEntry]:
    pairs = [("Cat", "Katze"), ("cat", "Kater"), ("dog", "Hund"), ("owl", "Eule"), ("gnu", "Gnu")]
    return [LexiconEntry(a, b, part) for a, b in pairs]


def vectors(words: str, rows: Any) -> WordVectors:
    return WordVectors(tuple(words.split()), np.ones(len(rows), dtype=np.int64), np.array([rows], dtype=np.float32))


def test_metrics_by_hand() -> None:
    """cat finds the second of its translations first, dog's is third, owl's has no vector, gnu was not met."""
    source = vectors("cat dog owl", [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    target = vectors("kater hund hase igel", [[0.9, 0.1, 0], [0.5, 0.5, 0.7], [0, 1, 0.1], [0, 1, 0.2]])
    (found,) = translate_words(source, target, lexicon(), model="m", layers=[4], scorings=["cosine"])
    assert found.ranks.tolist() == [1, 3]
    assert found.metrics == {"mrr": pytest.approx(2 / 3), "p1": 0.5, "p5": 1.0, "p10": 1.0, "coverage": 0.5}
    assert found.candidates == 4
    assert {(s.task, s.language, s.n) for s in found.scores("en", "de")} == {("words.en-de.layer4", "de", 2)}
    assert translate_words(source, target, lexicon("rest"), model="m", scorings=["csls"])[0].asked == 4
    mixed = [*lexicon("train"), LexiconEntry("dog", "igel", "test")]
    for every, asked in ((False, 1), (True, 4)):
        assert translate_words(source, target, mixed, model="m", every_part=every)[0].asked == asked
    with pytest.raises(DataError, match="none of 4 words"):
        translate_words(source, vectors("hase", [[1, 0, 0]]), lexicon(), model="m")
    with pytest.raises(DataError, match="learn a turn"):
        translate_words(source, target, lexicon(), model="m", align=True)
    for scoring, gold, error in (("ratio", [[0]], RecipeError), ("cosine", [[]], DataError)):
        with pytest.raises(error):
            translation_ranks(source.vectors[0][:1], target.vectors[0], gold, scoring=scoring)


def test_procrustes_undoes_a_turn() -> None:
    """Vectors turned by scipy's random rotation come back; static spaces then translate words never learned from."""
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    turn = ortho_group.rvs(6, random_state=0)
    y = (x @ turn).astype(np.float32)
    back = procrustes(x, y, [(i, i) for i in range(20)])
    np.testing.assert_allclose(back, y / np.linalg.norm(y, axis=1, keepdims=True), atol=1e-5)
    names = " ".join(f"w{i}" for i in range(50))
    entries = [LexiconEntry(f"w{i}", f"w{i}", "train" if i < 20 else "test") for i in range(50)]
    (plain,), (turned,) = (
        translate_words(vectors(names, x), vectors(names, y), entries, model="static", scorings=["cosine"], align=align)
        for align in (False, True)
    )
    assert (turned.model, turned.metrics["p1"], len(turned.ranks)) == ("static+procrustes", 1.0, 30)
    assert plain.metrics["p1"] < 0.3


def test_texts_without_words(encoder: Encoder) -> None:
    """No word of the lexicon, no text at all, occurrences past the longest text."""
    for texts in ([("en", "a b c")], []):
        with pytest.raises(DataError, match="none of the lexicon's 1 words of 'en'"):
            word_vectors(encoder, texts, {"en": ["dog"]})
    found = word_vectors(encoder, [("en", "dog " * 300), ("en", "!")], {"en": ["dog"]})["en"]
    assert found.counts[0] + found.missing == 300
    assert found.missing > 0
