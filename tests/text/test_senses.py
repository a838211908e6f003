"""Sentences with senses: every form of the file gives the same rows; occurrences against marks set by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlingua.data import resolve
from interlingua.errors import DataError, LanguageError, RecipeError
from interlingua.text.senses import SenseExample, occurrence, read_senses


@pytest.mark.parametrize(
    ("marked", "word", "lang"),
    [
        ("Pineapples: an [Apple] and an apple.", "apple", "en"),  # the first, without case, and no part of a word
        ("apples, pineapple", "apple", "en"),
        ("Straße zum [Schloß].", "schloß", "de"),
        ("in [New York] City", "new york", "en"),
        ("这些[东西]向来如此", "东西", "zh"),
        ("買った[りんご]を", "りんご", "ja"),
        ("İstanbul'da [BANKA]", "banka", "tr"),  # lower-casing İ makes two characters
        ("well-known, [known]", "known", "en"),  # a hyphen stays inside a word
        ("a.b", "a?b", "en"),  # no pattern
    ],
)
def test_occurrences(marked: str, word: str, lang: str) -> None:
    text = marked.replace("[", "").replace("]", "")
    wanted = (marked.index("["), marked.index("]") - 1) if "[" in marked else None
    assert occurrence(text, word, lang) == wanted


def test_forms_of_the_file(tmp_path: Path) -> None:
    rows = [("fruit", "an apple a day"), ("firm", "Apple sells phones")]
    wanted = [SenseExample("en", "apple", *row) for row in rows]
    (tmp_path / "two.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in rows), encoding="utf-8")
    table = "text\tlang\tsense\tword\n" + "".join(f"{b}\teng\t{a}\tapple\n" for a, b in rows)
    (tmp_path / "table.tsv").write_text(table + "eine Bank\tde\tseat\tBank\n", encoding="utf-8")
    lines = [{"lang": "en", "word": "apple", "sense": a, "text": b} for a, b in rows]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert list(read_senses(tmp_path / "two.tsv", word="apple", lang="en")) == wanted
    assert list(read_senses(tmp_path / "table.tsv", lang="en")) == wanted
    assert list(read_senses(tmp_path / "rows.jsonl")) == wanted
    assert len(list(read_senses(tmp_path / "table.tsv"))) == 3


@pytest.mark.parametrize(
    ("name", "text", "given", "error", "match"),
    [
        ("a.tsv", "fruit\tan apple\n", {"lang": "en"}, RecipeError, "name no word"),
        ("a.tsv", "fruit\tan apple\n", {"word": "apple"}, RecipeError, "name no lang"),
        ("a.tsv", "fruit\tan apple\n", {"word": "apple", "lang": "qqq"}, LanguageError, "qqq"),
        ("a.tsv", "fruit\t\n", {"word": "apple", "lang": "en"}, DataError, "without text"),
        ("a.tsv", "a\tb\tc\n", {"word": "apple", "lang": "en"}, DataError, "columns"),
        ("a.tsv", "word\tlang\tsense\ttext\nbank\ten\tx\ta bank\n", {"word": "apple"}, DataError, "no sentence of"),
        ("a.jsonl", '{"text": "an apple"}\n', {"word": "apple", "lang": "en"}, DataError, "without sense"),
        ("a.tsv", "", {}, DataError, "empty file"),
    ],
)
def test_what_is_refused(
    name: str, text: str, given: dict[str, str], error: type[Exception], match: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(error, match=match):
        list(read_senses(tmp_path / name, **given))


def test_bundled_sentences_have_their_words() -> None:
    examples = list(read_senses(resolve("package:two.senses.tsv")))
    assert len(examples) == 48
    assert all(occurrence(one.text, one.word, one.lang) for one in examples)
