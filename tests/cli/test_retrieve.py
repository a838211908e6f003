"""``interlingua retrieve`` over a tiny real run: documents, tables, files and refusals."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import pytest
from tests.fixtures_cli import VERSES, run

from interlingua.scores import read_scores


@pytest.fixture(scope="module")
def verses() -> list[dict[str, str]]:
    with VERSES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_sentences(tiny_run: Path, tmp_path: Path) -> None:
    # Two languages, three scorings, with and without means: rows of the document, of the file, and tables.
    words = ["retrieve", "sentences", tiny_run, VERSES, "--languages", "de,fr", "--limit", 20, "--task", "verses",
             "--scoring", "cosine,csls,ratio", "--centre", "--out", tmp_path / "s.jsonl"]  # fmt: skip
    document = json.loads(run(*words, "--json").stdout)
    assert len(document) == 2 * 3 * 2 * 3
    assert {(row["language"], row["n"], row["task"]) for row in document} == {
        ("de", 20, "verses"),
        ("fr", 20, "verses"),
    }
    assert len(read_scores(tmp_path / "s.jsonl")) == len(document)
    # What `probe retrieve` says of the same rows.
    probe = run("probe", "retrieve", tiny_run, "--parallel", VERSES, "--limit", 20, "--json")
    plain = {
        (r["language"], r["metric"]): r["value"]
        for r in document
        if not r["model"].endswith(("csls", "ratio", "centred"))
    }
    probed = {(r["language"], r["metric"]): r["value"] for r in json.loads(probe.stdout)}
    assert plain == {key: value for key, value in probed.items() if key in plain}
    assert len(plain) == 6
    result = run(*words)
    assert result.stdout.count("mean of 2") == 6
    assert "40 pairs in 2 languages, 60 different texts; 0 blank, 0 without a translation" in result.stderr


def test_texts_over_the_limit_are_counted(tiny_run: Path, tmp_path: Path) -> None:
    # Two of four texts are far longer than the encoder reads; both verbs say so, and count every pair.
    file = tmp_path / "long.tsv"
    file.write_text(f"id\ten\tde\n1\t{'the sea ' * 900}\tdas Meer\n2\tno\t{'nein ' * 900}\n", encoding="utf-8")
    for words in (["probe", "retrieve", tiny_run, "--parallel", file], ["retrieve", "sentences", tiny_run, file]):
        result = run(*words, "--json")
        assert "2 different texts are longer than the" in result.stderr
        assert {row["n"] for row in json.loads(result.stdout)} == {2}


def test_predictions_take_one_way(tiny_run: Path, tmp_path: Path) -> None:
    # A file a language with a line a sentence; with several scorings: usage.
    words = ["retrieve", "sentences", tiny_run, VERSES, "--languages", "de", "--limit", 20, "--predictions", tmp_path]
    assert run(*words).exit_code == 0
    places = (tmp_path / "tatoeba" / "test-de.tsv").read_text().splitlines()
    assert len(places) == 20
    assert {int(place) for place in places} <= set(range(20))
    for more in (["--centre"], ["--scoring", "cosine,ratio"], ["--scoring", ","]):
        assert run(*words, *more).exit_code == 2
    again = run("retrieve", "sentences", tiny_run, VERSES, VERSES, "--languages", "de")
    assert again.exit_code == 1
    assert "'de' twice" in again.stderr


def test_bitext(tiny_run: Path, tmp_path: Path, verses: list[dict[str, str]]) -> None:
    # Lists in which every third verse has no partner; the threshold of one part scores the other.
    for part, chosen in (("training", verses[:60]), ("test", verses[60:120])):
        for lang, left_out in (("de", 1), ("en", 2)):
            kept = [row for i, row in enumerate(chosen) if i % 3 != left_out]
            text = "".join(f"{lang}-{row['id']}\t{row[lang]}\n" for row in kept)
            (tmp_path / f"de-en.{part}.{lang}").write_text(text, encoding="utf-8")
        gold = "".join(f"de-{row['id']}\ten-{row['id']}\n" for i, row in enumerate(chosen) if i % 3 == 0)
        (tmp_path / f"de-en.{part}.gold").write_text(gold, encoding="utf-8")
    words = ["retrieve", "bitext", tiny_run, tmp_path / "de-en"]
    (one,) = json.loads(run(*words, "--out", tmp_path / "s.jsonl", "--predictions", tmp_path, "--json").stdout)
    assert {s["metric"]: s["n"] for s in one["scores"]} == {"precision": 20, "recall": 20, "f1": 20}
    assert len(read_scores(tmp_path / "s.jsonl")) == 3
    lines = (tmp_path / "bucc2018" / "test-de.tsv").read_text().splitlines()
    assert len(lines) == one["pairs"]
    # The same threshold by hand gives the same pairs; without known pairs there are pairs and no scores.
    (tmp_path / "de-en.test.gold").unlink()
    (again,) = json.loads(run(*words, "--threshold", one["threshold"], "--json").stdout)
    assert (again["pairs"], again["scores"]) == (one["pairs"], [])
    assert "true pairs" in run(*words).stdout
    refused = run(*words, "--tune", "test")
    assert refused.exit_code == 1
    assert "no true pairs" in refused.stderr


def test_passages(tiny_run: Path, tmp_path: Path, verses: list[dict[str, str]]) -> None:
    # A verse asks for the next one: within a language, into two others, and from a folder as BEIR's.
    for lang in ("en", "de", "fr"):
        lines = (
            json.dumps({"id": row["id"], "question": row[lang], "context": after[lang]}) + "\n"
            for row, after in itertools.pairwise(verses[:16])
        )
        (tmp_path / f"{lang}.jsonl").write_text("".join(lines), encoding="utf-8")
    files = [f"{lang}={tmp_path / lang}.jsonl" for lang in ("de", "fr")]
    words = ["retrieve", "passages", tiny_run, *files]
    within = json.loads(run(*words, "--json").stdout)
    assert {(row["task"], row["language"], row["n"]) for row in within} == {
        ("passages", "de", 15),
        ("passages", "fr", 15),
    }
    across = ["--passages", f"en={tmp_path / 'en'}.jsonl", "--passages", f"fr={tmp_path / 'fr'}.jsonl"]
    result = run(*words, *across, "--centre", "--out", tmp_path / "s.jsonl")
    assert result.stdout.count("mean of 2") == 4
    assert {s.task for s in read_scores(tmp_path / "s.jsonl")} == {"passages-en", "passages-fr"}
    folder = tmp_path / "beir"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text('{"_id": "p", "text": "bread"}\n', encoding="utf-8")
    (folder / "queries.jsonl").write_text(
        '{"_id": "q", "text": "bread"}\n{"_id": "r", "text": "x"}\n', encoding="utf-8"
    )
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\tp\t1\n", encoding="utf-8")
    alone = run("retrieve", "passages", tiny_run, f"en={folder}")
    assert alone.exit_code == 0, alone.output
    assert alone.stdout.count("1.000") == 10
    for wrong, code, text in ((["x.jsonl"], 2, "expected LANG=FILE"), ([*files, "--languages", "it"], 1, "no queries")):
        refused = run("retrieve", "passages", tiny_run, *wrong)
        assert refused.exit_code == code
        assert text in refused.stderr
