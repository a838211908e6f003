"""From a :class:`~interlingua.batch.Batch` to hidden states, with no leak between packed texts.

In: any ``transformers`` encoder and a batch. Out: hidden states [B, L, D], and pooled vectors of segments [S, D].
Decision: resetting ``position_ids`` does not isolate packed texts in bidirectional encoders (transformers 5), so a
block mask is always passed, in whatever form the class takes one; classes that take none (XLM, BART, and all that the
table does not know) are run on the same texts laid out one a row, and their states put back. Price: the mask is
[B, 1, L, L] booleans, and attention inside a row is computed and then thrown away where texts differ; with rows of a
few hundred tokens that is under a tenth of the work.

What differs between classes stands in one table, :mod:`interlingua.models.architectures`.

Shape suffixes: B rows, L length, D width, S segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from interlingua.batch import Batch
from interlingua.models.architectures import ARCHITECTURES, Architecture, architecture, architecture_or_plain
from interlingua.models.linear import quick_linear
from interlingua.models.prompts import prefix_of
from interlingua.models.separate import spoken_in
from interlingua.models.varlen import attend, bounds_of, is_varlen

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "ARCHITECTURES",
    "POOLINGS",
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


def block_mask(batch: Batch, *, window: int | None = None, causal: bool = False) -> Tensor:
    """Which token may look at which.

    Args:
        batch: packed rows.
        window: for sliding attention: the largest distance in positions, either side.
        causal: tokens see themselves and those before them only.

    Returns:
        bool [B, 1, L, L], True where both tokens are of one segment (and near enough). Padding sees padding, so that
        no softmax is over nothing; nothing else sees it.
    """
    segments_BL = batch.segments_BL
    same = segments_BL[:, :, None] == segments_BL[:, None, :]
    # Along the row, not in positions: inside one segment the two are equal except in joined pairs, whose positions
    # restart, and there the distance along the row is what the model sees when the pair stands alone.
    index_L = torch.arange(segments_BL.shape[1], device=segments_BL.device)
    if window is not None:
        same = same & ((index_L[:, None] - index_L[None, :]).abs() <= window)
    if causal:
        same = same & (index_L[:, None] >= index_L[None, :])
    return same[:, None]


def attention_mask(model: PreTrainedModel, batch: Batch) -> Tensor | None:
    """The block mask, or None where there is nothing to keep apart and nothing padded (the fast kernels' case)."""
    causal = architecture_or_plain(model).causal(model.config)
    one_text_a_row = bool((batch.segments_BL == batch.segments_BL[:, :1]).all())
    return None if one_text_a_row and not causal else block_mask(batch, causal=causal)


def model_inputs(model: PreTrainedModel, batch: Batch) -> dict[str, Any]:
    """The keyword arguments with which the bare encoder is called on a batch.

    For classes that cannot keep packed texts apart the batch must hold one text a row, from its beginning.
    """
    kind, config = architecture_or_plain(model), model.config
    inputs: dict[str, Any] = {"input_ids": batch.tokens_BL}
    prefix = prefix_of(model)
    if kind.positions:
        offset = config.pad_token_id + kind.position_offset if kind.position_offset else 0
        offset += prefix.length if prefix else 0
        inputs["position_ids"] = batch.positions_BL + offset
    listed = getattr(config, "interlingua_languages", None)
    if kind.language_input == "token_type_ids":
        types_BL = batch.languages_BL if config.type_vocab_size > 1 and listed else batch.types_BL
        inputs["token_type_ids"] = torch.zeros_like(batch.tokens_BL) if types_BL is None else types_BL
    elif kind.language_input == "langs" and listed:
        inputs["langs"] = batch.languages_BL
    elif batch.types_BL is not None and kind.family in {"xlnet", "deberta-v2"}:
        inputs["token_type_ids"] = batch.types_BL
    if prefix:
        mask = torch.nn.functional.pad(block_mask(batch), (prefix.length, 0), value=True)
        return inputs | {"attention_mask": mask, "past_key_values": prefix.cache(batch.rows, model.dtype)}
    return inputs | _mask_inputs(model, kind, batch)


def _mask_inputs(model: PreTrainedModel, kind: Architecture, batch: Batch) -> dict[str, Any]:
    """The part of the keyword arguments that keeps texts apart."""
    if kind.mask == "rows":
        return {"attention_mask": (batch.segments_BL > 0).long()}
    if kind.mask == "permutation":
        return {"perm_mask": (~block_mask(batch)[:, 0]).to(model.dtype), "use_mems": False}
    # A decoder that is to keep its keys for later would copy all of them here.
    cache = {"use_cache": False} if kind.causal(model.config) else {}
    if is_varlen(model):
        return {"attention_mask": None} | _varlen_inputs(batch) | cache
    mask = attention_mask(model, batch)
    if kind.mask == "disentangled":
        return {"attention_mask": block_mask(batch) if mask is None else mask}
    if kind.mask == "additive" and mask is not None:
        away = torch.finfo(model.dtype).min
        return {"attention_mask": torch.zeros_like(mask, dtype=model.dtype).masked_fill(~mask, away)}
    if kind.mask == "sliding" and mask is not None:
        sliding = block_mask(batch, window=model.config.sliding_window)
        return {"attention_mask": {"full_attention": mask, "sliding_attention": sliding}}
    return {"attention_mask": mask} | cache


def _varlen_inputs(batch: Batch) -> dict[str, Any]:
    """The names are transformers' own for such kernels."""
    bounds = bounds_of(batch)
    ends, longest = bounds.ends, bounds.longest
    return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}


