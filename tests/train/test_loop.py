"""train/loop.py and heldout.py: a plain loop of torch as oracle, accumulation, stopping, saving, resuming."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.fixtures_models import FAMILIES, dense

from interlingua.batch import Batch
from interlingua.errors import CheckpointError, RecipeError, SaveError, ShardError
from interlingua.models.build import build_model
from interlingua.objectives.contrast import TranslationRanking
from interlingua.objectives.masking import Masking
from interlingua.objectives.mix import Mixture
from interlingua.objectives.mlm import MaskedLM, TranslationLM
from interlingua.recipe import ModelRecipe, TrainRecipe
from interlingua.run import Run, find_checkpoint
from interlingua.shards.format import Shard
from interlingua.shards.read import ShardSet
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Stream
from interlingua.train import step as steps
from interlingua.train.dist import Spread
from interlingua.train.heldout import HeldOut, held_out_losses
from interlingua.train.loop import train
from interlingua.train.optim import learning_rate_factor

#: What differs from one run to the next.
CLOCK = ("time", "tokens_per_second", "flops_utilisation", "data_wait", "memory_mb")

SMALL = {"hidden": 32, "layers": 2, "heads": 2, "feed_forward": 48, "positions": 128}
RECIPE = {
    "steps": 8,
    "batch_tokens": 600,
    "row_length": 128,
    "lr": 3e-3,
    "threads": 1,
    "save_every": 3,
    "device": "cpu",
}


@dataclass
class Parts:
    """What train() takes besides the recipe."""

    tokenizer: object
    stream: Stream
    languages: list[str]
    mlm: MaskedLM

    def model(self, family: str = "bert", **changes):
        own = {"feed_forward": None} if family == "xlm" else {}
        return build_model(ModelRecipe(family=family, **SMALL | own | changes), self.tokenizer, self.languages, seed=1)


@pytest.fixture
def parts(shard_folder, hf_tokenizer):
    stream = Stream(ShardSet(shard_folder / "train"), hf_tokenizer, seed=2, batch_tokens=600, row_length=128)
    allowed = np.setdiff1d(np.arange(len(hf_tokenizer)), hf_tokenizer.all_special_ids)
    mlm = MaskedLM(Masking(hf_tokenizer.mask_token_id, allowed))
    return Parts(hf_tokenizer, stream, stream.languages, mlm)


def only(objective) -> Mixture:
    return Mixture([objective], [1.0], how="sum", seed=0)


def loss_of(model):
    return Spread(model, {}, "replicate").loss


def run_of(tmp_path, name="run") -> Run:
    return Run(tmp_path / name, "a: 1\n")


def weights_of(folder) -> dict[str, torch.Tensor]:
    return load_file(find_checkpoint(folder) / "model.safetensors")


def largest_difference(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    assert one.keys() == two.keys()
    return max(float((one[k] - two[k]).abs().max()) for k in one)


def test_equals_a_plain_loop(parts):
    """Eight steps in float64 equal plain transformers on padded batches with torch's AdamW, clipping and schedule."""
    ours, plain = parts.model().double(), parts.model().double()
    recipe = TrainRecipe(**RECIPE, clip=0.5, weight_decay=0.1, warmup=0.25)
    losses = []
    train(ours, parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7,
          on_step=lambda progress: losses.append(progress.losses["mlm"]))  # fmt: skip

    decayed = [p for p in plain.parameters() if p.ndim > 1]
    others = [p for p in plain.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.98), eps=1e-6, fused=False, foreach=False)
    for t in range(8):
        batch = parts.stream.batch(t)
        targets = parts.mlm.prepare(batch, keyed_generator(7, t, 5, 0))
        rate = (t + 1) / 2 if t < 2 else 1 - (t - 2) / 6
        output = plain(
            input_ids=dense(batch, targets.tokens_BL, parts.tokenizer.pad_token_id),
            attention_mask=dense(batch, torch.ones_like(batch.tokens_BL), 0),
            labels=dense(batch, targets.labels_BL, -100),
        )
        assert losses[t] == pytest.approx(output.loss.item(), abs=1e-9)
        optimizer.zero_grad()
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * rate
        optimizer.step()
        assert rate == pytest.approx(learning_rate_factor(t, 8, schedule="linear", warmup=0.25))
    expected = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=0, atol=1e-8, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_resumed_run_is_the_same_to_the_bit(parts, tmp_path, family):
    """Stopped after the checkpoint of step 3 and started again: the weights of a run in one go, bit for bit."""
    recipe = TrainRecipe(**RECIPE)
    mixture = Mixture(
        [parts.mlm, TranslationLM(parts.mlm.masking), TranslationRanking()], [1, 1, 1], how="sample", seed=3
    )
    options = {"dropout": 0.1}
    with run_of(tmp_path, "whole") as run:
        train(parts.model(family, **options), parts.tokenizer, parts.stream, mixture, recipe, seed=7, run=run)

    def stop(progress):
        if progress.step == 5:
            raise KeyboardInterrupt

    with run_of(tmp_path) as run, pytest.raises(KeyboardInterrupt):
        train(parts.model(family, **options), parts.tokenizer, parts.stream, mixture, recipe, seed=7, run=run,
              on_step=stop)  # fmt: skip
    assert run.index()["last"] == "step-000003"
    with run_of(tmp_path) as run:
        result = train(parts.model(family, **options), parts.tokenizer, parts.stream, mixture, recipe, seed=7, run=run)
    assert (result.step, result.reason) == (8, "done")
    assert largest_difference(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole")) == 0
    rows = [[json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
            for name in ("run", "whole")]  # fmt: skip
    kept = [[{k: v for k, v in row.items() if k not in CLOCK} for row in own] for own in rows]
    assert kept[0] == kept[1]
    assert [row["step"] for row in kept[0]] == list(range(1, 9))


@pytest.mark.parametrize("pieces", [2, 3])
def test_resume_with_another_accumulation(parts, tmp_path, pieces):
    """Half the run in one piece, the rest in 2 or 3 pieces: in float32 within 1e-4 of a run in one piece."""
    with run_of(tmp_path, "whole") as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)

    def stop(progress):
        if progress.step == 4:
            raise KeyboardInterrupt

    with run_of(tmp_path) as run, pytest.raises(KeyboardInterrupt):
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run,
              on_step=stop)  # fmt: skip
    with run_of(tmp_path) as run:
        recipe = TrainRecipe(**RECIPE, accumulate=pieces)
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7, run=run)
    assert largest_difference(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole")) < 1e-4


@pytest.mark.parametrize("pieces", [2, 5, 50])
def test_accumulation_changes_nothing_in_float64(parts, pieces):
    """Parameters after three steps in any number of pieces (even more than rows) equal one piece's, to 1e-9."""
    models = []
    for accumulate in (1, pieces):
        model = parts.model().double()
        recipe = TrainRecipe(**RECIPE | {"steps": 3}, accumulate=accumulate)
        train(model, parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7)
        models.append(model)
    for one, two in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-9)


