"""What both tours share: languages, times, the outcome, and the parts of a report that say how it came about."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from interlingua.errors import LanguageError, nearest
from interlingua.languages import canonical
from interlingua.scores import LanguageRow, Score

if TYPE_CHECKING:
    from interlingua.report.page import Section
    from interlingua.transfer.tune import Tuned

__all__ = [
    "SOURCE",
    "Say",
    "Stage",
    "Stopwatch",
    "TourResult",
    "beaten_controls",
    "facts",
    "mean_over_others",
    "method_section",
    "pick_languages",
    "release_memory",
    "sentence_section",
    "trim_heap",
]

#: Told in a line what was found.
Say = Callable[[str], None]
#: Called as (stage, done, total).
Stage = Callable[[str, int, int], None]

SOURCE = "en"


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def lap(self, name: str) -> None:
        """Book the time since the last lap under a name."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._began
        self._began = now


def trim_heap() -> None:
    """Give memory that is free back to the system.

    glibc keeps freed blocks of less than 32 MiB, as the weights of most layers are; without this each stage's garbage
    would lie under the next one's peak.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def release_memory() -> None:
    """The same, after everything that nobody can reach any more was freed."""
    gc.collect()
    trim_heap()


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
        """Class and probability of texts in any language, by the first seed's model."""
        import torch

        if not texts:
            return []
        one = self.tuned[0]
        batch = one.tokenizer(list(texts), padding=True, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            probabilities = one.model(**batch).logits.softmax(dim=-1)
        best = probabilities.max(dim=-1)
        return [(one.task.labels[int(i)], float(p)) for p, i in zip(best.values, best.indices, strict=True)]


def pick_languages(present: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """The languages asked for, English first; all if none is named.

    Raises:
        LanguageError: one that the data do not have, or none but English.
    """
    if wanted is None:
        return [SOURCE, *(lang for lang in present if lang != SOURCE)]
    chosen = [SOURCE]
    for tag in wanted:
        lang = canonical(tag)
        if lang not in present:
            raise LanguageError(f"no test sentences in {tag!r}{nearest(lang, present)}",
                                expected=f"one of {', '.join(present)}", where="--languages")  # fmt: skip
        if lang not in chosen:
            chosen.append(lang)
    if len(chosen) == 1:
        raise LanguageError(
            f"no language beside {SOURCE!r}, in which the task is taught",
            expected=f"at least one of {', '.join(lang for lang in present if lang != SOURCE)}",
            where="--languages",
        )
    return chosen


def mean_over_others(rows: Sequence[LanguageRow], source: str = SOURCE) -> float:
    """Mean over all languages but the source."""
    return statistics.fmean(row.mean for row in rows if row.language != source)


def beaten_controls(rows: Sequence[LanguageRow]) -> tuple[int, list[str]]:
    """In how many languages every control is beaten, and where one is not (``language: control``)."""
    failed = [f"{row.language}: {name}" for row in rows for name, value in row.controls.items() if value >= row.mean]
    return len(rows) - len({entry.split(":")[0] for entry in failed}), failed


def facts(result: TourResult) -> dict[str, str]:
    """The key numbers at the head of a report."""
    english = next(row.mean for row in result.rows if row.language == SOURCE)
    return {
        "languages": str(len(result.rows)),
        "English": f"{english:.3f}",
        "other languages, mean": f"{mean_over_others(result.rows):.3f}",
        "seeds": str(len(result.tuned)),
        "minutes": f"{sum(result.seconds.values()) / 60:.1f}",
    }


def sentence_section(result: TourResult, sentences: Sequence[str], label: str) -> Section:
    """The reader's sentences and their classes."""
    from interlingua.report.page import Section, Table

    table = Table(
        title="",
        caption=f"Class and probability by the first seed's model; it was told neither the language nor the {label}.",
        columns=("sentence", label, "probability"),
        rows=[(text, found, p) for text, (found, p) in zip(sentences, result.classify(sentences), strict=True)],
    )
    return Section("Your sentences", (), (table,))


def method_section(result: TourResult, material: str) -> Section:
    """How it was measured: selection rule, seeds, times, versions."""
    import torch
    import transformers

    import interlingua
    from interlingua.report.page import Section, Table

    times = Table(
        title="Where the time went",
        caption="Seconds of this run.",
        columns=("stage", "seconds"),
        rows=[(name, round(seconds, 1)) for name, seconds in result.seconds.items()],
        digits=1,
    )
    return Section(
        "How this was measured",
        (
            *result.lines,
            f"Selection: {result.tuned[0].selection}; no label of any other language was looked at. "
            f"Spread: standard deviation over seeds {', '.join(str(t.seed) for t in result.tuned)}.",
            f"Material: {material}.",
            f"interlingua {interlingua.__version__}, torch {torch.__version__}, "
            f"transformers {transformers.__version__}, Python {platform.python_version()}, "
            f"{torch.get_num_threads()} threads.",
        ),
        (times,),
    )
