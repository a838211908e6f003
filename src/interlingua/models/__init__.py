"""Models: ``transformers`` classes, built by preset, opened by name, run on packed batches."""

from interlingua.models.attention import (
    ARCHITECTURES,
    POOLINGS,
    architecture,
    block_mask,
    encode,
    encode_at,
    hidden_states,
    pool_segments,
)
from interlingua.models.build import HEADS, build_model, check_model, reinitialised
from interlingua.models.checkpoint import open_checkpoint, save_checkpoint
from interlingua.models.encoder import Encoder, load
from interlingua.models.head import (
    linear_cross_entropy,
    masked_logits,
    masked_losses,
    pooled_states,
    sequence_logits,
    token_logits,
)
from interlingua.models.pooling import add_mean_layer
from interlingua.models.presets import PRESETS, Preset, preset

__all__ = [
    "ARCHITECTURES",
    "HEADS",
    "POOLINGS",
    "PRESETS",
    "Encoder",
    "Preset",
    "add_mean_layer",
    "architecture",
    "block_mask",
    "build_model",
    "check_model",
    "encode",
    "encode_at",
    "hidden_states",
    "linear_cross_entropy",
    "load",
    "masked_logits",
    "masked_losses",
    "open_checkpoint",
    "pool_segments",
    "pooled_states",
    "preset",
    "reinitialised",
    "save_checkpoint",
    "sequence_logits",
    "token_logits",
]
