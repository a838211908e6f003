"""Where the stages run: here, on a Ray cluster, or under Slurm.

Stages in their order flow in; the same files flow out of each. Decision: the executors are datatrove's, a stage
begins when all tasks of the one before are done, and a task that has a completion mark is not run again. For Slurm
nothing is submitted: one script a stage and ``submit.sh`` are written, to be read first. Price: a slow task holds up
the next stage.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interlingua.errors import MissingExtraError, RunError
from interlingua.recipe_corpus import SlurmRecipe
from interlingua.run import atomic_write

__all__ = ["Executor", "Stages", "run_local", "run_ray", "write_slurm"]

Executor = Literal["local", "ray", "slurm"]
Say = Callable[[str], None]
_RAY_GB = 1


@dataclass(frozen=True)
class Stages:
    """Stages of a build.

    Attributes:
        folder: of the build.
        steps: name, steps and number of tasks of each stage.
    """

    folder: Path
    steps: Sequence[tuple[str, list[Any], int]]

    def logs(self, name: str) -> str:
        """Where datatrove keeps a stage's logs and completion marks."""
        return str(self.folder / "logs" / name)


def run_local(stages: Stages, workers: int, say: Say) -> None:
    """Run all tasks in processes of this machine; with one worker in this process.

    Raises:
        InterlinguaError: what a task raised.
    """
    import multiprocess
    from datatrove.executor.local import LocalPipelineExecutor

    # One process imports all this, once; the workers of every stage are forked from it.
    multiprocess.set_forkserver_preload(["interlingua.prepare.steps", "interlingua.prepare.finish", "scipy.sparse"])
    for name, steps, tasks in stages.steps:
        executor = LocalPipelineExecutor(steps, tasks=tasks, workers=min(workers, tasks), logging_dir=stages.logs(name))
        _announce(executor, name, tasks, say)
        executor.run()


def run_ray(stages: Stages, workers: int, say: Say) -> None:
    """Run all tasks on the Ray cluster that ``RAY_ADDRESS`` names, or on one started for it on this machine.

    Raises:
        MissingExtraError: ray is not installed.
        RunError: a task failed four times.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "ray is not installed", expected="the extra 'ray'", next_step="pip install 'interlingua[corpus,ray]'"
        ) from error
    from datatrove.executor.ray import RayPipelineExecutor

    ours = not ray.is_initialized()
    if ours:
        here = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers, "include_dashboard": False}
        ray.init(log_to_driver=False, **here)
    try:
        for name, steps, tasks in stages.steps:
            executor = RayPipelineExecutor(
                steps, tasks=tasks, workers=workers, logging_dir=stages.logs(name), mem_per_cpu_gb=_RAY_GB
            )
            _announce(executor, name, tasks, say)
            executor.run()
            if missing := executor.get_incomplete_ranks():
                raise RunError(
                    f"{len(missing)} of {tasks} tasks of the stage {name!r} failed",
                    expected="all tasks done",
                    where=f"{stages.logs(name)}/logs/task_{missing[0]:05d}.log",
                    next_step="the log says why; the same command goes on from there",
                )
    finally:
        if ours:
            ray.shutdown()


def _announce(executor: Any, name: str, tasks: int, say: Say) -> None:
    left = len(executor.get_incomplete_ranks())
    say(f"{name}: {tasks} task(s)" + (f", {tasks - left} done before" if left < tasks else ""))


def write_slurm(stages: Stages, settings: SlurmRecipe, workers: int, say: Say) -> Path:
    """Write a batch script for every stage with tasks left, and one that submits them in order.

    Returns:
        ``submit.sh``.
    """
    import dill
    from datatrove.executor.slurm import SlurmPipelineExecutor

    folder = (stages.folder / "slurm").absolute()
    submit = ["#!/bin/bash", "set -euo pipefail", "cd " + shlex.quote(str(Path.cwd()))]
    before = ""
    for number, (name, steps, tasks) in enumerate(stages.steps, start=1):
        executor = SlurmPipelineExecutor(
            steps,
            tasks=tasks,
            time=settings.time,
            partition=settings.partition,
            mem_per_cpu_gb=settings.memory_gb,
            workers=workers,
            job_name=f"corpus-{name}",
            qos=settings.qos,
            env_command=settings.setup or None,
            logging_dir=stages.logs(name),
            slurm_logs_folder=str(folder / "output"),
            tasks_per_job=math.ceil(tasks / settings.jobs),
            max_array_size=settings.jobs,
        )
        left = executor.get_incomplete_ranks()
        if not left:
            continue
        # What datatrove does before it submits: the tasks to do, and itself for the nodes to open.
        with executor.logging_dir.open("ranks_to_run.json", "w") as file:
            json.dump(left, file)
        pickled = executor.logging_dir.resolve_paths("executor.pik")
        with executor.logging_dir.open("executor.pik", "wb") as file:
            dill.dump(executor, file, fmode=dill.CONTENTS_FMODE)
        jobs = math.ceil(len(left) / executor.tasks_per_job)
        script = folder / f"{number}-{name}.slurm"
        command = f"srun -l -n 1 launch_pickled_pipeline {shlex.quote(str(Path(pickled).absolute()))}"
        atomic_write(script, executor.get_launch_file_contents(executor.get_sbatch_args(jobs), command))
        after = f' --dependency=afterok:"${before}"' if before else ""
        before = f"job{number}"
        submit += [f"{before}=$(sbatch --parsable{after} {shlex.quote(str(script))})", f'echo "{name}: ${before}"']
        say(f"{name}: {len(left)} task(s) in {jobs} job(s), {script}")
    path = folder / "submit.sh"
    atomic_write(path, "\n".join(submit) + "\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
