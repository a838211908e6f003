"""Word alignment; oracles are numbers by hand, the papers' formulas in plain loops, and a linear program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError, RecipeError
from interlingua.models.encoder import Encoder
from interlingua.probe import itermax, mutual_argmax, transport_plan, word_links
from interlingua.probe.links import LinkCounts
from interlingua.probe.wordstates import joined_words, segmented, word_state_blocks
from interlingua.text.alignments import AlignedPair
from interlingua.text.words import words


@pytest.fixture(scope="module")
def encoder(hf_tokenizer: Any) -> Encoder:
    torch.manual_seed(0)
    model = AutoModel.from_config(tiny_config("bert", vocabulary=len(hf_tokenizer))).eval()
    return Encoder("tiny", model, hf_tokenizer, prefix="query: ", max_length=100)


def pair(source: str, target: str, sure: str, possible: str = "", langs: tuple[str, str] = ("en", "de")) -> AlignedPair:
    links = [
        frozenset((int(a), int(b)) for a, b in (one.split("-") for one in cell.split())) for cell in (sure, possible)
    ]
    return AlignedPair(tuple(source.split()), tuple(target.split()), *langs, *links, "here")


matrices = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6)).map(
    lambda p: np.random.default_rng(p[2]).random((p[0], p[1]))
)


@given(matrices)
@settings(max_examples=60, deadline=None)
def test_mutual_argmax_by_loops(similarity: Any) -> None:
    """i and j are each other's maximum."""
    wanted = [
        [
            similarity[i, j] == max(similarity[i]) == max(row[j] for row in similarity)
            for j in range(similarity.shape[1])
        ]
        for i in range(similarity.shape[0])
    ]
    assert mutual_argmax(similarity).tolist() == wanted


def itermax_by_loops(s: Any) -> set[tuple[int, int]]:
    """Algorithm 1 of the paper with two rounds and .9, cell by cell; short sentences as in the authors' code."""

    def mutual(m: Any) -> Iterator[tuple[int, int]]:
        for i in range(len(m)):
            j = max(range(len(m[0])), key=lambda j: m[i][j])
            if m[i][j] > 0 and max(range(len(m)), key=lambda k: m[k][j]) == i:
                yield i, j

    linked = set(mutual(s.tolist()))
    rows, columns = ({link[side] for link in linked} for side in (0, 1))
    if min(s.shape) <= 2 or len(rows) == s.shape[0] or len(columns) == s.shape[1]:
        return linked
    weight = {0: 1.0, 1: 0.9, 2: 0.0}
    masked = [[s[i, j] * weight[(i in rows) + (j in columns)] for j in range(s.shape[1])] for i in range(s.shape[0])]
    return linked | set(mutual(masked))


@given(matrices)
@settings(max_examples=100, deadline=None)
def test_itermax_equals_the_algorithm(similarity: Any) -> None:
    """Random matrices up to six by six."""
    assert set(zip(*map(list, np.nonzero(itermax(similarity))), strict=True)) == itermax_by_loops(similarity)


def test_transport_plan() -> None:
    """Against Sinkhorn's iteration on plain numbers in float64; with little entropy, against the best assignment."""
    similarity = np.random.default_rng(0).random((4, 6))
    kernel, u, v = np.exp(similarity / 0.1), np.ones(4), np.ones(6)
    for _ in range(2000):
        u = (1 / 4) / (kernel @ v)
        v = (1 / 6) / (kernel.T @ u)
    found = transport_plan(similarity, tolerance=1e-12)
    np.testing.assert_allclose(found, u[:, None] * kernel * v, atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 1 / 4, atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=0), 1 / 6, atol=1e-9)
    square = np.random.default_rng(1).random((5, 5))
    sharp = transport_plan(square, entropy=0.002, rounds=20_000)
    assert sharp.argmax(axis=1).tolist() == linear_sum_assignment(-square)[1].tolist()


