"""text/pairs.py against hand-written files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlingua.errors import DataError, LanguageError
from interlingua.text import Pair, Parallel, ReadReport, read_moses, read_pairs, read_parallel

TMX = """<?xml version="1.0" encoding="UTF-8"?>
<tmx version="1.4"><header srclang="en"/><body>
<tu><tuv xml:lang="en-US"><seg>Hello <ph x="1">&lt;b&gt;</ph>world</seg></tuv>
<tuv xml:lang="DE"><seg>Hallo Welt</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>only</seg></tuv><tuv xml:lang="qqq"><seg>?</seg></tuv></tu>
<tu><tuv lang="de"><seg>Zwei</seg></tuv><tuv lang="eng"><seg>Two</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg> </seg></tuv><tuv xml:lang="de"><seg>leer</seg></tuv></tu>
</body></tmx>"""


def write(tmp_path, name: str, text: str):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("header", ["", "src\ttgt\tnote\n", "Source\tTarget\tx\n", "eng_Latn\tde\tx\n"])
def test_tsv(tmp_path, header: str) -> None:
    """Two columns are read, a constant number of others ignored, four kinds of header recognised."""
    report = ReadReport()
    path = write(tmp_path, "p.tsv", header + "one\teins\ta\n\ttwo\tb\n\nthree\tdrei\tc\n")
    found = list(read_pairs(path, "en", "de", report=report))
    assert [(p.source, p.target) for p in found] == [("one", "eins"), ("three", "drei")]
    assert found[0] == Pair("one", "eins", "en", "de", "p.tsv", 1 + bool(header))
    assert (report.rows, report.blank) == (2, 2)


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("p.tsv", "a\tb\nc\td\te\n", "line 2"),
        ("p.tsv", "a b\n", "line 1"),
        ("p.jsonl", '{"src": "a", "tgt": null}\n', "line 1"),
        ("p.tmx", TMX[:-20], "after unit 3"),
        ("p.tmx", "<tmx><body/></tmx>", "p.tmx"),
        ("p.xml", "x", "p.xml"),
    ],
)
def test_bad_pairs_say_where(tmp_path, name: str, text: str, where: str) -> None:
    """Uneven columns, wrong fields, broken XML and files without a pair are DataErrors with their place."""
    with pytest.raises(DataError) as caught:
        list(read_pairs(write(tmp_path, name, text), "en", "de"))
    assert where in (caught.value.where or "")


def test_jsonl(tmp_path) -> None:
    """src and tgt, NFC-normalised."""
    text = json.dumps({"src": "e\u0301", "tgt": "x"}) + "\n"
    (pair,) = read_pairs(write(tmp_path, "p.jsonl", text), "fr", "eng-Latn")
    assert (pair.source, pair.target_lang) == ("é", "en")


@pytest.mark.parametrize("packed", [False, True])
def test_tmx(tmp_path, packed: bool) -> None:
    """Regions, inline markup, either order of languages; units without the pair are counted."""
    report = ReadReport()
    path = write(tmp_path, "p.tmx", TMX)
    if packed:
        path = tmp_path / "p.tmx.zst"
        path.write_bytes(zstandard.ZstdCompressor().compress(TMX.encode()))
    found = [(p.source, p.target, p.line) for p in read_pairs(path, "en", "de", report=report)]
    assert found == [("Hello <b>world", "Hallo Welt", 1), ("Two", "Zwei", 3)]
    assert (report.missing, report.blank) == (1, 1)


def test_moses(tmp_path) -> None:
    """Line i belongs to line i; pairs with a blank side are counted."""
    report = ReadReport()
    files = write(tmp_path, "c.en", "one\n\nthree\n"), write(tmp_path, "c.sw", "moja\nmbili\ntatu\n")
    found = list(read_moses(*files, "en", "sw", report=report))
    assert [(p.source, p.target, p.line) for p in found] == [("one", "moja", 1), ("three", "tatu", 3)]
    assert report.blank == 1


@pytest.mark.parametrize(("left", "right", "counts"), [("a\n", "b\nc\nd\n", (1, 3)), ("a\nb\nc\nd", "b\n", (4, 1))])
def test_moses_files_of_different_length(tmp_path, left: str, right: str, counts: tuple[int, int]) -> None:
    """Both line counts are in the message."""
    files = write(tmp_path, "c.en", left), write(tmp_path, "c.sw", right)
    with pytest.raises(DataError) as caught:
        list(read_moses(*files, "en", "sw"))
    assert caught.value.found == f"'c.en' has {counts[0]} lines, 'c.sw' has {counts[1]} lines"


def test_parallel(tmp_path) -> None:
    """One column a language, an empty cell is missing."""
    report = ReadReport()
    path = write(tmp_path, "m.tsv", "id\teng_Latn\tzho_Hant\n1\tone\t一\n2\t\t二\n3\t\t\n")
    assert list(read_parallel(path, report=report)) == [
        Parallel("1", {"en": "one", "zh-Hant": "一"}),
        Parallel("2", {"zh-Hant": "二"}),
    ]
    assert report.blank == 1


@pytest.mark.parametrize("header", ["key\ten\tde", "id\ten", "id\ten\tqqq", "id\ten\teng"])
def test_parallel_headers(tmp_path, header: str) -> None:
    """A wrong first column, one language, an unknown tag, a language twice."""
    with pytest.raises(DataError):
        list(read_parallel(write(tmp_path, "m.tsv", header + "\n")))


def test_verses_fixture_is_readable(tiny_parallel) -> None:
    """The test corpus itself, read by our reader and by csv."""
    verses = Path(__file__).parents[1] / "data" / "verses.tsv"
    found = {row.id: row.texts for row in read_parallel(verses)}
    assert found == tiny_parallel


def test_unknown_languages_fail_at_the_call(tmp_path) -> None:
    """Before the first row is asked for."""
    with pytest.raises(LanguageError):
        read_pairs(write(tmp_path, "p.tsv", "a\tb"), "en", "qqq")


CELL = st.text(st.characters(exclude_characters="\r\n\t", exclude_categories=["Cs"]), min_size=1, max_size=15)


@given(st.lists(st.tuples(CELL, CELL), min_size=1))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_read_or_counted(tmp_path, rows: list[tuple[str, str]]) -> None:
    """Rows read, blank and bad add up to the rows written."""
    report = ReadReport()
    rows = [("first", "zuerst"), *rows]
    path = write(tmp_path, "p.tsv", "".join(f"{a}\t{b}\n" for a, b in rows))
    found = list(read_pairs(path, "en", "de", on_bad="count", report=report))
    assert len(found) == report.rows
    assert report.rows + report.blank + report.bad == len(rows)


def test_parallel_documents(tmp_path) -> None:
    """Rows in a run that name the same document go on with one another; an empty name is none."""
    path = tmp_path / "a.tsv"
    path.write_text("id\tdocument\ten\tfi\n1\tx\ta\tb\n2\tx\tc\t\n3\ty\td\te\n4\t\tf\tg\n5\t\th\ti\n", encoding="utf-8")
    found = [(row.id, row.texts["en"], row.continues) for row in read_parallel(path)]
    assert found == [("1", "a", False), ("2", "c", True), ("3", "d", False), ("4", "f", False), ("5", "h", False)]
