"""``probe dictionaries``: every pair as ``probe words`` translates it, each language read once."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.fixtures_cli import run

from interlingua.errors import DataError
from interlingua.scores import read_scores
from interlingua.text.lexicons import LexiconEntry, read_lexicon_pairs

LANGS = ("en", "de", "fr")


@pytest.fixture
def files(tiny_texts: dict[str, list[str]], tmp_path: Path) -> tuple[Path, Path]:
    """French is English again; a dictionary of five words a pair, and one of two pairs that the texts lack."""
    texts = tiny_texts | {"fr": tiny_texts["en"]}
    rows = [f"{lang}\t{text}" for lang in LANGS for text in texts[lang][:40]]
    text = tmp_path / "texts.tsv"
    text.write_text("lang\ttext\n" + "\n".join(rows) + "\n", encoding="utf-8")
    english, german = ("the of and son father", "der von und Sohn zeugte")
    lines = [f"{a}-{b}\t{x}\t{y}" for a, b, left, right in (
        ("en", "de", english, german), ("en", "fr", english, english), ("de", "fr", german, english))
        for x, y in zip(left.split(), right.split(), strict=True)]  # fmt: skip
    lexicon = tmp_path / "pairs.tsv"
    more = ["en-ja\tson\t子", "de-fr\tnirgends\tnowhere", "en-fi\tson\tpoika"]
    lexicon.write_text("pair\tsrc\ttgt\n" + "\n".join([*lines, *more]) + "\n", encoding="utf-8")
    return text, lexicon


def test_each_pair_as_probe_words_has_it(tiny_run: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    text, lexicon = files
    words = ["probe", "dictionaries", tiny_run, text, "--lexicon", lexicon, "--layers", "0,1", "--fewest", "3"]
    run(*words, "--out", tmp_path / "s.jsonl", "--figure", tmp_path / "f.svg")
    found = read_scores(tmp_path / "s.jsonl")
    assert list(dict.fromkeys(s.task.split(".")[1] for s in found)) == ["en-de", "en-fr", "de-fr"]
    for source, target in (("en", "de"), ("de", "fr")):
        one = ["probe", "words", tiny_run, text, "--lexicon", lexicon, "--layers", "0,1", "--json"]
        alone = json.loads(run(*one, "--source", source, "--target", target).stdout)
        own = [s for s in found if s.task.startswith(f"words.{source}-{target}.")]
        # Coverage has the words of the dictionary below it, which are the same; candidates are those of all of it.
        expected = {(r["model"], r["task"], r["metric"]): r["value"] for r in alone}
        assert {(s.model, s.task, s.metric): s.value for s in own} == pytest.approx(expected)
    # Copies of English are found without an error.
    assert {s.value for s in found if s.task.startswith("words.en-fr.") and s.metric == "p1"} == {1.0}
    assert ElementTree.parse(tmp_path / "f.svg").getroot().tag.endswith("svg")
    result = run(*words, "--languages", "en,de")
    assert "en-de" in result.stdout
    assert "en-fr" not in result.stdout
    assert "mean of 1" in result.stdout


def test_pairs_of_too_few_words_are_named(tiny_run: Path, files: tuple[Path, Path]) -> None:
    text, lexicon = files
    rows = lexicon.read_text(encoding="utf-8").splitlines()
    lexicon.write_text("\n".join([row for row in rows if row != "de-fr\tund\tand"]) + "\n", encoding="utf-8")
    words = ["probe", "dictionaries", tiny_run, text, "--lexicon", lexicon, "--layers", "0"]
    result = run(*words, "--fewest", "4")
    assert "left out, fewer than 4 words of theirs in the texts: de-fr" in result.stderr
    nothing = run(*words, "--fewest", "50")
    assert nothing.exit_code == 1
    assert "with 50 words to ask that the texts have" in nothing.stderr
    other = run(*words, "--languages", "ja,fi")
    assert other.exit_code == 1
    assert "no pair of fi, ja" in other.stderr
    partly = run(*words, "--fewest", "3", "--languages", "en,de,ja")
    assert partly.exit_code == 1
    assert "no text in ja" in partly.stderr


def test_tables_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(
        "pair\tsplit\tsrc\ttgt\nen-de\ttest\tson\tSohn\neng-deu\ttrain\tday\tTag\nde-en\t\tTag\tday\n", "utf-8"
    )
    assert read_lexicon_pairs(path) == {
        ("en", "de"): [LexiconEntry("son", "Sohn", "test"), LexiconEntry("day", "Tag", "train")],
        ("de", "en"): [LexiconEntry("Tag", "day")],
    }
    for text, message in (
        ("src\ttgt\na\tb\n", "no column pair"),
        ("pair\tsrc\ttgt\n", "without rows"),
        ("pair\tsrc\ttgt\nende\ta\tb\n", r"pair 'ende'(?s:.*)line 2"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read_lexicon_pairs(path)
