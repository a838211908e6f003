"""Sentence retrieval: is the nearest sentence of the other language the translation?

In: pairs of sentences by language (Tatoeba, FLORES-200, NTREX, TICO-19). Out: for every sentence the one it finds on
the other side, both ways, as P@1 scores and as XTREME's prediction files. Decision: a hit is the place of the
translation in the list, as in LASER and XTREME, not its text: of equal sentences one at most is right. Each different
text is run once, so equal texts have equal vectors and the first of them is found. Price: a set with repeated sentences
cannot reach 1.

LASER's Tatoeba error rate is that of both directions; XTREME's code (``similarity_search``) asks from English only,
``p1_from_source`` here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, LanguageError, nearest
from interlingua.languages import canonical
from interlingua.probe.alignment import centred
from interlingua.probe.neighbours import best_matches, check_scoring
from interlingua.probe.states import text_vectors
from interlingua.run import atomic_write
from interlingua.scores import Score
from interlingua.text.documents import table_cells
from interlingua.text.lines import ReadReport, check_file, nfc, numbered_lines
from interlingua.text.pairs import read_parallel

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = [
    "RETRIEVAL",
    "Retrieved",
    "SentenceSet",
    "read_sentence_sets",
    "retrieval_metrics",
    "retrieve_sentences",
    "variant",
    "write_tatoeba",
]

#: Its kind among those of tasks.
RETRIEVAL = "retrieve"


@dataclass(frozen=True)
class SentenceSet:
    """Sentences of a language and their translations.

    Attributes:
        language: canonical tag; the file's own code where two of its codes mean one tag.
        ids: one a pair.
        texts: sentences of the language.
        sources: their translations in the source language, in the same order.
        unmatched: sentences left out since the other side has none with their id.
    """

    language: str
    ids: list[str]
    texts: list[str]
    sources: list[str]
    unmatched: int = 0


@dataclass(frozen=True)
class Retrieved:
    """What each sentence of a set found.

    Attributes:
        model: name of the encoder and, behind ``+``, what was done to its vectors.
        pairs: the set.
        from_source: for each source sentence the place of the sentence found, int64 [N].
        to_source: for each sentence the place of the source sentence found, int64 [N].
    """

    model: str
    pairs: SentenceSet
    from_source: NDArray[np.int64] = field(repr=False)
    to_source: NDArray[np.int64] = field(repr=False)

    def scores(self, task: str) -> list[Score]:
        """``p1_from_source``, ``p1_to_source`` and their mean ``p1``."""
        counts = self.counts()
        return [
            Score(self.model, task, self.pairs.language, "test", metric, value, len(counts))
            for metric, value in retrieval_metrics(counts.sum(axis=0)).items()
        ]

    def counts(self) -> NDArray[np.float64]:
        """What each pair adds to the metrics, [N, 3]: one, found from the source, found to it."""
        right = np.arange(len(self.pairs.ids))
        return np.stack([np.ones(len(right)), self.from_source == right, self.to_source == right], axis=1)


def retrieval_metrics(totals_K: NDArray[np.float64]) -> dict[str, float]:
    """Metrics from sums of :meth:`Retrieved.counts`."""
    count, *found = totals_K.tolist()
    there, back = (one / max(1.0, count) for one in found)
    return {"p1_from_source": there, "p1_to_source": back, "p1": (there + back) / 2}


def variant(model: str, scoring: str, *, centre: bool) -> str:
    """Name of a model in the rows: ``e5-small``, ``e5-small+centred``, ``e5-small+csls+centred``."""
    return model + ("" if scoring == "cosine" else f"+{scoring}") + ("+centred" if centre else "")


def read_sentence_sets(
    path: Path,
    *,
    source: str = "en",
    languages: Iterable[str] = (),
    limit: int = 0,
    report: ReadReport | None = None,
) -> list[SentenceSet]:
    """Sentence pairs by language.

    Args:
        path: TSV (also ``.gz``, ``.zst``) with a header: ``lang, id, text, english`` (each language with its own
            English side), ``lang, id, text`` (sentences with one id translate each other), or ``id`` and a column a
            language; or a folder of LASER's Tatoeba files (``tatoeba.deu-eng.deu``, ``tatoeba.deu-eng.eng``: a sentence
            a line).
        source: the language searched from and to.
        languages: only these; all if there are none.
        limit: pairs a language at most, the file's first; 0 for all.
        report: receives the counts; rows with a blank side are counted there.

    Raises:
        DataError: unreadable, an id twice in a language, or a language without an id of the source.
        LanguageError: an unknown tag, or a language that the file does not have.
    """
    counts = report if report is not None else ReadReport()
    source = canonical(source)
    if path.is_dir():
        header, rows = ["english"], _laser(path, counts, source)
    else:
        check_file(path)
        header = next((cells for _, cells in table_cells(path, ReadReport(), "raise")), [])
        rows = _columns(path, counts) if header[:1] == ["id"] else _table(path, header, counts, source)
    texts: dict[str, dict[str, tuple[str, str]]] = {}
    for code, name, text, english in rows:
        own = texts.setdefault(code, {})
        if name in own:
            raise DataError(f"the id {name!r} twice in {code!r}", expected="an id for each sentence", where=str(path))
        own[name] = (text, english)
    counts.finish(path)
    tags = _tags(texts)
    if "english" not in header:
        texts = _joined(texts, tags, source, path)
    return _chosen(texts, tags, source, languages, limit, path)


def _laser(folder: Path, counts: ReadReport, source: str) -> Iterator[tuple[str, str, str, str]]:
    """Pairs of files, a sentence a line; each language has its own English side."""
    files = sorted(file for file in folder.glob("tatoeba.*-eng.*") if file.suffix != ".eng")
    if not files or source != "en":
        raise DataError(
            f"{len(files)} files tatoeba.LANG-eng.LANG, and source {source!r}",
            expected="LASER's folder data/tatoeba/v1, searched from and to English",
            where=str(folder),
        )
    for file in files:
        sides = [[nfc(line) for _, line in numbered_lines(one, counts)] for one in (file, file.with_suffix(".eng"))]
        if len(sides[0]) != len(sides[1]):
            raise DataError(f"{len(sides[0])} and {len(sides[1])} lines", expected="a translation in each line",
                            where=f"{file}; {file.with_suffix('.eng')}")  # fmt: skip
        for number, (text, english) in enumerate(zip(*sides, strict=True)):
            if text and english:
                counts.rows += 1
                yield file.suffix[1:], str(number), text, english
            else:
                counts.blank += 1


def _columns(path: Path, counts: ReadReport) -> Iterator[tuple[str, str, str, str]]:
    for row in read_parallel(path, report=counts):
        for lang, text in row.texts.items():
            yield lang, row.id, text, ""


def _table(path: Path, header: list[str], counts: ReadReport, source: str) -> Iterator[tuple[str, str, str, str]]:
    missing = [name for name in ("lang", "id", "text") if name not in header]
    if missing:
        raise DataError(
            f"header {header!r} without {', '.join(missing)}",
            expected="'lang, id, text, english', 'lang, id, text', or 'id' and a column a language",
            where=f"{path}, line 1",
        )
    if "english" in header and source != "en":
        raise LanguageError(f"source {source!r} with a column 'english'", expected="en", where=str(path))
    places = [header.index(name) for name in ("lang", "id", "text")]
    english = header.index("english") if "english" in header else None
    for _, cells in itertools.islice(table_cells(path, counts, "raise"), 1, None):
        code, name, text = (cells[place].strip() for place in places)
        sides = nfc(text), "" if english is None else nfc(cells[english])
        if not sides[0] or (english is not None and not sides[1]):
            counts.blank += 1
            continue
        counts.rows += 1
        yield code, name, *sides


def _tags(codes: Iterable[str]) -> dict[str, str]:
    """Code of the file -> name of the language; the second of two codes that mean one tag keeps its own spelling."""
    tags: dict[str, str] = {}
    for code in codes:
        tag = canonical(code)
        tags[code] = code if tag in tags.values() else tag
    return tags


_Sides = dict[str, dict[str, tuple[str, str]]]


def _joined(texts: _Sides, tags: dict[str, str], source: str, path: Path) -> _Sides:
    """Texts of the source language put beside those with the same id; a side that is missing stays empty."""
    own = next((code for code, tag in tags.items() if tag == source), None)
    if own is None:
        raise LanguageError(f"no text in {source!r}", expected=f"one of {', '.join(tags.values())}", where=str(path))
    english = texts[own]
    return {
        code: {name: (text, english[name][0] if name in english else "") for name, (text, _) in by_id.items()}
        for code, by_id in texts.items()
        if code != own
    }


def _chosen(
    texts: _Sides, tags: dict[str, str], source: str, languages: Iterable[str], limit: int, path: Path
) -> list[SentenceSet]:
    names = [tags[code] for code in texts]
    # A code of the file that gave up its tag is still asked for by its own name.
    wanted = {lang if lang in names else canonical(lang) for lang in languages} - {source}
    for lang in sorted(wanted - set(names)):
        raise LanguageError(
            f"no sentences in {lang!r}{nearest(lang, names)}", expected=f"one of {', '.join(names)}", where=str(path)
        )
    sets = []
    for code, by_id in texts.items():
        if wanted and tags[code] not in wanted:
            continue
        pairs = [(name, text, other) for name, (text, other) in by_id.items() if other]
        if not pairs:
            raise DataError(
                f"no sentence of {code!r} has an id of {source!r}",
                expected="sentences with common ids",
                where=str(path),
            )
        ids, own, others = (list(side) for side in zip(*pairs[: limit or None], strict=True))
        sets.append(SentenceSet(tags[code], ids, own, others, len(by_id) - len(pairs)))
    return sets


def retrieve_sentences(
    encoder: Encoder,
    sets: Sequence[SentenceSet],
    *,
    scorings: Sequence[str] = ("cosine",),
    k: int | None = None,
    centre: bool = False,
    layer: int | None = None,
    progress: Callable[[int], Any] | None = None,
) -> list[Retrieved]:
    """What every sentence finds on the other side, for each set and scoring.

    Args:
        encoder: any encoder.
        sets: sentence pairs by language.
        scorings: of :data:`interlingua.probe.SCORINGS`.
        k: neighbours that the margins look at, instead of their own number.
        centre: also with the mean of each side's vectors taken off (no labels needed).
        layer: which layer's states; None for the encoder's own sentence vectors.
        progress: called with the number of texts encoded.

    Raises:
        RecipeError: an unknown scoring, found before a text is run.
    """
    for scoring in scorings:
        check_scoring(scoring, k)
    texts = itertools.chain.from_iterable((*one.sources, *one.texts) for one in sets)
    vectors = text_vectors(encoder, texts, layer=layer, progress=progress)
    found = []
    for one in sets:
        plain = (vectors.of(one.sources), vectors.of(one.texts))
        for centre_now in (False, True) if centre else (False,):
            source_ND, target_ND = (centred(plain[0]), centred(plain[1])) if centre_now else plain
            for scoring in scorings:
                there, back = best_matches(source_ND, target_ND, scoring=scoring, k=k)
                name = variant(encoder.name, scoring, centre=centre_now)
                found.append(Retrieved(name, one, there.index, back.index))
    return found


def write_tatoeba(folder: Path, found: Iterable[Retrieved], *, name: str = "tatoeba") -> list[Path]:
    """Prediction files as XTREME's ``evaluate.py`` reads them: ``tatoeba/test-xx.tsv``, or in a folder of another name.

    A line an English sentence, in the order of its characters' code points, since XTREME's data are handed out so;
    on it the place, counted from 0, of the sentence found.
    """
    files = []
    for one in found:
        order = sorted(range(len(one.pairs.sources)), key=lambda i: one.pairs.sources[i])
        file = folder / name / f"test-{one.pairs.language}.tsv"
        atomic_write(file, "".join(f"{one.from_source[i]}\n" for i in order))
        files.append(file)
    return files
