"""``probe words`` with static vectors trained on its own texts: what is asked and named, and the figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.fixtures_cli import VERSES, run


@pytest.fixture
def lexicon(tmp_path: Path) -> Path:
    pairs = [("and", "und", "train"), ("the", "der", "train"), ("god", "gott", "test"), ("not", "nicht", "test")]
    path = tmp_path / "lexicon.tsv"
    path.write_text("split\tsrc\ttgt\n" + "".join(f"{c}\t{a}\t{b}\n" for a, b, c in pairs), encoding="utf-8")
    return path


def test_trained_static_vectors(tiny_run: Path, lexicon: Path, tmp_path: Path) -> None:
    # As they are, turned by the lexicon's training part, mapped without it; the same two words asked of all.
    words = ["probe", "words", tiny_run, VERSES, "--lexicon", lexicon, "--scoring", "cosine", "--limit", 60]
    small = ["--static-width", 6, "--static-epochs", 2]
    result = run(*words, *small, "--static", "cbow,glove", "--figure", tmp_path / "f.svg", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {row["model"] for row in document} == {str(tiny_run)} | {
        way + more for way in ("cbow", "glove") for more in ("", "+procrustes", "+vecmap")
    }
    assert {row["n"] for row in document} == {2}
    assert "mapped without a lexicon" in result.stderr
    svg = ElementTree.parse(tmp_path / "f.svg").getroot()
    assert "MRR over 2 layers" in (svg.get("aria-label") or "")
    # Where all parts are asked there is nothing left to learn a turn from.
    document = json.loads(run(*words, *small, "--static", "glove", "--every-part", "--json").stdout)
    assert {row["model"] for row in document} == {str(tiny_run), "glove", "glove+vecmap"}
    assert {row["n"] for row in document} == {4}


def test_too_few_words_to_map(tiny_run: Path, lexicon: Path) -> None:
    # The width asks more words than the text has: said before the encoder runs, and all else is there.
    words = ["probe", "words", tiny_run, VERSES, "--lexicon", lexicon, "--limit", 20]
    result = run(*words, "--static", "glove", "--static-width", 500, "--static-epochs", 1, "--json")
    assert result.exit_code == 0, result.output
    assert {row["model"].partition("+csls")[0] for row in json.loads(result.stdout)} == {
        str(tiny_run), "glove", "glove+procrustes"
    }  # fmt: skip
    said = "glove+vecmap left out"
    assert "at least 500 a side" in result.stderr.partition(said)[2].partition("\n")[0]
    assert result.stderr.index(said) < result.stderr.index("encode")


def test_what_cannot_be_trained_is_known_first(tiny_run: Path, lexicon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim", None)
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    result = run("probe", "words", tiny_run, VERSES, "--lexicon", lexicon, "--limit", 20, "--static", "cbow")
    assert result.exit_code == 1
    assert "gensim is not installed" in result.stderr
    assert "encode" not in result.stderr


def test_what_is_refused(tiny_run: Path, lexicon: Path) -> None:
    words = ["probe", "words", tiny_run, VERSES, "--lexicon", lexicon, "--limit", 20]
    for more, code, text in (
        (["--static", "fasttext"], 2, "expected cbow, skipgram, glove"),
        (["--static", "glove", "--static-width", 0], 2, "--static-width"),
    ):
        result = run(*words, *more)
        assert result.exit_code == code, result.output
        assert text in result.stderr
