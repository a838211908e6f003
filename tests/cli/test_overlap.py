"""``probe overlap`` with a real tokenizer: rows, entities, correlations, a figure; what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.fixtures_cli import VERSES, run

from interlingua.scores import Score, append_scores, read_scores

LANGUAGES = ("de", "fr", "es", "fi", "hu", "ru")


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    path = tmp_path / "scores.jsonl"
    rows = [
        Score(model, "topics", lang, "test", "accuracy", 0.9 - 0.1 * i * (1 + seed), 100, seed)
        for model in ("one", "two") for seed in (0, 1) for i, lang in enumerate(("en", *LANGUAGES))
    ]  # fmt: skip
    append_scores(path, rows)
    return path


def test_overlap(tiny_run: Path, scores: Path, tmp_path: Path) -> None:
    # Rows a language but the source; entities of two languages; one model's means over seeds drawn.
    (tmp_path / "en.tsv").write_text("Joseph\tB-PER\nwent\tO\n\nBethlehem\tB-LOC\n", encoding="utf-8")
    (tmp_path / "de.tsv").write_text("Joseph\tB-PER\nging\tO\n", encoding="utf-8")
    words = ["probe", "overlap", tiny_run, VERSES, "--limit", 50]
    entities = [w for lang in ("en", "de") for w in ("--entities", f"{lang}={tmp_path / lang}.tsv")]
    of = ["--scores", scores, "--task", "topics", "--metric", "accuracy"]
    result = run(*words, *entities, *of, "--out", tmp_path / "out.jsonl", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert len(read_scores(tmp_path / "out.jsonl")) == len(document["scores"]) == 11 * 3 + 1
    # The same word alone in both, of two in English: by hand from the words' own subwords.
    (row,) = [r for r in document["scores"] if r["metric"] == "entity_jaccard"]
    assert (row["language"], 0 < row["value"] < 1) == ("de", True)
    # Six languages have scores, entities have one: too few, and said, also where nobody reads JSON.
    assert {(o["model"], o["measure"]) for o in document["left_out"]} == {
        ("one", "entity_jaccard"), ("two", "entity_jaccard")
    }  # fmt: skip
    said = "one with Jaccard, entities: no correlation, 1 languages with both numbers: de; expected 5 at least"
    assert said in run(*words, *entities, *of).stdout
    assert {c["model"] for c in document["correlations"]} == {"one", "two"}
    assert {c["correlation"]["n"] for c in document["correlations"]} == {6}
    result = run(*words, *of, "--model", "one", "--figure", tmp_path / "f.svg")
    assert "correlation over languages" in result.stdout
    assert ElementTree.parse(tmp_path / "f.svg").getroot().tag.endswith("svg")
    assert "correlation" not in run(*words).stdout


def test_a_score_that_does_not_vary_loses_nothing(tiny_run: Path, tmp_path: Path) -> None:
    # One model is as good everywhere and one knows two languages; the third's correlations are there all the same.
    rows = [Score("flat", "topics", lang, "test", "accuracy", 0.5, 9) for lang in LANGUAGES]
    rows += [Score("few", "topics", lang, "test", "accuracy", i / 9, 9) for i, lang in enumerate(LANGUAGES[:2])]
    rows += [Score("good", "topics", lang, "test", "accuracy", i / 9, 9) for i, lang in enumerate(LANGUAGES)]
    append_scores(tmp_path / "s.jsonl", rows)
    of = ["--scores", tmp_path / "s.jsonl", "--task", "topics", "--metric", "accuracy"]
    result = run("probe", "overlap", tiny_run, VERSES, "--limit", 20, *of, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [c["model"] for c in document["correlations"]] == ["good"] * 3
    assert [o["why"].partition(";")[0] for o in document["left_out"]] == [
        *["the same number for all 6 languages"] * 3, *["2 languages with both numbers: de, fr"] * 3
    ]  # fmt: skip


def test_scores_are_of_one_split(tiny_run: Path, scores: Path) -> None:
    # Scores of another part of the data change nothing, and can be asked for.
    words = ["probe", "overlap", tiny_run, VERSES, "--limit", 20, "--json"]
    of = ["--scores", scores, "--task", "topics", "--metric", "accuracy", "--model", "one"]
    before = json.loads(run(*words, *of).stdout)["correlations"]
    append_scores(
        scores,
        [Score("one", "topics", lang, "dev", "accuracy", (i % 3) / 3, 9, 0) for i, lang in enumerate(LANGUAGES)],
    )
    assert json.loads(run(*words, *of).stdout)["correlations"] == before
    assert json.loads(run(*words, *of, "--split", "dev").stdout)["correlations"] != before
    result = run(*words, *of, "--split", "all")
    assert result.exit_code == 1
    assert "--split dev, test" in result.stderr


def test_what_is_refused(tiny_run: Path, scores: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.tsv").write_text("dog\tNOUN\n", encoding="utf-8")
    of = ["--scores", scores, "--task", "topics", "--metric", "accuracy"]
    for words, code, text in (
        (["--scores", scores], 2, "--task and --metric"),
        (["--task", "topics"], 2, "give --scores"),
        ([*of, "--measure", "area"], 2, "expected one of"),
        (["--measure", "entity_jaccard"], 2, "expected one of"),
        ([*of, "--figure", tmp_path / "f.svg"], 2, "among one, two"),
        (["--scores", scores, "--task", "ner", "--metric", "f1"], 1, "topics accuracy of one"),
        (["--scores", tmp_path / "no.jsonl", "--task", "ner", "--metric", "f1"], 1, "no scores at"),
        (["--entities", "en"], 2, "LANG=FILE"),
        (["--entities", f"en={tmp_path / 'plain.tsv'}"], 1, "no entity"),
        (["--source", "pl"], 1, "'pl' and another language"),
        (["--source", "qqq"], 1, "qqq"),
    ):
        result = run("probe", "overlap", tiny_run, VERSES, "--limit", 5, *words)
        assert result.exit_code == code, (words, result.output)
        assert text in result.stderr, (words, result.stderr)


def test_texts_are_of_the_part(tiny_run: Path, tmp_path: Path) -> None:
    # English has other texts in its part train, which stand first; of the part test all are the same: overlap is whole.
    rows = ["en\ttrain\tA king went up.", "en\ttest\tThe son of David", "de\ttest\tThe son of David"]
    (tmp_path / "t.tsv").write_text("\n".join(["lang\tsplit\ttext", *rows]) + "\n", encoding="utf-8")
    values = {}
    for words in ((), ("--split", "train"), ("--split", "test", "--limit", 1)):
        result = run("probe", "overlap", tiny_run, tmp_path / "t.tsv", *words, "--json")
        if result.exit_code == 0:
            found = {row["metric"]: row["value"] for row in json.loads(result.stdout)["scores"]}
            values[words] = (found["jaccard"], found["tokens_in_source"])
        else:
            assert "text in en" in result.stderr
    assert values == {(): (1.0, 1.0), ("--split", "test", "--limit", 1): (1.0, 1.0)}
