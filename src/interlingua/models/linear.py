"""Linear maps by oneDNN on processors where torch's own matrix products are slow.

In: any network, run inside ``with quick_linear():``. Out: the same numbers up to float32 rounding, forwards and
backwards. torch takes its matrix products from Intel's MKL, which does not use the 512-bit units of other makers'
processors; oneDNN, which torch also carries, does. In an encoder nearly all time goes there. Decisions: the rule asks
the processor's name and not the clock, since a resumed run must come out the same bit for bit; nothing is repacked or
kept, because unpacked weights lose only a twentieth and can never be out of date; networks stay what they are, every
call of ``torch.nn.functional.linear`` is caught on its way. Price: an operator of torch that its compiler uses and its
documentation does not name (where it is missing, torch's own product is taken), and a microsecond or two a call.

Shape suffixes: N tokens, I inputs, O outputs.
"""

from __future__ import annotations

import contextlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

__all__ = ["onednn_is_quicker", "product", "quick_linear"]

#: Weights smaller than this are left to torch: there the call costs more than the product.
SMALLEST = 64 * 128


@cache
def onednn_is_quicker() -> bool:
    """Whether this is a processor with AVX-512 that MKL does not use, and torch has both libraries.

    ``INTERLINGUA_ONEDNN=0`` or ``=1`` in the environment says it for certain.
    """
    mkl, onednn = (library.is_available() for library in (torch.backends.mkl, torch.backends.mkldnn))
    if not onednn or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if (said := os.environ.get("INTERLINGUA_ONEDNN", "")) in {"0", "1"}:
        return said == "1"
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not mkl:
        return False
    try:
        return "GenuineIntel" not in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _product(left_NI: Tensor, right_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """``left @ right.T + bias``; transposed views are taken as they are."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(left_NI, right_OI, bias_O, "none", [], "")
    return product


class _Linear(torch.autograd.Function):
    """Forward and both backward products by oneDNN."""

    @staticmethod
    def forward(ctx: Any, input_NI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(input_NI, weight_OI)
        return _product(input_NI, weight_OI, bias_O)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_output_NO: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input_NI, weight_OI = ctx.saved_tensors
        d_output_NO = d_output_NO.contiguous()  # what a sum hands back repeats one number without storing it
        wants_input, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            _product(d_output_NO, weight_OI.T) if wants_input else None,
            _product(d_output_NO.T, input_NI.T) if wants_weight else None,
            d_output_NO.sum(dim=0) if wants_bias else None,
        )


class _Quick(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is linear and not kwargs and _fits(args[0], args[1]):
            return _linear(*args)
        return func(*args, **(kwargs or {}))


def _fits(states: Tensor, weight: Tensor) -> bool:
    return (
        states.dtype == weight.dtype == torch.float32
        and states.device.type == weight.device.type == "cpu"
        and weight.ndim == 2
        and weight.numel() >= SMALLEST
        and states.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )


def _linear(states: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    input_NI = states.reshape(-1, states.shape[-1]).contiguous()
    learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (states, weight_OI, bias_O))
    by = _Linear.apply if learns else _product
    output_NO: Tensor = by(input_NI, weight_OI, bias_O)
    return output_NO.view(*states.shape[:-1], weight_OI.shape[0])


def product(left_NI: Tensor, right_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """``left @ right.T + bias`` by the quicker library, without a gradient; for code that has its own backward pass."""
    quick = onednn_is_quicker() and _fits(left_NI, right_OI)
    return (_product if quick else linear)(left_NI, right_OI, bias_O)


def quick_linear() -> contextlib.AbstractContextManager[Any]:
    """Linear maps of float32 tensors on the CPU are done by the quicker library while the block runs.

    Gradients of what was computed in the block may be asked for after it.
    """
    return _Quick() if onednn_is_quicker() else contextlib.nullcontext()
