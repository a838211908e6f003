"""Paired bootstrap against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from interlingua.errors import DataError
from interlingua.evaluate.significance import paired_bootstrap


def accuracy(totals: np.ndarray) -> float:
    return float(totals[0] / totals[1])


def counts(right: np.ndarray) -> np.ndarray:
    return np.stack([right, np.ones(len(right))], axis=1).astype(float)


def test_interval_and_p_equal_those_of_scipy() -> None:
    """Accuracies that differ by four points on 800 examples: scipy's percentile bootstrap of the same difference."""
    chance = np.random.default_rng(1)
    a, b = chance.random(800) < 0.80, chance.random(800) < 0.74
    found = paired_bootstrap(counts(a), counts(b), accuracy, draws=4000)
    assert found.value == pytest.approx(a.mean() - b.mean())
    other = stats.bootstrap(
        (a.astype(float) - b.astype(float),), np.mean, n_resamples=4000, method="percentile", random_state=2
    ).confidence_interval
    assert (found.low, found.high) == (pytest.approx(other.low, abs=0.004), pytest.approx(other.high, abs=0.004))
    # Normal theory for the mean of paired differences.
    z = (a.astype(float) - b).mean() / ((a.astype(float) - b).std() / 800**0.5)
    assert found.p == pytest.approx(2 * stats.norm.sf(z), abs=0.02)


def test_equal_systems_do_not_differ_and_unequal_ones_do() -> None:
    """The same answers: p = 1, no width; all right against all wrong: p as small as the draws allow."""
    right = np.random.default_rng(0).random(50) < 0.5
    same = paired_bootstrap(counts(right), counts(right), accuracy, draws=500)
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    far = paired_bootstrap(counts(np.ones(50)), counts(np.zeros(50)), accuracy, draws=500)
    assert far.p == pytest.approx(2 / 501)
    assert far.n == 50


def test_p_values_are_uniform_where_nothing_differs() -> None:
    """100 pairs of systems of the same quality: about a twentieth is below .05 (binomial bounds at 3 sigma)."""
    chance = np.random.default_rng(5)
    pairs = [[counts(chance.random(200) < 0.7) for _ in range(2)] for _ in range(100)]
    small = sum(paired_bootstrap(a, b, accuracy, draws=400).p < 0.05 for a, b in pairs)
    assert small <= 5 + 3 * (100 * 0.05 * 0.95) ** 0.5


def test_other_examples_are_refused() -> None:
    """Another number of examples, or none."""
    with pytest.raises(DataError, match="the same examples"):
        paired_bootstrap(counts(np.ones(3)), counts(np.ones(4)), accuracy)
    with pytest.raises(DataError, match="at least one"):
        paired_bootstrap(counts(np.ones(0)), counts(np.ones(0)), accuracy)
