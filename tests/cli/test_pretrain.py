"""Pretraining from the command line: SIGTERM saves, and the command it names goes on as if nothing had been."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from tests.fixtures_cli import command, run

from interlingua.cli.console import plain
from interlingua.cli.pretrain import _Stopped, _stopping


def weights(folder: Path) -> bytes:
    """The last checkpoint's weights."""
    last = json.loads((folder / "checkpoints" / "index.json").read_text(encoding="utf-8"))["last"]
    return (folder / "checkpoints" / last / "model.safetensors").read_bytes()


def test_sigterm_saves_and_the_named_command_goes_on(tmp_path: Path, recipe_file: Path, tiny_run: Path) -> None:
    # Oracle: the run that was never stopped; the final weights are the same bytes.
    process = subprocess.Popen(
        command("pretrain", recipe_file, "--out", tmp_path / "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text(encoding="utf-8").count("\n") >= 2):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert "stopped and saved at step" in stdout
    index = json.loads((tmp_path / "run" / "checkpoints" / "index.json").read_text(encoding="utf-8"))
    assert 2 <= int(index["last"].removeprefix("step-")) < 30
    named = shlex.split(stdout.splitlines()[-1])
    assert named[0] == "interlingua"
    result = run(*named[1:])
    assert result.exit_code == 0, result.output
    assert "done: 30 steps" in result.stdout
    assert weights(tmp_path / "run") == weights(tiny_run)


def test_sigterm_before_the_loop_ends_with_0(
    tmp_path: Path, recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The signal comes while no loop is there to take it, here in place of the whole run.
    def killed(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal was not taken")

    # By name, `interlingua.pretrain` is the function.
    monkeypatch.setattr(importlib.import_module("interlingua.pretrain"), "pretrain", killed)
    result = run("pretrain", recipe_file, "--out", tmp_path / "run")
    assert result.exit_code == 0
    assert f"pretrain {recipe_file} --out {tmp_path / 'run'}" in result.stdout


def test_the_handler_of_before_comes_back() -> None:
    # signal.getsignal before and after.
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(_Stopped), _stopping():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_answer_as_json(tiny_run: Path, recipe_file: Path) -> None:
    # A finished run, asked again: nothing is trained, and the document says where it is.
    result = run("pretrain", recipe_file, "--out", tiny_run, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["step"] == 30
    assert Path(document["checkpoint"]).parent.parent == tiny_run


def test_another_recipe_in_the_folder_is_refused(tiny_run: Path, recipe_file: Path) -> None:
    # The folder belongs to its recipe; the message names the first key that differs, and both values.
    result = run("pretrain", recipe_file, "train.lr=0.5", "--out", tiny_run)
    assert result.exit_code == 1
    assert "train.lr = 0.001, now train.lr = 0.5" in result.stderr


def test_documents_hold_no_nan() -> None:
    # Oracle: json, which refuses what is not JSON when told to.
    import numpy as np

    value = {"a": [float("nan"), float("inf"), np.float32(0.5), np.int64(3)], "b": Path("x"), 1: ("y", None, True)}
    assert plain(value) == {"a": [None, None, 0.5, 3], "b": "x", "1": ["y", None, True]}
    json.dumps(plain(value), allow_nan=False)