def test_sum_adds_gradients(parts):
    """mix="sum": the gradient of a step is the weighted sum of the objectives' own gradients."""
    tlm = TranslationLM(parts.mlm.masking)
    recipe = TrainRecipe(**RECIPE)
    gradients = []
    for mixture in (only(parts.mlm), Mixture([parts.mlm, tlm], [0.0, 1.0], how="sum", seed=0),
                    Mixture([parts.mlm, tlm], [1.0, 0.5], how="sum", seed=0)):  # fmt: skip
        model = parts.model().double()
        prepared = []
        for part in mixture.parts(0):
            batch = parts.stream.batch(0, part.objective.layout)
            prepared.append((part, batch, part.objective.prepare(batch, keyed_generator(7, 0, 5, part.index))))
        steps.step(Spread(model, {}, "replicate"), prepared, recipe, lambda part, piece: 0)
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for mlm, only_tlm, both in zip(*gradients, strict=True):
        torch.testing.assert_close(both, mlm + 0.5 * only_tlm, rtol=0, atol=1e-12)


def test_in_batch_negatives_are_not_split(parts):
    """Accumulation with translation ranking: refused, with the reason."""
    recipe = TrainRecipe(**RECIPE, accumulate=2)
    with pytest.raises(RecipeError, match="accumulation"):
        train(parts.model(), parts.tokenizer, parts.stream, only(TranslationRanking()), recipe, seed=7)


