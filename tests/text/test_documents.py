"""text/documents.py and text/lines.py against files written with the standard library and pyarrow."""

from __future__ import annotations

import builtins
import gzip
import json
import unicodedata

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlingua.errors import DataError, LanguageError, MissingExtraError
from interlingua.text import Document, ReadReport, read_documents

ROWS = [
    {"text": "Schöne Welt", "lang": "deu"},
    {"text": "  "},
    {"text": "e\u0301te\u0301", "lang": "fr", "source": "web"},
]
PACK = {"": bytes, ".gz": gzip.compress, ".zst": lambda data: zstandard.ZstdCompressor().compress(data)}


def written(tmp_path, name: str, data: bytes):
    path = tmp_path / name
    path.write_bytes(PACK[path.suffix if path.suffix in PACK else ""](data))
    return path


@pytest.mark.parametrize("pack", PACK)
def test_text_lines(tmp_path, pack: str) -> None:
    """A document a line, numbered, blank lines counted, byte order mark and CRLF cut, U+2028 kept inside."""
    path = written(tmp_path, "a.txt" + pack, "\ufeffone\r\n\n two\u2028x \n".encode())
    report = ReadReport()
    found = list(read_documents(path, "eng_Latn", report=report))
    assert found == [Document("one", "en", path.name, 1), Document("two\u2028x", "en", path.name, 3)]
    assert (report.rows, report.blank, report.bad) == (2, 1, 0)


@pytest.mark.parametrize("pack", PACK)
def test_json_lines(tmp_path, pack: str) -> None:
    """Fields text, lang, source; NFC; the default language for rows that name none."""
    lines = "\n".join(json.dumps(row) for row in [*ROWS, {"text": "x"}])
    report = ReadReport()
    found = list(read_documents(written(tmp_path, "a.jsonl" + pack, lines.encode()), "sw", report=report))
    assert [(d.text, d.lang, d.line) for d in found] == [("Schöne Welt", "de", 1), ("été", "fr", 3), ("x", "sw", 4)]
    assert found[1].source == "web"
    assert report.blank == 1


def test_tables_and_parquet_agree(tmp_path) -> None:
    """The same rows as TSV and as Parquet (written by pyarrow) give the same documents."""
    columns = {"lang": ["de", "fr"], "text": ["Haus", 'mai"son'], "label": ["1", "2"]}
    table = "\n".join("\t".join(row) for row in [columns, *zip(*columns.values(), strict=True)])
    tsv = written(tmp_path, "a.tsv.zst", table.encode())
    parquet = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), parquet)
    by_table = [(d.text, d.lang) for d in read_documents(tsv)]
    assert by_table == [(d.text, d.lang) for d in read_documents(parquet)] == [("Haus", "de"), ('mai"son', "fr")]


def test_language_unknown_to_everyone(tmp_path) -> None:
    """Without any tag the language is BCP-47's "und"."""
    assert next(read_documents(written(tmp_path, "a.txt", b"x"))).lang == "und"


@pytest.mark.parametrize(
    ("name", "data", "where"),
    [
        ("a.txt", b"fine\ncaf\xe9\n", "line 2, byte 4"),
        ("a.txt", b"\xef\xbb\xbf\xff", "line 1, byte 4"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "line 2"),
        ("a.jsonl", b'{"text": "x"}\n[1]\n', "line 2"),
        ("a.jsonl", b'{"text": 3}\n', "line 1"),
        ("a.jsonl", b'{"txt": "x"}\n', "line 1"),
        ("a.jsonl", b'{"text": "x", "lang": "qqq"}\n', "line 1, field 'lang'"),
        ("a.tsv", b"text\tlang\nx\n", "line 2"),
        ("a.tsv", b"txt\nx\n", "line 1"),
        ("a.csv", b"text\nx\n", "a.csv"),
        ("a.txt", b"", "a.txt"),
        ("a.txt", b"\n \n", "a.txt"),
    ],
)
def test_bad_input_says_where(tmp_path, name: str, data: bytes, where: str) -> None:
    """Every kind of unreadable input is a DataError with its place."""
    with pytest.raises(DataError) as caught:
        list(read_documents(written(tmp_path, name, data), "en"))
    assert where in (caught.value.where or "") + caught.value.found


