"""Tables: what stands in them, and that they fit."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from interlingua.cli.tables import language_names, number, score_table, table
from interlingua.scores import LanguageRow


def drawn(item: object, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(item, crop=False)
    assert isinstance(console.file, io.StringIO)
    return [line for line in console.file.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize("width", [200, 80, 64, 40])
def test_numbers_are_never_cut(width: int) -> None:
    # Every number of hand-made rows stands whole in the lines, and no line is wider than the terminal.
    controls = {"majority": 0.251, "tfidf": 0.302, "random": 0.203}
    rows = [LanguageRow(tag, 0.754, 0.025, 0.126, 204, 3, controls) for tag in ("id", "sw", "my", "en")]
    lines = drawn(score_table(rows, metric="accuracy", source="en"), width)
    assert max(map(cell_len, lines)) <= max(width, 64)
    for line in (line for line in lines[2:] if "0.754" in line):
        assert all(text in line for text in ("0.754", "0.025", "+0.126", "0.251", "0.302", "0.203"))
    assert lines[-1].strip().startswith("mean of 3 others")
    assert sum("0.754" in line for line in lines) == 5
    assert ("Kiswahili" in "".join(lines)) == (width >= 80)


def test_spare_columns_go_in_order() -> None:
    # Hand-made: ten columns wide in all; the third goes first, then the second.
    grid = table(["aaaa", "bbbb", "cccc"], [("1", "2", "3")], left=3, spare=[2, 1])
    assert [[c in drawn(grid, width)[0] for c in ("aaaa", "bbbb", "cccc")] for width in (40, 14, 8)] == [
        [True, True, True],
        [True, True, False],
        [True, False, False],
    ]


def test_cells() -> None:
    # A dash where there is no number; a language nobody knows is its tag.
    assert [number(x, 2) for x in (None, float("nan"), 0.125, -1)] == ["-", "-", "0.12", "-1.00"]
    assert number(0.5, 1, signed=True) == "+0.5"
    assert language_names("fake-x") == ("fake-x", "")
    assert language_names("sw") == ("Swahili", "Kiswahili")
