"""Encoder-decoders: from source and target ids to the losses of the target's tokens, and from source to target ids.

Logits are computed only where a target token stands, a block of rows at a time (see :mod:`interlingua.models.head`).
Decision: texts of about the same length are run together, so a batch may be drawn at random without being padded to its
longest text; decoding is ``generate`` of ``transformers``. Price: as many passes as there are such groups.

Shape suffixes: S texts, X source length, Y target length, N target tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from interlingua.models.architectures import head_piece
from interlingua.models.head import linear_cross_entropy, output_layer
from interlingua.models.linear import quick_linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["decoder_states", "generated", "padded_ids", "target_losses"]

#: Texts of a batch that are padded together, at least, and groups of a batch, at most.
GROUP, GROUPS = 8, 4


def decoder_states(model: PreTrainedModel, source_SX: Tensor, mask_SX: Tensor, decoder_SY: Tensor) -> Tensor:
    """The decoder's last states [S, Y, D], as the output map takes them.

    Args:
        model: an ``AutoModelForSeq2SeqLM``: of the BART or T5 family, or two encoders put together.
        source_SX: source ids, padded.
        mask_SX: True at source tokens.
        decoder_SY: what the decoder is shown: the target one place to the right. Padding may stand at its end only.
    """
    config: Any = model.config
    memory_SXD = model.get_encoder()(input_ids=source_SX, attention_mask=mask_SX).last_hidden_state
    if hasattr(model, "enc_to_dec_proj"):
        memory_SXD = model.enc_to_dec_proj(memory_SXD)
    states_SYD: Tensor = (
        model.get_decoder()
        .base_model(
            input_ids=decoder_SY,
            encoder_hidden_states=memory_SXD,
            encoder_attention_mask=mask_SX,
            use_cache=False,
        )
        .last_hidden_state
    )
    # T5 1.0 ties its tables and scales; transformers before 5.20 had no field of its own for it.
    scaled = config.model_type in {"t5", "mt5"} and getattr(config, "scale_decoder_outputs", config.tie_word_embeddings)
    return states_SYD * config.d_model**-0.5 if scaled else states_SYD


def _output(model: Any, states_ND: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """What the last linear map is fed with, its weight and its bias."""
    if model.config.model_type == "encoder-decoder":
        return (head_piece(model.decoder, "masked_transform")(model.decoder, states_ND), *output_layer(model.decoder))
    output = model.get_output_embeddings()
    bias_1V = getattr(model, "final_logits_bias", None)
    return states_ND, output.weight, output.bias if bias_1V is None else bias_1V[0]


def _groups(mask_SX: Tensor, labels_SY: Tensor) -> list[Tensor]:
    """Indices of texts of about the same length."""
    lengths_S = mask_SX.sum(dim=1) + (labels_SY >= 0).sum(dim=1)
    order_S = torch.argsort(lengths_S, stable=True)
    return list(torch.tensor_split(order_S, max(1, min(GROUPS, len(order_S) // GROUP))))


def target_losses(
    model: PreTrainedModel,
    source_SX: Tensor,
    mask_SX: Tensor,
    decoder_SY: Tensor,
    labels_SY: Tensor,
    *,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy of the target tokens, and each of them [N] without a gradient and without smoothing.

    Args:
        model: an encoder-decoder with its output map.
        source_SX: source ids, padded.
        mask_SX: True at source tokens.
        decoder_SY: the target one place to the right.
        labels_SY: the target's ids, -100 where there is none.
        smoothing: share of the probability that is spread over the vocabulary (Szegedy et al. 2016), as
            ``F.cross_entropy`` has it.
    """
    found: list[Tensor] = []
    groups = _groups(mask_SX, labels_SY)
    with quick_linear():
        for texts in groups:
            wanted = labels_SY[texts] >= 0
            x, y = (int(known.sum(dim=1).max()) for known in (mask_SX[texts], wanted))
            states = decoder_states(model, source_SX[texts, :x], mask_SX[texts, :x], decoder_SY[texts, :y])
            found.append(states[wanted[:, :y]])
        states_ND, weight_VD, bias_V = _output(model, torch.cat(found))
    labels_N = torch.cat([labels_SY[texts][labels_SY[texts] >= 0] for texts in groups])
    total, grouped_N = linear_cross_entropy(states_ND, weight_VD, bias_V, labels_N)
    if smoothing:
        # Against every label alike the loss is logsumexp - mean logit; against the right one logsumexp - its logit.
        lead_ND = weight_VD[labels_N] - weight_VD.mean(dim=0)
        lead_N = (states_ND * lead_ND).sum(dim=1)
        if bias_V is not None:
            lead_N = lead_N + bias_V[labels_N] - bias_V.mean()
        total = total + smoothing * lead_N.to(total.dtype).sum()
    # Back in the order of the texts.
    of_SY = torch.arange(len(labels_SY), device=labels_SY.device)[:, None].expand_as(labels_SY)
    of_N = torch.cat([of_SY[texts][labels_SY[texts] >= 0] for texts in groups])
    return total, grouped_N[torch.argsort(of_N, stable=True)]


def padded_ids(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Lists of ids as an int64 matrix."""
    width = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.long).reshape(-1, width)


def generated(
    model: PreTrainedModel,
    sources: Sequence[Sequence[int]],
    starts: Sequence[int],
    *,
    longest: int,
    beam: int = 1,
    length_penalty: float = 1.0,
    sample: bool = False,
) -> list[list[int]]:
    """What the network writes for each source: ids without the start, the end and padding.

    Args:
        model: an encoder-decoder in evaluation mode, with its generation config.
        sources: ids with specials.
        starts: what each text begins with: the token of its language.
        longest: tokens of a text at most.
        beam: hypotheses kept; 1 takes the likeliest token each time.
        length_penalty: beam: scores are divided by length to this power.
        sample: draw from the distribution instead.
    """
    config: Any = model.generation_config
    source_SX = padded_ids(sources, config.pad_token_id)
    mask_SX = padded_ids([[1] * len(source) for source in sources], 0)
    more: dict[str, Any] = {"length_penalty": length_penalty, "early_stopping": False} if beam > 1 else {}
    generate: Any = model.generate
    with torch.no_grad(), quick_linear():
        out = generate(
            input_ids=source_SX.to(model.device),
            attention_mask=mask_SX.to(model.device),
            decoder_start_token_id=list(starts),
            max_length=longest + 1,
            num_beams=beam,
            do_sample=sample,
            **({"top_k": 0} if sample else {}),
            **more,
        )
    ends = {config.eos_token_id, config.pad_token_id}
    rows = []
    for row in out[:, 1:].tolist():
        end = next((place for place, token in enumerate(row) if token in ends), len(row))
        rows.append(row[:end])
    return rows
