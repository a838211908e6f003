"""bench/: both sides compute the same thing; Trainer's losses are the oracle."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.fixtures_cli import run
from tests.fixtures_models import hf_tokenizer, tiny_encoder  # noqa: F401

from interlingua.bench import SHAPES, Embedding, Shape, compare_pretraining, mixed_texts
from interlingua.bench.embed import _check
from interlingua.bench.pretrain import BLOCK, ORDINARY, Blocks
from interlingua.errors import MissingExtraError, RunError
from interlingua.models.checkpoint import save_checkpoint


def test_losses_of_both_sides_agree():
    """A tiny network for three steps: tokens/s are there, and the losses agree step by step."""
    said: list[str] = []
    found = compare_pretraining(Shape(32, 1, 600, rows=4), repeats=1, steps=2, warm=1, say=said.append)
    assert len(found.ours) == len(found.trainer) == len(found.ratios) == 1
    assert found.ours[0] > 0 < found.trainer[0]
    assert found.difference < 1e-5
    assert sum(text.startswith("trainer") for text in said) >= 1


def test_blocks_are_full():
    """No padding, ids inside the table, other text in every step."""
    blocks = Blocks(Shape(32, 1, 600, rows=4), 3)
    batches = [blocks.batch(t) for t in range(3)]
    for batch in batches:
        assert batch.tokens_BL.shape == (4, BLOCK)
        assert bool((batch.segments_BL > 0).all())
        assert int(batch.tokens_BL.max()) < 600
        assert len(np.unique(batch.tokens_BL[batch.tokens_BL >= ORDINARY])) > 50
    assert not np.array_equal(batches[0].tokens_BL, batches[1].tokens_BL)


def test_refused(monkeypatch):
    """An unknown shape with the nearest; a side that fails with its last words; no accelerate."""
    wrong = run("bench", "pretrain", "h256-30")
    assert wrong.exit_code == 1
    assert "h256-30k" in wrong.stderr
    with pytest.raises(RunError, match="ours ended with 1"):
        compare_pretraining(Shape(200, 1, 600), repeats=1, steps=1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="accelerate"):
        compare_pretraining(Shape(32, 1, 600))


def test_the_command_shows_what_was_measured(monkeypatch):
    """Medians and ratios of neighbouring runs, from measurements made up here."""
    from interlingua.bench import Comparison

    made_up = Comparison(SHAPES["h256-30k"], [30.0, 10.0, 20.0], [10.0, 5.0, 4.0], (2, 1), (5.0, 9.0), 1e-6)
    monkeypatch.setattr("interlingua.bench.compare_pretraining", lambda shape, **options: made_up)
    shown = run("bench", "pretrain", "h256-30k")
    assert "3.00 (2.00-5.00)" in shown.stdout
    document = json.loads(run("bench", "pretrain", "h256-30k", "--json").stdout)
    assert document[0]["ratios"] == [2.0, 3.0, 5.0]


def test_vectors_of_both_sides_agree(tmp_path, hf_tokenizer):  # noqa: F811
    """A tiny encoder on a few bundled texts: every side is timed, and sentence-transformers' vectors are the oracle."""
    pytest.importorskip("sentence_transformers")
    save_checkpoint(tmp_path / "tiny", tiny_encoder("bert", vocabulary=len(hf_tokenizer)).float(), hf_tokenizer)
    shown = run("bench", "embed", "--model", str(tmp_path / "tiny"), "--texts", "12", "--repeats", "1", "--json")
    assert shown.exit_code == 0, shown.stderr
    document = json.loads(shown.stdout)
    assert document["difference"] < 1e-5 > document["distance"]
    assert {side for side, seconds in document["seconds"].items() if seconds[0] > 0} == {
        "ours", "ours-plain", "sentence-transformers"
    }  # fmt: skip
    assert document["ratios"]["sentence-transformers"] == [1.0]


def test_texts_are_of_mixed_length():
    """The same texts for the same seed; short and long ones, none empty."""
    texts = mixed_texts(300)
    lengths = [len(text) for text in texts]
    assert texts == mixed_texts(300)
    assert min(lengths) > 0
    assert np.percentile(lengths, 90) > 5 * np.percentile(lengths, 10)


def test_other_vectors_void_the_comparison():
    """Vectors that are apart are no result."""
    found = Embedding(1)
    with pytest.raises(RunError, match="vectors differ"):
        _check(found, {"ours": np.eye(2), "ours-plain": np.eye(2), "sentence-transformers": np.eye(2)[::-1]})
