"""The doctor's verb."""

from __future__ import annotations

import json

import pytest
from tests.fixtures_cli import run

from interlingua import doctor


def test_well() -> None:
    # All areas, one JSON document, 0.
    result = run("doctor", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["ok"] is True
    assert {finding["area"] for finding in document["findings"]} >= {"versions", "machine", "models", "fonts"}
    assert "all that is needed is here" in run("doctor").stdout


def test_ill(monkeypatch: pytest.MonkeyPatch) -> None:
    # A version out of range: marked, with the line that mends it, and 1.
    monkeypatch.setattr(doctor, "RANGES", {"torch": ">=99"})
    result = run("doctor")
    assert result.exit_code == 1
    line = next(line for line in result.stdout.splitlines() if " torch " in line)
    assert line.strip().startswith("!!")
    assert line.endswith("pip install 'torch>=99'")
