"""bf16 for inference where the processor is faster at it.

CPUs with AVX-512 BF16 or AMX run an encoder almost twice as fast in bf16 as in float32 (sentence vectors keep a
cosine above 0.999 to the float32 ones); others run it slower. Decision: the rule asks what the processor has and not
the clock, so that the same command gives the same numbers on a busy machine. Price: what runs on one processor may
differ in the third digit from what runs on another.
"""

from __future__ import annotations

import copy
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["bf16_is_quicker", "for_inference", "inference_dtype"]

#: Flags of processors that multiply bf16 in units of their own.
_UNITS = {"avx512_bf16", "amx_bf16"}


@cache
def bf16_is_quicker() -> bool:
    """Whether this CPU has units for bf16. ``INTERLINGUA_BF16=0`` or ``=1`` in the environment says it for certain."""
    if (said := os.environ.get("INTERLINGUA_BF16", "")) in {"0", "1"}:
        return said == "1"
    try:
        return bool(_UNITS & set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()))
    except OSError:
        return False


def inference_dtype(model: PreTrainedModel) -> torch.dtype:
    """The faster of float32 and bfloat16 for this network: bfloat16 on CPUs with units for it and GPUs that have it.

    Args:
        model: any encoder; networks under two million weights outside the embeddings are left in float32.
    """
    if model.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    table = sum(p.numel() for p in model.get_input_embeddings().parameters())
    own: torch.dtype = model.dtype
    if own != torch.float32 or sum(p.numel() for p in model.parameters()) - table < 2_000_000:
        return own
    return torch.bfloat16 if bf16_is_quicker() else torch.float32


def for_inference(
    model: PreTrainedModel, dtype: torch.dtype, *, like: tuple[PreTrainedModel, PreTrainedModel] | None = None
) -> PreTrainedModel:
    """A copy of the network in another type (the network itself if it has that type already).

    Args:
        model: the network.
        dtype: wanted type.
        like: another network and its converted copy: tensors that ``model`` shares with the first (frozen layers)
            are taken from the second instead of being converted again.
    """
    if model.dtype == dtype:
        return model.eval()
    done = (
        {}
        if like is None
        else {p.data_ptr(): q for p, q in zip(like[0].parameters(), like[1].parameters(), strict=True)}
    )
    # Converted tensors are handed to the copy one by one, so that no second network in the old type is ever made.
    memo: dict[int, object] = {}
    for parameter in model.parameters():
        found = done.get(parameter.data_ptr())
        memo[id(parameter)] = (
            torch.nn.Parameter(parameter.detach().to(dtype), requires_grad=False) if found is None else found
        )
    converted: PreTrainedModel = copy.deepcopy(model, memo).to(dtype)
    return converted.eval()
