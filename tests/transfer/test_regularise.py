"""Brakes: penalties, mixout, rates by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.fixtures_models import tiny_config
from torch import nn
from transformers import AutoModel

from interlingua.models.encoder import Encoder
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe
from interlingua.tasks import TextExample
from interlingua.transfer import build_task, new_head, tune_once
from interlingua.transfer.heads import parameter_groups
from interlingua.transfer.regularise import Anchor, add_mixout, fisher, remove_mixout

TUNE = TuneRecipe(epochs=2, batch_size=8, lr=1e-3, threads=1, freeze="embeddings")


@pytest.fixture
def texts(tiny_texts: dict[str, list[str]]) -> list[TextExample]:
    return [TextExample(text if i % 2 else text[:9], "en", "ab"[i % 2]) for i, text in enumerate(tiny_texts["en"][:24])]


@pytest.fixture
def encoder(hf_tokenizer: Any) -> Encoder:
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    return Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, "", 100)


def distance(tuned: Any, encoder: Encoder) -> float:
    theirs = dict(encoder.model.named_parameters())
    own = tuned.model.base_model.named_parameters()
    return float(sum((p - theirs[n]).detach().square().sum() for n, p in own if n in theirs and "pooler" not in n))


def test_l2_sp_equals_the_formula(encoder: Encoder, texts: list[TextExample]) -> None:
    """Value and gradient of strength/2 (w - w0)^2 by hand; weights with an importance each."""
    model, _ = new_head(encoder, build_task(TaskRecipe(), texts), seed=0)
    name = "bert.encoder.layer.0.output.dense.weight"
    weight = model.get_parameter(name)
    start, importance = torch.randn_like(weight), torch.rand_like(weight)
    for factor in (None, {name: importance}):
        anchor = Anchor({name: start}, factor)
        loss = anchor.loss(model, None, anchor.prepare(None, np.random.default_rng(0)))  # type: ignore[arg-type]
        model.zero_grad()
        loss.total.backward()
        by_hand = (importance if factor else 1.0) * (weight - start)
        torch.testing.assert_close(weight.grad, by_hand.detach())
        torch.testing.assert_close(loss.total, 0.5 * (by_hand * (weight - start)).sum())


def test_a_penalty_of_nothing_changes_nothing_and_a_strong_one_holds(
    encoder: Encoder, texts: list[TextExample]
) -> None:
    """Strength 0: bit for bit the plain tuning; the stronger, the nearer to the pretrained weights."""
    task = build_task(TaskRecipe(), texts)
    plain, none, some, much = (
        tune_once(encoder, task, texts, TUNE.model_copy(update={"l2_sp": s}), seed=0) for s in (0.0, 1e-30, 0.1, 10.0)
    )
    for a, b in zip(plain.model.parameters(), none.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    assert distance(plain, encoder) > distance(some, encoder) > distance(much, encoder)


def test_fisher_equals_squared_gradients_one_example_at_a_time(
    encoder: Encoder, texts: list[TextExample], hf_tokenizer: Any
) -> None:
    """Plain transformers' loss, one text a call."""
    task = build_task(TaskRecipe(), texts)
    model, tokenizer = new_head(encoder, task, seed=0)
    encoded, _ = task.encode(texts[:5], tokenizer, max_length=60)
    found = fisher(model, task, encoded, tokenizer)
    name = "bert.encoder.layer.1.attention.self.query.weight"
    total = torch.zeros_like(model.get_parameter(name))
    for text in texts[:5]:
        model.zero_grad()
        label = torch.tensor([task.labels.index(text.label)])
        model(**hf_tokenizer(text.text, return_tensors="pt"), labels=label).loss.backward()
        total += model.get_parameter(name).grad.square()
    torch.testing.assert_close(found[name], total / 5, rtol=1e-4, atol=1e-9)


def test_mixout_mixes_and_leaves_no_trace() -> None:
    """Share and scale of the mixed weights; outside training the weight itself; names as before."""
    torch.manual_seed(0)
    model: Any = nn.ModuleDict({"a": nn.Linear(200, 200), "b": nn.Linear(4, 4)})
    old = torch.zeros(200, 200)
    weight = model["a"].weight.detach().clone()
    add_mixout(model, {"a.weight": old}, 0.3)
    model.train()
    mixed = model["a"].weight
    assert (mixed == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    kept = mixed != 0
    torch.testing.assert_close(mixed[kept], weight[kept] / 0.7)
    mean = torch.stack([model["a"].weight.detach() for _ in range(400)]).mean(0)
    assert float((mean - weight).abs().mean()) < 0.01
    model.eval()
    assert torch.equal(model["a"].weight, weight)
    remove_mixout(model)
    assert set(model.state_dict()) == {"a.weight", "a.bias", "b.weight", "b.bias"}
    assert torch.equal(model["a"].weight, weight)


def test_tuning_with_mixout_saves_plain_weights(encoder: Encoder, texts: list[TextExample]) -> None:
    """The parameters' names are the class's own again, and the body has moved."""
    task = build_task(TaskRecipe(), texts)
    tuned = tune_once(encoder, task, texts, TUNE.model_copy(update={"mixout": 0.5}), seed=0)
    fresh, _ = new_head(encoder, task, seed=0)
    assert [n for n, _ in tuned.model.named_parameters()] == [n for n, _ in fresh.named_parameters()]
    assert distance(tuned, encoder) > 0


def test_rates_by_layer(encoder: Encoder, texts: list[TextExample]) -> None:
    """lr x decay^(layers above), the embeddings below the first; the head apart."""
    model, _ = new_head(encoder, build_task(TaskRecipe(), texts), seed=0)
    recipe = TUNE.model_copy(update={"layer_decay": 0.5, "head_lr": 1.0})
    rates = {name: rate for named, rate in parameter_groups(model, recipe, 0.8) for name, _ in named}
    assert set(rates) == {name for name, _ in model.named_parameters()}
    assert rates["bert.encoder.layer.2.output.dense.weight"] == pytest.approx(0.8)
    assert rates["bert.encoder.layer.0.output.dense.bias"] == pytest.approx(0.2)
    assert rates["bert.embeddings.word_embeddings.weight"] == pytest.approx(0.1)
    assert rates["classifier.weight"] == rates["bert.pooler.dense.weight"] == 1.0
