"""objectives/simcse.py and the queue of contrast.py against losses written out with torch's cross-entropy."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from tests.fixtures_models import pack, random_texts, tiny_masked_lm

from interlingua.models.attention import encode, pool_segments
from interlingua.objectives.contrast import MomentumQueue, TranslationRanking
from interlingua.objectives.simcse import DropoutPairs

CLOSE = {"rtol": 0, "atol": 1e-10}


def test_dropout_pairs_equal_cross_entropy():
    """The loss is the cross-entropy over cosines / T of two runs with the same random numbers, both ways."""
    model = tiny_masked_lm("bert", hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2).train()
    batch = pack(random_texts(0, 7), "bert", languages=[i % 3 for i in range(7)])
    objective = DropoutPairs(temperature=0.1)
    torch.manual_seed(5)
    loss = objective.loss(model, batch, objective.prepare(batch, np.random.default_rng(0)))
    torch.manual_seed(5)
    first, second = (F.normalize(pool_segments(encode(model, batch), batch), dim=1) for _ in range(2))
    assert (first - second).abs().max() > 0.01
    right = torch.arange(7)
    scores = first @ second.T / 0.1
    expected = F.cross_entropy(scores, right, reduction="sum") + F.cross_entropy(scores.T, right, reduction="sum")
    torch.testing.assert_close(loss.total, expected, **CLOSE)
    assert loss.count == 14
    assert loss.languages_N.tolist() == [i % 3 for i in range(7)] * 2


def linked(seed: int):
    texts = random_texts(seed, 8)
    return pack(texts, "bert", links=[(0, 1), (2, 3), (4, 5), (6, 7)])


def test_queue_holds_the_last_vectors_of_a_moving_average():
    """Three steps: the copy is the exponential average of the weights, the queue its vectors, newest first."""
    model = tiny_masked_lm("bert").train()
    queue = MomentumQueue(model, size=20, momentum=0.9)
    objective = TranslationRanking(queue=queue)
    average = copy.deepcopy(model.base_model)
    vectors = torch.zeros(0, 32, dtype=torch.double)
    for step in range(3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
        batch = linked(step)
        loss = objective.loss(model, batch, objective.prepare(batch, np.random.default_rng(0)))
        unit = F.normalize(pool_segments(encode(model, batch), batch), dim=1)
        expected = torch.zeros(())
        for i, j in [(a, b) for pair in batch.links_P2.tolist() for a, b in (pair, pair[::-1])]:
            scores = unit[i - 1] @ unit.T / 0.05
            scores[i - 1] = -torch.inf
            row = torch.cat([scores, unit[i - 1] @ vectors.T / 0.05])
            expected = expected + F.cross_entropy(row[None], torch.tensor([j - 1]), reduction="sum")
        torch.testing.assert_close(loss.total, expected, **CLOSE)
        model.zero_grad()
        loss.total.backward()
        with torch.no_grad():
            for own, other in zip(average.parameters(), model.base_model.parameters(), strict=True):
                own.mul_(0.9).add_(other, alpha=0.1)
            new = F.normalize(pool_segments(encode(average, batch), batch), dim=1)
            vectors = torch.cat([new, vectors])[:20]
        torch.testing.assert_close(queue.candidates(), vectors, **CLOSE)


def test_queue_stands_still_in_evaluation():
    """Held-out losses move neither the copy nor the queue, and the queue takes no gradient."""
    model = tiny_masked_lm("bert").train()
    queue = MomentumQueue(model, size=20, momentum=0.9)
    objective = TranslationRanking(queue=queue)
    batch = linked(1)
    objective.loss(model, batch, objective.prepare(batch, np.random.default_rng(0)))
    before = {name: value.clone() for name, value in queue.state_dict().items()}
    objective.loss(model.eval(), batch, objective.prepare(batch, np.random.default_rng(0))).total.backward()
    assert all(torch.equal(value, before[name]) for name, value in queue.state_dict().items())
    assert all(parameter.grad is None for parameter in queue.parameters())
