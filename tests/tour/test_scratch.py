"""The tour from scratch around a pretraining that is stopped."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from interlingua.errors import RunError
from interlingua.run import find_checkpoint
from interlingua.tour import run_scratch_tour

#: A network of width 32 on the general segments alone.
SMALL = ["vocab.size=2000", "vocab.sample_characters=300000", "model.hidden=32", "model.heads=2",
         "model.feed_forward=48", "train.threads=1", "train.batch_tokens=600"]  # fmt: skip


def test_a_stopped_tour_teaches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real SIGTERM after step 2: the checkpoint is saved, nothing is measured, and the error says how to go on."""
    monkeypatch.setattr("interlingua.tour.scratch._write_text", lambda split, folder: ("package:general.tsv.zst",) * 2)
    steps = []

    def stage(name: str, done: int, total: int) -> None:
        if name == "pretrain":
            steps.append(done)
            if done == 2:
                signal.raise_signal(signal.SIGTERM)

    words = [*SMALL, "data.parallel=[package:general.tsv.zst]"]
    with pytest.raises(RunError, match=r"stopped at step 2(?s:.*)1,000 steps(?s:.*)goes on from there"):
        run_scratch_tour(tmp_path, stage=stage, overrides=words)
    assert steps == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pretrain"]
    assert find_checkpoint(tmp_path / "pretrain").name == "step-000002"
