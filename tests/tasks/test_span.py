"""Span question answering: loss, windows, offsets, predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fixtures_models import tiny_config
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerFast

from interlingua.errors import CheckpointError, RecipeError
from interlingua.models.head import span_logits
from interlingua.tasks import Answer, Encoded, Question, Span
from interlingua.tasks.span import SpanGuess, answers_of

FAMILIES = (
    "bert",
    "xlm-roberta",
    "modernbert",
    "electra",
    "albert",
    "distilbert",
    "deberta-v2",
    "xlm",
    "xlnet",
    "gpt2",
)
KINDS = ("wordpiece_tokenizer", "unigram_tokenizer", "unigram_nosplit_tokenizer", "byte_bpe_tokenizer")


def question(context: str, answer: str, *, asked: str = "Who was it?", lang: str = "en", number: int = 0) -> Question:
    return Question(str(number), asked, context, (Answer(answer, context.index(answer)),), lang)


@pytest.fixture
def questions(tiny_texts: dict[str, list[str]]) -> list[Question]:
    found = []
    for lang in ("en", "ru", "ja"):
        for number, text in enumerate(tiny_texts[lang][:5]):
            found.append(question(text, text[4:9].strip(), lang=lang, number=number))
    return found


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_equals_plain_question_answerer_one_window_a_row(
    family: str, hf_tokenizer: Any, questions: list[Question]
) -> None:
    """Packed loss against AutoModelForQuestionAnswering on each window alone, in float64."""
    torch.manual_seed(0)
    config = tiny_config(family, vocabulary=8000)
    config.num_labels, config.pad_token_id = 2, hf_tokenizer.pad_token_id
    model = AutoModelForQuestionAnswering.from_config(config).double().eval()
    task = Span(stride=4, max_question=8)
    encoded, _ = task.encode(questions, hf_tokenizer, max_length=40)
    assert len(encoded) > len(questions), "the test wants passages of several windows"
    batch = task.batch(encoded, hf_tokenizer)
    assert batch.rows < len(encoded), "the test wants several windows a row"
    ours = task.loss(model, batch, task.prepare(batch, np.random.default_rng(0)))
    plain = []
    for e in encoded:
        inputs = {"input_ids": torch.from_numpy(e.tokens)[None]}
        if family == "xlm-roberta":
            inputs["position_ids"] = torch.arange(len(e.tokens))[None] + hf_tokenizer.pad_token_id + 1
        first, last = torch.from_numpy(e.labels)
        plain.append(model(**inputs, start_positions=first[None], end_positions=last[None]).loss)
    assert ours.count == len(encoded)
    torch.testing.assert_close(ours.each_N, torch.stack(plain).detach(), rtol=1e-9, atol=1e-9)


def test_classes_without_a_question_answerer_are_refused(hf_tokenizer: Any) -> None:
    """EuroBERT has none in transformers; the message lists who has."""
    from transformers import AutoModel

    from interlingua.models.encoder import Encoder
    from interlingua.transfer import new_head

    encoder = Encoder("tiny", AutoModel.from_config(tiny_config("eurobert", vocabulary=8000)), hf_tokenizer)
    with pytest.raises(CheckpointError, match="a eurobert for a task of type 'span'"):
        new_head(encoder, Span(), seed=0)
    with pytest.raises(CheckpointError, match=r"span_logits(?s:.*)'bert'"):
        span_logits(encoder.model, torch.zeros(1, 32))


def peaks(task: Span, example: Encoded) -> SpanGuess:
    """What a network would say that is sure of the right tokens."""
    logits_KC = torch.zeros(len(example.tokens), 2)
    logits_KC[example.labels[0], 0] = logits_KC[example.labels[1], 1] = 9.0
    return task.decide(logits_KC, example)


#: Pieces whose offsets are easily lost: combining marks, emoji with joiners, right-to-left, full width, ligatures.
PIECES = (
    *("resume\u0301", "e\u0301t\u0327a", "👩‍👩‍👧‍👦", "😀!", "שלום", "مَدْرَسَة", "ＡＢＣ１２", "ﬁsh", "日本語"),
    *("नमस्ते", "word", "x\u00ady", "Straße", "\u200fabc", "ก็ดี", "1066."),
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    words=st.lists(st.sampled_from(PIECES), min_size=1, max_size=12),
    gap=st.sampled_from([" ", "", "  ", "\u3000", "\n"]),
    place=st.integers(0, 11),
    count=st.integers(1, 3),
)
def test_offsets_survive(
    kind: str, request: pytest.FixtureRequest, words: list[str], gap: str, place: int, count: int
) -> None:
    """A sure network's answer holds every visible character of the right one, and no token more than needed."""
    inner = request.getfixturevalue(kind)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    context = gap.join(words)
    place %= len(words)
    answer = gap.join(words[place : place + count]).strip()
    begin = len(gap.join([*words[:place], ""])) if place else 0
    begin += len(gap.join(words[place : place + count])) - len(gap.join(words[place : place + count]).lstrip())
    asked = Question("1", "Who?", context, (Answer(answer, begin),), "en")
    task = Span(stride=4, max_question=16, max_answer=200)
    (example, *more), _ = task.encode([asked], tokenizer, max_length=400)
    assert not more
    if example.labels.any():
        found = peaks(task, example).text
        assert "".join(answer.split()) in "".join(found.split())
        first, last = example.labels
        assert example.spans[first, 1] > begin, "no token before the answer's first"
        assert example.spans[last, 0] < begin + len(answer), "and none behind its last"


