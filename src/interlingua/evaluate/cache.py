"""What was scored already, so that a suite scores only what is new.

In: a model's fingerprint, examples, and how they are scored. Out: the scores, counts and prediction file of the first
time. Decision: the key is made of contents (weights, texts, labels, settings), never of names or dates, so a renamed
file is found and a changed label is not. Price: all test files are read to know that nothing is to be done.

    OUT/scored/KEY.json    the Scores rows and where predictions are
    OUT/scored/KEY.npy     what each example adds to the metrics
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlingua.run import atomic_write, saving
from interlingua.scores import Score

__all__ = ["ScoreCache", "Scored", "digest_of", "key_of"]


def digest_of(examples: Sequence[Any]) -> str:
    """A name for some examples: a hash of their contents, not of where they stood."""
    digest = hashlib.sha256()
    for example in examples:
        contents = asdict(example)
        for name in ("where", "note"):
            contents.pop(name, None)
        digest.update(json.dumps(contents, ensure_ascii=False, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def key_of(**contents: Any) -> str:
    """A name for everything that a score follows from."""
    return hashlib.sha256(json.dumps(contents, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Scored:
    """What is kept of a model's test in a language.

    Attributes:
        scores: rows.
        task: the task's kind and settings, by which metrics follow from counts.
        examples: digest of the examples.
        counts: what each adds to the metrics, [examples, K].
    """

    scores: list[Score]
    task: dict[str, Any]
    examples: str
    counts: NDArray[np.float64]


class ScoreCache:
    """The folder ``scored`` of a suite's run.

    Args:
        folder: where it is, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Scored | None:
        """What was kept under a key."""
        path = self.folder / f"{key}.json"
        if not path.is_file():
            return None
        facts = json.loads(path.read_text(encoding="utf-8"))
        if "task" not in facts:  # written before metrics followed from what is kept
            return None
        counts = np.load(self.folder / f"{key}.npy")
        return Scored([Score(**row) for row in facts["scores"]], facts["task"], facts["examples"], counts)

    def put(self, key: str, scored: Scored) -> None:
        """Keep something; the file that is looked for is written last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{key}.npy"
        with saving(path):
            np.save(path, scored.counts)
        rows = [asdict(score) for score in scored.scores]
        facts = {"task": scored.task, "examples": scored.examples, "scores": rows}
        atomic_write(self.folder / f"{key}.json", json.dumps(facts, ensure_ascii=False))

    def all(self) -> list[Scored]:
        """Everything that was kept."""
        keys = sorted(path.stem for path in self.folder.glob("*.json"))
        return [found for key in keys if (found := self.get(key)) is not None]
