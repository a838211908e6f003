"""What ``interlingua probe words`` has beside the layers: static vectors trained on the same texts, and its figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from interlingua.probe.mapping import Mapped
    from interlingua.probe.words import WordTranslation, WordVectors
    from interlingua.text.lexicons import LexiconEntry

__all__ = ["Trained", "as_it_is_and_turned", "check_static", "draw_words", "train_static", "translate_static"]


@dataclass(frozen=True)
class Trained:
    """Static vectors of two languages.

    Attributes:
        way: how they were trained.
        sides: of each language the words, most frequent first, and their vectors [V, D].
        mapped: both in one space, None where that cannot be learned.
    """

    way: str
    sides: tuple[tuple[list[str], NDArray[Any]], ...]
    mapped: Mapped | None


def check_static(static: str) -> list[str]:
    """Names of ways to train static vectors.

    Raises:
        typer.BadParameter: one that there is not.
    """
    from interlingua.probe.static import STATIC

    names = [name for name in static.split(",") if name]
    if unknown := [name for name in names if name not in STATIC]:
        raise typer.BadParameter(f"--static {unknown[0]!r}: expected {', '.join(STATIC)}")
    return names


def train_static(
    ways: Sequence[str], texts: Iterable[tuple[str, str]], tags: tuple[str, str], *, width: int, epochs: int
) -> list[Trained]:
    """Train static vectors, and map each two languages' onto each other without a lexicon.

    Args:
        ways: names of :data:`interlingua.probe.static.STATIC`.
        texts: (language, text), those that the contextual vectors are read from.
        tags: the languages, the source first.
        width: of the vectors.
        epochs: passes over the texts.
    """
    from interlingua.cli.progress import Stages
    from interlingua.errors import DataError
    from interlingua.probe.mapping import map_unsupervised
    from interlingua.probe.static import plain_words, static_vectors

    sentences: dict[str, list[list[str]]] = {lang: [] for lang in tags}
    for lang, text in texts:
        sentences[lang].append(plain_words(text, lang))
    found = []
    with Stages() as stages:
        for way in ways:
            sides = tuple(static_vectors(way, own, width=width, epochs=epochs) for own in sentences.values())
            told = f"{way}: vectors of {' and '.join(f'{len(names):,}' for names, _ in sides)} words"
            mapped = None
            try:
                mapped = map_unsupervised(sides[0][1], sides[1][1])
            except DataError as error:
                # A map asks more of the vectors than the other arms, which stand without it.
                stages.say(f"{told}; {way}+vecmap left out: {error.found}, expected {error.expected}")
            else:
                stages.say(f"{told}; mapped without a lexicon in {mapped.iterations} iterations,"
                           f" to a mean cosine of {mapped.agreement:.3f}")  # fmt: skip
            found.append(Trained(way, sides, mapped))
    return found


def translate_static(
    trained: Iterable[Trained],
    contextual: Mapping[str, WordVectors],
    entries: Sequence[LexiconEntry],
    *,
    scorings: Sequence[str],
    every_part: bool,
) -> list[WordTranslation]:
    """Translate the words that have contextual vectors by static ones.

    As they are; turned by Procrustes on the lexicon's part ``train``, where it has one that is not asked; and mapped
    without the lexicon.

    Args:
        trained: static vectors.
        contextual: language -> vectors; the source first.
        entries: the lexicon.
        scorings: ``cosine``, ``csls``.
        every_part: ask the words of all parts.
    """
    import numpy as np

    from interlingua.probe.words import WordVectors, translate_words

    found = []
    for one in trained:
        plain, together = [], []
        spaces = (one.mapped.source, one.mapped.target) if one.mapped else (None, None)
        for (names, vectors_VD), mapped_VD, like in zip(one.sides, spaces, contextual.values(), strict=True):
            # Words with a contextual vector only, so that both are asked the same.
            asked = set(like.words)
            kept = [i for i, name in enumerate(names) if name in asked]
            counts = np.ones(len(kept), dtype=np.int64)
            side = WordVectors(tuple(names[i] for i in kept), counts, vectors_VD[None, kept])
            plain.append(side)
            if mapped_VD is not None:
                together.append(replace(side, vectors=mapped_VD[None, kept]))
        found += as_it_is_and_turned(one.way, plain[0], plain[1], entries, scorings=scorings, every_part=every_part)
        if together:
            found += translate_words(
                together[0], together[1], entries, model=f"{one.way}+vecmap", scorings=scorings, every_part=every_part
            )
    return found


def as_it_is_and_turned(
    model: str,
    source: WordVectors,
    target: WordVectors,
    entries: Sequence[LexiconEntry],
    *,
    scorings: Sequence[str],
    every_part: bool,
) -> list[WordTranslation]:
    """Translate words by static vectors, and by these turned by Procrustes on the lexicon's part ``train``.

    Where all parts are asked, or no pair of that part has vectors on both sides, they are not turned; the latter is
    said.
    """
    from interlingua.cli.progress import Stages
    from interlingua.probe.words import learnable, translate_words

    turned = not every_part and learnable(source, target, entries) > 0
    if not (turned or every_part):
        train = sum(entry.part == "train" for entry in entries)
        with Stages() as stages:
            stages.say(f"{model}+procrustes left out: none of {train:,} pairs to learn from is in the text")
    return [
        one
        for align in ((False, True) if turned else (False,))
        for one in translate_words(
            source, target, entries, model=model, scorings=scorings, every_part=every_part, align=align
        )
    ]


def draw_words(found: Sequence[WordTranslation], tags: tuple[str, str], path: Path) -> None:
    """Draw MRR by layer; static vectors, which have no layers, are level lines."""
    from interlingua.report.plots import layer_curves
    from interlingua.run import atomic_write

    layers = {one.layer for one in found if one.layer is not None}
    series: dict[str, dict[int, float]] = {}
    for one in found:
        for layer in layers if one.layer is None else [one.layer]:
            series.setdefault(one.model, {})[layer] = one.metrics["mrr"]
    title = f"Words translated by their vectors, {tags[0]}-{tags[1]}"
    atomic_write(path, layer_curves(series, "MRR", title=title).svg)
