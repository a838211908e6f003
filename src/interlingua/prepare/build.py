"""A recipe to a corpus.

A `CorpusRecipe` and a folder flow in; the corpus, its statistics and, on request, token shards flow out. Decision:
all state is in the folder: the plan, one file a finished task, and datatrove's completion marks. So a build that was
killed goes on with the same command, on the same or another executor, and its bytes are those of a quiet run. Price:
until the end the folder holds the texts twice.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlingua.errors import MissingExtraError
from interlingua.prepare.executors import Executor, Stages, run_local, run_ray, write_slurm
from interlingua.prepare.plan import Plan, claim_plan, make_plan
from interlingua.recipe_corpus import CorpusRecipe, SlurmRecipe
from interlingua.recipe_file import open_run

__all__ = ["CorpusResult", "build_corpus"]

STATISTICS = "statistics.json"
#: Keys that change nothing that is built.
EXECUTION = tuple(f"slurm.{name}" for name in SlurmRecipe.model_fields)


@dataclass(frozen=True)
class CorpusResult:
    """What a build came to.

    Attributes:
        folder: where the corpus is.
        statistics: what `statistics.json` holds; None while Slurm has yet to do the work.
        submit: the script that hands the work to Slurm.
    """

    folder: Path
    statistics: dict[str, Any] | None
    submit: Path | None = None


def build_corpus(
    recipe: CorpusRecipe,
    out: Path,
    *,
    executor: Executor = "local",
    workers: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> CorpusResult:
    """Build a corpus, or go on with one.

    Args:
        recipe: what is read and what is kept.
        out: folder of the result.
        executor: local processes, a Ray cluster, or scripts for Slurm.
        workers: tasks at a time.
        say: receives lines of progress.

    Raises:
        RecipeError: no source.
        DataError: a file that is missing, empty or of an unknown format; no text left.
        MissingExtraError: the extra ``corpus`` (for Ray: ``ray``) is not installed.
        RunError: the folder holds another build, or is in use.
    """
    if importlib.util.find_spec("datatrove") is None:
        raise MissingExtraError(
            "datatrove is not installed", expected="the extra 'corpus'", next_step="pip install 'interlingua[corpus]'"
        )
    plan = make_plan(recipe)
    with open_run(out, recipe, execution=EXECUTION):
        claim_plan(plan, out)
        if (out / STATISTICS).exists():
            shutil.rmtree(out / "work", ignore_errors=True)
            return CorpusResult(out, _statistics(out))
        for leftover in out.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)  # what a killed task was writing
        stages = Stages(out.absolute(), _stages(recipe, plan, out.absolute()))
        if executor == "slurm":
            return CorpusResult(out, None, write_slurm(stages, recipe.slurm, workers, say))
        (run_local if executor == "local" else run_ray)(stages, workers, say)
        return CorpusResult(out, _statistics(out))


def _statistics(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / STATISTICS).read_text(encoding="utf-8"))
    return found


def _stages(recipe: CorpusRecipe, plan: Plan, folder: Path) -> list[tuple[str, list[Any], int]]:
    from interlingua.prepare.copies import FindCopies, FindNearCopies, JoinNearCopies
    from interlingua.prepare.finish import Finish, WriteCorpus
    from interlingua.prepare.steps import first_stage

    pieces = len(plan.pieces)
    stages: list[tuple[str, list[Any], int]] = [("prepare", first_stage(recipe, folder), pieces)]
    if recipe.duplicates.exact:
        stages.append(("copies", [FindCopies(folder)], plan.exact_buckets))
    if recipe.duplicates.near:
        stages.append(("near-copies", [FindNearCopies(folder)], plan.near_buckets))
        stages.append(("join", [JoinNearCopies(folder)], 1))
    stages.append(("write", [WriteCorpus(recipe, folder)], pieces))
    stages.append(("finish", [Finish(recipe, folder)], 1))
    return stages
