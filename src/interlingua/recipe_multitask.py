"""The recipe of teaching several tasks to one network.

Decision: tasks are those of single-task recipes, and one ``tune`` section is for all of them; what is mixed with what
is a section of its own. Price: no task has a rate or a length of its own.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from interlingua.recipe_base import Recipe
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe

__all__ = ["MixRecipe", "MultitaskRecipe"]


class MixRecipe(Recipe):
    """How the tasks share the steps, of which each is about one."""

    over: Literal["task", "language"] = "task"
    """What gets a share: every task, or every language of every task."""
    smoothing: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Shares are as size^smoothing: 1 sees every example once an epoch, 0 gives all the same share."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Shares by name of the task (mix.over=language: NAME/LANG) instead; all of them, or none."""
    uncertainty: bool = False
    """Whether the weight of every task's loss is learnt (uncertainty weighting)."""


class MultitaskRecipe(Recipe):
    """Several tasks taught to one network, each with a head of its own."""

    kind: Literal["multitask"] = "multitask"
    """Which verb runs it: finetune."""
    name: str = "multitask"
    """Name of the run."""
    model: str = "e5-small"
    """Short name, hub id, checkpoint folder or run folder."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """One tuned model a seed."""
    tasks: tuple[TaskRecipe, ...] = ()
    """The tasks; their names are those of the folders."""
    mix: MixRecipe = MixRecipe()
    tune: TuneRecipe = TuneRecipe()
    missing_dev: Literal["others", "stop"] = "others"
    """A taught language without development examples, where tune.select wants some. others: it is named, and the epoch
    is chosen by those that have some; stop: refuse."""
