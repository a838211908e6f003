"""objectives/mix.py and build.py against the weights asked for."""

from __future__ import annotations

import numpy as np
import pytest

from interlingua.errors import RecipeError
from interlingua.objectives.build import build_mixture
from interlingua.objectives.contrast import TranslationRanking
from interlingua.objectives.mix import Mixture
from interlingua.objectives.mlm import MaskedLM, TranslationLM
from interlingua.objectives.units import Words
from interlingua.recipe_objectives import ContrastRecipe, MLMRecipe, TLMRecipe


def test_sampling_follows_the_weights():
    """Over 20,000 steps each objective is drawn by its share of the weights, within five standard deviations."""
    a, b, c = TranslationRanking(), TranslationRanking(), TranslationRanking()
    mixture = Mixture([a, b, c], [2, 0, 6], how="sample", seed=1)
    drawn = np.bincount([mixture.parts(t)[0].index for t in range(20_000)], minlength=3)
    assert drawn[1] == 0
    assert abs(drawn[0] / 20_000 - 0.25) < 5 * (0.25 * 0.75 / 20_000) ** 0.5
    assert all(mixture.parts(t) == Mixture([a, b, c], [2, 0, 6], how="sample", seed=1).parts(t) for t in range(50))


def test_sum_takes_all_with_their_weights():
    """Every step holds each objective of positive weight once, with its weight."""
    a, b, c = TranslationRanking(), TranslationRanking(), TranslationRanking()
    parts = Mixture([a, b, c], [2, 0, 0.5], how="sum", seed=1).parts(7)
    assert [(p.index, p.weight) for p in parts] == [(0, 2.0), (2, 0.5)]
    assert [p.weight for p in Mixture([a], [1.0], how="sum", seed=0).parts(3)] == [1.0]


@pytest.mark.parametrize("weights", [[0.0], [1.0, 1.0], []])
def test_senseless_weights_are_refused(weights):
    """No positive weight, or another number of weights than objectives: RecipeError."""
    with pytest.raises(RecipeError, match="objectives"):
        Mixture([TranslationRanking()], weights, how="sample", seed=0)


def test_recipes_become_objectives(hf_tokenizer):
    """Each section becomes its class with its settings; random replacements are all ids but the special ones."""
    recipes = [MLMRecipe(rate=0.3, unit="word"), TLMRecipe(restart_positions=False), ContrastRecipe(languages=3)]
    mlm, tlm, contrast = build_mixture(recipes, hf_tokenizer, how="sum", seed=0).objectives
    assert type(mlm) is MaskedLM
    assert (mlm.masking.rate, mlm.masking.unit, mlm.masking.mask_id) == (0.3, Words(), hf_tokenizer.mask_token_id)
    assert set(mlm.masking.vocabulary.tolist()) == set(range(len(hf_tokenizer))) - set(hf_tokenizer.all_special_ids)
    assert isinstance(tlm, TranslationLM)
    assert (tlm.layout.kind, tlm.layout.restart_positions) == ("joined", False)
    assert isinstance(contrast, TranslationRanking)
    assert (contrast.layout.kind, contrast.layout.languages, contrast.splittable) == ("apart", 3, False)
