"""Classification of one or two texts.

Readers (csv, tsv, jsonl, each also .zst or .gz), the loss over ``AutoModelForSequenceClassification``, predictions
with their pooled states (so that a language's mean can be shifted before the head), accuracy and macro-F1.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import nn

from interlingua.batch import Batch
from interlingua.errors import DataError, LabelError, nearest
from interlingua.languages import canonical
from interlingua.models.head import pooled_states, sequence_logits
from interlingua.objectives.base import Loss, Targets, at_least_float32
from interlingua.shards.stream import Layout
from interlingua.tasks.base import Encoded, batch_of, prediction_batches
from interlingua.text.lines import ReadReport, file_kind, numbered_lines

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Classify", "TextExample", "read_text_examples"]


@dataclass(frozen=True)
class TextExample:
    """One or two texts with a label.

    Attributes:
        text: the (first) text.
        lang: canonical tag.
        label: name of the class.
        text_pair: the second text, or None.
        where: file and line.
    """

    text: str
    lang: str
    label: str
    text_pair: str | None = None
    where: str = ""


def _rows(path: Path, report: ReadReport) -> Iterator[tuple[int, dict[str, str]]]:
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
    split: str | None = None,
    text: str = "text",
    text_pair: str | None = None,
    label: str = "label",
) -> list[TextExample]:
    """Read a labelled file.

    Args:
        path: csv, tsv or jsonl with named columns.
        lang: language of all rows, unless they have a ``lang`` column.
        split: keep only rows whose ``split`` column says so.
        text: column of the text.
        text_pair: column of the second text.
        label: column of the label.

    Raises:
        DataError: missing or empty file, a missing column, uneven rows, no row of the split.
    """
    path = Path(path)
    examples = []
    for number, row in _rows(path, ReadReport()):
        where = f"{path}, line {number}"
        for column in (text, label, *([text_pair] if text_pair else [])):
            if column not in row:
                raise DataError(
                    f"no column {column!r}{nearest(column, row)}", expected=f"one of {', '.join(row)}", where=where,
                    next_step="name the columns with task.text, task.text_pair, task.label",
                )  # fmt: skip
        if split is not None and row.get("split", split) != split:
            continue
        tag = row.get("lang") or lang
        if not tag:
            raise DataError("a row without a language", expected="a `lang` column, or lang: in the recipe", where=where)
        pair = row[text_pair] if text_pair else None
        examples.append(TextExample(row[text], canonical(tag), row[label], pair, where))
    if not examples:
        raise DataError(f"no example in {path.name!r}" + (f" with split {split!r}" if split else ""),
                        expected="at least one labelled row", where=str(path))  # fmt: skip
    return examples


class Classify:
    """Text classification over a fixed list of labels.

    Args:
        labels: class names; their order is the classifier's.
        name: shown in tables.
        metric: ``accuracy`` or ``macro_f1``.
    """

    layout = Layout("single")
    splittable = True
    networks: Mapping[str, nn.Module] = {}
    per_token = False

    def __init__(self, labels: Sequence[str], *, name: str = "classify", metric: str = "accuracy") -> None:
        self.labels = tuple(labels)
        self.name = name
        self.metric = metric

    def encode(
        self, examples: Sequence[TextExample], tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> tuple[list[Encoded], int]:
        """Tokenise examples; also return how many were cut at ``max_length``.

        Raises:
            LabelError: a label that is not in ``labels``.
        """
        known = {label: i for i, label in enumerate(self.labels)}
        for example in examples:
            if example.label not in known:
                raise LabelError(
                    f"label {example.label!r}{nearest(example.label, known)}",
                    expected=f"a label seen in training: {', '.join(self.labels)}",
                    where=example.where,
                    next_step="map it to one of these in the file, or add it to the training examples",
                )
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
        encoded = []
        for i, (ids, example) in enumerate(zip(out["input_ids"], examples, strict=True)):
            encoded.append(
                Encoded(
                    np.array(ids, dtype=np.int64),
                    example.lang,
                    np.array([known[example.label]], dtype=np.int64),
                    types=np.array(types[i], dtype=np.int64) if types is not None else None,
                )
            )
        cut = sum(len(e.tokens) == max_length for e in encoded)
        return encoded, cut

    def batch(self, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> Batch:
        """Pack examples with their labels."""
        return batch_of(examples, tokenizer, per_token=False)

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """The labels are in the batch; one prediction a segment."""
        return Targets(batch.segments)

    def rows(self, targets: Targets, batch: Batch, start: int, stop: int) -> Targets:
        """Targets of some rows."""
        return Targets(len(torch.unique(batch.segments_BL[start:stop])))

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Summed cross-entropy over segments."""
        assert batch.labels is not None
        pooled_SD = pooled_states(model, batch)
        each = F.cross_entropy(at_least_float32(sequence_logits(model, pooled_SD)), batch.labels, reduction="none")
        languages_S = torch.zeros(batch.segments + 1, dtype=torch.long, device=each.device)
        languages_S[batch.segments_BL.reshape(-1)] = batch.languages_BL.reshape(-1)
        return Loss(each.sum(), len(each), each.detach(), languages_S[1:])

    def pooled(
        self, model: PreTrainedModel, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase
    ) -> NDArray[Any]:
        """Pooled states before the head, float32 [examples, D]."""
        out = np.zeros((len(examples), model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for indices, chosen in prediction_batches(examples, tokenizer):
                batch = self.batch(chosen, tokenizer).to(model.device)
                out[indices] = pooled_states(model, batch).float().cpu().numpy()
        return out

    def predict_pooled(self, model: PreTrainedModel, pooled: NDArray[Any]) -> NDArray[Any]:
        """Class indices from pooled states."""
        with torch.inference_mode():
            logits = sequence_logits(model, torch.from_numpy(pooled).to(model.device, model.dtype))
            return np.asarray(logits.argmax(dim=-1).cpu().numpy())

    def predict(
        self, model: PreTrainedModel, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase
    ) -> NDArray[Any]:
        """Class indices, int64 [examples]."""
        return self.predict_pooled(model, self.pooled(model, examples, tokenizer))

    def score(self, predicted: NDArray[Any], examples: Sequence[Encoded]) -> dict[str, float]:
        """Accuracy and macro-F1 (mean of F1 over the classes that occur in gold or prediction)."""
        from sklearn.metrics import f1_score

        gold = np.array([int(e.labels[0]) for e in examples])
        return {
            "accuracy": float((predicted == gold).mean()),
            "macro_f1": float(f1_score(gold, predicted, average="macro", zero_division=0)),
        }
