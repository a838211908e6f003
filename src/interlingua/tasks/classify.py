"""Classification of one or two texts.

Readers (csv, tsv, jsonl, each also .zst or .gz), the loss over ``AutoModelForSequenceClassification``, predictions from
pooled states, accuracy and macro-F1. The two texts of a pair may be in different languages; the language of such an
example is written ``sw/en``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from interlingua.batch import Batch
from interlingua.data import resolve
from interlingua.errors import DataError, nearest
from interlingua.languages import canonical
from interlingua.models.head import pooled_states, sequence_logits
from interlingua.objectives.base import Loss, Targets, at_least_float32
from interlingua.tasks.base import Encoded, Task, at_least_two, lay_out, second_side, segment_languages
from interlingua.text.lines import ReadReport, file_kind, numbered_lines

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.recipe_transfer import LabelledFile, TaskRecipe

__all__ = [
    "Classify",
    "TextExample",
    "Texts",
    "class_counts",
    "class_metrics",
    "crossed",
    "encode_texts",
    "numbered_rows",
    "read_text_examples",
    "texts_of_file",
]


@dataclass(frozen=True)
class TextExample:
    """One or two texts with a label.

    Attributes:
        text: the (first) text.
        lang: canonical tag, or two (``sw/en``) where the second text is in another language.
        label: name of the class.
        text_pair: the second text, or None.
        where: file and line.
    """

    text: str
    lang: str
    label: str
    text_pair: str | None = None
    where: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its label."""
        return (self.label,)


