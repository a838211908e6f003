"""The recipe of a stream of tasks or languages, taught one after another.

Decision: every brake against forgetting is a key that is off at 0 (or 1), so that they can be combined; none of them
is plain sequential tuning. Price: there is no name for a method.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from interlingua.languages import canonical
from interlingua.recipe_base import Positive, Recipe, Share
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe

__all__ = ["ContinualRecipe", "RetainRecipe", "StepRecipe"]


class StepRecipe(Recipe):
    """What is taught at once."""

    name: str = ""
    """Shown in the matrix; the languages by default."""
    task: str = ""
    """Name of the task; the first one by default."""
    langs: tuple[str, ...] = ()
    """Languages of the task that are taught and tested; all by default."""

    @field_validator("langs")
    @classmethod
    def _canonical(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical(tag) for tag in tags)


class RetainRecipe(Recipe):
    """What is done against forgetting; nothing by default, and several at once if wished."""

    replay: Annotated[int, Field(ge=0)] = 0
    """Examples of earlier steps that are kept, as many of each language."""
    replay_share: Annotated[float, Field(gt=0)] = 0.25
    """Replayed batches for every new one."""
    ewc: Annotated[float, Field(ge=0)] = 0.0
    """Strength of a penalty on changing weights that mattered (elastic weight consolidation)."""
    ewc_examples: Positive = 200
    """Training examples of a step that measure what mattered."""
    ewc_decay: Share = 1.0
    """What the measure of all earlier steps is multiplied by when that of a new one is added."""
    l2_sp: Annotated[float, Field(ge=0)] = 0.0
    """Strength of a penalty on leaving the weights that the step began with."""
    lwf: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the distillation from the network that the step began with (learning without forgetting)."""
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """Of that distillation."""
    grow: bool = False
    """Every step leaves an adapter and a head of its own, which no later one changes (tune.method=adapter)."""
    lr_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Every step learns at so many times the rate of the one before."""


class ContinualRecipe(Recipe):
    """Tasks or languages that come one after another, and what is left of each after all of them."""

    kind: Literal["continual"] = "continual"
    """Which verb runs it."""
    name: str = "continual"
    """Name of the run."""
    model: str = "e5-small"
    """Short name, hub id, checkpoint folder or run folder."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """One stream a seed; scores are given as means over them."""
    tasks: tuple[TaskRecipe, ...] = ()
    """The tasks with all their files; every task has one head, over the labels of all its languages."""
    steps: tuple[StepRecipe, ...] = ()
    """The stream; by default every language of every task, in the order of the files."""
    retain: RetainRecipe = RetainRecipe()
    tune: TuneRecipe = TuneRecipe()
    """How every step is taught."""
    keep: Literal["last", "all"] = "last"
    """Which networks stay on the disk: the last, or that of every step."""
