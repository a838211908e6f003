"""The geometry of languages in every layer of a network, from one pass over texts.

In: an encoder and (language, text) pairs, as a stream. Out: for each layer the languages' means and distances,
V-measure against families, how well the language can be read off by a linear classifier, and the mean cosine of pairs;
or how alike two encoders are. Decision: only sums are kept, and of each language the first ``keep`` vectors for the
classifier, so memory is languages x layers x keep x width however much text comes. Price: the classifier sees no more.

Every fifth kept sentence of a language is held out. In parallel text of one order these are the same sentences in all
languages, so the classifier cannot know a sentence by its meaning.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.probe.geometry import (
    Kinship,
    family_of,
    family_v_measure,
    mean_cosine,
    mean_distances,
    shuffled_v_measure,
)
from interlingua.probe.similarity import PairedSums
from interlingua.scores import Score

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = ["MANY", "LayerGeometry", "LayerLikeness", "compare_models", "language_geometry", "language_identity"]

#: Tag of a row about all languages at once: ISO 639-2's "multiple languages".
MANY = "mul"
_BLOCK = 1024
_FOLD = 5


@dataclass(frozen=True)
class LayerGeometry:
    """One layer.

    Attributes:
        layer: 0 the embeddings.
        counts: language -> sentences.
        distances: cosine distances between language means, in the order of ``counts``, [G, G].
        means: language means [G, D].
        v_measure: clusters of the means against families.
        shuffled: the same against families dealt out at random.
        identity: share of held-out sentences whose language a linear classifier names.
        majority: share of the most frequent language among them.
        held_out: how many those are.
        anisotropy: mean cosine of all pairs of sentences of all languages.
        own_anisotropy: language -> mean cosine of the pairs of its sentences.
        full: sentences as long as the encoder takes; longer ones were cut there.
    """

    layer: int
    counts: dict[str, int]
    distances: NDArray[np.float64] = field(repr=False)
    means: NDArray[np.float64] = field(repr=False)
    v_measure: float
    shuffled: float
    identity: float
    majority: float
    held_out: int
    anisotropy: float
    own_anisotropy: dict[str, float]
    full: int

    def scores(self, model: str, task: str = "geometry") -> list[Score]:
        """Rows; the layer is part of the task's name, the controls are models, ``+shuffled`` and ``majority``."""
        task, total, count = f"{task}.layer{self.layer}", sum(self.counts.values()), len(self.counts)
        rows = [
            Score(model, task, MANY, "test", "v_measure", self.v_measure, count),
            Score(f"{model}+shuffled", task, MANY, "test", "v_measure", self.shuffled, count),
            Score(model, task, MANY, "test", "language_accuracy", self.identity, self.held_out),
            Score("majority", task, MANY, "test", "language_accuracy", self.majority, self.held_out),
            Score(model, task, MANY, "test", "anisotropy", self.anisotropy, total),
        ]
        # To the other languages only: the distance to oneself is no distance.
        far = self.distances.sum(axis=1) / max(1, count - 1)
        for (lang, n), distance in zip(self.counts.items(), far.tolist(), strict=True):
            rows.append(Score(model, task, lang, "test", "anisotropy", self.own_anisotropy[lang], n))
            rows.append(Score(model, task, lang, "test", "mean_distance", distance, n))
        return rows


@dataclass(frozen=True)
class LayerLikeness:
    """A layer of one model beside a layer of another.

    Attributes:
        layer: of the first.
        other: of the second, at the same share of its depth.
        cka: linear CKA.
        procrustes: Procrustes distance.
        count: sentences.
    """

    layer: int
    other: int
    cka: float
    procrustes: float
    count: int

    def scores(self, model: str, task: str = "likeness") -> list[Score]:
        """Rows; both layers are part of the task's name."""
        task = f"{task}.layer{self.layer}.other{self.other}"
        return [
            Score(model, task, MANY, "test", name, value, self.count)
            for name, value in (("linear_cka", self.cka), ("procrustes_distance", self.procrustes))
        ]


class _LanguageSums:
    """What is kept of one language."""

    def __init__(self, layers: int, width: int) -> None:
        self.count = 0
        self.sums_LD = np.zeros((layers, width))
        self.unit_sums_LD = np.zeros((layers, width))
        self.squares_L = np.zeros(layers)
        self.kept: list[NDArray[np.float32]] = []

    def add(self, states_LND: NDArray[np.float32], keep: int) -> None:
        room = keep - sum(part.shape[1] for part in self.kept)
        if room > 0:
            self.kept.append(states_LND[:, :room].copy())
        states = states_LND.astype(np.float64)
        lengths = np.linalg.norm(states, axis=2, keepdims=True)
        units = np.divide(states, lengths, out=np.zeros_like(states), where=lengths > 0)
        self.count += states.shape[1]
        self.sums_LD += states.sum(axis=1)
        self.unit_sums_LD += units.sum(axis=1)
        self.squares_L += (units**2).sum(axis=(1, 2))


