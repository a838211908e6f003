"""Streams and several tasks from the command line, on a tiny real run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fixtures_cli import run

from interlingua.scores import read_scores


@pytest.fixture(scope="session")
def recipes(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe of each kind over the same two tasks."""
    folder = tmp_path_factory.mktemp("several")
    for lang, word in (("en", "the"), ("de", "der")):
        rows = [f"{word} {'one' if i % 2 else 'two'} {i}\t{'odd' if i % 2 else 'even'}\n" for i in range(16)]
        (folder / f"{lang}.tsv").write_text("text\tlabel\n" + "".join(rows), encoding="utf-8")
        tags = "".join(f"{word}\tDET\none\tNUM\n\n" for _ in range(12))
        (folder / f"{lang}.tags.tsv").write_text(tags, encoding="utf-8")
    files = "[{{path: {0}/en{1}, lang: en}}, {{path: {0}/de{1}, lang: de}}]"
    texts, tags = files.format(folder, ".tsv"), files.format(folder, ".tags.tsv")
    common = f"""\
model: {tiny_run}
tasks:
  - {{name: parity, train: {texts}, test: {texts}}}
  - {{type: tag, name: words, train: {tags}, test: {tags}}}
tune: {{epochs: 2, freeze: none, threads: 1, lr: 0.01}}
"""
    (folder / "both.yaml").write_text(f"kind: multitask\nname: both\n{common}", encoding="utf-8")
    (folder / "stream.yaml").write_text(f"kind: continual\nname: stream\nseeds: [0, 1]\n{common}", encoding="utf-8")
    return folder


def test_several_tasks(recipes: Path) -> None:
    # The folders that are named are there, and the verb that measures takes the folder of each task.
    result = run("finetune", recipes / "both.yaml", "--out", recipes / "both", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert set(document["tasks"]) == {"parity", "words"}
    for name, found in document["tasks"].items():
        assert [Path(one["folder"]) for one in found["tuned"]] == [recipes / "both" / name / "seed-0"]
        measured = run("evaluate", recipes / "both" / name, "--json")
        assert measured.exit_code == 0, measured.output
        rows = json.loads(measured.stdout)["rows"]["tuned"]
        assert {row["language"] for row in rows} == {"en", "de"}
    assert "next: interlingua evaluate" in run("finetune", recipes / "both.yaml", "--out", recipes / "both").stdout


def test_a_stream(recipes: Path) -> None:
    # The matrix of the document against the rows of scores.jsonl; the table has a line a network; evaluate goes on.
    result = run("continual", recipes / "stream.yaml", "retain.replay=4", "--out", recipes / "stream", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    names = ["parity/en", "parity/de", "words/en", "words/de"]
    assert document["steps"] == names
    scores = read_scores(recipes / "stream" / "scores.jsonl")
    for k, row in enumerate(document["matrix"]):
        for name, value in zip(names, row, strict=True):
            own = [s.value for s in scores if (s.model, s.split, s.metric) == (f"after-{k}", name, "accuracy")]
            assert len(own) == 2
            assert value == pytest.approx(sum(own) / 2)
    assert set(document["measures"]) == {"0", "1"}
    shown = run("continual", recipes / "stream.yaml", "retain.replay=4", "--out", recipes / "stream").stdout
    assert [line.split()[0] for line in shown.splitlines() if line.strip().startswith("after-")] == [
        f"after-{k}" for k in range(5)
    ]
    assert "forgetting: " in shown
    measured = run("evaluate", recipes / "stream" / "words", "--json")
    assert measured.exit_code == 0, measured.output


def test_a_stream_that_grows(recipes: Path) -> None:
    # Forgetting is 0 and said to be so by the table; evaluate names what was not taught, here all but English.
    steps = "steps=[{task: parity, langs: [en]}, {task: words, langs: [en]}]"
    words = ("retain.grow=true", "tune.method=adapter", "seeds=[0]", steps)
    result = run("continual", recipes / "stream.yaml", *words, "--out", recipes / "grown")
    assert result.exit_code == 0, result.output
    assert "every step that was taught is scored with its own adapter" in result.stdout
    assert "forgetting: 0.000" in result.stdout
    measured = run("evaluate", recipes / "grown" / "parity")
    assert measured.exit_code == 0, measured.output
    assert "not taught, scored with the adapter of parity/en: de" in measured.stdout


def test_adapters_of_languages(recipes: Path, tiny_run: Path) -> None:
    # Trained from text, used under a task; a language without one stops the measuring, or is named below the table.
    for lang in ("en", "fr"):
        (recipes / f"{lang}.txt").write_text(f"the one and the two {lang}\n" * 40, encoding="utf-8")
    texts = [f"{{path: {recipes}/{lang}.txt, lang: {lang}}}" for lang in ("en", "fr")]
    (recipes / "adapt.yaml").write_text(
        f"kind: pretrain\nname: adapt\nadapt: {{encoder: {tiny_run}}}\ndata: {{texts: [{', '.join(texts)}]}}\n"
        "train: {steps: 3, batch_tokens: 200, threads: 1}\n",
        encoding="utf-8",
    )
    assert run("recipe", "check", recipes / "adapt.yaml").exit_code == 0
    trained = run("pretrain", recipes / "adapt.yaml", "--out", recipes / "adapt", "--json")
    assert trained.exit_code == 0, trained.output
    folders = json.loads(trained.stdout)["adapters"]
    assert set(folders) == {"en", "fr"}
    task = f"""\
kind: finetune
model: {tiny_run}
task:
  train: [{{path: {recipes}/en.tsv, lang: en}}]
  test: [{{path: {recipes}/en.tsv, lang: en}}, {{path: {recipes}/de.tsv, lang: de}}]
tune: {{method: madx, epochs: 1, threads: 1, language_adapters: {{en: {folders["en"]}}}}}
"""
    (recipes / "madx.yaml").write_text(task, encoding="utf-8")
    for policy, status in (("error", 1), ("none", 0)):
        words = ("tune.without_adapter=" + policy, "--out", recipes / policy)
        taught = run("finetune", recipes / "madx.yaml", *words)
        assert taught.exit_code == 0, taught.output
        measured = run("evaluate", recipes / policy)
        assert measured.exit_code == status, measured.output
        assert "without a language adapter: de (16 examples)" in measured.stdout or status
        assert "no language adapter for de (16 examples)" in measured.stderr or not status


def test_what_goes_wrong(recipes: Path, tmp_path: Path) -> None:
    # A recipe of the other verb, a task without files, and files that are checked.
    wrong = run("continual", recipes / "both.yaml")
    assert wrong.exit_code == 1
    assert "interlingua finetune runs this one" in wrong.stderr
    empty = run("continual", "stream", "--out", tmp_path / "run")
    assert empty.exit_code == 1
    assert "without training files" in empty.stderr
    for name in ("both", "stream"):
        checked = run("recipe", "check", recipes / f"{name}.yaml")
        assert checked.exit_code == 0, checked.output
        assert "4 file(s) found" in checked.stdout
    assert run("recipe", "check", "stream").exit_code == 1