def test_sigterm_saves_and_ends(parts, tmp_path):
    """SIGTERM in step 5: that step is finished and saved, the reason told, the handler put back; a resume goes on."""
    before = signal.getsignal(signal.SIGTERM)

    def stop(progress):
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with run_of(tmp_path) as run:
        result = train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7,
                       run=run, on_step=stop)  # fmt: skip
        assert (result.step, result.reason, result.checkpoint.name) == (5, "stopped", "step-000005")
        assert signal.getsignal(signal.SIGTERM) is before
        result = train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7,
                       run=run)  # fmt: skip
        assert (result.step, result.reason) == (8, "done")
        # Started once more, a finished run does nothing and says where its checkpoint is.
        again = train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7,
                      run=run)  # fmt: skip
        assert (again.step, again.reason, again.tokens, again.checkpoint) == (8, "done", 0, result.checkpoint)


def losses_that_are(*means: float):
    """An evaluation that gives these means, one after the other, by step."""
    left = list(means)
    return lambda model: HeldOut({"mlm": {"en": left.pop(0)}})


def test_early_stopping_by_patience(parts, tmp_path):
    """Losses 3, 2, 4, 2.5, ...: with patience 2 the fourth evaluation ends the run; the best checkpoint is step 2's."""
    recipe = TrainRecipe(**RECIPE | {"steps": 20}, evaluate_every=1, patience=2)
    with run_of(tmp_path) as run:
        result = train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7, run=run,
                       evaluate=losses_that_are(3, 2, 4, 2.5, 1, 1))  # fmt: skip
        assert (result.step, result.reason) == (4, "patience")
        assert result.held_out.mean == 2.5
        assert run.index() == {"last": "step-000004", "best": "step-000002", "best_value": 2.0}
        assert find_checkpoint(tmp_path / "run").name == "step-000002"
        assert sorted(p.name for p in run.checkpoints.glob("step-*")) == ["step-000002", "step-000004"]
        # A run that ended stays ended.
        again = train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7, run=run,
                      evaluate=losses_that_are(1))  # fmt: skip
        assert (again.step, again.reason, again.tokens) == (4, "patience", 0)


def test_without_evaluation_the_last_checkpoint_counts(parts, tmp_path):
    """No held-out text: a run folder means its last checkpoint, and only that one is kept."""
    with run_of(tmp_path) as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)
        assert find_checkpoint(tmp_path / "run").name == "step-000008"
        assert [p.name for p in run.checkpoints.glob("step-*")] == ["step-000008"]


def test_rows_of_a_run_killed_before_its_first_checkpoint(parts, tmp_path):
    """Steps that come again are in the log once."""

    def stop(progress):
        if progress.step == 2:
            raise KeyboardInterrupt

    with run_of(tmp_path) as run:
        with pytest.raises(KeyboardInterrupt):
            train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7,
                  run=run, on_step=stop)  # fmt: skip
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 9))


@pytest.mark.parametrize("target", ["interlingua.train.saving.write_checkpoint", "safetensors.torch.save_file"])
def test_full_disk_keeps_the_last_checkpoint(parts, tmp_path, monkeypatch, target):
    """No space at the second save, in weights or in moments: SaveError; the first is whole and resumed, same result."""
    with run_of(tmp_path, "whole") as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)
    module, _, name = target.rpartition(".")
    real = getattr(__import__(module, fromlist=[name]), name)
    calls = []

    def full(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    with run_of(tmp_path) as run:
        with monkeypatch.context() as patched:
            patched.setattr(target, full)
            with pytest.raises(SaveError, match="no space left"):
                train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7,
                      run=run)  # fmt: skip
        assert run.index()["last"] == "step-000003"
        assert sorted(p.name for p in run.checkpoints.iterdir()) == ["index.json", "step-000003"]
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)
    assert largest_difference(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole")) == 0


@pytest.mark.parametrize("file", ["model.safetensors", "training/optimizer/moments.safetensors", "training/state.json"])
@pytest.mark.parametrize("how", ["missing", "cut"])
def test_damaged_checkpoint_is_not_resumed(parts, tmp_path, file, how):
    """A missing or cut file of the last checkpoint: CheckpointError that names it, nothing trained."""
    with run_of(tmp_path) as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)
        path = run.checkpoints / "step-000008" / file
        content = path.read_bytes()
        path.unlink()
        if how == "cut":
            path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match="step-000008"):
            train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)


