"""objectives/replacing.py: draws against counts from the shards, neighbours against a brute-force search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from interlingua.batch import rows_from_texts
from interlingua.errors import DataError, RecipeError
from interlingua.objectives.boundary import SpanBoundary
from interlingua.objectives.build import build_mixture
from interlingua.objectives.masking import Masking, RateSchedule
from interlingua.objectives.replacing import LanguageVocabulary, cross_lingual_neighbours, read_neighbours
from interlingua.objectives.units import Phrases, Spans, Tokens, Words
from interlingua.recipe_objectives import MLMRecipe, SpanBoundaryRecipe, TLMRecipe
from interlingua.shards.read import ShardSet

MASK = 4
COUNTS = np.array([[0, 0, 0, 0, 9, 1, 2, 3, 4, 0, 0, 0], [0] * 12, [0, 0, 0, 0, 0, 0, 0, 5, 0, 20, 0, 75]])
ALLOWED = np.arange(5, 12)


@pytest.mark.parametrize("unigram", [False, True])
def test_tokens_of_the_same_language(unigram):
    """Replacements follow each language's counts, or presence (chi-square); one without tokens has all of them."""
    table = LanguageVocabulary.of(COUNTS, ALLOWED, unigram=unigram)
    languages = np.repeat([2, 0, 1], 5000)
    drawn = table.draw(languages, np.random.default_rng(0))
    for language, shares in enumerate([COUNTS[0, 5:], np.ones(7), COUNTS[2, 5:]]):
        shares = shares / shares.sum() if unigram else (shares > 0) / (shares > 0).sum()
        found = np.bincount(drawn[languages == language], minlength=12)
        assert found[:5].sum() == 0
        assert found[5:][shares == 0].sum() == 0
        assert stats.chisquare(found[5:][shares > 0], 5000 * shares[shares > 0]).pvalue > 0.001


def test_masking_draws_by_language():
    """In a batch of two languages every random token is one of the hidden token's language."""
    texts = [np.full(50, 11), np.full(50, 5)] * 20
    batch = rows_from_texts(texts, languages=[2, 0] * 20, pad_id=0, row_length=128, special_ids=np.arange(5))
    table = LanguageVocabulary.of(COUNTS, ALLOWED)
    targets = Masking(MASK, ALLOWED, 0.9, mask=0.0, random=1.0, by_language=table).apply(
        batch, np.random.default_rng(0)
    )
    hidden = targets.labels_BL != -100
    shown, languages = targets.tokens_BL[hidden], batch.languages_BL[hidden]
    assert set(shown[languages == 2].tolist()) == {7, 9, 11}
    assert set(shown[languages == 0].tolist()) == {5, 6, 7, 8}


def test_counts_by_language(shard_folder, hf_tokenizer):
    """Counts of each language equal those of its units read one by one, and add up to the whole."""
    shards, size = ShardSet(shard_folder / "train"), len(hf_tokenizer)
    total = np.zeros(size, dtype=np.int64)
    for lang in shards.languages:
        located = [shards.unit(lang, i) for i in range(shards.count(lang))]
        expected = np.bincount(np.concatenate([at.shard.tokens(at.unit) for at in located]), minlength=size)
        assert (shards.token_counts(size, lang) == expected).all()
        total += expected
    assert (shards.token_counts(size) == total).all()


def slow_neighbours(vectors: np.ndarray, occurs: np.ndarray, k: int) -> list[list[int]]:
    table = []
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for v in range(len(unit)):
        others = [
            u for u in range(len(unit)) if occurs[u].any() and occurs[v].any() and not (occurs[u] & occurs[v]).any()
        ]
        nearest = sorted(others, key=lambda u: -unit[u] @ unit[v])[:k]
        table.append(nearest + [-1] * (k - len(nearest)))
    return table


@pytest.mark.parametrize("block", [7, 64, 1000])
def test_neighbours_equal_a_plain_search(block):
    """Any block size gives the table of a search over all pairs: other languages only, none for tokens of none."""
    generator = np.random.default_rng(1)
    vectors, occurs = generator.normal(size=(90, 8)), generator.random((90, 4)) < 0.35
    occurs[:5] = False
    occurs[5] = True
    table = cross_lingual_neighbours(torch.from_numpy(vectors), torch.from_numpy(occurs), 6, block=block)
    assert table.dtype == np.int32
    assert table.tolist() == slow_neighbours(vectors, occurs, 6)
    assert (table[:6] == -1).all()
    assert (table[6:] >= 0).any()


