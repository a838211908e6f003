"""shards/sampling.py: properties of the permutation and of the schedule of draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.errors import LanguageError, RecipeError
from interlingua.shards.sampling import DrawPlan, keyed_generator, permute

SIZES = {"en": 700, "de": 90, "fi": 13, "my": 1}
SHARES = {"en": 0.5, "de": 0.3, "fi": 0.15, "my": 0.05}


@given(size=st.integers(1, 5000), key=st.lists(st.integers(0, 2**63), min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_permute_is_a_bijection(size, key):
    """Every number of range(size) comes out once; asked one at a time the answers are the same."""
    index = np.arange(size)
    out = permute(index, size, *key)
    assert sorted(out.tolist()) == index.tolist()
    some = index[:: max(1, size // 5)]
    assert [int(permute(np.array([i]), size, *key)[0]) for i in some] == out[some].tolist()


def test_permute_depends_on_its_key_and_mixes():
    """Other keys give other orders; neighbours do not stay neighbours (mean distance as in a random order)."""
    orders = {tuple(permute(np.arange(1000), 1000, 1, k).tolist()) for k in range(20)}
    assert len(orders) == 20
    distance = np.abs(np.diff(permute(np.arange(5000), 5000, 7))).mean()
    assert abs(distance - 5000 / 3) < 150


def test_keyed_generator_is_known():
    """The same numbers on any machine: the first draws for a key, from numpy's own Philox."""
    expected = np.random.Generator(np.random.Philox(np.random.SeedSequence((1, 2, 3)))).random(4)
    assert (keyed_generator(1, 2, 3).random(4) == expected).all()


def test_shares_are_exact_in_every_block():
    """In each block, and from the start to each block, counts are within one draw of share x draws."""
    plan = DrawPlan(SIZES, SHARES, seed=3)
    total = np.zeros(4)
    for block in range(40):
        languages, _ = plan.draw(block * plan.block, (block + 1) * plan.block)
        counts = np.bincount(languages, minlength=4)
        total += counts
        wanted = np.array([SHARES[lang] for lang in plan.languages])
        assert (np.abs(counts - wanted * plan.block) < 2).all()
        assert (np.abs(total - wanted * plan.block * (block + 1)) <= 1).all()
        assert plan.drawn_before(block + 1) == total.astype(int).tolist()


@given(cuts=st.lists(st.integers(0, 5000), min_size=1, max_size=6), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_any_split_gives_the_same_draws(cuts, seed):
    """draw(a, c) is draw(a, b) followed by draw(b, c), in any order of asking and from a fresh plan."""
    edges = sorted({0, 5000, *cuts})
    whole = DrawPlan(SIZES, SHARES, seed).draw(0, 5000)
    plan = DrawPlan(SIZES, SHARES, seed)
    spans = list(itertools.pairwise(edges))
    parts = {span: plan.draw(*span) for span in reversed(spans)}
    for which in (0, 1):
        assert np.concatenate([parts[span][which] for span in spans]).tolist() == whole[which].tolist()


def test_every_unit_once_an_epoch():
    """Cut into runs of as many draws as the language has units, each run holds every unit once; runs differ."""
    plan = DrawPlan(SIZES, SHARES, seed=1)
    languages, units = plan.draw(0, 20_000)
    for index, lang in enumerate(plan.languages):
        own, size = units[languages == index], SIZES[lang]
        epochs = [own[i : i + size] for i in range(0, len(own) - size + 1, size)]
        assert len(epochs) >= 2
        assert all(sorted(epoch.tolist()) == list(range(size)) for epoch in epochs)
        if size > 10:
            assert epochs[0].tolist() != epochs[1].tolist()


def test_far_ahead_costs_nothing():
    """A draw ten million steps ahead is answered from its own block."""
    plan = DrawPlan(SIZES, SHARES, seed=1)
    languages, units = plan.draw(10**12, 10**12 + 50)
    assert all(0 <= unit < SIZES[plan.languages[lang]] for lang, unit in zip(languages, units, strict=True))


def test_what_cannot_be_drawn():
    """A share without text, no share at all, a share too small for any block."""
    with pytest.raises(LanguageError, match=r"'fr' has a share of 0\.5"):
        DrawPlan(SIZES, SHARES | {"fr": 0.5}, 0)
    with pytest.raises(LanguageError, match="'de'"):
        DrawPlan(SIZES | {"de": 0}, SHARES, 0)
    with pytest.raises(RecipeError, match="no language is drawn"):
        DrawPlan(SIZES, {}, 0)
    with pytest.raises(RecipeError, match="'my' has 1e-09 of the draws"):
        DrawPlan(SIZES, {"en": 1.0, "my": 1e-9}, 0)
    rare = DrawPlan(SIZES, {"en": 1.0, "my": 1e-4}, 0)
    assert np.bincount(rare.draw(0, rare.block)[0])[1] in (1, 2)
