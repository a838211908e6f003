"""The verbs that measure, over a tiny real run: what they print is what the library found, as JSON and as a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.fixtures_cli import VERSES, run

from interlingua.cli.parallel import by_language, parallel_rows
from interlingua.errors import LanguageError
from interlingua.scores import Score, append_scores, read_scores


@pytest.fixture(scope="session")
def tuned(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a task that can be told from a word: which of two books of the Bible is named."""
    folder = tmp_path_factory.mktemp("tuned")
    names = {"en": "the", "de": "der", "sw": "ya"}
    for lang, word in names.items():
        rows = [(f"{word} {'one' if i % 2 else 'two'} {i}", "odd" if i % 2 else "even") for i in range(24)]
        text = "text\tlabel\n" + "".join(f"{a}\t{b}\n" for a, b in rows)
        (folder / f"{lang}.tsv").write_text(text, encoding="utf-8")
    recipe = folder / "parity.yaml"
    recipe.write_text(
        f"""\
kind: finetune
name: parity
model: {tiny_run}
seeds: [0, 1]
task:
  name: parity
  train: [{{path: {folder}/en.tsv, lang: en}}]
  test: [{{path: {folder}/en.tsv, lang: en}}, {{path: {folder}/de.tsv, lang: de}}]
tune: {{epochs: 2, freeze: none, threads: 1, lr: 0.01}}
""",
        encoding="utf-8",
    )
    result = run("finetune", recipe, "--out", folder / "run", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [entry["seed"] for entry in document["tuned"]] == [0, 1]
    assert sorted(document["labels"]) == ["even", "odd"]
    return folder


def test_evaluate(tuned: Path) -> None:
    # The document's means against the rows of scores.jsonl; controls of all three kinds; both models.
    result = run("evaluate", tuned / "run", "--shift", "--controls", "majority,tfidf,random", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["metric"], document["source"]) == ("accuracy", "en")
    rows = {row["language"]: row for row in document["rows"]["tuned"]}
    assert set(rows) == {"en", "de"}
    scores = read_scores(tuned / "run" / "scores.jsonl")
    for lang, row in rows.items():
        own = [s.value for s in scores if (s.model, s.language, s.metric) == ("tuned", lang, "accuracy")]
        assert len(own) == row["seeds"] == 2
        assert row["mean"] == pytest.approx(sum(own) / 2)
        assert set(row["controls"]) == {"majority", "tfidf", "random"}
        assert row["controls"]["majority"] == 0.5
    assert {row["language"] for row in document["rows"]["tuned+shift"]} == {"en", "de"}
    steered = run("evaluate", tuned / "run", "--steer", "0,1", "--out", tuned / "steered.jsonl")
    assert steered.exit_code == 0, steered.output
    assert "highest mutual information of text and predicted class" in " ".join(steered.stdout.split())
    assert {s.model for s in read_scores(tuned / "steered.jsonl")} == {"tuned", "tuned+steer@0", "tuned+steer@1"}
    assert run("evaluate", tuned / "run", "--steer", "all").exit_code == 2


def test_evaluate_other_files_and_one_seed(tuned: Path) -> None:
    # --test takes the place of the recipe's files; a seed folder finds the run's recipe; scores go where told.
    out = tuned / "elsewhere.jsonl"
    result = run("evaluate", tuned / "run" / "seed-1", "--test", f"sw={tuned / 'sw.tsv'}", "--out", out)
    assert result.exit_code == 0, result.output
    assert "Kiswahili" in result.stdout
    assert "over seeds 1;" in result.stdout
    assert {score.language for score in read_scores(out)} == {"sw"}


def test_evaluate_tells_what_is_wrong(tuned: Path, tmp_path: Path) -> None:
    # No recipe near, an unknown control, a language without examples: 1; a word that is no LANG=FILE: 2.
    for words, code, text in (
        ([tmp_path], 1, "no recipe.yaml"),
        ([tuned / "run", "--controls", "majorty"], 1, "did you mean 'majority'?"),
        ([tuned / "run", "--languages", "fr"], 1, "no examples in 'fr'"),
        ([tuned / "run", "--test", "en"], 2, "expected LANG=FILE"),
    ):
        result = run("evaluate", *words)
        assert result.exit_code == code, result.output
        assert text in result.stderr


def test_report_of_a_run(tuned: Path, tiny_run: Path) -> None:
    # Both kinds of run have a page, and the verb says where.
    run("evaluate", tuned / "run")
    for folder in (tuned / "run", tiny_run):
        result = run("report", folder, "--json")
        assert result.exit_code == 0, result.output
        assert Path(json.loads(result.stdout)["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_retrieve(tiny_run: Path, tmp_path: Path) -> None:
    # Three figures for each of the eleven other languages, over the rows asked for; the mean is that of both ways.
    words = ["probe", "retrieve", tiny_run, "--parallel", VERSES, "--limit", 20]
    document = json.loads(run(*words, "--out", tmp_path / "s.jsonl", "--json").stdout)
    by = {(row["language"], row["metric"]): row["value"] for row in document}
    assert len(by) == 33
    assert {row["n"] for row in document} == {20}
    for lang in {lang for lang, _ in by}:
        assert by[lang, "p1"] == pytest.approx((by[lang, "p1_from_source"] + by[lang, "p1_to_source"]) / 2)
    assert len(read_scores(tmp_path / "s.jsonl")) == 33
    assert "mean of 11" in run(*words, "--vectors", "centred").stdout
    # Several layers and ways: a table of means, the best one's languages, and a figure.
    several = [*words, "--layers", "all", "--vectors", "raw,centred,lsar", "--figure", tmp_path / "layers.svg"]
    printed = run(*several).stdout
    assert "P@1, mean of 11 languages" in printed
    assert "highest, " in printed
    assert "+lsar" in (tmp_path / "layers.svg").read_text(encoding="utf-8")
    for bad, text in (
        (["--figure", tmp_path / "x.svg"], "--figure draws layers"),
        (["--vectors", ","], "--vectors names nothing"),
        (["--layers", "0,x"], "expected whole numbers"),
    ):
        refused = run(*words, *bad)
        assert refused.exit_code == 2
        assert text in refused.stderr


def test_vocabulary(tmp_path: Path, recipe_file: Path) -> None:
    # Trained, measured by name of its folder and with single files beside; English is its own measure of parity.
    folder = tmp_path / "vocab"
    document = json.loads(run("vocab", "train", recipe_file, "--out", folder, "--json").stdout)
    assert document["size"] == 3000
    result = run("vocab", "report", folder, "--parallel", VERSES, "--json")
    rows = {row["lang"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows["en"]["parity"] == 1
    assert len(rows) == 12
    (tmp_path / "de.txt").write_text("Im Anfang war das Wort\n", encoding="utf-8")
    alone = json.loads(run("vocab", "report", folder, "--texts", f"deu={tmp_path / 'de.txt'}", "--json").stdout)["rows"]
    assert [(row["lang"], row["words"], row["parity"]) for row in alone] == [("de", 5, None)]
    again = run("vocab", "train", recipe_file, "--out", folder)
    assert again.exit_code == 1
    assert "choose another folder" in again.stderr
    assert run("vocab", "report", folder).exit_code == 2


def test_rows_of_a_parallel_file(tmp_path: Path) -> None:
    # Hand-made: rows with more languages first, rows without the source never, the rest counted.
    file = tmp_path / "p.tsv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter="\t").writerows(
            [["id", "en", "de", "sw"], ["1", "a", "b", ""], ["2", "", "b", "c"], ["3", "a", "b", "c"]]
        )
    found = parallel_rows(file, limit=2)
    assert list(found.texts) == ["3", "1"]
    assert found.passed_over == 1
    assert by_language(found.texts) == {"en": {"3": "a", "1": "a"}, "de": {"3": "b", "1": "b"}, "sw": {"3": "c"}}
    with pytest.raises(LanguageError, match="'fr'"):
        parallel_rows(file, limit=2, source="fr")


def test_forecast_takes_a_models_alignment(tiny_run: Path, tmp_path: Path) -> None:
    # A language of the parallel text has the fact, one that is not in it lacks it by name.
    languages = ["de", "fr", "es", "ru", "ja", "ko", "vi", "el", "fi", "hu", "it"]
    append_scores(
        tmp_path / "scores.jsonl",
        [Score("m", "t", lang, "test", "accuracy", 0.5 + 0.01 * i, 100) for i, lang in enumerate(languages)],
    )
    words = ["forecast", tmp_path / "scores.jsonl", "--for", "my,pt", "--parallel", VERSES, "--limit", 20, "--json"]
    found = json.loads(run(*words, "--model", tiny_run).stdout)
    assert found["lacking_facts"] == {"pt": ["P@1 with English"]}
    assert run(*words).exit_code == 2
