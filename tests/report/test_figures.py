"""Figures, read back as XML and as text: rows, order, gaps, and nothing from outside."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from interlingua.errors import DataError
from interlingua.languages import known
from interlingua.report import rows as row_module
from interlingua.report import style
from interlingua.report.figures import (
    heatmap,
    language_map,
    retrieval_by_language,
    scores_by_language,
    shift_effect,
    training_curve,
)
from interlingua.report.page import Figure

SIXTY = [item.code for item in known()][:60]


def _values(count: int) -> dict[str, float | None]:
    return {tag: 0.3 + 0.6 * math.sin(place) ** 2 for place, tag in enumerate(SIXTY[:count])}


MAKERS: dict[str, Callable[[int], Figure]] = {
    "scores": lambda n: scores_by_language(
        {tag: [value, value] for tag, value in _values(n).items()}, {"random": _values(n)}, SIXTY[0], chance=0.14
    ),
    "scripts": lambda n: scores_by_language({tag: [value] for tag, value in _values(n).items()}, colour_by="script"),
    "shift": lambda n: shift_effect(_values(n), {tag: (value or 0) + 0.01 for tag, value in _values(n).items()}),
    "map": lambda n: language_map({tag: (math.cos(i), math.sin(i * i)) for i, tag in enumerate(SIXTY[:n])}),
    "scatter": lambda n: language_map(
        {tag: (0.1 * i, 1e3 / (i + 1)) for i, tag in enumerate(SIXTY[:n])}, one_scale=False
    ),
    "retrieval": lambda n: retrieval_by_language(_values(n), compared={"layer 6": _values(n)}, chance=0.001),
    "curve": lambda n: training_curve([1, 2, 3], {tag: [3.0, None, 1.0] for tag in SIXTY[:n]}, languages=True),
    "heat": lambda n: heatmap([[0.1 * i * j for j in range(n)] for i in range(n)], SIXTY[:n], SIXTY[:n]),
    "heat, centred": lambda n: heatmap([[0.1 * i - 0.2] for i in range(n)], SIXTY[:n], ["gain"], centre=0.0),
}


@pytest.mark.parametrize("count", [1, 2, 60])
@pytest.mark.parametrize("name", MAKERS)
def test_figures_are_plain_svg_at_any_size(name: str, count: int) -> None:
    # Oracle: an XML parser; every reference must be inside the drawing and lead somewhere.
    figure = MAKERS[name](count)
    root = ElementTree.fromstring(figure.svg)
    assert root.tag.endswith("svg")
    assert root.get("aria-label") == figure.alt != ""
    ids = {element.get("id") for element in root.iter()}
    links = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert not re.search(r"<(image|style|script|text|metadata)\b", figure.svg)
    assert set(re.findall(r"https?://[^\"'\s]+", figure.svg)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_two_points_of_a_map_are_both_inside_its_frame() -> None:
    # Hand-placed: two points one above the other; a wide axes box must not cut either off.
    figure = language_map({"ja": (0.0, 0.0), "en": (0.0, 1.0)})
    root = ElementTree.fromstring(figure.svg)
    height = float((root.get("viewBox") or "").split()[3])
    marks = [element for element in root.iter() if element.tag.endswith("use") and element.get("y")]
    used = [float(element.get("y") or "nan") for element in marks if style.COLOURS[0] in (element.get("style") or "")]
    assert used
    assert all(0 < y < height for y in used)


def test_rows_are_sorted_and_the_missing_stand_last(monkeypatch: pytest.MonkeyPatch) -> None:
    # Hand-computed order: 0.9, 0.5, 0.1, then None and NaN by tag; the missing are written as a dash.
    seen: list[tuple[list[str], list[str]]] = []
    original = row_module.open_rows

    def spy(tags: list[str], numbers: list[str], **options: object) -> row_module.Rows:
        seen.append((list(tags), list(numbers)))
        return original(tags, numbers, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("interlingua.report.figures.open_rows", spy)
    figure = retrieval_by_language({"ja": None, "en": 0.1, "fi": 0.9, "am": math.nan, "my": 0.5})
    assert seen == [(["fi", "my", "en", "am", "ja"], ["0.900", "0.500", "0.100", "–", "–"])]
    assert "Mean over 3 languages 0.500, from English (0.100) to Finnish (0.900). 2 without a value." in figure.caption


def test_scores_average_over_seeds_and_skip_missing_seeds() -> None:
    # Hand-computed: English (0.8 + 0.9) / 2, Finnish 0.5 from the one seed that ran.
    figure = scores_by_language({"en": [0.8, 0.9], "fi": [None, 0.5], "ja": [None]}, source="en")
    assert "from Finnish (0.500) to English (0.850). 1 without a value." in figure.caption
    assert "worst to the best of 2 seeds" in figure.caption
    assert "The solid line is English" in figure.caption


def test_shift_counts_gains_and_needs_both_ends() -> None:
    # Hand-computed: +0.2 and -0.1 make a mean of +0.05; Japanese has no "after".
    figure = shift_effect({"en": 0.1, "fi": 0.5, "ja": 0.3}, {"en": 0.3, "fi": 0.4, "ja": None}, digits=2)
    assert figure.caption.startswith("1 of 2 languages gain; the mean change is +0.05.")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (-0.0004, 3, "0.000"),
        (-0.5, 1, "−0.5"),
        (None, 2, "–"),
        (math.nan, 2, "–"),
        (12.345, 1, "12.3"),
        (0.0, 2, "0.00"),
    ],
)
def test_numbers_are_written_as_a_typesetter_would(value: float | None, digits: int, text: str) -> None:
    # True minus, no negative zero, a dash for nothing.
    assert row_module.number(value, digits) == text


def test_unknown_languages_are_labelled_with_their_tag() -> None:
    # Invented languages of studies have no row in the table.
    label = row_module.label_of("fake-en")
    assert (label.name, label.autonym, label.family) == ("fake-en", "", "other")
    assert shift_effect({"fake-en": 0.1}, {"fake-en": 0.2}).svg.startswith("<svg")


def test_hostile_names_are_text() -> None:
    # A label with markup, a comment's end or mathematics must neither break the XML nor be interpreted.
    figure = training_curve([1, 2], {"--> <script>$x^2$</script>": [1.0, 2.0]}, title="x")
    ElementTree.fromstring(figure.svg)
    assert "<script" not in figure.svg


def test_same_numbers_same_bytes() -> None:
    # Property: figures are a pure function of their input, so that reports can be compared.
    assert MAKERS["scores"](5).svg == MAKERS["scores"](5).svg


def test_ids_of_two_figures_do_not_meet() -> None:
    # Two drawings in one page must not share letters or clip paths.
    first, second = (set(re.findall(r'\bid="([^"]+)"', MAKERS[name](2).svg)) for name in ("scores", "shift"))
    assert first.isdisjoint(second)


def test_house_colours_are_custom_properties() -> None:
    # No house colour may stay fixed, or dark mode would show it on dark.
    svg = MAKERS["scores"](5).svg
    for role, colour in style.ROLES.items():
        assert svg.count(colour) == svg.count(f"var(--{role},{colour})")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: scores_by_language({}),
        lambda: shift_effect({}, {}),
        lambda: retrieval_by_language({}),
        lambda: language_map({}),
        lambda: language_map({"en": (math.nan, 0.0)}),
        lambda: training_curve([1, 2], {}),
        lambda: training_curve([1, 2], {"loss": [1.0]}),
        lambda: heatmap([[1.0]], ["en"], ["en", "fi"]),
        lambda: heatmap([], [], []),
    ],
)
def test_senseless_input_is_a_data_error(draw: Callable[[], Figure]) -> None:
    # Empty or uneven input has one kind of error, which says what was expected.
    with pytest.raises(DataError, match="expected"):
        draw()


def test_groups_keep_their_colours_whoever_else_is_there() -> None:
    # Property: a family's mark does not depend on the other families of the figure.
    assert style.group_marks(["Turkic"])["Turkic"] == style.group_marks(["Uralic", "Turkic", "Creole"])["Turkic"]
    marks = style.group_marks(style.FAMILIES)
    assert len({(mark.colour, mark.marker) for mark in marks.values()}) == len(style.FAMILIES)


def test_every_family_in_the_table_has_its_place() -> None:
    # Against the table of languages: no family there is unknown to the palette.
    assert {item.family for item in known()} <= set(style.FAMILIES)