def _bare_encoder(model: PreTrainedModel) -> Any:
    base: Any = model.base_model
    return base.encoder if hasattr(base, "encoder") and hasattr(base, "decoder") else base


def _one_a_row(batch: Batch) -> tuple[Batch, Callable[[Tensor], Tensor]]:
    """The same texts one a row, and what puts states [S, X, D] of them back to where the texts were: [B, L, D]."""
    segments_N = batch.segments_BL.flatten()
    order_N = torch.argsort(segments_N, stable=True)
    from_N = order_N[segments_N[order_N] > 0]
    row_N = segments_N[from_N] - 1
    counts_S = torch.bincount(row_N, minlength=batch.segments)
    column_N = torch.arange(len(row_N), device=row_N.device) - (counts_S.cumsum(0) - counts_S)[row_N]
    shape = (batch.segments, int(counts_S.max()) if len(counts_S) else 0)

    def lay(values_BL: Tensor, fill: int = 0) -> Tensor:
        return values_BL.new_full(shape, fill).index_put((row_N, column_N), values_BL.flatten()[from_N])

    def back(states_SXD: Tensor) -> Tensor:
        flat = states_SXD.new_zeros(segments_N.numel(), states_SXD.shape[-1])
        return flat.index_put((from_N,), states_SXD[row_N, column_N]).view(*batch.segments_BL.shape, -1)

    # Any id will do for padding, which the mask hides; 0 is in every vocabulary.
    apart = replace(
        batch,
        tokens_BL=lay(batch.tokens_BL),
        segments_BL=lay(batch.segments_BL),
        positions_BL=lay(batch.positions_BL),
        languages_BL=lay(batch.languages_BL),
        types_BL=None if batch.types_BL is None else lay(batch.types_BL),
    )
    return apart, back


def _states(model: PreTrainedModel, batch: Batch, *, every_layer: bool) -> tuple[Tensor, ...]:
    """The last layer's states, or every layer's, [B, L, D] each."""
    network, kind = _bare_encoder(model), architecture_or_plain(model)
    if kind.mask == "rows":
        batch, back = _one_a_row(batch)
    inputs = model_inputs(model, batch)
    with spoken_in(batch.languages_BL, batch.language_names), quick_linear():
        if kind.mask == "disentangled":
            # DeBERTa multiplies its embeddings with the mask it is called with, which must be of two dimensions there.
            mask = inputs.pop("attention_mask")
            output = network.encoder(network.embeddings(**inputs), mask, output_hidden_states=every_layer)
        else:
            output = network(**inputs, **({"output_hidden_states": True} if every_layer else {}))
    states: tuple[Tensor, ...] = output.hidden_states if every_layer else (output.last_hidden_state,)
    return tuple(back(layer) for layer in states) if kind.mask == "rows" else tuple(states)


def lower_states(model: PreTrainedModel, batch: Batch, layers: int) -> Tensor:
    """Hidden states [B, L, D] after the lowest ``layers`` layers; for encoders with BERT's layers."""
    inputs = model_inputs(model, batch)
    for name in _mask_inputs(model, architecture_or_plain(model), batch):
        inputs.pop(name)
    with spoken_in(batch.languages_BL, batch.language_names):
        states_BLD: Tensor = model.base_model.embeddings(**inputs)
        if hasattr(model.base_model, "embeddings_project"):  # ELECTRA with embeddings of another width
            states_BLD = model.base_model.embeddings_project(states_BLD)
    return _run_layers(model, model.base_model.encoder.layer[:layers], states_BLD, batch)


def _run_layers(model: PreTrainedModel, layers: Any, states_BLD: Tensor, batch: Batch) -> Tensor:
    kept_apart = _mask_inputs(model, architecture_or_plain(model), batch)
    kept_apart.pop("use_cache", None)
    with spoken_in(batch.languages_BL, batch.language_names), quick_linear():
        for layer in layers:
            out = layer(states_BLD, **kept_apart)
            states_BLD = out[0] if isinstance(out, tuple) else out
    return states_BLD


