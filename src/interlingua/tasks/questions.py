"""Questions on passages: the files they come in, and answers that do not stand where the file says.

In: SQuAD JSON (versions 1.1 and 2.0: XQuAD, MLQA, DRCD, CMRC, KorQuAD, TyDi's gold passages), one question a line
(flat JSON, also as the hub's tables have it), or TyDi QA's primary-task lines. Out: :class:`Question`. Decision: an
answer must be the text at its offset; if it is not, the file is refused with line and id, or on request the answer is
moved to the nearest place where its text stands. Price: a file with wrong offsets needs a word from the user.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from interlingua.errors import DataError
from interlingua.languages import canonical
from interlingua.text.lines import ReadReport, file_kind, numbered_lines, opened

__all__ = ["Answer", "BadAnswers", "Question", "crossed", "read_questions"]

BadAnswers = Literal["stop", "repair", "drop"]


@dataclass(frozen=True)
class Answer:
    """A reference answer.

    Attributes:
        text: as it stands in the passage.
        start: its first character there; -1 where the text does not occur.
    """

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question on a passage.

    Attributes:
        id: as the file has it.
        question: its text.
        context: the passage.
        answers: references; none where the passage has no answer.
        lang: canonical tag, or two (``sw/en``: question and passage) where they differ.
        where: file and line or id.
        note: what was done to its answers, in words; empty if nothing.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    lang: str
    where: str = ""
    note: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """None: answers are not classes."""
        return ()

    @property
    def answer_lang(self) -> str:
        """Language of passage and answers."""
        return self.lang.rpartition("/")[2]


def read_questions(
    path: Path, *, lang: str | None = None, lang_pair: str | None = None, bad_answers: BadAnswers = "stop"
) -> list[Question]:
    """Read a file of questions.

    Args:
        path: .json (SQuAD) or .jsonl (one question a line), also .gz and .zst.
        lang: language of the questions, unless lines have ``question_lang`` or ``lang``.
        lang_pair: language of the passages where it is another, unless lines have ``context_lang``.
        bad_answers: what to do with an answer whose text is not at its offset: ``stop``; ``repair``: move it to the
            nearest place where the text stands, and note it (text that stands nowhere stays for scoring, not for
            teaching); ``drop``: leave such an answer out, and note it.

    Raises:
        DataError: missing or empty file, a field missing, a wrong offset (with ``stop``).
    """
    path = Path(path)
    rows = _squad(path) if file_kind(path) == ".json" else _lines(path)
    questions = [_checked(row, where, lang, lang_pair, bad_answers) for where, row in rows]
    if not questions:
        raise DataError(f"no question in {path.name!r}", expected="at least one question", where=str(path))
    return questions


def _squad(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with opened(path) as stream:
        try:
            tree = json.load(stream)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"not JSON: {error}", expected="SQuAD's format, or .jsonl with a question a line",
                            where=str(path)) from error  # fmt: skip
    articles = tree.get("data") if isinstance(tree, dict) else tree
    if not isinstance(articles, list):
        raise DataError(
            f"a JSON file with {sorted(tree) if isinstance(tree, dict) else type(tree).__name__}",
            expected='SQuAD\'s format: {"data": [{"paragraphs": [{"context", "qas"}]}]}',
            where=str(path),
        )
    for article in articles:
        for paragraph in article.get("paragraphs", [article]):
            for qa in paragraph.get("qas", [paragraph]):
                row = {"context": paragraph.get("context"), **qa}
                yield f"{path}, question {row.get('id')!r}", row


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in numbered_lines(path, ReadReport()):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"not JSON: {line[:60]!r}", where=where) from error
        if "document_plaintext" in row:
            yield from _tydi(row, where)
        elif "paragraphs" in row or "qas" in row:
            raise DataError("a line with paragraphs", expected="one question a line", where=where,
                            next_step="name the file .json if it is one SQuAD document")  # fmt: skip
        else:
            yield f"{where}, question {row.get('id')!r}", row


def _tydi(row: Mapping[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """TyDi QA's primary task as gold passages: the first passage with a minimal answer; offsets there are bytes."""
    text = str(row["document_plaintext"]).encode()
    candidates = row["passage_answer_candidates"]
    answers: dict[int, list[dict[str, Any]]] = {}
    for annotation in row["annotations"]:
        minimal, passage = annotation["minimal_answer"], annotation["passage_answer"]["candidate_index"]
        if passage < 0 or minimal["plaintext_start_byte"] < 0:
            continue
        first = candidates[passage]["plaintext_start_byte"]
        start, end = minimal["plaintext_start_byte"], minimal["plaintext_end_byte"]
        answer = {"text": text[start:end].decode(), "answer_start": len(text[first:start].decode())}
        answers.setdefault(passage, []).append(answer)
    for passage, found in list(answers.items())[:1]:
        bounds = candidates[passage]
        context = text[bounds["plaintext_start_byte"] : bounds["plaintext_end_byte"]].decode()
        number = row.get("example_id", row.get("id"))
        yield f"{where}, question {number!r}", {
            "id": str(number), "question": row["question_text"], "context": context, "answers": found,
            "lang": _TYDI.get(str(row.get("language", "")), row.get("language")),
        }  # fmt: skip


