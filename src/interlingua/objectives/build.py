"""From recipe sections to a mixture of objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from interlingua.objectives.base import Objective
from interlingua.objectives.contrast import TranslationRanking
from interlingua.objectives.masking import Masking
from interlingua.objectives.mix import Mixture
from interlingua.objectives.mlm import MaskedLM, TranslationLM
from interlingua.recipe import ContrastRecipe, MLMRecipe, ObjectiveRecipe, TLMRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["build_mixture"]


def _masking(recipe: MLMRecipe | TLMRecipe, tokenizer: PreTrainedTokenizerBase) -> Masking:
    allowed = np.setdiff1d(np.arange(len(tokenizer)), np.array(tokenizer.all_special_ids))
    return Masking(tokenizer.mask_token_id, allowed, recipe.rate, recipe.unit, recipe.mask, recipe.random)


def _build(recipe: ObjectiveRecipe, tokenizer: PreTrainedTokenizerBase) -> Objective:
    if isinstance(recipe, TLMRecipe):
        return TranslationLM(_masking(recipe, tokenizer), restart_positions=recipe.restart_positions)
    if isinstance(recipe, ContrastRecipe):
        return TranslationRanking(
            temperature=recipe.temperature,
            margin=recipe.margin,
            languages=recipe.languages,
            negatives=recipe.negatives,
            pooling=recipe.pooling,
        )
    return MaskedLM(_masking(recipe, tokenizer))


def build_mixture(
    recipes: Sequence[ObjectiveRecipe], tokenizer: PreTrainedTokenizerBase, *, how: str, seed: int
) -> Mixture:
    """The objectives of a recipe over a vocabulary."""
    return Mixture([_build(r, tokenizer) for r in recipes], [r.weight for r in recipes], how=how, seed=seed)
