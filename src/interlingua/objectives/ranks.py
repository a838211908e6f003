"""Vectors of a whole batch, computed by all ranks together.

For objectives whose negatives are the batch: each rank runs the network on its share of the rows, and every rank gets
all vectors and computes the whole loss. In: a global batch, the same on every rank. Out: vectors with a gradient; if
every rank's loss counts 1 / ranks, the sum of their gradients is that of one process. Price: the loss itself, cheap
beside the network, is computed on every rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interlingua.batch import Batch
from interlingua.models.attention import encode, pool_segments

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["own_rows", "rank_and_world", "segment_vectors", "sum_over_ranks"]


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) outside of torch.distributed."""
    import torch.distributed as dist

    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def own_rows(batch: Batch) -> slice:
    """The rows of a global batch that this rank runs."""
    rank, world = rank_and_world()
    return slice(round(rank * batch.rows / world), round((rank + 1) * batch.rows / world))


class _Sum(torch.autograd.Function):
    """The sum of all ranks' values; gradients are summed as well."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor) -> Tensor:
        import torch.distributed as dist

        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        import torch.distributed as dist

        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of all ranks' values, of the same shape on each; the values themselves where there is one rank."""
    if rank_and_world()[1] == 1:
        return values
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def segment_vectors(model: PreTrainedModel, batch: Batch, *, pooling: str) -> Tensor:
    """Pooled states [S, D] of all segments of a global batch, each computed by the rank that has its row."""
    rows = own_rows(batch)
    if (rows.start, rows.stop) == (0, batch.rows):
        return pool_segments(encode(model, batch), batch, how=pooling)
    whole_SD = torch.zeros(batch.segments, model.config.hidden_size, dtype=model.dtype, device=model.device)
    # A rank without rows runs one that counts nothing, so that all meet in the backward pass.
    counts = rows.start < rows.stop
    rows = rows if counts else slice(0, 1)
    own = batch.select_rows(rows.start, rows.stop)
    numbers = batch.segments_BL[rows]
    places = torch.unique(numbers[numbers > 0]) - 1
    own_SD = pool_segments(encode(model, own), own, how=pooling) * float(counts)
    whole_SD = whole_SD.index_put((places,), own_SD.to(whole_SD.dtype))
    return sum_over_ranks(whole_SD)
