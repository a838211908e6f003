"""objectives/noise.py: what BART and T5 do to a text, by properties that define them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interlingua.objectives.noise import (
    Deletion,
    Deshuffling,
    DroppedSpans,
    Infilling,
    PrefixLM,
    Rotation,
    SentencePermutation,
    SpanCorruption,
    TokenMasking,
    noise_spans,
)

MASK = 4
SENTINELS = np.arange(1000, 1100)
lengths = st.integers(1, 300)
seeds = st.integers(0, 2**32 - 1)


def text(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids that are all different, a word every third token."""
    return np.arange(10, 10 + length), np.arange(length) % 3 == 0


@given(lengths, seeds)
@settings(max_examples=100, deadline=None)
def test_bart_noises_only_use_the_text_and_the_mask(length, seed):
    """No noise makes up a token; word bounds stay with their tokens; order is kept where the noise says so."""
    ids, starts = text(length)
    word_of = dict(zip(ids.tolist(), starts.tolist(), strict=True))
    stops = ids[4::5]
    for noise in (TokenMasking(MASK), Deletion(), Infilling(MASK), Infilling(MASK, words=True),
                  SentencePermutation(stops), Rotation()):  # fmt: skip
        out, bounds = noise(ids, starts, np.random.default_rng(seed))
        assert len(out) == len(bounds)
        kept = out[out != MASK]
        assert set(kept.tolist()) <= set(ids.tolist())
        assert len(set(kept.tolist())) == len(kept)
        assert [word_of[i] for i in kept.tolist()] == bounds[out != MASK].tolist()
        if isinstance(noise, (TokenMasking, Deletion, Infilling)):
            assert (np.diff(kept) > 0).all()
        if isinstance(noise, (SentencePermutation, Rotation)):
            assert sorted(out.tolist()) == ids.tolist()


def test_rates_of_bart_noises():
    """Masking, deletion and infilling take the share asked for, on average over 1,000 texts."""
    chance = np.random.default_rng(0)
    ids, starts = text(101)
    masked = [np.mean(TokenMasking(MASK, 0.15)(ids, starts, chance)[0] == MASK) for _ in range(1000)]
    assert np.mean(masked) == pytest.approx(0.15, abs=0.002)
    deleted = [1 - len(Deletion(0.15)(ids, starts, chance)[0]) / 101 for _ in range(1000)]
    assert np.mean(deleted) == pytest.approx(0.15, abs=0.002)
    infilled = [1 - np.sum(Infilling(MASK, 0.3)(ids, starts, chance)[0] != MASK) / 101 for _ in range(1000)]
    assert np.mean(infilled) == pytest.approx(0.3, abs=0.002)


def test_infilled_spans_are_poisson():
    """Lengths of hidden spans, and inserted masks as length 0, follow Poisson(3) (chi-square, p > .001).

    A text's last span is cut to the budget, so only texts long enough to make that rare are used.
    """
    chance = np.random.default_rng(1)
    ids, starts = text(20_000)
    counts = np.zeros(12)
    for _ in range(10):
        out, _ = Infilling(MASK, 0.3)(ids, starts, chance)
        gaps = np.diff(out[out != MASK]) - 1
        lengths_of_spans = gaps[gaps > 0]
        counts[: 11 + 1] += np.bincount(np.minimum(lengths_of_spans, 11), minlength=12)
        counts[0] += (out == MASK).sum() - len(lengths_of_spans)
    expected = np.append(stats.poisson.pmf(np.arange(11), 3), stats.poisson.sf(10, 3)) * counts.sum()
    assert stats.chisquare(counts, expected).pvalue > 0.001


def test_infilling_by_words_hides_whole_words():
    """Behind every mask a word begins, and the tokens left are whole words."""
    ids, starts = text(90)
    out, bounds = Infilling(MASK, 0.4, words=True)(ids, starts, np.random.default_rng(3))
    kept = out[out != MASK]
    assert all(word in kept for token in kept for word in range(token - (token - 10) % 3, token - (token - 10) % 3 + 3))
    assert bounds[out == MASK].all()


def test_sentences_stay_whole_when_permuted():
    """Every sentence's tokens stay together and in order."""
    ids, starts = text(60)
    stops = ids[[9, 19, 34]]
    out, _ = SentencePermutation(stops)(ids, starts, np.random.default_rng(5))
    pieces = np.split(ids, [10, 20, 35])
    joined = " ".join(map(str, out))
    assert all(" ".join(map(str, piece)) in joined for piece in pieces)
    assert (out != ids).any()


@given(st.integers(2, 400), st.floats(0.05, 0.6), st.floats(1, 6), seeds)
@settings(max_examples=200, deadline=None)
def test_t5_spans(length, rate, mean, seed):
    """As many tokens and spans as Raffel et al. say; spans in order, apart, and never at the very beginning."""
    spans = noise_spans(length, rate, mean, np.random.default_rng(seed))
    hidden = min(max(round(length * rate), 1), length - 1)
    assert sum(end - begin for begin, end in spans) == hidden
    assert len(spans) == min(max(round(hidden / mean), 1), hidden, length - hidden)
    assert spans[0][0] > 0
    assert all(a[1] < b[0] for a, b in itertools.pairwise(spans))


@given(st.integers(2, 300), seeds)
@settings(max_examples=100, deadline=None)
def test_t5_sentinels_put_the_text_together_again(length, seed):
    """Filling each sentinel of the source with what follows it in the target gives the text; the last one closes."""
    ids, _ = text(length)
    for noise in (SpanCorruption(SENTINELS), SpanCorruption(SENTINELS, mean=None)):
        source, target = noise(ids, np.random.default_rng(seed))
        filled: dict[int, list[int]] = {}
        for token in target.tolist():
            if token >= 1000:
                filled[token] = []
                last = token
            else:
                filled[last].append(token)
        restored = [t for token in source.tolist() for t in (filled[token] if token >= 1000 else [token])]
        assert restored == ids.tolist()
        used = [t for t in source.tolist() if t >= 1000]
        assert used == list(range(1000, 1000 + len(used)))
        assert target[-1] == 1000 + len(used)


def test_too_few_sentinels_hide_no_more_spans():
    """With three sentinels two spans are hidden and the third closes the target."""
    source, target = SpanCorruption(SENTINELS[:3], rate=0.4)(np.arange(10, 60), np.random.default_rng(0))
    assert [t for t in source if t >= 1000] == [1000, 1001]
    assert target[-1] == 1002


def test_other_objectives_of_t5():
    """Prefix LM cuts once, deshuffling keeps the tokens, dropped tokens and the rest make up the text."""
    ids, _ = text(40)
    chance = np.random.default_rng(2)
    for _ in range(20):
        source, target = PrefixLM()(ids, chance)
        assert np.concatenate([source, target]).tolist() == ids.tolist()
        assert 0 < len(source) < 40
        source, target = Deshuffling()(ids, chance)
        assert sorted(source) == target.tolist() == ids.tolist()
        for mean in (None, 3.0):
            source, target = DroppedSpans(mean=mean)(ids, chance)
            assert sorted(np.concatenate([source, target]).tolist()) == ids.tolist()
            assert (np.diff(source) > 0).all()
            assert (np.diff(target) > 0).all()
            assert 5 <= len(target) <= 7
