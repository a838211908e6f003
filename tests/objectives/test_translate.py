"""objectives/translate.py: sources, targets, noise, and translations made at the moment of the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures_translate import encoder_folder, translator, unigram  # noqa: F401

from interlingua.models.seq2seq import generated, padded_ids, target_losses
from interlingua.models.translator import frame, language_ids
from interlingua.objectives.noise import Deletion, LocalShuffle
from interlingua.objectives.translate import BackTranslation, Drawn, Frame, Sides, Translation
from interlingua.shards.sampling import keyed_generator

PLAIN = Frame((1,), 2, 0, (7, 8, 9))


def ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def texts(count: int, languages: int = 2, seed: int = 0) -> list[Sides]:
    chance = np.random.default_rng(seed)
    return [Sides((chance.integers(10, 500, chance.integers(1, 12)),), (i % languages,)) for i in range(count)]


def test_pairs_become_sources_and_targets():
    """Written out by hand: the source between its specials, the target behind the token of its language."""
    drawn = Drawn([Sides((ids(11, 12), ids(21, 22, 23)), (0, 2)), Sides((ids(13), ids(24)), (2, 1))], PLAIN,
                  batch_size=2, seed=0)  # fmt: skip
    found = Translation(drawn, PLAIN, name="translate").prepare(drawn.lay_out(drawn.rows), np.random.default_rng(0))
    assert found.source_SX.tolist() == [[1, 11, 12, 2], [1, 13, 2, 0]]
    assert found.mask_SX.tolist() == [[True] * 4, [True] * 3 + [False]]
    assert found.decoder_SY.tolist() == [[9, 21, 22, 23], [8, 24, 0, 0]]
    assert found.labels_SY.tolist() == [[21, 22, 23, 2], [24, 2, -100, -100]]
    assert found.languages_S.tolist() == [2, 1]
    assert found.count == 6


def test_every_row_comes_once_an_epoch():
    """Batches of two epochs against the list of rows; the order differs, and a batch asked for again is the same."""
    rows = [Sides((ids(100 + i),), (0,)) for i in range(23)]
    drawn = Drawn(rows, PLAIN, batch_size=5, seed=1)
    epochs = [[drawn.batch(e * 5 + s).tokens_BL.flatten().tolist() for s in range(5)] for e in range(2)]
    for epoch in epochs:
        assert sorted(i for batch in epoch for i in batch) == [100 + i for i in range(23)]
    assert epochs[0] != epochs[1]
    assert drawn.batch(7).tokens_BL.flatten().tolist() == epochs[1][2]


def test_texts_are_damaged_and_repaired():
    """The target is the text; the source is the noise's, drawn from the generator that is given."""
    drawn = Drawn(texts(8), PLAIN, batch_size=8, seed=0)
    noise = Deletion(0.5)
    objective = Translation(drawn, PLAIN, noise=[noise], name="denoise")
    found = objective.prepare(drawn.lay_out(drawn.rows), np.random.default_rng(5))
    chance = np.random.default_rng(5)
    for i, row in enumerate(drawn.rows):
        source, _ = noise(row.ids[0], np.ones(len(row.ids[0]), dtype=bool), chance)
        assert found.source_SX[i][found.mask_SX[i]].tolist() == [1, *source.tolist(), 2]
        assert found.labels_SY[i][found.labels_SY[i] >= 0].tolist() == [*row.ids[0].tolist(), 2]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.floats(0, 6), st.integers(0, 2**32 - 1))
def test_words_move_a_little(words, reach, seed):
    """A permutation; words stay whole and move by fewer places than the reach (0 and 1 move none)."""
    tokens = np.concatenate([np.full(n, 10 + i) for i, n in enumerate(words)])
    starts = np.concatenate([[True] + [False] * (n - 1) for n in words])
    out, begins = LocalShuffle(reach)(tokens, starts, np.random.default_rng(seed))
    order = out[begins] - 10
    assert sorted(order.tolist()) == list(range(len(words)))
    assert out.tolist() == [10 + word for word in order.tolist() for _ in range(words[word])]
    assert all(abs(place - word) < max(reach, 1) for place, word in enumerate(order.tolist()))


