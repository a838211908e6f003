"""Do translations lie next to each other?

In: sentence vectors of parallel texts. Out: retrieval precision at 1, both ways, as scores: by cosine or a margin, by
layer and pooling, of vectors as they are or with a language's share taken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.probe.neighbours import best_matches
from interlingua.scores import Score

__all__ = ["Retrieval", "centred", "precision_at_1", "retrieval_scores"]

Vectors = NDArray[np.float32]


def centred(vectors_ND: Vectors) -> Vectors:
    """Vectors with their mean (the language's) taken off."""
    return np.asarray(vectors_ND - vectors_ND.mean(axis=0), dtype=np.float32)


def precision_at_1(
    source_ND: Vectors, target_ND: Vectors, *, scoring: str = "cosine", k: int | None = None
) -> tuple[float, float]:
    """Share of texts whose nearest text on the other side is their translation.

    Args:
        source_ND: vectors, row i translates row i of the other.
        target_ND: vectors of the other side.
        scoring: one of :data:`interlingua.probe.neighbours.SCORINGS`.
        k: neighbours that a margin looks at, instead of the scoring's own number.

    Returns:
        (source to target, target to source). Of equally near candidates the first counts.

    Raises:
        DataError: sides of different shapes, no row, or vectors that are not finite.
        RecipeError: an unknown scoring.
    """
    if source_ND.shape != target_ND.shape or not len(source_ND):
        raise DataError(
            f"vectors of shapes {source_ND.shape} and {target_ND.shape}",
            expected="the same number of rows, at least one",
        )
    there, back = best_matches(source_ND, target_ND, scoring=scoring, k=k)
    right = np.arange(len(source_ND))
    return float((there.index == right).mean()), float((back.index == right).mean())


@dataclass(frozen=True)
class Retrieval:
    """How often the translations of a language and those of the source find each other.

    Attributes:
        model: name, with what was done to its vectors behind ``+``.
        language: the other one.
        from_source: share found for texts of the source.
        to_source: share found for texts of the language.
        count: texts a side.
        layer: where the vectors come from; None: the last.
    """

    model: str
    language: str
    from_source: float
    to_source: float
    count: int
    layer: int | None = None

    @property
    def p1(self) -> float:
        """Mean of both ways."""
        return (self.from_source + self.to_source) / 2

    def scores(self, task: str = "retrieval") -> list[Score]:
        """``p1_from_source``, ``p1_to_source`` and ``p1``; the layer, where there is one, in the task's name."""
        name = task if self.layer is None else f"{task}.layer{self.layer}"
        values = {"p1_from_source": self.from_source, "p1_to_source": self.to_source, "p1": self.p1}
        return [Score(self.model, name, self.language, "test", m, v, self.count) for m, v in values.items()]


def retrieval_scores(
    vectors: Mapping[str, Vectors], *, source: str, model: str, task: str = "retrieval", centre: bool = False
) -> list[Score]:
    """Scores of retrieval by cosine between a source and every other language.

    Args:
        vectors: language -> [N, D]; row i of every language translates row i of the others.
        source: the language searched from and to.
        model: name in the rows; ``+centred`` is added with ``centre``.
        task: name in the rows.
        centre: take each language's mean off first (no labels needed).
    """
    name = f"{model}+centred" if centre else model
    scores = []
    for lang, own in vectors.items():
        if lang != source:
            left, right = (centred(vectors[source]), centred(own)) if centre else (vectors[source], own)
            scores += Retrieval(name, lang, *precision_at_1(left, right), len(own)).scores(task)
    return scores
