"""objectives/boundary.py against a plain loop over the spans of one text at a time, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.fixtures_models import MASK, pack, random_texts, tiny_masked_lm

from interlingua.batch import rows_from_texts
from interlingua.models.head import masked_logits
from interlingua.objectives.boundary import BoundaryHead, SpanBoundary
from interlingua.objectives.masking import Masking
from interlingua.objectives.mlm import MaskedLM
from interlingua.objectives.units import Spans, Words, geometric_lengths

pytestmark = pytest.mark.usefixtures("exact")
CLOSE = {"rtol": 0, "atol": 1e-10}
SPANS = Masking(MASK, np.arange(5, 150), rate=0.3, unit=Spans(geometric_lengths()))


def joined(left: torch.Tensor, right: torch.Tensor, place: int, head: BoundaryHead) -> torch.Tensor:
    """y of one token, written out from equation 2."""

    def layer(values: torch.Tensor, linear: torch.nn.Linear, norm: torch.nn.LayerNorm) -> torch.Tensor:
        hidden = linear.weight @ values + linear.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        centred = hidden - hidden.mean()
        return centred / torch.sqrt((centred**2).mean() + norm.eps) * norm.weight + norm.bias

    inputs = torch.cat([left, right, head.positions.weight[place]])
    return layer(layer(inputs, head.first, head.first_norm), head.second, head.second_norm)


@pytest.mark.parametrize("family", ["bert", "albert", "modernbert"])
def test_equals_a_loop_over_spans(family):
    """Loss and gradients are plain transformers' masked LM plus equation 2 span by span; far tokens have none."""
    ours, plain = tiny_masked_lm(family), tiny_masked_lm(family)
    batch = pack(random_texts(1, 14), family)
    assert batch.rows < 14
    heads = [BoundaryHead.for_model(model, positions=4, seed=3) for model in (ours, plain)]
    for head in heads:  # so that the norms' weights matter
        torch.manual_seed(1)
        for norm in (head.first_norm, head.second_norm):
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
    objective = SpanBoundary(SPANS, heads[0])
    targets = objective.prepare(batch, np.random.default_rng(0))
    units_BL = SPANS.units(batch, np.random.default_rng(0))
    loss = objective.loss(ours, batch, targets)
    loss.total.backward()

    total, far = torch.zeros((), dtype=torch.double), 0
    bias = plain.get_output_embeddings().bias
    for number in range(1, batch.segments + 1):
        own = batch.segments_BL == number
        states = plain.base_model(targets.tokens_BL[own][None]).last_hidden_state[0]
        labels, units = targets.labels_BL[own], units_BL[own.numpy()]
        chosen = labels != -100
        assert (chosen.numpy() == (units >= 0)).all()
        total = total + F.cross_entropy(masked_logits(plain, states[chosen]), labels[chosen], reduction="sum")
        for unit in np.unique(units[units >= 0]):
            places = np.flatnonzero(units == unit)
            for place, at in enumerate(places):
                if place >= 4:
                    far += 1
                    continue
                y = joined(states[places[0] - 1], states[places[-1] + 1], place, heads[1])
                logits = plain.get_output_embeddings().weight @ y + bias
                total = total - logits.log_softmax(0)[labels[at]]
    total.backward()
    assert far > 5
    torch.testing.assert_close(loss.total, total, **CLOSE)
    assert loss.count == targets.count == int((targets.labels_BL != -100).sum())
    for one, two in ((ours, plain), (heads[0], heads[1])):
        for (name, mine), theirs in zip(one.named_parameters(), two.parameters(), strict=True):
            if theirs.grad is not None:
                torch.testing.assert_close(mine.grad, theirs.grad, **CLOSE, msg=name)


def test_rows_add_up():
    """Losses of some rows at a time add up to the whole batch's, and the masked LM's part is MaskedLM's own."""
    model = tiny_masked_lm("bert")
    batch = pack(random_texts(2, 12), "bert")
    objective = SpanBoundary(SPANS, BoundaryHead.for_model(model))
    targets = objective.prepare(batch, np.random.default_rng(0))
    whole = objective.loss(model, batch, targets)
    parts = [
        objective.loss(model, batch.select_rows(r, r + 1), objective.rows(targets, batch, r, r + 1))
        for r in range(batch.rows)
    ]
    torch.testing.assert_close(sum(part.total for part in parts), whole.total, **CLOSE)
    assert sum(part.count for part in parts) == whole.count
    masked = MaskedLM(SPANS)
    same = masked.prepare(batch, np.random.default_rng(0))
    assert (same.tokens_BL == targets.tokens_BL).all()
    torch.testing.assert_close(whole.each_N, masked.loss(model, batch, same).each_N, **CLOSE)


def test_bounds_by_hand():
    """Spans that touch have bounds of their own; at the edge of a text without specials the span's end stands in."""
    batch = rows_from_texts(
        [np.arange(10, 16), np.arange(20, 23)],
        word_starts=[np.array([True, False, True, True, False, True]), np.array([True, True, True])],
        pad_id=0,
        row_length=9,
        special_ids=np.arange(5),
    )
    assert batch.rows == 1
    everything = Masking(4, np.arange(5, 150), rate=0.999999, unit=Words())
    head = BoundaryHead(8, 8)
    targets = SpanBoundary(everything, head).prepare(batch, np.random.default_rng(1))
    assert targets.count == 9
    assert targets.left_BL.tolist() == [[0, 0, 1, 2, 2, 4, 6, 6, 7]]
    assert targets.right_BL.tolist() == [[2, 2, 3, 5, 5, 5, 7, 8, 8]]
    assert targets.place_BL.tolist() == [[0, 1, 0, 0, 1, 0, 0, 0, 0]]


def test_nothing_hidden():
    """A batch without a hidden token has no loss and breaks nothing."""
    model = tiny_masked_lm("bert")
    batch = pack([np.array([1, 2])], "bert")
    objective = SpanBoundary(SPANS, BoundaryHead.for_model(model))
    loss = objective.loss(model, batch, objective.prepare(batch, np.random.default_rng(0)))
    assert (loss.count, loss.total.item()) == (0, 0.0)