def encode(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Last hidden states [B, L, D] of a packed batch."""
    if batch.states_BLD is not None:
        upper = model.base_model.encoder.layer[batch.states_layer :]
        return _run_layers(model, upper, batch.states_BLD.to(model.dtype), batch)
    return _states(model, batch, every_layer=False)[0]


def encode_at(model: PreTrainedModel, batch: Batch, chosen_BL: Tensor) -> Tensor:
    """Last hidden states of chosen tokens only: ``encode(model, batch)[chosen_BL]`` for less work.

    The last layer's other tokens are needed as keys and values alone, so its queries, output map and feed-forward
    block run on the chosen ones. At 15 % masking that is a tenth of a 6-layer network's work.

    Args:
        model: any encoder; classes whose layers are not BERT's run whole.
        batch: packed rows.
        chosen_BL: bool, True where states are wanted.

    Returns:
        [N, D] in row-major order of the chosen tokens.
    """
    if not architecture_or_plain(model).layered or prefix_of(model):
        return encode(model, batch)[chosen_BL]
    *lower, last = model.base_model.encoder.layer
    if batch.states_BLD is None:
        states_BLD = lower_states(model, batch, len(lower))
    elif batch.states_layer <= len(lower):
        states_BLD = _run_layers(model, lower[batch.states_layer :], batch.states_BLD.to(model.dtype), batch)
    else:
        return batch.states_BLD.to(model.dtype)[chosen_BL]
    with quick_linear(), spoken_in(batch.languages_BL[chosen_BL], batch.language_names):
        context_ND, before_ND = (_context_by_text if is_varlen(model) else _context_under_mask)(
            model, last.attention.self, states_BLD, batch, chosen_BL
        )
        states_ND: Tensor = last.feed_forward_chunk(last.attention.output(context_ND, before_ND))
    return states_ND


def _context_by_text(
    model: PreTrainedModel, attention: Any, states_BLD: Tensor, batch: Batch, chosen_BL: Tensor
) -> tuple[Tensor, Tensor]:
    """What attention finds for chosen tokens, and their states before: [N, D] each."""
    bounds = bounds_of(batch)
    chosen_ND = states_BLD[chosen_BL]
    heads = (-1, attention.num_attention_heads, attention.attention_head_size)
    context_NHK = attend(
        attention.query(chosen_ND).view(heads),
        attention.key(states_BLD).view(heads),
        attention.value(states_BLD).view(heads),
        bounds.of(chosen_BL).ends,
        bounds.ends,
        bounds.longest,
        scale=attention.attention_head_size**-0.5,
    )
    return context_NHK.flatten(1), chosen_ND


def _context_under_mask(
    model: PreTrainedModel, attention: Any, states_BLD: Tensor, batch: Batch, chosen_BL: Tensor
) -> tuple[Tensor, Tensor]:
    """The same with the block mask."""
    mask = attention_mask(model, batch)
    # Chosen tokens to the left, in order; rows with fewer than the most are filled up with others and cut again.
    counts_B = chosen_BL.sum(dim=1)
    most = int(counts_B.max()) if len(counts_B) else 0
    left_BM = chosen_BL.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    wanted_BM = torch.arange(most, device=left_BM.device) < counts_B[:, None]
    queries_BMD = states_BLD.gather(1, left_BM[..., None].expand(-1, -1, states_BLD.shape[-1]))
    if mask is not None:
        mask = mask.gather(2, left_BM[:, None, :, None].expand(-1, -1, -1, mask.shape[-1]))

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
    return context_BHMK.transpose(1, 2).flatten(2)[wanted_BM], queries_BMD[wanted_BM]


def hidden_states(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, ...]:
    """Hidden states of every layer, the embedding's first: (layers + 1) x [B, L, D]."""
    return _states(model, batch, every_layer=True)


#: Ways to make one vector of a segment.
POOLINGS = ("mean", "first", "max")


def pool_segments(states_BLD: Tensor, batch: Batch, *, how: str = "mean", specials: bool = True) -> Tensor:
    """One vector a segment.

    Args:
        states_BLD: hidden states [B, L, D].
        batch: the batch they came from.
        how: one of :data:`POOLINGS`: ``"mean"`` over the segment's tokens, its ``"first"`` token, or the ``"max"``
            of every dimension.
        specials: whether special tokens count in the mean and the max (sentence encoders such as E5 count them).

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
    if how == "max":
        lowest_SD = flat_ND.new_full((count + 1, flat_ND.shape[-1]), -torch.inf)
        places_ND = segments_N[chosen, None].expand(-1, flat_ND.shape[-1])
        return lowest_SD.scatter_reduce(0, places_ND, flat_ND[chosen], "amax")[1:]
    sums_SD = flat_ND.new_zeros(count + 1, flat_ND.shape[-1]).index_add(0, segments_N[chosen], flat_ND[chosen])
    counts_S = flat_ND.new_zeros(count + 1).index_add(0, segments_N[chosen], flat_ND.new_ones(len(chosen)))
    return sums_SD[1:] / counts_S[1:, None].clamp(min=1)
