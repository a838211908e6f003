"""Every error that interlingua raises on purpose.

    InterlinguaError
    ├── RecipeError            a recipe that cannot be run: unknown key, wrong type, senseless combination
    ├── LanguageError          a language tag nobody knows, or a language without text
    ├── DataError              input that cannot be read: missing, empty, undecodable, uneven
    │   └── LabelError         a label that training never saw
    ├── VocabularyError        a vocabulary that cannot be trained, or does not fit its model
    ├── ShardError             shards that are unfinished, damaged, or of another vocabulary
    ├── CheckpointError        a checkpoint of another architecture, unfinished, or unsafe
    ├── ModelUnavailableError  a model that no source could deliver
    ├── RunError               a run folder of another recipe, or in use by another process
    ├── SaveError              nothing could be written (full disk); what was saved before still stands
    └── MissingExtraError      an optional dependency is not installed

Each carries four parts, so that a message reads the same everywhere: what was *found* (with its ``repr``), what
was *expected*, *where* (file, line, field), and the *next step* for the reader.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "DataError",
    "InterlinguaError",
    "LabelError",
    "LanguageError",
    "MissingExtraError",
    "ModelUnavailableError",
    "RecipeError",
    "RunError",
    "SaveError",
    "ShardError",
    "VocabularyError",
    "nearest",
]


class InterlinguaError(Exception):
    """Base of the tree.

    Args:
        found: what is wrong, in one sentence, with the offending value's ``repr``.
        expected: what would have been right.
        where: file and line, recipe field, or function argument.
        next_step: what the reader can do now.
    """

    def __init__(
        self,
        found: str,
        *,
        expected: str | None = None,
        where: str | None = None,
        next_step: str | None = None,
    ) -> None:
        self.found = found
        self.expected = expected
        self.where = where
        self.next_step = next_step
        parts = [found]
        for name, text in (("expected", expected), ("where", where), ("next", next_step)):
            if text:
                parts.append(f"  {name + ':':<10}{text}")
        super().__init__("\n".join(parts))


class RecipeError(InterlinguaError):
    """A recipe that cannot be run."""


class LanguageError(InterlinguaError):
    """An unknown language tag, or a language without text."""


class DataError(InterlinguaError):
    """Input that cannot be read."""


class LabelError(DataError):
    """A label that training never saw."""


class VocabularyError(InterlinguaError):
    """A vocabulary that cannot be trained, or does not fit its model."""


class ShardError(InterlinguaError):
    """Shards that are unfinished, damaged, or written with another vocabulary."""


class CheckpointError(InterlinguaError):
    """A checkpoint of another architecture, unfinished, or unsafe to open."""


class ModelUnavailableError(InterlinguaError):
    """A model that neither the cache, a folder, the hub nor an installed wheel could deliver."""


class RunError(InterlinguaError):
    """A run folder that belongs to another recipe or is in use."""


class TrainingError(InterlinguaError):
    """A step whose loss or gradient is not finite, or larger than what the recipe lets pass."""


class SaveError(InterlinguaError):
    """Writing failed; whatever had been saved before is untouched."""


class MissingExtraError(InterlinguaError):
    """An optional dependency is missing; the message holds the install line."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of ``choices``, or an empty string."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