@pytest.fixture
def small(encoder_folder):  # noqa: F811
    model, tokenizer = translator(encoder_folder, layers=1)
    first, last = frame(tokenizer)
    return model, Frame(tuple(first), last, tokenizer.pad_token_id, tuple(language_ids(tokenizer).values()))


@pytest.mark.parametrize("kind", ["translate", "backtranslate"])
def test_rows_add_up(kind, small):
    """Losses of two halves of a batch add up to the whole one's, in sum and one by one (float64)."""
    model, around = small
    drawn = Drawn(texts(9), around, batch_size=9, seed=0)
    objective = (
        Translation(drawn, around, name=kind)
        if kind == "translate"
        else BackTranslation(drawn, around, languages=[0, 1, 2], longest=30)
    )
    batch = drawn.lay_out(drawn.rows)
    targets = objective.prepare(batch, keyed_generator(0, 1))
    whole = objective.loss(model, batch, targets)
    parts = [
        objective.loss(model, batch.select_rows(a, b), objective.rows(targets, batch, a, b))
        for a, b in [(0, 4), (4, 9)]
    ]
    assert sum(part.count for part in parts) == whole.count == len(whole.each_N)
    torch.testing.assert_close(sum(part.total for part in parts), whole.total, rtol=1e-9, atol=0)
    torch.testing.assert_close(torch.cat([p.each_N for p in parts]), whole.each_N, rtol=1e-9, atol=1e-12)
    assert torch.equal(torch.cat([p.languages_N for p in parts]), whole.languages_N)


def test_back_translation_is_of_this_moment(small):
    """The loss is that of the pairs (what the network writes now, text); another network writes others. Dropout is off
    while it writes and on again after it, and no gradient flows through what is written."""
    model, around = small
    drawn = Drawn(texts(6), around, batch_size=6, seed=0)
    objective = BackTranslation(drawn, around, languages=[0, 1, 2], longest=30)
    batch = drawn.lay_out(drawn.rows)
    targets = objective.prepare(batch, keyed_generator(0, 1))
    assert all(into != own for into, own in zip(targets.into_S.tolist(), targets.languages_S.tolist(), strict=True))

    def by_hand() -> torch.Tensor:
        sources = [around.source(row.ids[0]).tolist() for row in drawn.rows]
        starts = [around.starts[i] for i in targets.into_S]
        longest = [min(28, len(source) * 3 // 2 + 8) for source in sources]
        alone = [generated(model, [s], [i], longest=n)[0] for s, i, n in zip(sources, starts, longest, strict=True)]
        rows = [around.source(row).tolist() for row in alone]
        mask = padded_ids([[1] * len(row) for row in rows], 0).bool()
        source = padded_ids(rows, around.pad_id)
        return target_losses(model, source, mask, targets.decoder_SY, targets.labels_SY)[0]

    found = objective.loss(model, batch, targets).total
    torch.testing.assert_close(found, by_hand(), rtol=1e-12, atol=0)
    model.train()
    found.backward()
    assert model.training
    objective.loss(model, batch, targets)
    assert model.training
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-1.0)
    model.eval()
    assert float(objective.loss(model, batch, targets).total.detach()) != float(found.detach())
    torch.testing.assert_close(objective.loss(model, batch, targets).total, by_hand(), rtol=1e-12, atol=0)


def test_sampled_translations_follow_from_the_seed(small):
    """With torch's seed set as the loop sets it, the same loss twice, and another with another seed."""
    model, around = small
    drawn = Drawn(texts(6), around, batch_size=6, seed=0)
    objective = BackTranslation(drawn, around, languages=[0, 1], longest=30, sample=True)
    batch = drawn.lay_out(drawn.rows)
    targets = objective.prepare(batch, keyed_generator(0, 1))

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        return float(objective.loss(model, batch, targets).total.detach())

    assert loss(1) == loss(1) != loss(2)
