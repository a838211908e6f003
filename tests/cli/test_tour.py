"""The tour's verb around a tour that is not run: what it hands over, prints and asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.fixtures_cli import run

import interlingua.tour
from interlingua.cli.tour import _ask, _languages
from interlingua.scores import LanguageRow


@dataclass
class Result:
    report: Path
    rows: list[LanguageRow]
    lines: list[str]
    seconds: dict[str, float] = field(default_factory=dict)

    def classify(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        return [("sports", 0.75)] * len(texts)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What each of the two tours was called with."""
    calls: dict[str, dict[str, Any]] = {}

    def fake(name: str) -> Callable[..., Result]:
        def tour(out: Path, **words: Any) -> Result:
            calls[name] = {"out": out, **words}
            words["say"]("found")
            words["stage"]("report", 1, 1)
            controls = {"majority": 0.25, "tfidf": 0.3, "random": 0.2}
            rows = [
                LanguageRow("en", 0.875, 0.01, 0.0, 204, 3, controls),
                LanguageRow("sw", 0.75, 0.02, 0.125, 204, 3, controls),
            ]
            return Result(out / "report.html", rows, ["Taught in English only."])

        return tour

    monkeypatch.setattr(interlingua.tour, "run_tour", fake("tour"))
    monkeypatch.setattr(interlingua.tour, "run_scratch_tour", fake("scratch"))
    return calls


def test_the_table_and_given_sentences(called: dict[str, dict[str, Any]]) -> None:
    # Hand-made rows: name, autonym, score, spread, gap, the three controls; three sentences in other languages.
    result = run("tour")
    assert result.exit_code == 0, result.output
    swahili = next(line for line in result.stdout.splitlines() if "Swahili" in line).split()
    assert swahili == ["Swahili", "sw", "0.750", "0.020", "+0.125", "0.250", "0.300", "0.200", "204", "Kiswahili"]
    assert "Taught in English only." in result.stdout
    assert result.stdout.count("75%  sports") == 3
    assert str(Path("runs/tour/report.html")) in result.stdout
    call = called["tour"]
    assert (call["out"], call["seeds"]) == (Path("runs/tour"), (0, 1, 2))
    assert call["languages"] is None  # all of them
    assert len(call["sentences"]) == 3
    assert "found" in result.stderr


def test_options_are_handed_over(called: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    # The other tour, everything said.
    words = ["--from-scratch", "--out", tmp_path, "--languages", "de, sw", "--seeds", 1, "--text", "Habari ya asubuhi"]
    document = json.loads(run("tour", *words, "--json").stdout)
    call = called["scratch"]
    assert (call["out"], call["languages"], call["seeds"]) == (tmp_path, ["de", "sw"], (0,))
    assert call["sentences"] == ("Habari ya asubuhi",)
    assert document["sentences"] == [{"text": "Habari ya asubuhi", "label": "sports", "probability": 0.75}]
    assert [row["language"] for row in document["rows"]] == ["en", "sw"]


def test_numbers_of_languages() -> None:
    # The bundled files' own languages: so many of them, all different, English not counted.
    chosen = _languages("30", scratch=False)
    assert chosen is not None
    assert len(set(chosen)) == 30
    assert "en" not in chosen
    assert _languages("all", scratch=False) is None
    assert len(_languages("99", scratch=True) or []) == 12
    with pytest.raises(typer.BadParameter):
        _languages("0", scratch=False)


def test_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three lines at most; an empty one or the end of input ends it.
    for typed, wanted in ((["a", " b ", "c", "d"], ("a", "b", "c")), (["a", ""], ("a",)), ([], ())):
        lines = iter(typed)

        def answer(_prompt: str, lines: Any = lines) -> str:
            try:
                return str(next(lines))
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", answer)
        assert _ask() == wanted
