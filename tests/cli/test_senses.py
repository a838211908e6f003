"""``probe senses`` over a tiny real run."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from tests.fixtures_cli import run

from interlingua.scores import read_scores

BUNDLED = "package:two.senses.tsv"


def test_senses(tiny_run: Path, tmp_path: Path) -> None:
    # Three words, two layers and the table's; rows in the file; one word drawn as a plain SVG.
    words = ["probe", "senses", tiny_run, BUNDLED, "--layers", "0,-1"]
    document = json.loads(run(*words, "--out", tmp_path / "s.jsonl", "--json").stdout)
    assert len(read_scores(tmp_path / "s.jsonl")) == len(document) == 3 * 3 * 5
    assert {(r["language"], r["n"]) for r in document} == {("en", 16), ("de", 16), ("zh", 16)}
    static = [r["value"] for r in document if r["task"] == "senses.bank.static" and r["metric"] == "silhouette"]
    assert static == [0.0]
    result = run(*words, "--lang", "zh", "--figure", tmp_path / "f.svg")
    assert "zh 东西 (thing 8, east-west 8)" in result.stdout
    assert "16 sentences, 0 without the word" in result.stderr
    assert ElementTree.parse(tmp_path / "f.svg").getroot().tag.endswith("svg")


def test_a_word_left_out_is_named(tiny_run: Path, tmp_path: Path) -> None:
    rows = [("bank", "ab", 4), ("tree", "ab", 2)]
    lines = [f"en\t{w}\t{senses[i % 2]}\tthe {w} number {i}\n" for w, senses, n in rows for i in range(n)]
    (tmp_path / "s.tsv").write_text("lang\tword\tsense\ttext\n" + "".join(lines), encoding="utf-8")
    result = run("probe", "senses", tiny_run, tmp_path / "s.tsv", "--layers", "0")
    assert result.exit_code == 0, result.output
    assert "en bank (a 2, b 2)" in result.stdout
    assert "left out, as each of two senses needs two sentences: a 1, b 1 of 'tree'" in result.stderr


def test_what_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "long.tsv").write_text("a\ta bank\nb\tthe bank\n" * 31, encoding="utf-8")
    (tmp_path / "one.tsv").write_text("a\ta bank\na\tthe bank\n", encoding="utf-8")
    given = ["--word", "bank", "--lang", "en"]
    for words, code, text in (
        ([BUNDLED, "--figure", tmp_path / "f.svg"], 2, "the file has 3"),
        ([tmp_path / "long.tsv", *given, "--layers", "0", "--figure", tmp_path / "f.svg"], 2, "60 sentences at most"),
        ([tmp_path / "one.tsv", *given], 1, "a 2 of 'bank'"),
        ([tmp_path / "one.tsv"], 1, "name no word"),
        ([BUNDLED, "--word", "tree"], 1, "no sentence of 'tree'"),
        ([BUNDLED, "--layers", "x"], 2, "whole numbers"),
        (["package:no.senses.tsv"], 1, "no file"),
    ):
        result = run("probe", "senses", tiny_run, *words)
        assert result.exit_code == code, result.output
        assert text in result.stderr
