"""What every study of a finished encoder must hold to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interlingua.scores import Score, read_scores
from interlingua.studies import STUDIES, write_pages


def run_twice(name: str, recipe: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Score]:
    """Run a study; run it again without a model, which changes nothing; its page has a figure and every claim."""
    study = STUDIES[name]
    study.run(folder, recipe, say=lambda text: None)
    before = (folder / "scores.jsonl").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("interlingua.models.encoder.load", None)
        study.run(folder, recipe, say=lambda text: None)
    assert (folder / "scores.jsonl").read_bytes() == before
    page, text = write_pages(study, folder)
    assert "<svg" in page.read_text(encoding="utf-8")
    words = text.read_text(encoding="utf-8")
    assert all(claim.text in words for claim in study.claims)
    return read_scores(folder / "scores.jsonl")