def test_windows_cover_the_passage_and_share_the_stride(hf_tokenizer: Any, tiny_texts: dict[str, list[str]]) -> None:
    """Every token of the passage is in a window; neighbours overlap by the stride; each window has the question."""
    context = " ".join(tiny_texts["en"][:20])
    asked = question(context, context[-30:-20].strip())
    task = Span(stride=10, max_question=8)
    encoded, _ = task.encode([asked], hf_tokenizer, max_length=48)
    whole = hf_tokenizer(context, add_special_tokens=False)["input_ids"]
    passages = [e.tokens[e.spans[:, 0] >= 0].tolist() for e in encoded]
    joined = passages[0] + [token for passage in passages[1:] for token in passage[10:]]
    assert joined == whole
    assert sum(bool(e.labels.any()) for e in encoded) >= 1
    assert all(e.labels[0] == 0 for e in encoded[:-3])
    assert peaks(task, encoded[-1]).text == asked.answers[0].text or not encoded[-1].labels.any()


def test_long_questions_are_cut_and_counted(hf_tokenizer: Any) -> None:
    """A question longer than its part of the window loses its end, not the passage."""
    asked = question("The king was Harold.", "Harold", asked="why " * 50)
    encoded, cut = Span(stride=4, max_question=10).encode([asked, question("x y", "y")], hf_tokenizer, max_length=40)
    assert cut == 1
    assert len(encoded) == 2
    assert (encoded[0].spans[:, 0] >= 0).sum() == len(
        hf_tokenizer("The king was Harold.", add_special_tokens=False).input_ids
    )
    with pytest.raises(RecipeError, match=r"windows of 40 tokens(?s:.*)tune.max_length of at least"):
        Span(stride=128).encode([asked], hf_tokenizer, max_length=40)


def test_the_best_span_by_brute_force(hf_tokenizer: Any, questions: list[Question]) -> None:
    """Random logits: the highest sum over all spans of the passage up to the longest answer."""
    task = Span(stride=4, max_question=8, max_answer=5)
    encoded, _ = task.encode(questions, hf_tokenizer, max_length=40)
    for seed, e in enumerate(encoded):
        logits = torch.randn(len(e.tokens), 2, generator=torch.Generator().manual_seed(seed))
        passage = np.flatnonzero(e.spans[:, 0] >= 0)
        every = {(i, j): float(logits[i, 0] + logits[j, 1]) for i in passage for j in passage if 0 <= j - i < 5}
        best = max(every, key=every.__getitem__)
        guess = task.decide(logits, e)
        assert guess.score == pytest.approx(every[best])
        assert guess.text == e.example.context[e.spans[best[0], 0] : e.spans[best[1], 1]].strip()
        assert guess.nothing == pytest.approx(float(logits[0].sum()))


def test_every_question_is_scored_once(hf_tokenizer: Any, questions: list[Question]) -> None:
    """Windows are joined to questions, the best of each; also those whose answer is nowhere, and empty predictions."""
    lost = Question("lost", "Where?", "Nobody knows.", (Answer("Rome", -1),), "en")
    task = Span(stride=4, max_question=8)
    encoded, _ = task.encode([*questions, lost], hf_tokenizer, max_length=40)
    sure = [peaks(task, e) for e in encoded]
    sure = [g if e.labels.any() else SpanGuess(-1.0, "wrong", 0.0) for g, e in zip(sure, encoded, strict=True)]
    answers = answers_of(sure, encoded, no_answer=False)
    assert [q.id for q, _ in answers] == [q.id for q in [*questions, lost]]
    assert [text for q, text in answers[:-1]] == [text or "wrong" for _, text in answers[:-1]]
    scores = task.score(sure, encoded)
    assert scores["em"] <= 1 - 1 / len(answers)
    empty = task.score([SpanGuess(-np.inf, "", 0.0)] * len(encoded), encoded)
    assert empty == {"em": 0.0, "f1": 0.0}


def test_no_answer_competes_with_the_best_span(hf_tokenizer: Any) -> None:
    """SQuAD 2.0: nothing is said where the lowest score of "nothing" over the windows is at least the best span's."""
    nothing = Question("n", "Who?", "Nobody was there.", (), "en")
    encoded, _ = Span(stride=4, max_question=8).encode([nothing], hf_tokenizer, max_length=40)
    for score, expected in ((1.0, ""), (3.0, "x")):
        guesses = [SpanGuess(score, "x", 2.0)]
        assert answers_of(guesses, encoded, no_answer=True) == [(nothing, expected)]
        assert answers_of(guesses, encoded, no_answer=False) == [(nothing, "x")]
    assert Span(no_answer=True).score([SpanGuess(1.0, "x", 2.0)], encoded) == {"em": 1.0, "f1": 1.0}
