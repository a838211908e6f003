"""The one batch that every objective, task and probe reads.

In: token ids that a stream or a task has laid out in rows. Out: tensors a model is run on, by way of
:func:`interlingua.models.attention.encode`. Decision: rows are *packed* (several texts a row, no text sees another)
and every token knows its segment, so no second layout exists for padded input: a padded batch is a packed one with
one segment a row. Price: a [B, L, L] mask for the attention.

Shape suffixes: B rows, L row length, S segments, P linked pairs.
"""
# ruff: noqa: N815  fields are tensors and carry shape suffixes

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Batch", "pack_rows", "rows_from_texts"]


@dataclass(frozen=True)
class Batch:
    """Packed rows of token ids.

    Attributes:
        tokens_BL: token ids, int64; padding holds the pad id.
        segments_BL: which text a token belongs to, int64, numbered 1..S through the whole batch; 0 is padding.
        positions_BL: position inside the text, int64, from 0; restarts at every text (and, for a joined
            translation pair, at each side).
        languages_BL: index of the token's language in ``language_names``, or in the stream's list, int64.
        word_starts_BL: True at tokens that begin a word, bool.
        special_BL: True at special tokens and padding, which no masking policy may touch, bool.
        links_P2: pairs of segment numbers that translate each other, int64; empty where the layout has none.
        labels: for tasks: one class a segment, int64 [S] (a number, float32), or one a token, int64 [B, L] with
            -100 = no label.
        types_BL: token types for classes that use them to tell the sides of a pair apart, int64; None: all 0 (or
            the language, in a network with language embeddings).
        states_BLD: hidden states after the network's frozen lower layers, where these were computed before; the
            network is then run from there.
        states_layer: how many layers ``states_BLD`` has behind it.
        language_names: tags by index, where they are the batch's own.
    """

    tokens_BL: Tensor
    segments_BL: Tensor
    positions_BL: Tensor
    languages_BL: Tensor
    word_starts_BL: Tensor
    special_BL: Tensor
    links_P2: Tensor
    labels: Tensor | None = None
    types_BL: Tensor | None = None
    states_BLD: Tensor | None = None
    states_layer: int = 0
    language_names: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows B."""
        return self.tokens_BL.shape[0]

    @property
    def tokens(self) -> int:
        """Number of tokens that are not padding."""
        return int((self.segments_BL > 0).sum())

    @property
    def segments(self) -> int:
        """Number of segments S (segments are numbered without gaps)."""
        return int(self.segments_BL.max()) if self.segments_BL.numel() else 0

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def select_rows(self, start: int, stop: int) -> Batch:
        """Rows ``start:stop`` as a batch of their own: segments numbered from 1, links out of the rows dropped."""
        segments = self.segments_BL[start:stop]
        kept = torch.unique(segments[segments > 0])
        renumber = torch.zeros(self.segments + 1, dtype=torch.long, device=segments.device)
        renumber[kept] = torch.arange(1, len(kept) + 1, device=segments.device)
        links = renumber[self.links_P2]
        labels = self.labels
        if labels is not None:
            labels = labels[start:stop] if labels.shape == self.tokens_BL.shape else labels[kept - 1]
        return replace(
            self,
            tokens_BL=self.tokens_BL[start:stop],
            segments_BL=renumber[segments],
            positions_BL=self.positions_BL[start:stop],
            languages_BL=self.languages_BL[start:stop],
            word_starts_BL=self.word_starts_BL[start:stop],
            special_BL=self.special_BL[start:stop],
            links_P2=links[(links > 0).all(dim=1)],
            labels=labels,
            types_BL=None if self.types_BL is None else self.types_BL[start:stop],
            states_BLD=None if self.states_BLD is None else self.states_BLD[start:stop],
        )


def pack_rows(lengths: np.ndarray, row_length: int) -> list[list[int]]:
    """First-fit-decreasing packing of items into rows.

    Args:
        lengths: item lengths, each at most ``row_length``.
        row_length: capacity of a row, in tokens.

    Returns:
        A list of rows, each a list of item indices. Deterministic: ties keep the items' order.
    """
    # Rows are bucketed by the space they have left, so that "first fit" is a scan over at most row_length buckets
    # instead of over all rows: 4,096 items pack in a few milliseconds.
    by_space: list[list[int]] = [[] for _ in range(row_length + 1)]
    largest_space = 0
    rows: list[list[int]] = []
    for item in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[item])
        space = next((s for s in range(length, largest_space + 1) if by_space[s]), None)
        if space is None:
            row = len(rows)
            rows.append([item])
            left = row_length - length
        else:
            row = by_space[space].pop()
            rows[row].append(item)
            left = space - length
        by_space[left].append(row)
        largest_space = max(largest_space, left)
    return rows


def rows_from_texts(
    token_lists: Sequence[np.ndarray],
    *,
    pad_id: int,
    row_length: int,
    special_ids: np.ndarray,
    languages: Sequence[int] | None = None,
    word_starts: Sequence[np.ndarray] | None = None,
    positions: Sequence[np.ndarray] | None = None,
    token_languages: Sequence[np.ndarray] | None = None,
    types: Sequence[np.ndarray] | None = None,
    states: Sequence[np.ndarray] | None = None,
    states_layer: int = 0,
    links: Sequence[tuple[int, int]] = (),
    pack: bool = True,
) -> Batch:
    """Lay texts out in rows.

    Segment ``i + 1`` of the batch is ``token_lists[i]``, whatever row it lands in.

    Args:
        token_lists: one array of token ids a text, specials included, none longer than ``row_length``.
        pad_id: id of the padding token.
        row_length: longest row, in tokens; rows are cut to the longest one in use.
        special_ids: ids no masking may touch.
        languages: language index per text (0 for all when left out).
        word_starts: per text, True at tokens that begin a word (all True when left out).
        positions: per text, positions if they do not simply count up.
        token_languages: per text, language per token, if a text mixes languages.
        types: per text, token types.
        states: per text, hidden states [tokens, D] after ``states_layer`` layers.
        states_layer: see :class:`Batch`.
        links: pairs of text indices that translate each other.
        pack: several texts a row (True) or one (False).
    """
    lengths = np.fromiter((len(t) for t in token_lists), dtype=np.int64, count=len(token_lists))
    rows = pack_rows(lengths, row_length) if pack else [[i] for i in range(len(token_lists))]
    width = max((int(lengths[row].sum()) for row in rows), default=0)
    shape = (len(rows), width)
    tokens_BL = np.full(shape, pad_id, dtype=np.int64)
    segments_BL = np.zeros(shape, dtype=np.int64)
    positions_BL = np.zeros(shape, dtype=np.int64)
    languages_BL = np.zeros(shape, dtype=np.int64)
    starts_BL = np.zeros(shape, dtype=bool)
    types_BL = np.zeros(shape, dtype=np.int64)
    states_BLD = np.zeros((*shape, states[0].shape[1]), dtype=np.float32) if states else None
    counting = np.arange(width)
    for r, row in enumerate(rows):
        at = 0
        for i in row:
            end = at + int(lengths[i])
            tokens_BL[r, at:end] = token_lists[i]
            segments_BL[r, at:end] = i + 1
            positions_BL[r, at:end] = counting[: end - at] if positions is None else positions[i]
            starts_BL[r, at:end] = True if word_starts is None else word_starts[i]
            if types is not None:
                types_BL[r, at:end] = types[i]
            if states_BLD is not None and states is not None:
                states_BLD[r, at:end] = states[i]
            if token_languages is not None:
                languages_BL[r, at:end] = token_languages[i]
            elif languages is not None:
                languages_BL[r, at:end] = languages[i]
            at = end
    special_BL = np.isin(tokens_BL, special_ids) | (segments_BL == 0)
    return Batch(
        tokens_BL=torch.from_numpy(tokens_BL),
        segments_BL=torch.from_numpy(segments_BL),
        positions_BL=torch.from_numpy(positions_BL),
        languages_BL=torch.from_numpy(languages_BL),
        word_starts_BL=torch.from_numpy(starts_BL),
        special_BL=torch.from_numpy(special_BL),
        links_P2=torch.tensor(list(links), dtype=torch.long).reshape(-1, 2) + 1,
        types_BL=None if types is None else torch.from_numpy(types_BL),
        states_BLD=None if states_BLD is None else torch.from_numpy(states_BLD),
        states_layer=states_layer,
    )
