"""Vectors of words that know no sentence, trained on the text that contextual vectors are read from.

In: sentences as words. Out: a vector a word. CBOW and skip-gram (Mikolov et al. 2013, arXiv 1301.3781 and 1310.4546)
are gensim's; GloVe (Pennington et al. 2014) is here, since no kept library has it. Decision: GloVe's co-occurrences are
held as a sparse matrix and fitted in shuffled blocks by torch's AdaGrad on sparse rows, with the constants of the
paper. Price: a block's gradients are summed before the step, where the paper's program steps after every pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, MissingExtraError, RecipeError, nearest
from interlingua.text.words import words

__all__ = ["STATIC", "cooccurrences", "glove", "plain_words", "static_vectors"]

STATIC = ("cbow", "skipgram", "glove")

#: Pennington et al. 2014, section 4.2, and the first value of the squared gradients in their program.
_MOST, _POWER, _RATE, _SQUARES = 100.0, 0.75, 0.05, 1.0
# Pairs a step. Thousands are faster and drift from the paper's step after every pair.
_BLOCK = 256


def plain_words(text: str, lang: str) -> list[str]:
    """The words of a text, lower-cased, without punctuation marks."""
    return [word.lower() for word in words(text, lang) if any(map(str.isalnum, word))]


def static_vectors(
    how: str, sentences: Sequence[Sequence[str]], *, width: int = 100, window: int = 5, epochs: int = 20, seed: int = 0
) -> tuple[list[str], NDArray[np.float32]]:
    """Train a vector for every word.

    Args:
        how: ``cbow``, ``skipgram`` or ``glove``.
        sentences: words, each as often as it occurs.
        width: of the vectors.
        window: words to either side that are context.
        epochs: passes over the text, or over GloVe's co-occurrences.
        seed: of first vectors, order and negative samples.

    Returns:
        The words, most frequent first, and their vectors [V, D].

    Raises:
        RecipeError: another way, or a width, window or number of passes below 1.
        DataError: fewer than two different words.
        MissingExtraError: gensim is not installed.
    """
    if how not in STATIC:
        raise RecipeError(f"static vectors {how!r}{nearest(how, STATIC)}", expected=f"one of {', '.join(STATIC)}")
    for name, value in (("width", width), ("window", window), ("epochs", epochs)):
        if value < 1:
            raise RecipeError(f"{name} {value}", expected="at least 1", where=name)
    counts = Counter(word for sentence in sentences for word in sentence)
    if len(counts) < 2:
        raise DataError(f"{len(counts)} different words", expected="text to learn vectors of words from")
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    if how == "glove":
        matrix = cooccurrences(sentences, ordered, window=window)
        return ordered, glove(matrix, width=width, epochs=epochs, seed=seed)
    try:
        from gensim.models import Word2Vec
    except ImportError:
        raise MissingExtraError("gensim is not installed", expected="gensim for CBOW and skip-gram",
                                next_step="pip install 'interlingua[static]'") from None  # fmt: skip
    # One worker: with several, the order in which they finish changes the vectors.
    model = Word2Vec(sentences, sg=int(how == "skipgram"), vector_size=width, window=window, epochs=epochs,
                     min_count=1, workers=1, seed=seed)  # fmt: skip
    return ordered, np.stack([model.wv[word] for word in ordered])


def cooccurrences(sentences: Sequence[Sequence[str]], vocabulary: Sequence[str], *, window: int) -> Any:
    """How often words stand near each other: one over the distance, summed over the text (GloVe, section 4.2).

    Args:
        sentences: words; context does not reach over their ends.
        vocabulary: the words that count; others take a place in the sentence all the same.
        window: greatest distance.

    Returns:
        Symmetric ``scipy.sparse`` CSR matrix of float64, [V, V].
    """
    from scipy.sparse import coo_array

    number = {word: i for i, word in enumerate(vocabulary)}
    # Sentences beside each other, parted by so many places that no window reaches over them.
    gap = [-1] * window
    ids_N = np.array([one for sentence in sentences for one in (*(number.get(word, -1) for word in sentence), *gap)])
    size = len(vocabulary)
    total = coo_array((size, size), dtype=np.float64).tocsr()
    for distance in range(1, window + 1):
        left_N, right_N = ids_N[:-distance], ids_N[distance:]
        kept = (left_N >= 0) & (right_N >= 0)
        weight = np.full(int(kept.sum()), 1 / distance)
        total = total + coo_array((weight, (left_N[kept], right_N[kept])), shape=(size, size)).tocsr()
    return (total + total.T).tocsr()


def glove(matrix: Any, *, width: int, epochs: int, seed: int = 0) -> NDArray[np.float32]:
    """Fit vectors to co-occurrences: the sum of a word's own vector and of that which it has as context, [V, D].

    Minimises the sum over pairs of ``min(1, (x / 100) ^ 0.75) (w c + b + d - log x) ^ 2`` (equation 8).

    Args:
        matrix: sparse, non-negative, [V, V].
        width: of the vectors.
        epochs: passes over the pairs that occur.
        seed: of first vectors and order.

    Raises:
        DataError: no two words stand near each other.
    """
    import torch

    pairs = matrix.tocoo()
    if not pairs.nnz:
        raise DataError("no two words near each other", expected="sentences of two words at least")
    chance = torch.Generator().manual_seed(seed)
    row_N, column_N = (torch.from_numpy(np.asarray(side, dtype=np.int64)) for side in pairs.coords)
    count_N = torch.from_numpy(pairs.data).float()
    log_N, weight_N = count_N.log(), (count_N / _MOST).clamp(max=1) ** _POWER
    # A vector's last number is its bias.
    sides = [
        torch.nn.Embedding(
            matrix.shape[0], width + 1, sparse=True,
            _weight=(torch.rand(matrix.shape[0], width + 1, generator=chance) - 0.5) / (width + 1),
        )
        for _ in range(2)
    ]  # fmt: skip
    steps = torch.optim.Adagrad(
        [side.weight for side in sides], lr=_RATE, initial_accumulator_value=_SQUARES, foreach=False
    )
    # The indices are the optimiser's own; without a word on it torch warns that it does not check them.
    with torch.sparse.check_sparse_tensor_invariants(enable=False):  # type: ignore[no-untyped-call]
        for _ in range(epochs):
            for some in torch.split(torch.randperm(pairs.nnz, generator=chance), _BLOCK):
                word_BE, context_BE = sides[0](row_N[some]), sides[1](column_N[some])
                product_B = (word_BE[:, :-1] * context_BE[:, :-1]).sum(1)
                error_B = product_B + word_BE[:, -1] + context_BE[:, -1] - log_N[some]
                steps.zero_grad()
                # Half the squared error, whose gradient is the paper's program's.
                (0.5 * weight_N[some] * error_B**2).sum().backward()
                steps.step()
    return np.asarray((sides[0].weight + sides[1].weight).detach()[:, :-1].numpy(), dtype=np.float32)