def test_network_that_changed_is_not_resumed(parts, tmp_path):
    """Another depth or width than the checkpoint's: CheckpointError."""
    with run_of(tmp_path) as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)
        for changes in ({"layers": 3}, {"layers": 1}, {"feed_forward": 64}):
            with pytest.raises(CheckpointError, match="step-000008"):
                train(parts.model(**changes), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE),
                      seed=7, run=run)  # fmt: skip


@torch.no_grad()
def test_held_out_losses_by_hand(parts, shard_folder, hf_tokenizer):
    """Loss by language and bits per character equal sums over plain padded batches and counts of the held-out text."""
    model = parts.model().double().eval()
    shards = ShardSet(shard_folder / "held-out")
    stream = Stream(shards, hf_tokenizer, seed=2, batch_tokens=600, row_length=128)
    found = held_out_losses(loss_of(model), model.device, stream, [parts.mlm], batches=3, seed=9)
    by: dict[int, list[torch.Tensor]] = {}
    for t in range(3):
        batch: Batch = stream.batch(t)
        targets = parts.mlm.prepare(batch, keyed_generator(9, t, 4))
        labels = dense(batch, targets.labels_BL, -100)
        logits = model(
            input_ids=dense(batch, targets.tokens_BL, hf_tokenizer.pad_token_id),
            attention_mask=dense(batch, torch.ones_like(batch.tokens_BL), 0),
        ).logits
        each = torch.nn.functional.cross_entropy(logits[labels != -100], labels[labels != -100], reduction="none")
        for loss, lang in zip(each, dense(batch, batch.languages_BL, 0)[labels != -100].tolist(), strict=True):
            by.setdefault(lang, []).append(loss)
    expected = {stream.languages[lang]: float(torch.stack(own).mean()) for lang, own in by.items()}
    assert found.losses["mlm"] == pytest.approx(expected, abs=1e-9)
    assert found.mean == pytest.approx(sum(expected.values()) / len(expected))
    texts = [shards.unit("fi", i) for i in range(shards.count("fi"))]
    tokens = sum(len(at.shard.tokens(at.unit)) for at in texts)
    characters = sum(at.shard.characters(at.unit) for at in texts)
    bits = expected["fi"] / math.log(2) * tokens / characters
    assert found.bits_per_character["mlm"]["fi"] == pytest.approx(bits)


def test_held_out_of_ranking_has_no_bits(parts, shard_folder, hf_tokenizer):
    """Ranking losses come by language, without bits."""
    model = parts.model().eval()
    stream = Stream(ShardSet(shard_folder / "held-out"), hf_tokenizer, seed=2, batch_tokens=600, row_length=128)
    found = held_out_losses(loss_of(model), model.device, stream, [TranslationRanking()], batches=2)
    assert {"en", "fi"} < set(found.losses["contrast"]) <= set(stream.languages)
    assert found.bits_per_character == {}


def test_what_was_drawn_is_logged_per_language(parts, tmp_path):
    """At an evaluation the tokens of each language so far, also of the steps before a resume: a count over batches."""
    recipe = TrainRecipe(**RECIPE | {"evaluate_every": 4})

    def evaluate(model) -> HeldOut:
        return HeldOut({"mlm": {"en": 1.0}})

    def stop(progress):
        if progress.step == 6:
            raise KeyboardInterrupt

    with run_of(tmp_path) as run, pytest.raises(KeyboardInterrupt):
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7, run=run,
              evaluate=evaluate, on_step=stop)  # fmt: skip
    with run_of(tmp_path) as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7, run=run, evaluate=evaluate)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for step in (4, 8):
        expected = dict.fromkeys(parts.languages, 0)
        for t in range(step):
            batch = parts.stream.batch(t)
            for i in batch.languages_BL[batch.segments_BL > 0].tolist():
                expected[parts.languages[i]] += 1
        assert rows[step - 1]["drawn_tokens"] == expected
    assert "drawn_tokens" not in rows[4]


