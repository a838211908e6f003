"""Parts of a network that stay as they were pretrained.

In: a network with its head, and which part. Out: gradients switched off, and tensors shared between networks wherever
they are equal. Decision: layers are counted from below and the embeddings go with the first, as in Wu and Dredze (2019,
arXiv 1904.09077). Price: layers that share weights are frozen together or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlingua.errors import RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["freeze", "share_frozen"]


def freeze(model: PreTrainedModel, what: str | int) -> int:
    """Switch gradients off.

    Args:
        model: network with head.
        what: ``none``, ``embeddings``, a number of lowest layers (embeddings included), or ``all`` (but the head).

    Returns:
        How many lowest layers are frozen, embeddings counting none.

    Raises:
        RecipeError: more layers than there are, or layers that share weights with those above them.
    """
    from interlingua.models.architectures import architecture

    if what == "none":
        return 0
    embeddings, layers = architecture(model).stack(model.base_model)
    count = {"embeddings": 0, "all": len(layers)}.get(str(what), what)
    count = int(count)
    if not 0 <= count <= len(layers):
        raise RecipeError(f"freeze = {what!r}", expected=f"at most {len(layers)} layers", where="tune.freeze")
    frozen, above = (
        {id(p): p for modules in part for module in modules for p in module.parameters()}
        for part in (layers[:count], layers[count:])
    )
    if frozen.keys() & above.keys():
        raise RecipeError(
            f"freeze = {what!r} in a network whose layers share weights",
            expected=f"none, embeddings or all {len(layers)} layers, or as many as share among themselves",
            where="tune.freeze",
        )
    for parameter in frozen.values():
        parameter.requires_grad_(False)
    for module in embeddings:
        for parameter in module.parameters():
            parameter.requires_grad_(False)
    return count


def share_frozen(model: PreTrainedModel, reference: PreTrainedModel) -> None:
    """Let a tuned network use the tensors of the checkpoint wherever the two are equal.

    Three seeds of an encoder with a table of 250,000 entries then take the memory of little more than one.
    """
    import torch

    theirs = dict(reference.base_model.named_parameters())
    for name, parameter in model.base_model.named_parameters():
        # Where weights were added, the network's own go by a longer name.
        other = theirs.get(name.replace(".base_layer.", ".").replace(".table.", "."))
        if other is not None and not parameter.requires_grad and torch.equal(parameter, other):
            parameter.data = other.data
