"""objectives/align.py against transformers' own word ids and scipy's connected components."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from transformers import BertConfig, BertForMaskedLM

from interlingua.errors import DataError, LanguageError
from interlingua.objectives.align import AlignedTexts, WordAlignment, aligned_phrases
from interlingua.shards.read import ShardSet
from interlingua.shards.stream import Stream
from interlingua.text import AlignedPair

CLOSE = {"rtol": 0, "atol": 1e-10}
PAIRS = [
    ("in the beginning was the word", "im Anfang war das Wort", "0-0 1-0 2-1 3-2 4-3 5-4"),
    ("and the earth was empty", "und die Erde war wüst und leer", "0-0 1-1 2-2 3-3 4-4 4-5 4-6"),
    ("let there be light", "es werde Licht", "0-1 1-1 2-1 3-2"),
    ("he rested", "er ruhte aus", "0-0 1-1 1-2"),
]


def pair(source: str, target: str, links: str, lang: str = "de") -> AlignedPair:
    sure = frozenset(tuple(map(int, link.split("-"))) for link in links.split())
    return AlignedPair(tuple(source.split()), tuple(target.split()), "en", lang, sure, frozenset(), "line 1")


@pytest.fixture
def stream(shard_folder, hf_tokenizer):
    return Stream(ShardSet(shard_folder / "train"), hf_tokenizer, seed=5, batch_tokens=900, row_length=60)


@given(
    st.integers(1, 6).flatmap(
        lambda m: st.integers(1, 6).flatmap(
            lambda n: st.tuples(
                st.just(m), st.just(n), st.sets(st.tuples(st.integers(0, m - 1), st.integers(0, n - 1)), min_size=1)
            )
        )
    )
)
def test_phrases_are_connected_components(drawn):
    """Words share a phrase where scipy finds them connected, and linked words alone have one."""
    m, n, links = drawn
    found = aligned_phrases(AlignedPair(("w",) * m, ("w",) * n, "en", "de", frozenset(links), frozenset(), ""))
    flat = found[0] + found[1]
    rows, columns = zip(*((i, m + j) for i, j in links), strict=True)
    _, expected = connected_components(coo_array((np.ones(len(links)), (rows, columns)), shape=(m + n, m + n)), False)
    linked = [w for w in range(m + n) if flat[w] >= 0]
    assert set(linked) == set(rows) | set(columns)
    for a in linked:
        for b in linked:
            assert (flat[a] == flat[b]) == (expected[a] == expected[b])


def network(hf_tokenizer) -> BertForMaskedLM:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(hf_tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.3, pad_token_id=hf_tokenizer.pad_token_id,
    )  # fmt: skip
    return BertForMaskedLM(config).double().eval()


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("negatives", ["both", "other"])
def test_loss_equals_words_of_transformers(stream, hf_tokenizer, negatives):
    """Sentences one by one through plain BERT, words by ``word_ids``, phrases pooled, torch's cross-entropy."""
    pairs = [pair(*row) for row in PAIRS]
    objective = WordAlignment(
        AlignedTexts(pairs, hf_tokenizer, stream.languages, held_out=0.0), temperature=0.2, negatives=negatives
    )
    batch = stream.batch(0, objective.layout)
    targets = objective.prepare(batch, np.random.default_rng(0))
    model = network(hf_tokenizer)
    loss = objective.loss(model, batch, targets)

    def phrases_of(words, numbers) -> dict[int, torch.Tensor]:
        encoding = hf_tokenizer(list(words), is_split_into_words=True, return_tensors="pt")
        states = model.bert(**encoding).last_hidden_state[0]
        found: dict[int, list[torch.Tensor]] = {}
        for state, word in zip(states, encoding.word_ids(), strict=True):
            if word is not None and numbers[word] >= 0:
                found.setdefault(numbers[word], []).append(state)
        return {number: torch.stack(rows).mean(0) for number, rows in found.items()}

    by_text = {row.source: row for row in pairs}
    sides: list[list[torch.Tensor]] = [[], []]
    for first in range(1, batch.segments, 2):
        tokens = batch.tokens_BL[batch.segments_BL == first][1:-1]
        one = by_text[tuple(hf_tokenizer.decode(tokens).split())]
        for side, words, numbers in zip(sides, (one.source, one.target), aligned_phrases(one), strict=True):
            found = phrases_of(words, numbers)
            side += [found[number] for number in sorted(found)]
    a, b = (F.normalize(torch.stack(side), dim=1) for side in sides)
    across, count = a @ b.T / 0.2, len(a)
    expected = []
    for own, other in ((across, a @ a.T), (across.T, b @ b.T)):
        near = other / 0.2
        near.fill_diagonal_(-torch.inf)
        logits = torch.cat([own, near], dim=1) if negatives == "both" else own
        expected.append(F.cross_entropy(logits, torch.arange(count), reduction="none"))
    torch.testing.assert_close(loss.each_N.sort().values, torch.cat(expected).detach().sort().values, **CLOSE)
    torch.testing.assert_close(loss.total, torch.cat(expected).sum(), **CLOSE)
    assert loss.count == targets.count == 2 * count
    german, english = stream.languages.index("de"), stream.languages.index("en")
    assert loss.languages_N.tolist() == [german] * count + [english] * count
    loss.total.backward()
    assert model.bert.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def test_batches_are_pure_and_hold_every_pair(stream, hf_tokenizer):
    """Batch t is the same whoever asks; in an epoch every pair comes once."""
    texts = AlignedTexts([pair(*row) for row in PAIRS], hf_tokenizer, stream.languages, held_out=0.0)
    layout = WordAlignment(texts).layout
    one, again = (stream.batch(3, layout) for _ in range(2))
    assert torch.equal(one.tokens_BL, again.tokens_BL)
    assert torch.equal(one.labels, again.labels)
    firsts = [hf_tokenizer.decode(one.tokens_BL[one.segments_BL == s][1:-1]) for s in range(1, 1 + 2 * len(PAIRS), 2)]
    assert len(set(firsts)) >= len(PAIRS) - 1  # an epoch may end in the middle
    assert one.links_P2.tolist()[:2] == [[1, 2], [3, 4]]