#: torch.compile needs a C++ compiler on a CPU, and warns of a part of torch itself.
COMPILED = pytest.param({"compile": "on"}, marks=[
    pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*not a leaf Tensor.*:UserWarning"),
])  # fmt: skip


@pytest.mark.parametrize("changes", [{"optimizer": "muon"}, {"attention": "varlen"}, COMPILED])
def test_other_ways_to_compute_are_resumed_to_the_bit(parts, tmp_path, changes):
    """Muon, attention by text and compiled layers: stopped after step 4, taken up at 3, equal to a run in one go."""
    recipe = TrainRecipe(**RECIPE | changes)
    with run_of(tmp_path, "whole") as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7, run=run)

    def stop(progress):
        if progress.step == 4:
            raise KeyboardInterrupt

    with run_of(tmp_path) as run, pytest.raises(KeyboardInterrupt):
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7, run=run, on_step=stop)
    with run_of(tmp_path) as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7, run=run)
    assert largest_difference(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole")) == 0


@pytest.mark.parametrize("changes", [{"attention": "varlen"}, COMPILED])
def test_other_ways_to_compute_learn_the_same(parts, changes):
    """Attention by text in float64, and compiled layers in float32: the losses of the plain run."""
    found = []
    for extra in ({}, changes):
        model = parts.model() if "compile" in changes else parts.model().double()
        losses = []
        train(model, parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE | extra), seed=7,
              on_step=lambda progress, losses=losses: losses.append(progress.losses["mlm"]))  # fmt: skip
        found.append(losses)
    assert found[1] == pytest.approx(found[0], rel=1e-4 if "compile" in changes else 1e-10)


def test_attention_by_text_needs_no_dropout(parts):
    """A class with dropout inside of attention: refused, with what to change."""
    recipe = TrainRecipe(**RECIPE, attention="varlen")
    with pytest.raises(RecipeError, match="dropout"):
        train(parts.model(dropout=0.1), parts.tokenizer, parts.stream, only(parts.mlm), recipe, seed=7)


def test_shards_that_change_while_running(parts, shard_folder, tmp_path):
    """Bytes overwritten after step 4: the run ends with shard and unit named; restored, it ends as a quiet one does."""
    with run_of(tmp_path, "whole") as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)
    shutil.copytree(shard_folder / "train", tmp_path / "train")
    source = Stream(ShardSet(tmp_path / "train"), parts.tokenizer, seed=2, batch_tokens=600, row_length=128)

    def flip(progress):
        if progress.step == 4:
            for path in (tmp_path / "train").glob("*.shard"):
                header = Shard(path).header
                with path.open("r+b") as file:
                    file.seek(header.offsets()[0]["tokens"])
                    file.write(b"\xff" * header.tokens * header.token_bytes)

    with run_of(tmp_path) as run:
        with pytest.raises(ShardError, match=r"token 65535 in unit \d+ of"):
            train(parts.model(), parts.tokenizer, source, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run,
                  on_step=flip)  # fmt: skip
        assert run.index()["last"] in {"step-000003", "step-000006"}  # batches are made two steps ahead
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)
    assert largest_difference(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole")) == 0


def test_a_clock_that_jumps(parts, tmp_path, monkeypatch):
    """A year ahead, then two back, while a run goes on and is resumed: the same weights, one row a step, in order."""
    with run_of(tmp_path, "whole") as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)
    year, real = 365 * 86400, time.time
    jumps = itertools.cycle([0, year, -2 * year])
    monkeypatch.setattr("interlingua.run.time.time", lambda: real() + next(jumps))

    def stop(progress):
        if progress.step == 5:
            raise KeyboardInterrupt

    with run_of(tmp_path) as run, pytest.raises(KeyboardInterrupt):
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run,
              on_step=stop)  # fmt: skip
    with run_of(tmp_path) as run:
        train(parts.model(), parts.tokenizer, parts.stream, only(parts.mlm), TrainRecipe(**RECIPE), seed=7, run=run)
    assert largest_difference(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole")) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert all(row["tokens_per_second"] > 0 for row in rows)
