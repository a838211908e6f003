"""What ``interlingua probe words`` has beside the layers: static vectors trained on the same texts, and its figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from interlingua.probe.words import WordTranslation, WordVectors
    from interlingua.text.lexicons import LexiconEntry

__all__ = ["check_static", "draw_words", "trained_static"]


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


def trained_static(
    ways: Sequence[str],
    texts: Iterable[tuple[str, str]],
    contextual: Mapping[str, WordVectors],
    entries: Sequence[LexiconEntry],
    *,
    scorings: Sequence[str],
    every_part: bool,
    width: int,
    epochs: int,
) -> list[WordTranslation]:
    """Train static vectors, and translate the words that have contextual ones by them.

    As they are; turned by Procrustes on the lexicon's part ``train``, where it has one that is not asked; and mapped
    without the lexicon.

    Args:
        ways: names of :data:`interlingua.probe.static.STATIC`.
        texts: (language, text), those that the contextual vectors were read from.
        contextual: language -> vectors; the source first.
        entries: the lexicon.
        scorings: ``cosine``, ``csls``.
        every_part: ask the words of all parts.
        width: of the vectors.
        epochs: passes over the texts.
    """
    import numpy as np

    from interlingua.cli.progress import Stages
    from interlingua.probe.mapping import map_unsupervised
    from interlingua.probe.static import plain_words, static_vectors
    from interlingua.probe.words import WordVectors, translate_words

    sentences: dict[str, list[list[str]]] = {lang: [] for lang in contextual}
    for lang, text in texts:
        sentences[lang].append(plain_words(text, lang))
    taught = not every_part and any(entry.part == "train" for entry in entries)
    found = []
    with Stages() as stages:
        for way in ways:
            trained = [static_vectors(way, own, width=width, epochs=epochs) for own in sentences.values()]
            mapped = map_unsupervised(trained[0][1], trained[1][1])
            sizes = " and ".join(f"{len(names):,}" for names, _ in trained)
            stages.say(f"{way}: vectors of {sizes} words; mapped without a lexicon in {mapped.iterations} iterations,"
                       f" to a mean cosine of {mapped.agreement:.3f}")  # fmt: skip
            plain, together = [], []
            for (names, vectors_VD), mapped_VD, like in zip(
                trained, (mapped.source, mapped.target), contextual.values(), strict=True
            ):
                # Words with a contextual vector only, so that both are asked the same.
                asked = set(like.words)
                kept = [i for i, name in enumerate(names) if name in asked]
                counts = np.ones(len(kept), dtype=np.int64)
                side = WordVectors(tuple(names[i] for i in kept), counts, vectors_VD[None, kept])
                plain.append(side)
                together.append(replace(side, vectors=mapped_VD[None, kept]))
            for model, (source, target), align in (
                (way, plain, False),
                *([(way, plain, True)] if taught else []),
                (f"{way}+vecmap", together, False),
            ):
                found += translate_words(
                    source, target, entries, model=model, scorings=scorings, every_part=every_part, align=align
                )
    return found


def draw_words(found: Sequence[WordTranslation], tags: tuple[str, str], path: Path) -> None:
    """Draw MRR by layer; static vectors, which have no layers, are level lines."""
    from interlingua.report.plots import training_curve
    from interlingua.run import atomic_write

    layers = sorted({one.layer for one in found if one.layer is not None})
    series: dict[str, list[float | None]] = {}
    for one in found:
        places = range(len(layers)) if one.layer is None else [layers.index(one.layer)]
        values = series.setdefault(one.model, [None] * len(layers))
        for place in places:
            values[place] = one.metrics["mrr"]
    title = f"Words translated by their vectors, {tags[0]}-{tags[1]}"
    atomic_write(path, training_curve(layers, series, measure="MRR", axis="layer", title=title).svg)
