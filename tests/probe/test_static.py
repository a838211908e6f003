"""Static vectors: gensim's own calls, a double loop over the words, and AdaGrad by its formula in float64."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from gensim.models import Word2Vec
from scipy.sparse import csr_array

from interlingua.errors import DataError, MissingExtraError, RecipeError
from interlingua.probe.static import cooccurrences, glove, plain_words, static_vectors


@pytest.fixture(scope="module")
def sentences(tiny_texts: dict[str, list[str]]) -> list[list[str]]:
    return [plain_words(text, "en") for text in tiny_texts["en"]]


@pytest.mark.parametrize(("how", "skipgram"), [("cbow", 0), ("skipgram", 1)])
def test_vectors_are_gensims(how: str, skipgram: int, sentences: list[list[str]]) -> None:
    names, vectors = static_vectors(how, sentences, width=8, window=3, epochs=2, seed=4)
    model = Word2Vec(min_count=1, vector_size=8, window=3, sg=skipgram, workers=1, seed=4)
    model.build_vocab(sentences)
    model.train(sentences, total_examples=len(sentences), epochs=2)
    assert set(names) == set(model.wv.index_to_key)
    counts = [model.wv.get_vecattr(word, "count") for word in names]
    assert counts == sorted(counts, reverse=True)
    np.testing.assert_allclose(vectors, [model.wv[word] for word in names], atol=1e-6)


@pytest.mark.parametrize("window", [1, 4])
def test_cooccurrences_by_a_double_loop(window: int, sentences: list[list[str]]) -> None:
    names = sorted({word for sentence in sentences[:40] for word in sentence})[::2]  # every other word counts
    wanted = np.zeros((len(names), len(names)))
    for sentence in sentences[:40]:
        for i, one in enumerate(sentence):
            for j, other in enumerate(sentence):
                if i != j and abs(i - j) <= window and one in names and other in names:
                    wanted[names.index(one), names.index(other)] += 1 / abs(i - j)
    np.testing.assert_allclose(cooccurrences(sentences[:40], names, window=window).toarray(), wanted)


def test_glove_is_adagrad_on_its_objective() -> None:
    # Equation 8 and its gradient by hand, all pairs in one block; weights of rare and of frequent pairs.
    counts = np.array([[0, 3, 250.0], [3, 2, 0], [250.0, 0, 0.5]])
    width, epochs = 4, 3
    chance = torch.Generator().manual_seed(7)
    w, c = ((torch.rand(3, width + 1, generator=chance).double().numpy() - 0.5) / (width + 1) for _ in range(2))
    squares = [np.ones_like(w), np.ones_like(c)]
    for _ in range(epochs):
        slopes = [np.zeros_like(w), np.zeros_like(c)]
        for i, j in zip(*np.nonzero(counts), strict=True):
            x = counts[i, j]
            inner = w[i, :-1] @ c[j, :-1] + w[i, -1] + c[j, -1] - np.log(x)
            share = min(1, (x / 100) ** 0.75) * inner
            slopes[0][i] += share * np.append(c[j, :-1], 1)
            slopes[1][j] += share * np.append(w[i, :-1], 1)
        for side, slope, square in zip((w, c), slopes, squares, strict=True):
            square += slope**2
            side -= 0.05 * slope / np.sqrt(square)
    found = glove(csr_array(counts), width=width, epochs=epochs, seed=7)
    np.testing.assert_allclose(found, (w + c)[:, :-1], atol=1e-5)


def test_blocks_stay_near_one_pair_a_step(sentences: list[list[str]]) -> None:
    # The paper's program steps after every pair: so in float64, in an order of its own, from the same first vectors.
    names = sorted({word for sentence in sentences[:60] for word in sentence})
    matrix = cooccurrences(sentences[:60], names, window=3)
    width, epochs, pairs = 6, 10, matrix.tocoo()
    chance = torch.Generator().manual_seed(0)
    w, c = (
        (torch.rand(len(names), width + 1, generator=chance).double().numpy() - 0.5) / (width + 1) for _ in range(2)
    )
    w2, c2 = np.ones_like(w), np.ones_like(c)
    one = np.ones(1)
    for _ in range(epochs):
        for n in np.random.default_rng(0).permutation(pairs.nnz):
            i, j, x = pairs.coords[0][n], pairs.coords[1][n], pairs.data[n]
            inner = w[i, :-1] @ c[j, :-1] + w[i, -1] + c[j, -1] - np.log(x)
            share = min(1, (x / 100) ** 0.75) * inner
            slopes = share * np.concatenate([c[j, :-1], one]), share * np.concatenate([w[i, :-1], one])
            for side, square, row, slope in ((w, w2, i, slopes[0]), (c, c2, j, slopes[1])):
                square[row] += slope**2
                side[row] -= 0.05 * slope / np.sqrt(square[row])
    wanted = (w + c)[:, :-1]
    found = glove(matrix, width=width, epochs=epochs, seed=0)
    assert np.linalg.norm(found - wanted) < 0.02 * np.linalg.norm(wanted)


def test_words_of_one_kind_are_near() -> None:
    # Two kinds of words that never meet, whichever way: a word is nearer to its own kind.
    chance = np.random.default_rng(0)
    kinds = [[f"{kind}{i}" for i in range(6)] for kind in "ab"]
    text = [list(chance.permutation(kinds[i % 2])) for i in range(400)]
    for how in ("cbow", "skipgram", "glove"):
        names, vectors = static_vectors(how, text, width=10, window=3, epochs=30)
        x = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        alike = np.array([[a[0] == b[0] for b in names] for a in names])
        cosine = x @ x.T
        assert cosine[alike & ~np.eye(12, dtype=bool)].mean() > cosine[~alike].mean() + 0.2, how


def test_words_without_marks() -> None:
    assert plain_words("Don't go — 3 Wölfe!", "en") == ["don't", "go", "3", "wölfe"]


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch, sentences: list[list[str]]) -> None:
    with pytest.raises(RecipeError, match="did you mean 'glove'"):
        static_vectors("gloves", sentences)
    for name in ("width", "window", "epochs"):
        with pytest.raises(RecipeError, match=f"{name} 0"):
            static_vectors("glove", sentences, **{name: 0})
    with pytest.raises(DataError, match="1 different words"):
        static_vectors("glove", [["one"], ["one"]])
    with pytest.raises(DataError, match="near each other"):
        static_vectors("glove", [["one"], ["two"]])
    monkeypatch.setitem(sys.modules, "gensim", None)
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(MissingExtraError, match=r"interlingua\[static\]"):
        static_vectors("cbow", sentences)
