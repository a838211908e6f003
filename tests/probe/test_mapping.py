"""Mapping without a dictionary: a known turn comes back; the first dictionary by scipy's matrix root."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ortho_group

from interlingua.errors import DataError, RecipeError
from interlingua.probe.mapping import _dictionary, _first_pairs, centred_unit, map_unsupervised


def spaces(noise: float, count: int = 300, width: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors in clusters, the same ones turned, in another order and blurred, and that order."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=(30, width))[chance.integers(30, size=count)] + chance.normal(size=(count, width)) * 0.7
    x *= np.linspace(2, 0.5, width)
    order = chance.permutation(count)
    z = (x + noise * chance.normal(size=x.shape))[order] @ ortho_group.rvs(width, random_state=1)
    return x.astype(np.float32), z.astype(np.float32), np.argsort(order)


def found(x: np.ndarray, z: np.ndarray, gold: np.ndarray) -> float:
    x, z = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, z))
    return float(((x @ z.T).argmax(axis=1) == gold).mean())


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_turn_comes_back(noise: float) -> None:
    x, z, gold = spaces(noise)
    assert found(x, z, gold) < 0.1
    shares = []
    mapped = map_unsupervised(x, z, progress=shares.append)
    assert found(mapped.source, mapped.target, gold) > (0.99 if noise == 0 else 0.9)
    assert mapped.agreement > 0.95
    assert shares == sorted(shares)
    assert (len(shares), shares[0], shares[-1]) == (mapped.iterations, 0.1, 1.0)
    if noise == 0:  # nothing to weigh: one space is the other, turned
        x, z = centred_unit(x), centred_unit(z)
        left, _, right = np.linalg.svd(mapped.source.T @ mapped.target[gold])
        np.testing.assert_allclose(left @ right, np.eye(16), atol=1e-2)


def test_words_beyond_those_that_learn_are_mapped() -> None:
    # The first 200 of both sides are translations of each other in another order; the others come along.
    x, z, gold = spaces(0.0)
    z = z[gold]
    swap = np.random.default_rng(5).permutation(200)
    z[:200] = z[swap]
    gold = np.concatenate([np.argsort(swap), np.arange(200, 300)])
    mapped = map_unsupervised(x, z, first=200, most=200)
    assert found(mapped.source[200:], mapped.target, gold[200:]) > 0.99


def test_the_first_dictionary_by_its_formula() -> None:
    x, z, gold = spaces(0.02, count=60)
    roots = [
        np.sort(np.real(sqrtm(side.astype(np.float64) @ side.T)), axis=1) for side in (centred_unit(x), centred_unit(z))
    ]
    rows = []
    for root in roots:
        for centre in (0, 1):
            root = root - centre * root.mean(axis=0)
            root = root / np.linalg.norm(root, axis=1, keepdims=True)
        rows.append(root)
    cosine = rows[0] @ rows[1].T
    nearest = -np.sort(-cosine, axis=0)[:10].mean(axis=0)
    back = -np.sort(-cosine, axis=1)[:, :10].mean(axis=1)
    sources, targets = _first_pairs(centred_unit(x), centred_unit(z))
    assert (targets[:60] == (2 * cosine - nearest).argmax(axis=1)).mean() > 0.95
    assert (sources[60:] == (2 * cosine - back[:, None]).argmax(axis=0)).mean() > 0.95
    assert (targets[:60] == gold).mean() > 0.5


def test_all_similarities_give_csls() -> None:
    x, z = (part[:50] for part in spaces(0.0)[:2])
    x, z = centred_unit(x), centred_unit(z)
    cosine = x.astype(np.float64) @ z.T.astype(np.float64)
    csls = (
        2 * cosine
        - -np.sort(-cosine, axis=1)[:, :10].mean(axis=1)[:, None]
        - -np.sort(-cosine, axis=0)[:10].mean(axis=0)
    )
    (sources, targets), agreement = _dictionary(x, z, np.random.default_rng(0), 1.0)
    assert targets[:50].tolist() == csls.argmax(axis=1).tolist()
    assert sources[50:].tolist() == csls.argmax(axis=0).tolist()
    assert agreement == pytest.approx((cosine.max(axis=1).mean() + cosine.max(axis=0).mean()) / 2, abs=1e-5)


def test_what_is_refused() -> None:
    x, z, _ = spaces(0.0)
    with pytest.raises(DataError, match="width 16 and 8"):
        map_unsupervised(x, z[:, :8])
    with pytest.raises(DataError, match="15 and 300 words"):
        map_unsupervised(x[:15], z)
    with pytest.raises(DataError, match="not finite"):
        map_unsupervised(x * np.nan, z)
    with pytest.raises(RecipeError, match="0 words"):
        map_unsupervised(x, z, most=0)
