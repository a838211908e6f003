"""Nearest neighbours, blocked, and margin scorings; the oracles hold the whole matrix in float64."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures_vectors import cosines, sides

from interlingua.errors import DataError, RecipeError
from interlingua.probe.neighbours import SCORINGS, best_matches, nearest


@pytest.mark.parametrize("k", [1, 4, 30, 200])
@pytest.mark.parametrize(("block", "columns"), [(1, 100), (100, 100), (1 << 20, 1 << 14), (40, 7), (1 << 20, 1)])
def test_nearest_equals_a_full_sort(k: int, block: int, columns: int) -> None:
    """Blocks of one row, of a few, of all, and of some keys; k up to more than there are keys."""
    x, y = sides(47, 61)
    found = nearest(x, y, k, block=block, columns=columns)
    order = np.argsort(-cosines(x, y), axis=1)[:, :k]
    assert np.array_equal(found.index, order)
    assert found.similarity == pytest.approx(np.take_along_axis(cosines(x, y), order, axis=1), abs=1e-6)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(1, 25), st.integers(1, 60), st.integers(1, 22))
@settings(max_examples=60, deadline=None)
def test_ties_go_to_the_first(kinds: list[int], k: int, block: int, columns: int) -> None:
    """Keys are copies of four axes, so cosines are exactly 0 or 1: oracle Python's stable sort."""
    axes = np.eye(4, dtype=np.float32)
    found = nearest(axes[[0]], axes[kinds], k, block=block, columns=columns)
    wanted = sorted(range(len(kinds)), key=lambda i: -(kinds[i] == 0))[:k]
    assert found.index[0].tolist() == wanted


def margins_by_hand(x: Any, y: Any, scoring: str, k: int) -> tuple[list[tuple[float, int]], ...]:
    """For every row the best (score, place) among its k nearest, by the formulas of the papers, in plain loops."""
    cosine = cosines(x, y)
    means = [[float(np.mean(sorted(row, reverse=True)[:k])) for row in matrix] for matrix in (cosine, cosine.T)]

    def score(i: int, j: int) -> float:
        c, rx, ry = cosine[i, j], means[0][i], means[1][j]
        return float({"cosine": c, "csls": 2 * c - rx - ry, "distance": c - (rx + ry) / 2,
                      "ratio": c / ((rx + ry) / 2)}[scoring])  # fmt: skip

    there = [max((score(i, j), j) for j in np.argsort(-cosine[i])[:k]) for i in range(len(x))]
    back = [max((score(i, j), i) for i in np.argsort(-cosine[:, j])[:k]) for j in range(len(y))]
    return there, back


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("shape", [(40, 55), (55, 40), (3, 50), (1, 1)])
def test_best_matches_equal_the_formulas(scoring: str, shape: tuple[int, int]) -> None:
    """All scorings, uneven sides, fewer rows than neighbours, one row."""
    x, y = sides(*shape)
    for found, wanted in zip(
        best_matches(x, y, scoring=scoring), margins_by_hand(x, y, scoring, SCORINGS[scoring]), strict=True
    ):
        assert found.index.tolist() == [place for _, place in wanted]
        assert found.score == pytest.approx([value for value, _ in wanted], abs=1e-5)


def test_margins_look_past_a_hub() -> None:
    """A key in the direction that all queries share is nearest to each by cosine; the ratio finds each one's own."""
    axes = np.eye(61, dtype=np.float32)
    common, own, noise = axes[0], axes[1:31], axes[31:61]
    x = own + common
    y = 0.45 * own + 0.7 * noise + 0.25 * common
    y[0] = common
    hits = {s: int((best_matches(x, y, scoring=s)[0].index[1:] == np.arange(1, 30)).sum()) for s in SCORINGS}
    assert hits == {"cosine": 0, "csls": 29, "distance": 29, "ratio": 29}


def test_csls_ranks_as_twice_the_distance() -> None:
    """With the same neighbours the two are one ranking."""
    x, y = sides(50, 60)
    csls, distance = (best_matches(x, y, scoring=s, k=5)[0] for s in ("csls", "distance"))
    assert np.array_equal(csls.index, distance.index)
    assert csls.score == pytest.approx(2 * distance.score)


def test_bad_vectors_and_settings() -> None:
    """NaN, nothing at all, other widths, no neighbours, a misspelt scoring; zero vectors give numbers."""
    x, y = sides(5, 6)
    broken = x.copy()
    broken[3, 0] = np.nan
    with pytest.raises(DataError, match="1 of 5 vectors are not finite, the first is number 3"):
        nearest(y, broken, 1)
    with pytest.raises(DataError, match=r"shape \(0, 12\)"):
        nearest(x[:0], y, 1)
    with pytest.raises(DataError, match="shapes"):
        nearest(x[:, :5], y, 1)
    with pytest.raises(RecipeError, match="0 neighbours"):
        best_matches(x, y, scoring="ratio", k=0)
    with pytest.raises(RecipeError, match="did you mean 'csls'"):
        best_matches(x, y, scoring="clsl")
    for scoring in SCORINGS:
        assert np.isfinite(best_matches(np.zeros_like(x), y, scoring=scoring)[0].score).all()


def test_memory_is_that_of_a_block() -> None:
    """numpy's own count of bytes: far below the 36 MB that the whole matrix takes."""
    x, y = sides(3000, 3000)
    nearest(x[:10], y, 4)
    tracemalloc.start()
    try:
        nearest(x, y, 4, block=1 << 16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3e6
