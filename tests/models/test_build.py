"""models/build.py and presets.py: shapes of published models, determinism, what cannot be built."""

from __future__ import annotations

import pytest
import torch
from tests.fixtures_models import FAMILIES

from interlingua.errors import RecipeError
from interlingua.models.build import build_masked_lm, model_config, reinitialised
from interlingua.models.presets import preset
from interlingua.recipe import ModelRecipe


@pytest.mark.parametrize(
    ("family", "size", "shape"),
    [
        ("bert", "tiny", (128, 2, 2, 512)),  # google-research/bert, BERT-Tiny
        ("bert", "mini", (256, 4, 4, 1024)),
        ("bert", "medium", (512, 8, 8, 2048)),
        ("bert", "base", (768, 12, 12, 3072)),
        ("xlm-roberta", "large", (1024, 24, 16, 4096)),  # FacebookAI/xlm-roberta-large, config.json
        ("modernbert", "base", (768, 22, 12, 1152)),  # answerdotai/ModernBERT-base, config.json
        ("modernbert", "large", (1024, 28, 16, 2624)),
    ],
)
def test_published_shapes(family, size, shape):
    """Width, depth, heads and feed-forward width are those of the published configs."""
    ours = preset(family, size)
    assert (ours.hidden, ours.layers, ours.heads, ours.feed_forward) == shape


def test_unknown_names_are_refused():
    """Family or size misspelt: RecipeError with the nearest."""
    with pytest.raises(RecipeError, match="did you mean 'modernbert'"):
        preset("modernbrt", "tiny")
    with pytest.raises(RecipeError, match="did you mean 'small'"):
        preset("bert", "smal")


@pytest.mark.parametrize("family", FAMILIES)
def test_same_seed_same_network(family, hf_tokenizer):
    """Equal seeds give equal weights, other seeds others, and torch's own random state is left as it was."""
    recipe = ModelRecipe(family=family, hidden=32, layers=2, heads=2, feed_forward=48, positions=64)
    state = torch.get_rng_state()
    one, two, other = (build_masked_lm(recipe, hf_tokenizer, ["en"], seed=s) for s in (1, 1, 2))
    assert (torch.get_rng_state() == state).all()
    weights = [m.get_input_embeddings().weight for m in (one, two, other)]
    assert all((p == q).all() for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert (weights[0] != weights[2]).any()
    assert one.get_input_embeddings().weight.shape == (len(hf_tokenizer), 32)
    # The longest text really fits: position `positions - 1` is looked up without an error.
    ids = torch.full((1, 64), 7)
    assert one(input_ids=ids).logits.shape == (1, 64, len(hf_tokenizer))


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_language_embeddings_are_token_types(family, hf_tokenizer):
    """One token type a language, the list in the config; without them one type and no list."""
    languages = ["de", "en", "fi"]
    config = model_config(ModelRecipe(family=family, language_embeddings=True), hf_tokenizer, languages)
    assert (config.type_vocab_size, config.interlingua_languages) == (3, languages)
    config = model_config(ModelRecipe(family=family), hf_tokenizer, languages)
    assert (config.type_vocab_size, config.interlingua_languages) == (1, None)


def test_what_cannot_be_built(hf_tokenizer):
    """Language embeddings for ModernBERT, a width that heads do not divide: RecipeError."""
    with pytest.raises(RecipeError, match="language_embeddings"):
        model_config(ModelRecipe(family="modernbert", language_embeddings=True), hf_tokenizer, ["en"])
    with pytest.raises(RecipeError, match="multiple of heads = 3"):
        model_config(ModelRecipe(hidden=32, heads=3), hf_tokenizer, ["en"])


def test_reinitialised_is_the_same_network_with_other_weights(hf_tokenizer):
    """Same names and shapes, other values, same again for the same seed; the original is untouched."""
    model = build_masked_lm(ModelRecipe(hidden=32, layers=1, heads=2), hf_tokenizer, ["en"], seed=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    one, two = reinitialised(model, seed=3), reinitialised(model, seed=3)
    assert {n: p.shape for n, p in one.named_parameters()} == {n: p.shape for n, p in before.items()}
    assert all((p == q).all() for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert (one.get_input_embeddings().weight != before["bert.embeddings.word_embeddings.weight"]).any()
    assert all((p == before[n]).all() for n, p in model.named_parameters())
