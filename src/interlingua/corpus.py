"""The sources of a recipe as one stream of texts.

In: ``data`` of a pretraining recipe. Out: documents and translation groups, always in the same order; and a sample of
text for the vocabulary, in which languages have shares p^S. Decision: a text is kept if its random number lies under
its language's rate, and rates only fall while the corpus is read, so one pass in the sample's own memory serves a
corpus of any size. Price: the corpus is read twice, once for the vocabulary and once for the shards.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from interlingua.data import resolve
from interlingua.errors import LanguageError, RecipeError
from interlingua.languages import language
from interlingua.recipe import DataRecipe
from interlingua.text.documents import UNDETERMINED, Document, read_documents
from interlingua.text.lines import ReadReport
from interlingua.text.pairs import Parallel, read_moses, read_pairs, read_parallel

__all__ = ["CorpusSample", "corpus_items", "corpus_languages", "holds_documents", "sample_corpus"]


#: Texts of a source that are looked at for documents.
LOOK = 2_000
# The sample may outgrow its size by so much before it is thinned out: each thinning looks at all of it.
_SLACK = 1.25


@dataclass
class CorpusSample:
    """What one pass over the corpus found.

    Attributes:
        texts: a uniform sample of each language's texts, at least one.
        counts: texts by language.
        characters: code points by language.
        report: rows read, blank, bad.
    """

    texts: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    characters: dict[str, int] = field(default_factory=dict)
    report: ReadReport = field(default_factory=ReadReport)


def corpus_items(data: DataRecipe, report: ReadReport | None = None) -> Iterator[Document | Parallel]:
    """All documents, then all pairs, then all multi-parallel groups, in the recipe's order.

    Raises:
        DataError: a file that is missing, empty, undecodable or uneven.
        LanguageError: a text whose language neither its row nor the recipe names.
        RecipeError: no source at all.
    """
    if not (data.texts or data.pairs or data.parallel):
        raise RecipeError(
            "a recipe without text", expected="data.texts, data.pairs, data.parallel or data.shards", where="data"
        )
    report = report if report is not None else ReadReport()
    for source in data.texts:
        path = resolve(source.path)
        for document in read_documents(path, source.lang, paragraphs=source.paragraphs, report=report):
            if document.lang == UNDETERMINED:
                raise LanguageError(
                    f"a text without a language: {document.text[:40]!r}",
                    expected="a `lang` field in the row, or data.texts[].lang in the recipe",
                    where=f"{source.path}, line {document.line}",
                )
            yield document
    for pair in data.pairs:
        rows = (
            read_moses(resolve(pair.path), resolve(pair.target_path), pair.source_lang, pair.target_lang, report=report)
            if pair.target_path
            else read_pairs(resolve(pair.path), pair.source_lang, pair.target_lang, report=report)
        )
        for number, row in enumerate(rows):
            yield Parallel(str(number), {row.source_lang: row.source, row.target_lang: row.target})
    for path in data.parallel:
        yield from read_parallel(resolve(path), report=report)


def holds_documents(data: DataRecipe) -> bool:
    """Whether one of the first :data:`LOOK` texts of a source is part of a document of more than one unit."""
    sources = [data.model_copy(update={"texts": (source,), "pairs": (), "parallel": ()}) for source in data.texts]
    sources += [data.model_copy(update={"texts": (), "pairs": (), "parallel": (path,)}) for path in data.parallel]
    for source in sources:
        for item in itertools.islice(corpus_items(source), LOOK):
            # In doubt long: what is not divided after all is refused when the shards are there.
            long = isinstance(item, Document) and (
                1.2 * len(item.text.split()) > data.unit_tokens
                or (not language(item.lang).spaced and 1.2 * len(item.text) > data.unit_tokens)
            )
            if item.continues or long:
                return True
    return False


def corpus_languages(data: DataRecipe) -> list[str]:
    """Sorted tags of the languages that the corpus has text in; reads it once."""
    return sorted({lang for item in corpus_items(data) for lang, _ in _texts(item)})


def sample_corpus(data: DataRecipe, *, characters: int, exponent: float, seed: int) -> CorpusSample:
    """Read the corpus once and keep a sample.

    To fill its share n^S / Z of C characters, a language with n of them gives the part C n^(S-1) / Z of its texts; Z is
    the sum of n^S over all languages. With S <= 1 this rate falls with every text read, of this language or another, so
    what is dropped on the way would be dropped at the end as well.

    Args:
        data: the sources.
        characters: code points of the sample, about (C); a language with less text than its share has all of it there.
        exponent: S of p^S, from 0 to 1.
        seed: of the random numbers.
    """
    sample = CorpusSample()
    chance = random.Random(seed)
    kept: dict[str, list[tuple[float, str]]] = {}
    powers: dict[str, float] = {}  # n^S
    held, total = 0, 0.0  # characters in `kept`, and Z

    def rate(lang: str) -> float:
        return characters * powers[lang] / total / sample.characters[lang]

    def thin() -> int:
        for lang, rows in kept.items():
            limit = rate(lang)
            # A language that is there stays there, however small its share.
            kept[lang] = [row for row in rows if row[0] < limit] or rows[:1]
        return sum(len(text) for rows in kept.values() for _, text in rows)

    for item in corpus_items(data, sample.report):
        for lang, text in _texts(item):
            sample.counts[lang] = sample.counts.get(lang, 0) + 1
            sample.characters[lang] = sample.characters.get(lang, 0) + len(text)
            power = math.pow(sample.characters[lang], exponent)
            total += power - powers.get(lang, 0.0)
            powers[lang] = power
            rows = kept.setdefault(lang, [])
            if (number := chance.random()) < rate(lang) or not rows:
                rows.append((number, text))
                held += len(text)
            if held > _SLACK * characters:
                held = thin()
    thin()
    sample.texts = {lang: [text for _, text in rows] for lang, rows in kept.items()}
    return sample


def _texts(item: Document | Parallel) -> Iterable[tuple[str, str]]:
    return item.texts.items() if isinstance(item, Parallel) else ((item.lang, item.text),)
