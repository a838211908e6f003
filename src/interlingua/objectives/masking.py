"""How many tokens are hidden, and behind what; which ones, says a :class:`~interlingua.objectives.units.Unit`.

In: a batch and a generator. Out: the corrupted ids and the labels. Decisions: the number of hidden tokens of a batch
is ``rate`` times its maskable tokens, to the token (``Tokens``) or as near as whole units allow, so the realised rate
does not scatter; special tokens and padding are never hidden and never drawn as a replacement. Price: a short text may
by chance have no hidden token in a step (BERT instead forces one a text).

Sources: Devlin et al. 2019 (80/10/10); rates that fall: Yang et al. 2023 (arXiv 2208.10806); mmBERT, Marone et al. 2025
(arXiv 2509.06888: 30, 15, 5 %).
"""
# ruff: noqa: N815  fields are arrays and carry shape suffixes

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from interlingua.batch import Batch
from interlingua.objectives.base import IGNORED, TokenTargets
from interlingua.objectives.replacing import LanguageVocabulary, replace_by_neighbours
from interlingua.objectives.units import Maskable, Tokens, Unit

__all__ = ["Masking", "RateSchedule"]


@dataclass(frozen=True)
class RateSchedule:
    """A rate that changes on the way.

    Attributes:
        points: (share of the steps, rate), in order; before the first and behind the last the rate stays.
        kind: between two points, ``steps``: the first one's rate; ``linear``: a line; ``cosine``: half a wave.
    """

    points: Sequence[tuple[float, float]]
    kind: Literal["steps", "linear", "cosine"] = "steps"

    def __call__(self, progress: float) -> float:
        """The rate after a share of the steps."""
        behind = [point for point in self.points if point[0] <= progress]
        ahead = [point for point in self.points if point[0] > progress]
        if not behind:
            return ahead[0][1]
        if not ahead or self.kind == "steps":
            return behind[-1][1]
        (begin, before), (end, after) = behind[-1], ahead[0]
        way = (progress - begin) / (end - begin)
        if self.kind == "cosine":
            way = (1 - math.cos(math.pi * way)) / 2
        return before + way * (after - before)


@dataclass(frozen=True)
class Masking:
    """A masking policy.

    Attributes:
        mask_id: id of the mask token.
        vocabulary: ids of tokens that may stand in as random replacements.
        rate: share of maskable tokens that are predicted.
        unit: what is hidden together.
        mask: share of them shown as the mask token.
        random: share shown as a random token.
        knn: share shown as a neighbour in another language; the rest is shown as it is.
        by_language: draws random tokens from the hidden token's own language; None: from the vocabulary.
        neighbours_VK: of :func:`~interlingua.objectives.replacing.cross_lingual_neighbours`.
    """

    mask_id: int
    vocabulary: np.ndarray
    rate: float | RateSchedule = 0.15
    unit: Unit = field(default_factory=Tokens)
    mask: float = 0.8
    random: float = 0.1
    knn: float = 0.0
    by_language: LanguageVocabulary | None = None
    neighbours_VK: NDArray[np.int32] | None = None

    def units(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> np.ndarray:
        """Which tokens are predicted, and which of them belong together.

        Returns:
            int64 [B, L]: the number of the token's unit, -1 where nothing is predicted.
        """
        text = Maskable.of(batch)
        wanted = (self.rate(progress) if isinstance(self.rate, RateSchedule) else self.rate) * len(text)
        # A fractional count is rounded up or down at random, so that small batches keep the rate on average too.
        count = int(wanted) + int(generator.random() < wanted - int(wanted))
        units_BL = np.full(batch.tokens_BL.shape, -1, dtype=np.int64)
        units_BL.reshape(-1)[text.positions_N] = self.unit.pick(text, count, generator)
        return units_BL

    def choose(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> np.ndarray:
        """Which tokens are predicted: bool [B, L]."""
        chosen_BL: np.ndarray = self.units(batch, generator, progress) >= 0
        return chosen_BL

    def apply(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> TokenTargets:
        """Corrupt a batch."""
        return self.corrupt(batch, self.units(batch, generator, progress), generator)

    def corrupt(self, batch: Batch, units_BL: np.ndarray, generator: np.random.Generator) -> TokenTargets:
        """Hide what :meth:`units` chose."""
        tokens_BL = batch.tokens_BL.numpy()
        labels_BL = np.where(units_BL >= 0, tokens_BL, IGNORED)
        shown_BL = tokens_BL.copy()
        where = np.flatnonzero(units_BL >= 0)
        dice = generator.random(len(where))
        if self.unit.together:  # one throw a unit: that of its first token
            _, first, unit = np.unique(units_BL.reshape(-1)[where], return_index=True, return_inverse=True)
            dice = dice[first[unit]]
        flat = shown_BL.reshape(-1)
        flat[where[dice < self.mask]] = self.mask_id
        if self.random:
            if self.by_language is None:
                drawn = self.vocabulary[generator.integers(len(self.vocabulary), size=len(where))]
            else:
                drawn = self.by_language.draw(batch.languages_BL.numpy().reshape(-1)[where], generator)
            randomised = (dice >= self.mask) & (dice < self.mask + self.random)
            flat[where[randomised]] = drawn[randomised]
        if self.knn and self.neighbours_VK is not None:
            edge = self.mask + self.random
            near = where[(dice >= edge) & (dice < edge + self.knn)]
            flat[near] = replace_by_neighbours(flat[near], self.neighbours_VK, self.mask_id, generator)
        return TokenTargets(len(where), torch.from_numpy(shown_BL), torch.from_numpy(labels_BL))
