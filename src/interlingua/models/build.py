"""Networks from nothing: a preset and a vocabulary in, a ``transformers`` model with a head out.

Decision: only classes of ``transformers`` are built, and every choice is a field of their config, so that a
checkpoint opens anywhere. Language embeddings use ``token_type_ids`` (one "type" a language), the only place BERT and
its like offer, or XLM's ``langs``; the language list is kept in ``config.interlingua_languages``. Price: classes
without either take no language embeddings, and say so when the recipe is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import RecipeError
from interlingua.models.presets import preset
from interlingua.models.sharing import constrain
from interlingua.recipe import ModelRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.models.separate import LanguageParts

__all__ = [
    "HEADS",
    "Head",
    "build_model",
    "check_model",
    "model_config",
    "reinitialised",
    "separate_languages",
    "set_output_prior",
]

Head = Literal["masked", "pretraining", "causal", "discriminator", "seq2seq", "permutation"]

#: The class of ``transformers`` that a head means for a family. pretraining: masked LM and sentence order.
HEADS: dict[Head, dict[str, str]] = {
    "masked": {
        "bert": "BertForMaskedLM",
        "xlm-roberta": "XLMRobertaForMaskedLM",
        "modernbert": "ModernBertForMaskedLM",
        "eurobert": "EuroBertForMaskedLM",
        "deberta-v2": "DebertaV2ForMaskedLM",
        "albert": "AlbertForMaskedLM",
        "electra": "ElectraForMaskedLM",
        "distilbert": "DistilBertForMaskedLM",
        "xlm": "XLMWithLMHeadModel",
    },
    "pretraining": {"bert": "BertForPreTraining", "albert": "AlbertForPreTraining"},
    "causal": {"gpt2": "GPT2LMHeadModel", "bert": "BertLMHeadModel", "xlm": "XLMWithLMHeadModel"},
    "discriminator": {"electra": "ElectraForPreTraining", "deberta-v2": "DebertaV2ForTokenClassification"},
    "seq2seq": {
        "bart": "BartForConditionalGeneration",
        "mbart": "MBartForConditionalGeneration",
        "t5": "T5ForConditionalGeneration",
        "mt5": "MT5ForConditionalGeneration",
    },
    "permutation": {"xlnet": "XLNetLMHeadModel"},
}
#: Families that can carry the language of a token, have an embedding table of another width, share between layers.
MARKED = ("bert", "xlm-roberta", "albert", "electra", "xlm")
FACTORISED = ("albert", "electra", "deberta-v2")
SHARING = ("albert", "bert", "xlm-roberta", "electra")
UNPLACED = ("bert", "xlm-roberta")
SEPARABLE = ("bert", "xlm-roberta")


def _sharing(recipe: ModelRecipe) -> str:
    return recipe.sharing or ("all" if recipe.family == "albert" else "none")


def check_model(recipe: ModelRecipe, heads: Iterable[Head]) -> None:
    """Refuse what cannot be built, before anything runs.

    Args:
        recipe: the network.
        heads: what its objectives need.

    Raises:
        RecipeError: the family has no such head, or cannot do what the recipe asks.
    """
    family = recipe.family
    for head in heads:
        if family not in HEADS[head]:
            able = [name for name, families in HEADS.items() if family in families]
            raise RecipeError(
                f"model.family = {family!r} for a {head} head",
                expected=f"one of {', '.join(HEADS[head])}",
                where="model.family",
                next_step=f"change the family, or the objective: {family} has the heads {', '.join(able)}",
            )
    for asked, field, able_families in (
        (recipe.language_embeddings, "language_embeddings", MARKED),
        (recipe.embedding_size is not None, "embedding_size", FACTORISED),
        (recipe.positions_kind == "none", "positions_kind", UNPLACED),
        (recipe.sharing not in {None, "none"}, "sharing", SHARING),
        (recipe.separate_embeddings, "separate_embeddings", SEPARABLE),
        (recipe.separate_layers > 0, "separate_layers", SEPARABLE),
        (recipe.separate_positions, "separate_positions", SEPARABLE),
        (recipe.separate_specials, "separate_specials", SEPARABLE),
    ):
        if asked and family not in able_families:
            raise RecipeError(
                f"{field} = {getattr(recipe, field)!r} for {family}",
                expected=f"one of {', '.join(able_families)}",
                where=f"model.{field}",
                next_step=f"leave model.{field} out, or change model.family",
            )
    shape = preset(family, recipe.size)
    hidden, layers = recipe.hidden or shape.hidden, recipe.layers or shape.layers
    heads_count = recipe.heads or max(1, hidden // 64)
    if hidden % heads_count:
        raise RecipeError(
            f"hidden = {hidden} is not a multiple of heads = {heads_count}",
            where="model.hidden",
            next_step="change either",
        )
    if family == "xlm" and recipe.feed_forward not in {None, 4 * hidden}:
        raise RecipeError(
            f"feed_forward = {recipe.feed_forward} for xlm",
            expected=f"{4 * hidden}: the class has no other than 4 x hidden",
            where="model.feed_forward",
            next_step="leave model.feed_forward out",
        )
    if recipe.separate_layers and (recipe.separate_layers >= layers or _sharing(recipe) != "none"):
        raise RecipeError(
            f"separate_layers = {recipe.separate_layers} of {layers} layers, sharing = {_sharing(recipe)!r}",
            expected="fewer separate layers than there are, and no layers that share weights",
            where="model.separate_layers",
            next_step="leave the last layer at least to all languages, and model.sharing out",
        )
    if recipe.groups > (1 if _sharing(recipe) == "none" else layers):
        raise RecipeError(
            f"groups = {recipe.groups} with sharing = {_sharing(recipe)!r} in {layers} layers",
            expected="no more groups than layers, and layers that share",
            where="model.groups",
            next_step="set model.sharing, or leave model.groups out",
        )


def model_config(
    recipe: ModelRecipe, tokenizer: PreTrainedTokenizerBase, languages: Sequence[str], *, head: Head = "masked"
) -> Any:
    """The ``transformers`` config for a recipe.

    Args:
        recipe: family, size, overrides.
        tokenizer: gives vocabulary size and special ids.
        languages: canonical tags, in stream order.
        head: what the network is to learn by.

    Raises:
        RecipeError: see :func:`check_model`.
    """
    import transformers

    check_model(recipe, [head])
    family, shape = recipe.family, preset(recipe.family, recipe.size)
    hidden, layers = recipe.hidden or shape.hidden, recipe.layers or shape.layers
    heads = recipe.heads or max(1, hidden // 64)
    feed_forward = recipe.feed_forward or shape.feed_forward * hidden // shape.hidden
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    fields: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": begin,
        "eos_token_id": end,
        "tie_word_embeddings": recipe.tie_embeddings,
    }
    common = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": feed_forward,
        "max_position_embeddings": recipe.positions,
    }
    bert = common | {"hidden_dropout_prob": recipe.dropout, "attention_probs_dropout_prob": recipe.dropout}
    if family in {"bert", "xlm-roberta", "albert", "electra"}:
        fields |= bert | {"type_vocab_size": 2 if head == "pretraining" else 1}
    if family == "bert" and head == "causal":
        fields["is_decoder"] = True
    elif family == "xlm-roberta":
        # RoBERTa-like classes count positions from pad_token_id + 1.
        fields["max_position_embeddings"] += tokenizer.pad_token_id + 1
    elif family == "albert":
        native = _sharing(recipe) == "all"
        fields |= {"embedding_size": recipe.embedding_size or min(128, hidden), "classifier_dropout_prob": 0.1,
                   "num_hidden_groups": recipe.groups if native else layers}  # fmt: skip
    elif family == "electra":
        fields["embedding_size"] = recipe.embedding_size or hidden
    elif family == "modernbert":
        fields |= common | {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id,
                            "attention_dropout": recipe.dropout, "embedding_dropout": recipe.dropout,
                            "mlp_dropout": recipe.dropout}  # fmt: skip
    elif family == "eurobert":
        fields |= common | {"num_key_value_heads": heads, "attention_dropout": recipe.dropout,
                            "mask_token_id": tokenizer.mask_token_id}  # fmt: skip
    elif family == "deberta-v2":
        # What microsoft/mdeberta-v3-base has.
        fields |= bert | {"type_vocab_size": 0, "relative_attention": True, "position_buckets": 256,
                          "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm", "share_att_key": True,
                          "position_biased_input": False, "max_relative_positions": -1}  # fmt: skip
        if recipe.embedding_size is not None:
            fields["embedding_size"] = recipe.embedding_size
        if head == "discriminator":
            fields["num_labels"] = 1
    elif family == "distilbert":
        fields |= {"dim": hidden, "n_layers": layers, "n_heads": heads, "hidden_dim": feed_forward,
                   "max_position_embeddings": recipe.positions, "dropout": recipe.dropout,
                   "attention_dropout": recipe.dropout}  # fmt: skip
    elif family == "xlm":
        fields |= {"emb_dim": hidden, "n_layers": layers, "n_heads": heads, "dropout": recipe.dropout,
                   "attention_dropout": recipe.dropout, "max_position_embeddings": recipe.positions,
                   "embed_init_std": hidden**-0.5, "mask_token_id": tokenizer.mask_token_id,
                   "mask_index": tokenizer.mask_token_id, "unk_index": tokenizer.unk_token_id,
                   "causal": head == "causal", "use_lang_emb": recipe.language_embeddings}  # fmt: skip
    elif family == "xlnet":
        fields |= {"d_model": hidden, "n_layer": layers, "n_head": heads, "d_inner": feed_forward,
                   "dropout": recipe.dropout}  # fmt: skip
    elif family == "gpt2":
        fields |= {"n_embd": hidden, "n_layer": layers, "n_head": heads, "n_inner": feed_forward,
                   "n_positions": recipe.positions, "resid_pdrop": recipe.dropout, "embd_pdrop": recipe.dropout,
                   "attn_pdrop": recipe.dropout}  # fmt: skip
    elif family in {"bart", "mbart"}:
        fields |= {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in
                   (("layers", layers), ("attention_heads", heads), ("ffn_dim", feed_forward))}  # fmt: skip
        fields |= {"d_model": hidden, "max_position_embeddings": recipe.positions, "dropout": recipe.dropout,
                   "attention_dropout": recipe.dropout, "decoder_start_token_id": end, "forced_eos_token_id": end,
                   "scale_embedding": family == "mbart"}  # fmt: skip
    elif family in {"t5", "mt5"}:
        fields |= {"d_model": hidden, "d_kv": hidden // heads, "d_ff": feed_forward, "num_layers": layers,
                   "num_decoder_layers": layers, "num_heads": heads, "dropout_rate": recipe.dropout,
                   "decoder_start_token_id": tokenizer.pad_token_id}  # fmt: skip
    fields |= _own_fields(recipe, languages)
    if recipe.language_embeddings:
        fields["n_langs" if family == "xlm" else "type_vocab_size"] = len(languages)
    config_class: Any = getattr(transformers, HEADS[head][family]).config_class
    return config_class(**fields)


def _own_fields(recipe: ModelRecipe, languages: Sequence[str]) -> dict[str, Any]:
    """What our own code will want to know of the network; ``transformers`` keeps it and does not look at it."""
    marked = recipe.language_embeddings or recipe.family not in MARKED
    own: dict[str, Any] = {"interlingua_languages": list(languages) if marked else None}
    sharing = _sharing(recipe)
    if sharing != "none" and (recipe.family, sharing) != ("albert", "all"):
        own |= {"interlingua_sharing": sharing, "interlingua_groups": recipe.groups}
    if recipe.positions_kind == "none":
        own["interlingua_positions"] = "none"
    return own


def build_model(
    recipe: ModelRecipe,
    tokenizer: PreTrainedTokenizerBase,
    languages: Sequence[str],
    *,
    head: Head = "masked",
    seed: int,
) -> PreTrainedModel:
    """A freshly initialised network with a head, the same for the same seed.

    Raises:
        RecipeError: see :func:`check_model`, or first token vectors that are none for this network.
    """
    import torch
    import transformers

    config = model_config(recipe, tokenizer, languages, head=head)
    model_class: Any = getattr(transformers, HEADS[head][recipe.family])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = model_class(config)
    constrain(model)
    if recipe.vectors is not None:
        _begin_with(model, recipe.vectors)
    return model


def _begin_with(model: PreTrainedModel, path: Path) -> None:
    """Write the vectors of a file into the token table; where it has NaN, the table stays as it is."""
    import torch

    where = f"model.vectors = {str(path)!r}"
    try:
        vectors_VD = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"{path.name!r} cannot be opened: {error}", expected="an array saved by np.save", where=where
        ) from error
    table: torch.Tensor = model.get_input_embeddings().weight
    if vectors_VD.shape != tuple(table.shape) or vectors_VD.dtype.kind != "f":
        raise RecipeError(
            f"vectors of type {vectors_VD.dtype} and shape {vectors_VD.shape}",
            expected=f"floats of shape {tuple(table.shape)}: a row for each token of the vocabulary in use",
            where=where,
            next_step="make them for this vocabulary and width (interlingua vocab vectors)",
        )
    given_V = ~np.isnan(vectors_VD).all(axis=1)
    if not np.isfinite(vectors_VD[given_V]).all():
        raise RecipeError("a vector that is partly not finite", expected="numbers, or NaN in a whole row", where=where)
    with torch.no_grad():
        table[torch.from_numpy(given_V)] = torch.from_numpy(np.asarray(vectors_VD[given_V])).to(table)


def separate_languages(
    model: PreTrainedModel,
    recipe: ModelRecipe,
    tokenizer: PreTrainedTokenizerBase,
    languages: Sequence[str],
    *,
    head: Head = "masked",
    own: str,
    seed: int,
) -> LanguageParts | None:
    """Give every language the parts that the recipe says it has of its own; None where it says none.

    Args:
        model: what :func:`build_model` made; it keeps the parts of language ``own``.
        recipe: the network.
        tokenizer: its vocabulary.
        languages: canonical tags, in stream order.
        head: as for :func:`build_model`.
        own: one of the languages.
        seed: the other languages' parts begin with other numbers that follow from it.
    """
    if not recipe.separates:
        return None
    from interlingua.models.separate import LanguageParts

    others = [
        build_model(recipe, tokenizer, languages, head=head, seed=seed + 7919 * (i + 1))
        for i, lang in enumerate(languages)
        if lang != own
    ]
    return LanguageParts(
        model,
        others,
        languages,
        own=languages.index(own),
        embeddings=recipe.separate_embeddings,
        layers=recipe.separate_layers,
        positions=recipe.separate_positions,
        specials=sorted(tokenizer.all_special_ids) if recipe.separate_specials else (),
    )


def set_output_prior(model: PreTrainedModel, counts: NDArray[np.int64]) -> None:
    """Start the LM head's bias at the log frequency of each token.

    Otherwise the first hundreds of steps go into learning how frequent tokens are.

    Args:
        model: a network with a head over the vocabulary; others are left as they are.
        counts: occurrences of each token id, [V]; never-seen tokens count as half an occurrence.
    """
    import torch

    from interlingua.models.head import output_layer

    bias = output_layer(model)[1] if model.get_output_embeddings() is not None else None
    if bias is None:
        return
    prior = np.log(np.maximum(counts, 0.5) / max(1, counts.sum()))
    with torch.no_grad():
        bias.copy_(torch.from_numpy(prior).to(bias))


def reinitialised(
    model: PreTrainedModel, *, seed: int, layers: int | None = None, vocabulary: int | None = None
) -> PreTrainedModel:
    """A network of the same class and widths with random weights: the control for what pretraining is worth.

    Args:
        model: the network it is like.
        seed: of the weights, which are drawn by the class's own initialisation.
        layers: how many layers, if not as many.
        vocabulary: how many entries, if not as many.
    """
    import copy

    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = copy.deepcopy(model.config)
        if layers is not None:
            config.num_hidden_layers = layers
        if vocabulary is not None:
            config.vocab_size = vocabulary
        fresh: PreTrainedModel = type(model)(config)
    constrain(fresh)
    return fresh.eval()