def numbered_rows(path: Path, report: ReadReport) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a csv, tsv or jsonl file by the names of their columns, each with its line."""
    kind = file_kind(path)
    lines = numbered_lines(path, report)
    if kind == ".jsonl":
        for number, line in lines:
            if line.strip():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"not JSON: {line[:60]!r}", where=f"{path}, line {number}") from error
                yield number, {k: str(v) for k, v in row.items() if v is not None}
        return
    if kind not in {".csv", ".tsv"}:
        raise DataError(
            f"labelled file {path.name!r}", expected=".csv, .tsv or .jsonl (also .gz, .zst)", where=str(path)
        )
    header: list[str] | None = None
    for number, line in lines:
        cells = line.split("\t") if kind == ".tsv" else next(csv.reader([line]))
        if header is None:
            header = cells
        elif line.strip():
            if len(cells) != len(header):
                raise DataError(
                    f"{len(cells)} columns",
                    expected=f"{len(header)}: {', '.join(header)}",
                    where=f"{path}, line {number}",
                )
            yield number, dict(zip(header, cells, strict=True))


def read_text_examples(
    path: Path,
    *,
    lang: str | None = None,
    lang_pair: str | None = None,
    split: str | None = None,
    text: str = "text",
    text_pair: str | None = None,
    label: str = "label",
    columns: Mapping[str, str] = MappingProxyType({}),
) -> list[TextExample]:
    """Read a labelled file.

    Args:
        path: csv, tsv or jsonl with named columns.
        lang: language of all rows, unless they have a ``lang`` column.
        lang_pair: language of the second texts where it is another; a ``lang_pair`` column goes before it.
        split: keep only rows whose ``split`` column says so.
        text: column of the text.
        text_pair: column of the second text.
        label: column of the label.
        columns: what this file calls the columns ``lang``, ``lang_pair`` and ``split``.

    Raises:
        DataError: missing or empty file, a missing column, uneven rows, no row of the split.
    """
    path = Path(path)
    own = {name: columns.get(name, name) for name in ("lang", "lang_pair", "split")}
    examples = []
    for number, row in numbered_rows(path, ReadReport()):
        where = f"{path}, line {number}"
        for column in (text, label, *([text_pair] if text_pair else [])):
            if column not in row:
                raise DataError(
                    f"no column {column!r}{nearest(column, row)}", expected=f"one of {', '.join(row)}", where=where,
                    next_step="name the columns with task.text, task.text_pair, task.label",
                )  # fmt: skip
        if split is not None and row.get(own["split"], split) != split:
            continue
        tag = row.get(own["lang"]) or lang
        if not tag:
            raise DataError("a row without a language", expected="a `lang` column, or lang: in the recipe", where=where)
        pair = row[text_pair] if text_pair else None
        tags = [canonical(one) for one in (tag, (row.get(own["lang_pair"]) or lang_pair) if text_pair else None) if one]
        examples.append(TextExample(row[text], "/".join(dict.fromkeys(tags)), row[label], pair, where))
    if not examples:
        raise DataError(f"no example in {path.name!r}" + (f" with split {split!r}" if split else ""),
                        expected="at least one labelled row", where=str(path))  # fmt: skip
    return examples


def texts_of_file(recipe: TaskRecipe, file: LabelledFile) -> list[TextExample]:
    """Examples of a recipe's file: columns as the task says, languages as the file does.

    Raises:
        DataError: a parallel file with other rows.
    """
    named = {str(name): column for name, column in file.columns.items()}
    read = partial(
        read_text_examples,
        split=file.split,
        text=named.get("text", recipe.text),
        text_pair=named.get("text_pair", recipe.text_pair),
        label=named.get("label", recipe.label),
        columns=named,
    )
    if file.path_pair is None:
        return read(resolve(file.path), lang=file.lang, lang_pair=file.lang_pair)
    second = read(resolve(file.path_pair), lang=file.lang_pair or file.lang)
    return crossed(read(resolve(file.path), lang=file.lang), second)


def crossed(first: Sequence[TextExample], second: Sequence[TextExample]) -> list[TextExample]:
    """First texts of one file with second texts of another, row by row (Rajaee and Monz 2024, arXiv 2402.02099).

    Raises:
        DataError: files that are not parallel: another number of rows, another label, or texts without a second one.
    """
    if len(first) != len(second):
        raise DataError(f"{len(first)} and {len(second)} rows", expected="parallel files, row by row",
                        where=f"{first[0].where}; {second[0].where}")  # fmt: skip
    found = []
    for one, other in zip(first, second, strict=True):
        if one.label != other.label or other.text_pair is None:
            raise DataError(
                f"labels {one.label!r} and {other.label!r}, second text {other.text_pair!r}",
                expected="parallel files of pairs: the same label in the same row",
                where=f"{one.where}; {other.where}",
            )
        tags = dict.fromkeys((one.lang.partition("/")[0], other.lang.rpartition("/")[2]))
        found.append(replace(one, text_pair=other.text_pair, lang="/".join(tags)))
    return found


class Texts(Protocol):
    """One or two texts in a language."""

    @property
    def text(self) -> str:
        """The (first) text."""

    @property
    def text_pair(self) -> str | None:
        """The second text."""

    @property
    def lang(self) -> str:
        """Canonical tag, or two."""


def encode_texts(
    examples: Sequence[Texts], tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> tuple[list[Encoded], int]:
    """Tokenise texts or pairs of texts, without their labels; also return how many were cut at ``max_length``."""
    pairs = [e.text_pair for e in examples]
    with_pair = any(p is not None for p in pairs)
    out = tokenizer(
        [e.text for e in examples],
        [p or "" for p in pairs] if with_pair else None,
        truncation=True,
        max_length=max_length,
        return_overflowing_tokens=False,
    )
    types = out.get("token_type_ids")
    encoded = [
        Encoded(
            np.array(ids, dtype=np.int64),
            example.lang,
            np.zeros(0, dtype=np.int64),
            types=np.array(types[i], dtype=np.int64) if types is not None else None,
            second=second_side(out.sequence_ids(i)) if with_pair else None,
        )
        for i, (ids, example) in enumerate(zip(out["input_ids"], examples, strict=True))
    ]
    return encoded, sum(len(e.tokens) == max_length for e in encoded)


def class_counts(labels: Sequence[str], predicted: Sequence[int], examples: Sequence[Encoded]) -> NDArray[np.float64]:
    """Of every class in turn: right, predicted, gold."""
    classes = np.arange(len(labels))
    gold = np.array([e.labels for e in examples]).reshape(-1, 1) == classes
    own = np.array(predicted).reshape(-1, 1) == classes
    return np.concatenate([gold * own, own, gold], axis=1).astype(np.float64)


def class_metrics(totals_K: NDArray[np.float64]) -> dict[str, float]:
    """Accuracy and macro-F1 of summed counts: mean of F1 over the classes that occur in gold or prediction, those never
    taught being one with F1 0.
    """
    right, own, gold = totals_K.reshape(3, -1)
    seen = own + gold > 0
    unseen = own.sum() > gold.sum()
    return {
        "accuracy": float(right.sum() / max(1.0, own.sum())),
        "macro_f1": float(np.sum(2 * right[seen] / (own + gold)[seen]) / max(1, seen.sum() + unseen)),
    }


class Classify(Task):
    """Text classification over a fixed list of labels.

    Args:
        labels: class names; their order is the classifier's.
        name: shown in tables.
        metric: ``accuracy`` or ``macro_f1``.
        unseen: ``stop`` or ``wrong``, as :class:`~interlingua.tasks.Task` has it.
    """

    kind: ClassVar[str] = "classify"
    auto: ClassVar[str] = "AutoModelForSequenceClassification"
    whole_texts: ClassVar[bool] = True

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

    def batch(self, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> Batch:
        """Pack examples with their labels, int64 [S]."""
        labels_S = torch.from_numpy(np.concatenate([e.labels for e in examples]))
        return replace(lay_out(examples, tokenizer), labels=labels_S)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Summed cross-entropy over segments."""
        assert batch.labels is not None
        pooled_SD = pooled_states(model, batch)
        each = F.cross_entropy(at_least_float32(sequence_logits(model, pooled_SD)), batch.labels, reduction="none")
        return Loss(each.sum(), len(each), each.detach(), segment_languages(batch))

    def head_states(
        self, model: PreTrainedModel, batch: Batch, examples: Sequence[Encoded]
    ) -> tuple[Tensor, list[int]]:
        """Pooled states [S, D], one an example."""
        return pooled_states(model, batch), [1] * len(examples)

    def logits(self, model: PreTrainedModel, states_KD: Tensor) -> Tensor:
        """Class logits."""
        return sequence_logits(model, states_KD)

    def decide(self, logits_KC: Tensor, example: Encoded) -> int:
        """Index of the class."""
        return int(logits_KC[0].argmax())

    def counts(self, predicted: Sequence[int], examples: Sequence[Encoded]) -> NDArray[np.float64]:
        """Of every class in turn: right, predicted, gold."""
        return class_counts(self.labels, predicted, examples)

    def metrics(self, totals_K: NDArray[np.float64]) -> dict[str, float]:
        """Accuracy and macro-F1."""
        return class_metrics(totals_K)

    def prediction_file(self, predicted: Sequence[int], examples: Sequence[Encoded]) -> tuple[str, str]:
        """A label a line."""
        return "tsv", "".join(f"{self.labels[i]}\n" for i in predicted)
