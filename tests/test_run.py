"""run.py: locked folders, and writing that happens wholly or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interlingua.errors import RunError, SaveError
from interlingua.run import Run, atomic_folder, atomic_write, find_checkpoint


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_another_recipe_is_refused(tmp_path):
    """The same recipe resumes, another one is refused with the first key that differs; the saved one stays."""
    with Run(tmp_path / "run", "name: a\nsteps: 10\nseed: 0\n"):
        pass
    with Run(tmp_path / "run", "name: a\nsteps: 10\nseed: 0\n"):
        pass
    with pytest.raises(RunError, match="another recipe: steps = 10, now steps = 20"):
        Run(tmp_path / "run", "name: a\nsteps: 20\nseed: 1\n")
    assert (tmp_path / "run" / "recipe.yaml").read_text() == "name: a\nsteps: 10\nseed: 0\n"
    with Run(tmp_path / "run", "name: a\nsteps: 10\nseed: 0\n"):  # the refused one let go of the lock
        pass


@pytest.mark.parametrize(
    ("now", "difference"),
    [
        ("a: {b: [1, {c: 2}]}\n", ""),
        ("{a: {b: [1, {c: 2}]}, d: {e: 9, f: 3}}\n", "no d.f, now d.f = 3"),
        ("a: {b: [1, {c: 3}]}\n", "a.b.1.c = 2, now a.b.1.c = 3"),
        ("a: {b: [1]}\n", "a.b.1.c = 2, now no a.b.1.c"),
        ("a: {b: [1, {c: 2}]}\nd: {e: 7}\n", ""),
    ],
)
def test_keys_of_execution_may_differ(tmp_path, now, difference):
    """Keys named as such are not compared, and the newest recipe is saved; any other key is named with both values."""
    before = "a: {b: [1, {c: 2}]}\nd: {e: 9}\n"
    with Run(tmp_path, before):
        pass
    if difference:
        with pytest.raises(RunError) as caught:
            Run(tmp_path, now, execution=("d.e",))
        assert caught.value.found.endswith(f"another recipe: {difference}")
    else:
        with Run(tmp_path, now, execution=("d.e",)):
            pass
    assert (tmp_path / "recipe.yaml").read_text() == (before if difference else now)


def test_damaged_recipe_is_refused(tmp_path):
    """A recipe.yaml that is no YAML: RunError, and the file stays for the reader to look at."""
    (tmp_path / "recipe.yaml").write_text("a: [\n")
    with pytest.raises(RunError, match="cannot be read"):
        Run(tmp_path, "a: 1\n")
    assert (tmp_path / "recipe.yaml").read_text() == "a: [\n"


def test_folder_in_use_is_refused(tmp_path):
    """While another process holds the folder it is refused; when that process is killed the folder is free."""
    code = "import sys, time; from pathlib import Path; from interlingua.run import Run\n"
    code += "run = Run(Path(sys.argv[1]), 'a: 1\\n'); print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline().strip() == "held"
        with pytest.raises(RunError, match="in use by another process"):
            Run(tmp_path / "run", "a: 1\n")
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with Run(tmp_path / "run", "a: 1\n"):
        pass


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    """Temporary files and folders of before are gone after opening; finished ones stay."""
    with Run(tmp_path, "a: 1\n") as run:
        (run.checkpoints / ".step-000004.77.tmp").mkdir(parents=True)
        (run.checkpoints / ".step-000002.77.old").mkdir()
        (run.checkpoints / "step-000002").mkdir()
        (tmp_path / ".vocab.77.tmp").mkdir()
        (tmp_path / ".metrics.jsonl.77.tmp").write_text("half")
    with Run(tmp_path, "a: 1\n") as run:
        assert names(run.checkpoints) == ["step-000002"]
        assert not [name for name in names(tmp_path) if name.endswith(".tmp")]


def test_rewind_log(tmp_path):
    """Rows after the step and a half-written last line go, the others stay as they are."""
    with Run(tmp_path, "a: 1\n") as run:
        for step in range(1, 6):
            run.log({"step": step})
        before = (tmp_path / "metrics.jsonl").read_text().splitlines()
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"time": 1, "st')
        run.rewind_log(3)
        assert (tmp_path / "metrics.jsonl").read_text().splitlines() == before[:3]
        run.log({"step": 4})
        assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
            1,
            2,
            3,
            4,
        ]


def test_only_last_and_best_checkpoints_stay(tmp_path):
    """write_index removes the others; find_checkpoint takes the best, else the last, else the folder itself."""
    with Run(tmp_path, "a: 1\n") as run:
        for step in (1, 2, 3):
            (run.checkpoints / f"step-{step:06d}").mkdir(parents=True)
        run.write_index({"last": "step-000003"})
        assert find_checkpoint(tmp_path).name == "step-000003"
        (run.checkpoints / "step-000001").mkdir()
        (run.checkpoints / "step-000002").mkdir()
        run.write_index({"last": "step-000003", "best": "step-000001"})
        assert names(run.checkpoints) == ["index.json", "step-000001", "step-000003"]
        assert find_checkpoint(tmp_path).name == "step-000001"
    assert find_checkpoint(tmp_path / "elsewhere") == tmp_path / "elsewhere"


def test_atomic_write_replaces_or_leaves(tmp_path, monkeypatch):
    """A full disk at fsync: SaveError that says so, the old content stays, no temporary file is left."""
    path = tmp_path / "deep" / "file.txt"
    atomic_write(path, "old")
    atomic_write(path, b"new")
    assert path.read_text() == "new"
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError, match="no space left") as caught:
        atomic_write(path, "newer")
    monkeypatch.setattr(os, "fsync", real)
    assert str(path) in caught.value.found
    assert path.read_text() == "new"
    assert names(path.parent) == ["file.txt"]


def test_write_where_nothing_can_be_written(tmp_path):
    """A file where a folder is needed: SaveError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError):
        atomic_write(tmp_path / "file" / "x", "text")
    with pytest.raises(SaveError):
        Run(tmp_path / "file", "a: 1\n")


def test_atomic_folder_replaces_or_leaves(tmp_path, monkeypatch):
    """Errors inside the block, a full disk, a failing rename: the old folder stays whole, nothing else is left."""
    path = tmp_path / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("1")
    with atomic_folder(path) as temporary:
        (temporary / "b").write_text("2")
    assert names(path) == ["b"]

    def breaks_off(folder: Path) -> None:
        (folder / "c").write_text("3")
        raise KeyError

    with pytest.raises(KeyError), atomic_folder(path) as temporary:
        breaks_off(temporary)
    with pytest.raises(SaveError, match="no space left"), atomic_folder(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    real = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(SaveError, match="Input/output error"), atomic_folder(path) as temporary:
        (temporary / "d").write_text("4")
    assert names(tmp_path) == ["folder"]
    assert names(path) == ["b"]