def test_words_that_were_cut_have_no_partner(shard_folder, hf_tokenizer):
    """In rows of eight tokens only phrases of which both sides are left are asked for."""
    short = Stream(ShardSet(shard_folder / "train"), hf_tokenizer, seed=5, batch_tokens=60, row_length=8)
    texts = AlignedTexts([pair(*row) for row in PAIRS], hf_tokenizer, short.languages, held_out=0.0)
    layout = WordAlignment(texts).layout
    batch = short.batch(0, layout)
    for number in range(int(batch.labels.max()) + 1):
        segments = batch.segments_BL[batch.labels == number].unique().tolist()
        assert len(segments) == 2
        assert segments[1] == segments[0] + 1
    assert short.cut_tokens > 0


def test_refused(stream, hf_tokenizer):
    """Languages that the shards do not hold; pairs without a sure link."""
    with pytest.raises(LanguageError, match="'sw'"):
        AlignedTexts([pair(*PAIRS[0], lang="sw")], hf_tokenizer, stream.languages)
    with pytest.raises(DataError, match="no aligned pair"):
        AlignedTexts([pair(*PAIRS[0][:2], "")], hf_tokenizer, stream.languages)


def test_held_out_pairs_are_others(shard_folder, hf_tokenizer):
    """The two streams never show the same pair; a side without any word that has a token is no obstacle."""
    pairs = [pair(f"word {i}", f"Wort {i}", "0-0 1-1") for i in range(60)] + [pair("\u200b", "x", "0-0")]
    streams = {
        split: Stream(ShardSet(shard_folder / split), hf_tokenizer, seed=5, batch_tokens=900, row_length=60)
        for split in ("train", "held-out")
    }
    texts = AlignedTexts(pairs, hf_tokenizer, streams["train"].languages, held_out=0.3)
    seen = {}
    for split, source in streams.items():
        assert source.can(WordAlignment(texts).layout)
        batches = [source.batch(t, WordAlignment(texts).layout) for t in range(4)]
        seen[split] = {
            tuple(b.tokens_BL[b.segments_BL == s].tolist()) for b in batches for s in range(1, b.segments, 2)
        }
    assert len(seen["train"]) > 30
    assert len(seen["held-out"]) > 8
    assert not seen["train"] & seen["held-out"]
