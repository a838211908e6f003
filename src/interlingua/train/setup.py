"""What is settled before the first step: what learns, by which optimiser, on how many threads, by which kernels.

In: a network as far as this rank has it, and the recipe. Out: optimiser, threads, and the network ready to run.
Decision: what can be measured is measured (threads), what follows from network and machine follows from them
(attention by text, compilation), and the recipe may say otherwise. Price: a few trial steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from interlingua.errors import RecipeError
from interlingua.models.adapters import has_adapters
from interlingua.models.architectures import architecture_or_plain
from interlingua.models.separate import language_parts
from interlingua.models.varlen import can_varlen
from interlingua.recipe import TrainRecipe
from interlingua.train.dist import Spread, of_first_rank
from interlingua.train.optim import Joined, build_muon, build_optimizer
from interlingua.train.saving import State
from interlingua.train.step import Objectives, Prepared, dropout_key, half, step
from interlingua.train.threads import available_cores, choose_threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "all_used",
    "by_text",
    "compile_layers",
    "optimizer_of",
    "set_threads",
    "trained",
]


def trained(model: PreTrainedModel, networks: Mapping[str, nn.Module]) -> list[tuple[str, nn.Parameter]]:
    """Every parameter once, by name: networks may share tensors with the model."""
    seen: set[int] = set()
    named = []
    for prefix, module in (("", model), *((f"{name}.", network) for name, network in networks.items())):
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                named.append((prefix + name, parameter))
    return named


def optimizer_of(
    spread: Spread, named: Sequence[tuple[str, nn.Parameter]], recipe: TrainRecipe
) -> torch.optim.Optimizer | Joined:
    """AdamW over all parameters, or Muon over some; token tables may have a rate of their own."""
    model = spread.model
    inside: set[int] = set()
    if recipe.optimizer == "muon":
        if spread.sharded:
            raise RecipeError(
                "train.optimizer = 'muon' with train.parallel = 'shard'",
                expected="train.parallel=replicate: Muon turns whole matrices",
                where="train.optimizer",
            )
        layers = architecture_or_plain(model).stack(model.base_model)[1]
        inside = {id(p) for modules in layers for module in modules for p in module.parameters() if p.ndim == 2}
    matrices = [(n, p) for n, p in named if id(p) in inside]
    named = [(n, p) for n, p in named if id(p) not in inside]
    parts = language_parts(model)
    tables = {id(model.get_input_embeddings().weight), *(id(t.weight) for t in (parts.tables if parts else ()))}
    adamw = build_optimizer(
        [
            ([(n, p) for n, p in named if id(p) not in tables], recipe.lr),
            ([(n, p) for n, p in named if id(p) in tables], recipe.embedding_lr or recipe.lr),
        ],
        weight_decay=recipe.weight_decay,
        betas=(recipe.beta1, recipe.beta2),
        epsilon=recipe.epsilon,
    )
    if not matrices:
        return adamw
    return Joined([build_muon(matrices, lr=recipe.lr, weight_decay=recipe.weight_decay), adamw])


def by_text(recipe: TrainRecipe, model: PreTrainedModel, device: torch.device) -> bool:
    """Whether attention runs by text instead of under a mask."""
    if recipe.attention == "varlen" and not can_varlen(model):
        raise RecipeError(
            f"train.attention = 'varlen' for {type(model).__name__} with its dropout in attention",
            expected="a class whose attention can be exchanged, and no dropout in it",
            where="train.attention",
            next_step="leave it auto, or set model.dropout=0",
        )
    by_itself = recipe.attention == "auto" and device.type == "cuda" and half(recipe, device)
    return recipe.attention == "varlen" or (by_itself and can_varlen(model))


def compile_layers(recipe: TrainRecipe, model: PreTrainedModel) -> None:
    """torch.compile every layer, once for all layers of a shape; the number of rows differs from batch to batch."""
    if has_adapters(model):  # which of them a token goes through is not known before
        return
    if recipe.compile == "on" or (recipe.compile == "auto" and model.device.type == "cuda"):
        for modules in architecture_or_plain(model).stack(model.base_model)[1]:
            for module in modules:
                module.compile(dynamic=True)


def all_used(
    spread: Spread,
    mixture: Objectives,
    named: Sequence[tuple[str, nn.Parameter]],
    recipe: TrainRecipe,
    prepared: Prepared,
) -> bool:
    """Whether every step has a gradient to every parameter: certain only of one objective over one network."""
    if len(mixture.objectives) > 1 or mixture.networks or has_adapters(spread.model):
        return False
    step(spread, prepared, recipe, dropout_key(0, 0))
    used = all(parameter.grad is not None for _, parameter in named)
    for _, parameter in named:
        parameter.grad = None
    return used


def set_threads(
    spread: Spread,
    networks: Mapping[str, nn.Module],
    recipe: TrainRecipe,
    state: State,
    make: Callable[[int], Prepared],
) -> None:
    """Use as many threads as the recipe or the resumed state says, or else as many as are fastest."""
    if recipe.threads or state.threads:
        state.threads = recipe.threads or min(state.threads, available_cores())
        torch.set_num_threads(state.threads)
        return
    prepared = make(0)
    # A trial must leave no trace: queues and momentum copies move on with every loss.
    kept = [(tensor, tensor.clone()) for network in networks.values() for tensor in network.state_dict().values()]

    def trial() -> None:
        step(spread, prepared, recipe, dropout_key(0, 0))
        for module in (spread.model, *networks.values()):
            module.zero_grad(set_to_none=True)

    state.threads = of_first_rank(choose_threads(trial, repeats=2, cores=of_first_rank(available_cores())))
    torch.set_num_threads(state.threads)
    for tensor, before in kept:
        tensor.copy_(before)
