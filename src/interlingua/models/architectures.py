"""What the code must know of a model class beyond ``transformers``' common interface, in one table.

Everything that differs between classes stands here: how a packed batch is kept apart, what carries the language, and
the pieces of the heads, each a function of some states only, so that logits are computed where they are asked for.
A class that is not in the table is encoded one text a row, with a plain two-dimensional mask.

Shape suffixes: D width, E width of the embeddings, N tokens, S texts, C classes, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor
from torch.nn.functional import gelu, relu

from interlingua.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ARCHITECTURES", "Architecture", "architecture", "architecture_or_plain", "head_piece"]

#: From a model with its head, and states, to other states or logits.
Piece = Callable[[Any, Tensor], Tensor]
#: The modules of the embeddings, and the modules of each layer, lowest first.
Stack = tuple[list[Any], list[list[Any]]]
Pooling = Literal["first", "last", "mean", "late"]


def _output_layer(model: Any) -> tuple[Tensor, Tensor | None]:
    output = model.get_output_embeddings()
    return output.weight, output.bias


@dataclass(frozen=True)
class Architecture:
    """One family of model classes.

    Attributes:
        family: ``config.model_type``.
        mask: how texts of a row are kept apart. ``block``: a 4-D boolean mask; ``sliding``: two of them (global and
            windowed attention); ``additive``: a 4-D mask of numbers (for classes that add a bias); ``disentangled``:
            a 4-D mask handed to DeBERTa's encoder; ``permutation``: XLNet's; ``rows``: not in one row at all.
        positions: whether the class takes ``position_ids`` (the others count along the row).
        position_offset: what positions begin at, added to ``pad_token_id`` (RoBERTa-like classes: 1).
        language_input: the argument that can carry the language: ``token_type_ids`` or ``langs``.
        stack: from the bare encoder to the modules of its embeddings and those of each of its layers, lowest first.
        layer_end: where adapters stand in a layer: the name of the norm that ends it, ``""`` where it ends in a plain
            sum, None where there is no one such place.
        layered: whether the encoder is ``embeddings`` followed by ``encoder.layer[i](states, mask)``, as BERT's.
        causal: from the config to whether tokens see only those before them.
        pooling: from the config to what the sequence classifier looks at: the ``first`` or ``last`` token, the
            ``mean``, or the mean after the classifier's hidden layer (``late``).
        masked_transform: states [N, D] to what the vocabulary's table is multiplied with, [N, E].
        output_layer: the vocabulary's table [V, E] and its bias [V].
        sequence_logits: pooled states [S, D] to class logits [S, C].
        choice_logits: pooled states [S, D] to scores [S, 1] of choices.
        token_logits: states [N, D] to tag logits [N, C].
        span_logits: states [N, D] to logits [N, 2] of being an answer's first and last token.
        replaced_logits: states [N, D] of a discriminator to logits [N] that the token was replaced.
        order_logits: first tokens' states [S, D] to logits [S, 2]: 0 in order, 1 not (next sentence, sentence order).
    """

    family: str
    mask: Literal["block", "sliding", "additive", "disentangled", "permutation", "rows"] = "block"
    positions: bool = True
    position_offset: int = 0
    language_input: Literal["token_type_ids", "langs"] | None = None
    stack: Callable[[Any], Stack] = lambda base: ([base.embeddings], [[layer] for layer in base.encoder.layer])
    layer_end: str | None = None
    layered: bool = False
    causal: Callable[[Any], bool] = lambda config: bool(getattr(config, "is_decoder", False))
    pooling: Callable[[Any], Pooling] = lambda config: "first"
    masked_transform: Piece | None = None
    output_layer: Callable[[Any], tuple[Tensor, Tensor | None]] = _output_layer
    sequence_logits: Piece | None = None
    choice_logits: Piece | None = None
    token_logits: Piece | None = None
    span_logits: Piece | None = None
    replaced_logits: Piece | None = None
    order_logits: Piece | None = None


def _albert_stack(base: Any) -> Stack:
    encoder, config = base.encoder, base.config
    groups = encoder.albert_layer_groups
    each = config.num_hidden_layers / config.num_hidden_groups
    layers = [[groups[int(i / each)]] for i in range(config.num_hidden_layers)]
    return [base.embeddings, encoder.embedding_hidden_mapping_in], layers


def _xlm_stack(base: Any) -> Stack:
    lowest = [base.embeddings, base.position_embeddings, base.layer_norm_emb]
    if hasattr(base, "lang_embeddings"):
        lowest.append(base.lang_embeddings)
    return lowest, [list(parts) for parts in zip(
        base.attentions, base.layer_norm1, base.ffns, base.layer_norm2, strict=True)]  # fmt: skip


def _bart_stack(base: Any) -> Stack:
    encoder = getattr(base, "encoder", base)
    lowest = [encoder.embed_tokens, encoder.embed_positions, encoder.layernorm_embedding]
    return lowest, [[layer] for layer in encoder.layers]


def _t5_stack(base: Any) -> Stack:
    encoder = getattr(base, "encoder", base)
    return [encoder.embed_tokens], [[block] for block in encoder.block]


def _electra_stack(base: Any) -> Stack:
    projection = [base.embeddings_project] if hasattr(base, "embeddings_project") else []
    return [base.embeddings, *projection], [[layer] for layer in base.encoder.layer]


def _deberta_stack(base: Any) -> Stack:
    # The table of relative positions is used by every layer; it counts as what they all stand on.
    encoder = base.encoder
    shared = [getattr(encoder, name) for name in ("rel_embeddings", "LayerNorm", "conv") if hasattr(encoder, name)]
    return [base.embeddings, *filter(None, shared)], [[layer] for layer in encoder.layer]


def _same(model: Any, states_ND: Tensor) -> Tensor:
    return states_ND


def _dropped(model: Any, states_ND: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.dropout(states_ND))
    return logits


def _linear(model: Any, states_ND: Tensor) -> Tensor:
    logits: Tensor = model.classifier(states_ND)
    return logits


def _spans(model: Any, states_ND: Tensor) -> Tensor:
    logits: Tensor = model.qa_outputs(states_ND)
    return logits


def _pooler_dropped(model: Any, pooled_SD: Tensor) -> Tensor:
    return _dropped(model, model.base_model.pooler(pooled_SD[:, None]))


def _summary_projected(model: Any, pooled_SD: Tensor) -> Tensor:
    logits: Tensor = model.logits_proj(model.sequence_summary(pooled_SD[:, None]))
    return logits


def _albert_sequence(model: Any, pooled_SD: Tensor) -> Tensor:
    return _dropped(model, _albert_pooled(model, pooled_SD))


def _distilbert_sequence(model: Any, pooled_SD: Tensor) -> Tensor:
    return _dropped(model, relu(model.pre_classifier(pooled_SD)))


def _first_of_one(model: Any, pooled_SD: Tensor) -> Tensor:
    """Heads that pick the first token themselves."""
    logits: Tensor = model.classifier(pooled_SD[:, None])
    return logits


def _albert_pooled(model: Any, pooled_SD: Tensor) -> Tensor:
    pooled: Tensor = model.albert.pooler_activation(model.albert.pooler(pooled_SD))
    return pooled


def _albert_transform(model: Any, states_ND: Tensor) -> Tensor:
    head = model.predictions
    states_NE: Tensor = head.LayerNorm(head.activation(head.dense(states_ND)))
    return states_NE


def _distilbert_transform(model: Any, states_ND: Tensor) -> Tensor:
    states: Tensor = model.vocab_layer_norm(model.activation(model.vocab_transform(states_ND)))
    return states


def _deberta_transform(model: Any, states_ND: Tensor) -> Tensor:
    if model.legacy:
        legacy: Tensor = model.cls.predictions.transform(states_ND)
        return legacy
    head = model.lm_predictions.lm_head
    states: Tensor = head.LayerNorm(head.transform_act_fn(head.dense(states_ND)))
    return states


def _deberta_output(model: Any) -> tuple[Tensor, Tensor | None]:
    # The newer head multiplies with the input table; its get_output_embeddings() is another layer.
    return _output_layer(model) if model.legacy else (
        model.get_input_embeddings().weight, model.lm_predictions.lm_head.bias
    )  # fmt: skip


def _modernbert_logits(model: Any, states_ND: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.drop(model.head(states_ND)))
    return logits


def _eurobert_sequence(model: Any, pooled_SD: Tensor) -> Tensor:
    if model.config.classifier_pooling != "late":
        pooled_SD = model.activation(model.dense(pooled_SD))
    logits: Tensor = model.classifier(pooled_SD)
    return logits


def _t5_family(name: str) -> Architecture:
    return Architecture(name, "additive", positions=False, stack=_t5_stack, token_logits=_dropped)


#: By ``config.model_type``.
ARCHITECTURES: dict[str, Architecture] = {
    a.family: a
    for a in (
        Architecture(
            "bert",
            language_input="token_type_ids",
            layer_end="output.LayerNorm",
            layered=True,
            masked_transform=lambda model, states_ND: model.cls.predictions.transform(states_ND),
            sequence_logits=_pooler_dropped,
            choice_logits=_pooler_dropped,
            token_logits=_dropped,
            span_logits=_spans,
            order_logits=lambda model, first_SD: model.cls.seq_relationship(model.bert.pooler(first_SD[:, None])),
        ),
        Architecture(
            "xlm-roberta",
            position_offset=1,
            language_input="token_type_ids",
            layer_end="output.LayerNorm",
            layered=True,
            masked_transform=lambda model, states_ND: model.lm_head.layer_norm(gelu(model.lm_head.dense(states_ND))),
            sequence_logits=_first_of_one,
            choice_logits=_pooler_dropped,
            token_logits=_dropped,
            span_logits=_spans,
        ),
        Architecture(
            "modernbert",
            "sliding",
            stack=lambda base: ([base.embeddings], [[layer] for layer in base.layers]),
            layer_end="",
            pooling=lambda config: "mean" if config.classifier_pooling == "mean" else "first",
            masked_transform=lambda model, states_ND: model.head(states_ND),
            sequence_logits=_modernbert_logits,
            choice_logits=_modernbert_logits,
            token_logits=_modernbert_logits,
            span_logits=_modernbert_logits,
        ),
        Architecture(
            "electra",
            language_input="token_type_ids",
            stack=_electra_stack,
            layer_end="output.LayerNorm",
            layered=True,
            masked_transform=lambda model, states_ND: model.generator_predictions(states_ND),
            sequence_logits=_first_of_one,
            choice_logits=lambda model, pooled_SD: model.classifier(model.sequence_summary(pooled_SD[:, None])),
            token_logits=_dropped,
            span_logits=_spans,
            replaced_logits=lambda model, states_ND: model.discriminator_predictions(states_ND),
        ),
        Architecture(
            "albert",
            language_input="token_type_ids",
            stack=_albert_stack,
            masked_transform=_albert_transform,
            sequence_logits=_albert_sequence,
            choice_logits=_albert_sequence,
            token_logits=_dropped,
            span_logits=_spans,
            order_logits=lambda model, first_SD: model.sop_classifier(_albert_pooled(model, first_SD)),
        ),
        Architecture(
            "distilbert",
            stack=lambda base: ([base.embeddings], [[layer] for layer in base.transformer.layer]),
            layer_end="output_layer_norm",
            masked_transform=_distilbert_transform,
            sequence_logits=_distilbert_sequence,
            choice_logits=_distilbert_sequence,
            token_logits=_dropped,
            span_logits=lambda model, states_ND: model.qa_outputs(model.dropout(states_ND)),
        ),
        Architecture(
            "eurobert",
            stack=lambda base: ([base.embed_tokens], [[layer] for layer in base.layers]),
            layer_end="",
            pooling=lambda config: "first" if config.classifier_pooling == "bos" else config.classifier_pooling,
            masked_transform=_same,
            sequence_logits=_eurobert_sequence,
            token_logits=_linear,
        ),
        Architecture(
            "deberta-v2",
            "disentangled",
            stack=_deberta_stack,
            layer_end="output.LayerNorm",
            masked_transform=_deberta_transform,
            output_layer=_deberta_output,
            sequence_logits=lambda model, pooled_SD: _dropped(model, model.pooler(pooled_SD[:, None])),
            token_logits=_dropped,
            span_logits=_spans,
            replaced_logits=lambda model, states_ND: _dropped(model, states_ND)[:, 0],
        ),
        Architecture(
            "xlm",
            "rows",
            language_input="langs",
            stack=_xlm_stack,
            causal=lambda config: bool(config.causal),
            masked_transform=_same,
            sequence_logits=lambda model, pooled_SD: model.sequence_summary(pooled_SD[:, None]),
            choice_logits=_summary_projected,
            token_logits=_dropped,
            span_logits=_spans,
        ),
        Architecture(
            "xlnet",
            "permutation",
            positions=False,
            stack=lambda base: ([base.word_embedding], [[layer] for layer in base.layer]),
            pooling=lambda config: "last",
            masked_transform=_same,
            sequence_logits=_summary_projected,
            choice_logits=_summary_projected,
            token_logits=_linear,
            span_logits=_spans,
        ),
        Architecture(
            "gpt2",
            stack=lambda base: ([base.wte, base.wpe], [[layer] for layer in base.h]),
            causal=lambda config: True,
            pooling=lambda config: "last",
            masked_transform=_same,
            sequence_logits=lambda model, pooled_SD: model.score(pooled_SD),
            token_logits=_dropped,
            span_logits=_spans,
        ),
        # The encoders of encoder-decoders. BART's positions are counted along the row, whatever is asked for.
        Architecture("bart", "rows", positions=False, stack=_bart_stack),
        Architecture("mbart", "rows", positions=False, stack=_bart_stack),
        _t5_family("t5"),
        _t5_family("mt5"),
    )
}


def architecture(model: PreTrainedModel) -> Architecture:
    """The table's entry for a model.

    Raises:
        CheckpointError: the class is not in the table.
    """
    family = model.config.model_type
    if family not in ARCHITECTURES:
        raise CheckpointError(
            f"a model of type {family!r}",
            expected=f"one of {sorted(ARCHITECTURES)}",
            where="config.json, field model_type",
            next_step="choose an encoder of one of these classes",
        )
    return ARCHITECTURES[family]


def architecture_or_plain(model: PreTrainedModel) -> Architecture:
    """The table's entry, or for any other class one that asks nothing of it: one text a row."""
    family = model.config.model_type
    known = ARCHITECTURES.get(family, Architecture(family, "rows", positions=False))
    # DeBERTa-v2 (not v3) may have a convolution over neighbouring tokens, which no mask keeps inside a text.
    if known.mask == "disentangled" and getattr(model.config, "conv_kernel_size", 0) > 0:
        return Architecture(family, "rows")
    return known


def head_piece(model: PreTrainedModel, name: str) -> Piece:
    """A piece of a model's head by its field in the table.

    Raises:
        CheckpointError: classes of this family have no such head.
    """
    piece: Piece | None = getattr(architecture(model), name)
    if piece is None:
        have = sorted(family for family, entry in ARCHITECTURES.items() if getattr(entry, name) is not None)
        raise CheckpointError(
            f"{name} of a {type(model).__name__}",
            expected=f"one of {have}",
            where="config.json, field model_type",
            next_step="choose an encoder of one of these classes",
        )
    return piece
