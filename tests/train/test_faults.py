"""train/faults.py and the loop: a step that goes wrong is found, its text named, and it is left out or ends the run."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from interlingua.errors import TrainingError
from interlingua.models.build import build_model
from interlingua.objectives.base import Loss
from interlingua.objectives.masking import Masking
from interlingua.objectives.mix import Mixture
from interlingua.objectives.mlm import MaskedLM
from interlingua.recipe import ModelRecipe, TrainRecipe
from interlingua.run import Run
from interlingua.shards.read import ShardSet
from interlingua.shards.stream import Layout, Stream
from interlingua.train.faults import fault
from interlingua.train.loop import train

RECIPE = {"steps": 6, "lr": 3e-3, "threads": 1, "device": "cpu", "save_every": 2, "warmup": 0.0}


class Poisoned(MaskedLM):
    """Masked LM whose loss is multiplied where a batch holds one text."""

    def __init__(self, masking: Masking, text: list[int], factor: float) -> None:
        super().__init__(masking)
        self.text, self.factor = text, factor

    def loss(self, model, batch, targets) -> Loss:
        found = super().loss(model, batch, targets)
        texts = [batch.tokens_BL[batch.segments_BL == s].tolist() for s in range(1, batch.segments + 1)]
        if self.text not in texts:
            return found
        return Loss(found.total * self.factor, found.count, found.each_N, found.languages_N)


@pytest.fixture
def world(shard_folder, hf_tokenizer):
    stream = Stream(ShardSet(shard_folder / "train"), hf_tokenizer, seed=2, batch_tokens=600, row_length=128)
    masking = Masking(hf_tokenizer.mask_token_id, np.arange(300, 900), rate=0.4)
    shape = ModelRecipe(hidden=32, layers=1, heads=2, feed_forward=48, positions=128)

    def learn(factor: float, at: int, run: Run | None = None, **changes):
        """Train with the third text of step ``at`` poisoned; model, and where that text lies."""
        unit = stream.units(at)[2][0]
        batch = stream.batch(at)
        objective = Poisoned(masking, batch.tokens_BL[batch.segments_BL == 3].tolist(), factor)
        model = build_model(shape, hf_tokenizer, stream.languages, seed=1)
        mixture = Mixture([objective], [1.0], how="sum", seed=0)
        recipe = TrainRecipe(**RECIPE | changes)
        train(model, hf_tokenizer, stream, mixture, recipe, seed=7, run=run)
        return model, f"{unit.shard.path.name} unit {unit.unit}"

    return learn, stream


@pytest.mark.parametrize("layout", [Layout(), Layout("joined"), Layout("apart", languages=3), Layout("running")])
def test_units_are_those_of_the_batch(world, layout):
    """The units named for a segment hold its tokens (of running text: begin with them)."""
    _, stream = world
    batch, units = stream.batch(4, layout), stream.units(4, layout)
    assert len(units) == batch.segments
    for number, members in enumerate(units, start=1):
        tokens = batch.tokens_BL[batch.segments_BL == number].tolist()
        rest = [one.shard.tokens(one.unit).tolist() for one in members]
        room = {"joined": 62}.get(layout.kind, 126)
        for member in rest:
            cut = member[: min(room, len(tokens) - 2)]
            assert any(tokens[i : i + len(cut)] == cut for i in range(len(tokens)))


@pytest.mark.parametrize("factor", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_ends_the_run(world, tmp_path, factor):
    """The error names step, shard and unit; what was saved before stays, and nothing of the step is in it."""
    learn, _ = world
    with pytest.raises(TrainingError) as caught, Run(tmp_path, "a: 1\n") as run:
        learn(factor, 4, run)
    assert f"step 5: the loss of mlm is {factor}" in str(caught.value)
    unit = learn(1.0, 4)[1]
    assert unit in caught.value.where
    assert (tmp_path / "checkpoints" / "step-000004").is_dir()
    assert not (tmp_path / "checkpoints" / "step-000005").exists()


def test_a_step_that_is_not_finite_is_left_out(world, tmp_path):
    """Weights stay finite, the log says what and where, and a run stopped there is resumed to the same weights."""
    learn, _ = world
    with Run(tmp_path / "a", "a: 1\n") as run:
        model, unit = learn(math.inf, 3, run, on_bad="skip")
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    rows = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if "skipped" in row] == [4]
    assert unit in rows[3]["skipped"]
    assert rows[3]["loss"] == {}
    quiet, _ = learn(1.0, 3)
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), quiet.parameters(), strict=True))


def test_a_spike_is_left_out(world, tmp_path):
    """A thousandfold loss after twenty quiet steps: left out where the recipe watches for spikes, else learnt from."""
    learn, _ = world
    watched = {"steps": 24, "on_bad": "skip", "spike": 20.0, "clip": 0.0}
    with Run(tmp_path / "a", "a: 1\n") as run:
        learn(1000.0, 20, run, **watched)
    rows = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows if "skipped" in row] == [21]
    assert "times its median" in rows[20]["skipped"]
    with Run(tmp_path / "b", "a: 1\n") as run:
        learn(1000.0, 20, run, **watched | {"spike": 0.0})
    rows = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert not any("skipped" in row for row in rows)


def test_what_counts_as_wrong():
    """Finite losses and norms pass; a spike needs enough steps before it."""
    assert fault({"mlm": 2.0}, 1.0, [], 0.0) == ""
    assert "the loss of tlm is nan" in fault({"mlm": 2.0, "tlm": math.nan}, 1.0, [], 0.0)
    assert "gradient is inf" in fault({"mlm": 2.0}, math.inf, [], 0.0)
    assert fault({"mlm": 2.0}, 50.0, [1.0] * 15, 10.0) == ""
    assert "50.0 times its median" in fault({"mlm": 2.0}, 50.0, [1.0] * 16, 10.0)
    assert fault({"mlm": 2.0}, 9.0, [1.0] * 16, 10.0) == ""
