"""Attention over texts of varying length in packed rows, for GPUs: no mask, and no work between texts.

In: queries, keys and values of packed rows, and where each text begins. Out: the same as with the block mask of
:mod:`interlingua.models.attention`. Decisions: torch's own flash kernel for varying lengths (``varlen_attn``) under a
name of ours in transformers' registry of attention functions, so that the model classes stay theirs; padding at the
end of a row is one more text, so nothing is gathered or scattered. On a CPU the same function runs text by text, which
is slow and there to compare with. Price: no dropout inside of attention, and half precision.
"""
# ruff: noqa: N815  fields are tensors and carry shape suffixes

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from interlingua.batch import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Bounds", "attend", "bounds_of", "can_varlen", "is_varlen", "varlen"]

NAME = "interlingua_varlen"


@dataclass(frozen=True)
class Bounds:
    """Where texts begin in the tokens of all rows, one after the other.

    Attributes:
        ends: int32 [texts + 1], 0 first; texts are runs of one segment in a row, padding included.
        longest: an upper bound of their lengths.
        text_N: which text each token is of, int64 [B * L].
    """

    ends: Tensor
    longest: int
    text_N: Tensor

    def of(self, chosen_BL: Tensor) -> Bounds:
        """The same of some of the tokens."""
        text_N = self.text_N[chosen_BL.flatten()]
        counts = torch.bincount(text_N, minlength=len(self.ends) - 1)
        return Bounds(_ends(counts), self.longest, text_N)


def _ends(counts: Tensor) -> Tensor:
    return nn.functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)


def bounds_of(batch: Batch) -> Bounds:
    """Where the texts of a batch begin."""
    segments_BL = batch.segments_BL
    begins_BL = torch.ones_like(segments_BL, dtype=torch.bool)
    begins_BL[:, 1:] = segments_BL[:, 1:] != segments_BL[:, :-1]
    text_N = begins_BL.flatten().cumsum(0) - 1
    return Bounds(_ends(torch.bincount(text_N)), segments_BL.shape[1], text_N)


def attend(
    query_NHK: Tensor,
    key_MHK: Tensor,
    value_MHK: Tensor,
    ends_q: Tensor,
    ends_k: Tensor,
    longest: int,
    *,
    scale: float,
    window: tuple[int, int] = (-1, -1),
) -> Tensor:
    """Attention of each text's queries to its own keys.

    Args:
        query_NHK: queries of all texts, one text after the other.
        key_MHK: keys, of as many texts; a text may have other numbers of them.
        value_MHK: values.
        ends_q: int32 [texts + 1], where each text's queries end.
        ends_k: the same of the keys.
        longest: an upper bound of the lengths.
        scale: of the scores.
        window: tokens to the left and to the right that are seen (queries are then all tokens); -1: all.

    Returns:
        [N, H, K].
    """
    if query_NHK.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        kernel: Any = varlen_attn
        out: Tensor = kernel(
            query_NHK, key_MHK, value_MHK, ends_q, ends_k, longest, longest, scale=scale, window_size=window
        )
        return out
    found = []
    spans = zip(itertools.pairwise(ends_q.tolist()), itertools.pairwise(ends_k.tolist()), strict=True)
    for (q0, q1), (k0, k1) in spans:
        q, k, v = (x.transpose(0, 1)[None] for x in (query_NHK[q0:q1], key_MHK[k0:k1], value_MHK[k0:k1]))
        mask = None
        if window != (-1, -1):
            left, right = (k1 - k0 if side < 0 else side for side in window)
            ahead = torch.arange(k1 - k0) - torch.arange(q1 - q0)[:, None]
            mask = (ahead >= -left) & (ahead <= right)
        found.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)[0].transpose(0, 1))
    return torch.cat(found)


def _interface(
    module: Any,
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int = 0,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """What transformers calls: [B, H, L, K] in, [B, L, H, K] out."""
    assert cu_seq_lens_q is not None  # models.attention hands the bounds to every call
    assert not dropout  # can_varlen looked
    B, H, L, K = query_BHLK.shape
    query, key, value = (x.transpose(1, 2).reshape(B * L, x.shape[1], K) for x in (query_BHLK, key_BHLK, value_BHLK))
    if key.shape[1] != H:  # grouped queries
        key, value = (x.repeat_interleave(H // x.shape[1], dim=1) for x in (key, value))
    causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
    # Classes count the token itself: a window of w sees w - 1 to either side.
    side = -1 if sliding_window is None else sliding_window - 1
    out_NHK = attend(
        query,
        key,
        value,
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        scale=K**-0.5 if scaling is None else scaling,
        window=(side, 0 if causal else side),
    )
    return out_NHK.view(B, L, H, K), None


def can_varlen(model: PreTrainedModel) -> bool:
    """Whether the class lets attention be exchanged, and uses no dropout in it."""
    config = model.config
    rates = ("attention_probs_dropout_prob", "attention_dropout", "attention_probs_dropout", "attn_pdrop")
    return bool(getattr(model, "_supports_attention_backend", False)) and not any(
        isinstance(getattr(config, name, 0.0), float) and getattr(config, name, 0.0) for name in rates
    )


def is_varlen(model: PreTrainedModel) -> bool:
    """Whether the network runs in :func:`varlen`."""
    return getattr(model.config, "_attn_implementation", None) == NAME


@contextlib.contextmanager
def varlen(model: PreTrainedModel, *, wanted: bool) -> Iterator[None]:
    """While the block runs the network attends by text instead of under a mask."""
    if not wanted:
        yield
        return
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _interface)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)  # none is needed
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before
