"""Exit codes and streams, as a shell sees them: real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.fixtures_cli import command, in_a_new_process


def test_done_is_0(tmp_path: Path) -> None:
    # One JSON document on stdout, nothing on stderr.
    done = in_a_new_process(["recipe", "list", "--json"], tmp_path)
    assert done.returncode == 0
    assert {"bible-tiny", "topics", "pos", "ner", "bert-base-wiki"} <= {row["name"] for row in json.loads(done.stdout)}
    assert done.stderr == ""


def test_a_misspelt_key_is_1(tmp_path: Path) -> None:
    # The message is on stderr, names the nearest key, and holds no traceback; with --debug it does.
    words = ["pretrain", "bible-tiny", "train.stps=5"]
    done = in_a_new_process([*words, "--json"], tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "'stps'; did you mean 'steps'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    debug = in_a_new_process([*words, "--debug"], tmp_path)
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr
    assert "RecipeError" in debug.stderr


def test_usage_is_2(tmp_path: Path) -> None:
    # An unknown option, a missing argument, a value out of range: typer's own answers.
    for words in (["recipe", "list", "--jsn"], ["recipe", "show"], ["pretrain", "bible-tiny", "--workers", "0"]):
        done = in_a_new_process(words, tmp_path)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "Traceback" not in done.stderr


def test_the_keyboards_interrupt_is_130(tmp_path: Path, recipe_file: Path) -> None:
    # SIGINT to a run that has 100,000 steps to go: no traceback, 128 + the signal's number as shells have it.
    process = subprocess.Popen(
        command("pretrain", recipe_file, "train.steps=100000", "--out", tmp_path / "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        # A shell that runs the tests in the background has them ignore the keyboard; the run must not inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for_steps(tmp_path / "run", process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "interrupted" in stderr


def wait_for_steps(run: Path, process: subprocess.Popen[str], steps: int = 3) -> None:
    """Wait until a run has logged some steps."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        metrics = run / "metrics.jsonl"
        if metrics.exists() and metrics.read_text(encoding="utf-8").count("\n") >= steps:
            return
        time.sleep(0.02)
    raise AssertionError("the run did not begin")
