"""The report page, read back with the standard library's HTML parser."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from interlingua.errors import DataError, SaveError
from interlingua.report import Figure, Phrase, Section, Table, write_report

HOSTILE = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="M0 0"/></svg>'


class Reader(HTMLParser):
    """Collects elements and text; an independent reading of what was written."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _written(path: Path, **parts: object) -> tuple[str, Reader]:
    section = Section("Results", ["One."], [Figure("F", "c", DRAWING, "alt"), _table([["en", 0.5], ["fi", None]])])
    arguments: dict[str, object] = {"title": "T", "lead": "L", "facts": {"seed": "0"}, "sections": [section], **parts}
    text = write_report(path / "report.html", **arguments).read_text(encoding="utf-8")  # type: ignore[arg-type]
    return text, Reader(text)


def _table(rows: list[list[object]], **options: object) -> Table:
    return Table("Scores", "Caption.", ["language", "accuracy"], rows, **options)  # type: ignore[arg-type]


def test_nothing_is_fetched(tmp_path: Path) -> None:
    # Property of the parsed page: no element refers outside, and the policy forbids it.
    text, page = _written(tmp_path)
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith("#"), (tag, name, value)
    assert "@import" not in text
    assert "url(" not in text
    policy = next(meta["content"] for meta in page.named("meta") if meta.get("http-equiv"))
    assert "default-src 'none'" in (policy or "")


def test_hostile_text_stays_text_wherever_it_stands(tmp_path: Path) -> None:
    # The parser must find one script (ours), no image, no handler, and the hostile text unchanged, in every place.
    table = Table(HOSTILE, HOSTILE, [HOSTILE], [[HOSTILE], [Phrase(HOSTILE, HOSTILE)], [Phrase(HOSTILE, "ar")]])
    section = Section(
        HOSTILE, [HOSTILE, [HOSTILE, Phrase(HOSTILE, "ja")]], [table, Figure(HOSTILE, HOSTILE, DRAWING, HOSTILE)]
    )
    _, page = _written(tmp_path, title=HOSTILE, lead=HOSTILE, facts={HOSTILE: HOSTILE}, sections=[section] * 3)
    assert len(page.named("script")) == 1
    assert page.named("img") == []
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.texts.count(HOSTILE) >= 30


def test_foreign_text_says_its_language_and_direction(tmp_path: Path) -> None:
    # Hand-known: Urdu runs from right to left, Japanese does not; for unknown tags the browser decides.
    cells = [[Phrase("اردو", "urd_Arab"), 1.0], [Phrase("日本語", "jpn"), 1.0], [Phrase("??", "qqx"), 1.0]]
    _, page = _written(tmp_path, sections=[Section("S", [], [_table(cells)])])
    assert [(item.get("lang"), item.get("dir")) for item in page.named("bdi")] == [
        ("ur", "rtl"),
        ("ja", "ltr"),
        ("qqx", "auto"),
    ]


@pytest.mark.parametrize(("columns", "expected"), [(6, "table"), (7, "table dense")])
def test_tables_of_many_columns_are_set_closer(tmp_path: Path, columns: int, expected: str) -> None:
    """The class that the style sheet has rules for."""
    wide = Table("Wide", "", [str(n) for n in range(columns)], [[0.5] * columns])
    page = write_report(tmp_path / "r.html", "T", "L", {}, [Section("S", (), [wide])]).read_text(encoding="utf-8")
    figures = [attributes for name, attributes in Reader(page).elements if name == "figure"]
    assert [attributes["class"] for attributes in figures] == [expected]
    assert ".dense table" in page


def test_missing_numbers_become_dashes_and_others_are_typeset(tmp_path: Path) -> None:
    # Hand-written expectation for each kind of cell.
    cells = [["a", None], ["b", math.nan], ["c", -0.5], ["d", 12345], ["e", math.inf]]
    _, page = _written(tmp_path, sections=[Section("S", [], [_table(cells)])])
    assert page.texts.count("–") == 2
    for text in ("−0.500", "12\u202f345", "inf"):
        assert text in page.texts
    keys = [cell.get("data-value") for cell in page.named("td")]
    assert keys == [None, None, "-0.5", "12345.0", None]


