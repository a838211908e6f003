"""Mean pooling inside a plain BERT classifier.

Sentence encoders such as E5 put a text's meaning in the *mean* of its token states, but the sequence classifiers of
``transformers`` for BERT and XLM-R look at the first token only. :func:`add_mean_layer` appends one ordinary
encoder layer whose attention is uniform (queries and keys are 0) and whose value and output maps are multiples of the
identity, so that the first token's state becomes LayerNorm(state + c x mean of all states), practically the mean. The
checkpoint stays a plain ``BertForSequenceClassification``; the layer can be trained on like any other. Price: one
more layer.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from interlingua.errors import CheckpointError
from interlingua.models.architectures import architecture

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["add_mean_layer", "added_layer"]

#: c: how much the mean outweighs the first token's own state before the layer norm.
MEAN_WEIGHT = 16.0


@torch.no_grad()
def add_mean_layer(model: PreTrainedModel) -> None:
    """Append the averaging layer to an encoder, in place.

    Raises:
        CheckpointError: a class whose layers are not BERT's (ModernBERT classifiers have mean pooling of their own).
    """
    kind = architecture(model)
    if not kind.layered:
        raise CheckpointError(
            f"mean pooling by an added layer in a {kind.family}",
            expected="bert, xlm-roberta or electra",
            next_step="use config.classifier_pooling='mean' for modernbert",
        )
    encoder = model.base_model.encoder
    layer = copy.deepcopy(encoder.layer[-1])
    width = model.config.hidden_size
    attention, output = layer.attention.self, layer.attention.output
    for linear in (attention.query, attention.key):
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
    attention.value.weight.copy_(torch.eye(width))
    output.dense.weight.copy_(MEAN_WEIGHT * torch.eye(width))
    # The feed-forward block adds nothing: its output map is 0, its own layer norm leaves a normed state as it is.
    nn.init.zeros_(layer.output.dense.weight)
    for linear in (attention.value, output.dense, layer.output.dense):
        nn.init.zeros_(linear.bias)
    for norm in (output.LayerNorm, layer.output.LayerNorm):
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)
    if hasattr(attention, "layer_idx"):
        attention.layer_idx = len(encoder.layer)
    encoder.layer.append(layer)
    model.config.num_hidden_layers = len(encoder.layer)
    model.config.interlingua_mean_layer = True


def added_layer(model: PreTrainedModel) -> str | None:
    """Name in the bare encoder of the layer that :func:`add_mean_layer` added, if it did."""
    added = getattr(model.config, "interlingua_mean_layer", False)
    return f"encoder.layer.{model.config.num_hidden_layers - 1}" if added else None
