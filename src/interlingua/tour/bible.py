"""The bundled Bible as data: what is pretrained on, what a task is taught with, what is scored.

In: verses in thirteen languages with their ids (``Matt.5.3``). Out: three disjoint sets of *whole chapters*: for
pretraining, for teaching and for testing. The task needs no annotator: which part of the Bible a verse stands in.
Decision: a chapter belongs to one set in every language, so no translation of a labelled or tested verse stands in
the pretraining text. Revelation has no label (it is neither a letter nor of the Old Testament's prophets) and is
used as text only.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interlingua.data import read_packed
from interlingua.run import atomic_write
from interlingua.tasks.texts import TextExample

__all__ = ["PARTS", "BibleSplit", "Verses", "split_bible", "write_verses"]

#: Verse id -> language -> text.
Verses = Mapping[str, Mapping[str, str]]

#: Part of the Bible by book, in the order of the Protestant canon.
PARTS: dict[str, tuple[str, ...]] = {
    "law": ("Gen", "Exod", "Lev", "Num", "Deut"),
    "history": ("Josh", "Judg", "Ruth", "1Sam", "2Sam", "1Kgs", "2Kgs", "1Chr", "2Chr", "Ezra", "Neh", "Esth"),
    "wisdom": ("Job", "Ps", "Prov", "Eccl", "Song"),
    "prophets": (
        "Isa", "Jer", "Lam", "Ezek", "Dan", "Hos", "Joel", "Amos", "Obad", "Jonah", "Mic", "Nah", "Hab", "Zeph", "Hag",
        "Zech", "Mal",
    ),
    "gospels and acts": ("Matt", "Mark", "Luke", "John", "Acts"),
    "letters": (
        "Rom", "1Cor", "2Cor", "Gal", "Eph", "Phil", "Col", "1Thess", "2Thess", "1Tim", "2Tim", "Titus", "Phlm", "Heb",
        "Jas", "1Pet", "2Pet", "1John", "2John", "3John", "Jude",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class BibleSplit:
    """The verses by use.

    Attributes:
        languages: canonical tags, English first.
        pretrain: verse id -> language -> text.
        teach: labelled English verses.
        teach_verses: verse id -> language -> text of the teaching chapters.
        test: labelled verses of all languages.
        test_verses: verse id -> language -> text of the test chapters, for retrieval.
    """

    languages: list[str]
    pretrain: dict[str, dict[str, str]] = field(default_factory=dict)
    teach: list[TextExample] = field(default_factory=list)
    teach_verses: dict[str, dict[str, str]] = field(default_factory=dict)
    test: list[TextExample] = field(default_factory=list)
    test_verses: dict[str, dict[str, str]] = field(default_factory=dict)


def part_of(verse: str) -> str | None:
    """The part of the Bible a verse stands in, None for Revelation."""
    book = verse.split(".", 1)[0]
    return next((part for part, books in PARTS.items() if book in books), None)


def read_verses() -> tuple[list[str], dict[str, dict[str, str]]]:
    """Languages, and all bundled verses: id -> language -> text (missing ones left out)."""
    lines = read_packed("bible.tsv.zst").splitlines()
    languages = lines[0].split("\t")[1:]
    verses = {}
    for line in lines[1:]:
        verse, *texts = line.split("\t")
        verses[verse] = {lang: text for lang, text in zip(languages, texts, strict=True) if text}
    return languages, verses


def split_bible(*, seed: int = 0, teach_share: float = 0.12, test_share: float = 0.08, tested: int = 600) -> BibleSplit:
    """Split the chapters.

    Args:
        seed: which chapters.
        teach_share: share of each part's chapters for teaching.
        test_share: share of each part's chapters for testing.
        tested: test verses a language, drawn from the test chapters alike from all parts it has.
    """
    languages, verses = read_verses()
    chapters: dict[str, list[str]] = {}
    for verse in verses:
        part = part_of(verse)
        chapter = verse.rsplit(".", 1)[0]
        if part and chapter not in chapters.setdefault(part, []):
            chapters[part].append(chapter)
    chance = random.Random(seed)
    use: dict[str, str] = {}
    for part in PARTS:
        shuffled = chance.sample(chapters[part], len(chapters[part]))
        taught, test = round(teach_share * len(shuffled)), round(test_share * len(shuffled))
        use |= dict.fromkeys(shuffled[:taught], "teach") | dict.fromkeys(shuffled[taught : taught + test], "test")
    split = BibleSplit(languages)
    held: dict[str, dict[str, str]] = {}
    for verse, texts in verses.items():
        where = use.get(verse.rsplit(".", 1)[0], "pretrain")
        if where == "pretrain":
            split.pretrain[verse] = texts
        elif where == "test":
            held[verse] = texts
        elif part := part_of(verse):
            split.teach_verses[verse] = texts
            if "en" in texts:
                split.teach.append(TextExample(texts["en"], "en", part, where=verse))
    split.test_verses.update(held)
    for lang in languages:
        split.test.extend(_tested(held, lang, tested, chance))
    return split


def _tested(verses: Mapping[str, Mapping[str, str]], lang: str, count: int, chance: random.Random) -> list[TextExample]:
    """About ``count`` labelled verses of a language, as many from each part that it has."""
    by_part: dict[str, list[TextExample]] = {}
    for verse, texts in verses.items():
        part = part_of(verse)
        if part and lang in texts:
            by_part.setdefault(part, []).append(TextExample(texts[lang], lang, part, where=verse))
    each = count // len(by_part)
    return [e for rows in by_part.values() for e in chance.sample(rows, min(each, len(rows)))]


def write_verses(verses: Verses, languages: Sequence[str], path: Path) -> Path:
    """Write verses as a multi-parallel file whose documents are chapters; the same path."""
    rows = ["\t".join(["id", "document", *languages])]
    for verse, texts in verses.items():
        rows.append("\t".join([verse, verse.rsplit(".", 1)[0], *(texts.get(lang, "") for lang in languages)]))
    atomic_write(path, "\n".join(rows) + "\n")
    return path
