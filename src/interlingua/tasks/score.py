"""One or two texts, and a number: similarity of sentences, quality of a translation, readability.

In: rows with a number where ``classify`` has a label. Out: predictions, their correlation with the numbers, and the
root of the mean squared error. The head is ``AutoModelForSequenceClassification`` with one output and the loss is that
of its ``problem_type="regression"``, the squared error (Devlin et al. 2019 on STS-B).

Decision: a correlation is made of sums over examples, as every other metric is, Spearman's of ranks among all examples
of a language (ties share the mean of theirs). Price: where examples are drawn anew to test a difference, ranks stay
those of the whole. Where one side does not vary there is no correlation, and 0 is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interlingua.batch import Batch
from interlingua.errors import LabelError
from interlingua.models.head import pooled_states, sequence_logits
from interlingua.objectives.base import Loss, Targets, at_least_float32
from interlingua.tasks.base import Encoded, segment_languages
from interlingua.tasks.classify import PooledTask
from interlingua.tasks.texts import encode_texts, texts_of_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.recipe_transfer import LabelledFile, TaskRecipe

__all__ = ["ScoredText", "Scoring"]

#: A variance below so much of the mean square is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class ScoredText:
    """One or two texts with a number.

    Attributes:
        text: the (first) text.
        lang: canonical tag, or two (``sw/en``) where the second text is in another language.
        score: the number.
        text_pair: the second text, or None.
        where: file and line.
    """

    text: str
    lang: str
    score: float
    text_pair: str | None = None
    where: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """None: it has a number."""
        return ()


class Scoring(PooledTask):
    """Regression on one or two texts.

    Args:
        labels: none.
        name: shown in tables.
        metric: ``pearson`` or ``spearman``.
    """

    kind: ClassVar[str] = "score"

    def __init__(self, labels: Sequence[str] = (), *, name: str = "score", metric: str = "pearson") -> None:
        super().__init__(labels, name=name, metric=metric)

    @classmethod
    def read(cls, recipe: TaskRecipe, file: LabelledFile) -> list[ScoredText]:
        """Examples of a file, as ``classify`` reads them, with numbers for labels.

        Raises:
            LabelError: a label that is no number.
        """
        return [
            ScoredText(e.text, e.lang, _number(e.label, where=e.where), e.text_pair, e.where)
            for e in texts_of_file(recipe, file)
        ]

    @classmethod
    def taught_with(cls, recipe: TaskRecipe, train: Sequence[ScoredText]) -> Self:
        """The task as the recipe has it."""
        return cls(name=recipe.name, metric=cls.main_metric(recipe))

    @classmethod
    def main_metric(cls, recipe: TaskRecipe) -> str:
        """Pearson's correlation, if the recipe has no other."""
        return recipe.metric or "pearson"

    def config(self) -> dict[str, Any]:
        """One output."""
        return {"num_labels": 1, "problem_type": "regression"}

    def encode(
        self, examples: Sequence[ScoredText], tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> tuple[list[Encoded], int]:
        """Tokenise examples; also return how many were cut at ``max_length``."""
        encoded, cut = encode_texts(examples, tokenizer, max_length=max_length)
        return [
            replace(one, labels=np.array([example.score], dtype=np.float32))
            for one, example in zip(encoded, examples, strict=True)
        ], cut

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Summed squared error over segments."""
        assert batch.labels is not None
        predicted_S = at_least_float32(sequence_logits(model, pooled_states(model, batch)))[:, 0]
        each_S = (predicted_S - batch.labels).square()
        return Loss(each_S.sum(), len(each_S), each_S.detach(), segment_languages(batch))

    def decide(self, logits_KC: Tensor, example: Encoded) -> float:
        """The number."""
        return float(logits_KC[0, 0])

    def counts(self, predicted: Sequence[float], examples: Sequence[Encoded]) -> NDArray[np.float64]:
        """Of every example: 1; then prediction, number, their squares and product; then the same of their ranks."""
        from scipy.stats import rankdata

        own, gold = np.array(predicted, dtype=np.float64), np.array([float(e.labels[0]) for e in examples])
        columns = [np.ones(len(own))]
        for x, y in ((own, gold), (rankdata(own), rankdata(gold))):
            columns += [x, y, x * x, y * y, x * y]
        return np.stack(columns, axis=1)

    def metrics(self, totals_K: NDArray[np.float64]) -> dict[str, float]:
        """Pearson's and Spearman's correlation, and the root of the mean squared error."""
        count = max(1.0, float(totals_K[0]))
        values, ranks = np.split(totals_K[1:] / count, 2)
        _, _, xx, yy, xy = values.tolist()
        return {
            "pearson": _correlation(*values.tolist()),
            "spearman": _correlation(*ranks.tolist()),
            "rmse": math.sqrt(max(0.0, xx + yy - 2 * xy)),
        }

    def prediction_file(self, predicted: Sequence[float], examples: Sequence[Encoded]) -> tuple[str, str]:
        """A number a line."""
        return "tsv", "".join(f"{value!r}\n" for value in predicted)


def _number(label: str, *, where: str) -> float:
    try:
        value = float(label)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabelError(
            f"label {label!r}",
            expected="a number, such as 3.5",
            where=where,
            next_step="name the column of the numbers with task.label; task.type=classify takes any label",
        )
    return value


def _correlation(x: float, y: float, xx: float, yy: float, xy: float) -> float:
    """Pearson's correlation from means of two variables, of their squares and of their product."""
    variances = xx - x * x, yy - y * y
    if any(own <= _ROUNDING * square for own, square in zip(variances, (xx, yy), strict=True)):
        return 0.0
    return (xy - x * y) / math.sqrt(variances[0] * variances[1])
