"""objectives/contrast.py against torch's cross-entropy and a brute-force formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures_models import pack, random_texts, tiny_masked_lm

from interlingua.objectives.contrast import TranslationRanking, ranking_losses

CLOSE = {"rtol": 0, "atol": 1e-10}


def brute_force(vectors, links, *, temperature: float, margin: float, negatives: str) -> list[float]:
    """The formula of the module's head, one term after the other."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    second = {j for _, j in links}
    partners = {i: {i} for i in range(len(unit))}
    for i, j in links:
        partners[i].add(j)
        partners[j].add(i)

    def loss(i: int, j: int) -> float:
        wrong = [k for k in range(len(unit)) if k not in partners[i]]
        if negatives == "other":
            wrong = [k for k in wrong if (k in second) != (i in second)]
        right = math.exp((unit[i] @ unit[j] - margin) / temperature)
        return -math.log(right / (right + sum(math.exp(unit[i] @ unit[k] / temperature) for k in wrong)))

    return [loss(i, j) for i, j in links] + [loss(j, i) for i, j in links]


def vectors_of(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 6)) * 3)


def test_other_side_equals_cross_entropy():
    """negatives="other" without a margin is torch's cross-entropy over the similarity matrix, both directions."""
    vectors = vectors_of(20)
    links = torch.stack([torch.arange(0, 20, 2), torch.arange(1, 20, 2)], dim=1)
    unit = F.normalize(vectors, dim=1)
    similarity = unit[0::2] @ unit[1::2].T / 0.1
    expected = torch.cat([F.cross_entropy(m, torch.arange(10), reduction="none") for m in (similarity, similarity.T)])
    ours = ranking_losses(vectors, links, temperature=0.1, margin=0.0, negatives="other")
    torch.testing.assert_close(ours, expected, **CLOSE)


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    negatives=st.sampled_from(["both", "other"]),
    margin=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 50),
)
@settings(max_examples=80, deadline=None)
def test_equals_brute_force(sizes, negatives, margin, seed):
    """Any groups (one to four texts), both kinds of negatives, with and without margin: the formula in float64."""
    ends = np.cumsum(sizes)
    links = [(i, j) for end, size in zip(ends, sizes, strict=True)
             for i in range(end - size, end) for j in range(i + 1, end)]  # fmt: skip
    vectors = vectors_of(int(ends[-1]), seed)
    ours = ranking_losses(
        vectors, torch.tensor(links, dtype=torch.long).reshape(-1, 2), temperature=0.2, margin=margin,
        negatives=negatives,
    )  # fmt: skip
    expected = brute_force(vectors.numpy(), links, temperature=0.2, margin=margin, negatives=negatives)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-10)


def test_no_member_of_a_group_is_a_wrong_candidate():
    """Three texts of one group and nothing else: no wrong candidate, loss 0, and gradients that are 0, not NaN."""
    vectors = vectors_of(3).requires_grad_()
    links = torch.tensor([[0, 1], [0, 2], [1, 2]])
    for negatives in ("both", "other"):
        losses = ranking_losses(vectors, links, temperature=0.05, margin=0.0, negatives=negatives)
        assert losses.tolist() == [0.0] * 6
        (gradient,) = torch.autograd.grad(losses.sum(), vectors)
        assert (gradient == 0).all()


def test_margin_raises_the_loss_as_the_formula_says():
    """One pair and one wrong candidate at similarity 0: -log(e^((1 - m)/T) / (e^((1 - m)/T) + 1)), by hand."""
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.double)
    losses = ranking_losses(vectors, torch.tensor([[0, 1]]), temperature=0.5, margin=0.4, negatives="both")
    torch.testing.assert_close(losses, torch.full((2,), math.log(1 + math.exp(-1.2)), dtype=torch.double), **CLOSE)


def test_gradients_are_the_differences():
    """The gradient agrees with finite differences (torch.autograd.gradcheck, float64)."""
    vectors = vectors_of(7).requires_grad_()
    links = torch.tensor([[0, 1], [2, 3], [2, 4], [3, 4], [5, 6]])
    for negatives in ("both", "other"):
        assert torch.autograd.gradcheck(
            lambda v, n=negatives: ranking_losses(v, links, temperature=0.3, margin=0.1, negatives=n), (vectors,)
        )


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_objective_pools_what_plain_transformers_computes(pooling):
    """The objective's loss equals cross-entropy over vectors pooled from plain BERT, one text a call."""
    model = tiny_masked_lm("bert")
    texts = random_texts(0, 12)
    links = [(i, i + 1) for i in range(0, 12, 2)]
    batch = pack(texts, "bert", links=links, languages=[i % 2 for i in range(12)])
    objective = TranslationRanking(temperature=0.1, negatives="other", pooling=pooling)
    loss = objective.loss(model, batch, objective.prepare(batch, np.random.default_rng(0)))
    states = [model.bert(torch.tensor(text)[None]).last_hidden_state[0] for text in texts]
    pooled = torch.stack([s.mean(0) if pooling == "mean" else s[0] for s in states])
    unit = F.normalize(pooled, dim=1)
    similarity = unit[0::2] @ unit[1::2].T / 0.1
    expected = F.cross_entropy(similarity, torch.arange(6)) * 6 + F.cross_entropy(similarity.T, torch.arange(6)) * 6
    torch.testing.assert_close(loss.total, expected, **CLOSE)
    assert loss.count == 12
    assert loss.languages_N.tolist() == [1] * 6 + [0] * 6  # a direction counts for the language that is looked for
