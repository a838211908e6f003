"""Encoder-decoders: from source and target ids to the losses of the target's tokens.

Logits are computed only where a target token stands, a block of rows at a time (see :mod:`interlingua.models.head`).

Shape suffixes: S texts, X source length, Y target length, N target tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from interlingua.models.head import linear_cross_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["decoder_states", "target_losses"]


def decoder_states(model: PreTrainedModel, source_SX: Tensor, mask_SX: Tensor, decoder_SY: Tensor) -> Tensor:
    """The decoder's last states [S, Y, D], as the output map takes them.

    Args:
        model: an ``AutoModelForSeq2SeqLM`` of the BART or T5 family.
        source_SX: source ids, padded.
        mask_SX: True at source tokens.
        decoder_SY: what the decoder is shown: the target one place to the right. Padding may stand at its end only.
    """
    config: Any = model.config
    memory_SXD = model.get_encoder()(input_ids=source_SX, attention_mask=mask_SX).last_hidden_state
    states_SYD: Tensor = model.get_decoder()(
        input_ids=decoder_SY,
        encoder_hidden_states=memory_SXD,
        encoder_attention_mask=mask_SX,
        use_cache=False,
    ).last_hidden_state
    # T5 1.0 ties its tables and scales; transformers before 5.20 had no field of its own for it.
    scaled = config.model_type in {"t5", "mt5"} and getattr(config, "scale_decoder_outputs", config.tie_word_embeddings)
    return states_SYD * config.d_model**-0.5 if scaled else states_SYD


def target_losses(
    model: PreTrainedModel, source_SX: Tensor, mask_SX: Tensor, decoder_SY: Tensor, labels_SY: Tensor
) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy of the target tokens, and each of them [N] without a gradient.

    Args:
        model: an encoder-decoder with its output map.
        source_SX: source ids, padded.
        mask_SX: True at source tokens.
        decoder_SY: the target one place to the right.
        labels_SY: the target's ids, -100 where there is none.
    """
    wanted_SY = labels_SY >= 0
    states_ND = decoder_states(model, source_SX, mask_SX, decoder_SY)[wanted_SY]
    output: Any = model.get_output_embeddings()
    bias_1V = getattr(model, "final_logits_bias", None)
    bias_V = output.bias if bias_1V is None else bias_1V[0]
    return linear_cross_entropy(states_ND, output.weight, bias_V, labels_SY[wanted_SY])
