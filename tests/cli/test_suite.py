"""``evaluate --suite``: tables as the rows say, JSON, what was kept, and differences between runs."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
from tests.fixtures_cli import run

from interlingua.scores import read_scores

LANGS = ("en", "de", "sw")


@pytest.fixture(scope="module")
def suite(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions in three languages over a tiny encoder, with a published figure beside."""
    folder = tmp_path_factory.mktemp("suite")
    for lang, word in zip(LANGS, ("the", "der", "ya"), strict=True):
        rows = [
            {"id": str(i), "question": f"{word} {i}?", "context": f"{word} number {i} is here",
             "answers": [{"text": str(i), "answer_start": len(word) + 8}]}
            for i in range(12)
        ]  # fmt: skip
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"qa.{lang}.jsonl").write_text(text, encoding="utf-8")
    files = ", ".join(f"{{path: qa.{lang}.jsonl, lang: {lang}}}" for lang in LANGS)
    (folder / "suite.yaml").write_text(
        f"""\
kind: suite
name: small
model: {tiny_run}
root: {folder}
seeds: [0, 1]
tune: {{epochs: 1, batch_size: 4, threads: 1, max_length: 40}}
entries:
  - name: qa
    task: {{type: span, stride: 4, max_question: 16, train: [{{path: qa.en.jsonl, lang: en}}], test: [{files}]}}
    published: {{mBERT: {{de: 50, mean: 64.5}}}}
    note: made up
""",
        encoding="utf-8",
    )
    return folder


def test_tables_hold_the_means_of_the_rows(suite: Path) -> None:
    """Means over seeds and languages by hand from scores.jsonl; published figures as shares; (EM + F1) / 2."""
    out = suite / "run"
    result = run("evaluate", "--suite", suite / "suite.yaml", "--out", out)
    assert result.exit_code == 0, result.stderr
    scores = read_scores(out / "scores.jsonl")
    means = {
        (metric, lang): statistics.fmean(s.value for s in scores if s.metric == metric and s.language == lang)
        for metric in ("em", "f1")
        for lang in LANGS
    }
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    for lang in LANGS:
        assert f"{means['f1', lang]:.3f} +/-" in lines[lang]
    assert "0.500" in lines["de"]
    f1, em = (statistics.fmean(means[metric, lang] for lang in LANGS) for metric in ("f1", "em"))
    shown = [line.split() for line in result.stdout.splitlines() if line.lstrip().startswith("mean")]
    assert shown[0][1:] == [f"{f1:.3f}", "0.645"]
    assert shown[1][-2] == f"{(f1 + em) / 2:.3f}"
    assert "6 tests computed, 0 kept" in result.stdout
    again = json.loads(run("evaluate", "--suite", suite / "suite.yaml", "--out", out, "--json").stdout)
    assert (again["computed"], again["kept"]) == (0, 6)
    assert len(again["rows"]) == len(scores)
    against = json.loads(
        run("evaluate", "--suite", suite / "suite.yaml", "--out", out, "--against", out, "--json").stdout
    )
    assert {d["p"] for d in against["differences"]} == {1.0}


def test_nothing_to_evaluate_is_said(suite: Path) -> None:
    """Neither runs nor a suite; a suite that is another kind of recipe."""
    result = run("evaluate")
    assert result.exit_code == 1
    assert "run folders of `finetune`, or --suite RECIPE" in result.stderr
    wrong = run("evaluate", "--suite", "topics")
    assert wrong.exit_code == 1
    assert "kind 'finetune'" in wrong.stderr


def test_texts_in_two_languages_have_rows(suite: Path) -> None:
    """Questions and passages of different files: shown, and in the mean only where there is no language alone."""
    crossed = "{path: qa.en.jsonl, lang: en, path_pair: qa.de.jsonl, lang_pair: de}"
    text = (suite / "suite.yaml").read_text(encoding="utf-8")
    head, _, tests = text.partition("test: [")
    for name, files in (("alone", crossed), ("both", "{path: qa.de.jsonl, lang: de}, " + crossed)):
        own = head + "test: [" + files + tests[tests.index("]") :]
        (suite / f"{name}.yaml").write_text(own, encoding="utf-8")
        result = run("evaluate", "--suite", suite / f"{name}.yaml", "seeds=[0]", "--out", suite / name)
        assert result.exit_code == 0, result.stderr
        lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
        value = next(s.value for s in read_scores(suite / name / "scores.jsonl")
                     if s.metric == "f1" and s.language == "en/de")  # fmt: skip
        assert lines["en/de"][1] == f"{value:.3f}"
        alone = [line for line in result.stdout.splitlines() if line.split()[:4] == ["mean", "of", "one", "language"]]
        assert len(alone) == (name == "both")
        if name == "alone":
            assert lines["mean"][1] == f"{value:.3f}"
