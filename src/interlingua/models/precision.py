"""bf16 for inference where the processor is faster at it.

CPUs with AVX-512 BF16 or AMX run an encoder almost twice as fast in bf16 as in float32 (sentence vectors keep a
cosine above 0.999 to the float32 ones); others run it slower. So it is measured, on the network itself, once a
process and shape.
"""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

import torch

from interlingua.models.linear import quick_linear
from interlingua.models.separate import spoken_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["for_inference", "inference_dtype"]

#: shape of network and number of threads -> the faster type.
_measured: dict[tuple[object, ...], torch.dtype] = {}


def inference_dtype(model: PreTrainedModel, *, rows: int = 8, length: int = 48, repeats: int = 3) -> torch.dtype:
    """The faster of float32 and bfloat16 for this network on this CPU; bfloat16 on GPUs that have it.

    Args:
        model: any encoder; networks under two million weights outside the embeddings are left in float32.
        rows: rows of the trial batch.
        length: tokens a row.
        repeats: the fastest of so many counts.
    """
    if model.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    table = sum(p.numel() for p in model.get_input_embeddings().parameters())
    own: torch.dtype = model.dtype
    if own != torch.float32 or sum(p.numel() for p in model.parameters()) - table < 2_000_000:
        return own
    config = model.config
    key = (config.model_type, config.hidden_size, config.num_hidden_layers, torch.get_num_threads())
    if key not in _measured:
        tokens_BL = torch.randint(5, config.vocab_size, (rows, length), generator=torch.Generator().manual_seed(0))
        best = {}
        # Which language is of no matter for the time, but language adapters ask.
        with torch.inference_mode(), quick_linear(), spoken_in(torch.zeros_like(tokens_BL)):
            for dtype in (torch.float32, torch.bfloat16):
                network = for_inference(model.base_model, dtype)
                times = []
                for _ in range(repeats + 1):
                    begin = time.perf_counter()
                    network(input_ids=tokens_BL)
                    times.append(time.perf_counter() - begin)
                best[dtype] = min(times)
        # A small gain is not worth other last digits than the training's.
        _measured[key] = torch.bfloat16 if best[torch.bfloat16] < 0.8 * best[torch.float32] else torch.float32
    return _measured[key]


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
