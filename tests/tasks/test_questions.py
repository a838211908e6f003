"""Files of questions: every format, two languages, and answers with wrong offsets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlingua.errors import DataError
from interlingua.tasks.questions import Answer, Question, crossed, read_questions

CONTEXT = "Die Schlacht bei Hastings 😀 war 1066. Hastings liegt am Meer."


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def row(**changes: Any) -> dict[str, Any]:
    answer = {"text": "1066", "answer_start": CONTEXT.index("1066")}
    return {"id": "q1", "question": "Wann?", "context": CONTEXT, "answers": [answer]} | changes


def test_squad_documents_of_both_versions(tmp_path: Path) -> None:
    """Articles, paragraphs, questions; version 2.0 marks what has no answer."""
    qas = [row(), row(id="q2", answers=[], is_impossible=True)]
    document = {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": qas}]}]}
    first, second = read_questions(write(tmp_path / "dev.json", document), lang="deu")
    assert (first.id, first.lang, first.answers) == ("q1", "de", (Answer("1066", 32),))
    assert CONTEXT[32:36] == "1066"
    assert (second.id, second.answers) == ("q2", ())


def test_lines_of_all_kinds(tmp_path: Path) -> None:
    """Flat lines, answers as lists of texts and starts, languages in the line; spaces around an answer are not its."""
    rows = [
        row(),
        row(id="q2", answers={"text": [" 1066"], "answer_start": [31]}),
        row(id="q3", question_lang="swa", context_lang="deu"),
    ]
    questions = read_questions(write(tmp_path / "a.jsonl", *rows), lang="de")
    assert [q.answers for q in questions] == [(Answer("1066", 32),)] * 3
    assert [q.lang for q in questions] == ["de", "de", "sw/de"]
    assert questions[2].answer_lang == "de"


def test_a_part_of_a_file_under_its_own_names(tmp_path: Path) -> None:
    """Rows of one split; another column as the question, which is in another language than the row says."""
    row = {"context": "ab c", "question": "swali", "english": "q", "question_lang": "sw", "context_lang": "en",
           "answers": [{"text": "ab", "answer_start": 0}]}  # fmt: skip
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps({"id": p, "part": p, "tongue": "en", **row}) + "\n" for p in ("dev", "test")))
    names = {"split": "part", "question": "english", "lang": "tongue"}
    assert [(q.id, q.question, q.lang) for q in read_questions(path, split="test", columns=names)] == [
        ("test", "q", "en")
    ]
    assert [q.lang for q in read_questions(path)] == ["sw/en", "sw/en"]
    with pytest.raises(DataError, match="with split 'train'"):
        read_questions(path, split="train", columns=names)


def test_tydis_gold_passages_say_their_language_in_the_id(tmp_path: Path) -> None:
    """One SQuAD document of several languages; the recipe's language is for ids that say none."""
    qas = [
        {"id": name, "question": "q", "answers": [{"text": "ab", "answer_start": 0}]}
        for name in ("finnish--906-0", "swahili--17-1", "english", "plain-7")
    ]
    path = tmp_path / "tydi.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": "ab c", "qas": qas}]}]}), encoding="utf-8")
    assert [q.lang for q in read_questions(path, lang="en")] == ["fi", "sw", "en", "en"]


def test_tydi_lines_become_gold_passages(tmp_path: Path) -> None:
    """Byte offsets of the primary task, in a text with characters of two bytes: characters inside the passage."""
    before, passage = "Über alles.\n", "Größe: 12 Meter"
    text = before + passage
    start = len((before + "Größe: ").encode())
    line = {
        "document_plaintext": text, "question_text": "Wie groß?", "example_id": -5, "language": "finnish",
        "passage_answer_candidates": [
            {"plaintext_start_byte": 0, "plaintext_end_byte": len(before.encode())},
            {"plaintext_start_byte": len(before.encode()), "plaintext_end_byte": len(text.encode())},
        ],
        "annotations": [{
            "passage_answer": {"candidate_index": 1},
            "minimal_answer": {"plaintext_start_byte": start, "plaintext_end_byte": start + len(b"12 Meter")},
        }],
    }  # fmt: skip
    nowhere = {"plaintext_start_byte": -1, "plaintext_end_byte": -1}
    without = line | {"annotations": [{"passage_answer": {"candidate_index": -1}, "minimal_answer": nowhere}]}
    (question,) = read_questions(write(tmp_path / "t.jsonl", line, without))
    assert (question.id, question.context, question.lang) == ("-5", passage, "fi")
    assert question.answers == (Answer("12 Meter", 7),)


def test_a_wrong_offset_is_named_and_the_repair_offered(tmp_path: Path) -> None:
    """Line and id, what stands there, and the nearest place of the text; repaired and dropped on request, and noted."""
    wrong = row(answers=[{"text": "Hastings", "answer_start": 35}])
    nowhere = row(id="q2", answers=[{"text": "Rom", "answer_start": 0}])
    path = write(tmp_path / "a.jsonl", row(id="q0"), wrong)
    with pytest.raises(
        DataError, match=r"answer 'Hastings' with answer_start 35(?s:.*)line 2, question 'q1'(?s:.*)to 38"
    ):
        read_questions(path, lang="de")
    fixed = read_questions(write(tmp_path / "b.jsonl", wrong, nowhere), lang="de", bad_answers="repair")
    assert [q.answers for q in fixed] == [(Answer("Hastings", 38),), (Answer("Rom", -1),)]
    assert [q.note for q in fixed] == ["answer moved to where its text is", "answer not in its passage"]
    dropped = read_questions(tmp_path / "b.jsonl", lang="de", bad_answers="drop")
    assert [q.answers for q in dropped] == [(), ()]
    with pytest.raises(DataError, match=r"'Rom'(?s:.*)occurs nowhere"):
        read_questions(write(tmp_path / "c.jsonl", nowhere), lang="de")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "not JSON"),
        ("a.json", '{"rows": []}', r"a JSON file with \['rows'\](?s:.*)paragraphs"),
        ("a.json", '{"data": []}', "no question"),
        ("a.jsonl", "x", r"not JSON: 'x'(?s:.*)line 1"),
        ("a.jsonl", '{"id": "1", "question": "", "context": "x"}', r"question = ''(?s:.*)line 1"),
        ("a.jsonl", '{"id": "1", "question": "q", "context": "x", "answers": []}', "without a language"),
        ("a.jsonl", '{"paragraphs": []}', "name the file .json"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    """Each is refused with its place."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_questions(tmp_path / name)


def test_questions_in_one_language_on_passages_in_another() -> None:
    """By id; those without a partner are left out, and none in common is an error."""
    english = [Question("1", "When?", "In 1066.", (Answer("1066", 3),), "en"), Question("2", "Who?", "He.", (), "en")]
    german = [Question("1", "Wann?", "Anno 1066.", (Answer("1066", 5),), "de")]
    assert crossed(english, german) == [Question("1", "When?", "Anno 1066.", (Answer("1066", 5),), "en/de")]
    assert crossed(german, german)[0].lang == "de"
    with pytest.raises(DataError, match="no question of one file has an id of the other"):
        crossed(english[1:], german)
