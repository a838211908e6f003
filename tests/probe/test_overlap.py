"""Overlap against sets of plain tokens; correlations and intervals against scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap, pearsonr, spearmanr
from sklearn.metrics import jaccard_score

from interlingua.errors import DataError, LanguageError
from interlingua.probe.overlap import correlation, subword_overlap


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "unigram_nosplit", "byte_bpe"])
def test_overlap_equals_sets_of_tokens(
    kind: str, tiny_texts: dict[str, list[str]], request: pytest.FixtureRequest
) -> None:
    # scikit-learn's Jaccard score of membership over the vocabulary; shares counted token by token.
    tokenizer: Any = request.getfixturevalue(f"{kind}_tokenizer")
    texts = [(lang, text) for i in range(60) for lang in ("de", "en", "ja") for text in tiny_texts[lang][i : i + 1]]
    found = {one.lang: one for one in subword_overlap(tokenizer, iter(texts), source="en")}
    assert list(found) == ["de", "ja"]
    tokens: dict[str, list[str]] = {"en": [], "de": [], "ja": []}
    for lang, text in texts:
        # Unigram shows an unknown token as it is written, which the vocabulary then does not have.
        pieces = tokenizer.encode(text, add_special_tokens=False).tokens
        tokens[lang] += [piece for piece in pieces if piece != "[UNK]" and tokenizer.token_to_id(piece) is not None]
    words = sorted(tokenizer.get_vocab())
    member = {lang: [word in set(own) for word in words] for lang, own in tokens.items()}
    for lang, one in found.items():
        assert one.texts == 60
        assert one.types == len(set(tokens[lang]))
        assert one.jaccard == pytest.approx(jaccard_score(member["en"], member[lang]))
        assert one.types_in_source == pytest.approx(np.mean([t in set(tokens["en"]) for t in set(tokens[lang])]))
        assert one.tokens_in_source == pytest.approx(np.mean([t in set(tokens["en"]) for t in tokens[lang]]))
        rows = {row.metric: row.value for row in one.scores("m", "en")}
        assert rows == one.measures
        (row,) = one.scores("m", "en", {"jaccard": "entity_jaccard"})
        assert (row.task, row.metric, row.value) == ("overlap.en", "entity_jaccard", one.jaccard)
    assert found["de"].jaccard > found["ja"].jaccard


def test_text_that_cannot_be_compared(unigram_tokenizer: Any) -> None:
    with pytest.raises(LanguageError, match="text in de"):
        subword_overlap(unigram_tokenizer, [("de", "ja")], source="en")
    with pytest.raises(LanguageError, match="text in en"):
        subword_overlap(unigram_tokenizer, [("en", "yes")], source="en")
    with pytest.raises(DataError, match="no subword in the text of fi"):
        subword_overlap(unigram_tokenizer, [("en", "yes"), ("fi", "")], source="en")


def sides(count: int, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    chance = np.random.default_rng(seed)
    x = chance.normal(size=count)
    y = x + chance.normal(size=count)
    return {f"l{i}": float(v) for i, v in enumerate(x)}, {f"l{i}": float(v) for i, v in enumerate(y)} | {"more": 0.0}


def test_correlation_equals_scipys() -> None:
    one, other = sides(25, 0)
    found = correlation(one, other, draws=20_000)
    x, y = [one[lang] for lang in one], [other[lang] for lang in one]
    assert found.n == 25
    for own, theirs in ((found.pearson, pearsonr), (found.spearman, spearmanr)):
        assert own.value == pytest.approx(theirs(x, y).statistic, abs=1e-12)

        def statistic(a: Any, b: Any, axis: int = -1, theirs: Any = theirs) -> Any:
            return (
                np.array([theirs(*pair).statistic for pair in zip(a, b, strict=True)])
                if a.ndim > 1
                else theirs(a, b).statistic
            )

        interval = bootstrap(
            (x, y), statistic, paired=True, vectorized=True, method="percentile", n_resamples=4000, rng=1
        ).confidence_interval
        # Two bootstraps of a few thousand draws: ends differ by their own chance alone.
        assert own.low == pytest.approx(interval.low, abs=0.04)
        assert own.high == pytest.approx(interval.high, abs=0.02)


def test_draws_without_a_correlation_are_left_out() -> None:
    # Four of five languages share a number: most draws that miss the fifth do not vary.
    one = dict(zip("abcde", [1.0, 1, 1, 1, 2], strict=True))
    found = correlation(one, dict(zip("abcde", [1.0, 2, 3, 4, 9], strict=True)))
    assert all(math.isfinite(v) for v in (found.pearson.low, found.pearson.high, found.spearman.low))


@pytest.mark.parametrize(
    ("one", "match"),
    [
        ({f"l{i}": 1.0 * i for i in range(4)}, "4 languages with both"),
        ({}, "0 languages with both numbers: none"),
        (dict.fromkeys((f"l{i}" for i in range(9)), 0.5), "same number for all 9"),
        ({f"l{i}": math.nan for i in range(9)}, "not finite"),
    ],
)
def test_numbers_that_do_not_correlate(one: dict[str, float], match: str) -> None:
    with pytest.raises(DataError, match=match):
        correlation(one, sides(20, 1)[1])
