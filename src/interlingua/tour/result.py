"""What a tour ends with, and the three sentences it classifies."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from interlingua.scores import LanguageRow, Score

if TYPE_CHECKING:
    from interlingua.transfer.finetune import Tuned

__all__ = ["TourResult", "beaten_controls", "classify_texts", "mean_over_others"]


@dataclass(frozen=True)
class TourResult:
    """A tour's outcome.

    Attributes:
        report: the HTML page.
        rows: a row a language for the taught task.
        lines: what it showed, a sentence each.
        tuned: the models that were taught, one a seed.
        scores: every measured number.
        seconds: by stage.
    """

    report: Path
    rows: list[LanguageRow]
    lines: list[str]
    tuned: list[Tuned]
    scores: list[Score]
    seconds: dict[str, float] = field(default_factory=dict)

    def classify(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """Class and probability of texts in any language."""
        return classify_texts(self.tuned[0], texts)


def classify_texts(tuned: Tuned, texts: Sequence[str]) -> list[tuple[str, float]]:
    """Class and probability of each text by a tuned classifier."""
    import torch

    if not texts:
        return []
    batch = tuned.tokenizer(list(texts), padding=True, truncation=True, max_length=512, return_tensors="pt")
    with torch.inference_mode():
        probabilities = tuned.model(**batch).logits.softmax(dim=-1)
    best = probabilities.max(dim=-1)
    return [(tuned.task.labels[int(i)], float(p)) for p, i in zip(best.values, best.indices, strict=True)]


def mean_over_others(rows: Sequence[LanguageRow], source: str) -> float:
    """Mean over all languages but the source."""
    return statistics.fmean(row.mean for row in rows if row.language != source)


def beaten_controls(rows: Sequence[LanguageRow]) -> tuple[int, list[str]]:
    """In how many languages every control is beaten, and where one is not (``language: control``)."""
    failed = [f"{row.language}: {name}" for row in rows for name, value in row.controls.items() if value >= row.mean]
    return len(rows) - len({entry.split(":")[0] for entry in failed}), failed
