"""Trained vectors before every text: prompts among the embeddings, prefixes among every layer's keys and values.

In: a network and trained vectors as ``peft`` keeps them. Out: a network that reads packed batches and computes what
``peft`` computes for one text a row. Decisions: a prompt (Lester et al. 2021, arXiv 2104.08691) is some ids behind the
vocabulary, which the tokenizer's template puts before every text, so that packing, labels and offsets need know nothing
of it; a prefix (Li and Liang 2021, arXiv 2101.00190) is shared by all texts of a row. Price: prompts are as long as
their number of tokens in every text; a prefix needs attention under a mask.

Shape suffixes: B rows, L length, D width, P virtual tokens, H heads.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from interlingua.errors import RecipeError
from interlingua.models.architectures import architecture

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["PREFIX_FAMILIES", "Prefix", "VirtualTokens", "prefix_of", "with_prefix_states", "with_virtual_tokens"]

#: Classes whose encoders take keys and values of tokens before the text.
PREFIX_FAMILIES = ("bert", "xlm-roberta", "electra")


class VirtualTokens(nn.Module):
    """A token table with some trained rows behind it.

    Args:
        table: the network's own embedding.
        prompts: holds the trained rows as ``prompts.weight`` [P, D].
    """

    def __init__(self, table: nn.Embedding, prompts: nn.Embedding) -> None:
        super().__init__()
        self.table = table
        self.prompts = prompts

    @property
    def weight(self) -> Tensor:
        """The table of the vocabulary."""
        return self.table.weight

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Embeddings [B, L, D]."""
        size = self.table.num_embeddings
        virtual_BL = tokens_BL >= size
        states_BLD: Tensor = self.table(tokens_BL.masked_fill(virtual_BL, 0))
        prompts_BLD = self.prompts((tokens_BL - size).clamp_min(0))
        return torch.where(virtual_BL[..., None], prompts_BLD.to(states_BLD.dtype), states_BLD)


class Prefix(nn.Module):
    """Keys and values before the text, in every layer.

    Args:
        states: holds them as ``states.weight`` [P, layers x 2 x D], as ``peft`` lays them out.
        layers: layers of the network.
        heads: attention heads.
    """

    def __init__(self, states: nn.Embedding, layers: int, heads: int) -> None:
        super().__init__()
        self.states = states
        self.layers = layers
        self.heads = heads

    @property
    def length(self) -> int:
        """P."""
        return self.states.num_embeddings

    def cache(self, rows: int, dtype: torch.dtype) -> Any:
        """What ``transformers`` takes as ``past_key_values``."""
        from transformers import DynamicCache

        states = self.states.weight.to(dtype).view(self.length, self.layers * 2, self.heads, -1)
        by_layer = states.permute(1, 2, 0, 3)[:, None].expand(-1, rows, -1, -1, -1)
        cache = DynamicCache()
        for layer in range(self.layers):
            cache.update(by_layer[2 * layer], by_layer[2 * layer + 1], layer)
        return cache


def prefix_of(model: PreTrainedModel) -> Prefix | None:
    """The prefix of a network, if it has one."""
    found = getattr(model, "interlingua_prefix_states", None)
    return found if isinstance(found, Prefix) else None


def with_prefix_states(model: PreTrainedModel, states: nn.Embedding) -> None:
    """Put a prefix before everything that a network reads, in place.

    Raises:
        RecipeError: a class that takes no keys and values of earlier tokens.
    """
    family = architecture(model).family
    if family not in PREFIX_FAMILIES:
        raise RecipeError(
            f"tune.method = 'prefix' for a {family}",
            expected=f"one of {', '.join(PREFIX_FAMILIES)}, or tune.method=prompt",
            where="tune.method",
        )
    config = model.config
    model.interlingua_prefix_states = Prefix(states, config.num_hidden_layers, config.num_attention_heads)


def with_virtual_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: nn.Embedding
) -> PreTrainedTokenizerBase:
    """Let a network read a prompt, in place; return a tokenizer that puts it before every text or pair."""
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    model.set_input_embeddings(VirtualTokens(table, prompts))
    return _leading(tokenizer, list(range(table.num_embeddings, table.num_embeddings + prompts.num_embeddings)))


def _leading(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> PreTrainedTokenizerBase:
    """The same tokenizer with some ids before everything."""
    from tokenizers import Tokenizer

    tokenizer = copy.deepcopy(tokenizer)
    backend = tokenizer.backend_tokenizer
    state = json.loads(backend.to_str())
    state["post_processor"] = _with_leading(state["post_processor"], ids)
    # Padding and truncation are those of the last call, not part of what a tokenizer is.
    backend.post_processor = Tokenizer.from_str(
        json.dumps(state | {"truncation": None, "padding": None})
    ).post_processor
    return tokenizer


_NAME = "<prompt>"


def _with_leading(processor: dict[str, Any] | None, ids: list[int]) -> dict[str, Any]:
    """A post-processor as JSON, whose template begins with some ids."""
    if processor is None:
        return _with_leading(_template([], [], []), ids)
    kind = processor["type"]
    if kind == "Sequence":
        *before, last = processor["processors"]
        if last["type"] not in {"TemplateProcessing", "BertProcessing", "RobertaProcessing"}:
            return {"type": "Sequence", "processors": [*before, last, _with_leading(None, ids)]}
        return {"type": "Sequence", "processors": [*before, _with_leading(last, ids)]}
    if kind in {"BertProcessing", "RobertaProcessing"}:
        between = 2 if kind == "RobertaProcessing" else 1
        processor = _template([processor["cls"]], [processor["sep"]], [processor["sep"]] * between, types=between == 1)
    elif kind == "ByteLevel":
        return {"type": "Sequence", "processors": [processor, _with_leading(None, ids)]}
    lead = [{"SpecialToken": {"id": _NAME, "type_id": 0}}]
    named = {"id": _NAME, "ids": ids, "tokens": [f"<prompt_{i}>" for i in range(len(ids))]}
    return processor | {
        "single": lead + processor["single"],
        "pair": lead + processor["pair"],
        "special_tokens": processor["special_tokens"] | {_NAME: named},
    }


def _template(first: list[Any], last: list[Any], between: list[Any], *, types: bool = False) -> dict[str, Any]:
    """A template around one or two texts; tokens are [text, id]."""
    second = int(types)

    def special(tokens: list[Any], type_id: int = 0) -> list[dict[str, Any]]:
        return [{"SpecialToken": {"id": token, "type_id": type_id}} for token, _ in tokens]

    text = [{"Sequence": {"id": "A", "type_id": 0}}]
    pair = [{"Sequence": {"id": "B", "type_id": second}}]
    return {
        "type": "TemplateProcessing",
        "single": special(first) + text + special(last),
        "pair": special(first) + text + special(between) + pair + special(last, second),
        "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in [*first, *last]},
    }