def test_error_rate_by_hand() -> None:
    """Four links, of which one sure, one possible, two wrong; three sure in the gold, over two pairs of sentences."""
    one = LinkCounts.of({(0, 0), (1, 2), (3, 3)}, pair("a b c d", "a b c d", "0-0 1-1", "1-2"))
    two = LinkCounts.of({(0, 1)}, pair("a b", "a b", "0-0"))
    both = one + two
    assert (both.found, both.sure, both.found_sure, both.found_possible) == (4, 3, 1, 2)
    assert both.aer == pytest.approx(1 - (1 + 2) / (4 + 3))
    assert both.precision == pytest.approx(2 / 4)
    assert both.recall == pytest.approx(1 / 3)
    assert both.f1 == pytest.approx(2 * 0.5 / 3 / (0.5 + 1 / 3))
    assert LinkCounts(0, 3, 0, 0).aer == 1
    assert LinkCounts(2, 2, 2, 2).aer == 0


def test_words_have_the_mean_of_their_tokens(encoder: Encoder, tiny_texts: dict[str, list[str]]) -> None:
    """Every layer against the plain model run on one text, tokens found by their own text; any block and batch size."""
    texts = [segmented(text, "en") for text in tiny_texts["en"][:6]]
    assert [one.words for one in texts] == [words(one.text, "en") for one in texts]
    small, large = (
        list(word_state_blocks(encoder, iter(texts), block=block, batch_tokens=tokens))
        for block, tokens in ((2, 1), (100, 9000))
    )
    (found,) = large
    np.testing.assert_allclose(np.concatenate([b.states for b in small], axis=1), found.states, atol=1e-5)
    assert (found.missing, found.texts) == (0, 6)
    for i, one in enumerate(texts):
        inputs = encoder.tokenizer("query: " + one.text, return_tensors="pt", return_offsets_mapping=True)
        offsets = inputs.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            layers = encoder.model(input_ids=inputs["input_ids"], output_hidden_states=True).hidden_states
        for w, (first, last) in enumerate(one.spans):
            own = [t for t, (a, b) in enumerate(offsets) if max(a, first + 7) < min(b, last + 7)]
            (row,) = np.flatnonzero((found.text == i) & (found.word == w))
            for layer, states in enumerate(layers):
                np.testing.assert_allclose(found.states[layer, row], states[0, own].mean(dim=0), atol=1e-4)


def test_words_that_are_cut_off_are_counted(encoder: Encoder) -> None:
    """Far more words than positions; an empty text has no words; words cut by others stand where they were joined."""
    long = joined_words(["word"] * 300)
    (found,) = word_state_blocks(encoder, [joined_words([]), long], layers=[-1])
    assert found.missing == 300 - len(found.word) > 0
    assert set(found.text.tolist()) == {1}
    assert joined_words(["a", "bc"], "").words == joined_words(["a", "bc"]).words == ["a", "bc"]


def test_a_sentence_and_itself(encoder: Encoder) -> None:
    """Every word, all different, finds itself in all layers and by all methods; languages are kept apart."""
    same = pair("the dog saw nine houses", "the dog saw nine houses", "0-0 1-1 2-2 3-3 4-4")
    other = pair("the dog", "the dog", "0-0", "1-1", ("fr", "en"))
    found = word_links(encoder, iter([same] * 70 + [other] * 70))
    assert len(found) == 2 * 4 * 3
    assert {one.counts.aer for one in found} == {0.0}
    assert {(one.source, one.pairs, one.counts.found) for one in found} == {("en", 70, 350), ("fr", 70, 140)}
    scores = found[-1].scores("m")
    assert {(s.task, s.language) for s in scores} == {("links.fr-en.layer3.transport", "fr")}
    assert [s.metric for s in scores] == ["aer", "precision", "recall", "f1"]


def test_blocks_and_missing_words(encoder: Encoder) -> None:
    """Words past the longest text have no link and are counted; numbers do not depend on the batch."""
    pairs = [pair("word " * 200 + "end", "end", "200-0"), pair("a b c", "c b a", "0-2 1-1 2-0")]
    one, other = (word_links(encoder, pairs, batch_tokens=tokens) for tokens in (1, 5000))
    assert one == other
    assert one[0].missing > 0


def test_what_cannot_be_linked(encoder: Encoder) -> None:
    """No pairs, no method, a misspelt one."""
    with pytest.raises(DataError, match="no aligned pairs"):
        word_links(encoder, [])
    for methods in ((), ("itermaxx",)):
        with pytest.raises(RecipeError, match="method"):
            word_links(encoder, [pair("a", "a", "0-0")], methods=methods)
