"""objectives/order.py: the loss is that of BertForPreTraining and AlbertForPreTraining, in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from tests.fixtures_models import MASK, dense, pack, random_texts, tiny_config

from interlingua.objectives.masking import Masking
from interlingua.objectives.order import TextOrder

MASKING = Masking(MASK, np.arange(5, 150), rate=0.3)
CLOSE = {"rtol": 0, "atol": 1e-10}
pytestmark = pytest.mark.usefixtures("exact")


def pairs(family: str):
    """Twelve pairs packed several a row, with sides and labels, and the sides one text a row."""
    firsts, seconds = random_texts(2, 12, longest=20), random_texts(3, 12, longest=20)
    texts = [np.concatenate([a, b[1:]]) for a, b in zip(firsts, seconds, strict=True)]
    types = [np.repeat([0, 1], [len(a), len(b) - 1]) for a, b in zip(firsts, seconds, strict=True)]
    batch = pack(texts, family, types=types)
    labels = torch.from_numpy(np.random.default_rng(4).integers(0, 2, 12))
    assert batch.rows < 12
    return replace(batch, labels=labels), dense(batch, batch.types_BL, 0)


@pytest.mark.parametrize("wrong", ["other", "swapped"])
@pytest.mark.parametrize("family", ["bert", "albert"])
def test_loss_and_gradients_of_the_library(family, wrong):
    """Loss and every gradient equal those the class computes from labels on one pair a row, whole and in parts."""
    cls = {"bert": transformers.BertForPreTraining, "albert": transformers.AlbertForPreTraining}[family]
    config = tiny_config(family, types=2)
    torch.manual_seed(0)
    ours, plain = (cls(config).double().eval() for _ in range(2))
    plain.load_state_dict(ours.state_dict())
    batch, types = pairs(family)
    objective = TextOrder(MASKING, wrong=wrong)
    assert objective.name == {"other": "nsp", "swapped": "sop"}[wrong]
    targets = objective.prepare(batch, np.random.default_rng(0))
    order = {"next_sentence_label" if family == "bert" else "sentence_order_label": batch.labels}
    expected = plain(
        input_ids=dense(batch, targets.tokens_BL, 0),
        attention_mask=dense(batch, torch.ones_like(batch.tokens_BL), 0),
        token_type_ids=types,
        labels=dense(batch, targets.labels_BL, -100),
        **order,
    ).loss
    loss = objective.loss(ours, batch, targets)
    torch.testing.assert_close(loss.total / loss.count, expected, **CLOSE)
    middle = batch.rows // 2
    parts = [
        objective.loss(ours, batch.select_rows(a, b), objective.rows(targets, batch, a, b)).total
        for a, b in ((0, middle), (middle, batch.rows))
    ]
    torch.testing.assert_close(sum(parts), loss.total, **CLOSE)
    (loss.total / loss.count).backward()
    expected.backward()
    theirs = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, **CLOSE, msg=name)


def test_without_weight_the_order_is_not_asked_for():
    """Weight 0 is masked LM over the pairs: the order's head has no gradient."""
    torch.manual_seed(0)
    model = transformers.BertForPreTraining(tiny_config("bert", types=2)).double().eval()
    batch, _ = pairs("bert")
    objective = TextOrder(MASKING, weight=0.0)
    targets = objective.prepare(batch, np.random.default_rng(0))
    loss = objective.loss(model, batch, targets)
    torch.testing.assert_close(loss.total, loss.each_N.sum(), **CLOSE)
    loss.total.backward()
    assert model.cls.seq_relationship.weight.grad is None
