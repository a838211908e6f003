"""Span question answering: the answer is a piece of the passage.

Questions and passages are joined as a pair; passages longer than a window are cut into overlapping ones (a stride). The
loss is that of ``AutoModelForQuestionAnswering``: the mean of the cross-entropies of the first and the last token over
a window, where a window without the answer points to its first token (Devlin et al. 2019). The prediction of a question
is the best span of any of its windows; with ``no_answer`` it competes with that first token (Rajpurkar et al. 2018).
Every question is scored, also those whose answer no window holds whole.

Decision: a token is a piece of the original text by the tokenizer's offsets, so answers are cut out of the passage
itself, whatever was normalised. Price: an answer inside a token comes out with the whole token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interlingua.batch import Batch
from interlingua.data import resolve
from interlingua.errors import RecipeError
from interlingua.models.attention import encode
from interlingua.models.head import span_logits
from interlingua.objectives.base import Loss, Targets, at_least_float32
from interlingua.tasks.answers import Rule, answer_scores
from interlingua.tasks.base import Encoded, Task, lay_out, second_side, segment_languages, token_order
from interlingua.tasks.questions import Question, crossed, read_questions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.recipe_transfer import LabelledFile, TaskRecipe

__all__ = ["Span", "SpanGuess", "answers_of"]

#: Firsts and lasts that are combined into spans, the most likely of each (BERT's run_squad).
BEST = 20


@dataclass(frozen=True)
class SpanGuess:
    """The best span of a window.

    Attributes:
        score: sum of the logits of its first and last token; -inf where the window has nothing to choose.
        text: the piece of the passage.
        nothing: the same sum for the window's first token, which stands for "no answer".
    """

    score: float
    text: str
    nothing: float


class Span(Task):
    """Extractive question answering.

    Args:
        labels: none; the head has two outputs, first and last.
        name: shown in tables.
        metric: ``f1`` or ``em``.
        rule: what counts as the same answer, see :mod:`interlingua.tasks.answers`.
        stride: tokens of a passage that two neighbouring windows share.
        max_question: longest question in tokens; what is cut is counted.
        max_answer: longest answer in tokens.
        no_answer: whether "no answer" is a possible prediction.
    """

    kind: ClassVar[str] = "span"
    auto: ClassVar[str] = "AutoModelForQuestionAnswering"

    def __init__(
        self,
        labels: Sequence[str] = (),
        *,
        name: str = "qa",
        metric: str = "f1",
        rule: Rule = "auto",
        stride: int = 128,
        max_question: int = 64,
        max_answer: int = 30,
        no_answer: bool = False,
    ) -> None:
        super().__init__(labels, name=name, metric=metric)
        self.rule = rule
        self.stride = stride
        self.max_question = max_question
        self.max_answer = max_answer
        self.no_answer = no_answer

    @classmethod
    def read(cls, recipe: TaskRecipe, file: LabelledFile) -> list[Question]:
        """Questions of a file, as :func:`~interlingua.tasks.questions.read_questions` reads them."""
        columns = {str(name): column for name, column in file.columns.items()}
        questions = read_questions(
            resolve(file.path), lang=file.lang, lang_pair=file.lang_pair if not file.path_pair else None,
            split=file.split, columns=columns, bad_answers=recipe.bad_answers,
        )  # fmt: skip
        if file.path_pair is None:
            return questions
        others = read_questions(
            resolve(file.path_pair), lang=file.lang_pair or file.lang,
            split=file.split, columns=columns, bad_answers=recipe.bad_answers,
        )  # fmt: skip
        return crossed(questions, others)

    @classmethod
    def taught_with(cls, recipe: TaskRecipe, train: Sequence[Question]) -> Self:
        """The task as the recipe has it."""
        return cls(
            name=recipe.name,
            metric=cls.main_metric(recipe),
            rule=recipe.rule,
            stride=recipe.stride,
            max_question=recipe.max_question,
            max_answer=recipe.max_answer,
            no_answer=recipe.no_answer,
        )

    @classmethod
    def main_metric(cls, recipe: TaskRecipe) -> str:
        """F1."""
        return recipe.metric or "f1"

    @classmethod
    def suite_metrics(cls, recipe: TaskRecipe) -> tuple[str, ...]:
        """XTREME takes the mean of both."""
        return ("em", "f1")

    def settings(self) -> dict[str, Any]:
        """What its constructor wants."""
        return super().settings() | {
            "rule": self.rule,
            "stride": self.stride,
            "max_question": self.max_question,
            "max_answer": self.max_answer,
            "no_answer": self.no_answer,
        }

    def config(self) -> dict[str, Any]:
        """Two outputs a token."""
        return {"num_labels": 2}

    def encode(
        self, examples: Sequence[Question], tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> tuple[list[Encoded], int]:
        """Windows of all questions, those of a question one after the other; also how many questions were cut.

        Raises:
            RecipeError: windows too short for question, stride and at least one new token.
        """
        room = max_length - self.max_question - tokenizer.num_special_tokens_to_add(pair=True)
        if room <= self.stride:
            raise RecipeError(
                f"windows of {max_length} tokens with questions of up to {self.max_question} and a stride of "
                f"{self.stride}",
                expected=f"tune.max_length of at least {max_length - room + self.stride + 1}",
                where="tune.max_length",
                next_step="make the windows longer, or task.max_question or task.stride smaller",
            )
        asked, cut = self._questions(examples, tokenizer)
        out = tokenizer(
            asked,
            [e.context for e in examples],
            truncation="only_second",
            max_length=max_length,
            stride=self.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        types = out.get("token_type_ids")
        encoded = []
        for i, number in enumerate(out["overflow_to_sample_mapping"]):
            example = examples[number]
            of_passage = np.array([s == 1 for s in out.sequence_ids(i)])
            spans = np.array(out["offset_mapping"][i], dtype=np.int64)
            spans[~of_passage] = -1
            first, last = ([number] != out["overflow_to_sample_mapping"][j : j + 1] for j in (i - 1, i + 1))
            _close_gaps(spans, example.context, first=first, last=last)
            encoded.append(
                Encoded(
                    np.array(out["input_ids"][i], dtype=np.int64),
                    example.lang,
                    _first_and_last(spans, example),
                    types=np.array(types[i], dtype=np.int64) if types is not None else None,
                    spans=spans,
                    example=example,
                    second=second_side(out.sequence_ids(i)),
                )
            )
        return encoded, cut

    def _questions(self, examples: Sequence[Question], tokenizer: PreTrainedTokenizerBase) -> tuple[list[str], int]:
        """Questions cut to their longest length, and how many were."""
        asked, cut = [e.question for e in examples], 0
        offsets = tokenizer(asked, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        for i, spans in enumerate(offsets):
            if len(spans) > self.max_question:
                asked[i] = asked[i][: spans[self.max_question - 1][1]]
                cut += 1
        return asked, cut

    def batch(self, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> Batch:
        """Pack windows with their first and last tokens, int64 [S, 2]."""
        labels_S2 = torch.from_numpy(np.stack([e.labels for e in examples]))
        return replace(lay_out(examples, tokenizer), labels=labels_S2)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Summed over windows: the mean of the cross-entropies of first and last token."""
        assert batch.labels is not None
        order_N, begins_S = token_order(batch)
        logits_N2 = at_least_float32(span_logits(model, encode(model, batch).flatten(0, 1)[order_N]))
        counts_S = begins_S.diff()
        segment_N = torch.repeat_interleave(torch.arange(len(counts_S), device=counts_S.device), counts_S)
        total_S2 = _log_sum_exp(logits_N2, segment_N, len(counts_S))
        right_S2 = logits_N2.gather(0, begins_S[:-1, None] + batch.labels)
        each_S = (total_S2 - right_S2).mean(dim=1)
        return Loss(each_S.sum(), len(each_S), each_S.detach(), segment_languages(batch))

    def head_states(
        self, model: PreTrainedModel, batch: Batch, examples: Sequence[Encoded]
    ) -> tuple[Tensor, list[int]]:
        """States of all tokens."""
        return encode(model, batch).flatten(0, 1)[token_order(batch)[0]], [len(e.tokens) for e in examples]

    def logits(self, model: PreTrainedModel, states_KD: Tensor) -> Tensor:
        """Logits of being the first and the last token, [K, 2]."""
        return span_logits(model, states_KD)

    def decide(self, logits_KC: Tensor, example: Encoded) -> SpanGuess:
        """The best span of a window."""
        assert example.spans is not None
        first_K, last_K = logits_KC.numpy().T
        nothing = float(first_K[0] + last_K[0])
        # Tokens of white space alone begin and end no answer; those of no width (byte fallback's later bytes) may.
        allowed = np.flatnonzero(example.spans[:, 0] >= 0)
        firsts = allowed[np.argsort(-first_K[allowed], kind="stable")[:BEST]]
        lasts = allowed[np.argsort(-last_K[allowed], kind="stable")[:BEST]]
        length = lasts[None, :] - firsts[:, None] + 1
        scores = np.where(
            (length > 0) & (length <= self.max_answer), first_K[firsts, None] + last_K[None, lasts], -np.inf
        )
        if not scores.size or not np.isfinite(scores.max()):
            return SpanGuess(-np.inf, "", nothing)
        row, column = np.unravel_index(int(scores.argmax()), scores.shape)
        begin, end = example.spans[firsts[row], 0], example.spans[lasts[column], 1]
        return SpanGuess(float(scores.max()), example.example.context[begin:end].strip(), nothing)

    def counts(self, predicted: Sequence[SpanGuess], examples: Sequence[Encoded]) -> NDArray[np.float64]:
        """Of every question (of however many windows): 1, exact match, F1."""
        rows = [
            (1.0, *answer_scores(text, [a.text for a in question.answers], question.answer_lang, self.rule))
            for question, text in answers_of(predicted, examples, no_answer=self.no_answer)
        ]
        return np.array(rows).reshape(-1, 3)

    def metrics(self, totals_K: NDArray[np.float64]) -> dict[str, float]:
        """Exact match and F1, mean over questions."""
        count, em, f1 = totals_K.tolist()
        return {"em": em / max(1.0, count), "f1": f1 / max(1.0, count)}

    def prediction_file(self, predicted: Sequence[SpanGuess], examples: Sequence[Encoded]) -> tuple[str, str]:
        """A JSON object from question ids to answers."""
        answers = answers_of(predicted, examples, no_answer=self.no_answer)
        return "json", json.dumps({question.id: text for question, text in answers}, ensure_ascii=False, indent=1)


