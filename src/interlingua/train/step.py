"""The gradient of one step.

In: batch and targets of every objective's part. Out: gradients in ``.grad``, averaged over the ranks, and losses of the
whole batch. Decisions: losses are sums divided by the whole batch's count, so neither ranks nor pieces change the
gradient; dropout's numbers belong to a piece of the batch, not to whoever computes it. Price: as many pieces on every
rank, since they meet in every backward pass.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from interlingua.batch import Batch
from interlingua.errors import RecipeError
from interlingua.objectives.base import Objective, Part, Targets
from interlingua.objectives.ranks import rank_and_world, sum_over_ranks
from interlingua.recipe import TrainRecipe
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Layout
from interlingua.train.dist import Spread

__all__ = ["BatchSource", "Objectives", "Prepared", "autocast", "clipped", "dropout_key", "half", "step"]


class BatchSource(Protocol):
    """Anything that gives batch t."""

    def batch(self, t: int, layout: Layout | None = None) -> Batch:
        """Global batch ``t``."""
        ...


class Objectives(Protocol):
    """Anything that says what step t learns."""

    @property
    def objectives(self) -> Sequence[Objective]:
        """All that there are."""
        ...

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """What learns beside the model, by name."""
        ...

    def parts(self, t: int) -> tuple[Part, ...]:
        """The parts of step ``t``."""
        ...


#: What a step learns: of every objective's part the batch and what is to be predicted.
Prepared = list[tuple[Part, Batch, Targets]]


def half(recipe: TrainRecipe, device: torch.device) -> bool:
    """Whether a step runs in bf16."""
    # On CPUs bf16 autocast was slower than fp32 for every small model measured, so "auto" means it on GPUs only.
    return recipe.precision == "bf16" or (recipe.precision == "auto" and device.type == "cuda")


def autocast(recipe: TrainRecipe, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """The context of a step's forward passes."""
    return torch.autocast(device.type, torch.bfloat16) if half(recipe, device) else contextlib.nullcontext()


def step(
    spread: Spread, prepared: Prepared, recipe: TrainRecipe, key: Callable[[int, int], int], *, languages: int = 0
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Gradients of one step into ``.grad``, averaged over the ranks.

    Args:
        spread: the network, as far as this rank has it.
        prepared: batch and targets of every part.
        recipe: in how many pieces.
        key: seed of dropout, from the number of the part and of the piece of it.
        languages: how many there are.

    Returns:
        Of the whole batch, by objective: mean losses; and [2, languages], summed losses and their number.
    """
    world, device = rank_and_world()[1], spread.model.device
    passes = [work for number, one in enumerate(prepared) for work in _passes(number, *one, recipe)]
    names = list(dict.fromkeys(part.objective.name for part, _, _ in prepared))
    # A row an objective: its mean loss, then the sums and counts of the languages.
    found = torch.zeros(len(names), 1 + 2 * languages, dtype=torch.double)
    for place, (number, piece, rows, scale) in enumerate(passes):
        part, batch, targets = prepared[number]
        whole = (rows.start, rows.stop) == (0, batch.rows)
        own = batch if whole else batch.select_rows(rows.start, rows.stop)
        wanted = targets if whole else part.objective.rows(targets, batch, rows.start, rows.stop)
        # Dropout's numbers follow from step and piece, so that a resumed run draws the same ones, on any ranks.
        torch.manual_seed(key(part.index, piece))
        with contextlib.ExitStack() as around:
            if place + 1 < len(passes):
                around.enter_context(spread.unsynced())
            with autocast(recipe, device):
                loss = spread.loss(part.objective, own.to(device), wanted.to(device))
            # The count is the global batch's: the sum over pieces and ranks is then the mean's exact gradient. The
            # ranks' gradients are averaged, not summed, hence their number.
            share = scale * world / max(1, targets.count)
            (loss.total * (part.weight * share)).backward()  # type: ignore[no-untyped-call]
        row = found[names.index(part.objective.name)]
        row[0] += float(loss.total.detach()) * scale / max(1, targets.count)
        if languages:
            of_N, each_N = loss.languages_N.cpu(), loss.each_N.cpu().double()
            row[1 : 1 + languages].index_add_(0, of_N, each_N * scale)
            row[1 + languages :].index_add_(0, of_N, torch.full_like(each_N, scale))
    found = sum_over_ranks(found.to(device)).cpu() if world > 1 else found
    means = dict(zip(names, found[:, 0].tolist(), strict=True))
    return means, {name: found[i, 1:].view(2, languages) for i, name in enumerate(names)}


def _passes(
    number: int, part: Part, batch: Batch, targets: Targets, recipe: TrainRecipe
) -> list[tuple[int, int, slice, float]]:
    """This rank's forward passes over a part: (number of the part, of the piece, its rows, how much they count)."""
    rank, world = rank_and_world()
    if not part.objective.splittable:
        if recipe.accumulate > 1:
            raise RecipeError(
                f"objective {part.objective.name!r} with {recipe.accumulate} accumulation steps",
                expected="train.accumulate=1: its negatives are the whole batch's",
                where="train.accumulate",
                next_step="set train.accumulate=1, or make train.batch_tokens smaller",
            )
        # Every rank computes the whole loss, from vectors that they made together.
        return [(number, rank, slice(0, batch.rows), 1 / world)]
    pieces = -(-recipe.accumulate // world) * world  # as many on each rank: they meet in every backward pass
    edges = [round(i * batch.rows / pieces) for i in range(pieces + 1)]
    # A piece without rows runs one that counts nothing.
    return [
        (number, i, slice(edges[i], edges[i + 1]), 1.0) if edges[i] < edges[i + 1] else (number, i, slice(0, 1), 0.0)
        for i in range(rank, pieces, world)
    ]


def dropout_key(seed: int, t: int) -> Callable[[int, int], int]:
    """Seeds of a step's dropout, by number of the part and of the piece of it."""
    return lambda part, piece: int(keyed_generator(seed, t, 6, part, piece).integers(2**62))


def clipped(parameters: Sequence[nn.Parameter], largest: float) -> float:
    """The norm of the gradient before it was clipped."""
    norm = torch.nn.utils.clip_grad_norm_(parameters, largest or math.inf, foreach=True)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
