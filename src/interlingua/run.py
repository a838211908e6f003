"""The run folder, and writing that either happens wholly or not at all.

In: a recipe and a folder. Out: a locked folder with ``recipe.yaml``, ``metrics.jsonl``, ``checkpoints/`` in it.
Decisions: a run folder belongs to one recipe (another one is refused, the same one resumes, also on other threads or in
smaller parts); one process at a time (``filelock``; the lock dies with the process); a finished file or folder appears
under its name only by ``rename`` after ``fsync``, so a crash or a full disk leaves what was there before. Price: one
extra copy on disk while saving.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Self

import filelock
import yaml
from safetensors import SafetensorError

from interlingua.errors import RunError, SaveError

__all__ = ["Run", "atomic_folder", "atomic_write", "cache_folder", "find_checkpoint", "saving"]

INDEX = "index.json"


def cache_folder() -> Path:
    """Where converted and fetched models and shards are kept: ``$INTERLINGUA_CACHE`` or ``~/.cache/interlingua``."""
    return Path(os.environ.get("INTERLINGUA_CACHE") or Path.home() / ".cache" / "interlingua")


@contextlib.contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals while writing ``path`` into :class:`SaveError`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        full = number in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(error)
        reason = "no space left" if full else getattr(error, "strerror", None) or str(error)
        raise SaveError(
            f"{reason} while writing {str(path)!r}",
            expected="a writable folder with room for the file",
            where=str(path.parent),
            next_step="free some space (or write elsewhere) and run the same command again; "
            "everything saved before this is intact and will be resumed from",
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a whole file or leave the old one as it was.

    Raises:
        SaveError: disk full, no permission.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with saving(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``path`` when the block ends without an error.

    Raises:
        SaveError: disk full, no permission; ``path`` is then as it was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with saving(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for file in temporary.rglob("*"):
                _sync(file)
            _sync(temporary)
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            if path.exists():
                path.rename(old)
            try:
                temporary.rename(path)
            except OSError:
                if old.exists():
                    old.rename(path)
                raise
            _sync(path.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


class Run:
    """A locked run folder.

    Args:
        folder: where the run lives; made if missing.
        recipe_yaml: the whole resolved recipe as text; saved, and compared with the one that is there.
        execution: dotted keys that are not compared, with all below them, since they say how the run is computed or
            how much of it, and not what it learns.
        rewritten: makes of the recipe that is there what it would be if it were saved now, as by a version with keys
            that its own did not have yet.
        leads: False for the further ranks of a distributed run, which read in a folder that the first one holds: they
            take no lock, and log and index are not theirs to write.

    Raises:
        RunError: the folder holds a run of another recipe, or another process is using it.
    """

    def __init__(
        self,
        folder: Path,
        recipe_yaml: str,
        *,
        execution: Collection[str] = (),
        leads: bool = True,
        rewritten: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.folder = folder
        self.leads = leads
        self._lock: filelock.BaseFileLock | None = None
        if not leads:
            return
        with saving(folder / "recipe.yaml"):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(folder / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise RunError(
                f"the run folder {str(folder)!r} is in use by another process",
                expected="one process a run folder",
                where=str(folder / ".lock"),
                next_step="wait for the other process, end it, or choose another folder with --out",
            ) from None
        try:
            self._claim(recipe_yaml, execution, rewritten)
        except BaseException:
            self._lock.release()
            raise

    def _claim(self, recipe_yaml: str, execution: Collection[str], rewritten: Callable[[str], str]) -> None:
        saved = self.folder / "recipe.yaml"
        before = saved.read_text(encoding="utf-8") if saved.exists() else None
        if before is not None and (difference := _difference(rewritten(before), recipe_yaml, execution)):
            raise RunError(
                f"the run folder {str(self.folder)!r} holds a run of another recipe: {difference}",
                expected="an empty folder, or the same recipe to resume it",
                where=str(saved),
                next_step="choose another folder with --out, or remove this one",
            )
        if before != recipe_yaml:
            atomic_write(saved, recipe_yaml)
        # What a killed process was writing is of no use to anyone.
        for leftover in [
            *self.folder.glob(".*.tmp"),
            *self.checkpoints.glob(".*.tmp"),
            *self.checkpoints.glob(".*.old"),
        ]:
            shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes use the folder."""
        if self._lock is not None:
            self._lock.release()

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    def log(self, row: dict[str, Any]) -> None:
        """Append one row to ``metrics.jsonl``."""
        if not self.leads:
            return
        path = self.folder / "metrics.jsonl"
        with saving(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **row}) + "\n")

    def rewind_log(self, step: int) -> None:
        """Drop rows after ``step``: they will be written again by the resumed run."""
        path = self.folder / "metrics.jsonl"
        if not self.leads or not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a killed process may be half written
            if row.get("step", 0) <= step:
                kept.append(line)
        atomic_write(path, "".join(line + "\n" for line in kept))

    def index(self) -> dict[str, Any]:
        """``{"last": name, "best": name, "best_value": x}``, as far as known."""
        path = self.checkpoints / INDEX
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def write_index(self, index: dict[str, Any]) -> None:
        """Record which checkpoint is the last and which the best, and remove those that are neither."""
        if not self.leads:
            return
        atomic_write(self.checkpoints / INDEX, json.dumps(index, indent=1))
        kept = {index.get("last"), index.get("best")}
        for folder in self.checkpoints.glob("step-*"):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def _flat(tree: Any, key: str = "") -> dict[str, Any]:
    """Values of a tree by dotted key, as the command line spells them (``objectives.0.rate``)."""
    if not isinstance(tree, (dict, list)):
        return {key: tree}
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {k: v for name, inner in inside for k, v in _flat(inner, f"{key}.{name}" if key else str(name)).items()}


def _difference(before: str, now: str, execution: Collection[str]) -> str:
    """The first key in which two recipes differ, with both values; empty if there is none."""
    try:
        was, will = _flat(yaml.safe_load(before)), _flat(yaml.safe_load(now))
    except yaml.YAMLError as error:
        return f"its recipe.yaml cannot be read ({getattr(error, 'problem', error)})"
    for key in {**was, **will}:
        compared = not any(key == free or key.startswith(f"{free}.") for free in execution)
        if compared and (key not in was or key not in will or was[key] != will[key]):
            return ", now ".join(f"{key} = {side[key]!r}" if key in side else f"no {key}" for side in (was, will))
    return ""


def find_checkpoint(path: Path) -> Path:
    """The checkpoint meant by a path: the folder itself, or the best (else last) one of a run folder."""
    index = path / "checkpoints" / INDEX
    if (path / "config.json").exists() or not index.exists():
        return path
    names = json.loads(index.read_text(encoding="utf-8"))
    return path / "checkpoints" / str(names.get("best") or names["last"])
