"""Translations found in every layer, by pooling, way and scoring, in one pass.

In: an encoder and parallel texts with ids. Out: how often translations find each other, language by language. Decision:
the states of all layers come out of one pass and lie in a file meanwhile; memory is that of one layer's vectors, so
that a hundred thousand sentences of a dozen layers need no memory for the rest. Price: texts x layers x width x 4 bytes
of disk, in the folder of temporary files.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, LanguageError, RecipeError, nearest
from interlingua.probe.alignment import Retrieval, centred, precision_at_1
from interlingua.probe.neighbours import check_scoring
from interlingua.probe.projection import projection
from interlingua.probe.removal import REMOVALS, language_subspace, lir, without
from interlingua.probe.states import layer_numbers, state_blocks

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = ["WAYS", "retrieve"]

Vectors = NDArray[np.float32]

#: What may be done to vectors before they are searched.
WAYS = ("raw", "centred", "projected", *REMOVALS)


def retrieve(
    encoder: Encoder,
    texts: Mapping[str, Mapping[str, str]],
    *,
    source: str = "en",
    layers: Sequence[int] | None = None,
    poolings: Sequence[str] = ("mean",),
    ways: Sequence[str] = ("raw",),
    scorings: Sequence[str] = ("cosine",),
    k: int | None = None,
    progress: Callable[[int], Any] | None = None,
) -> list[Retrieval]:
    """Sentence retrieval between a source language and every other.

    Args:
        encoder: any encoder.
        texts: language -> id -> text; texts with the same id translate each other.
        source: the language searched from and to.
        layers: layer numbers (0: embeddings; negative from the top); only the last, unnamed in the rows, if None.
        poolings: of :data:`interlingua.models.POOLINGS`.
        ways: of :data:`WAYS`. raw: as they are; centred: each language's mean taken off; projected: centred, then
            mapped onto the source by a regression on the half of the pairs that is not searched; lir, lsar: what
            tells languages apart removed. Each is learned from the vectors that are searched. With projected among
            them, all search the same half.
        scorings: of :data:`interlingua.probe.neighbours.SCORINGS`.
        k: neighbours that a margin looks at, instead of the scoring's own number.
        progress: called with the number of texts encoded.

    Returns:
        By layer, pooling, way, scoring and language, in this order.

    Raises:
        LanguageError: the source is not among the languages.
        DataError: a language without a text in common with the source, or too few for a projection.
        RecipeError: an unknown layer, pooling, way or scoring, or too few languages for a removal.
    """
    for way in ways:
        if way not in WAYS:
            raise RecipeError(f"way {way!r}{nearest(way, WAYS)}", expected=f"of {', '.join(WAYS)}", where="ways")
    for scoring in scorings:
        check_scoring(scoring, k)
    if source not in texts:
        raise LanguageError(f"no text in {source!r}", expected=f"one of {', '.join(texts)}", where="source")
    rows = _pairs(texts, source, halved="projected" in ways, lir="lir" in ways)
    numbers = layer_numbers(encoder, [-1] if layers is None else layers)
    ends = dict(zip(texts, itertools.accumulate(map(len, texts.values())), strict=True))
    found: list[Retrieval] = []
    with tempfile.TemporaryDirectory(prefix="interlingua-states-", ignore_cleanup_errors=True) as folder:
        shape = (len(poolings) * len(numbers), sum(map(len, texts.values())), encoder.model.config.hidden_size)
        states = np.lib.format.open_memmap(f"{folder}/states.npy", mode="w+", dtype=np.float32, shape=shape)
        done = 0
        flat = (text for by_id in texts.values() for text in by_id.values())
        for block in state_blocks(encoder, flat, layers=numbers, poolings=poolings, progress=progress):
            states[:, done : done + block.shape[1]] = block
            done += block.shape[1]
        for (at, layer), (first, pooling) in itertools.product(enumerate(numbers), enumerate(poolings)):
            layer_ND = np.asarray(states[first * len(numbers) + at])
            vectors = {lang: layer_ND[end - len(texts[lang]) : end] for lang, end in ends.items()}
            sides = {way: list(_sides(vectors, rows, source, way)) for way in ways}
            for way, scoring in itertools.product(ways, scorings):
                name = "+".join([encoder.name, *(word for word, plain in ((pooling, "mean"), (scoring, "cosine"),
                                                                          (way, "raw")) if word != plain)])  # fmt: skip
                for lang, left_ND, right_ND in sides[way]:
                    there, back = precision_at_1(left_ND, right_ND, scoring=scoring, k=k)
                    where = None if layers is None else layer
                    found.append(Retrieval(name, lang, there, back, len(left_ND), where))
        del states
    return found


@dataclass(frozen=True)
class _Pairs:
    """Rows of the source's vectors and of a language's that translate each other; the first so many are searched."""

    source: NDArray[np.int64]
    own: NDArray[np.int64]
    searched: int


def _pairs(texts: Mapping[str, Mapping[str, str]], source: str, *, halved: bool, lir: bool) -> dict[str, _Pairs]:
    places = {name: row for row, name in enumerate(texts[source])}
    found = {}
    for lang, by_id in texts.items():
        if lang == source:
            continue
        own = np.array([row for row, name in enumerate(by_id) if name in places], dtype=np.int64)
        if not len(own):
            raise DataError(f"no text of {lang!r} has an id of {source!r}", expected="parallel texts with common ids")
        if halved and len(own) < 6:
            raise DataError(
                f"{len(own)} texts of {lang!r} have an id of {source!r}",
                expected="at least 6, half of which a projection is learned from; hundreds are usual",
            )
        theirs = np.array([places[name] for name in by_id if name in places], dtype=np.int64)
        if lir and len(own) // (2 if halved else 1) < 2:
            raise DataError(
                f"a single text of {lang!r} to search", expected="two, of whose vectors a direction can be taken off"
            )
        found[lang] = _Pairs(theirs, own, searched=len(own) // 2 if halved else len(own))
    return found


def _sides(
    vectors: Mapping[str, Vectors], rows: Mapping[str, _Pairs], source: str, way: str
) -> Iterator[tuple[str, Vectors, Vectors]]:
    """Language, the source's vectors and its own, row i of one translating row i of the other."""
    directions_DR = None
    if way == "lsar":
        asked = {lang: vectors[lang][pairs.own[: pairs.searched]] for lang, pairs in rows.items()}
        asked[source] = vectors[source][sorted({i for pairs in rows.values() for i in pairs.source[: pairs.searched]})]
        directions_DR = language_subspace(np.stack([own.mean(axis=0, dtype=np.float64) for own in asked.values()]))
    for lang, pairs in rows.items():
        left_ND, right_ND = vectors[source][pairs.source], vectors[lang][pairs.own]
        left, right = left_ND[: pairs.searched], right_ND[: pairs.searched]
        if way in ("centred", "projected"):
            left, right = centred(left), centred(right)
        if way == "projected":
            rest = slice(pairs.searched, None)
            right = right @ projection(centred(right_ND[rest]), centred(left_ND[rest]))
        elif way == "lir":
            left, right = lir(left), lir(right)
        elif directions_DR is not None:
            left, right = without(left, directions_DR), without(right, directions_DR)
        yield lang, left, right
