"""models/linear.py: torch's own linear map in float64 is the oracle, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear

from interlingua.models import linear as module
from interlingua.models.linear import onednn_is_quicker, product, quick_linear

here = pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch has no oneDNN")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Take the road on every processor, whatever the size."""
    monkeypatch.setattr(module, "onednn_is_quicker", lambda: True)
    monkeypatch.setattr(module, "SMALLEST", 0)


@here
@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 9)),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    bias=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_products_and_gradients(shape, sizes, bias, seed):
    """Any number of rows and widths, with and without bias, states laid out the other way round."""
    chance = torch.Generator().manual_seed(seed)
    states = torch.randn(*reversed(shape), sizes[0], generator=chance).transpose(0, 1).requires_grad_()
    weight = torch.randn(sizes[1], sizes[0], generator=chance, requires_grad=True)
    offset = torch.randn(sizes[1], generator=chance, requires_grad=True) if bias else None
    weights = torch.randn(*shape, sizes[1], generator=chance)
    with quick_linear():
        mapped = linear(states, weight, offset)
    assert type(mapped.grad_fn.next_functions[0][0]).__name__ == "_LinearBackward"
    inputs = [t for t in (states, weight, offset) if t is not None]
    found = torch.autograd.grad((mapped * weights).sum(), inputs)
    exact = [t.detach().double().requires_grad_() for t in inputs]
    expected = linear(*exact)
    wanted = torch.autograd.grad((expected * weights.double()).sum(), exact)
    for one, other in zip((mapped, *found), (expected, *wanted), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


@here
def test_a_sums_gradient_and_no_gradient():
    """A sum's gradient is one number seen many times; parts that are frozen get none; without gradients no graph."""
    states, weight = torch.randn(6, 8, requires_grad=True), torch.randn(4, 8)
    with quick_linear():
        linear(states, weight).sum().backward()
        torch.testing.assert_close(states.grad, weight.sum(dim=0).expand(6, 8))
        with torch.no_grad():
            assert linear(states, weight).grad_fn is None
        assert not linear(states.detach(), weight).requires_grad


@here
def test_what_is_left_to_torch(monkeypatch):
    """float64, empty input and weights that are too small go the usual road, and nothing changes outside the block."""

    def refused(*_):
        raise AssertionError("not this one")

    monkeypatch.setattr(module, "_product", refused)
    with quick_linear():
        assert linear(torch.ones(2, 3).double(), torch.ones(4, 3).double()).shape == (2, 4)
        assert linear(torch.ones(0, 3), torch.ones(4, 3)).shape == (0, 4)
        monkeypatch.setattr(module, "SMALLEST", 100)
        assert linear(torch.ones(2, 3), torch.ones(4, 3)).shape == (2, 4)
    monkeypatch.setattr(module, "SMALLEST", 0)
    assert linear(torch.ones(2, 3), torch.ones(4, 3)).shape == (2, 4)


def test_the_rule_asks_the_processor(monkeypatch):
    """Intel's own processors, older ones, and a torch without the libraries keep torch's products."""
    text = "vendor_id : AuthenticAMD"
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: text)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    monkeypatch.delenv("INTERLINGUA_ONEDNN", raising=False)
    rule = onednn_is_quicker.__wrapped__
    assert rule() == (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available())
    monkeypatch.setenv("INTERLINGUA_ONEDNN", "0")
    assert not rule()
    monkeypatch.delenv("INTERLINGUA_ONEDNN")
    text = "vendor_id : GenuineIntel"
    assert not rule()
    text = "vendor_id : AuthenticAMD"
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    assert not rule()


@here
def test_a_product_without_a_gradient():
    """Both libraries' products, of a transposed view too, and of float64."""
    left, right, bias = torch.randn(5, 8), torch.randn(8, 6), torch.randn(6)
    wanted = (left.double() @ right.double() + bias).float()
    with torch.no_grad():
        torch.testing.assert_close(product(left, right.T, bias), wanted)
        torch.testing.assert_close(product(left.double(), right.T.double(), bias.double()).float(), wanted)
