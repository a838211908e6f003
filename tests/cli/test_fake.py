"""``probe fake``, ``pretrain`` and ``probe multilinguality``, one after another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fixtures_cli import run

from interlingua.scores import read_scores

SMALL = ["model.hidden=32", "model.layers=2", "train.steps=3", "train.batch_tokens=512", "train.threads=1"]


def test_from_text_to_a_score(tiny_texts: dict[str, list[str]], tmp_path: Path) -> None:
    """The written recipe is the paper's small BERT; the score is the mean of the rows that are written."""
    file = tmp_path / "verses.jsonl"
    file.write_text("".join(json.dumps({"lang": "en", "text": t}) + "\n" for t in tiny_texts["en"]), encoding="utf-8")
    out = tmp_path / "data"
    written = json.loads(run("probe", "fake", file, "--out", out, "--size", "400", "--json").stdout)
    assert written["texts"] == 150
    shown = run("recipe", "show", written["recipe"]).stdout
    assert "hidden: 64" in shown
    assert "layers: 12" in shown
    run("pretrain", written["recipe"], *SMALL, "model.separate_specials=true", "--out", tmp_path / "run")
    words = ["probe", "multilinguality", tmp_path / "run", file, "--layers", "0,2", "--limit", "50"]
    rows = json.loads(run(*words, "--out", tmp_path / "s.jsonl", "--json").stdout)
    kept = read_scores(tmp_path / "s.jsonl")
    assert [(s.task, s.metric) for s in kept] == [(r["task"], r["metric"]) for r in rows]
    *parts, whole = [s.value for s in kept]
    assert whole == pytest.approx(sum(parts) / 4)
    assert {s.task: s.n for s in kept}["retrieval.layer2"] == 50
    result = run(*words)
    assert "50 sentences, 395 tokens" in result.stdout
    assert f"multilinguality score: {whole:.3f}" in result.stdout
    assert run("probe", "multilinguality", tmp_path / "run", file, "--layers", "0,9").exit_code == 1
