"""Do translations lie next to each other?

In: sentence vectors of parallel texts. Out: retrieval precision at 1 by cosine, both ways, as scores.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, LanguageError
from interlingua.probe.neighbours import best_matches
from interlingua.probe.removal import check_removal, removed
from interlingua.scores import Score

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = ["centred", "precision_at_1", "retrieval_scores", "retrieve"]

Vectors = NDArray[np.float32]


def centred(vectors_ND: Vectors) -> Vectors:
    """Vectors with their mean (the language's) taken off."""
    return np.asarray(vectors_ND - vectors_ND.mean(axis=0), dtype=np.float32)


def precision_at_1(source_ND: Vectors, target_ND: Vectors) -> tuple[float, float]:
    """Share of texts whose nearest text by cosine on the other side is their translation.

    Args:
        source_ND: vectors, row i translates row i of the other.
        target_ND: vectors of the other side.

    Returns:
        (source to target, target to source). Of equally near candidates the first counts.
    """
    if source_ND.shape != target_ND.shape or not len(source_ND):
        raise DataError(
            f"vectors of shapes {source_ND.shape} and {target_ND.shape}",
            expected="the same number of rows, at least one",
        )
    there, back = best_matches(source_ND, target_ND)
    right = np.arange(len(source_ND))
    return float((there.index == right).mean()), float((back.index == right).mean())


def retrieval_scores(
    vectors: Mapping[str, Vectors], *, source: str, model: str, task: str = "retrieval", centre: bool = False
) -> list[Score]:
    """Scores of retrieval between a source and every other language.

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
        if lang == source:
            continue
        left, right = vectors[source], own
        if centre:
            left, right = centred(left), centred(right)
        there, back = precision_at_1(left, right)
        for metric, value in (("p1_from_source", there), ("p1_to_source", back), ("p1", (there + back) / 2)):
            scores.append(Score(name, task, lang, "test", metric, value, len(own)))
    return scores


def retrieve(
    encoder: Encoder,
    texts: Mapping[str, Mapping[str, str]],
    *,
    source: str = "en",
    centre: bool = False,
    remove: str | None = None,
    layer: int | None = None,
    task: str = "retrieval",
    progress: Callable[[int], Any] | None = None,
) -> list[Score]:
    """Sentence retrieval between a source language and every other.

    Args:
        encoder: any encoder.
        texts: language -> id -> text; texts with the same id translate each other.
        source: the language searched from and to.
        centre: take each language's mean off first (no labels needed).
        remove: take what tells languages apart off first, one of :data:`interlingua.probe.removal.REMOVALS`.
        layer: which layer's states; the last if None.
        task: name in the rows.
        progress: called with the number of texts encoded.

    Returns:
        For each other language ``p1_from_source``, ``p1_to_source`` and their mean ``p1``.

    Raises:
        LanguageError: the source is not among the languages.
        DataError: a language without a text in common with the source.
        RecipeError: an unknown way of removal, or too few texts for it.
    """
    from interlingua.probe.states import sentence_states

    if remove is not None:
        check_removal(remove)
    if source not in texts:
        raise LanguageError(f"no text in {source!r}", expected=f"one of {', '.join(texts)}", where="source")
    flat = [text for by_id in texts.values() for text in by_id.values()]
    states = sentence_states(encoder, flat, layers=None if layer is None else [layer], progress=progress)[0]
    ends = list(itertools.accumulate(len(by_id) for by_id in texts.values()))
    vectors = {lang: states[end - len(texts[lang]) : end] for lang, end in zip(texts, ends, strict=True)}
    name = encoder.name
    if remove is not None:
        vectors, name = removed(vectors, remove), f"{name}+{remove}"
    scores = []
    for lang, by_id in texts.items():
        if lang == source:
            continue
        own, theirs = list(by_id), list(texts[source])
        both = [i for i in own if i in texts[source]]
        if not both:
            raise DataError(f"no text of {lang!r} has an id of {source!r}", expected="parallel texts with common ids")
        rows = {
            source: vectors[source][[theirs.index(i) for i in both]],
            lang: vectors[lang][[own.index(i) for i in both]],
        }
        scores += retrieval_scores(rows, source=source, model=name, task=task, centre=centre)
    return scores
