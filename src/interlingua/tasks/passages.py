"""Passage retrieval: does a question in one language find the passage, in its own or another, that answers it?

In: BEIR's folder layout, or files of questions with their paragraphs. Out: :class:`PassageSet`, queries of one
language, the passages they look through and judgements, which :mod:`interlingua.tasks.rank` ranks and scores. Decision:
questions that were asked about one paragraph share it, and the same questions in another language are judged by their
ids, so XQuAD's files of two languages are a cross-lingual task as they stand. Price: a paragraph that answers another's
question counts as wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from interlingua.errors import DataError
from interlingua.languages import canonical
from interlingua.tasks.questions import read_questions
from interlingua.text.documents import json_rows, table_cells
from interlingua.text.lines import ReadReport, nfc

__all__ = ["PassageSet", "question_passages", "read_beir"]


@dataclass(frozen=True)
class PassageSet:
    """Queries of one language and what they look through.

    Attributes:
        language: of the queries.
        queries: id -> text.
        passages: id -> text.
        judgements: query id -> passage id -> gain; above 0 is relevant.
    """

    language: str
    queries: dict[str, str]
    passages: dict[str, str]
    judgements: dict[str, dict[str, int]]

    def judged(self) -> list[str]:
        """The queries that have a relevant passage, in order."""
        return [name for name in self.queries if any(g > 0 for g in self.judgements.get(name, {}).values())]


def read_beir(folder: Path, *, language: str = "en") -> list[PassageSet]:
    """Read a folder in BEIR's layout, one set a query language.

    ``corpus.jsonl`` (``_id``, ``title``, ``text``), ``queries.jsonl`` (``_id``, ``text``, and ``lang`` if they are of
    several languages), and ``qrels.tsv`` or ``qrels/test.tsv`` (header; query id, passage id, gain); each also packed.

    Args:
        folder: the folder.
        language: of queries that name none.

    Raises:
        DataError: a missing or unreadable file, an id twice, or a judgement of an unknown query or passage.
        LanguageError: an unknown tag.
    """
    passages = {
        name: nfc(f"{row.get('title') or ''} {text}") for name, text, row in _texts(_file(folder, "corpus.jsonl"))
    }
    queries: dict[str, dict[str, str]] = {}
    tags: dict[str, str] = {}
    for name, text, row in _texts(_file(folder, "queries.jsonl")):
        tags[name] = canonical(str(row.get("lang") or language))
        queries.setdefault(tags[name], {})[name] = text
    judgements: dict[str, dict[str, dict[str, int]]] = {lang: {} for lang in queries}
    file = _file(folder, "qrels.tsv", "qrels/test.tsv")
    for number, cells in itertools.islice(table_cells(file, ReadReport(), "raise"), 1, None):
        where = f"{file}, line {number}"
        if len(cells) != 3 or not cells[2].strip().lstrip("-").isdecimal():
            raise DataError(f"{cells!r}", expected="query id, passage id, whole number", where=where)
        query, passage = cells[0].strip(), cells[1].strip()
        if query not in tags or passage not in passages:
            lost = ("query", query) if query not in tags else ("passage", passage)
            raise DataError(f"a judgement of the {lost[0]} {lost[1]!r}, which is not there", where=where)
        judgements[tags[query]].setdefault(query, {})[passage] = int(cells[2])
    return [PassageSet(lang, own, passages, judgements[lang]) for lang, own in queries.items()]


def _file(folder: Path, *names: str) -> Path:
    wanted = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".zst", ".gz")]
    found = next((file for file in wanted if file.is_file()), None)
    if found is None:
        raise DataError(f"no {' or '.join(names)} in {str(folder)!r}", expected="BEIR's layout", where=str(folder))
    return found


def _texts(file: Path) -> Iterator[tuple[str, str, Mapping[str, object]]]:
    seen: set[str] = set()
    for number, row in json_rows(file, ReadReport(), "raise"):
        name, text = row.get("_id"), row.get("text")
        where = f"{file}, line {number}"
        if not isinstance(name, str) or not isinstance(text, str) or not nfc(text):
            raise DataError(f"'_id' is {name!r} and 'text' is {text!r}", expected="two strings with text", where=where)
        if name in seen:
            raise DataError(f"the id {name!r} twice", expected="an id for each text", where=where)
        seen.add(name)
        yield name, nfc(text), row
    if not seen:
        raise DataError(f"no rows in {file.name!r}", expected="at least one", where=str(file))


def question_passages(questions: Path, *, language: str, passages: Path | None = None) -> PassageSet:
    """Questions and the paragraphs they were asked about.

    Args:
        questions: SQuAD's JSON, or JSON lines with ``id``, ``question`` and ``context``; also packed.
        language: of the questions.
        passages: another such file whose paragraphs are searched, for questions with the same ids (XQuAD's files of
            two languages); the questions' own by default.

    Raises:
        DataError: unreadable, an id twice, or no id in common.
        LanguageError: an unknown tag.
    """
    asked = dict(_questions(questions, language))
    answering = asked if passages is None else dict(_questions(passages, language))
    contexts = {name: context for name, (_, context) in answering.items()}
    if not asked.keys() & contexts.keys():
        raise DataError(
            f"no id of {questions.name!r} is in {str(passages)!r}",
            expected="files with common ids",
            where=str(passages),
        )
    numbers = {text: str(number) for number, text in enumerate(dict.fromkeys(contexts.values()))}
    judgements = {name: {numbers[contexts[name]]: 1} for name in asked if name in contexts}
    return PassageSet(
        canonical(language),
        {name: question for name, (question, _) in asked.items()},
        {number: text for text, number in numbers.items()},
        judgements,
    )


def _questions(file: Path, language: str) -> Iterator[tuple[str, tuple[str, str]]]:
    seen: set[str] = set()
    # Where the answers stand is of no concern here.
    for question in read_questions(file, lang=language, bad_answers="repair"):
        if question.id in seen:
            raise DataError(f"the id {question.id!r} twice", expected="an id for each question", where=question.where)
        seen.add(question.id)
        yield question.id, (nfc(question.question), nfc(question.context))
