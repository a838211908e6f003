"""The launch files: shells accept them, and every verb and option they use exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.fixtures_cli import run

LAUNCH = Path(__file__).parents[1] / "launch"
FILES = sorted(LAUNCH.iterdir())


def commands(text: str) -> list[list[str]]:
    """Calls of interlingua, lines joined."""
    joined = text.replace("\\\n", " ")
    return [
        line.split()
        for line in re.findall(r"^(?:srun torchrun .* -m interlingua\.cli|interlingua) (.*)$", joined, re.M)
    ]


def test_there_are_three():
    """One machine, eight GPUs, eight machines."""
    assert [file.name for file in FILES] == ["eight-gpus.sh", "eight-machines.sbatch", "one-machine.sh"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shells_and_the_command_line_accept_them(file):
    """`bash -n`; verbs are there, their options are in their help, and their keys in the recipe."""
    subprocess.run(["bash", "-n", str(file)], check=True)
    found = commands(file.read_text(encoding="utf-8"))
    assert found
    for words in found:
        verb = words[: 2 if words[0] in {"corpus", "shards"} else 1]
        shown = run(*verb, "--help")
        assert shown.exit_code == 0, words
        for word in words:
            if word.startswith("--"):
                assert word in shown.stdout, (verb, word)
            elif re.match(r'"?[a-z]+\.[a-z_]+=', word):
                assert f"{word.strip(chr(34)).partition('=')[0]}=" in shown.stdout, (verb, word)


def test_slurm_asks_for_eight_machines():
    """The head that sbatch reads, and one torchrun a machine."""
    text = (LAUNCH / "eight-machines.sbatch").read_text(encoding="utf-8")
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.M))
    assert (asked["nodes"], asked["ntasks-per-node"], asked["gpus-per-node"]) == ("8", "1", "8")
    assert "--nproc-per-node=8" in text
