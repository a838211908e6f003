"""What a task is to the rest: labelled examples in, batches, a loss, predictions and a metric out.

In: examples of any language, tokenised once. Out: :class:`TaskStream` (batch t of a shuffled epoch) for the loop,
predictions, scores, prediction files. Decisions: a task is an :class:`~interlingua.objectives.Objective` like any
other, so tuning is the same loop as pretraining; its network runs once to the states its head looks at, from which
predictions follow, so that whoever shifts or steers does so between the two; if the lower layers of the network are
frozen, their states are computed once per example and the loop runs the upper layers only. Price: those states stay in
memory (4 bytes x width a token).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from interlingua.batch import Batch, rows_from_texts
from interlingua.errors import LabelError, nearest
from interlingua.models.attention import lower_states
from interlingua.models.encoder import length_sorted_batches
from interlingua.objectives.base import Loss, Targets
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.recipe_transfer import LabelledFile, TaskRecipe

__all__ = [
    "UNSEEN",
    "Encoded",
    "Example",
    "States",
    "Task",
    "TaskStream",
    "add_frozen_states",
    "at_least_two",
    "lay_out",
    "prediction_batches",
    "second_side",
    "segment_languages",
    "some",
    "token_order",
]

#: Index of a gold label that was never taught; no prediction is it.
UNSEEN = -2

#: Indices of some examples, the states that the head looks at for all of them [K, D], and how many each has.
States = tuple[NDArray[Any], Tensor, list[int]]


class Example(Protocol):
    """What every labelled example has."""

    @property
    def lang(self) -> str:
        """Canonical tag; two of them (``sw/en``) where the sides of a pair are in different languages."""

    @property
    def where(self) -> str:
        """File and line."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its classes: one, one a word, or none where a task has no classes."""


@dataclass(frozen=True)
class Encoded:
    """A tokenised example, or a window of one.

    Attributes:
        tokens: ids with specials, int64 [n].
        lang: canonical tag.
        labels: what is to be predicted, as the task has it, int64 or float32.
        types: token types, int64 [n], or None.
        words: tag: place of the first token of each word, -1 for words cut away; cloze: places of the masks.
        gold: tag: tag index of every word, also of those cut away.
        spans: span: characters (first, behind the last) of each token of the passage, -1 elsewhere, int64 [n, 2].
        example: tag: the sentence; span: the question it is a window of.
        ends: where an example is several texts, one after another in ``tokens``: behind the last token of each.
        states: states of the frozen lower layers [n, D], if computed.
        states_layer: how many layers they have behind them.
        second: where the second side begins, if there are two; it may be in another language.
    """

    tokens: NDArray[Any]
    lang: str
    labels: NDArray[Any]
    types: NDArray[Any] | None = None
    words: NDArray[Any] | None = None
    gold: NDArray[Any] | None = None
    spans: NDArray[Any] | None = None
    example: Any = None
    ends: NDArray[Any] | None = None
    states: NDArray[Any] | None = None
    states_layer: int = 0
    second: int | None = None

    def parts(self) -> list[Encoded]:
        """Its texts, each alone and without labels; itself where it is one."""
        if self.ends is None:
            return [self]

        def cut(values: NDArray[Any] | None, begin: int, end: int) -> NDArray[Any] | None:
            return None if values is None else values[begin:end]

        return [
            replace(self, tokens=self.tokens[begin:end], types=cut(self.types, begin, end),
                    states=cut(self.states, begin, end), ends=None)
            for begin, end in pairwise([0, *self.ends.tolist()])
        ]  # fmt: skip