def answers_of(
    predicted: Sequence[SpanGuess], examples: Sequence[Encoded], *, no_answer: bool
) -> list[tuple[Question, str]]:
    """The answer to every question, from the guesses of its windows, in the order of the questions."""
    windows: dict[int, tuple[Question, list[SpanGuess]]] = {}
    for guess, example in zip(predicted, examples, strict=True):
        windows.setdefault(id(example.example), (example.example, []))[1].append(guess)
    found = []
    for question, guesses in windows.values():
        best = max(guesses, key=lambda guess: guess.score)
        empty = no_answer and min(guess.nothing for guess in guesses) >= best.score
        found.append((question, "" if empty else best.text))
    return found


def _close_gaps(spans: NDArray[np.int64], context: str, *, first: bool, last: bool) -> None:
    """Give characters that no token claims to the token before them, in place.

    A combining mark that was composed with its letter, or a soft hyphen that was removed, is in no token's offsets, and
    an answer must not lose it. ``first`` and ``last``: whether the window begins and ends the passage.
    """
    seen = np.flatnonzero(spans[:, 0] >= 0)
    if not len(seen):
        return
    if first:
        spans[seen[0], 0] = 0
    after = np.append(spans[seen[1:], 0], len(context) if last else spans[seen[-1], 1])
    for token, until in zip(seen, after, strict=True):
        gap = context[spans[token, 1] : until]
        spans[token, 1] += len(gap.rstrip())