def test_numbers_stand_right_and_the_best_is_bold(tmp_path: Path) -> None:
    # Alignment follows the cells unless it is given.
    _, page = _written(tmp_path, sections=[Section("S", [], [_table([["en", 0.5]], highlight=frozenset({(0, 1)}))])])
    assert [cell.get("class") for cell in page.named("th")] == [None, "number", None]
    assert len(page.named("strong")) == 1
    _, page = _written(tmp_path, sections=[Section("S", [], [_table([["en", 0.5]], align=["right", "left"])])])
    assert [cell.get("class") for cell in page.named("th")] == ["number", None, "number"]


@pytest.mark.parametrize(
    "table",
    [_table([["en"]]), _table([["en", 1, 2]]), _table([["en", 1]], align=["left"])],
)
def test_uneven_tables_are_refused(tmp_path: Path, table: Table) -> None:
    # A row of another length would shift numbers under the wrong heading.
    with pytest.raises(DataError, match="Scores"):
        _written(tmp_path, sections=[Section("S", [], [table])])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "svg",
    [
        "<svg",
        "<svg><script>1</script></svg>",
        '<svg onload="x()"/>',
        '<svg><use href="https://example.org/a.svg#b"/></svg>',
        "<svg><foreignObject/></svg>",
    ],
)
def test_drawings_that_run_or_fetch_are_refused(tmp_path: Path, svg: str) -> None:
    # SVG goes in unescaped, so it must be a drawing and nothing else.
    with pytest.raises(DataError, match="SVG"):
        _written(tmp_path, sections=[Section("S", [], [Figure("F", "", svg, "")])])


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A full disk at the last moment: the old page stands, and no temporary file stays behind.
    _written(tmp_path)
    before = (tmp_path / "report.html").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("interlingua.report.page.os.fsync", full)
    with pytest.raises(SaveError, match="No space left"):
        _written(tmp_path, title="new")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_bytes() == before


def test_contents_link_to_sections(tmp_path: Path) -> None:
    # Every link of the contents leads to an id of the page.
    _, page = _written(tmp_path, sections=[Section(name) for name in "abc"])
    ids = {attributes.get("id") for _, attributes in page.elements}
    links = [link["href"] or "" for link in page.named("a")]
    assert len(links) == 3
    assert all(link[1:] in ids for link in links)


def test_the_snippet_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What docs/report.md tells readers to type, typed.
    monkeypatch.chdir(tmp_path)
    documentation = Path(__file__).parents[2] / "docs" / "report.md"
    snippets = re.findall(r"```python\n(.*?)```", documentation.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(snippet, {})
    page = Reader((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Burmese" in page.texts
    assert len(page.named("svg")) == 1


def test_markdown() -> None:
    """A page's sections as Markdown: cells as the page shows them, bars escaped, figures by their alternative text."""
    from interlingua.report.markdown import to_markdown

    table = Table(
        "t", "how to read it", ["name", "x|y", "n"], [["a|b", 0.12345, 1200], [Phrase("два", "ru"), math.nan, None]],
        align=["left", "right", "right"], highlight=frozenset({(0, 1)}),
    )  # fmt: skip
    figure = Figure("f", "c", "<svg/>", "a rising line")
    text = to_markdown("Title", "Lead.", [Section("One", ["text ", ["part ", Phrase("Wort", "de")]], [table, figure])])
    assert text.splitlines() == [
        "# Title", "", "Lead.", "", "## One", "", "text ", "", "part Wort", "", "how to read it", "",
        "| name | x\\|y | n |", "| --- | ---: | ---: |", "| a\\|b | **0.123** | 1,200 |", "| два | - | - |", "",
        "a rising line",
    ]  # fmt: skip
