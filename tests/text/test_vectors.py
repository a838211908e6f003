"""Word vectors and lexicons in parts: small files by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard

from interlingua.errors import DataError
from interlingua.text.lexicons import LexiconEntry, read_lexicon_parts
from interlingua.text.lines import ReadReport
from interlingua.text.vectors import read_vectors


def test_vectors_with_and_without_a_first_line(tmp_path: Path) -> None:
    # fastText's trailing space, a word with a space inside, the first of two spellings, compressed or not.
    lines = "The 1 2 \nthe 3 4\nice cream 5 6\nowl 7 -8e-1\n"
    (tmp_path / "a.vec").write_text("4 2\n" + lines, encoding="utf-8")
    (tmp_path / "b.vec").write_text(lines, encoding="utf-8")
    (tmp_path / "a.vec.zst").write_bytes(zstandard.compress(("4 2\n" + lines).encode()))
    for name in ("a.vec", "b.vec", "a.vec.zst"):
        wanted = {"the", "owl"} if name == "b.vec" else {"the", "owl", "ice cream"}
        report = ReadReport()
        words, vectors = read_vectors(tmp_path / name, wanted, lowercase=True, report=report)
        assert words == [w for w in ("the", "ice cream", "owl") if w in wanted]
        assert vectors[0].tolist() == [1, 2]
        assert vectors[-1].tolist() == pytest.approx([7, -0.8])
        assert report.rows == 4
    assert read_vectors(tmp_path / "a.vec", {"the"})[1].tolist() == [[3, 4]]


def test_vectors_that_are_none(tmp_path: Path) -> None:
    # A short line, a number that is none, not a finite one, none of the words.
    for text, words, message in (
        ("a 1 2\nb 1\n", {"a"}, "1 numbers"),
        ("a 1 x\n", {"a"}, "a 1 x"),
        ("a 1 nan\n", {"a"}, "a 1 nan"),
        ("a 1 2\n", {"b"}, "none of 1 words"),
    ):
        (tmp_path / "v").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read_vectors(tmp_path / "v", words)


def test_parts_of_a_lexicon(tmp_path: Path) -> None:
    # Columns of two languages in either order of codes, MUSE's ranks, a column of parts, two bare columns.
    file = tmp_path / "l.tsv"
    file.write_text(
        "pair\tsrc_rank\tsrc\ttgt\nen-de\t4999\ta\tb\nen-fr\t1\tx\ty\nen-de\t5000\tc\td\nen-de\t6500\te\tf\n"
    )
    wanted = [LexiconEntry("a", "b", "train"), LexiconEntry("c", "d", "test"), LexiconEntry("e", "f", "rest")]
    assert list(read_lexicon_parts(file, source_lang="eng", target_lang="de")) == wanted
    with pytest.raises(DataError, match="no entries from 'de' to 'en'"):
        list(read_lexicon_parts(file, source_lang="de", target_lang="en"))
    file.write_text("split\tsrc\ttgt\ntest\ta\tb\n")
    assert list(read_lexicon_parts(file, source_lang="en", target_lang="de")) == [LexiconEntry("a", "b", "test")]
    file.write_text("a\tb\nc d\n")
    found = list(read_lexicon_parts(file, source_lang="en", target_lang="de"))
    assert found == [LexiconEntry("a", "b"), LexiconEntry("c", "d")]
