"""Which tokens are hidden, and behind what.

In: a batch and a generator. Out: the corrupted ids and the labels. Decisions: the number of hidden tokens of a batch
is ``rate`` times its maskable tokens, to the token (``token``) or as near as whole words allow (``word``), so the
realised rate does not scatter; special tokens and padding are never hidden and never drawn as a replacement. Price:
a short text may by chance have no hidden token in a step (BERT instead forces one a text).

Source: Devlin et al. 2019 (80/10/10); whole words: google-research/bert README, May 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from interlingua.batch import Batch
from interlingua.objectives.base import IGNORED, TokenTargets

__all__ = ["Masking"]


@dataclass(frozen=True)
class Masking:
    """A masking policy.

    Attributes:
        mask_id: id of the mask token.
        vocabulary: ids of tokens that may stand in as random replacements.
        rate: share of maskable tokens that are predicted.
        unit: ``"token"`` or ``"word"``.
        mask: share of them shown as the mask token.
        random: share shown as a random token; the rest is shown as it is.
    """

    mask_id: int
    vocabulary: np.ndarray
    rate: float = 0.15
    unit: str = "token"
    mask: float = 0.8
    random: float = 0.1

    def choose(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> np.ndarray:
        """Which tokens are predicted: bool [B, L]."""
        maskable_BL = ~batch.special_BL.numpy()
        positions = np.flatnonzero(maskable_BL)
        wanted = self.rate * len(positions)
        # A fractional count is rounded up or down at random, so that small batches keep the rate on average too.
        count = int(wanted) + int(generator.random() < wanted - int(wanted))
        chosen = np.zeros(maskable_BL.size, dtype=bool)
        if self.unit == "token":
            chosen[generator.permutation(positions)[:count]] = True
        else:
            # A word is a run of maskable tokens from one start to the next; specials and segment bounds begin new runs.
            segments = batch.segments_BL.numpy().reshape(-1)[positions]
            starts = batch.word_starts_BL.numpy().reshape(-1)[positions]
            broken = np.ones(len(positions), dtype=bool)
            broken[1:] = (np.diff(positions) > 1) | (np.diff(segments) != 0)
            word = np.cumsum(starts | broken) - 1
            lengths = np.bincount(word) if len(word) else np.zeros(0, dtype=int)
            order = generator.permutation(len(lengths))
            # The word that crosses the wanted count is taken or left, whichever keeps the expected rate.
            before = np.cumsum(lengths[order]) - lengths[order]
            whole = before + lengths[order] <= count
            crossing = (before < count) & ~whole
            taken = whole | (crossing & (generator.random() < (count - before) / np.maximum(lengths[order], 1)))
            picked = np.zeros(len(lengths), dtype=bool)
            picked[order[taken]] = True
            chosen[positions[picked[word]]] = True
        return chosen.reshape(maskable_BL.shape)

    def apply(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> TokenTargets:
        """Corrupt a batch."""
        chosen_BL = self.choose(batch, generator, progress)
        tokens_BL = batch.tokens_BL.numpy()
        labels_BL = np.where(chosen_BL, tokens_BL, IGNORED)
        shown_BL = tokens_BL.copy()
        where = np.flatnonzero(chosen_BL)
        dice = generator.random(len(where))
        replacement = self.vocabulary[generator.integers(len(self.vocabulary), size=len(where))]
        flat = shown_BL.reshape(-1)
        flat[where[dice < self.mask]] = self.mask_id
        randomised = (dice >= self.mask) & (dice < self.mask + self.random)
        flat[where[randomised]] = replacement[randomised]
        return TokenTargets(len(where), torch.from_numpy(shown_BL), torch.from_numpy(labels_BL))
