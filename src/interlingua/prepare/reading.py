"""Any file of a corpus as a stream of texts.

A part of the plan flows in; `Text` flows out, each with the language it claims and, where texts translate each other,
the number of the unit they share. Decision: the readers of `interlingua.text` do the work, and the suffix decides
which; what cannot be read is counted in the report and, if the recipe says so, stops the build. Price: a damaged
archive gives what stands before the damage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from interlingua.errors import DataError
from interlingua.prepare.catalogues import read_catalogue
from interlingua.prepare.plan import Part
from interlingua.prepare.web import read_web
from interlingua.recipe_corpus import CorpusRecipe, CorpusSource
from interlingua.text.documents import UNDETERMINED, read_documents
from interlingua.text.lines import ReadReport, file_kind, numbered_lines
from interlingua.text.pairs import read_pairs, read_parallel

__all__ = ["ReadCounts", "Text", "blocks", "read_part"]

_BLOCK_TEXTS, _BLOCK_CHARACTERS = 8192, 2_000_000


@dataclass(slots=True)
class Text:
    """One text on its way.

    Attributes:
        text: as read, later cleaned.
        lang: language it claims, later the one it is in; ``und``: none.
        source: file, or what the row itself names.
        document: name of the document it is a part of; empty: it is one.
        unit: texts with the same number translate each other; -1: none do.
        dropped: why it is not kept; empty: it is.
    """

    text: str
    lang: str
    source: str
    document: str = ""
    unit: int = -1
    dropped: str = ""


@dataclass(slots=True)
class ReadCounts:
    """What reading met: see `ReadReport`, and ``files`` that were damaged."""

    rows: int = 0
    blank: int = 0
    missing: int = 0
    bad: int = 0
    files: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, other: ReadCounts, most: int) -> None:
        """Add what was met later, with at most so many examples in all."""
        for name in ("rows", "blank", "missing", "bad", "files"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.examples.extend(other.examples[: max(0, most - len(self.examples))])


def read_part(part: Part, recipe: CorpusRecipe, counts: ReadCounts) -> Iterator[Text]:
    """Read one part of the plan.

    Raises:
        DataError: something cannot be read, and the recipe says ``on_bad: raise``.
    """
    report = ReadReport()
    source = recipe.sources[part.source]
    try:
        yield from _numbered(_rows(part, source, recipe, report))
    except DataError as error:
        if recipe.on_bad == "raise":
            raise
        counts.files += 1
        counts.examples.append(str(error))
    finally:
        cut = f" (lines counted from byte {part.span[0]})" if part.span and part.span[0] else ""
        counts.rows += report.rows
        counts.blank += report.blank
        counts.missing += report.missing
        counts.bad += report.bad
        counts.examples.extend(f"{example}{cut}" for example in report.examples)


def _numbered(rows: Iterable[tuple[Text, bool]]) -> Iterator[Text]:
    """Give the parts of a document their common name, and those of a unit a number."""
    held: Text | None = None
    number = 0
    try:
        for text, continues in rows:
            if held is not None:
                if continues:
                    if not held.document:
                        number += 1
                        held.document = str(number)
                    text.document = held.document
                yield held
            held = text
    except DataError:
        # What was read before the damage counts, the text that is held back too.
        if held is not None:
            yield held
        raise
    if held is not None:
        yield held


def _rows(part: Part, source: CorpusSource, recipe: CorpusRecipe, report: ReadReport) -> Iterator[tuple[Text, bool]]:
    path = Path(part.path)
    kind = file_kind(path)
    on_bad = recipe.on_bad
    if kind in (".po", ".mo"):
        sides = read_catalogue(path, source.lang or "en", source.target_lang, report)
        yield from _units(sides, path.name)
    elif kind in (".warc", ".wet"):
        for text, url in read_web(path, report, on_bad):
            yield Text(text, source.lang or UNDETERMINED, url), False
    elif kind == ".tmx" or (source.lang and source.target_lang):
        if not (source.lang and source.target_lang):
            raise DataError(
                f"pairs in {path.name!r} without their languages", expected="lang and target_lang", where="sources"
            )
        pairs = read_pairs(path, source.lang, source.target_lang, on_bad=on_bad, report=report)
        yield from _units(({p.source_lang: p.source, p.target_lang: p.target} for p in pairs), path.name)
    elif kind == ".tsv" and _is_parallel(path):
        yield from _units((row.texts for row in read_parallel(path, on_bad=on_bad, report=report)), path.name)
    else:
        for document in read_documents(
            path, source.lang, paragraphs=source.paragraphs, on_bad=on_bad, report=report, span=part.span
        ):
            yield Text(document.text, document.lang, document.source), document.continues


def _units(units: Iterable[dict[str, str]], name: str) -> Iterator[tuple[Text, bool]]:
    for number, texts in enumerate(units):
        for lang, text in texts.items():
            yield Text(text, lang, name, unit=number), False


def _is_parallel(path: Path) -> bool:
    first = next(numbered_lines(path, ReadReport(), "count"), (0, ""))[1]
    return first.split("\t")[0].strip().lower() == "id"


def blocks(texts: Iterable[Text], *, size: int = _BLOCK_TEXTS) -> Iterator[list[Text]]:
    """Cut a stream where a unit ends, about every ``size`` texts or two million characters."""
    block: list[Text] = []
    characters = 0
    for text in texts:
        if (len(block) >= size or characters >= _BLOCK_CHARACTERS) and (text.unit < 0 or text.unit != block[-1].unit):
            yield block
            block, characters = [], 0
        block.append(text)
        characters += len(text.text)
    if block:
        yield block
