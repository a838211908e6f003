"""bench/: both sides compute the same thing; Trainer's losses are the oracle."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.fixtures_cli import run
from tests.fixtures_models import hf_tokenizer, tiny_encoder  # noqa: F401

from interlingua.bench import (
    SHAPES,
    TUNE_SHAPES,
    Embedding,
    Shape,
    TuneShape,
    Tuning,
    compare_pretraining,
    compare_tuning,
    mixed_texts,
)
from interlingua.bench.embed import _check
from interlingua.bench.pretrain import BLOCK, ORDINARY, Blocks
from interlingua.bench.tune import OURS, TRAINERS, examples
from interlingua.errors import MissingExtraError, RunError
from interlingua.models.checkpoint import save_checkpoint


def test_losses_of_both_sides_agree():
    """A tiny network for three steps: tokens/s are there, and the losses agree step by step."""
    said: list[str] = []
    found = compare_pretraining(Shape(32, 1, 600, rows=4), repeats=1, steps=2, warm=1, say=said.append)
    assert set(found.rates) == {"ours", "ours-plain", "trainer"}
    assert all(len(rates) == 1 and rates[0] > 0 for rates in found.rates.values())
    assert 0 < found.utilisation < 1
    # 6 a weight of the matrices: keys and values of all tokens, the rest and the output of those that are hidden.
    by_hand = 6 * (2 * 32**2 + 0.15 * (10 * 32**2 + 600 * 32 + 32**2)) + 12 * 32 * BLOCK * 0.15
    assert found.operations == pytest.approx(by_hand, rel=0.1)
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

    rates = {"ours": [30.0, 10.0, 20.0], "ours-plain": [10.0, 5.0, 4.0], "trainer": [10.0, 5.0, 4.0]}
    each = dict.fromkeys(rates, 1)
    made_up = Comparison(SHAPES["h256-30k"], rates, each, each, 1e-6, 2e7, 0.5)
    monkeypatch.setattr("interlingua.bench.compare_pretraining", lambda shape, **options: made_up)
    shown = run("bench", "pretrain", "h256-30k")
    assert "3.00 (2.00-5.00)" in shown.stdout
    document = json.loads(run("bench", "pretrain", "h256-30k", "--json").stdout)
    assert sorted(document[0]["ratios"]) == [2.0, 3.0, 5.0]


def test_vectors_of_both_sides_agree(tmp_path, hf_tokenizer):  # noqa: F811
    """A tiny encoder on a few bundled texts: every side is timed, and sentence-transformers' vectors are the oracle."""
    pytest.importorskip("sentence_transformers")
    save_checkpoint(tmp_path / "tiny", tiny_encoder("bert", vocabulary=len(hf_tokenizer)).float(), hf_tokenizer)
    shown = run("bench", "embed", "--model", str(tmp_path / "tiny"), "--texts", "12", "--repeats", "1", "--json")
    assert shown.exit_code == 0, shown.stderr
    document = json.loads(shown.stdout)
    assert document["difference"] < 1e-5 > document["distance"]
    assert {side for side, seconds in document["seconds"].items() if seconds[0] > 0} == {
        "ours", "ours-plain", "ours-layers", "sentence-transformers"
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


@pytest.mark.parametrize("shape", list(TUNE_SHAPES))
def test_examples_of_a_shape(shape):
    """As many as asked, of several classes, always the same."""
    found = examples(TUNE_SHAPES[shape], 60)
    assert found == examples(TUNE_SHAPES[shape], 60)
    assert len(found) == 60
    assert len({e.label for e in found}) >= 3
    assert all(e.text for e in found)


def test_tuning_of_both_sides_agrees(tmp_path, hf_tokenizer):  # noqa: F811
    """A tiny encoder for three steps: Trainer's losses and scores are the oracle, whatever the padding."""
    save_checkpoint(tmp_path / "tiny", tiny_encoder("bert", vocabulary=len(hf_tokenizer)).float(), hf_tokenizer)
    shape = TuneShape("pairs", 64, 4)
    found = compare_tuning(shape, model=str(tmp_path / "tiny"), freeze="none", repeats=1, steps=2, warm=1)
    assert found.difference < 1e-4
    assert found.score["ours"] == found.score["trainer-batch"] == found.score["trainer-longest"]
    assert all(len(found.ratios(side)) == 1 and found.rate(side) > 0 for side in found.seconds)
    wrong = run("bench", "tune", "topics")
    assert wrong.exit_code == 1
    assert "topic" in wrong.stderr


def test_the_tuning_table(monkeypatch):
    """Medians and ratios of neighbouring runs, from measurements made up here."""
    made_up = Tuning(TUNE_SHAPES["topic"], 5)
    for side, seconds in zip(
        (*OURS, *TRAINERS), ([1.0, 2.0], [2.0, 4.0], [5.0, 6.0], [3.0, 4.0], [2.0, 3.0]), strict=True
    ):
        made_up.seconds[side], made_up.threads[side], made_up.peak_mb[side], made_up.score[side] = seconds, 2, 9.0, 0.5
    monkeypatch.setattr("interlingua.bench.compare_tuning", lambda shape, **options: made_up)
    document = json.loads(run("bench", "tune", "topic", "--json").stdout)
    assert document[0]["ratios"]["trainer-longest"] == [3.0, 5.0]
    assert document[0]["ratios"]["trainer-batch"] == [2.0, 3.0]
    assert "4.00 (3.00-5.00)" in run("bench", "tune", "topic").stdout
