"""Multiple choice: which of some texts goes with another (XCOPA, Ponti et al. 2020, arXiv 2005.00333).

In: rows with a text, perhaps a question, as many choices in every row, and the number of the right one. Out: that
number, and accuracy. Every choice is a pair with the text and has one score; the loss is the cross-entropy over the
choices of a row, as that of ``AutoModelForMultipleChoice``.

Decision: the question (XCOPA's ``cause`` or ``effect``) stands behind the text, as it is written in the file. Price: it
stays in the file's language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from interlingua.batch import Batch
from interlingua.data import resolve
from interlingua.errors import DataError, LabelError, RecipeError, nearest
from interlingua.languages import canonical
from interlingua.models.head import choice_logits, pooled_states
from interlingua.objectives.base import Loss, Targets, at_least_float32
from interlingua.tasks.base import Encoded, Task, lay_out, segment_languages
from interlingua.tasks.texts import TextExample, encode_texts, numbered_rows
from interlingua.text.lines import ReadReport

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.recipe_transfer import LabelledFile, TaskRecipe

__all__ = ["Choice", "ChoiceExample"]


@dataclass(frozen=True)
class ChoiceExample:
    """A text and what may go with it.

    Attributes:
        text: the text, with its question behind it if it has one.
        lang: canonical tag.
        choices: at least two.
        right: number of the right one, from 0.
        where: file and line.
    """

    text: str
    lang: str
    choices: tuple[str, ...]
    right: int
    where: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """None: its choices are its own."""
        return ()


class Choice(Task):
    """Choosing among texts.

    Args:
        labels: none.
        name: shown in tables.
        metric: ``accuracy``.
        choices: how many a row has.
    """

    kind: ClassVar[str] = "choice"
    auto: ClassVar[str] = "AutoModelForMultipleChoice"
    whole_texts: ClassVar[bool] = True
    splittable = False  # the choices of a row may stand in different rows of the batch

    def __init__(
        self, labels: Sequence[str] = (), *, name: str = "choice", metric: str = "accuracy", choices: int = 2
    ) -> None:
        super().__init__(labels, name=name, metric=metric)
        self.choices = choices

    @classmethod
    def read(cls, recipe: TaskRecipe, file: LabelledFile) -> list[ChoiceExample]:
        """Rows of a csv, tsv or jsonl file.

        Raises:
            RecipeError: no columns of choices named, or a file crossed with another.
            DataError: missing file or column, a row without a language, no row.
            LabelError: a label that is no number of a choice.
        """
        if len(recipe.choices) < 2:
            raise RecipeError(f"a task of type choice with task.choices = {list(recipe.choices)}",
                              expected="the columns of at least two choices", where="task.choices")  # fmt: skip
        if file.path_pair or file.lang_pair:
            raise RecipeError("choices in another language than the text", expected="neither path_pair nor lang_pair",
                              where=str(file.path))  # fmt: skip
        path = resolve(file.path)
        wanted = (recipe.text, recipe.label, *recipe.choices, *([recipe.question] if recipe.question else []))
        usual = {"text": recipe.text, "label": recipe.label, "question": recipe.question or "question"}
        named = {usual.get(name, str(name)): column for name, column in file.columns.items()}
        found = []
        for number, own in numbered_rows(path, ReadReport()):
            where = f"{path}, line {number}"
            row = own | {name: own[column] for name, column in named.items() if column in own}
            for column in wanted:
                if column not in row:
                    raise DataError(
                        f"no column {column!r}{nearest(column, row)}", expected=f"one of {', '.join(row)}",
                        where=where, next_step="name the columns with task.text, .choices, .question and .label",
                    )  # fmt: skip
            if file.split is not None and row.get("split", file.split) != file.split:
                continue
            tag = row.get("lang") or file.lang
            if not tag:
                raise DataError("a row without a language", expected="a `lang` column, or lang: in the recipe",
                                where=where)  # fmt: skip
            text = f"{row[recipe.text]} {row[recipe.question]}" if recipe.question else row[recipe.text]
            choices = tuple(row[column] for column in recipe.choices)
            found.append(
                ChoiceExample(text, canonical(tag), choices, _place(row[recipe.label], len(choices), where), where)
            )
        if not found:
            raise DataError(f"no example in {path.name!r}", expected="at least one row", where=str(path))
        return found

    @classmethod
    def taught_with(cls, recipe: TaskRecipe, train: Sequence[ChoiceExample]) -> Self:
        """The task as the recipe has it."""
        return cls(name=recipe.name, metric=cls.main_metric(recipe), choices=len(recipe.choices))

    def settings(self) -> dict[str, Any]:
        """What its constructor wants."""
        return super().settings() | {"choices": self.choices}

    def config(self) -> dict[str, Any]:
        """Nothing: the class has one output a choice."""
        return {}

    def encode(
        self, examples: Sequence[ChoiceExample], tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> tuple[list[Encoded], int]:
        """Tokenise every choice with its text; also return how many of these pairs were cut."""
        pairs = [TextExample(e.text, e.lang, "", choice) for e in examples for choice in e.choices]
        encoded, cut = encode_texts(pairs, tokenizer, max_length=max_length)
        found = []
        for i, example in enumerate(examples):
            own = encoded[i * self.choices : (i + 1) * self.choices]
            types = [e.types for e in own if e.types is not None]
            found.append(
                Encoded(
                    np.concatenate([e.tokens for e in own]),
                    example.lang,
                    np.array([example.right], dtype=np.int64),
                    types=np.concatenate(types) if types else None,
                    ends=np.cumsum([len(e.tokens) for e in own]),
                )
            )
        return found, cut

    def batch(self, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> Batch:
        """Pack choices; each has the number of its row's right one, int64 [S]."""
        labels_S = torch.from_numpy(np.concatenate([np.repeat(e.labels, self.choices) for e in examples]))
        return replace(lay_out(examples, tokenizer), labels=labels_S)

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """One prediction a row of choices."""
        return Targets(batch.segments // self.choices)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Summed cross-entropy over the choices of each row."""
        assert batch.labels is not None
        scores_RC = at_least_float32(choice_logits(model, pooled_states(model, batch))).view(-1, self.choices)
        first = slice(None, None, self.choices)
        each_R = F.cross_entropy(scores_RC, batch.labels[first], reduction="none")
        return Loss(each_R.sum(), len(each_R), each_R.detach(), segment_languages(batch)[first])

    def head_states(
        self, model: PreTrainedModel, batch: Batch, examples: Sequence[Encoded]
    ) -> tuple[Tensor, list[int]]:
        """Pooled states, one a choice."""
        return pooled_states(model, batch), [self.choices] * len(examples)

    def logits(self, model: PreTrainedModel, states_KD: Tensor) -> Tensor:
        """Scores of the choices, [K, 1]."""
        return choice_logits(model, states_KD)

    def decide(self, logits_KC: Tensor, example: Encoded) -> int:
        """Number of the choice with the highest score."""
        return int(logits_KC[:, 0].argmax())

    def counts(self, predicted: Sequence[int], examples: Sequence[Encoded]) -> NDArray[np.float64]:
        """Of every row: 1, and whether it is right."""
        right = np.asarray(predicted) == np.array([int(e.labels[0]) for e in examples])
        return np.stack([np.ones(len(right)), right], axis=1)

    def metrics(self, totals_K: NDArray[np.float64]) -> dict[str, float]:
        """Accuracy."""
        return {"accuracy": float(totals_K[1] / max(1.0, totals_K[0]))}

    def prediction_file(self, predicted: Sequence[int], examples: Sequence[Encoded]) -> tuple[str, str]:
        """A number a line."""
        return "tsv", "".join(f"{i}\n" for i in predicted)


def _place(label: str, choices: int, where: str) -> int:
    if label not in {str(i) for i in range(choices)}:
        raise LabelError(f"label {label!r}", expected=f"the number of a choice, 0 to {choices - 1}", where=where)
    return int(label)
