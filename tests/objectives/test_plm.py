"""objectives/plm.py against XLNetLMHeadModel on one text at a time, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.fixtures_models import MASK, pack, random_texts
from transformers import XLNetConfig, XLNetLMHeadModel, XLNetModel

from interlingua.objectives.masking import Masking
from interlingua.objectives.plm import PermutationLM


@pytest.fixture(autouse=True)
def double_positions(monkeypatch):
    """XLNet makes its relative positions in float32 whatever the network's type; here they follow it."""
    plain = XLNetModel.relative_positional_encoding
    monkeypatch.setattr(XLNetModel, "relative_positional_encoding", lambda *a, **k: plain(*a, **k).double())


MASKING = Masking(MASK, np.arange(5, 150), rate=0.3)


def network() -> XLNetLMHeadModel:
    torch.manual_seed(0)
    config = XLNetConfig(vocab_size=150, d_model=32, n_layer=2, n_head=2, d_inner=48, dropout=0.0, pad_token_id=0,
                         initializer_range=0.2)  # fmt: skip
    return XLNetLMHeadModel(config).double().eval()


def test_equals_the_library_text_by_text():
    """Loss and gradients equal the sum over texts of XLNet's own loss, its masks written out token by token."""
    ours, plain = network(), network()
    texts = random_texts(0, 10, shortest=6)
    batch = pack(texts, "bert")
    assert batch.rows < len(texts)
    objective = PermutationLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(0))
    loss = objective.loss(ours, batch, targets)
    loss.total.backward()
    total, count = torch.zeros((), dtype=torch.double), 0
    for number, text in enumerate(texts, start=1):
        own = batch.segments_BL == number
        labels, order = targets.labels_BL[own], targets.order_BL[own].tolist()
        places = [i for i in range(len(text)) if labels[i] >= 0]
        if not places:
            continue
        mask = torch.zeros(1, len(text), len(text), dtype=torch.double)
        for i in range(len(text)):
            for j in range(len(text)):
                seen = order[j] < 0 or (order[i] >= 0 and order[j] < order[i])
                mask[0, i, j] = 0 if seen else 1
        mapping = torch.zeros(1, len(places), len(text), dtype=torch.double)
        for row, place in enumerate(places):
            mapping[0, row, place] = 1
        out = plain(torch.from_numpy(text)[None], perm_mask=mask, target_mapping=mapping, labels=labels[places][None])
        total = total + out.loss * len(places)
        count += len(places)
    total.backward()
    assert count == loss.count
    torch.testing.assert_close(loss.total, total, rtol=0, atol=1e-9)
    theirs = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        if theirs[name].grad is None:
            assert parameter.grad is None or parameter.grad.abs().max() == 0
        else:
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=0, atol=1e-9, msg=name)


def test_a_target_does_not_see_itself_or_later_ones():
    """Changing a target's token changes no loss of a target before it in the order, nor its own place's query."""
    model = network()
    batch = pack([random_texts(3, 1, shortest=30, longest=30)[0]], "bert")
    objective = PermutationLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(1))
    with torch.no_grad():
        before = objective.loss(model, batch, targets).each_N
        chosen = targets.labels_BL[0] >= 0
        order = targets.order_BL[0][chosen]
        last = int(order.argmax())
        tokens = targets.tokens_BL.clone()
        place = int(chosen.nonzero()[last])
        tokens[0, place] = (tokens[0, place] - 5 + 1) % 145 + 5
        changed = type(targets)(targets.count, tokens, targets.labels_BL, targets.order_BL)
        after = objective.loss(model, batch, changed).each_N
        torch.testing.assert_close(after, before, rtol=0, atol=1e-12)
        first = int(order.argmin())
        place = int(chosen.nonzero()[first])
        tokens = targets.tokens_BL.clone()
        tokens[0, place] = (tokens[0, place] - 5 + 1) % 145 + 5
        changed = type(targets)(targets.count, tokens, targets.labels_BL, targets.order_BL)
        after = objective.loss(model, batch, changed).each_N
        assert after[first] == before[first]
        assert (after != before).sum() == len(order) - 1


def test_rows_apart_add_up_to_the_whole():
    """Losses and counts of row ranges add up to the batch's."""
    model = network()
    batch = pack(random_texts(5, 12), "bert")
    objective = PermutationLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(2))
    with torch.no_grad():
        whole = objective.loss(model, batch, targets)
        parts = [objective.loss(model, batch.select_rows(r, r + 1), objective.rows(targets, batch, r, r + 1))
                 for r in range(batch.rows)]  # fmt: skip
    torch.testing.assert_close(sum(p.total for p in parts), whole.total, rtol=0, atol=1e-9)
    assert sum(p.count for p in parts) == whole.count
