"""Which words of a sentence translate which of the other: read from states of words, and scored against gold links.

In: aligned pairs and an encoder. Out: links by layer and method, and their error rate. Methods, all on the cosines of
the words' states:

    argmax     i and j are each other's nearest word
    itermax    the same, then once more among words that are still free, others weighed down (Jalili Sabet et al. 2020,
               arXiv 2004.08728, algorithm 1)
    transport  i and j are each other's largest share of the entropic transport plan between both sentences, every word
               of the same mass (Chi et al. 2021, arXiv 2106.06381, take the plan the same way)

Decision: words, not subwords, are linked; a word's state is the mean over its subwords, and all layers come from one
pass. Words go to the network joined by spaces, as in the papers. Price: unspaced languages are not shown as they are
written. The error rate is that of Och and Ney (2003): AER = 1 - (|A and S| + |A and P|) / (|A| + |S|), counted over all
pairs of sentences together, where possible links P hold the sure ones S.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, RecipeError, nearest
from interlingua.scores import Score
from interlingua.text.alignments import AlignedPair

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.probe.wordstates import WordedText

__all__ = ["METHODS", "LayerLinks", "LinkCounts", "itermax", "mutual_argmax", "transport_plan", "word_links"]

Floats = NDArray[np.float64]
Links = NDArray[np.bool_]

#: Weight of the plan's entropy: cosines of neighbours differ by about as much.
_ENTROPY = 0.1
_PAIRS = 64


def mutual_argmax(similarity_IJ: NDArray[Any]) -> Links:
    """Pairs of which each is the other's best; of equals the first counts. [I, J]."""
    links: Links = np.zeros(similarity_IJ.shape, dtype=np.bool_)
    if similarity_IJ.size:
        best_I: NDArray[np.int64] = np.argmax(similarity_IJ, axis=1)
        best_J: NDArray[np.int64] = np.argmax(similarity_IJ, axis=0)
        rows = np.flatnonzero(best_J[best_I] == np.arange(len(best_I)))
        links[rows, best_I[rows]] = True
    return links


def itermax(similarity_IJ: NDArray[Any], *, rounds: int = 2, weight: float = 0.9) -> Links:
    """Mutual bests, then mutual bests among pairs of which a word is still free.

    Args:
        similarity_IJ: not negative, so that a weight below 1 weighs down.
        rounds: how often in all.
        weight: of a pair of which one word has a link; 0 where both have one.
    """
    links = mutual_argmax(similarity_IJ)
    # The authors' code gives sentences of one or two words one round.
    for _ in range(rounds - 1 if min(similarity_IJ.shape) > 2 else 0):
        free_I, free_J = (np.asarray(links.sum(axis=axis) == 0) for axis in (1, 0))
        if not (free_I.any() and free_J.any()):
            break
        open_IJ = free_I[:, None] | free_J
        weights_IJ = np.where(free_I[:, None] & free_J, 1.0, np.where(open_IJ, weight, 0.0))
        more = mutual_argmax(similarity_IJ * weights_IJ) & open_IJ
        if not more.any():
            break
        links |= more
    return links


def transport_plan(
    similarity_IJ: NDArray[Any], *, entropy: float = _ENTROPY, rounds: int = 1000, tolerance: float = 1e-6
) -> Floats:
    """Entropic transport plan between words of equal mass, by Sinkhorn's iteration on logarithms: [I, J], sum 1.

    Args:
        similarity_IJ: the higher, the cheaper to carry from i to j.
        entropy: weight of the plan's entropy.
        rounds: at most.
        tolerance: largest error of the mass that leaves all words together at which it ends.
    """
    from scipy.special import logsumexp

    kernel_IJ = similarity_IJ.astype(np.float64) / entropy
    mass_I, mass_J = (-np.log(size) for size in similarity_IJ.shape)
    out_J = np.zeros(similarity_IJ.shape[1])
    plan_IJ = np.zeros_like(kernel_IJ)
    for _ in range(rounds):
        out_I = mass_I - logsumexp(kernel_IJ + out_J, axis=1)
        out_J = mass_J - logsumexp(kernel_IJ + out_I[:, None], axis=0)
        plan_IJ = np.exp(kernel_IJ + out_I[:, None] + out_J)
        if np.abs(plan_IJ.sum(axis=1) - 1 / len(plan_IJ)).sum() < tolerance:
            break
    return plan_IJ


#: Method -> links from cosines.
METHODS: dict[str, Callable[[Floats], Links]] = {
    "argmax": mutual_argmax,
    "itermax": lambda cosine_IJ: itermax((1 + cosine_IJ) / 2),
    "transport": lambda cosine_IJ: mutual_argmax(transport_plan(cosine_IJ)),
}


