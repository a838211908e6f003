"""Every format as small real files, written by other people's code where there is some; and what is wrong with them."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import polib
import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures_corpora import kept_texts, write_lines
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from interlingua.errors import DataError, InterlinguaError, RecipeError
from interlingua.prepare import build_corpus
from interlingua.prepare.plan import Part, make_plan
from interlingua.prepare.reading import ReadCounts, Text, read_part
from interlingua.recipe_corpus import CorpusRecipe

LINES = ["The first line of the text.", "And a second one behind it.", "A third to end the matter."]


def read(path: Path, counts: ReadCounts | None = None, **source: object) -> list[Text]:
    recipe = CorpusRecipe.model_validate(
        {"sources": [{"path": path, **source}], "on_bad": "raise" if counts is None else "count"}
    )
    counts = counts or ReadCounts()
    return [text for piece in make_plan(recipe).pieces for part in piece for text in read_part(part, recipe, counts)]


def page(writer: WARCWriter, kind: str, body: bytes, content: str = "text/html") -> None:
    headers = StatusAndHeaders("200 OK", [("Content-Type", content)], protocol="HTTP/1.0")
    record = writer.create_warc_record(
        "http://example.org/", kind, payload=io.BytesIO(body), http_headers=headers if kind == "response" else None
    )
    writer.write_record(record)
    record.raw_stream.close()


def wet(path: Path, texts: list[str]) -> Path:
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=path.suffix == ".gz")
        for text in texts:
            page(writer, "conversion", text.encode())
    return path


def catalogue(path: Path, lang: str = "de") -> Path:
    po = polib.POFile()
    po.metadata = {"Language": lang, "Content-Type": "text/plain; charset=utf-8"}
    po.append(polib.POEntry(msgid="Open the file", msgstr="Öffne die Datei"))
    po.append(
        polib.POEntry(msgid="One file", msgid_plural="%d files", msgstr_plural={0: "Eine Datei", 1: "%d Dateien"})
    )
    po.append(polib.POEntry(msgid="Not finished", msgstr=""))
    po.append(polib.POEntry(msgid="A guess", msgstr="Geraten", flags=["fuzzy"]))
    (po.save_as_mofile if path.suffix == ".mo" else po.save)(str(path))
    return path


@pytest.mark.parametrize("pack", ["", ".gz", ".zst"])
def test_lines_in_any_packing(tmp_path: Path, pack: str) -> None:
    body = "".join(f"{line}\n" for line in LINES).encode()
    packed = {"": body, ".gz": gzip.compress(body), ".zst": zstandard.compress(body)}[pack]
    (tmp_path / f"a.txt{pack}").write_bytes(packed)
    assert [text.text for text in read(tmp_path / f"a.txt{pack}")] == LINES


def test_rows_with_fields(tmp_path: Path) -> None:
    found = read(write_lines(tmp_path / "a.jsonl", LINES, lang="eng_Latn", source="web"), lang="de")
    assert [(text.lang, text.source) for text in found] == [("en", "web")] * 3


def test_paragraphs_are_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n\nthree\n\nfour\nfive\n", encoding="utf-8")
    found = read(tmp_path / "a.txt", paragraphs=True)
    assert [(text.text, text.document) for text in found] == [
        ("one", "1"), ("two", "1"), ("three", ""), ("four", "2"), ("five", "2")]  # fmt: skip


def test_parquet_is_cut_at_row_groups(tmp_path: Path) -> None:
    table = pyarrow.table({"text": [f"row number {n}" for n in range(100)], "lang": ["en"] * 100})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    recipe = CorpusRecipe(sources=[{"path": tmp_path / "a.parquet"}], task_mb=0.0005)
    assert len(make_plan(recipe).pieces) > 2
    parts = [part for piece in make_plan(recipe).pieces for part in piece]
    found = [text.text for part in parts for text in read_part(part, recipe, ReadCounts())]
    assert found == [f"row number {n}" for n in range(100)]


@pytest.mark.parametrize("name", ["crawl.warc.wet.gz", "crawl.wet"])
def test_wet(tmp_path: Path, name: str) -> None:
    found = read(wet(tmp_path / name, ["A page.\nWith two lines.", "Другая страница."]))
    assert [(text.text, text.source) for text in found] == [
        ("A page.\nWith two lines.", "http://example.org/"), ("Другая страница.", "http://example.org/")]  # fmt: skip


def test_warc_gives_the_main_content(tmp_path: Path) -> None:
    html = (
        "<html><head><title>T</title></head><body><nav><a href='/'>Home</a></nav>"
        "<main><article><p>{}</p></article></main></body></html>"
    )
    body = "The river rose in the night, and nobody crossed it before the morning. " * 3
    counts = ReadCounts()
    with (tmp_path / "a.warc.gz").open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        page(writer, "response", html.format(body).encode())
        page(writer, "response", b"\x89PNG", "image/png")
        page(writer, "request", b"GET / HTTP/1.0\r\n\r\n")
    found = read(tmp_path / "a.warc.gz", counts)
    assert len(found) == 1
    assert body.strip() in found[0].text
    assert "Home" not in found[0].text
    assert counts.missing == 1


@pytest.mark.parametrize("name", ["messages.po", "messages.mo"])
def test_catalogues(tmp_path: Path, name: str) -> None:
    counts = ReadCounts()
    found = read(catalogue(tmp_path / name), counts)
    sides = {(source.text, target.text) for source, target in zip(found[::2], found[1::2], strict=True)}
    assert sides == {("Open the file", "Öffne die Datei"), ("One file", "Eine Datei"), ("%d files", "%d Dateien")}
    assert [(text.lang, text.unit) for text in found] == [
        ("en", 0),
        ("de", 0),
        ("en", 1),
        ("de", 1),
        ("en", 2),
        ("de", 2),
    ]
    assert counts.missing == (2 if name.endswith("po") else 0)  # the compiler leaves unfinished messages out


def test_the_name_of_a_catalogue_says_its_language(tmp_path: Path) -> None:
    (tmp_path / "sw" / "LC_MESSAGES").mkdir(parents=True)
    found = read(catalogue(tmp_path / "sw" / "LC_MESSAGES" / "app.mo", lang=""))
    assert {text.lang for text in found} == {"en", "sw"}
    with pytest.raises(DataError, match="without a language"):
        read(catalogue(tmp_path / "appp.po", lang=""))


def test_tables_of_parallel_text_and_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("id\ten\tde\n1\tone\teins\n2\t\tzwei\n", encoding="utf-8")
    assert [(text.text, text.unit) for text in read(tmp_path / "a.tsv")] == [("one", 0), ("eins", 0), ("zwei", 1)]
    (tmp_path / "b.tsv").write_text("one\teins\n", encoding="utf-8")
    assert [text.lang for text in read(tmp_path / "b.tsv", lang="en", target_lang="de")] == ["en", "de"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(alphabet="ab é\r", max_size=12), min_size=1, max_size=40),
    st.sampled_from([0.00001, 0.00003, 0.0001]),
    st.booleans(),
)
def test_every_line_is_in_one_piece(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], mb: float, ends: bool
) -> None:
    # Oracle: str.split on the whole file; cut at every few bytes, inside characters too.
    path = tmp_path_factory.mktemp("cut") / "a.txt"
    path.write_bytes(("x\n" + "\n".join(lines) + ("\n" if ends else "")).encode())
    recipe = CorpusRecipe(sources=[{"path": path}], task_mb=mb)
    parts = [part for piece in make_plan(recipe).pieces for part in piece]
    found = [text.text for part in parts for text in read_part(part, recipe, ReadCounts())]
    assert found == [line.strip() for line in path.read_bytes().decode().split("\n") if line.strip()]


def test_small_files_share_a_piece(tmp_path: Path) -> None:
    for number in range(6):
        write_lines(tmp_path / f"{number}.jsonl", LINES)
    one = CorpusRecipe(sources=[{"path": tmp_path}])
    assert [[Path(part.path).name for part in piece] for piece in make_plan(one).pieces] == [
        [f"{number}.jsonl" for number in range(6)]]  # fmt: skip
    cut = make_plan(
        one.model_copy(
            update={"sources": (one.sources[0].model_copy(update={"path": tmp_path / "*.jsonl"}),), "task_mb": 0.0003}
        )
    )
    assert [len(piece) for piece in cut.pieces] == [2, 2, 2]


BAD = {
    "missing.txt": None,
    "empty.txt": b"",
    "odd.docx": b"x",
    "latin.txt": "schön".encode("latin-1"),
    "cut.txt.gz": gzip.compress(b"".join(b"line number %d of many\n" % n for n in range(9000)))[:-200],
    "cut.jsonl.zst": zstandard.compress(b'{"text": "x"}\n' * 50_000)[:-30],
    "not.jsonl": b"not json\n",
    "bad.parquet": b"PAR1 and nothing else",
    "bad.po": b'msgid "x\nnothing',
    "bad.mo": b"no catalogue at all",
    "bad.warc": b"WARC/1.0\r\nContent-Length: oh\r\n\r\n",
    "bad.wet": b"this is no such file",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_stop_a_strict_build(tmp_path: Path, name: str) -> None:
    body = BAD[name]
    if body is not None:
        (tmp_path / name).write_bytes(body)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert str(tmp_path) in str(caught.value) or name in str(caught.value)


@pytest.mark.parametrize("name", [name for name in BAD if name not in ("missing.txt", "empty.txt", "odd.docx")])
def test_bad_files_are_counted_by_a_lenient_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD[name] or b"")
    good = write_lines(tmp_path / "good.jsonl", LINES)
    recipe = CorpusRecipe(sources=[{"path": tmp_path / name}, {"path": good, "lang": "en"}])
    result = build_corpus(recipe, tmp_path / "out")
    assert result.statistics is not None
    met = result.statistics["input"]
    assert met["unreadable"] + met["damaged_files"] >= 1
    assert name in met["examples"][0]
    assert set(LINES) <= set(kept_texts(tmp_path / "out", "en"))


def test_a_crawl_cut_short_keeps_what_came_before(tmp_path: Path) -> None:
    path = wet(tmp_path / "a.wet", ["The first page.", "The second page. " * 50])
    path.write_bytes(path.read_bytes()[:-300])
    counts = ReadCounts()
    assert [text.text for text in read(path, counts)] == ["The first page."]
    assert counts.files == 1
    assert "missing" in counts.examples[0]


def test_wrong_recipes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="without sources"):
        make_plan(CorpusRecipe())
    with pytest.raises(DataError, match="no file"):
        make_plan(CorpusRecipe(sources=[{"path": tmp_path / "*.txt"}]))
    with pytest.raises((InterlinguaError, ValueError), match="unknown language"):
        CorpusRecipe(sources=[{"path": tmp_path, "lang": "qqq"}])
    (tmp_path / "a.tmx").write_text("<tmx/>")
    with pytest.raises(DataError, match="lang and target_lang"):
        list(
            read_part(
                Part(0, str(tmp_path / "a.tmx")),
                CorpusRecipe(sources=[{"path": tmp_path / "a.tmx"}], on_bad="raise"),
                ReadCounts(),
            )
        )
