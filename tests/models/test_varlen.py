"""models/varlen.py against the block mask, in float64: the same states and gradients for every class that can."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.fixtures_models import ENCODERS, pack, random_texts, tiny_encoder, tiny_masked_lm

from interlingua.models.attention import encode, encode_at, lower_states
from interlingua.models.varlen import attend, bounds_of, can_varlen, is_varlen, varlen

pytestmark = pytest.mark.usefixtures("exact")
ABLE = ["bert", "xlm-roberta", "modernbert", "electra", "albert", "distilbert", "eurobert"]


def test_the_classes_that_can():
    """Those whose attention transformers lets exchange; dropout inside of it is refused."""
    models = {family: tiny_encoder(family) for family in ENCODERS}
    assert {family for family, model in models.items() if can_varlen(model)} >= set(ABLE)
    models["bert"].config.attention_probs_dropout_prob = 0.1
    assert not can_varlen(models["bert"])


@pytest.mark.parametrize("family", ABLE)
def test_states_and_gradients_are_those_under_the_mask(family):
    """Packed rows with padding, several texts each: states, chosen states, and the gradients of all weights."""
    model = tiny_masked_lm(family).double()
    batch = pack(random_texts(3, 6, longest=30), family, row_length=40)
    real = batch.segments_BL > 0
    chosen = real & (batch.tokens_BL % 3 == 0)
    weights = torch.randn(int(chosen.sum()), model.config.hidden_size, dtype=torch.double)

    def run():
        model.zero_grad()
        states = encode_at(model, batch, chosen)
        (states * weights).sum().backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        with torch.no_grad():
            return encode(model, batch)[real], states.detach(), gradients

    under_mask = run()
    with varlen(model, wanted=True):
        assert is_varlen(model)
        by_text = run()
    assert not is_varlen(model)
    torch.testing.assert_close(by_text[0], under_mask[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(by_text[1], under_mask[1], rtol=0, atol=1e-10)
    assert by_text[2].keys() == under_mask[2].keys()
    for name, gradient in under_mask[2].items():
        torch.testing.assert_close(by_text[2][name], gradient, rtol=0, atol=1e-9, msg=name)


@torch.no_grad()
def test_lower_layers():
    """States after one layer of two, as frozen layers are run once for tuning."""
    model = tiny_encoder("bert").double()
    batch = pack(random_texts(3, 3, longest=30), "bert", row_length=40)
    expected = lower_states(model, batch, 1)
    with varlen(model, wanted=True):
        found = lower_states(model, batch, 1)
    real = batch.segments_BL > 0
    torch.testing.assert_close(found[real], expected[real], rtol=0, atol=1e-10)


def test_bounds():
    """Two rows by hand: texts of 3 and 2 with one padding, then one of 6."""
    batch = pack([np.array([2, 7, 3]), np.array([2, 3]), np.array([2, 5, 6, 7, 8, 3])], "bert", row_length=6)
    bounds = bounds_of(batch)
    lengths = (bounds.ends[1:] - bounds.ends[:-1]).tolist()
    assert sorted(lengths) == [1, 2, 3, 6]
    assert sum(lengths) == batch.tokens_BL.numel()
    chosen = torch.zeros_like(batch.tokens_BL, dtype=torch.bool)
    chosen[:, 1] = True
    assert bounds.of(chosen).ends.tolist()[-1] == 2


def test_windows_by_hand():
    """A window of one to each side over one text of four: every row of scores has at most three entries."""
    q, k = torch.randn(4, 1, 8, dtype=torch.double), torch.randn(4, 1, 8, dtype=torch.double)
    value = torch.eye(4, dtype=torch.double)[:, None, :]
    ends = torch.tensor([0, 4], dtype=torch.int32)
    shares = attend(q, k, value, ends, ends, 4, scale=1.0, window=(1, 1))[:, 0]
    near = (torch.arange(4)[:, None] - torch.arange(4)).abs() <= 1
    scores = (q[:, 0] @ k[:, 0].T).masked_fill(~near, -torch.inf).softmax(dim=1)
    torch.testing.assert_close(shares, scores)
    causal = attend(q, k, value, ends, ends, 4, scale=1.0, window=(-1, 0))[:, 0]
    torch.testing.assert_close(causal, (q[:, 0] @ k[:, 0].T).masked_fill(~torch.ones(4, 4).tril().bool(), -torch.inf)
                               .softmax(dim=1))  # fmt: skip
