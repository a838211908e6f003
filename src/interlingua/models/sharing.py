"""What a network is held to that its ``transformers`` class does not know: shared layers, no positions.

ALBERT (Lan et al. 2020, section 3.1) shares attention, feed-forward or all between layers; the library's class has
only "all", by groups. Here the parameters of layers are tied, so that a BERT can share too. Decision: the checkpoint
holds every layer's copy and opens in plain ``transformers`` as what it is; fields of its config say what was held
together (``interlingua_sharing``, ``interlingua_groups``, ``interlingua_positions``), and opening it here ties again
what is still equal. Price: a file as large as without sharing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["constrain", "whole_state"]

#: The parts of a layer by what is shared: BERT's names and ALBERT's.
PARTS = {
    "attention": ("attention",),
    "ffn": ("intermediate", "output", "ffn", "ffn_output", "full_layer_layer_norm"),
}
PARTS["all"] = (*PARTS["attention"], *PARTS["ffn"])


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    encoder: Any = model.base_model.encoder
    if hasattr(encoder, "albert_layer_groups"):
        return [group.albert_layers[0] for group in encoder.albert_layer_groups]
    return list(encoder.layer)


def constrain(model: PreTrainedModel, *, only_if_kept: bool = False) -> None:
    """Tie and freeze what the network's config says, in place.

    Args:
        model: a network of a class that :func:`interlingua.models.build.check_model` lets share.
        only_if_kept: leave alone what is no longer so: a tuned checkpoint's layers may have gone apart.
    """
    config = model.config
    if getattr(config, "interlingua_positions", None) == "none":
        embeddings: Any = model.base_model.embeddings
        table = embeddings.position_embeddings.weight
        if not only_if_kept or not bool(table.any()):
            with torch.no_grad():
                table.zero_()
            table.requires_grad_(False)
    sharing = getattr(config, "interlingua_sharing", None)
    if sharing is None:
        return
    layers = _layers(model)
    group_of = [i * config.interlingua_groups // len(layers) for i in range(len(layers))]
    leaders = [layers[group_of.index(group)] for group in group_of]
    pairs = [
        (getattr(leader, part), getattr(layer, part))
        for leader, layer in zip(leaders, layers, strict=True)
        for part in PARTS[sharing]
        if leader is not layer and hasattr(layer, part)
    ]
    if only_if_kept and not all(
        torch.equal(p, q) for ours, theirs in pairs for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)
    ):
        return
    for ours, theirs in pairs:
        for (name, shared), (_, _) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            place, _, leaf = name.rpartition(".")
            setattr(theirs.get_submodule(place), leaf, shared)


def whole_state(model: PreTrainedModel) -> dict[str, Tensor] | None:
    """The state to save where layers are tied: every layer's own copy; None where nothing is."""
    if getattr(model.config, "interlingua_sharing", None) is None:
        return None
    state: dict[str, Tensor] = dict(model.state_dict())
    seen: set[int] = set()
    for name, tensor in state.items():
        if ".encoder." in name or name.startswith("encoder."):
            if tensor.data_ptr() in seen:
                state[name] = tensor.clone()
            seen.add(tensor.data_ptr())
    return state