def _first_and_last(spans: NDArray[np.int64], question: Question) -> NDArray[np.int64]:
    """Places of the answer's first and last token in a window; (0, 0) where it does not hold the answer."""
    nowhere = np.zeros(2, dtype=np.int64)
    answer = next((a for a in question.answers if a.start >= 0 and a.text), None)
    seen = np.flatnonzero(spans[:, 0] >= 0)
    if answer is None or not len(seen):
        return nowhere
    begin, end = answer.start, answer.start + len(answer.text)
    if begin < spans[seen, 0].min() or end > spans[seen, 1].max():
        return nowhere
    # Tokens that share a character with the answer.
    inside = seen[(spans[seen, 1] > begin) & (spans[seen, 0] < end)]
    return np.array([inside[0], inside[-1]], dtype=np.int64) if len(inside) else nowhere


def _log_sum_exp(values_N2: Tensor, segment_N: Tensor, segments: int) -> Tensor:
    """log(sum(exp(values))) of every segment, [S, 2]."""
    index_N2 = segment_N[:, None].expand_as(values_N2)
    highest = values_N2.new_full((segments, 2), -torch.inf).scatter_reduce(0, index_N2, values_N2.detach(), "amax")
    return (
        highest
        + values_N2.new_zeros((segments, 2)).index_add(0, segment_N, (values_N2 - highest[segment_N]).exp()).log()
    )
