"""The steps of a continual recipe, read from its files.

In: tasks with the files of all their languages, and the order in which these come. Out: for every step what is taught,
what chooses the epoch and what is scored. Decision: a task's labels are those of all its languages, known from the
start. Price: all files are read before the first step, and new labels cannot come with a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlingua.errors import RecipeError
from interlingua.recipe_continual import ContinualRecipe, StepRecipe
from interlingua.transfer.finetune import build_task, read_examples
from interlingua.transfer.shared import check_tasks

if TYPE_CHECKING:
    from interlingua.tasks import Example, Task

__all__ = ["Step", "Stream", "plan_stream"]


@dataclass(frozen=True)
class Step:
    """What is taught at once.

    Attributes:
        name: shown in the matrix, and the split in rows of scores.
        task: number of its task.
        train: what is taught.
        dev: for choosing the epoch.
        test: what is scored after every step.
    """

    name: str
    task: int
    train: Sequence[Example]
    dev: Sequence[Example]
    test: Sequence[Example]


@dataclass(frozen=True)
class Stream:
    """All steps, with the tasks that they are of.

    Attributes:
        tasks: one head each.
        steps: in their order.
    """

    tasks: Sequence[Task]
    steps: Sequence[Step]

    @property
    def names(self) -> list[str]:
        """Names of the steps."""
        return [step.name for step in self.steps]

    @property
    def metrics(self) -> dict[str, str]:
        """The main metric of every step."""
        return {step.name: self.tasks[step.task].metric for step in self.steps}


def plan_stream(recipe: ContinualRecipe, say: Callable[[str], None] = lambda text: None) -> Stream:
    """Read all files of a recipe and lay out its steps.

    Raises:
        DataError, LabelError: of the files.
        RecipeError: a step of an unknown task, or one without examples to teach or to test.
    """
    from interlingua.tasks.labels import label_differences

    check_tasks(recipe.tasks)
    names = [task.name for task in recipe.tasks]
    parts = [
        {part: read_examples(task, getattr(task, part)) for part in ("train", "dev", "test")} for task in recipe.tasks
    ]
    wanted = recipe.steps or [
        StepRecipe(task=name, langs=(lang,))
        for name, found in zip(names, parts, strict=True)
        for lang in dict.fromkeys(e.lang for e in found["train"])
    ]
    steps: list[Step] = []
    for place, one in enumerate(wanted):
        if one.task and one.task not in names:
            raise RecipeError(
                f"a step of task {one.task!r}", expected=f"one of {', '.join(names)}", where=f"steps.{place}.task"
            )
        number = names.index(one.task) if one.task else 0
        own = {
            part: [e for e in examples if not one.langs or e.lang in one.langs]
            for part, examples in parts[number].items()
        }
        name = one.name or "+".join(dict.fromkeys(e.lang for e in own["train"])) or "+".join(one.langs)
        name = f"{names[number]}/{name}" if len(names) > 1 and not one.name else name
        for part in ("train", "test"):
            if not own[part]:
                raise RecipeError(
                    f"step {name!r} without {part} examples",
                    expected=f"files of its language(s) in tasks.{number}.{part}",
                    where=f"steps.{place}",
                )
        if name in [step.name for step in steps]:
            raise RecipeError(f"two steps named {name!r}", expected="a name: for each", where=f"steps.{place}.name")
        steps.append(Step(name, number, own["train"], own["dev"], own["test"]))
    tasks = [build_task(task, found["train"]) for task, found in zip(recipe.tasks, parts, strict=True)]
    for number, (task, found) in enumerate(zip(tasks, parts, strict=True)):
        say(f"task {task.name}: {len(task.labels)} labels; steps "
            + ", ".join(f"{s.name} ({len(s.train):,} examples)" for s in steps if s.task == number))  # fmt: skip
        for line in label_differences(found["train"], key=f"tasks.{number}.mapping"):
            say(line)
    return Stream(tasks, steps)
