"""Operations that a step needs, and how many the machine could do.

In: a network and the batches of a step. Out: floating-point operations (a multiplication and an addition are two), and
with the machine's rate the share of it that training uses (model FLOPs utilisation, Chowdhery et al. 2022, PaLM,
appendix B). Counted is what the objective needs, not what was computed: recomputed or masked-away work is none, and
logits nobody asked for are none. Forward and backward pass together, N tokens, K predictions:

    6 N W       W weights of matrices in the layers (ALBERT's count as often as they are run)
    12 D Sum n^2  attention of a layer of width D over texts of n tokens each; half of it where attention is causal
    6 K (E V + W') the output layer over V entries of width E, and the W' weights of its transform

In the highest layer of BERT-like networks only keys and values are needed of all N tokens, all else of K. Embeddings,
norms, activations, softmax and the optimiser are left out, as is usual. Price: what the formula does not fit is not
counted at all: encoder-decoders, DeBERTa's positions, and networks beside the model.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from interlingua.batch import Batch
from interlingua.models.architectures import architecture_or_plain
from interlingua.models.linear import product
from interlingua.objectives.base import Part, Targets, TokenTargets

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["GPU_RATES", "FlopCounter", "peak_rate"]

#: Dense bf16 operations a second by words of the device's name, from the makers' data sheets.
GPU_RATES = {"H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12,
             "L4": 121e12}  # fmt: skip


def peak_rate(device: torch.device) -> float:
    """Operations a second: a known GPU's by its data sheet, else those of a large matrix product, measured now.

    On a CPU on as many threads as are set, and by the library that the network's products are done by.
    """
    if device.type == "cuda":
        words = set(torch.cuda.get_device_name(device).replace("-", " ").split())
        for name, rate in GPU_RATES.items():
            if words.issuperset(name.split()):
                return rate
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    size = 8192 if device.type == "cuda" else 768
    square = torch.randn(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(6):
        begin = time.perf_counter()
        product(square, square)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begin)
    return 2.0 * size**3 / best


def _matrices(modules: Iterable[nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters() if p.ndim > 1)


class FlopCounter:
    """Operations of a step over one network.

    Args:
        model: the network.
    """

    @classmethod
    def of(cls, model: PreTrainedModel, networks: Mapping[str, nn.Module]) -> Self | None:
        """The counter of a network; None where the formula does not fit it, or networks learn beside it."""
        fits = not networks and not model.config.is_encoder_decoder and model.config.model_type != "deberta-v2"
        return cls(model) if fits else None

    def __init__(self, model: PreTrainedModel) -> None:
        kind, config = architecture_or_plain(model), model.config
        base = model.base_model
        layers = kind.stack(base)[1]
        self._width = config.hidden_size
        self._layers = len(layers)
        self._pairs = 6 if kind.causal(config) else 12
        self._body = sum(_matrices(layer) for layer in layers)
        self._asked = 0
        if kind.layered:
            last: Any = layers[-1][0]
            seen_by_all = _matrices([last.attention.self.key, last.attention.self.value])
            self._asked = _matrices(layers[-1]) - seen_by_all
        table = model.get_input_embeddings().weight
        inside = {id(p) for p in base.parameters()} | {id(table)}
        head = [p for p in model.parameters() if id(p) not in inside and p.ndim > 1]
        self._output = table.shape[0] * table.shape[1]
        # An output layer of its own is the table's size; what is left is its transform, or a head over classes.
        self._head = sum(p.numel() for p in head if p.shape[0] != table.shape[0])

    def step(self, prepared: Iterable[tuple[Part, Batch, Targets]]) -> float:
        """Operations of one optimiser step over its batches."""
        return sum(self._part(batch, targets) for _, batch, targets in prepared)

    def _part(self, batch: Batch, targets: Targets) -> float:
        tokens = batch.tokens
        lengths_S = torch.bincount(batch.segments_BL[batch.segments_BL > 0])
        squares = float((lengths_S.double() ** 2).sum())
        over_vocabulary = isinstance(targets, TokenTargets)
        asked = targets.count if over_vocabulary else tokens
        matrices: float = 6.0 * (tokens * (self._body - self._asked) + asked * self._asked)
        attention: float = self._pairs * self._width * squares * self._layers
        if self._asked:  # the highest layer's queries are those of the tokens asked for
            attention -= self._pairs * self._width * squares * (1 - asked / max(1, tokens))
        head: float = 6.0 * asked * (self._head + (self._output if over_vocabulary else 0))
        return matrices + attention + head
