"""What a network is held to that its ``transformers`` class does not know: shared layers or sides, no positions.

ALBERT (Lan et al. 2020, section 3.1) shares attention, feed-forward or all between layers; the library's class has
only "all", by groups. Here the parameters of layers are tied, so that a BERT can share too. Decision: the checkpoint
holds every layer's copy and opens in plain ``transformers`` as what it is; fields of its config say what was held
together (``interlingua_sharing``, ``interlingua_groups``, ``interlingua_positions``; for the encoder and the decoder
of a translator ``interlingua_share``), and opening it here ties again what is still equal. Price: a file as large as
without sharing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["constrain", "share_sides", "whole_state"]

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
    if getattr(config, "interlingua_share", None) is not None:
        share_sides(model, only_if_kept=only_if_kept)
        return
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


def share_sides(model: PreTrainedModel, *, only_if_kept: bool = False) -> None:
    """Tie what the encoder and the decoder of an ``EncoderDecoderModel`` share, in place; the decoder takes over.

    Args:
        model: its config says what: ``embeddings``, the token table; ``all``, every weight that both have.
        only_if_kept: leave alone what is no longer equal.
    """
    sides: Any = model
    encoder, decoder = sides.encoder.base_model, sides.decoder.base_model
    if model.config.interlingua_share == "embeddings":
        pairs = [(encoder.get_input_embeddings(), decoder.get_input_embeddings())]
    else:
        there = dict(decoder.named_modules())
        pairs = [(module, there[name]) for name, module in encoder.named_modules() if name in there]
    tensors = [
        (theirs, leaf, parameter) for ours, theirs in pairs for leaf, parameter in ours.named_parameters(recurse=False)
    ]
    if only_if_kept and not all(torch.equal(getattr(theirs, leaf), p) for theirs, leaf, p in tensors):
        return
    for theirs, leaf, parameter in tensors:
        setattr(theirs, leaf, parameter)
    sides.decoder.tie_weights()


def whole_state(model: PreTrainedModel) -> dict[str, Tensor] | None:
    """The state to save where weights are tied that the class does not tie: every copy; None where none are."""
    if getattr(model.config, "interlingua_share", None) is not None:
        known = set(getattr(model, "all_tied_weights_keys", None) or ())
        return _copies(model, lambda name: name not in known)
    if getattr(model.config, "interlingua_sharing", None) is None:
        return None
    return _copies(model, lambda name: ".encoder." in name or name.startswith("encoder."))


def _copies(model: PreTrainedModel, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = dict(model.state_dict())
    seen: set[int] = set()
    for name, tensor in state.items():
        if wanted(name):
            if tensor.data_ptr() in seen:
                state[name] = tensor.clone()
            seen.add(tensor.data_ptr())
    # What the class itself ties stays one tensor, of which transformers writes one copy.
    for copy, original in (getattr(model, "all_tied_weights_keys", None) or {}).items():
        if copy in state and original in state:
            state[copy] = state[original]
    return state
