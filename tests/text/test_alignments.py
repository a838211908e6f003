"""text/alignments.py against files written by hand."""

from __future__ import annotations

import gzip

import pytest

from interlingua.errors import DataError, LanguageError
from interlingua.text import ReadReport, read_alignments

TABLE = """pair\tsplit\tsrc_tokens\ttgt_tokens\tsure\tpossible
en-fr\tgold\tthe white house\tla maison blanche\t0-0 1-2\t2-1 1-2
en-de\tdev\tgood day\tguten Tag\t0-0 1-1\t
en-fr\tgold\tno\tnon\t\t
"""


def test_table(tmp_path) -> None:
    """Columns by name; a sure link is not also possible; pairs without one are counted; rows by language and split."""
    path = tmp_path / "a.tsv"
    path.write_text(TABLE, encoding="utf-8")
    report = ReadReport()
    french, german = read_alignments(path, report=report)
    assert (french.source, french.target) == (("the", "white", "house"), ("la", "maison", "blanche"))
    assert (french.source_lang, french.target_lang) == ("en", "fr")
    assert french.sure == {(0, 0), (1, 2)}
    assert french.possible == {(2, 1)}
    assert (report.rows, report.missing) == (2, 1)
    assert list(read_alignments(path, source_lang="eng", target_lang="deu")) == [german]
    assert list(read_alignments(path, split="gold")) == [french]


def test_fast_align(tmp_path) -> None:
    """Text and links in two files; possible links in both spellings."""
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"a b ||| x y\nc ||| z\n"))
    (tmp_path / "links").write_text("0-1 1?0 0p0\n0-0\n", encoding="utf-8")
    first, second = read_alignments(tmp_path / "text.gz", links=tmp_path / "links", source_lang="en", target_lang="fi")
    assert (first.sure, first.possible) == ({(0, 1)}, {(1, 0), (0, 0)})
    assert (second.source, second.target, second.target_lang) == (("c",), ("z",), "fi")


@pytest.mark.parametrize(
    ("text", "links", "message"),
    [
        ("a ||| x\n", "0:0\n", "'0:0' among the links"),
        ("a ||| x\n", "0-1\n", "between 1 and 1 words"),
        ("a ||| x\nb ||| y\n", "0-0\n", "'links' ends before 'text'"),
        ("a ||| x\n", "0-0\n0-0\n", "'text' ends before 'links'"),
        ("a | x\n", "0-0\n", "'a | x'"),
    ],
)
def test_damaged_files(tmp_path, text, links, message) -> None:
    """Each is refused, and says where."""
    (tmp_path / "text").write_text(text, encoding="utf-8")
    (tmp_path / "links").write_text(links, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(read_alignments(tmp_path / "text", links=tmp_path / "links", source_lang="en", target_lang="fi"))
    assert message in str(caught.value)
    assert "line" in str(caught.value)


def test_tables_that_lack_something(tmp_path) -> None:
    """No column of links; no language anywhere; an unknown one."""
    path = tmp_path / "a.tsv"
    path.write_text("src_tokens\ttgt_tokens\na\tb\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column sure"):
        list(read_alignments(path))
    path.write_text("src_tokens\ttgt_tokens\tsure\na\tb\t0-0\n", encoding="utf-8")
    with pytest.raises(LanguageError, match="without languages"):
        list(read_alignments(path))
    with pytest.raises(DataError, match="no column 'split'"):
        list(read_alignments(path, source_lang="en", target_lang="fr", split="train"))
    with pytest.raises(DataError, match="with a file of links"):
        list(read_alignments(path, links=path, source_lang="en", target_lang="fr", split="train"))
    path.write_text(TABLE.replace("en-fr", "en-qqq"), encoding="utf-8")
    with pytest.raises(LanguageError, match="qqq"):
        list(read_alignments(path))
