"""Follow a run from another process.

In: a run folder that another process writes. Out: the rows of its ``metrics.jsonl`` as they come. Decisions: the file
is read where it was left, and from its beginning when a resumed run has put a shorter one in its place; a run is over
at its last step, or when for some seconds nothing came and no process holds its lock. Price: the end of a run that was
killed is seen that much later.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import yaml

from interlingua.errors import RunError

__all__ = ["follow", "is_running", "planned_steps"]


def planned_steps(run: Path) -> int | None:
    """``train.steps`` of the run's recipe; None if there is none.

    Raises:
        RunError: no run there.
    """
    recipe = run / "recipe.yaml"
    if not recipe.is_file():
        raise RunError(
            f"no run in {str(run)!r}",
            expected="a folder with recipe.yaml in it",
            where=str(run),
            next_step="name the folder that `interlingua pretrain --out` was given, runs/NAME by default",
        )
    tree = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    train = tree.get("train") if isinstance(tree, dict) else None
    steps = train.get("steps") if isinstance(train, dict) else None
    return steps if isinstance(steps, int) else None


def is_running(run: Path) -> bool:
    """Whether a process holds the run folder."""
    lock = filelock.FileLock(run / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return True
    lock.release()
    return False


def follow(run: Path, *, poll: float = 1.0, patience: float = 10.0) -> Iterator[dict[str, Any]]:
    """Rows of the run's log, those that are there and those that come, until the run is over.

    Args:
        run: its folder.
        poll: seconds between looks.
        patience: seconds without news after which it is asked whether a process still works on the run.

    Raises:
        RunError: no run there.
    """
    steps, path = planned_steps(run), run / "metrics.jsonl"
    at, file, last, rest = 0, -1, 0, b""
    shown: dict[int, int] = {}  # by step, so that of a resumed run's rows only those that are new are shown again
    news = time.monotonic()
    while True:
        found = path.stat() if path.exists() else None
        if found is not None and (found.st_ino != file or found.st_size < at):
            at, file, rest = 0, found.st_ino, b""
        if found is not None and found.st_size > at:
            with path.open("rb") as stream:
                stream.seek(at)
                raw = stream.read()
            at += len(raw)
            *whole, rest = (rest + raw).split(b"\n")
            for line in whole:
                row = _row(line)
                if row is not None and shown.get(row["step"]) != hash(line):
                    last, news = row["step"], time.monotonic()
                    shown[last] = hash(line)
                    yield row
        if steps is not None and last >= steps:
            return
        if time.monotonic() - news > patience:
            if not is_running(run):
                return
            news = time.monotonic()
        time.sleep(poll)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None  # half a line of a killed process
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
