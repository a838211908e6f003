"""A task's head on an encoder, as plain ``transformers`` has it.

In: an encoder and a task. Out: the encoder's network in the class that ``transformers`` has for the task, with a fresh
head, and the tokenizer the task is taught with. Decision: sentence encoders keep their mean pooling (by one added
layer, see :mod:`interlingua.models.pooling`) and their text prefix (in the tokenizer's template), so that nothing of
ours is needed to use the result. Price: one more layer for them.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.models.encoder import Encoder
    from interlingua.recipe_transfer import TuneRecipe
    from interlingua.tasks import Task

__all__ = ["body_and_head", "has_pretrained_head", "new_head", "parameter_groups", "task_tokenizer"]


def new_head(encoder: Encoder, task: Task, *, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder's network with a fresh head for the task, in the class plain ``transformers`` has for it.

    A task that is done with the pretrained network's own head keeps that.

    Raises:
        CheckpointError: ``transformers`` has no such class for this family, or the checkpoint no such head.
    """
    import torch
    import transformers

    from interlingua.errors import CheckpointError
    from interlingua.models.architectures import architecture
    from interlingua.models.pooling import add_mean_layer

    if task.pretrained_head:
        return _pretrained(encoder, task), task_tokenizer(encoder, task)
    config = copy.deepcopy(encoder.model.config)
    for name, value in task.config().items():
        setattr(config, name, value)
    sentence_encoder = bool(encoder.prefix) or getattr(config, "interlingua_pooling", "") == "mean"
    if architecture(encoder.model).family == "modernbert" and task.whole_texts:
        config.classifier_pooling = "mean"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model: PreTrainedModel = getattr(transformers, task.auto).from_config(config)
        except ValueError as error:
            raise CheckpointError(
                f"a {config.model_type} for a task of type {task.kind!r}",
                expected=f"a class that {task.auto} knows",
                next_step="choose another encoder for this task",
            ) from error
        body = encoder.model.base_model.state_dict()
        model.base_model.load_state_dict(body, strict=False)
        if sentence_encoder and task.whole_texts and architecture(model).layered:
            add_mean_layer(model)
            _open_pooler(model)
    model.config.interlingua_prefix = ""
    return model, task_tokenizer(encoder, task)


def _pretrained(encoder: Encoder, task: Task) -> PreTrainedModel:
    """The encoder's network with the head it was pretrained with."""
    import transformers

    from interlingua.errors import CheckpointError
    from interlingua.models.checkpoint import open_checkpoint

    if has_pretrained_head(encoder.model):
        return copy.deepcopy(encoder.model)
    if encoder.folder is None:
        raise CheckpointError(
            f"encoder {encoder.name!r} without a head, and not from a folder that may have one",
            expected=f"what {task.auto} opened, or a name or folder of a checkpoint with that head",
            next_step="give its folder, or choose task.type=classify, which needs no pretrained head",
        )
    model, _ = open_checkpoint(encoder.folder, getattr(transformers, task.auto), with_head=True)
    model.base_model.load_state_dict(encoder.model.base_model.state_dict(), strict=False)
    return model


def has_pretrained_head(model: PreTrainedModel) -> bool:
    """Whether a network's head was pretrained with it, as those over a vocabulary are, and is not new with a task."""
    return model.get_output_embeddings() is not None


def task_tokenizer(encoder: Encoder, task: Task) -> PreTrainedTokenizerBase:
    """The tokenizer a task is taught with: for whole texts, one that puts the encoder's prefix before each."""
    return _with_prefix(encoder.tokenizer, encoder.prefix) if task.whole_texts else encoder.tokenizer


def _with_prefix(tokenizer: PreTrainedTokenizerBase, prefix: str) -> PreTrainedTokenizerBase:
    """A tokenizer whose template puts the prefix's tokens before every text by itself."""
    from tokenizers.processors import TemplateProcessing

    if not prefix:
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    pieces = tokenizer.tokenize(prefix.strip())
    first, last = tokenizer.cls_token, tokenizer.sep_token
    # One named entry stands for all tokens of the prefix; a template cannot spell tokens such as ":" itself.
    entries = [(t, tokenizer.convert_tokens_to_ids(t)) for t in (first, last)]
    named = {"id": "[PREFIX]", "ids": tokenizer.convert_tokens_to_ids(pieces), "tokens": pieces}
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} [PREFIX] $A {last}",
        pair=f"{first} [PREFIX] $A {last} {last} $B {last}",
        special_tokens=[*entries, named],
    )
    return tokenizer


def _open_pooler(model: PreTrainedModel) -> None:
    """Start the head's tanh layer as nearly the identity: pooled states carry their meaning already."""
    import torch

    head = getattr(model.base_model, "pooler", None) or model.classifier
    with torch.no_grad():
        head.dense.weight.copy_(0.5 * torch.eye(model.config.hidden_size))
        head.dense.bias.zero_()


def body_and_head(model: PreTrainedModel) -> tuple[list[str], list[str]]:
    """Names of the parameters of the pretrained network, and of those that are new with the task (poolers too)."""
    base = {id(p) for p in model.base_model.parameters()}
    names = [(n, id(p) in base and ".pooler." not in n) for n, p in model.named_parameters()]
    return [n for n, old in names if old], [n for n, old in names if not old]


def parameter_groups(
    model: PreTrainedModel, recipe: TuneRecipe, lr: float
) -> list[tuple[list[tuple[str, nn.Parameter]], float]]:
    """Named parameters with their peak rates: the head's, the network's, and with a decay every layer's own.

    Args:
        model: network with head.
        recipe: ``head_lr`` and ``layer_decay`` (Howard and Ruder 2018, arXiv 1801.06146).
        lr: peak rate of the uppermost layer.
    """
    from interlingua.models.architectures import architecture

    parameters = dict(model.named_parameters())
    body, head = ([(n, parameters[n]) for n in names] for names in body_and_head(model))
    groups = [(head, lr if has_pretrained_head(model) else recipe.head_lr or lr)]
    if recipe.layer_decay == 1.0:
        return [(body, lr), *groups]
    layers = architecture(model).stack(model.base_model)[1]
    # A layer that stands at several depths learns at the rate of the lowest.
    depth = {id(p): i for i in reversed(range(len(layers))) for m in layers[i] for p in m.parameters()}
    for place in range(-1, len(layers)):
        own = [(n, p) for n, p in body if depth.get(id(p), -1) == place]
        groups.append((own, lr * recipe.layer_decay ** (len(layers) - 1 - place)))
    return groups
