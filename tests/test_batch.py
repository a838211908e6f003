"""batch.py: packing properties, and the layout of rows against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.batch import Batch, pack_rows, rows_from_texts

SPECIALS = np.array([0, 1, 2])


def first_fit_decreasing(lengths: list[int], capacity: int) -> int:
    """Rows that textbook first-fit-decreasing needs."""
    space: list[int] = []
    for length in sorted(lengths, reverse=True):
        row = next((r for r, left in enumerate(space) if left >= length), None)
        if row is None:
            space.append(capacity - length)
        else:
            space[row] -= length
    return len(space)


@given(lengths=st.lists(st.integers(0, 40), max_size=200), capacity=st.integers(40, 90))
@settings(max_examples=150, deadline=None)
def test_pack_rows(lengths, capacity):
    """Each item once, no row over capacity, same again; never more rows than 11/9 of the least possible, plus one."""
    rows = pack_rows(np.array(lengths, dtype=np.int64), capacity)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= capacity for row in rows)
    assert rows == pack_rows(np.array(lengths, dtype=np.int64), capacity)
    least = -(-sum(lengths) // capacity)
    assert len(rows) <= max(11 / 9 * max(least, first_fit_decreasing(lengths, capacity)) + 1, 1)


def test_pack_rows_on_real_lengths(tiny_texts, bpe_tokenizer):
    """Verses of twelve languages in rows of 256: waste under 3 %, as few rows as textbook first-fit-decreasing."""
    texts = [text for own in tiny_texts.values() for text in own]
    lengths = [min(len(e.ids), 256) for e in bpe_tokenizer.encode_batch(texts)]
    rows = pack_rows(np.array(lengths), 256)
    assert 1 - sum(lengths) / (256 * len(rows)) < 0.03
    assert len(rows) <= 1.01 * first_fit_decreasing(lengths, 256) + 1


def test_equal_lengths_keep_their_order():
    """Ties are packed in the items' order."""
    assert [sorted(row) for row in pack_rows(np.array([5, 5, 5, 5]), 10)] == [[0, 1], [2, 3]]


@st.composite
def texts(draw):
    """Up to ten texts of 1 to 15 ids, two of the ids special."""
    return [
        np.array(t)
        for t in draw(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=15), min_size=1, max_size=10))
    ]


@given(texts=texts(), packed=st.booleans())
@settings(max_examples=100, deadline=None)
def test_rows_hold_the_texts(texts, packed):
    """Segment i + 1 reads as text i, in one row and without gaps; all that is not a text is padding and special."""
    batch = rows_from_texts(texts, pad_id=0, row_length=20, special_ids=SPECIALS, pack=packed)
    assert batch.segments == len(texts)
    assert batch.tokens == sum(map(len, texts))
    for number, text in enumerate(texts, start=1):
        rows, places = (batch.segments_BL == number).nonzero().T
        assert len(set(rows.tolist())) == 1
        assert places.tolist() == list(range(int(places[0]), int(places[0]) + len(text)))
        assert batch.tokens_BL[rows, places].tolist() == text.tolist()
        assert batch.positions_BL[rows, places].tolist() == list(range(len(text)))
    padding = batch.segments_BL == 0
    assert (batch.tokens_BL[padding] == 0).all()
    assert batch.special_BL.tolist() == (padding | (batch.tokens_BL < 3)).tolist()
    if not packed:
        assert batch.rows == len(texts)


def everything() -> Batch:
    """Six texts in several rows with every field filled."""
    lengths = [9, 7, 6, 5, 4, 3]
    ids = [np.arange(10 * i + 3, 10 * i + 3 + n) for i, n in enumerate(lengths)]
    batch = rows_from_texts(
        ids,
        pad_id=0,
        row_length=12,
        special_ids=SPECIALS,
        languages=[0, 1, 2, 0, 1, 2],
        word_starts=[t % 2 == 0 for t in ids],
        types=[np.full(len(t), i % 2) for i, t in enumerate(ids)],
        states=[np.repeat(t[:, None], 3, axis=1).astype(np.float32) for t in ids],
        states_layer=1,
        links=[(0, 5), (1, 2), (3, 4)],
    )
    return Batch(**{**vars(batch), "labels": torch.tensor([100, 101, 102, 103, 104, 105])})


def test_select_rows():
    """Each part of a batch holds its rows' texts with their labels, links inside the rows, and all other fields."""
    batch = everything()
    assert batch.rows >= 3
    seen, links = {}, set()
    for start in range(batch.rows):
        part = batch.select_rows(start, start + 1)
        assert sorted(set(part.segments_BL.unique().tolist()) - {0}) == list(range(1, part.segments + 1))
        texts_of_part = []
        for s in range(1, part.segments + 1):
            own = part.segments_BL == s
            text = tuple(part.tokens_BL[own].tolist())
            texts_of_part.append(text)
            seen[text] = int(part.labels[s - 1])
            assert (part.states_BLD[own][:, 1] == part.tokens_BL[own]).all()
            assert (part.word_starts_BL[own] == (part.tokens_BL[own] % 2 == 0)).all()
            assert (part.types_BL[own] == (text[0] // 10) % 2).all()
            assert (part.languages_BL[own] == (text[0] // 10) % 3).all()
        links |= {(texts_of_part[i - 1], texts_of_part[j - 1]) for i, j in part.links_P2.tolist()}
        assert part.states_layer == 1
    whole = {s: tuple(batch.tokens_BL[batch.segments_BL == s].tolist()) for s in range(1, 7)}
    assert seen == {whole[s]: 99 + s for s in whole}
    row_of = {s: int((batch.segments_BL == s).nonzero()[0, 0]) for s in whole}
    assert links == {(whole[i], whole[j]) for i, j in batch.links_P2.tolist() if row_of[i] == row_of[j]}


def test_labels_of_tokens_follow_their_rows():
    """Labels of the shape of the tokens are cut by rows."""
    batch = everything()
    batch = Batch(**{**vars(batch), "labels": batch.tokens_BL * 2})
    part = batch.select_rows(1, 3)
    assert (part.labels == part.tokens_BL * 2).all()


def test_to_moves_every_tensor():
    """to("meta") moves all tensors and keeps the rest."""
    moved = everything().to("meta")
    assert {v.device.type for v in vars(moved).values() if isinstance(v, torch.Tensor)} == {"meta"}
    assert moved.states_layer == 1


@pytest.mark.parametrize("packed", [True, False])
def test_no_texts(packed):
    """No text is a batch of no rows."""
    batch = rows_from_texts([], pad_id=0, row_length=10, special_ids=SPECIALS, pack=packed)
    assert (batch.rows, batch.tokens, batch.segments) == (0, 0, 0)
