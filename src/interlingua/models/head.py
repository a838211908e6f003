"""Logits only where they are asked for, and a loss over the vocabulary that never holds them all.

In: a model with a head and the hidden states it ran to on packed rows. Out: logits, or losses, of the positions or
segments asked for. A vocabulary of 120k-250k makes the dense head the dearest part of a small model; at
15 % masking this is a seventh of it. Equal to the dense path: the head acts on each position alone.

Decision: the cross-entropy over the vocabulary computes its gradients in the forward pass, some rows at a time, so
that memory is a block of rows times the vocabulary instead of three times all rows. Price: the states' gradients are
computed also when only the table wants one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from interlingua.batch import Batch
from interlingua.models.adapters import before_output
from interlingua.models.architectures import architecture, head_piece
from interlingua.models.attention import encode, encode_at, pool_segments
from interlingua.models.linear import product
from interlingua.models.separate import language_parts

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "choice_logits",
    "linear_cross_entropy",
    "masked_logits",
    "masked_losses",
    "output_layer",
    "pooled_states",
    "sampled_losses",
    "sequence_logits",
    "span_logits",
    "token_logits",
]

#: Memory of a block of logits on a CPU and on a GPU. On CPUs below 32 MiB, glibc's largest size of memory that is kept
#: and used again; above it every block costs its page faults anew.
BLOCK_BYTES = (24 * 2**20, 512 * 2**20)


def masked_logits(model: PreTrainedModel, states_ND: Tensor) -> Tensor:
    """Vocabulary logits [N, V] of a masked language model (``AutoModelForMaskedLM``) from states of some tokens."""
    weight_VE, bias_V = output_layer(model)
    return linear(head_piece(model, "masked_transform")(model, states_ND), weight_VE, bias_V)


def output_layer(model: PreTrainedModel) -> tuple[Tensor, Tensor | None]:
    """The table [V, E] and the bias [V] that make logits over the vocabulary."""
    return architecture(model).output_layer(model)


def masked_losses(
    model: PreTrainedModel, states_ND: Tensor, labels_N: Tensor, languages_N: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of a masked language model: ``F.cross_entropy(masked_logits(...), labels_N)``, summed and each.

    Args:
        model: a masked language model; where languages have tables of their own, tokens are predicted by these.
        states_ND: last hidden states of the tokens to predict.
        labels_N: their ids, int64.
        languages_N: index of their languages, int64.

    Returns:
        The sum, a scalar with a gradient, and the summands [N] in float32 or better, without one.
    """
    states_NE = before_output(model, head_piece(model, "masked_transform")(model, states_ND), languages_N)
    weight_VE, bias_V = output_layer(model)
    parts = language_parts(model)
    tables = parts.output_tables() if parts is not None else {}
    if not tables:
        return linear_cross_entropy(states_NE, weight_VE, bias_V, labels_N)
    total = states_NE.new_zeros(())
    each_N = states_NE.new_empty(len(labels_N), dtype=torch.promote_types(states_NE.dtype, torch.float32))
    for language in set(languages_N.tolist()):
        own_N = languages_N == language
        table_VE = tables.get(language, weight_VE)
        part, each_N[own_N] = linear_cross_entropy(states_NE[own_N], table_VE, bias_V, labels_N[own_N])
        total = total + part
    return total, each_N


