"""The sources of a recipe as one stream of texts.

In: ``data`` of a pretraining recipe. Out: documents and translation groups, always in the same order; and a sample of
text per language for the vocabulary. Decision: the sample is a reservoir (every text of a language has the same
chance), so one pass in bounded memory serves a corpus of any size. Price: the corpus is read twice, once for the
vocabulary and once for the shards.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from interlingua.data import resolve
from interlingua.errors import LanguageError, RecipeError
from interlingua.recipe import DataRecipe
from interlingua.text.documents import UNDETERMINED, Document, read_documents
from interlingua.text.lines import ReadReport
from interlingua.text.pairs import Parallel, read_moses, read_pairs, read_parallel

__all__ = ["CorpusSample", "corpus_items", "sample_corpus"]


@dataclass
class CorpusSample:
    """What one pass over the corpus found.

    Attributes:
        texts: a uniform sample of texts by language.
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
        for document in read_documents(resolve(source.path), source.lang, report=report):
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


def sample_corpus(data: DataRecipe, *, characters: int, seed: int) -> CorpusSample:
    """Read the corpus once and keep a sample.

    Args:
        data: the sources.
        characters: code points kept a language, about.
        seed: of the reservoir.
    """
    sample = CorpusSample()
    chance = random.Random(seed)
    kept: dict[str, int] = {}
    for item in corpus_items(data, sample.report):
        texts = item.texts.items() if isinstance(item, Parallel) else ((item.lang, item.text),)
        for lang, text in texts:
            reservoir = sample.texts.setdefault(lang, [])
            count = sample.counts[lang] = sample.counts.get(lang, 0) + 1
            sample.characters[lang] = sample.characters.get(lang, 0) + len(text)
            if kept.get(lang, 0) < characters:
                reservoir.append(text)
                kept[lang] = kept.get(lang, 0) + len(text)
            elif (slot := chance.randrange(count)) < len(reservoir):
                kept[lang] += len(text) - len(reservoir[slot])
                reservoir[slot] = text
    return sample
