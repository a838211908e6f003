"""Vectors of two sides, and the whole matrix of their cosines in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["cosines", "sides"]


def sides(n: int, m: int, width: int = 12, seed: int = 0) -> tuple[Any, Any]:
    """Two clouds with a common part, so that hubs and near ties come up."""
    chance = np.random.default_rng(seed)
    common = chance.normal(size=(max(n, m), width)) + 0.5
    noisy = (common[:k] + 0.7 * chance.normal(size=(k, width)) for k in (n, m))
    return tuple(side.astype(np.float32) for side in noisy)  # type: ignore[return-value]


def cosines(x: Any, y: Any) -> Any:
    x, y = x.astype(np.float64), y.astype(np.float64)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (y / np.linalg.norm(y, axis=1, keepdims=True)).T