def test_counting_goes_on(tmp_path) -> None:
    """on_bad="count" reads the rest and keeps the messages."""
    report = ReadReport()
    path = written(tmp_path, "a.jsonl", b'{"text": "x"}\n{\n{"text": "\xff"}\n{"text": "y"}\n')
    assert [d.text for d in read_documents(path, on_bad="count", report=report)] == ["x", "y"]
    assert (report.rows, report.bad, len(report.examples)) == (2, 2, 2)


@pytest.mark.parametrize("name", ["a.txt.zst", "a.txt.gz"])
def test_damaged_archives(tmp_path, name: str) -> None:
    """Bytes that are no archive, and an archive cut short."""
    path = tmp_path / name
    path.write_bytes(b"this is not an archive")
    with pytest.raises(DataError, match="damaged archive"):
        list(read_documents(path))
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(b"some text\n" * 1000)[:-10])
        with pytest.raises(DataError, match="damaged archive"):
            list(read_documents(path))


def test_missing_file_fails_at_the_call(tmp_path) -> None:
    """Not only when the first row is asked for; a folder is no file; an unknown tag fails too."""
    with pytest.raises(DataError, match="no such file"):
        read_documents(tmp_path / "none.txt")
    with pytest.raises(DataError, match="not a file"):
        read_documents(tmp_path)
    with pytest.raises(LanguageError):
        read_documents(written(tmp_path, "a.txt", b"x"), "qqq")


def test_parquet_without_pyarrow(tmp_path, monkeypatch) -> None:
    """The message holds the install line; a broken Parquet file is a DataError."""
    path = written(tmp_path, "a.parquet", b"PAR1 no")
    with pytest.raises(DataError, match="cannot read"):
        list(read_documents(path))
    true_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'interlingua\[parquet\]'"):
        read_documents(path)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_lines_come_back(tmp_path, lines: list[str]) -> None:
    """Text files of any characters: every line comes back NFC-normalised and stripped, or is counted as blank."""
    lines = [line.removeprefix("\ufeff") for line in [*lines, "end"]]
    lines[0] = lines[0].lstrip("\ufeff")
    report = ReadReport()
    path = written(tmp_path, "a.txt.zst", "\n".join(lines).encode())
    found = [document.text for document in read_documents(path, report=report)]
    expected = [text for line in lines if (text := unicodedata.normalize("NFC", line).strip())]
    assert found == expected
    assert report.rows + report.blank == len(lines)


DOCUMENTS = [
    ("a", "en", 1),
    ("b", "en", 1),
    ("c", "en", 2),
    ("d", "de", 2),
    ("e", "de", 2),
    ("f", "de", ""),
    ("g", "de", ""),
]


def test_parts_of_documents(tmp_path) -> None:
    """Rows in a run with the same document and language go on with one another, in every format that has columns."""
    rows = [{"text": t, "lang": lang, "document": d} for t, lang, d in DOCUMENTS]
    table = "\n".join("\t".join(str(v) for v in row) for row in [list(rows[0]), *(r.values() for r in rows)])
    parquet = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(
        pyarrow.table({k: [str(row[k]) for row in rows] for k in ("text", "lang", "document")}), parquet
    )
    for path in (
        written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)).encode()),
        written(tmp_path, "a.tsv", table.encode()),
        parquet,
    ):
        found = {document.text: document.continues for document in read_documents(path)}
        assert found == dict.fromkeys("acdfg", False) | dict.fromkeys("be", True)


def test_paragraphs(tmp_path) -> None:
    """Lines up to a blank one are one document; without being asked for, each line is its own."""
    path = written(tmp_path, "a.txt", b"\none\ntwo\n \nthree\n\n\nfour\nfive")
    found = [(d.text, d.continues) for d in read_documents(path, "en", paragraphs=True)]
    assert found == [("one", False), ("two", True), ("three", False), ("four", False), ("five", True)]
    assert not any(d.continues for d in read_documents(path, "en"))
    with pytest.raises(DataError, match="paragraphs of 'a"):
        list(read_documents(written(tmp_path, "a.jsonl", b'{"text": "x"}'), "en", paragraphs=True))
