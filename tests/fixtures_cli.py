"""One tiny real run that the verbs look at, and ways to call them: in this process, and as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from interlingua.cli.app import app

__all__ = ["TINY", "VERSES", "command", "in_a_new_process", "offline", "one_thread", "recipe_file", "run", "tiny_run"]

VERSES = Path(__file__).parent / "data" / "verses.tsv"

#: A network of width 32 over 150 verses in twelve languages: a run of seconds.
TINY = """\
kind: pretrain
name: tiny
data: {{parallel: [{verses}], held_out: 0.1, unit_tokens: 62}}
vocab: {{size: 3000}}
model: {{hidden: 32, layers: 1, feed_forward: 64, heads: 2, positions: 128}}
objectives: [{{type: mlm}}, {{type: contrast}}]
train: {{steps: {steps}, batch_tokens: 300, row_length: 64, threads: 1, evaluate_every: 1000, save_every: 1000}}
"""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads on matrices of width 32 are slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def run(*words: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(word) for word in words])


def command(*words: object) -> list[str]:
    """The command line of a new process."""
    return [sys.executable, "-m", "interlingua.cli", *(str(word) for word in words)]


def in_a_new_process(words: Sequence[object], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        command(*words), capture_output=True, text=True, cwd=cwd, env=environment, timeout=300, check=False
    )


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of 30 steps."""
    file = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    file.write_text(TINY.format(verses=VERSES, steps=30), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def tiny_run(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its finished run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    result = run("pretrain", recipe_file, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder
