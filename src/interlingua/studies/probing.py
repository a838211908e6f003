"""What studies of one finished encoder share: its data, its states, and stages that are measured once.

In: a recipe naming an encoder and a folder of data. Out: rows in ``scores.jsonl``, a stage at a time. Decision: a stage
is what its rows' task names say, so a study that was interrupted goes on behind the last whole stage, and one that is
done opens no model; hidden states that several stages look at are kept on disk while the study runs. Price: a stage
that is half measured is measured again.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.data import resolve, rooted
from interlingua.errors import DataError, LanguageError
from interlingua.languages import canonical
from interlingua.recipe_base import Recipe
from interlingua.scores import Score, append_scores, read_scores
from interlingua.studies.base import CHECKPOINT, Say
from interlingua.text.documents import table_cells
from interlingua.text.lines import ReadReport

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = ["MASKED", "ProbeRecipe", "Probing", "Source", "kind_of", "name_of",
           "parallel_texts"]  # fmt: skip

States = NDArray[np.float32]

#: The kind of model that most of the literature on layers is about.
MASKED = "masked LM"
_TRAINED = ("ForMaskedLM", "ForPreTraining")


class ProbeRecipe(Recipe):
    """What a study of a finished encoder looks at."""

    model: str = "e5-small"
    """Name, hub id, checkpoint or run folder of the encoder."""
    root: Path = Path("data")
    """Folder with the data that do not ship with the package; docs/study.md lists them."""


@dataclass(frozen=True)
class Source:
    """A file that a study reads.

    Attributes:
        path: below the folder of data, or ``package:NAME``.
        what: what is in it.
        origin: whose it is, and where it comes from.
    """

    path: str
    what: str
    origin: str

    def file(self, root: Path) -> Path:
        """Where it lies.

        Raises:
            DataError: it is not there.
        """
        found = resolve(rooted(Path(self.path), root))
        if not found.is_file():
            raise DataError(
                f"no file {self.path!r} in {str(root)!r}",
                expected=f"{self.what}, from {self.origin}",
                where=str(found),
                next_step="put it there, or name the folder that has it with root=FOLDER",
            )
        return found


def parallel_texts(
    path: Path, *, languages: Sequence[str] = (), limit: int = 0, split: str = ""
) -> dict[str, list[str]]:
    """Language -> texts, the same meanings in the same order in all of them.

    Args:
        path: table with ``lang``, ``id`` and ``text``, perhaps ``split``.
        languages: only these, in this order; all, in the file's, if there are none.
        limit: texts at most; 0: all that all of the languages have.
        split: only rows of this part.

    Raises:
        DataError: unreadable, columns missing, or no id that all languages have.
        LanguageError: a language without a text.
    """
    texts: dict[str, dict[str, str]] = {}
    header: list[str] = []
    for _, cells in table_cells(path, ReadReport(), "raise"):
        if not header:
            header = cells
            if missing := {"lang", "id", "text"} - set(header):
                raise DataError(f"no column {', '.join(sorted(missing))} among {header!r}",
                                expected="lang, id and text", where=str(path))  # fmt: skip
            continue
        row = dict(zip(header, cells, strict=True))
        if not split or row.get("split") == split:
            texts.setdefault(canonical(row["lang"]), {})[row["id"]] = row["text"]
    chosen = [canonical(tag) for tag in languages] or list(texts)
    if lacking := [lang for lang in chosen if lang not in texts]:
        raise LanguageError(f"no text in {', '.join(lacking)}", expected=f"of {', '.join(texts)}", where=str(path))
    shared = [name for name in texts[chosen[0]] if all(name in texts[lang] for lang in chosen)]
    if not shared:
        raise DataError(f"no id that all of {', '.join(chosen)} have", expected="parallel texts", where=str(path))
    return {lang: [texts[lang][name] for name in shared[: limit or None]] for lang in chosen}


class Probing:
    """A study's folder while it is measured.

    Args:
        folder: of the study.
        model: name of the encoder, opened when something is missing.
        say: told in a line what was done.
    """

    def __init__(self, folder: Path, model: str, say: Say) -> None:
        self.folder, self.model, self.say = folder, model, say
        self.file = folder / "scores.jsonl"
        self.scores = read_scores(self.file) if self.file.exists() else []

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder; what kind it is becomes a row."""
        from interlingua.models.encoder import load
        from interlingua.train.dist import pick_device

        encoder = load(self.model)
        encoder.model.to(pick_device("auto"))
        names = encoder.model.config.architectures or []
        masked = any(name.endswith(_TRAINED) for name in names)
        self.add([Score(self.model, CHECKPOINT, "und", "-", "masked_lm", float(masked), 1)])
        return encoder

    def add(self, rows: Iterable[Score]) -> None:
        """Write rows down."""
        append_scores(self.file, rows)
        self.scores = read_scores(self.file)

    def has(self, task: str) -> bool:
        """Whether there are rows of a task, or of one below it."""
        return any(f"{score.task}.".startswith(f"{task}.") for score in self.scores)

    def stage(self, task: str, measure: Callable[..., Iterable[Score]], *given: Any) -> None:
        """Measure what has no rows under this task yet, by ``measure(*given)``."""
        if self.has(task):
            return
        began = time.perf_counter()
        # Whole before anything is written: measuring may open the encoder, which writes a row of its own.
        rows = list(measure(*given))
        self.add(rows)
        self.say(f"{task}: {time.perf_counter() - began:.0f} s")

    def states(self, lang: str, texts: Sequence[str]) -> States:
        """Mean-pooled states of all layers, [layers, N, D], kept on disk until :meth:`forget_states`."""
        from interlingua.probe.states import sentence_states
        from interlingua.run import atomic_write

        # Data may lie elsewhere when a study goes on, and be others.
        digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
        path = self.folder / "states" / f"{lang}.{digest}.npy"
        if not path.exists():
            depth = self.encoder.model.config.num_hidden_layers
            buffer = io.BytesIO()
            np.save(buffer, sentence_states(self.encoder, texts, layers=range(depth + 1)))
            atomic_write(path, buffer.getvalue())
        found: States = np.load(path)
        return found

    def forget_states(self) -> None:
        """Remove the states from the disk: a study leaves numbers."""
        shutil.rmtree(self.folder / "states", ignore_errors=True)


def kind_of(scores: Sequence[Score]) -> str:
    """The kind of model that the rows are of, for :attr:`interlingua.studies.base.Claim.about`."""
    masked = any(s.value for s in scores if s.task == CHECKPOINT and s.metric == "masked_lm")
    return MASKED if masked else "sentence encoder"


def name_of(scores: Sequence[Score]) -> str:
    """Name of the model that the rows are of."""
    return next((s.model for s in scores if s.task == CHECKPOINT), scores[0].model)
