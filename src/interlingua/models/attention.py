"""From a :class:`~interlingua.batch.Batch` to hidden states, with no leak between packed texts.

In: any ``transformers`` encoder and a batch. Out: hidden states [B, L, D], and pooled vectors of segments [S, D].
Decision: resetting ``position_ids`` does not isolate packed texts in bidirectional encoders (transformers 5), so a
4-D block mask is always passed; classes with sliding attention (ModernBERT) get a second one. Price: the mask is
[B, 1, L, L] booleans, and attention inside a row is computed and then thrown away where texts differ; with rows of a
few hundred tokens that is under a tenth of the work.

What differs between classes stands in one table, :data:`ARCHITECTURES`.

Shape suffixes: B rows, L length, D width, S segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from interlingua.batch import Batch
from interlingua.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "architecture",
    "attention_mask",
    "block_mask",
    "encode",
    "encode_at",
    "hidden_states",
    "lower_states",
    "model_inputs",
    "pool_segments",
]


@dataclass(frozen=True)
class Architecture:
    """What the code must know of a model class beyond ``transformers``' common interface.

    Attributes:
        family: ``config.model_type``.
        position_offset: what is added to positions (RoBERTa-like classes start at ``pad_token_id + 1``).
        language_embeddings: whether ``token_type_ids`` can carry the language.
        sliding_attention: whether the class alternates global and windowed attention and wants a mask for each.
        masked_transform: from the model with its LM head and states [N, D] to what its output embeddings are
            multiplied with, [N, D].
        sequence_logits: from the sequence classifier and pooled states [S, D] to logits [S, C].
        token_logits: from the token classifier and states [N, D] to logits [N, C].
        layered: whether the encoder is ``embeddings`` followed by ``encoder.layer[i](states, mask)``.
    """

    family: str
    position_offset: int
    language_embeddings: bool
    sliding_attention: bool
    masked_transform: Callable[[Any, Tensor], Tensor]
    sequence_logits: Callable[[Any, Tensor], Tensor]
    token_logits: Callable[[Any, Tensor], Tensor]
    layered: bool


ARCHITECTURES: dict[str, Architecture] = {
    a.family: a
    for a in (
        Architecture(
            "bert",
            0,
            True,
            False,
            masked_transform=lambda model, states_ND: model.cls.predictions.transform(states_ND),
            sequence_logits=lambda model, pooled_SD: model.classifier(
                model.dropout(model.bert.pooler(pooled_SD[:, None]))
            ),
            token_logits=lambda model, states_ND: model.classifier(model.dropout(states_ND)),
            layered=True,
        ),
        Architecture(
            "xlm-roberta",
            2,
            True,
            False,
            masked_transform=lambda model, states_ND: model.lm_head.layer_norm(gelu(model.lm_head.dense(states_ND))),
            sequence_logits=lambda model, pooled_SD: model.classifier(pooled_SD[:, None]),
            token_logits=lambda model, states_ND: model.classifier(model.dropout(states_ND)),
            layered=True,
        ),
        Architecture(
            "modernbert",
            0,
            False,
            True,
            masked_transform=lambda model, states_ND: model.head(states_ND),
            sequence_logits=lambda model, pooled_SD: model.classifier(model.drop(model.head(pooled_SD))),
            token_logits=lambda model, states_ND: model.classifier(model.drop(model.head(states_ND))),
            layered=False,
        ),
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


def block_mask(batch: Batch, *, window: int | None = None) -> Tensor:
    """Which token may look at which.

    Args:
        batch: packed rows.
        window: for sliding attention: the largest distance in positions, either side.

    Returns:
        bool [B, 1, L, L], True where both tokens are of one segment (and near enough). Padding sees padding, so that
        no softmax is over nothing; nothing else sees it.
    """
    segments_BL = batch.segments_BL
    same = segments_BL[:, :, None] == segments_BL[:, None, :]
    if window is not None:
        # Distance along the row, not in positions: inside one segment the two are equal except in joined pairs, whose
        # positions restart, and there the distance along the row is what the model sees when the pair stands alone.
        index_L = torch.arange(segments_BL.shape[1], device=segments_BL.device)
        same = same & ((index_L[:, None] - index_L[None, :]).abs() <= window)
    return same[:, None]


def model_inputs(model: PreTrainedModel, batch: Batch) -> dict[str, Any]:
    """The keyword arguments with which the bare encoder is called on a batch."""
    kind = architecture(model)
    config = model.config
    offset = config.pad_token_id + 1 if kind.position_offset else 0
    inputs: dict[str, Any] = {"input_ids": batch.tokens_BL, "position_ids": batch.positions_BL + offset}
    full_mask = attention_mask(batch)
    if kind.sliding_attention and full_mask is not None:
        inputs["attention_mask"] = {
            "full_attention": full_mask,
            "sliding_attention": block_mask(batch, window=config.sliding_window),
        }
    else:
        inputs["attention_mask"] = full_mask
    if kind.language_embeddings:
        marked = config.type_vocab_size > 1 and getattr(config, "interlingua_languages", None)
        types_BL = batch.languages_BL if marked else batch.types_BL
        inputs["token_type_ids"] = torch.zeros_like(batch.tokens_BL) if types_BL is None else types_BL
    return inputs


def attention_mask(batch: Batch) -> Tensor | None:
    """The block mask, or None where there is nothing to keep apart and nothing padded (the fast kernels' case)."""
    one_text_a_row = bool((batch.segments_BL == batch.segments_BL[:, :1]).all())
    return None if one_text_a_row else block_mask(batch)


def lower_states(model: PreTrainedModel, batch: Batch, layers: int) -> Tensor:
    """Hidden states [B, L, D] after the lowest ``layers`` layers; for BERT- and XLM-R-like encoders."""
    inputs = model_inputs(model, batch)
    mask = inputs.pop("attention_mask")
    states_BLD: Tensor = model.base_model.embeddings(**inputs)
    return _run_layers(model.base_model.encoder.layer[:layers], states_BLD, mask)


def _run_layers(layers: Any, states_BLD: Tensor, mask: Tensor | None) -> Tensor:
    for layer in layers:
        out = layer(states_BLD, mask)
        states_BLD = out[0] if isinstance(out, tuple) else out
    return states_BLD


def encode(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Last hidden states [B, L, D] of a packed batch."""
    if batch.states_BLD is not None:
        upper = model.base_model.encoder.layer[batch.states_layer :]
        return _run_layers(upper, batch.states_BLD.to(model.dtype), attention_mask(batch))
    states: Tensor = model.base_model(**model_inputs(model, batch)).last_hidden_state
    return states


def encode_at(model: PreTrainedModel, batch: Batch, chosen_BL: Tensor) -> Tensor:
    """Last hidden states of chosen tokens only: ``encode(model, batch)[chosen_BL]`` for less work.

    The last layer's other tokens are needed as keys and values alone, so its queries, output map and feed-forward
    block run on the chosen ones. At 15 % masking that is a tenth of a 6-layer network's work.

    Args:
        model: any encoder of the table; classes whose layers are not BERT's run whole.
        batch: packed rows.
        chosen_BL: bool, True where states are wanted.

    Returns:
        [N, D] in row-major order of the chosen tokens.
    """
    if not architecture(model).layered:
        return encode(model, batch)[chosen_BL]
    *lower, last = model.base_model.encoder.layer
    mask = attention_mask(batch)
    if batch.states_BLD is None:
        states_BLD = lower_states(model, batch, len(lower))
    elif batch.states_layer <= len(lower):
        states_BLD = _run_layers(lower[batch.states_layer :], batch.states_BLD.to(model.dtype), mask)
    else:
        return batch.states_BLD.to(model.dtype)[chosen_BL]
    # Chosen tokens to the left, in order; rows with fewer than the most are filled up with others and cut again.
    counts_B = chosen_BL.sum(dim=1)
    most = int(counts_B.max()) if len(counts_B) else 0
    left_BM = chosen_BL.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    wanted_BM = torch.arange(most, device=left_BM.device) < counts_B[:, None]
    queries_BMD = states_BLD.gather(1, left_BM[..., None].expand(-1, -1, states_BLD.shape[-1]))
    if mask is not None:
        mask = mask.gather(2, left_BM[:, None, :, None].expand(-1, -1, -1, mask.shape[-1]))
    attention = last.attention.self

    def heads(linear: nn.Linear, of_BXD: Tensor) -> Tensor:
        mapped_BXD: Tensor = linear(of_BXD)
        return mapped_BXD.view(
            *of_BXD.shape[:2], attention.num_attention_heads, attention.attention_head_size
        ).transpose(1, 2)

    context_BHMK = scaled_dot_product_attention(
        heads(attention.query, queries_BMD),
        heads(attention.key, states_BLD),
        heads(attention.value, states_BLD),
        attn_mask=mask,
        dropout_p=attention.dropout.p if attention.training else 0.0,
    )
    context_ND = context_BHMK.transpose(1, 2).flatten(2)[wanted_BM]
    states_ND: Tensor = last.feed_forward_chunk(last.attention.output(context_ND, queries_BMD[wanted_BM]))
    return states_ND


def hidden_states(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, ...]:
    """Hidden states of every layer, the embedding's first: (layers + 1) x [B, L, D]."""
    output = model.base_model(**model_inputs(model, batch), output_hidden_states=True)
    states: tuple[Tensor, ...] = output.hidden_states
    return states


def pool_segments(states_BLD: Tensor, batch: Batch, *, how: str = "mean", specials: bool = True) -> Tensor:
    """One vector a segment.

    Args:
        states_BLD: hidden states [B, L, D].
        batch: the batch they came from.
        how: ``"mean"`` over the segment's tokens or its ``"first"`` token.
        specials: whether special tokens count in the mean (sentence encoders such as E5 count them).

    Returns:
        [S, D], row ``s - 1`` for segment ``s``.
    """
    count = batch.segments
    flat_ND = states_BLD.reshape(-1, states_BLD.shape[-1])
    segments_N = batch.segments_BL.reshape(-1)
    if how == "first":
        first_N = torch.full((count + 1,), segments_N.numel(), device=segments_N.device)
        order_N = torch.arange(segments_N.numel(), device=segments_N.device)
        first_N = first_N.scatter_reduce(0, segments_N, order_N, "amin")
        return flat_ND[first_N[1:]]
    use_N = segments_N > 0
    if not specials:
        use_N = use_N & ~batch.special_BL.reshape(-1)
    chosen = use_N.nonzero()[:, 0]
    sums_SD = flat_ND.new_zeros(count + 1, flat_ND.shape[-1]).index_add(0, segments_N[chosen], flat_ND[chosen])
    counts_S = flat_ND.new_zeros(count + 1).index_add(0, segments_N[chosen], flat_ND.new_ones(len(chosen)))
    return sums_SD[1:] / counts_S[1:, None].clamp(min=1)
