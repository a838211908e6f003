"""Steps that go wrong: what counts as wrong, and which text it was.

In: the losses and the gradient norm of a step. Out: a sentence that says what is wrong, and the place in the shards
of the text that made it so. Decision: the step's rows are run once more, one by one, only after something went wrong.
Price: where a loss needs the whole batch the objective alone is named.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from interlingua.batch import Batch
from interlingua.errors import TrainingError
from interlingua.objectives.base import Part, Targets
from interlingua.recipe import TrainRecipe
from interlingua.shards.read import Located
from interlingua.shards.stream import Layout
from interlingua.train.dist import any_rank
from interlingua.train.heldout import LossOf
from interlingua.train.saving import State
from interlingua.train.step import BatchSource, Prepared

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["REMEMBERED", "fault", "left_out", "suspects"]

#: Gradient norms that a spike is measured by, and how many there must be before anything is one.
REMEMBERED, ENOUGH = 64, 16


def fault(losses: dict[str, float], norm: float, norms: Sequence[float], spike: float) -> str:
    """What is wrong with a step; empty if nothing is.

    Args:
        losses: by objective.
        norm: of the gradient, before clipping.
        norms: those of the last steps.
        spike: largest norm relative to their median; 0: any.
    """
    for name, loss in losses.items():
        if not math.isfinite(loss):
            return f"the loss of {name} is {loss}"
    if not math.isfinite(norm):
        return f"the norm of the gradient is {norm}"
    if spike and len(norms) >= ENOUGH and norm > spike * (median := statistics.median(norms)):
        return f"the norm of the gradient is {norm:.3g}, {norm / median:.1f} times its median"
    return ""


def left_out(
    loss_of: LossOf,
    model: PreTrainedModel,
    prepared: Prepared,
    source: BatchSource,
    recipe: TrainRecipe,
    state: State,
    losses: dict[str, float],
    norm: float,
) -> str:
    """Why a step is left out, and where the text is that made it so; empty for one that is taken.

    Raises:
        TrainingError: something is wrong with the step and the recipe says stop.
    """
    wrong = fault(losses, norm, state.norms, recipe.spike)
    if not wrong:
        if recipe.spike:
            state.norms = [*state.norms, norm][-REMEMBERED:]
        return ""
    where = suspects(loss_of, model, prepared, source, state.step)
    if recipe.on_bad == "stop":
        spikes = f", norms up to {recipe.spike:g} medians" if recipe.spike else ""
        raise TrainingError(
            f"step {state.step + 1}: {wrong}",
            expected=f"finite losses and gradients{spikes}",
            where=where,
            next_step="look at the text there; train.on_bad=skip leaves such steps out, and a smaller train.lr or "
            "train.clip makes them rarer",
        )
    return f"{wrong}; {where}"


@torch.no_grad()
def suspects(
    loss_of: LossOf, model: PreTrainedModel, prepared: Iterable[tuple[Part, Batch, Targets]], source: Any, t: int
) -> str:
    """Where the text lies that made a step go wrong: the row whose loss is not finite, or else the largest.

    Args:
        loss_of: computes a loss as the step did.
        model: as it was in the step.
        prepared: the step's batches and targets.
        source: of the batches; one that can tell has ``units(t, layout)``.
        t: number of the step.
    """
    own = (p.to_local() if hasattr(p, "to_local") else p for p in model.parameters())
    if any_rank(not all(bool(torch.isfinite(values).all()) for values in own)):
        return "the weights themselves are not finite"
    found = []
    for part, batch, targets in prepared:
        objective = part.objective
        if not objective.splittable:
            found.append(f"{objective.name}: any text of the batch")
            continue
        worst, at = -math.inf, 0
        for row in range(batch.rows):
            wanted = objective.rows(targets, batch, row, row + 1)
            if not wanted.count:
                continue
            rows = batch.select_rows(row, row + 1)
            loss = loss_of(objective, rows.to(model.device), wanted.to(model.device))
            value = float(loss.total) / wanted.count
            value = value if math.isfinite(value) else math.inf
            if value > worst:
                worst, at = value, row
        found.append(f"{objective.name}: {_places(batch, at, source, t, objective.layout)}")
    return "; ".join(found)


def _places(batch: Batch, row: int, source: Any, t: int, layout: Layout) -> str:
    """Shard and unit of the texts of a row."""
    segments = sorted(set(batch.segments_BL[row].tolist()))
    units: list[list[Located]] = source.units(t, layout) if hasattr(source, "units") else []
    named = [f"{one.shard.path.name} unit {one.unit}" for s in segments if 0 < s <= len(units) for one in units[s - 1]]
    return f"row {row} of the batch" + (f" ({', '.join(named)})" if named else "")
