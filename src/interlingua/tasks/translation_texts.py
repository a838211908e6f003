"""What a translator learns from: pairs and texts of a recipe, read and tokenised once.

In: the files of a recipe. Out: pairs by direction, texts by language, held-out pairs; then :class:`Sides` of token ids.
Decisions: everything is in memory; a side longer than allowed is cut and counted, never dropped, and so are blank rows
counted. Price: some hundred bytes a pair.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from interlingua.corpus import corpus_items
from interlingua.data import resolve
from interlingua.errors import DataError
from interlingua.objectives.translate import Sides
from interlingua.recipe import DataRecipe, PairSource
from interlingua.recipe_translate import TranslateDataRecipe
from interlingua.text.documents import Document
from interlingua.text.lines import ReadReport
from interlingua.text.pairs import Pair, Parallel, read_parallel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Encoding", "TranslationTexts", "read_texts"]

T = TypeVar("T")


@dataclass
class TranslationTexts:
    """What was read.

    Attributes:
        pairs: source and target, in every direction that is learnt.
        texts: by language, each once; empty where no objective learns from texts alone.
        dev: held-out pairs, in every direction that is learnt.
        blank: rows without text in one of the languages, not used.
    """

    pairs: list[Pair] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    dev: list[Pair] = field(default_factory=list)
    blank: int = 0

    @property
    def languages(self) -> list[str]:
        """Languages that are written, those of the pairs first."""
        return list(dict.fromkeys([*(pair.target_lang for pair in self.pairs), *self.texts]))

    @property
    def read(self) -> list[str]:
        """Languages that are only read."""
        return sorted({pair.source_lang for pair in (*self.pairs, *self.dev)} - set(self.languages))


def read_texts(data: TranslateDataRecipe, *, alone: bool) -> TranslationTexts:
    """Read all files of a recipe.

    Args:
        data: the files.
        alone: texts are also learnt from without their translations.

    Raises:
        DataError: missing, empty or uneven files, or a parallel file without two of the languages.
        LanguageError: a text whose language neither its row nor the recipe names.
    """
    report = ReadReport()
    forward: list[Pair] = []
    dev: list[Pair] = []
    for source in data.pairs:
        forward += _limited(_read_pairs(source, report), data.limit)
    for source in data.dev:
        dev += _read_pairs(source, report)
    for path in data.parallel:
        pairs = list(_limited(_read_columns(path, data.languages, report), data.limit))
        step = len(pairs) / data.held_out if data.held_out else 0.0
        chosen = {int(i * step) for i in range(min(data.held_out, len(pairs)))}
        for number, group in enumerate(pairs):
            (dev if number in chosen else forward).extend(group)
    both = data.directions == "both"
    found = TranslationTexts(
        [*forward, *map(_turned, forward)] if both else forward, dev=[*dev, *map(_turned, dev)] if both else dev
    )
    for document in _read_documents(data, report) if alone else ():
        found.texts.setdefault(document.lang, []).append(document.text)
    for pair in forward if alone and not data.texts else ():
        found.texts.setdefault(pair.source_lang, []).append(pair.source)
        found.texts.setdefault(pair.target_lang, []).append(pair.target)
    found.texts = {lang: list(dict.fromkeys(texts)) for lang, texts in found.texts.items()}
    found.blank = report.blank + report.missing
    return found


def _limited(rows: Iterable[T], limit: int) -> Iterator[T]:
    return itertools.islice(rows, limit or None)


def _turned(pair: Pair) -> Pair:
    return Pair(pair.target, pair.source, pair.target_lang, pair.source_lang, pair.origin, pair.line)


def _read_pairs(source: PairSource, report: ReadReport) -> Iterator[Pair]:
    for number, item in enumerate(corpus_items(DataRecipe(pairs=(source,)), report), start=1):
        assert isinstance(item, Parallel)
        left, right = item.texts[source.source_lang], item.texts[source.target_lang]
        yield Pair(left, right, source.source_lang, source.target_lang, source.path.name, number)


def _read_columns(path: str, languages: Sequence[str], report: ReadReport) -> Iterator[list[Pair]]:
    """Of every row the pairs of the first language with each other one."""
    file = resolve(path)
    some = False
    for number, row in enumerate(read_parallel(file, report=report), start=1):
        wanted = [lang for lang in (languages or tuple(row.texts)) if lang in row.texts]
        first, others = wanted[:1], wanted[1:]
        if not others or (languages and first != [languages[0]]):
            report.missing += 1
            continue
        some = True
        yield [Pair(row.texts[first[0]], row.texts[o], first[0], o, file.name, number) for o in others]
    if not some:
        raise DataError(
            f"no row with {languages[0] if languages else 'a first language'!r} and another of {list(languages)!r}",
            expected="a column for each of data.languages",
            where=str(path),
        )


def _read_documents(data: TranslateDataRecipe, report: ReadReport) -> Iterator[Document]:
    for source in data.texts:
        items = corpus_items(DataRecipe(texts=(source,)), report)
        yield from (item for item in _limited(items, data.limit) if isinstance(item, Document))


class Encoding:
    """Texts as ids; ``cut`` sides were longer than allowed, and ``empty`` rows come to no token at all.

    Args:
        tokenizer: of the network.
        languages: canonical tags, by index.
        longest: tokens of a side, specials included.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, languages: Sequence[str], *, longest: int) -> None:
        from interlingua.models.translator import frame

        self.cut = self.empty = 0
        self._tokenizer = tokenizer
        self._index = {lang: i for i, lang in enumerate(languages)}
        self._room = longest - len(frame(tokenizer)[0]) - 1

    def _ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        if not texts:
            return []
        rows: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        self.cut += sum(len(row) > self._room for row in rows)
        return [np.array(row[: self._room], dtype=np.int64) for row in rows]

    def pairs(self, pairs: Sequence[Pair]) -> list[Sides]:
        """Sources and targets."""
        sources, targets = self._ids([p.source for p in pairs]), self._ids([p.target for p in pairs])
        rows = [
            Sides((s, t), (self._index[p.source_lang], self._index[p.target_lang]))
            for p, s, t in zip(pairs, sources, targets, strict=True)
            if len(s) and len(t)
        ]
        self.empty += len(pairs) - len(rows)
        return rows

    def texts(self, lang: str, texts: Sequence[str]) -> list[Sides]:
        """Texts of one language, with the beginnings of their words."""
        from interlingua.vocab.words import WordStarts

        encoded = self._tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        starts = WordStarts(self._tokenizer)(ids, texts, lang, offsets)
        self.cut += sum(len(row) > self._room for row in ids)
        self.empty += sum(not row for row in ids)
        room = self._room
        return [
            Sides((np.array(row[:room], dtype=np.int64),), (self._index[lang],), begin[:room])
            for row, begin in zip(ids, starts, strict=True)
            if row
        ]