class Task(ABC):
    """A task over a fixed list of labels: an objective that also reads, predicts, scores and writes.

    Args:
        labels: names of the classes; their order is the head's.
        name: shown in tables.
        metric: the main one.
        unseen: what an example to be scored is, whose label is not in ``labels``: an error (``stop``) or an example
            predicted wrong, as it will be (``wrong``).
    """

    kind: ClassVar[str]
    """Its type in recipes."""
    auto: ClassVar[str]
    """The class of ``transformers`` that opens its networks."""
    whole_texts: ClassVar[bool] = False
    """Whether it judges whole texts, as sentence vectors do: then an encoder's pooling and prefix are used."""
    pretrained_head: ClassVar[bool] = False
    """Whether its head is the pretrained network's own: then it can be done with nothing taught."""
    layout = Layout("single")
    splittable = True
    networks: Mapping[str, nn.Module] = {}

    def __init__(self, labels: Sequence[str], *, name: str, metric: str, unseen: str = "stop") -> None:
        self.labels = tuple(labels)
        self.name = name
        self.metric = metric
        self.unseen = unseen

    @classmethod
    @abstractmethod
    def read(cls, recipe: TaskRecipe, file: LabelledFile) -> list[Any]:
        """Examples of a file."""

    @classmethod
    @abstractmethod
    def taught_with(cls, recipe: TaskRecipe, train: Sequence[Any]) -> Self:
        """The task over the labels of its training examples."""

    @classmethod
    def main_metric(cls, recipe: TaskRecipe) -> str:
        """The metric that epochs are selected and tables shown by."""
        return recipe.metric or "accuracy"

    @classmethod
    def suite_metrics(cls, recipe: TaskRecipe) -> tuple[str, ...]:
        """The metrics whose mean is the task's part of a suite's score."""
        return (cls.main_metric(recipe),)

    def settings(self) -> dict[str, Any]:
        """What its constructor wants, for ``interlingua.json``."""
        return {"labels": list(self.labels), "name": self.name, "metric": self.metric}

    def check_labels(self, examples: Sequence[Example]) -> list[str]:
        """Which labels of some examples were never taught: a line each, with how many examples have it.

        Raises:
            LabelError: there is one, and the task does not say that such examples are wrong.
        """
        known = set(self.labels)
        unseen: dict[str, list[Example]] = {}
        for example in examples:
            for label in set(example.labels) - known:
                unseen.setdefault(label, []).append(example)
        lines = []
        for label, having in sorted(unseen.items()):
            languages = list(dict.fromkeys(example.lang for example in having))
            count = f"{len(having):,} example{'s' * (len(having) > 1)} in {some(languages)}"
            if self.unseen == "stop":
                raise LabelError(
                    f"label {label!r}{nearest(label, known)}, {count}",
                    expected=f"a label seen in training: {', '.join(self.labels)}",
                    where=having[0].where,
                    next_step="map it to one of these (task.mapping: FILE), add it to the training examples, or count "
                    "such examples as wrong (task.unseen_labels: wrong)",
                )
            lines.append(f"label {label!r} was never taught: {count} counted as wrong")
        return lines

    def label_index(self, label: str) -> int:
        """Place of a label in ``labels``; ``UNSEEN`` if it is not there."""
        return self.labels.index(label) if label in self.labels else UNSEEN

    def config(self) -> dict[str, Any]:
        """What the network's configuration says of the labels."""
        return {
            "num_labels": len(self.labels),
            "id2label": dict(enumerate(self.labels)),
            "label2id": {label: i for i, label in enumerate(self.labels)},
        }

    @abstractmethod
    def encode(
        self, examples: Sequence[Any], tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> tuple[list[Encoded], int]:
        """Tokenise examples; also return how many (or how many words) were cut at ``max_length``."""

    @abstractmethod
    def batch(self, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> Batch:
        """Pack examples with their labels."""

    def notes(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """What is to be said of the task and a vocabulary before anything is taught, a line each."""
        return []

    def settled(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Self:
        """The task with all that it must know of a network that was taught; itself, by default."""
        return self

    def control(self) -> Task:
        """What a network with random weights is taught in its place; itself, by default."""
        return self

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """The labels are in the batch; one prediction a segment."""
        return Targets(batch.segments)

    def rows(self, targets: Any, batch: Batch, start: int, stop: int) -> Targets:
        """Targets of some rows."""
        segments = torch.unique(batch.segments_BL[start:stop])
        return Targets(int((segments > 0).sum()))

    @abstractmethod
    def loss(self, model: PreTrainedModel, batch: Batch, targets: Any) -> Loss:
        """The summed loss of a batch."""

    @abstractmethod
    def head_states(
        self, model: PreTrainedModel, batch: Batch, examples: Sequence[Encoded]
    ) -> tuple[Tensor, list[int]]:
        """States that the head looks at, example after example [K, D], and how many each has."""

    @abstractmethod
    def logits(self, model: PreTrainedModel, states_KD: Tensor) -> Tensor:
        """What the head makes of them, [K, C]."""

    @abstractmethod
    def decide(self, logits_KC: Tensor, example: Encoded) -> Any:
        """The prediction of one example."""

    @abstractmethod
    def counts(self, predicted: Sequence[Any], examples: Sequence[Encoded]) -> NDArray[np.float64]:
        """What each example adds to the metrics, [examples, K]: sums of any of them give metrics of these."""

    @abstractmethod
    def metrics(self, totals_K: NDArray[np.float64]) -> dict[str, float]:
        """Metrics from sums of counts."""

    def score(self, predicted: Sequence[Any], examples: Sequence[Encoded]) -> dict[str, float]:
        """Metrics of predictions."""
        return self.metrics(self.counts(predicted, examples).sum(axis=0))

    @abstractmethod
    def prediction_file(self, predicted: Sequence[Any], examples: Sequence[Encoded]) -> tuple[str, str]:
        """Predictions in the layout of XTREME's submissions: the ending of the file's name, and its text."""

    def states(
        self, model: PreTrainedModel, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase
    ) -> Iterator[States]:
        """Run the network up to its head, some examples of about the same length at a time."""
        for indices, chosen in prediction_batches(examples, tokenizer):
            with torch.inference_mode():
                batch = self.batch(chosen, tokenizer).to(model.device)
                states_KD, counts = self.head_states(model, batch, chosen)
            yield indices, states_KD, counts

    def predict(
        self, model: PreTrainedModel, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase
    ) -> list[Any]:
        """A prediction an example."""
        return self.predict_states(model, self.states(model, examples, tokenizer), examples)

    def predict_states(
        self,
        model: PreTrainedModel,
        states: Iterable[States],
        examples: Sequence[Encoded],
        *,
        shift: NDArray[np.float32] | None = None,
    ) -> list[Any]:
        """Predictions from the states before the head.

        Args:
            model: a network with a head.
            states: of :meth:`states`.
            examples: the same that these are of.
            shift: vector [D] added to every state (a language's mean shift).
        """
        out: list[Any] = [None] * len(examples)
        with torch.inference_mode():
            for indices, states_KD, counts in states:
                if shift is not None:
                    states_KD = states_KD + torch.from_numpy(shift).to(states_KD)
                logits_KC = self.logits(model, states_KD).float().cpu()
                for i, own_KC in zip(indices, torch.split(logits_KC, counts), strict=True):
                    out[i] = self.decide(own_KC, examples[i])
        return out


def some(words: Sequence[str], most: int = 6) -> str:
    """Words in a row, the later of many counted only."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def at_least_two(labels: Collection[str]) -> list[str]:
    """Labels in order, if there is something to choose from.

    Raises:
        LabelError: fewer than two.
    """
    if len(labels) < 2:
        raise LabelError(
            f"{len(labels)} label(s) in the training examples: {sorted(labels)}",
            expected="at least two",
            where="task.train",
            next_step="check task.label, the name of the label column",
        )
    return sorted(labels)


def lay_out(examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> Batch:
    """Pack examples, without their labels; segment ``i + 1`` is example ``i``, or text ``i`` if they have several.

    Every token knows the language of its own side.
    """
    examples = [part for example in examples for part in example.parts()]
    longest = max(len(e.tokens) for e in examples)
    languages = sorted({tag for e in examples for tag in e.lang.split("/")})
    batch = rows_from_texts(
        [e.tokens for e in examples],
        pad_id=tokenizer.pad_token_id,
        row_length=max(longest, min(128, sum(len(e.tokens) for e in examples))),
        special_ids=np.array(tokenizer.all_special_ids),
        token_languages=[_token_languages(e, languages) for e in examples],
        types=None if examples[0].types is None else [e.types for e in examples if e.types is not None],
        states=None if examples[0].states is None else [e.states for e in examples if e.states is not None],
        states_layer=examples[0].states_layer,
    )
    return replace(batch, language_names=tuple(languages))


def _token_languages(example: Encoded, languages: Sequence[str]) -> NDArray[Any]:
    """Index of every token's language."""
    first, *other = (languages.index(tag) for tag in example.lang.split("/"))
    found = np.full(len(example.tokens), first, dtype=np.int64)
    if other and example.second is not None:
        found[example.second :] = other[0]
    return found


def second_side(sides: Sequence[int | None]) -> int | None:
    """Where the second side of a pair begins, from the tokenizer's ``sequence_ids``; None if there is none."""
    return next((place for place, side in enumerate(sides) if side == 1), None)


def token_order(batch: Batch) -> tuple[Tensor, Tensor]:
    """Where the tokens of the segments stand.

    Returns:
        Places in the flattened [B * L] batch, segment after segment, int64 [N]; and where each segment begins in
        these, int64 [S + 1].
    """
    segments = batch.segments_BL.flatten()
    counts = torch.bincount(segments, minlength=batch.segments + 1)
    order = torch.argsort(segments, stable=True)[counts[0] :]
    return order, torch.nn.functional.pad(counts[1:].cumsum(0), (1, 0))


def segment_languages(batch: Batch) -> Tensor:
    """Index of the language of every segment (of its first side), int64 [S]."""
    order_N, begins_S = token_order(batch)
    languages_S: Tensor = batch.languages_BL.flatten()[order_N[begins_S[:-1]]]
    return languages_S


class TaskStream:
    """Batch t of a training set, shuffled anew each epoch by a key of (seed, epoch).

    Args:
        task: lays the batches out.
        examples: tokenised training examples.
        tokenizer: gives the special ids.
        batch_size: examples a batch.
        seed: of the shuffling.
    """

    def __init__(
        self,
        task: Task,
        examples: Sequence[Encoded],
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self.task = task
        self.examples = examples
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.seed = seed
        self.steps_an_epoch = -(-len(examples) // batch_size)

    def batch(self, t: int, layout: Layout | None = None) -> Batch:
        """Batch ``t``; epochs follow one another, the last batch of each may be smaller."""
        epoch, step = divmod(t, self.steps_an_epoch)
        order = keyed_generator(self.seed, epoch, 7).permutation(len(self.examples))
        chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
        return self.task.batch([self.examples[i] for i in chosen], self.tokenizer)


def prediction_batches(
    examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase, *, batch_tokens: int = 2048
) -> list[tuple[NDArray[Any], list[Encoded]]]:
    """Examples of about the same length together: (indices, examples) a batch."""
    order = np.argsort([len(e.tokens) for e in examples], kind="stable")
    found, start = [], 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and len(examples[order[stop]].tokens) * (stop + 1 - start) <= batch_tokens:
            stop += 1
        chosen = order[start:stop]
        found.append((chosen, [examples[i] for i in chosen]))
        start = stop
    return found


def add_frozen_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Encoded],
    layers: int,
    *,
    batch_tokens: int = 2048,
) -> list[Encoded]:
    """The same examples with the states of the network's lowest ``layers`` layers."""
    wholes, examples = examples, [part for example in examples for part in example.parts()]
    found: list[NDArray[Any]] = [np.zeros(0)] * len(examples)
    with torch.inference_mode():
        for indices, batch in length_sorted_batches([e.tokens for e in examples], tokenizer, batch_tokens=batch_tokens):
            if examples[indices[0]].types is not None:
                types = [examples[i].types for i in indices]
                types_BL = torch.zeros_like(batch.tokens_BL)
                for row, value in enumerate(types):
                    assert value is not None
                    types_BL[row, : len(value)] = torch.from_numpy(value)
                batch = replace(batch, types_BL=types_BL)
            states_BLD = lower_states(model, batch.to(model.device), layers).float().cpu().numpy()
            for row, i in enumerate(indices):
                found[i] = states_BLD[row, : len(examples[i].tokens)].copy()
    remaining = iter(found)
    return [
        replace(whole, states_layer=layers, states=np.concatenate([next(remaining) for _ in whole.parts()]))
        for whole in wholes
    ]
