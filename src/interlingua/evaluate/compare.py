"""Ways to tune side by side: what each learns, what it costs, and what it scores in every language.

In: a recipe of kind ``finetune`` and the names of some ways. Out: a row a way: numbers trained, minutes and memory of
its training, scores. Decisions: every training is a process of its own, so that time and memory are its own; scoring
and keeping are those of a suite, so a comparison that was cut off goes on, and a way that is added is all that is
computed. Price: the encoder is opened once a way.

    OUT/WAY/              a suite's run of one entry
    OUT/WAY/cost.json     what its training took
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from interlingua.errors import RecipeError, TrainingError, nearest
from interlingua.evaluate.suite import run_suite, teaching, teaching_folder
from interlingua.evaluate.summary import Cell, cells_of, main_metric, task_score
from interlingua.recipe_file import to_yaml
from interlingua.recipe_suite import SuiteEntry, SuiteRecipe
from interlingua.recipe_transfer import FinetuneRecipe
from interlingua.run import atomic_write
from interlingua.scores import Score

__all__ = ["WAYS", "Compared", "Cost", "compare", "way_of"]

#: Ways by name: what of ``tune`` they set. A rate of None is the method's own.
WAYS: dict[str, dict[str, Any]] = {
    "full": {"freeze": "none"},
    "embeddings": {"freeze": "embeddings"},
    "layers": {"freeze": 6},
    "frozen": {"freeze": "all"},
    "bitfit": {"method": "bitfit", "lr": None},
    "lora": {"method": "lora", "lr": None},
    "ia3": {"method": "ia3", "lr": None},
    "prompt": {"method": "prompt", "lr": None},
    "prefix": {"method": "prefix", "lr": None},
    "adapter": {"method": "adapter", "lr": None},
    "madx": {"method": "madx", "lr": None},
    "layer-decay": {"layer_decay": 0.8},
    "l2-sp": {"l2_sp": 0.01},
    "mixout": {"mixout": 0.7},
    "dropout": {"dropout": 0.1},
}


@dataclass(frozen=True)
class Cost:
    """What a training took.

    Attributes:
        minutes: of a seed, reading and tokenising included; other work on the machine makes them longer.
        memory_mb: largest resident memory of the process.
        trained_parameters: numbers that were learnt, the head's included.
        processor_minutes: of a seed, over all cores; other work on the machine does not count.
    """

    minutes: float
    memory_mb: float
    trained_parameters: int
    processor_minutes: float = float("nan")


@dataclass(frozen=True)
class Compared:
    """A row of the comparison.

    Attributes:
        way: its name.
        cost: of its training.
        cells: language -> score.
        mean: over languages, as XTREME takes it.
        scores: the rows of Scores.
    """

    way: str
    cost: Cost
    cells: dict[str, Cell]
    mean: float
    scores: list[Score]


def way_of(word: str) -> tuple[str, dict[str, Any]]:
    """A way by name, or one of the user's own: ``NAME:key=value,key=value`` with keys of ``tune``.

    Raises:
        RecipeError: no such name, or a key without a value.
    """
    import yaml

    name, colon, rest = word.partition(":")
    if not colon:
        if name not in WAYS:
            raise RecipeError(f"way {name!r}{nearest(name, WAYS)}",
                              expected=f"one of {', '.join(WAYS)}, or NAME:key=value,...", where="--ways")  # fmt: skip
        return name, WAYS[name]
    changes = {}
    for part in rest.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise RecipeError(f"{part!r} in {word!r}", expected="key=value, a key of tune", where="--ways")
        changes[key.strip()] = yaml.safe_load(value)
    return name, changes


def compare(
    recipe: FinetuneRecipe,
    ways: Mapping[str, Mapping[str, Any]],
    out: Path,
    *,
    languages: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
    stage: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> list[Compared]:
    """Teach and score a task in several ways.

    Args:
        recipe: task, model, seeds, and whatever of ``tune`` the ways leave alone.
        ways: name -> keys of ``tune`` with their values.
        out: folder of the comparison.
        languages: score only these; all test languages if none.
        say: told in a line what was done.
        stage: called as (stage, done, total) while it runs.

    Raises:
        RecipeError: a value that ``tune`` does not take, or no test files.
        TrainingError: a training ended with an error; what it printed is part of the message.
    """
    found = []
    plans = {way: _suite(recipe, way, changes) for way, changes in ways.items()}
    for place, (way, plan) in enumerate(plans.items()):
        stage("compare", place, len(plans))
        cost = _teach(plan, out / way, say)
        result = run_suite(plan, out / way, languages=languages, say=say, stage=stage)
        (entry,) = plan.entries
        cells = cells_of(result.scores, task=entry.name, metric=main_metric(entry))
        ((model, own),) = cells.items()
        mean = task_score(result.scores, entry, model)
        found.append(Compared(way, cost, own, mean if mean is not None else float("nan"), result.scores))
    stage("compare", 1, 1)
    return found


def _suite(recipe: FinetuneRecipe, way: str, changes: Mapping[str, Any]) -> SuiteRecipe:
    """One way as a suite of one entry."""
    from interlingua.recipe_file import load_recipe

    if not recipe.task.test:
        raise RecipeError("a comparison without test files", expected="task.test in the recipe", where="task.test")
    tree = recipe.model_dump(mode="json")
    tree["tune"] |= changes
    whole = load_recipe(tree, FinetuneRecipe)
    entry = SuiteEntry(name=whole.task.name, task=whole.task)
    return SuiteRecipe(name=way, model=whole.model, seeds=whole.seeds, tune=whole.tune, entries=(entry,))


def _teach(plan: SuiteRecipe, out: Path, say: Callable[[str], None]) -> Cost:
    """Train in a process of its own, unless that was done; what it took."""
    path = out / "cost.json"
    if path.is_file():
        return Cost(**json.loads(path.read_text(encoding="utf-8")))
    (entry,) = plan.entries
    ((source, recipe),) = teaching(entry, plan).items()
    folder = teaching_folder(out, entry, source)
    atomic_write(out / "finetune.yaml", to_yaml(recipe))
    words = [sys.executable, "-m", "interlingua.cli", "finetune", str(out / "finetune.yaml"), "--out", str(folder)]
    began = time.perf_counter()
    with (out / "finetune.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        # wait4 tells what this one child used.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        printed = (out / "finetune.log").read_text(encoding="utf-8").strip().splitlines()
        raise TrainingError(f"the training of {plan.name!r} ended with code {process.returncode}: {printed[-4:]}",
                            where=str(out / "finetune.log"))  # fmt: skip
    minutes, busy = (
        (one / 60 / len(recipe.seeds)) for one in (time.perf_counter() - began, used.ru_utime + used.ru_stime)
    )
    facts = json.loads((folder / f"seed-{recipe.seeds[0]}" / "interlingua.json").read_text(encoding="utf-8"))
    kilobytes = used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    cost = Cost(round(minutes, 3), round(kilobytes / 1024), int(facts["trained_parameters"]), round(busy, 3))
    atomic_write(path, json.dumps(asdict(cost)))
    say(f"{plan.name}: {cost.trained_parameters:,} numbers learnt in {cost.minutes:.1f} minutes a seed")
    return cost
