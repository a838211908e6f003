"""``probe fake``, ``pretrain`` and ``probe multilinguality``, one after another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.fixtures_cli import run

from interlingua.models.encoder import load
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


def test_from_text_to_vectors_that_a_network_begins_with(tiny_texts: dict[str, list[str]], tmp_path: Path) -> None:
    """The lines that the verb prints are words that ``pretrain`` takes; with a rate of nothing the vectors stay."""
    file = tmp_path / "verses.jsonl"
    file.write_text("".join(json.dumps({"lang": "en", "text": t}) + "\n" for t in tiny_texts["en"]), encoding="utf-8")
    data, out = tmp_path / "data", tmp_path / "tokens"
    run("probe", "fake", file, "--out", data, "--size", "400")
    words = ["vocab", "vectors", data / "vocab", data / "text.tsv", "--out", out, "--width", "32", "--epochs", "1"]
    found = json.loads(run(*words, "--languages", "en-x-fake,en", "--json").stdout)
    assert found["languages"] == ["en-x-fake", "en"]
    assert set(found["agreement"]) == {"en"}
    assert found["tokens"]["en"] == found["tokens"]["en-x-fake"]
    said = run(*words).stdout.splitlines()
    vectors, neighbours = (np.load(out / f"{name}.npy") for name in ("vectors", "neighbours"))
    assert vectors.shape == (800, 32)
    assert neighbours.shape == (800, 5)
    assert f"{(~np.isnan(vectors[:, 0])).sum()} of 800 tokens have a vector, 0 of them in several" in said[0]
    printed = [word for line in said[1:] for word in line.split(": ", 1)[1].split()]
    run("pretrain", data / "recipe.yaml", *SMALL, *printed, "train.embedding_lr=1e-12", "--out", tmp_path / "run")
    table = load(tmp_path / "run").model.get_input_embeddings().weight.detach().numpy()
    there = ~np.isnan(vectors[:, 0])
    np.testing.assert_allclose(table[there], vectors[there], atol=1e-6)
    missing = run("pretrain", data / "recipe.yaml", "model.vectors=nowhere.npy", "--out", tmp_path / "x")
    assert missing.exit_code == 1
    assert "nowhere.npy" in missing.stderr