def language_identity(vectors: Mapping[str, NDArray[Any]], *, seed: int = 0) -> tuple[float, float, int]:
    """How well the language of a sentence can be read off its vector.

    Args:
        vectors: language -> [N, D]; every fifth row, from the fifth on, is held out.
        seed: of the classifier.

    Returns:
        (accuracy of a logistic regression on standardised vectors, accuracy of always naming the most frequent language
        of the training part, held-out sentences).

    Raises:
        DataError: fewer than two languages, or one with fewer than five sentences.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    short = [lang for lang, own in vectors.items() if len(own) < _FOLD]
    if len(vectors) < 2 or short:
        raise DataError(
            f"{len(vectors)} languages" + (f", {', '.join(short)} with fewer than {_FOLD} sentences" if short else ""),
            expected=f"at least two, of {_FOLD} sentences or more each",
            next_step="give more text, or leave these languages out",
        )
    x_ND = np.concatenate(list(vectors.values())).astype(np.float64)
    labels = np.repeat(list(vectors), [len(own) for own in vectors.values()])
    held = np.concatenate([np.arange(len(own)) % _FOLD == _FOLD - 1 for own in vectors.values()])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed))
    classifier.fit(x_ND[~held], labels[~held])
    names, counts = np.unique(labels[~held], return_counts=True)
    right = classifier.predict(x_ND[held]) == labels[held]
    return float(right.mean()), float((labels[held] == names[counts.argmax()]).mean()), int(held.sum())


def language_geometry(
    encoder: Encoder,
    texts: Iterable[tuple[str, str]],
    *,
    layers: Sequence[int] | None = None,
    by: Kinship = "family",
    keep: int = 200,
    batch_tokens: int = 2048,
    progress: Callable[[int], Any] | None = None,
) -> list[LayerGeometry]:
    """Where languages lie in each layer.

    Args:
        encoder: any encoder.
        texts: (language, text), in any order, read once.
        layers: layer numbers; all if None.
        by: what languages are grouped by for the V-measure.
        keep: sentences of each language that the classifier of languages sees.
        batch_tokens: tokens a forward pass.
        progress: called with the number of texts done since the last call.

    Raises:
        DataError: fewer than two languages, one with fewer than five sentences, states that are not finite.
        LanguageError: a language nobody knows, which has no family.
        RecipeError: a layer the network does not have.
    """
    from interlingua.probe.states import check_finite, layer_numbers, state_blocks

    numbers = layer_numbers(encoder, layers)
    sums: dict[str, _LanguageSums] = {}
    full: list[int] = []
    languages, stream = itertools.tee(texts)
    blocks = state_blocks(
        encoder, (text for _, text in stream), layers=numbers, block=_BLOCK, batch_tokens=batch_tokens,
        progress=progress, full=full.append,
    )  # fmt: skip
    for states_LND in blocks:
        tags = np.array([lang for lang, _ in itertools.islice(languages, states_LND.shape[1])])
        for lang in dict.fromkeys(tags.tolist()):
            own = states_LND[:, tags == lang]
            sums.setdefault(lang, _LanguageSums(len(numbers), states_LND.shape[2])).add(check_finite(own, lang), keep)
    if len(sums) < 2:
        raise DataError(f"texts in {len(sums)} languages", expected="at least two languages")
    families = [family_of(lang, by=by) for lang in sums]
    return [_layer(row, number, sums, families, sum(full)) for row, number in enumerate(numbers)]


def _layer(
    row: int, number: int, sums: Mapping[str, _LanguageSums], families: Sequence[str], full: int
) -> LayerGeometry:
    kept = {lang: np.concatenate([part[row] for part in own.kept]) for lang, own in sums.items()}
    identity, majority, held_out = language_identity(kept)
    means_GD = np.stack([own.sums_LD[row] / own.count for own in sums.values()])
    distances_GG = mean_distances(means_GD)
    return LayerGeometry(
        number,
        {lang: own.count for lang, own in sums.items()},
        distances_GG,
        means_GD,
        family_v_measure(distances_GG, families),
        shuffled_v_measure(distances_GG, families),
        identity,
        majority,
        held_out,
        mean_cosine(
            np.sum([own.unit_sums_LD[row] for own in sums.values()], axis=0),
            float(sum(own.squares_L[row] for own in sums.values())),
            sum(own.count for own in sums.values()),
        ),
        {lang: mean_cosine(own.unit_sums_LD[row], float(own.squares_L[row]), own.count) for lang, own in sums.items()},
        full,
    )


def compare_models(
    encoder: Encoder,
    other: Encoder,
    texts: Iterable[str],
    *,
    layers: Sequence[int] | None = None,
    batch_tokens: int = 2048,
    progress: Callable[[int], Any] | None = None,
) -> list[LayerLikeness]:
    """Linear CKA and Procrustes distance between two encoders on the same texts.

    Args:
        encoder: any encoder.
        other: another, of any width and depth.
        texts: read once.
        layers: layers of the first; each meets the one of the second at the same share of its depth. All if None.
        batch_tokens: tokens a forward pass.
        progress: called with the number of texts done, once for each of the two encoders.

    Raises:
        DataError: fewer than two texts, or a model that gives all of them one vector.
        RecipeError: a layer the network does not have.
    """
    from interlingua.probe.states import layer_numbers, state_blocks

    numbers = layer_numbers(encoder, layers)
    depth, other_depth = (max(layer_numbers(one, None)) for one in (encoder, other))
    others = [round(number * other_depth / max(1, depth)) for number in numbers]
    left, right = encoder.model.config.hidden_size, other.model.config.hidden_size
    sums = [PairedSums(left, right) for _ in numbers]
    blocks = (
        state_blocks(one, stream, layers=wanted, block=_BLOCK, batch_tokens=batch_tokens, progress=progress)
        for one, stream, wanted in zip((encoder, other), itertools.tee(texts), (numbers, others), strict=True)
    )
    for ours_LND, theirs_LND in zip(*blocks, strict=True):
        for total, ours_ND, theirs_ND in zip(sums, ours_LND, theirs_LND, strict=True):
            total.add(ours_ND, theirs_ND)
    return [
        LayerLikeness(number, beside, total.linear_cka(), total.procrustes_distance(), total.count)
        for number, beside, total in zip(numbers, others, sums, strict=True)
    ]
