"""Do words that translate each other have like vectors?

In: unlabelled text of two languages, an encoder, a lexicon. Out: for each layer how far up a translation stands among
all words of the other side. A word's vector is the mean over its occurrences in the text, each the mean of its
subwords' states. Decisions: words are those of :mod:`interlingua.text.words`, lower-cased as lexicons are; only words
of the lexicon are summed, so memory is words x layers x width however much text comes. Price: candidates are the
lexicon's words, which are easier to tell apart than a whole vocabulary.

Sources: Liu et al. 2020 (arXiv 2010.10938) for averaged contextual vectors and their mean reciprocal rank; Conneau et
al. 2018 (arXiv 1710.04087) for CSLS and for static vectors turned onto each other by Procrustes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, RecipeError
from interlingua.probe.neighbours import nearest, unit
from interlingua.scores import Score
from interlingua.text.lexicons import LexiconEntry

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.probe.wordstates import WordedText

__all__ = [
    "WordTranslation", "WordVectors", "learnable", "lexicon_parts", "procrustes", "translate_words",
    "translation_ranks", "word_vectors",
]  # fmt: skip

Vectors = NDArray[np.float32]

_CSLS_NEIGHBOURS = 10
_BLOCK = 1 << 23


@dataclass(frozen=True)
class WordVectors:
    """Vectors of one language's words.

    Attributes:
        words: those that were met, lower-cased.
        counts: how often, [V].
        vectors: [layers, V, D].
        missing: occurrences without a vector: cut off at the longest text, or nothing left by the tokenizer.
    """

    words: tuple[str, ...]
    counts: NDArray[np.int64]
    vectors: Vectors
    missing: int = 0


def word_vectors(
    encoder: Encoder,
    texts: Iterable[tuple[str, str]],
    wanted: Mapping[str, Collection[str]],
    *,
    layers: Sequence[int] | None = None,
    batch_tokens: int = 2048,
    progress: Callable[[int], Any] | None = None,
) -> dict[str, WordVectors]:
    """Mean vectors of words over their occurrences, all layers from one pass.

    Args:
        encoder: any encoder.
        texts: (language, text), in any order, read once; texts of other languages than those wanted are left out.
        wanted: language -> its words, lower-cased.
        layers: layer numbers; all if None.
        batch_tokens: tokens a forward pass.
        progress: called with the number of texts done since the last call.

    Raises:
        DataError: a language none of whose words is in the text, or states that are not finite.
        RecipeError: a layer the network does not have.
    """
    from interlingua.probe.states import layer_numbers
    from interlingua.probe.wordstates import WordedText, segmented, word_state_blocks

    numbers = layer_numbers(encoder, layers)
    places = {lang: {word: i for i, word in enumerate(dict.fromkeys(own))} for lang, own in wanted.items()}
    width = encoder.model.config.hidden_size
    sums = {lang: np.zeros((len(numbers), len(own), width), dtype=np.float32) for lang, own in places.items()}
    counts = {lang: np.zeros(len(own), dtype=np.int64) for lang, own in places.items()}
    missing = dict.fromkeys(places, 0)
    waiting: list[tuple[str, list[int]]] = []

    def found_words() -> Iterator[WordedText]:
        for lang, text in texts:
            if lang not in places:
                continue
            one, place = segmented(text, lang), places[lang]
            named = [(span, place.get(word.lower(), -1)) for span, word in zip(one.spans, one.words, strict=True)]
            kept = [(span, number) for span, number in named if number >= 0]
            waiting.append((lang, [number for _, number in kept]))
            yield WordedText(text, tuple(span for span, _ in kept))

    for block in word_state_blocks(
        encoder, found_words(), layers=numbers, batch_tokens=batch_tokens, progress=progress
    ):
        now, waiting[: block.texts] = waiting[: block.texts], []
        for lang in dict.fromkeys(lang for lang, _ in now):
            own = np.flatnonzero(np.array([spoken == lang for spoken, _ in now])[block.text])
            rows = np.array(
                [now[t][1][w] for t, w in zip(block.text[own].tolist(), block.word[own].tolist(), strict=True)],
                dtype=np.int64,
            )
            for sums_VD, states_WD in zip(sums[lang], block.states[:, own], strict=True):
                np.add.at(sums_VD, rows, states_WD)
            np.add.at(counts[lang], rows, 1)
            missing[lang] += sum(len(numbers) for spoken, numbers in now if spoken == lang) - len(own)
    vectors = {}
    for lang, place in places.items():
        met = np.flatnonzero(counts[lang])
        if not len(met):
            raise DataError(f"none of the lexicon's {len(place):,} words of {lang!r} in the text",
                            expected="text that has words of the lexicon")  # fmt: skip
        names = list(place)
        mean_LVD = np.asarray(sums[lang][:, met] / counts[lang][met, None], dtype=np.float32)
        vectors[lang] = WordVectors(tuple(names[i] for i in met), counts[lang][met], mean_LVD, missing[lang])
    return vectors


def translation_ranks(
    queries_QD: Vectors,
    targets_MD: Vectors,
    gold: Sequence[Collection[int]],
    *,
    sources_ND: Vectors | None = None,
    scoring: str = "cosine",
    block: int = _BLOCK,
) -> NDArray[np.int64]:
    """Rank of the best translation of every query among all targets, from 1.

    Args:
        queries_QD: vectors of words.
        targets_MD: vectors of all words that may be answered.
        gold: for each query the places of its translations.
        sources_ND: the words that make a target popular under CSLS; the queries if None.
        scoring: ``cosine`` or ``csls``.
        block: similarities held at a time.

    Returns:
        [Q]; a wrong target of the same score stands before a right one, so that equal vectors find nothing.

    Raises:
        RecipeError: another scoring.
        DataError: vectors that are not finite, or a query without a translation.
    """
    if scoring not in ("cosine", "csls"):
        raise RecipeError(f"scoring {scoring!r}", expected="cosine or csls", where="scoring")
    if any(not own for own in gold):
        raise DataError("a word without a translation among the targets", expected="at least one each")
    queries_QD, targets_MD = unit(queries_QD), unit(targets_MD)
    popular_M = np.zeros(len(targets_MD), dtype=np.float32)
    if scoring == "csls":
        sources_ND = queries_QD if sources_ND is None else sources_ND
        popular_M = nearest(targets_MD, sources_ND, _CSLS_NEIGHBOURS).similarity.mean(axis=1)
    # The query's own r(x) is the same for all its targets and changes no rank.
    rows = max(1, block // len(targets_MD))
    ranks = np.zeros(len(queries_QD), dtype=np.int64)
    for start in range(0, len(queries_QD), rows):
        score_BM = 2 * (queries_QD[start : start + rows] @ targets_MD.T) - popular_M
        for row, score_M in enumerate(score_BM):
            right = list(gold[start + row])
            best = score_M[right].max()
            score_M[right] = -np.inf
            ranks[start + row] = 1 + (score_M >= best).sum()
    return ranks


@dataclass(frozen=True)
class WordTranslation:
    """How far up translations stand, by one set of vectors.

    Attributes:
        model: name in the rows; ``+csls`` and ``+procrustes`` behind it say what was done.
        layer: 0 the embeddings; None for static vectors.
        ranks: of the best translation of each source word, [N].
        asked: source words of the lexicon's test part.
        candidates: target words among which it stands.
    """

    model: str
    layer: int | None
    ranks: NDArray[np.int64] = field(repr=False)
    asked: int
    candidates: int

    @property
    def metrics(self) -> dict[str, float]:
        """``mrr``, ``p1``, ``p5``, ``p10``, and ``coverage``: share of the words that have vectors on both sides."""
        shares = {f"p{k}": float((self.ranks <= k).mean()) for k in (1, 5, 10)}
        return {"mrr": float((1 / self.ranks).mean()), **shares, "coverage": len(self.ranks) / self.asked}

    def scores(self, source: str, target: str, task: str = "words") -> list[Score]:
        """Rows of the target's language, or of the source's where the target is English."""
        task = f"{task}.{source}-{target}" + ("" if self.layer is None else f".layer{self.layer}")
        lang = source if target == "en" else target
        return [
            Score(self.model, task, lang, "test", name, value, len(self.ranks)) for name, value in self.metrics.items()
        ]


def lexicon_parts(
    entries: Iterable[LexiconEntry], every_part: bool
) -> tuple[dict[str, set[str]], list[tuple[str, str]]]:
    """Words to ask with their translations, and pairs to learn from, all lower-cased.

    Asked are the words of the part ``test``, or all of them where there is none or every part is to be asked.
    """
    tests: dict[str, set[str]] = {}
    train = []
    entries = list(entries)
    parts = {entry.part for entry in entries}
    for entry in entries:
        source, target = entry.source.lower(), entry.target.lower()
        if every_part or entry.part == "test" or "test" not in parts:
            tests.setdefault(source, set()).add(target)
        elif entry.part == "train":
            train.append((source, target))
    return tests, train


def translate_words(
    source: WordVectors,
    target: WordVectors,
    entries: Iterable[LexiconEntry],
    *,
    model: str,
    layers: Sequence[int] | None = None,
    scorings: Sequence[str] = ("cosine", "csls"),
    every_part: bool = False,
    align: bool = False,
) -> list[WordTranslation]:
    """Translate the words of a lexicon's test part, all of it where the lexicon has no parts.

    Args:
        source: vectors of the words translated from.
        target: vectors of the words that may be answered.
        entries: the lexicon.
        model: name in the rows.
        layers: numbers of the vectors' layers; None: static vectors.
        scorings: ``cosine``, ``csls``.
        every_part: ask the words of all parts; for vectors that learned nothing from the lexicon.
        align: turn the source onto the target first, by Procrustes on the lexicon's training part.

    Raises:
        DataError: no test word has vectors on both sides, or, with ``align``, no pair to learn from.
    """
    tests, train = lexicon_parts(entries, every_part)
    ours, theirs = ({word: i for i, word in enumerate(side.words)} for side in (source, target))
    gold = {word: [theirs[t] for t in sorted(right) if t in theirs] for word, right in tests.items() if word in ours}
    asked = [word for word, right in gold.items() if right]
    if not asked:
        raise DataError(f"none of {len(tests):,} words has a vector and a translation with one",
                        expected="text in which words of the lexicon and their translations stand")  # fmt: skip
    learned = [(ours[a], theirs[b]) for a, b in train if a in ours and b in theirs]
    name = f"{model}+procrustes" if align else model
    found = []
    for row, (source_ND, target_MD) in enumerate(zip(source.vectors, target.vectors, strict=True)):
        if align:
            source_ND = procrustes(source_ND, target_MD, learned)
        queries_QD = source_ND[[ours[word] for word in asked]]
        for scoring in scorings:
            ranks = translation_ranks(
                queries_QD, target_MD, [gold[word] for word in asked], sources_ND=source_ND, scoring=scoring
            )
            full = name if scoring == "cosine" else f"{name}+{scoring}"
            found.append(WordTranslation(full, layers[row] if layers else None, ranks, len(tests), len(target_MD)))
    return found


def learnable(source: WordVectors, target: WordVectors, entries: Iterable[LexiconEntry]) -> int:
    """How many pairs of the lexicon's part ``train`` have vectors on both sides, to learn a turn from."""
    ours, theirs = set(source.words), set(target.words)
    return sum(a in ours and b in theirs for a, b in lexicon_parts(entries, every_part=False)[1])


def procrustes(source_ND: Vectors, target_MD: Vectors, pairs: Sequence[tuple[int, int]]) -> Vectors:
    """Vectors of length 1 of the source, turned so that pairs come as near as a turn can bring them.

    Args:
        source_ND: vectors.
        target_MD: of the same width.
        pairs: (row of the source, row of the target).

    Raises:
        DataError: no pairs.
    """
    from scipy.linalg import orthogonal_procrustes

    if not pairs:
        raise DataError(
            "no pair of words to learn a turn from",
            expected="a lexicon with a part 'train', words of which have vectors",
            next_step="give a table with a column 'split' or 'src_rank', or more text",
        )
    left, right = (list(side) for side in zip(*pairs, strict=True))
    source_ND, target_MD = unit(source_ND), unit(target_MD)
    turn_DD, _ = orthogonal_procrustes(source_ND[left].astype(np.float64), target_MD[right].astype(np.float64))
    return np.asarray(source_ND @ turn_DD, dtype=np.float32)
