"""train/optim.py against values worked out by hand and torch's own AdamW."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from interlingua.train.optim import Joined, build_muon, build_optimizer, learning_rate_factor, state_of
from interlingua.train.threads import available_cores, choose_threads


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # 20 steps, 10 % warm-up: steps 0 and 1 rise, 18 steps are left.
        ("linear", {0: 0.5, 1: 1.0, 2: 1.0, 11: 0.5, 19: 1 / 18}),
        ("cosine", {0: 0.5, 1: 1.0, 2: 1.0, 11: 0.5, 5: (1 + math.sqrt(3) / 2) / 2, 8: 0.75}),
        ("wsd", {0: 0.5, 1: 1.0, 2: 1.0, 15: 1.0, 16: 1.0, 17: 0.75, 18: 0.5, 19: 0.25}),
        ("constant", {0: 0.5, 1: 1.0, 2: 1.0, 19: 1.0}),
    ],
)
def test_schedules_by_hand(schedule, expected):
    """The factor at chosen steps of 20 with 10 % warm-up and a decay of 20 %."""
    for step, factor in expected.items():
        found = learning_rate_factor(step, 20, schedule=schedule, warmup=0.1, decay=0.2)
        assert found == pytest.approx(factor, abs=1e-12), step


@pytest.mark.parametrize("schedule", ["linear", "cosine", "wsd", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_schedules_stay_in_bounds(schedule, warmup, steps):
    """Every factor lies in (0, 1]: no step is lost, none exceeds the peak; no warm-up begins at the peak."""
    factors = [learning_rate_factor(t, steps, schedule=schedule, warmup=warmup) for t in range(steps)]
    assert all(0 < f <= 1 for f in factors)
    if warmup == 0:
        assert factors[0] == 1


def test_groups_of_adamw():
    """Matrices decay, biases and norms do not; each group has its own peak; frozen parameters are left out."""
    body = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    head = nn.Linear(4, 2)
    body[0].weight.requires_grad_(False)
    optimizer = build_optimizer(
        [(body.named_parameters(), 1e-4), (head.named_parameters(), 1e-3)],
        weight_decay=0.1,
        betas=(0.8, 0.9),
        epsilon=1e-5,
    )
    groups = [(g["peak_lr"], g["weight_decay"], {id(p) for p in g["params"]}) for g in optimizer.param_groups]
    assert groups == [
        (1e-4, 0.1, {id(body[1].weight)}),
        (1e-4, 0.0, {id(body[1].bias), id(body[2].weight), id(body[2].bias)}),
        (1e-3, 0.1, {id(head.weight)}),
        (1e-3, 0.0, {id(head.bias)}),
    ]
    assert all(
        g["betas"] == (0.8, 0.9) and g["eps"] == 1e-5 and g["lr"] == g["peak_lr"] for g in optimizer.param_groups
    )


def test_a_step_by_hand():
    """First AdamW step of one matrix and one bias, by Loshchilov and Hutter's formula: p - lr (sign(g) + decay p)."""
    linear = nn.Linear(2, 2)
    before = [p.detach().clone() for p in linear.parameters()]
    optimizer = build_optimizer([(linear.named_parameters(), 0.01)], weight_decay=0.5, epsilon=1e-12)
    for p in linear.parameters():
        p.grad = torch.full_like(p, -3.0)
    optimizer.step()
    torch.testing.assert_close(linear.weight.detach(), before[0] * (1 - 0.01 * 0.5) + 0.01)
    torch.testing.assert_close(linear.bias.detach(), before[1] + 0.01)


def test_threads_are_chosen_by_measurement(monkeypatch):
    """With step times made up per number of threads the most win, unless fewer are faster by 15 %."""
    now = [0.0]
    monkeypatch.setattr("interlingua.train.threads.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("interlingua.train.threads.available_cores", lambda: 8)
    before = torch.get_num_threads()
    try:
        for times, best in (
            ({1: 1.0, 2: 0.6, 4: 0.5, 8: 0.9}, 4),
            ({1: 1.0, 2: 0.97, 4: 0.96, 8: 2.0}, 4),
            ({1: 1.0, 2: 8.0, 4: 0.8, 8: 0.79}, 8),
            ({1: 1.0, 2: 4.0, 4: 6.0, 8: 8.0}, 1),
        ):

            def step(times=times) -> None:
                now[0] += times[torch.get_num_threads()]

            assert choose_threads(step) == best == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert available_cores() >= 1


def test_muon_by_hand():
    """One step: the update of a matrix is orthogonalised and scaled to AdamW's size, by SVD in float64.

    Muon's five steps of Newton and Schulz leave singular values between 0.7 and 1.2, so directions are compared.
    """
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(24, 16))
    before = weight.detach().clone()
    gradient = torch.randn(24, 16)
    optimizer = build_muon([("w", weight)], lr=0.01, weight_decay=0.0)
    assert optimizer.param_groups[0]["peak_lr"] == 0.01
    weight.grad = gradient.clone()
    optimizer.step()
    update = before - weight.detach()
    u, _, v = torch.linalg.svd(gradient.double(), full_matrices=False)
    right = (u @ v).flatten()
    cosine = torch.nn.functional.cosine_similarity(update.double().flatten(), right, dim=0)
    assert cosine > 0.97
    assert 0.7 < float(update.norm() / (0.01 * 0.2 * 24**0.5 * right.norm())) < 1.2


def test_joined_optimisers_step_their_own():
    """Two optimisers as one: each parameter moves as it would under its own, and is found by its state."""
    torch.manual_seed(0)
    matrix, vector = torch.nn.Parameter(torch.randn(8, 8)), torch.nn.Parameter(torch.randn(8))
    alone = [torch.nn.Parameter(p.detach().clone()) for p in (matrix, vector)]
    joined = Joined(
        [build_muon([("m", matrix)], lr=0.1, weight_decay=0.0), torch.optim.SGD([vector], lr=0.1, momentum=0.9)]
    )
    parts = [build_muon([("m", alone[0])], lr=0.1, weight_decay=0.0), torch.optim.SGD([alone[1]], lr=0.1, momentum=0.9)]
    for _ in range(3):
        for p, q in zip((matrix, vector), alone, strict=True):
            p.grad = torch.randn(p.shape)
            q.grad = p.grad.clone()
        joined.step()
        for part in parts:
            part.step()
        joined.zero_grad()
        assert matrix.grad is None
    assert torch.equal(matrix, alone[0])
    assert torch.equal(vector, alone[1])
    assert len(joined.param_groups) == 2
    assert torch.equal(state_of(joined, matrix)["momentum_buffer"], parts[0].state[alone[0]]["momentum_buffer"])
    assert "momentum_buffer" in state_of(joined, vector)
    assert state_of(joined, torch.nn.Parameter(torch.zeros(1))) == {}
