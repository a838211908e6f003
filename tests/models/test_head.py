"""models/head.py: the loss over the vocabulary against torch's own linear map and cross-entropy."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from interlingua.models import head
from interlingua.models.head import linear_cross_entropy


def inputs(dtype: torch.dtype, rows: int = 23, *, bias: bool = True) -> tuple[list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(rows, 16), (70, 16), *([(70,)] if bias else [])]
    values = [torch.randn(shape, generator=generator, dtype=torch.double) for shape in shapes]
    return [v.to(dtype).requires_grad_() for v in values], torch.randint(70, (rows,), generator=generator)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("blocks", [1, 2, 23])
def test_equals_torch(monkeypatch, blocks, bias):
    """Losses and all gradients, whatever the number of blocks, with another factor on the loss."""
    monkeypatch.setattr(head, "BLOCK_BYTES", (-(-23 // blocks) * 70 * 8,) * 2)
    ours, labels = inputs(torch.double, bias=bias)
    theirs, _ = inputs(torch.double, bias=bias)
    total, each = linear_cross_entropy(*ours, *([] if bias else [None]), labels)
    expected = F.cross_entropy(F.linear(*theirs), labels, reduction="none")
    torch.testing.assert_close(each, expected, rtol=0, atol=1e-12)
    (0.37 * total).backward()
    (0.37 * expected.sum()).backward()
    for mine, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, wanted.grad, rtol=0, atol=1e-12)


def test_nothing_to_predict():
    """No row: a loss of 0 and gradients of 0."""
    ours, labels = inputs(torch.double, rows=0)
    total, each = linear_cross_entropy(*ours, labels)
    total.backward()
    assert total == 0
    assert each.shape == (0,)
    assert all((tensor.grad == 0).all() for tensor in ours)


def test_improbable_answers_have_finite_losses():
    """A probability of 0 in float32 has the loss of its logarithm, not infinity."""
    total, _ = linear_cross_entropy(torch.tensor([[1.0]]), torch.tensor([[0.0], [500.0]]), None, torch.tensor([0]))
    assert total.item() == pytest.approx(500.0)


def test_half_precision_sums_in_float32():
    """Under bf16 autocast the losses are float32, and near those of float32 throughout; gradients keep their type."""
    ours, labels = inputs(torch.float32)
    theirs, _ = inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        total, each = linear_cross_entropy(*ours, labels)
    total.backward()
    expected = F.cross_entropy(F.linear(*theirs), labels, reduction="none")
    expected.sum().backward()
    assert each.dtype == torch.float32
    torch.testing.assert_close(each, expected, rtol=0.02, atol=0.05)
    for mine, wanted in zip(ours, theirs, strict=True):
        assert mine.grad.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(mine.grad.flatten(), wanted.grad.flatten(), dim=0) > 0.999


def test_no_gradient_wanted():
    """Held-out losses are computed without a gradient."""
    (states, weight, bias), labels = inputs(torch.double)
    with torch.inference_mode():
        total, _ = linear_cross_entropy(states, weight, bias, labels)
    assert total.item() == pytest.approx(
        F.cross_entropy(F.linear(states, weight, bias), labels, reduction="sum").item()
    )
    assert not total.requires_grad


def test_samples_follow_the_predicted_distribution(monkeypatch):
    """20,000 draws from one distribution, over several blocks, pass a chi-square test against its softmax."""
    from scipy import stats

    monkeypatch.setattr(head, "BLOCK_BYTES", (3000 * 6 * 8,) * 2)
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5, -0.5], dtype=torch.double)
    torch.manual_seed(0)
    _, _, drawn = head._cross_entropy(
        torch.ones(20_000, 1, dtype=torch.double),
        logits[:, None],
        None,
        torch.zeros(20_000, dtype=torch.long),
        sample=True,
    )
    counts = torch.bincount(drawn, minlength=6).numpy()
    assert stats.chisquare(counts, logits.softmax(0).numpy() * 20_000).pvalue > 0.001
