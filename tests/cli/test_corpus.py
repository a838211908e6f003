"""`corpus build` and `bench corpus` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fixtures_cli import run
from tests.fixtures_corpora import kept_texts, write_lines

TEXTS = {
    "en": ["The river rose in the night, and nobody crossed it.", "Nobody in the village had seen so much water."],
    "de": [
        "Der Fluss stieg in der Nacht, und niemand überquerte ihn.",
        "Niemand im Dorf hatte je so viel Wasser gesehen.",
    ],
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    for lang, texts in TEXTS.items():
        write_lines(tmp_path / f"{lang}.jsonl", [*texts, texts[0], "?!"], lang=lang)
    (tmp_path / "my.yaml").write_text(f"kind: corpus\nname: mine\nsources:\n  - path: {tmp_path}/*.jsonl\n")
    return tmp_path / "my.yaml"


def test_build_says_what_was_kept_and_why_not(recipe: Path, tmp_path: Path) -> None:
    # Oracle: the four texts and their copies, counted by hand.
    result = run("corpus", "build", str(recipe), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    for words in (["English", "en", "4", "2"], ["German", "de", "4", "2"]):
        assert any(line.split()[:4] == words for line in result.stdout.splitlines())
    assert "copy" in result.stdout
    assert "short" in result.stdout
    assert kept_texts(tmp_path / "out", "de") == TEXTS["de"]
    document = json.loads(run("corpus", "build", str(recipe), "--out", str(tmp_path / "out"), "--json").stdout)
    assert document["statistics"]["texts"]["de"]["dropped"] == {"copy": 1, "short": 1}


def test_slurm_scripts_are_written_and_not_submitted(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("corpus", "build", str(recipe), "--out", str(out), "--executor", "slurm", "slurm.partition=long")
    assert result.exit_code == 0, result.output
    assert f"bash {out}/slurm/submit.sh" in result.stdout
    assert "--partition=long" in (out / "slurm" / "1-prepare.slurm").read_text()


def test_wrong_recipes_are_explained(recipe: Path, tmp_path: Path) -> None:
    wrong = run("corpus", "build", str(recipe), "--out", str(tmp_path / "x"), "duplicates.exakt=false")
    assert (wrong.exit_code, "did you mean 'exact'" in wrong.stderr) == (1, True)
    missing = run("corpus", "build", str(recipe), "--out", str(tmp_path / "y"), "sources=[{path: nowhere.txt}]")
    assert (missing.exit_code, "no such file: 'nowhere.txt'" in missing.stderr) == (1, True)
    other = run("pretrain", "corpus")
    assert (other.exit_code, "interlingua corpus build runs this one" in other.stderr) == (1, True)


def test_recipe_verbs_know_it(recipe: Path) -> None:
    assert "a corpus recipe that can run; 2 file(s)" in run("recipe", "check", str(recipe)).stdout
    assert "floor: 0.5  # Least probability" in run("recipe", "show", "corpus").stdout


@pytest.mark.soak
def test_bench_measures_both_sides(recipe: Path) -> None:
    # Both sides keep about the same; what the ratio is, a test does not say.
    words = ["bench", "corpus", "corpus", "--megabytes", "2", "--repeats", "1", "--size", "3", "--json"]
    document = json.loads(run(*words).stdout)
    ours, theirs = document["runs"]
    assert (ours["side"], theirs["side"]) == ("ours", "datatrove")
    assert abs(ours["kept"] - theirs["kept"]) < 0.05 * theirs["kept"]
    assert document["sizes"][0]["megabytes"] >= 3
