"""Everything that is measured is a row of scores.

In: numbers from tasks and probes. Out: rows (model, task, language, split, metric, value, n, seed) in
``scores.jsonl``, from which every table and figure is drawn. Decision: a row is one number with what it takes to read
it; means and spreads are computed when shown, never stored.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from interlingua.errors import DataError
from interlingua.run import atomic_write

__all__ = ["LanguageRow", "Score", "append_scores", "read_scores", "summarise"]


@dataclass(frozen=True)
class Score:
    """One measured number.

    Attributes:
        model: what was measured; controls are models too (``majority``, ``mean``, ``tfidf``, ``random``).
        task: name of the task or probe.
        language: canonical tag.
        split: which part of the data.
        metric: e.g. ``accuracy``.
        value: the number.
        n: examples it was measured on.
        seed: of the training, None where there is none.
    """

    model: str
    task: str
    language: str
    split: str
    metric: str
    value: float
    n: int
    seed: int | None = None

    @property
    def layer(self) -> int | None:
        """The layer that a task's name has as a part of its own, ``words.layer8``; None where it has none."""
        for part in self.task.split("."):
            if part.startswith("layer") and part[5:].isdigit():
                return int(part[5:])
        return None


@dataclass(frozen=True)
class LanguageRow:
    """A language's line in a table.

    Attributes:
        language: canonical tag.
        mean: mean over seeds.
        spread: sample standard deviation over seeds; 0 with one seed.
        gap: the source language's mean minus this one's.
        n: examples.
        seeds: number of seeds.
        controls: control name -> value (mean over its seeds).
    """

    language: str
    mean: float
    spread: float
    gap: float
    n: int
    seeds: int
    controls: dict[str, float] = field(default_factory=dict)


def append_scores(path: Path, scores: Iterable[Score]) -> None:
    """Add rows to a ``scores.jsonl``, replacing rows of the same model, task, language, split, metric and seed."""

    def key(score: Score) -> tuple[object, ...]:
        return (score.model, score.task, score.language, score.split, score.metric, score.seed)

    rows = {key(s): s for s in (read_scores(path) if path.exists() else [])}
    rows |= {key(s): s for s in scores}
    atomic_write(path, "".join(json.dumps(asdict(s), ensure_ascii=False) + "\n" for s in rows.values()))


def read_scores(path: Path) -> list[Score]:
    """Rows of a ``scores.jsonl``.

    Raises:
        DataError: missing, or a line that is not a score.
    """
    if not path.is_file():
        raise DataError(f"no scores at {str(path)!r}", expected="scores.jsonl of a run", where=str(path),
                        next_step="run `interlingua evaluate` first")  # fmt: skip
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(Score(**json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            raise DataError(f"not a score: {line[:60]!r}", where=f"{path}, line {number}") from error
    return rows


def summarise(
    scores: Sequence[Score],
    *,
    metric: str,
    source: str,
    model: str,
    controls: Sequence[str] = ("majority", "mean", "tfidf", "random"),
) -> list[LanguageRow]:
    """A row a language for one model, best first.

    Args:
        scores: rows of one task and split.
        metric: which metric.
        source: language that the task was taught in, for the gap.
        model: whose rows.
        controls: models shown beside it, where they were measured.
    """
    by: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        if score.metric == metric:
            by.setdefault((score.model, score.language), []).append(score)
    own = {lang: rows for (name, lang), rows in by.items() if name == model}
    source_mean = statistics.fmean(s.value for s in own[source]) if source in own else float("nan")
    rows = []
    for lang, measured in own.items():
        values = [s.value for s in measured]
        mean = statistics.fmean(values)
        rows.append(
            LanguageRow(
                language=lang,
                mean=mean,
                spread=statistics.stdev(values) if len(values) > 1 else 0.0,
                gap=source_mean - mean,
                n=measured[0].n,
                seeds=len(values),
                controls={
                    name: statistics.fmean(s.value for s in by[name, lang]) for name in controls if (name, lang) in by
                },
            )
        )
    return sorted(rows, key=lambda row: -row.mean)
