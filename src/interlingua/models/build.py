"""Networks from nothing: a preset and a vocabulary in, a ``transformers`` masked language model out.

Decision: only classes of ``transformers`` are built, and every choice is a field of their config, so that a
checkpoint opens anywhere. Language embeddings use ``token_type_ids`` (one "type" a language), the only place BERT and
XLM-R offer; the language list is kept in ``config.interlingua_languages``. Price: ModernBERT has no token types, so
it takes no language embeddings, and says so when the recipe is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import RecipeError
from interlingua.models.presets import preset
from interlingua.recipe import ModelRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["build_masked_lm", "model_config", "reinitialised", "set_output_prior"]


def model_config(recipe: ModelRecipe, tokenizer: PreTrainedTokenizerBase, languages: Sequence[str]) -> Any:
    """The ``transformers`` config for a recipe.

    Args:
        recipe: family, size, overrides.
        tokenizer: gives vocabulary size and special ids.
        languages: canonical tags, in stream order.

    Raises:
        RecipeError: language embeddings asked of a class that has no place for them.
    """
    from transformers import BertConfig, ModernBertConfig, XLMRobertaConfig

    shape = preset(recipe.family, recipe.size)
    hidden = recipe.hidden or shape.hidden
    heads = recipe.heads or max(1, hidden // 64)
    feed_forward = recipe.feed_forward or shape.feed_forward * hidden // shape.hidden
    if hidden % heads:
        raise RecipeError(
            f"hidden = {hidden} is not a multiple of heads = {heads}", where="model.hidden", next_step="change either"
        )
    if recipe.language_embeddings and recipe.family == "modernbert":
        raise RecipeError(
            "language_embeddings = true for modernbert",
            expected="a class with token types (bert, xlm-roberta)",
            where="model.language_embeddings",
            next_step="set model.language_embeddings=false or model.family=bert",
        )
    types = len(languages) if recipe.language_embeddings else 1
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "num_hidden_layers": recipe.layers or shape.layers,
        "num_attention_heads": heads,
        "intermediate_size": feed_forward,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": recipe.tie_embeddings,
    }
    bounds = {
        "bos_token_id": tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id,
        "eos_token_id": tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id,
    }
    if recipe.family == "modernbert":
        return ModernBertConfig(
            **common,
            **bounds,
            cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id,
            max_position_embeddings=recipe.positions,
            attention_dropout=recipe.dropout,
            embedding_dropout=recipe.dropout,
            mlp_dropout=recipe.dropout,
            interlingua_languages=list(languages),
        )
    cls = BertConfig if recipe.family == "bert" else XLMRobertaConfig
    # RoBERTa-like classes count positions from pad_token_id + 1.
    extra = tokenizer.pad_token_id + 1 if recipe.family == "xlm-roberta" else 0
    return cls(
        **common,
        **bounds,
        max_position_embeddings=recipe.positions + extra,
        type_vocab_size=types,
        hidden_dropout_prob=recipe.dropout,
        attention_probs_dropout_prob=recipe.dropout,
        interlingua_languages=list(languages) if recipe.language_embeddings else None,
    )


def build_masked_lm(
    recipe: ModelRecipe, tokenizer: PreTrainedTokenizerBase, languages: Sequence[str], *, seed: int
) -> PreTrainedModel:
    """A freshly initialised masked language model, the same for the same seed."""
    import torch
    from transformers import AutoModelForMaskedLM

    config = model_config(recipe, tokenizer, languages)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForMaskedLM.from_config(config, attn_implementation="sdpa")
    return model


def set_output_prior(model: PreTrainedModel, counts: NDArray[np.int64]) -> None:
    """Start the LM head's bias at the log frequency of each token.

    Otherwise the first hundreds of steps go into learning how frequent tokens are.

    Args:
        model: a masked language model.
        counts: occurrences of each token id, [V]; never-seen tokens count as half an occurrence.
    """
    import torch

    bias = model.get_output_embeddings().bias
    if bias is None:
        return
    prior = np.log(np.maximum(counts, 0.5) / max(1, counts.sum()))
    with torch.no_grad():
        bias.copy_(torch.from_numpy(prior).to(bias))


def reinitialised(model: PreTrainedModel, *, seed: int) -> PreTrainedModel:
    """The same network with random weights: the control for what pretraining is worth.

    Weights are drawn by the class's own initialisation.
    """
    import copy

    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh: PreTrainedModel = type(model)(copy.deepcopy(model.config))
    return fresh.eval()