def test_masking_by_neighbours():
    """A share of the hidden tokens is one of its neighbours, all alike; a token without any shows the mask."""
    table = np.full((12, 3), -1, dtype=np.int32)
    table[5], table[6, :2] = [7, 8, 9], [10, 11]
    batch = rows_from_texts([np.tile([5, 6, 7], 3000)], pad_id=0, row_length=9000, special_ids=np.arange(5))
    policy = Masking(MASK, ALLOWED, 0.9, mask=0.0, random=0.0, knn=0.5, neighbours_VK=table)
    targets = policy.apply(batch, np.random.default_rng(0))
    for token, others in ((5, [7, 8, 9]), (6, [10, 11]), (7, [MASK])):
        shown = targets.tokens_BL[targets.labels_BL == token].numpy()
        assert abs((shown != token).mean() - 0.5) < 0.05
        found = np.bincount(shown[shown != token], minlength=12)
        assert found.sum() == found[others].sum()
        assert len(others) == 1 or stats.chisquare(found[others]).pvalue > 0.001


def test_neighbours_file(tmp_path):
    """A saved table opens; one of another size, of wrong ids or type, and a missing file are refused."""
    path = tmp_path / "neighbours.npy"
    good = np.full((12, 3), -1, dtype=np.int32)
    np.save(path, good)
    assert (read_neighbours(path, 12) == good).all()
    for bad in (good[:11], good + 20, good.astype(float), good[0]):
        np.save(path, bad)
        with pytest.raises(RecipeError, match=r"int32 \[12, K\]"):
            read_neighbours(path, 12)
    with pytest.raises(RecipeError, match=r"nothing\.npy"):
        read_neighbours(tmp_path / "nothing.npy", 12)


def test_recipes_become_policies(hf_tokenizer, shard_folder, tmp_path):
    """Each option of a recipe reaches its policy, counts come from the shards, and what lacks them is refused."""
    shards, size = ShardSet(shard_folder / "train"), len(hf_tokenizer)
    (tmp_path / "phrases.txt").write_text("en\tKingdom of Heaven\n", encoding="utf-8")
    np.save(tmp_path / "near.npy", np.full((size, 2), 9, dtype=np.int32))
    recipes = [
        MLMRecipe(unit="ngram", max_ngram=2, rates=((0, 0.4), (1, 0.15)), between="cosine"),
        TLMRecipe(unit="span", span_p=0.5, span_max=4),
        MLMRecipe(unit="phrase", lexicon=tmp_path / "phrases.txt"),
        MLMRecipe(unit="word", frequency=0.5, random_from="unigram"),
        MLMRecipe(mask=0.5, knn=0.3, neighbours=tmp_path / "near.npy"),
    ]
    found = build_mixture(
        recipes, hf_tokenizer, how="sum", seed=0, languages=shards.languages, shards=shards
    ).objectives
    ngram, span, phrase, word, knn = (objective.masking for objective in found)
    assert ngram.rate == RateSchedule(((0.0, 0.4), (1.0, 0.15)), "cosine")
    np.testing.assert_allclose(ngram.unit.lengths, [2 / 3, 1 / 3])
    assert isinstance(span.unit, Spans)
    assert (ngram.unit.together, span.unit.together, len(span.unit.lengths)) == (False, True, 4)
    assert isinstance(phrase.unit, Phrases)
    assert isinstance(word.unit, Words)
    np.testing.assert_allclose(word.unit.weights_V, np.maximum(shards.token_counts(size), 1) ** -0.5, rtol=1e-6)
    assert not np.isin(word.by_language.tokens_T, hf_tokenizer.all_special_ids).any()
    assert (knn.unit, knn.knn, knn.neighbours_VK.shape) == (Tokens(), 0.3, (size, 2))
    with pytest.raises(RecipeError, match="shards"):
        build_mixture(recipes[3:4], hf_tokenizer, how="sum", seed=0)
    (tmp_path / "phrases.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"phrases\.txt"):
        build_mixture(recipes[2:3], hf_tokenizer, how="sum", seed=0, shards=shards)
    with pytest.raises(RecipeError, match="model"):
        build_mixture([SpanBoundaryRecipe()], hf_tokenizer, how="sum", seed=0)
    assert SpanBoundary.name == SpanBoundaryRecipe().type


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rates": [[0, 0.3], [0.9, 0.05], [0.5, 0.15]]}, "rates begin at"),
        ({"rates": [[0.1, 0.3]]}, "must begin at 0"),
        ({"rates": [[0, 1.5]]}, "less than 1"),
        ({"unit": "phrase"}, "lexicon"),
        ({"lexicon": "phrases.txt"}, "a lexicon is for phrases"),
        ({"knn": 0.1}, "one needs the other"),
        ({"neighbours": "near.npy"}, "one needs the other"),
        ({"knn": 0.2, "neighbours": "near.npy"}, "more than 1"),
        ({"unit": "span", "frequency": 0.5}, "frequency"),
        ({"unit": "letter"}, "unit"),
    ],
)
def test_bad_recipes_are_refused(fields, message):
    """Senseless sections are refused before anything is read."""
    with pytest.raises(ValidationError, match=message):
        MLMRecipe.model_validate(fields)
