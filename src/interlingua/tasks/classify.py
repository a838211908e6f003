"""Classification of one or two texts, and what it has in common with other tasks.

In: texts with a class each (:mod:`interlingua.tasks.texts`). Out: the loss over ``AutoModelForSequenceClassification``,
predictions from pooled states, accuracy and macro-F1. Decision: what every task on pooled states does, and what every
task that predicts classes does, are bases of their own. Price: two bases to read before the task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from interlingua.batch import Batch
from interlingua.models.head import pooled_states, sequence_logits
from interlingua.objectives.base import Loss, Targets, at_least_float32
from interlingua.tasks.base import Encoded, Task, at_least_two, lay_out, segment_languages
from interlingua.tasks.texts import TextExample, encode_texts, texts_of_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.recipe_transfer import LabelledFile, TaskRecipe

__all__ = ["ClassTask", "Classify", "PooledTask"]


class PooledTask(Task):
    """A task on one state a text, over ``AutoModelForSequenceClassification``."""

    auto: ClassVar[str] = "AutoModelForSequenceClassification"
    whole_texts: ClassVar[bool] = True

    def batch(self, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> Batch:
        """Pack examples with their labels or numbers, [S]."""
        labels_S = torch.from_numpy(np.concatenate([e.labels for e in examples]))
        return replace(lay_out(examples, tokenizer), labels=labels_S)

    def head_states(
        self, model: PreTrainedModel, batch: Batch, examples: Sequence[Encoded]
    ) -> tuple[Tensor, list[int]]:
        """Pooled states [S, D], one an example."""
        return pooled_states(model, batch), [1] * len(examples)

    def logits(self, model: PreTrainedModel, states_KD: Tensor) -> Tensor:
        """What the classifier makes of pooled states, [K, C]."""
        return sequence_logits(model, states_KD)


class ClassTask(Task):
    """A task that predicts one class an example."""

    def counts(self, predicted: Sequence[int], examples: Sequence[Encoded]) -> NDArray[np.float64]:
        """Of every class in turn: right, predicted, gold."""
        classes = np.arange(len(self.labels))
        gold = np.array([e.labels for e in examples]).reshape(-1, 1) == classes
        own = np.array(predicted).reshape(-1, 1) == classes
        return np.concatenate([gold * own, own, gold], axis=1).astype(np.float64)

    def metrics(self, totals_K: NDArray[np.float64]) -> dict[str, float]:
        """Accuracy and macro-F1 of summed counts: mean of F1 over the classes that occur in gold or prediction, those
        never taught being one with F1 0.
        """
        right, own, gold = totals_K.reshape(3, -1)
        seen = own + gold > 0
        unseen = own.sum() > gold.sum()
        return {
            "accuracy": float(right.sum() / max(1.0, own.sum())),
            "macro_f1": float(np.sum(2 * right[seen] / (own + gold)[seen]) / max(1, seen.sum() + unseen)),
        }

    def prediction_file(self, predicted: Sequence[int], examples: Sequence[Encoded]) -> tuple[str, str]:
        """A label a line."""
        return "tsv", "".join(f"{self.labels[i]}\n" for i in predicted)


class Classify(ClassTask, PooledTask):
    """Text classification over a fixed list of labels.

    Args:
        labels: class names; their order is the classifier's.
        name: shown in tables.
        metric: ``accuracy`` or ``macro_f1``.
        unseen: ``stop`` or ``wrong``, as :class:`~interlingua.tasks.Task` has it.
    """

    kind: ClassVar[str] = "classify"
    auto: ClassVar[str] = "AutoModelForSequenceClassification"

    def __init__(
        self, labels: Sequence[str], *, name: str = "classify", metric: str = "accuracy", unseen: str = "stop"
    ) -> None:
        super().__init__(labels, name=name, metric=metric, unseen=unseen)

    @classmethod
    def read(cls, recipe: TaskRecipe, file: LabelledFile) -> list[TextExample]:
        """Examples of a file, as :func:`read_text_examples` reads them."""
        return texts_of_file(recipe, file)

    @classmethod
    def taught_with(cls, recipe: TaskRecipe, train: Sequence[TextExample]) -> Self:
        """The task over the labels of its training examples."""
        labels = at_least_two({example.label for example in train})
        return cls(labels, name=recipe.name, metric=cls.main_metric(recipe), unseen=recipe.unseen_labels)

    def settings(self) -> dict[str, Any]:
        """What its constructor wants."""
        return super().settings() | {"unseen": self.unseen}

    def encode(
        self, examples: Sequence[TextExample], tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> tuple[list[Encoded], int]:
        """Tokenise examples; also return how many were cut at ``max_length``.

        Raises:
            LabelError: a label that is not in ``labels``, unless such examples are wrong.
        """
        self.check_labels(examples)
        encoded, cut = encode_texts(examples, tokenizer, max_length=max_length)
        labels = [np.array([self.label_index(e.label)], dtype=np.int64) for e in examples]
        return [replace(e, labels=label) for e, label in zip(encoded, labels, strict=True)], cut

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Summed cross-entropy over segments."""
        assert batch.labels is not None
        pooled_SD = pooled_states(model, batch)
        each = F.cross_entropy(at_least_float32(sequence_logits(model, pooled_SD)), batch.labels, reduction="none")
        return Loss(each.sum(), len(each), each.detach(), segment_languages(batch))

    def decide(self, logits_KC: Tensor, example: Encoded) -> int:
        """Index of the class."""
        return int(logits_KC[0].argmax())
