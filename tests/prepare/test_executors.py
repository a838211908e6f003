"""Ray and Slurm: the same bytes as on this machine; Slurm's scripts are run by a small stand-in for sbatch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fixtures_corpora import corpus_bytes

from interlingua.errors import RunError
from interlingua.prepare import build_corpus
from interlingua.recipe_corpus import CorpusRecipe

# Runs each array task at once, in order; a job begins only when those it depends on are done, as afterok has it.
SBATCH = """#!/bin/bash
set -e
echo "$@" >> "$FAKE/calls"
script="${@: -1}"
array=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
number=$(( $(wc -l < "$FAKE/calls") + 100 ))
for task in $(seq 0 "$array"); do
  SLURM_JOB_ID=$number SLURM_ARRAY_TASK_ID=$task SLURM_NODELIST=node1 bash "$script" >> "$FAKE/output" 2>&1
done
echo "$number"
"""
SRUN = """#!/bin/bash
while [[ "$1" == -* ]]; do if [[ "$1" == -n ]]; then shift; fi; shift; done
exec "$@"
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> CorpusRecipe:
    """Real sentences in four small files, each a task."""
    from interlingua.data import read_packed

    folder = tmp_path_factory.mktemp("input")
    header, *rows = read_packed("general.tsv.zst").splitlines()
    for number in range(4):
        lines = [header, *rows[number::4], *rows[:20]]
        (folder / f"{number}.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return CorpusRecipe(sources=[{"path": folder}], pairs=True, task_mb=0.1)


@pytest.fixture(scope="module")
def local(recipe: CorpusRecipe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The corpus as one process builds it."""
    out = tmp_path_factory.mktemp("local") / "out"
    build_corpus(recipe, out)
    return corpus_bytes(out)


def slurm_folder(tmp_path: Path) -> dict[str, str]:
    """An environment in which `sbatch`, `srun` and `scontrol` are found."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("scontrol", "#!/bin/bash\necho node1\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    here = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{programs}:{here}:{os.environ['PATH']}", "FAKE": str(tmp_path)}


def test_slurm_scripts_build_the_same_bytes(recipe: CorpusRecipe, local: dict[str, bytes], tmp_path: Path) -> None:
    # Oracles: `bash -n`, the options sbatch documents, and the bytes of a local build after submit.sh has been run.
    out = tmp_path / "out"
    slurm = {"partition": "long", "time": "02:00:00", "memory_gb": 3, "setup": "echo ready", "jobs": 2}
    result = build_corpus(
        recipe.model_copy(update={"slurm": recipe.slurm.model_copy(update=slurm)}), out, executor="slurm"
    )
    assert result.statistics is None
    assert result.submit is not None
    scripts = sorted((out / "slurm").glob("*.slurm"))
    assert [script.stem for script in scripts] == [
        "1-prepare", "2-copies", "3-near-copies", "4-join", "5-write", "6-finish"]  # fmt: skip
    for script in (*scripts, result.submit):
        subprocess.run(["bash", "-n", str(script)], check=True)
    for script in scripts:
        head = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", script.read_text(), flags=re.MULTILINE))
        assert (head["partition"], head["time"], head["mem-per-cpu"], head["cpus-per-task"]) == (
            "long", "02:00:00", "3G", "1")  # fmt: skip
        assert re.fullmatch(r"0-[01]%1", head["array"])
        assert "echo ready" in script.read_text()
    subprocess.run(["bash", str(result.submit)], check=True, env=slurm_folder(tmp_path), capture_output=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    after = [re.findall(r"--dependency=afterok:(\d+)", call) for call in calls]
    assert after == [[], ["101"], ["102"], ["103"], ["104"], ["105"]]
    assert corpus_bytes(out) == local


def test_slurm_writes_only_what_is_left(recipe: CorpusRecipe, tmp_path: Path) -> None:
    # Two of the tasks are marked as done by hand; the array holds the others.
    out = tmp_path / "out"
    marks = out / "logs" / "prepare" / "completions"
    build_corpus(recipe, out, executor="slurm")
    tasks = len(list(re.findall(r"0-(\d+)", (out / "slurm" / "1-prepare.slurm").read_text())[0]))
    assert tasks == 1
    marks.mkdir(parents=True, exist_ok=True)
    (marks / "00000").touch()
    (marks / "00002").touch()
    build_corpus(recipe, out, executor="slurm")
    assert (out / "logs" / "prepare" / "ranks_to_run.json").read_text() == "[1, 3]"
    assert "--array=0-1%1" in (out / "slurm" / "1-prepare.slurm").read_text()


RAY = """
import sys, warnings
warnings.simplefilter("ignore")
import ray
from pathlib import Path
from ray.cluster_utils import Cluster
from interlingua.prepare import build_corpus
from interlingua.recipe_corpus import CorpusRecipe
from interlingua.recipe_file import load_recipe

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)
print("nodes", sum(node["Alive"] for node in ray.nodes()))
try:
    build_corpus(load_recipe(sys.argv[1], CorpusRecipe), Path(sys.argv[2]), executor="ray", workers=2)
finally:
    ray.shutdown()
    cluster.shutdown()
"""


def on_ray(recipe: CorpusRecipe, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Build on a cluster of two nodes, each a real Ray worker with one core."""
    from interlingua.recipe_file import to_yaml

    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    command = [sys.executable, "-c", RAY, str(tmp_path / "recipe.yaml"), str(tmp_path / "out")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=570)


@pytest.mark.soak
def test_ray_builds_the_same_bytes(recipe: CorpusRecipe, local: dict[str, bytes], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    done = on_ray(recipe, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "nodes 2" in done.stdout
    assert corpus_bytes(tmp_path / "out") == local


@pytest.mark.soak
def test_ray_says_which_task_failed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "bad.jsonl").write_text("no json\n")
    done = on_ray(CorpusRecipe(sources=[{"path": tmp_path / "bad.jsonl"}], on_bad="raise"), tmp_path)
    assert RunError.__name__ in done.stderr
    assert "task_00000.log" in done.stderr
