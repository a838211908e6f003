"""Bitext mining: which sentences of two lists translate each other?

In: two lists of sentences with ids and, for scoring, the true pairs (BUCC 2018). Out: candidate pairs by margin, a
threshold, the pairs above it, precision, recall and F1. Decision: the protocol of BUCC as LASER and XTREME run it:
repeated sentences are searched once, the threshold is the one that is best on a part with known pairs and is then
applied to the other part, and a pair with a sentence that stands under several ids is not handed in, since nobody can
say which id is meant. Price: those pairs count as missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, RecipeError, nearest
from interlingua.languages import canonical
from interlingua.probe.alignment import centred
from interlingua.probe.neighbours import best_matches, check_scoring
from interlingua.probe.states import text_vectors
from interlingua.run import atomic_write
from interlingua.scores import Score
from interlingua.text.lines import ReadReport, nfc, numbered_lines

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = [
    "RETRIEVALS",
    "Bitext",
    "Candidates",
    "best_threshold",
    "candidates",
    "mine",
    "mining_scores",
    "read_bitext",
    "write_bucc",
]

RETRIEVALS = ("max", "forward", "backward", "intersection")

_Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Bitext:
    """Two lists of sentences.

    Attributes:
        languages: tags of the two sides.
        sources: id -> sentence.
        targets: id -> sentence.
        gold: true pairs of ids, or None where they are not known.
    """

    languages: tuple[str, str]
    sources: dict[str, str]
    targets: dict[str, str]
    gold: frozenset[tuple[str, str]] | None = None


@dataclass(frozen=True)
class Candidates:
    """Pairs, best first.

    Attributes:
        pairs: ids.
        scores: one a pair.
        repeated: pairs left out since a sentence of theirs stands under several ids.
    """

    pairs: list[tuple[str, str]]
    scores: list[float]
    repeated: int = 0

    def above(self, threshold: float) -> list[tuple[str, str]]:
        """The pairs that reach a threshold."""
        return [pair for pair, score in zip(self.pairs, self.scores, strict=True) if score >= threshold]


def read_bitext(stem: Path, part: str) -> Bitext:
    """Read ``STEM.PART.xx``, ``STEM.PART.yy`` and, if it is there, ``STEM.PART.gold``; ``STEM`` ends with ``xx-yy``.

    Each is plain, ``.gz`` or ``.zst``. Sentences stand as ``id<TAB>text``, pairs as ``id<TAB>id``.

    Raises:
        DataError: a missing or unreadable file, an id twice, or a pair with an id that no list has.
        LanguageError: an unknown tag.
    """
    codes = stem.name.split("-")
    if len(codes) != 2:
        raise DataError(f"{stem.name!r}", expected="a path that ends with two languages, as bucc2018/de-en")
    sources, targets = (_sentences(_file(stem, part, code)) for code in codes)
    file = _file(stem, part, "gold")
    pairs = None
    if file.is_file():
        pairs = frozenset((left, right) for _, left, right in _two_columns(file))
        for left, right in pairs:
            lost = left if left not in sources else right if right not in targets else None
            if lost is not None:
                raise DataError(
                    f"the pair {left!r}, {right!r} names {lost!r}, which is in no list",
                    expected="ids of the two lists, the one of the first language first",
                    where=str(file),
                )
    return Bitext((canonical(codes[0]), canonical(codes[1])), sources, targets, pairs)


def _file(stem: Path, part: str, ending: str) -> Path:
    plain = stem.with_name(f"{stem.name}.{part}.{ending}")
    packed = (plain.with_name(plain.name + suffix) for suffix in (".zst", ".gz"))
    return next((file for file in packed if file.is_file()), plain)


def _two_columns(file: Path) -> list[tuple[int, str, str]]:
    rows = []
    for number, line in numbered_lines(file, ReadReport()):
        if not line.strip():
            continue
        first, tab, second = line.partition("\t")
        if not tab or not first.strip() or not second.strip():
            raise DataError(
                f"{line[:80]!r}", expected="an id, a tab, and a text or an id", where=f"{file}, line {number}"
            )
        rows.append((number, first.strip(), nfc(second)))
    if not rows:
        raise DataError(f"no rows in {file.name!r}", expected="at least one", where=str(file))
    return rows


def _sentences(file: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, name, text in _two_columns(file):
        if name in texts:
            raise DataError(f"the id {name!r} twice", expected="an id a sentence", where=f"{file}, line {number}")
        texts[name] = text
    return texts


def candidates(
    source_ND: _Vectors, target_MD: _Vectors, *, scoring: str = "ratio", retrieval: str = "max", k: int | None = None
) -> list[tuple[float, int, int]]:
    """Candidate pairs of two lists of vectors (Artetxe and Schwenk 2019, section 3.2).

    Args:
        source_ND: vectors.
        target_MD: vectors of the other side.
        scoring: as in :func:`interlingua.probe.best_matches`.
        retrieval: ``forward``, the best target of each source; ``backward``, the best source of each target;
            ``intersection``, pairs that are both; ``max``, both lists together, best first, each sentence once.
        k: neighbours instead of the scoring's own number.

    Returns:
        (score, source, target), best first; of equally good ones the forward one first, then by place.
    """
    _check_retrieval(retrieval)
    there, back = best_matches(source_ND, target_MD, scoring=scoring, k=k)
    forward = [(float(s), i, int(j)) for i, (s, j) in enumerate(zip(there.score, there.index, strict=True))]
    backward = [(float(s), int(i), j) for j, (s, i) in enumerate(zip(back.score, back.index, strict=True))]
    if retrieval == "intersection":
        forward = [pair for pair in forward if back.index[pair[2]] == pair[1]]
    pairs = {"backward": backward, "max": forward + backward}.get(retrieval, forward)
    pairs.sort(key=lambda pair: -pair[0])
    if retrieval != "max":
        return pairs
    seen_sources, seen_targets, once = set(), set(), []
    for pair in pairs:
        if pair[1] not in seen_sources and pair[2] not in seen_targets:
            seen_sources.add(pair[1])
            seen_targets.add(pair[2])
            once.append(pair)
    return once


def _check_retrieval(retrieval: str) -> None:
    if retrieval not in RETRIEVALS:
        raise RecipeError(
            f"retrieval {retrieval!r}{nearest(retrieval, RETRIEVALS)}",
            expected=f"one of {', '.join(RETRIEVALS)}",
            where="retrieval",
        )


def mine(
    encoder: Encoder,
    bitext: Bitext,
    *,
    scoring: str = "ratio",
    retrieval: str = "max",
    k: int | None = None,
    centre: bool = False,
    layer: int | None = None,
    progress: Callable[[int], Any] | None = None,
) -> Candidates:
    """Candidate pairs of ids.

    Args:
        encoder: any encoder.
        bitext: two lists.
        scoring: as in :func:`candidates`.
        retrieval: as in :func:`candidates`.
        k: as in :func:`candidates`.
        centre: take each side's mean vector off first.
        layer: which layer's states; None for the encoder's own sentence vectors.
        progress: called with the number of texts encoded.
    """
    check_scoring(scoring, k)
    _check_retrieval(retrieval)
    sides = [list(dict.fromkeys(texts.values())) for texts in (bitext.sources, bitext.targets)]
    vectors = text_vectors(encoder, sides[0] + sides[1], layer=layer, progress=progress)
    left, right = (centred(vectors.of(side)) if centre else vectors.of(side) for side in sides)
    ids = [_ids_of_single(texts) for texts in (bitext.sources, bitext.targets)]
    pairs, scores, repeated = [], [], 0
    for score, i, j in candidates(left, right, scoring=scoring, retrieval=retrieval, k=k):
        names = ids[0].get(sides[0][i]), ids[1].get(sides[1][j])
        if names[0] is None or names[1] is None:
            repeated += 1
            continue
        pairs.append((names[0], names[1]))
        scores.append(score)
    return Candidates(pairs, scores, repeated)


def _ids_of_single(texts: dict[str, str]) -> dict[str, str]:
    count = Counter(texts.values())
    return {text: name for name, text in texts.items() if count[text] == 1}


def best_threshold(found: Candidates, gold: frozenset[tuple[str, str]]) -> float:
    """The threshold whose pairs have the best F1, half way to the next lower score; infinite if no pair is right.

    Of equally good ones the highest. Cuts stand only between different scores, so the F1 is reached.
    """
    best, threshold, right = 0.0, float("inf"), 0
    for count, (pair, score) in enumerate(zip(found.pairs, found.scores, strict=True), start=1):
        right += pair in gold
        below = found.scores[count] if count < len(found.scores) else score
        if below == score and count < len(found.scores):
            continue
        # F1 = 2 P R / (P + R), with P = right / count and R = right / gold.
        f1 = 2 * right / (count + len(gold))
        if f1 > best:
            best, threshold = f1, (score + below) / 2
    return threshold


def mining_scores(
    extracted: Sequence[tuple[str, str]], bitext: Bitext, *, model: str, part: str, task: str = "bucc2018"
) -> list[Score]:
    """Precision, recall and F1 of the pairs handed in; ``n`` is the number of true pairs.

    Raises:
        DataError: the true pairs are not known.
    """
    if not bitext.gold:
        raise DataError("no true pairs to score against", expected="a file .gold beside the two lists")
    right = len(bitext.gold.intersection(extracted))
    values = {
        "precision": right / len(extracted) if extracted else 0.0,
        "recall": right / len(bitext.gold),
        "f1": 2 * right / (len(extracted) + len(bitext.gold)),
    }
    lang = bitext.languages[0] if bitext.languages[1] == "en" else "-".join(bitext.languages)
    return [Score(model, task, lang, part, metric, value, len(bitext.gold)) for metric, value in values.items()]


def write_bucc(folder: Path, language: str, extracted: Sequence[tuple[str, str]]) -> Path:
    """The pairs as XTREME's ``evaluate.py`` reads them: ``bucc2018/test-xx.tsv``, ``id<TAB>id`` a line."""
    file = folder / "bucc2018" / f"test-{language}.tsv"
    atomic_write(file, "".join(f"{left}\t{right}\n" for left, right in extracted))
    return file
