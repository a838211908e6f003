"""train/watch.py and `watch`: what another process writes is what is seen, once, in order."""

from __future__ import annotations

import json
import threading
import time

import filelock
import pytest
from tests.fixtures_cli import run as cli

from interlingua.errors import RunError
from interlingua.run import Run
from interlingua.train.watch import follow, is_running, planned_steps

RECIPE = "kind: pretrain\ntrain:\n  steps: 12\n"


def test_rows_come_as_they_are_written(tmp_path):
    """A writer in another thread: every step once, a half written line only when it is whole."""
    run = Run(tmp_path, RECIPE)
    run.log({"step": 1})

    def write() -> None:
        for step in range(2, 13):
            line = json.dumps({"step": step, "loss": {"mlm": 1.0 / step}}) + "\n"
            with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(line[:7])
                file.flush()
                time.sleep(0.02)
                file.write(line[7:])

    with run:
        writer = threading.Thread(target=write)
        writer.start()
        found = list(follow(tmp_path, poll=0.005))
        writer.join()
    assert [row["step"] for row in found] == list(range(1, 13))
    assert found[-1]["loss"] == {"mlm": 1.0 / 12}


def test_a_resumed_run_is_followed_from_where_it_goes_on(tmp_path):
    """Rows behind the last checkpoint are dropped and come again: they are shown again, the others are not."""
    with Run(tmp_path, RECIPE) as run:
        for step in (1, 2, 3, 4, 5):
            run.log({"step": step, "try": 1})
        rows = follow(tmp_path, poll=0.005)
        first = [next(rows) for _ in range(5)]
        run.rewind_log(3)
        for step in range(4, 13):
            run.log({"step": step, "try": 2})
        again = list(rows)
    assert [row["step"] for row in first] == [1, 2, 3, 4, 5]
    assert [(row["step"], row["try"]) for row in again] == [(step, 2) for step in range(4, 13)]


def test_a_run_that_nobody_works_on_ends(tmp_path):
    """After the patience, when no process holds the folder; before that it is waited for."""
    with Run(tmp_path, RECIPE) as run:
        run.log({"step": 1})
        assert is_running(tmp_path)
        found: list[int] = []
        watcher = threading.Thread(
            target=lambda: found.extend(r["step"] for r in follow(tmp_path, poll=0.01, patience=0.05))
        )
        watcher.start()
        time.sleep(0.3)
        assert watcher.is_alive()
    watcher.join(timeout=10)
    assert not watcher.is_alive()
    assert found == [1]
    assert not is_running(tmp_path)
    filelock.FileLock(tmp_path / ".lock", timeout=0).acquire().lock.release()  # looking did not take it


def test_the_command(tmp_path):
    """Lines for people, one document for programs; steps left out are shown whatever --every says."""
    with Run(tmp_path, RECIPE) as run:
        for step in range(1, 13):
            row = {"step": step, "loss": {"mlm": 2.0}, "lr": 1e-3, "grad_norm": 1.0, "tokens_per_second": 1000.0}
            run.log(row | ({"skipped": "the loss of mlm is nan"} if step == 7 else {}))
        shown = cli("watch", tmp_path, "--every", 6)
        document = json.loads(cli("watch", tmp_path, "--json").stdout)
    lines = shown.stdout.splitlines()
    assert [line.split("/")[0].strip() for line in lines[:3]] == ["6", "7", "12"]
    assert "LEFT OUT: the loss of mlm is nan" in lines[1]
    assert lines[-1] == "step 12: done"
    assert document["done"] is True
    assert len(document["rows"]) == 12


def test_no_run(tmp_path):
    """A folder without a recipe, and one whose recipe has no steps."""
    with pytest.raises(RunError, match="no run in"):
        next(follow(tmp_path))
    (tmp_path / "recipe.yaml").write_text("kind: study\n", encoding="utf-8")
    assert planned_steps(tmp_path) is None