#: TyDi QA's names of languages.
_TYDI = {"arabic": "ar", "bengali": "bn", "english": "en", "finnish": "fi", "indonesian": "id", "japanese": "ja",
         "korean": "ko", "russian": "ru", "swahili": "sw", "telugu": "te", "thai": "th"}  # fmt: skip


def _checked(
    row: Mapping[str, Any], where: str, lang: str | None, lang_pair: str | None, bad_answers: BadAnswers
) -> Question:
    for name in ("id", "question", "context"):
        if not isinstance(row.get(name), (str, int)) or not str(row[name]).strip():
            raise DataError(f"{name} = {row.get(name)!r}", expected="id, question and context with text", where=where)
    asked = row.get("question_lang") or row.get("lang") or lang
    if not asked:
        raise DataError("a question without a language", expected="lang: in the recipe, or in every line", where=where)
    read = row.get("context_lang") or lang_pair
    tags = dict.fromkeys(canonical(str(tag)) for tag in (asked, read) if tag)
    given = [] if row.get("is_impossible") else row.get("answers", [])
    if isinstance(given, Mapping):  # as the hub's tables have it: a list of texts and a list of starts
        given = [{"text": t, "answer_start": s} for t, s in zip(given["text"], given["answer_start"], strict=True)]
    context, answers, notes = str(row["context"]), [], []
    for item in given:
        answer = _stripped(str(item["text"]), int(item.get("answer_start", -1)))
        if context[answer.start : answer.start + len(answer.text)] == answer.text and answer.start >= 0:
            answers.append(answer)
            continue
        nearest = _nearest(context, answer)
        if bad_answers == "stop":
            there = context[max(0, answer.start) : max(0, answer.start) + len(answer.text)]
            raise DataError(
                f"answer {answer.text!r} with answer_start {answer.start}, where the text is {there!r}",
                expected="the answer's text at its offset, counted in characters",
                where=where,
                next_step=f"task.bad_answers=repair moves it to {nearest}" if nearest >= 0 else
                "it occurs nowhere in the passage: task.bad_answers=repair keeps it for scoring only, =drop leaves it",
            )  # fmt: skip
        notes.append("answer moved to where its text is" if nearest >= 0 else "answer not in its passage")
        if bad_answers == "drop":
            notes[-1] = "answer with a wrong offset dropped"
        else:
            answers.append(replace(answer, start=nearest))
    note = ", ".join(dict.fromkeys(notes))
    return Question(str(row["id"]), str(row["question"]), context, tuple(answers), "/".join(tags), where, note)


def _stripped(text: str, start: int) -> Answer:
    """White space at an answer's ends is nobody's answer."""
    stripped = text.strip()
    return Answer(stripped, start + text.index(stripped) if start >= 0 else start)


def _nearest(context: str, answer: Answer) -> int:
    """The occurrence of an answer's text nearest to its offset; -1 if there is none."""
    if not answer.text:
        return -1
    found, at = [], context.find(answer.text)
    while at >= 0:
        found.append(at)
        at = context.find(answer.text, at + 1)
    return min(found, key=lambda at: abs(at - answer.start), default=-1)


def crossed(asking: list[Question], answering: list[Question]) -> list[Question]:
    """Questions of one file on the passages of another, matched by id (Rajaee and Monz 2024, arXiv 2402.02099).

    Raises:
        DataError: no id in common.
    """
    passages = {question.id: question for question in answering}
    found = [
        replace(passages[q.id], question=q.question,
                lang="/".join(dict.fromkeys((q.lang.partition("/")[0], passages[q.id].answer_lang))))
        for q in asking
        if q.id in passages
    ]  # fmt: skip
    if not found:
        raise DataError(
            "no question of one file has an id of the other",
            expected="parallel files, such as XQuAD's",
            where=f"{asking[0].where}; {answering[0].where}",
        )
    return found
