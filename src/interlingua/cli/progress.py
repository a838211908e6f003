"""Progress on stderr: a bar a stage, and the time left over all of them.

Calls ``stage(name, done, total)`` flow in from whatever runs. Decision: where the stages and their rough durations are
known beforehand, the time left is the planned time of what is not done, scaled by how fast this machine did what is
done. Price: the plan is a list of numbers that must be kept near the truth; a wrong one makes the estimate start off
and mend itself. Where stderr is no terminal, a line every ten seconds says the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Stages", "minutes"]

_EVERY_SECONDS = 10.0


def minutes(seconds: float) -> str:
    """Write a duration as ``m:ss``."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


class Stages:
    """Live progress; a context manager.

    Args:
        plan: name of each stage -> its rough seconds on any machine (only the proportions count); stages that are
            not in it are shown but not foreseen.
    """

    def __init__(self, plan: Mapping[str, float] | None = None) -> None:
        self._plan = dict(plan or {})
        self._share: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._last_line = time.monotonic()
        # When the first stage spoke, and how much of the plan was done by then.
        self._begin: tuple[float, float] | None = None
        self._live: Progress | None = None
        self._all: TaskID | None = None

    def __enter__(self) -> Self:
        self._last_line = time.monotonic()
        if sys.stderr.isatty():
            self._live = _bars()
            self._live.start()
            self._all = self._live.add_task("in all", total=1.0, left="") if len(self._plan) > 1 else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Write a line above the bars."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def stage(self, name: str, done: int, total: int, note: str = "") -> None:
        """Tell how far a stage is.

        Args:
            name: of the stage; the bar appears with its first call.
            done: steps done.
            total: steps of the stage.
            note: shown behind the name, a loss for example.
        """
        share = min(1.0, done / total) if total else 1.0
        if name not in self._share:
            self._open(name, over=share >= 1.0)
        self._share[name] = share
        if self._begin is None:
            self._begin = (time.monotonic(), self._work()[1])
        left = self.seconds_left()
        if self._live is not None:
            self._draw(name, done, total, note, left)
        elif share >= 1.0 or time.monotonic() - self._last_line >= _EVERY_SECONDS:
            self._last_line = time.monotonic()
            count = "done" if share >= 1.0 else f"{done}/{total}"
            ahead = "" if left is None else f", {minutes(left)} left"
            print(f"{name}: {count}{ahead}{'  ' + note if note else ''}", file=sys.stderr, flush=True)

    def counter(self, name: str, total: int) -> Callable[[int], None]:
        """What to call with the number of steps done since the last call, from the first of a stage to its last."""
        done = 0

        def count(steps: int) -> None:
            nonlocal done
            done += steps
            self.stage(name, done, total)

        return count

    def _open(self, name: str, *, over: bool) -> None:
        """Begin a stage: those before it are over, even if one of them never said so.

        What was found finished (planned before, but silent, or over with its first word) leaves the plan: it took no
        time, and says nothing about this machine.
        """
        for earlier in self._share:
            self._share[earlier] = 1.0
            if self._live is not None:
                self._live.update(self._tasks[earlier], total=1, completed=1, left="")
        if not self._plan:
            # Stages that nobody foresaw say nothing about each other's length.
            self._begin = None
            self._share.clear()
        planned = list(self._plan)
        passed = planned[: planned.index(name)] if name in self._plan else []
        for found in [*(stage for stage in passed if stage not in self._share), *([name] if over else [])]:
            self._plan.pop(found, None)

    def seconds_left(self) -> float | None:
        """Seconds until all planned stages are done; None before anything is."""
        if self._begin is None:
            return None
        whole, finished = self._work()
        began, before = self._begin
        elapsed = time.monotonic() - began
        if finished <= before or elapsed <= 0:
            return whole - finished if self._plan and len(self._plan) > 1 else None
        return elapsed / (finished - before) * (whole - finished)

    def _work(self) -> tuple[float, float]:
        """The plan's seconds, and how many of them are done."""
        plan = self._plan or dict.fromkeys(self._share, 1.0)
        return sum(plan.values()), sum(seconds * self._share.get(name, 0.0) for name, seconds in plan.items())

    def _draw(self, name: str, done: int, total: int, note: str, left: float | None) -> None:
        assert self._live is not None
        if name not in self._tasks:
            self._tasks[name] = self._live.add_task(name, total=max(1, total), left="")
        only = self._all is None and left is not None
        self._live.update(
            self._tasks[name],
            description=f"{name}  {note}" if note else name,
            completed=done,
            total=max(1, total),
            left=f"{minutes(left)} left" if only and left is not None and done < total else "",
        )
        if self._all is not None and left is not None:
            whole, finished = self._work()
            self._live.update(self._all, completed=finished / whole, left=f"{minutes(left)} left")


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns: list[Any] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
    ]
    return Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
