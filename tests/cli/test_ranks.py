"""Several ranks from the command line: one that is killed is started again, and errors are said once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.cli.test_pretrain import weights
from tests.fixtures_cli import command

HERE = Path(__file__).parent
#: Two launchers of two ranks: torch's own, with its elastic restarts, and ours for one machine.
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2"]
LAUNCHERS = {
    "torchrun": [sys.executable, *TORCHRUN, "-m", "interlingua.cli", "pretrain"],
    "ranks": command("pretrain", "--ranks", 2),
}


def start(words: list[str], **more) -> subprocess.Popen[str]:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, **more)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> list[str]:
    """Words of a run on two ranks over finished shards, and what it makes when nothing happens."""
    folder = tmp_path_factory.mktemp("ranks")
    verses = HERE.parent / "data" / "verses.tsv"
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"""kind: pretrain
data: {{parallel: [{verses}], held_out: 0.1, unit_tokens: 62}}
vocab: {{kind: wordpiece, size: 3000}}
model: {{hidden: 32, layers: 2, feed_forward: 64, heads: 2, positions: 64, dropout: 0.1}}
objectives: [{{type: mlm}}]
train: {{steps: 60, batch_tokens: 600, row_length: 64, threads: 1, device: cpu, evaluate_every: 1000, save_every: 2}}
""",
        encoding="utf-8",
    )
    process = start([*LAUNCHERS["ranks"], str(recipe), "--out", str(folder / "quiet")])
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert stdout.count("done: 60 steps") == 1
    assert stderr.count("network:") == 1
    return [str(recipe), "--out", str(folder / "quiet")]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_rank_is_started_again(prepared, tmp_path, launcher):
    """SIGKILL of one rank in the middle: the command ends with 0 and the weights of the quiet run, bit for bit."""
    quiet = Path(prepared[-1])
    for part in ("vocab", "shards"):
        shutil.copytree(quiet / part, tmp_path / "run" / part)
    process = start([*LAUNCHERS[launcher], prepared[0], "--out", str(tmp_path / "run")])
    index = tmp_path / "run" / "checkpoints" / "index.json"
    while not index.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    ranks = [p for p in psutil.Process(process.pid).children() if "resource_tracker" not in " ".join(p.cmdline())]
    ranks[-1].send_signal(signal.SIGKILL)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert ("was killed (SIGKILL); all go on" in stderr) == (launcher == "ranks")
    assert weights(tmp_path / "run") == weights(quiet)


def test_an_error_is_said_once(tmp_path, prepared):
    """Shards that are not there: the whole message from one rank, a line from the other, no restart, exit code 1."""
    words = [*LAUNCHERS["ranks"], prepared[0], "--out", str(tmp_path / "run"), "data.shards=nowhere", "vocab.path=v"]
    process = start(words)
    stdout, stderr = process.communicate(timeout=300)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.count("error: ") == 1
    assert stderr.count("where:") == 1
    assert "Traceback" not in stderr