@dataclass(frozen=True)
class LinkCounts:
    """What links were found of those that are there.

    Attributes:
        found: links made.
        sure: sure links of the gold.
        found_sure: links made that are sure.
        found_possible: links made that are sure or possible.
    """

    found: int = 0
    sure: int = 0
    found_sure: int = 0
    found_possible: int = 0

    @classmethod
    def of(cls, links: set[tuple[int, int]], pair: AlignedPair) -> LinkCounts:
        """Those of one pair of sentences."""
        return cls(len(links), len(pair.sure), len(links & pair.sure), len(links & (pair.sure | pair.possible)))

    def __add__(self, other: LinkCounts) -> LinkCounts:
        return LinkCounts(self.found + other.found, self.sure + other.sure, self.found_sure + other.found_sure,
                          self.found_possible + other.found_possible)  # fmt: skip

    @property
    def aer(self) -> float:
        """Alignment error rate."""
        return 1 - _share(self.found_sure + self.found_possible, self.found + self.sure)

    @property
    def precision(self) -> float:
        """Share of the links made that are sure or possible."""
        return _share(self.found_possible, self.found)

    @property
    def recall(self) -> float:
        """Share of the sure links that were made."""
        return _share(self.found_sure, self.sure)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return _share(2 * self.precision * self.recall, self.precision + self.recall)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


@dataclass(frozen=True)
class LayerLinks:
    """Links of one layer by one method, between two languages.

    Attributes:
        source: canonical tag.
        target: canonical tag.
        layer: 0 the embeddings.
        method: one of :data:`METHODS`.
        counts: over all pairs of sentences.
        pairs: of sentences.
        missing: words of both sides that have no state, and so no link.
    """

    source: str
    target: str
    layer: int
    method: str
    counts: LinkCounts
    pairs: int
    missing: int

    def scores(self, model: str, task: str = "links") -> list[Score]:
        """Rows; languages, layer and method are part of the task's name, the row is of the side that is not English."""
        task = f"{task}.{self.source}-{self.target}.layer{self.layer}.{self.method}"
        lang = self.source if self.target == "en" else self.target
        return [
            Score(model, task, lang, "test", metric, getattr(self.counts, metric), self.pairs)
            for metric in ("aer", "precision", "recall", "f1")
        ]


def check_methods(methods: Sequence[str]) -> None:
    """Refuse unknown methods, and none.

    Raises:
        RecipeError: not of :data:`METHODS`.
    """
    for name in methods or ("",):
        if name not in METHODS:
            raise RecipeError(f"method {name!r}{nearest(name, METHODS)}", expected=f"of {', '.join(METHODS)}",
                              where="methods")  # fmt: skip


def word_links(
    encoder: Encoder,
    pairs: Iterable[AlignedPair],
    *,
    layers: Sequence[int] | None = None,
    methods: Sequence[str] = tuple(METHODS),
    batch_tokens: int = 2048,
    progress: Callable[[int], Any] | None = None,
) -> list[LayerLinks]:
    """Score links read from an encoder's states.

    Args:
        encoder: any encoder.
        pairs: with gold links, read once, of any languages.
        layers: layer numbers; all if None.
        methods: of :data:`METHODS`.
        batch_tokens: tokens a forward pass.
        progress: called with the number of sentences done, two a pair.

    Returns:
        For each pair of languages, layer and method one.

    Raises:
        DataError: no pairs, or states that are not finite.
        RecipeError: an unknown method, or a layer the network does not have.
    """
    from interlingua.probe.states import layer_numbers
    from interlingua.probe.wordstates import joined_words, word_state_blocks

    check_methods(methods)
    numbers = layer_numbers(encoder, layers)
    waiting: list[AlignedPair] = []

    def sentences() -> Iterator[WordedText]:
        for pair in pairs:
            waiting.append(pair)
            yield joined_words(pair.source)
            yield joined_words(pair.target)

    sums: dict[tuple[str, str, int, str], LinkCounts] = {}
    seen: dict[tuple[str, str], list[int]] = {}
    blocks = word_state_blocks(
        encoder, sentences(), layers=numbers, block=2 * _PAIRS, batch_tokens=batch_tokens, progress=progress
    )
    for block in blocks:
        lengths = np.linalg.norm(block.states, axis=2, keepdims=True)
        units = (block.states / np.maximum(lengths, 1e-12)).astype(np.float64)
        bounds = np.searchsorted(block.text, np.arange(block.texts + 1))
        now, waiting[: block.texts // 2] = waiting[: block.texts // 2], []
        for place, pair in enumerate(now):
            left, right = (slice(bounds[2 * place + side], bounds[2 * place + side + 1]) for side in (0, 1))
            spoken = (pair.source_lang, pair.target_lang)
            totals = seen.setdefault(spoken, [0, 0])
            totals[0] += 1
            totals[1] += len(pair.source) + len(pair.target) - (right.stop - left.start)
            for row, number in enumerate(numbers):
                cosine_IJ = units[row, left] @ units[row, right].T
                for method in methods:
                    found = METHODS[method](cosine_IJ) if cosine_IJ.size else np.zeros(cosine_IJ.shape, dtype=np.bool_)
                    i, j = np.nonzero(found)
                    links = set(zip(block.word[left][i].tolist(), block.word[right][j].tolist(), strict=True))
                    key = (*spoken, number, method)
                    sums[key] = sums.get(key, LinkCounts()) + LinkCounts.of(links, pair)
    if not sums:
        raise DataError("no aligned pairs", expected="at least one pair of sentences with links")
    return [LayerLinks(*key, counts, *seen[key[:2]]) for key, counts in sums.items()]
