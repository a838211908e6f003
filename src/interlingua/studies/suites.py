"""What studies of taught models share: suites, whose rows become the study's.

In: a suite's recipe, which a study builds. Out: its rows in ``scores.jsonl``, and on request those of blocks of its
test examples, so that a single model has an interval. Decision: the suite's engine teaches, scores and resumes; an
entry and those that its models score are a stage, and weights go when its rows are there, since a study leaves numbers.
Price: a study that gets another test set teaches again; what blocks say is about the test examples, and a model taught
anew would differ by more.

    FOLDER/suites/NAME    as `interlingua evaluate --suite` leaves it, without weights once an entry is done
"""

from __future__ import annotations

import re
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interlingua.evaluate.cache import ScoreCache
from interlingua.recipe_suite import SuiteRecipe
from interlingua.scores import Score
from interlingua.studies.base import CHECKPOINT, Say
from interlingua.studies.probing import Probing

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = ["block_means", "block_scores", "plain", "run_entries"]

#: Parts that a test set is cut into: enough for a bootstrap, and each of ten examples and more at the small scales.
BLOCKS = 20
_BLOCK = re.compile(r"block\d+")


def run_entries(
    probing: Probing, suite: SuiteRecipe, *, blocks: bool = False, encoder: Callable[[], Encoder] | None = None
) -> None:
    """Teach and score the entries of a suite that have no rows in the study yet.

    Args:
        probing: the study's folder, and the suite's encoder.
        suite: the recipe; names of entries are the tasks of the rows.
        blocks: also score :data:`BLOCKS` parts of every test set.
        encoder: opens what is taught, if not the study's own; called when something is missing.
    """
    opened = encoder or (lambda: probing.encoder)
    out = probing.folder / "suites" / suite.name
    for entry in suite.entries:
        if not entry.taught_by:
            names = [one.name for one in suite.entries if entry.name in (one.name, one.taught_by)]
            probing.stage(entry.name, _scored, suite, out, names, opened, probing.say, blocks)
            shutil.rmtree(out / "tuned" / entry.name, ignore_errors=True)


def _scored(
    suite: SuiteRecipe, out: Path, names: Sequence[str], encoder: Callable[[], Encoder], say: Say, blocks: bool
) -> Iterator[Score]:
    from interlingua.evaluate.suite import run_suite

    yield from run_suite(suite, out, entries=names, encoder=encoder(), say=say).scores
    if blocks:
        yield from block_scores(out, names)


def block_scores(suite: Path, names: Sequence[str]) -> Iterator[Score]:
    """Scores of successive parts of the test sets, by the main metric; parallel sets have parallel parts.

    Args:
        suite: run folder of a suite.
        names: of its entries.
    """
    from interlingua.tasks import TASKS

    for kept in ScoreCache(suite / "scored").all():
        settings = dict(kept.task)
        task = TASKS[settings.pop("kind")](**settings)
        whole = next(score for score in kept.scores if score.metric == task.metric)
        if whole.task in names:
            for place, counts in enumerate(np.array_split(kept.counts, BLOCKS)):
                if len(counts):
                    value = task.metrics(counts.sum(axis=0))[task.metric]
                    yield replace(whole, split=f"block{place}", value=value, n=len(counts))


def plain(scores: Sequence[Score], metric: str | None = None) -> list[Score]:
    """Rows of whole test sets, without the row on the encoder."""
    rows = [s for s in scores if s.task != CHECKPOINT and not _BLOCK.fullmatch(s.split)]
    return [s for s in rows if metric in (None, s.metric)]


def block_means(scores: Sequence[Score], arm: Callable[[Score], str]) -> Mapping[str, Mapping[str, float]]:
    """Arm -> block -> mean of the arm's rows, each a test set and seed, in this part of them."""
    found: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        if _BLOCK.fullmatch(score.split) and (name := arm(score)):
            found.setdefault(name, {}).setdefault(score.split, []).append(score.value)
    return {name: {block: statistics.fmean(rows) for block, rows in by.items()} for name, by in found.items()}
