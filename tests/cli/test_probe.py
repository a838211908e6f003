"""``probe`` over a tiny real run: what is printed is what the library found; what is wrong is said before it works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fixtures_cli import VERSES, run

from interlingua.cli.spoken import spoken_texts
from interlingua.errors import DataError, LanguageError
from interlingua.scores import read_scores


def test_geometry(tiny_run: Path, tmp_path: Path) -> None:
    # Two layers, three languages, rows in the file, distances as a table with zeros on the diagonal.
    words = ["probe", "geometry", tiny_run, VERSES, "--languages", "en,de,fi", "--limit", 10, "--layers", "0,-1"]
    out, table = tmp_path / "s.jsonl", tmp_path / "d.tsv"
    result = run(*words, "--out", out, "--distances", table, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {row["task"] for row in document} == {"geometry.layer0", "geometry.layer1"}
    assert len(read_scores(out)) == len(document) == 2 * (5 + 2 * 3)
    lines = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == ["layer", "lang", "en", "de", "fi"]
    assert len(lines) == 7
    assert [float(row[2 + i]) for i, row in enumerate(lines[1:4])] == [0, 0, 0]
    drawn = run(*words, "--figure", tmp_path / "layers.svg", "--map", tmp_path / "map.svg")
    assert "V-measure" in drawn.stdout
    assert "language named" in (tmp_path / "layers.svg").read_text(encoding="utf-8")
    assert "Map of 3 languages" in (tmp_path / "map.svg").read_text(encoding="utf-8")


def test_geometry_beside_another_model(tiny_run: Path) -> None:
    # A model is like itself in both layers.
    words = ["probe", "geometry", tiny_run, VERSES, "--limit", 3, "--other", tiny_run]
    document = json.loads(run(*words, "--json").stdout)
    assert [row["value"] for row in document if row["metric"] == "linear_cka"] == pytest.approx([1, 1], abs=1e-5)
    assert "CKA" in run(*words).stdout


def test_what_probes_refuse(tiny_run: Path, tmp_path: Path) -> None:
    # Layers that are no numbers or not there, a kinship nobody knows, a language that is not in the file.
    for words, code, text in (
        (["--layers", "one"], 2, "whole numbers"),
        (["--layers", "9"], 1, "layer 9"),
        (["--by", "tribe"], 2, "family or branch"),
        (["--languages", "en,pl"], 1, "no text in pl"),
        (["--other", tiny_run, "--distances", tmp_path / "d"], 2, "of one model"),
    ):
        result = run("probe", "geometry", tiny_run, VERSES, "--limit", 5, *words)
        assert result.exit_code == code, result.output
        assert text in result.stderr
    for words in (["--other", tiny_run], ["--languages", "en,de"]):
        assert run("probe", "geometry", tiny_run, VERSES, "--map", tmp_path / "m.svg", *words).exit_code == 2
    refused = run("probe", "retrieve", tiny_run, "--parallel", VERSES, "--vectors", "lirr")
    assert refused.exit_code == 1
    assert "did you mean 'lir'" in refused.stderr


def test_retrieve_with_removal(tiny_run: Path) -> None:
    # The rows carry the way in the model's name.
    words = ["probe", "retrieve", tiny_run, "--parallel", VERSES, "--limit", 20, "--vectors", "lsar", "--json"]
    assert {row["model"] for row in json.loads(run(*words).stdout)} == {f"{tiny_run}+lsar"}


def test_texts_with_their_languages(tmp_path: Path) -> None:
    # Columns, JSON lines, a column a language; limits by language; text without a language.
    (tmp_path / "a.tsv").write_text("lang\tid\ttext\ndeu_Latn\t1\tja\nen\t1\tyes\nde\t2\tnein\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"lang": "en", "text": "yes"}\n{"text": "what?"}\n', encoding="utf-8")
    (tmp_path / "c.tsv").write_text("id\ten\tde\n1\tyes\tja\n2\tno\t\n", encoding="utf-8")
    assert list(spoken_texts(tmp_path / "a.tsv")) == [("de", "ja"), ("en", "yes"), ("de", "nein")]
    assert list(spoken_texts(tmp_path / "a.tsv", limit=1, languages=["de"])) == [("de", "ja")]
    assert list(spoken_texts(tmp_path / "c.tsv")) == [("en", "yes"), ("de", "ja"), ("en", "no")]
    with pytest.raises(DataError, match="nobody has named"):
        list(spoken_texts(tmp_path / "b.jsonl"))
    with pytest.raises(LanguageError, match="no text in fr"):
        list(spoken_texts(tmp_path / "c.tsv", languages=["fr"]))


def test_links(tiny_run: Path, tmp_path: Path) -> None:
    # A sentence and itself: no errors, by table and by Pharaoh's links; limits by language pair; what is refused.
    table = tmp_path / "gold.tsv"
    row = "the dog saw it\tthe dog saw it\t0-0 1-1 2-2 3-3\t"
    table.write_text(
        "pair\tsrc_tokens\ttgt_tokens\tsure\tpossible\n" + f"en-de\t{row}\n" * 3 + f"en-fr\t{row}\n", encoding="utf-8"
    )
    words = ["probe", "links", tiny_run, table, "--layers", "0", "--limit", 2]
    document = json.loads(run(*words, "--out", tmp_path / "s.jsonl", "--json").stdout)
    assert {(r["language"], r["n"]) for r in document} == {("de", 2), ("fr", 1)}
    assert {r["value"] for r in document if r["metric"] == "aer"} == {0.0}
    assert len(read_scores(tmp_path / "s.jsonl")) == len(document) == 2 * 3 * 4
    assert "AER by layer" in run(*words, "--methods", "argmax", "--figure", tmp_path / "aer.svg").stdout
    assert "en-fr, argmax" in (tmp_path / "aer.svg").read_text(encoding="utf-8")
    (tmp_path / "t").write_text("the dog ||| the dog\n", encoding="utf-8")
    (tmp_path / "l").write_text("0-0 1?1\n", encoding="utf-8")
    plain = ["probe", "links", tiny_run, tmp_path / "t", "--links", tmp_path / "l", "--source", "en", "--target", "de"]
    assert {r["value"] for r in json.loads(run(*plain, "--json").stdout) if r["metric"] == "recall"} == {1.0}
    assert run(*words, "--methods", "argmx").exit_code == 1
    assert run(*words, "--source", "es").exit_code == 1


def test_words(tiny_run: Path, tmp_path: Path) -> None:
    # Contextual and static vectors, both scorings; rows for each layer; options that do not go together.
    table = tmp_path / "lexicon.tsv"
    pairs = [("and", "und", "train"), ("the", "der", "train"), ("god", "gott", "test"), ("not", "nicht", "test")]
    table.write_text("split\tsrc\ttgt\n" + "".join(f"{c}\t{a}\t{b}\n" for a, b, c in pairs), encoding="utf-8")
    for name, side in (("en", 0), ("de", 1)):
        lines = [f"{pair[side]} {i} {i * i} 1\n" for i, pair in enumerate(pairs)]
        (tmp_path / f"{name}.vec").write_text("4 3\n" + "".join(lines), encoding="utf-8")
    words = ["probe", "words", tiny_run, VERSES, "--lexicon", table]
    static = ["--static-source", tmp_path / "en.vec", "--static-target", tmp_path / "de.vec"]
    result = run(*words, *static, "--out", tmp_path / "s.jsonl", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {(row["model"].removeprefix(str(tiny_run)), row["task"]) for row in document} == {
        (scoring, f"words.en-de.layer{layer}") for scoring in ("", "+csls") for layer in (0, 1)
    } | {(f"static{align}{scoring}", "words.en-de") for align in ("", "+procrustes") for scoring in ("", "+csls")}
    assert {row["value"] for row in document if row["model"] == "static" and row["metric"] == "p1"} == {1.0}
    assert {row["n"] for row in document} == {2}
    assert len(read_scores(tmp_path / "s.jsonl")) == len(document) == 8 * 5
    assert "candidates" in run(*words, "--every-part").stdout
    for more in (static[:2], [*static, "--every-part"], ["--target", "en"], ["--scoring", "dot"], ["--scoring", ","]):
        assert run(*words, *more).exit_code == 2
    # Pairs to learn from that the text does not have cost that arm, and nothing else.
    absent = "split\tsrc\ttgt\ntrain\taardvark\terdferkel\ntest\tgod\tgott\ntest\tnot\tnicht\n"
    table.write_text(absent, encoding="utf-8")
    without = run(*words, "--static", "cbow", "--static-epochs", 1)
    assert "cbow+procrustes left out: none of 1 pairs" in without.stderr
    assert "static+procrustes left out: none of 1 pairs" in run(*words, *static).stderr
    missing = run(*words, "--static-source", tmp_path / "none.vec", "--static-target", tmp_path / "none.vec")
    assert "no such file" in missing.stderr
    assert "cbow" in without.stdout
    table.write_text("aardvark\terdferkel\n", encoding="utf-8")
    refused = run(*words)
    assert refused.exit_code == 1
    assert "none of the lexicon's 1 words of 'en'" in refused.stderr