def sampled_losses(model: PreTrainedModel, states_ND: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`masked_losses`, with a token drawn from each predicted distribution: int64 [N]."""
    states_NE = head_piece(model, "masked_transform")(model, states_ND)
    return _cross_entropy(states_NE, *output_layer(model), labels_N, sample=True)


def linear_cross_entropy(
    states_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, labels_N: Tensor
) -> tuple[Tensor, Tensor]:
    """``F.cross_entropy(F.linear(states, weight, bias), labels)``, with logits of a few rows at a time in memory.

    Args:
        states_ND: inputs of the linear map.
        weight_VD: its weight.
        bias_V: its bias, or None.
        labels_N: right answers, int64.

    Returns:
        The sum of the losses, a scalar with gradients to states, weight and bias, and the losses [N] without one.
    """
    total, each_N, _ = _cross_entropy(states_ND, weight_VD, bias_V, labels_N, sample=False)
    return total, each_N


def _cross_entropy(
    states_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, labels_N: Tensor, *, sample: bool
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = torch.get_autocast_dtype(states_ND.device.type)
    if torch.is_autocast_enabled(states_ND.device.type):
        states_ND, weight_VD = states_ND.to(dtype), weight_VD.to(dtype)
    with torch.autocast(states_ND.device.type, enabled=False):
        found: tuple[Tensor, Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            states_ND, weight_VD, bias_V, labels_N, sample
        )
    return found


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient of a summed cross-entropy to its logits is (softmax - one-hot), known in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, states_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, labels_N: Tensor, sample: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        wanted, weight_learns = any(ctx.needs_input_grad), ctx.needs_input_grad[1]
        precise = torch.promote_types(states_ND.dtype, torch.float32)
        each_N = states_ND.new_empty(len(states_ND), dtype=precise)
        drawn_N = torch.empty_like(labels_N)
        d_states_ND, d_weight_VD, d_bias_V = None, None, None
        if wanted:
            d_states_ND = torch.empty_like(states_ND)
            d_weight_VD = torch.zeros_like(weight_VD, dtype=precise) if weight_learns else None
            d_bias_V = None if bias_V is None else torch.zeros_like(bias_V, dtype=precise)
        rows = max(1, BLOCK_BYTES[states_ND.device.type == "cuda"] // (len(weight_VD) * precise.itemsize))
        for start in range(0, len(states_ND), rows):
            block = slice(start, start + rows)
            logits = product(states_ND[block], weight_VD).to(precise)
            if bias_V is not None:
                logits += bias_V
            log_p = logits.log_softmax(dim=1)
            labels = labels_N[block, None]
            each_N[block] = -log_p.gather(1, labels)[:, 0]
            if sample:  # the Gumbel-max trick: argmax(log p - log e) for e ~ Exp(1) is a draw from p
                drawn_N[block] = (log_p - torch.empty_like(log_p).exponential_().log_()).argmax(dim=1)
            if d_states_ND is not None:
                d_logits = torch.exp(log_p, out=logits)
                d_logits.scatter_add_(1, labels, d_logits.new_full(labels.shape, -1.0))
                narrow = d_logits.to(weight_VD.dtype)
                d_states_ND[block] = product(narrow, weight_VD.T)
                if d_weight_VD is not None and d_weight_VD.dtype == weight_VD.dtype:
                    d_weight_VD.addmm_(narrow.T, states_ND[block])
                elif d_weight_VD is not None:
                    d_weight_VD += narrow.T @ states_ND[block]
                if d_bias_V is not None:
                    d_bias_V += d_logits.sum(dim=0)
        if d_weight_VD is not None:
            d_weight_VD = d_weight_VD.to(weight_VD.dtype)
        ctx.gradients = (d_states_ND, d_weight_VD, d_bias_V)
        ctx.mark_non_differentiable(each_N, drawn_N)
        return each_N.sum(), each_N, drawn_N

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = upstream[0]
        ready = [None if g is None else g.mul_(scale.to(g.dtype)) for g in ctx.gradients]
        ctx.gradients = None  # scaled in place: there is no second backward pass
        return (*ready, None, None)


def pooled_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    """What a sequence classifier of this class looks at: [S, D], row ``s - 1`` for segment ``s`` of the batch."""
    how = architecture(model).pooling(model.config)
    if how in {"mean", "late"}:
        states_BLD = encode(model, batch)
        if how == "late":  # the class's own hidden layer comes before the mean
            head: Any = model
            states_BLD = head.activation(head.dense(states_BLD))
        return pool_segments(states_BLD, batch, how="mean")
    chosen_BL = first_tokens(batch) if how == "first" else last_tokens(batch)
    states_SD = encode_at(model, batch, chosen_BL)
    return states_SD[torch.argsort(batch.segments_BL[chosen_BL])]


def first_tokens(batch: Batch) -> Tensor:
    """Where segments begin: bool [B, L]."""
    before_BL = torch.nn.functional.pad(batch.segments_BL, (1, 0))[:, :-1]
    return (batch.segments_BL > 0) & (batch.segments_BL != before_BL)


def last_tokens(batch: Batch) -> Tensor:
    """Where segments end: bool [B, L]."""
    after_BL = torch.nn.functional.pad(batch.segments_BL, (0, 1))[:, 1:]
    return (batch.segments_BL > 0) & (batch.segments_BL != after_BL)


def sequence_logits(model: PreTrainedModel, pooled_SD: Tensor) -> Tensor:
    """Class logits [S, C] of a sequence classifier from pooled states."""
    return head_piece(model, "sequence_logits")(model, pooled_SD)


def choice_logits(model: PreTrainedModel, pooled_SD: Tensor) -> Tensor:
    """Scores [S, 1] of choices from pooled states, by a network for multiple choice."""
    return head_piece(model, "choice_logits")(model, pooled_SD)


def token_logits(model: PreTrainedModel, states_ND: Tensor) -> Tensor:
    """Tag logits [N, C] of a token classifier from states of the tokens asked for."""
    return head_piece(model, "token_logits")(model, states_ND)


def span_logits(model: PreTrainedModel, states_ND: Tensor) -> Tensor:
    """Logits of being an answer's first and last token [N, 2] of a question answerer."""
    return head_piece(model, "span_logits")(model, states_ND)
