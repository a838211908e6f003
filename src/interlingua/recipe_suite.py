"""The recipe of a suite: which tasks, taught in which languages, scored in which, with published figures beside.

Decision: an entry is a task as ``finetune`` has it, so that whatever can be taught can be in a suite; several entries
may score the models that one of them taught (XQuAD, DRCD and JaQuAD after SQuAD). Price: an entry that scores alone
still names its task's type and test files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from interlingua.languages import canonical
from interlingua.recipe_base import Recipe
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe

__all__ = ["RetrieveRecipe", "SuiteEntry", "SuiteRecipe"]

#: Keys of a task that are part of what is taught.
_OF_THE_MODEL = ("train", "dev", "shots", "patterns", "calibrate", "tags", "stride", "max_question", "max_answer",
                 "no_answer")  # fmt: skip


class RetrieveRecipe(Recipe):
    """Sentence retrieval: nothing is taught."""

    path: Path
    """TSV of parallel sentences, or LASER's folder, as `interlingua retrieve sentences` reads them."""
    source: str = "en"
    """Language searched from and to."""
    languages: tuple[str, ...] = ()
    """Only these; none named: all."""
    limit: Annotated[int, Field(ge=0)] = 0
    """Pairs a language at most; 0: all."""
    scoring: Literal["cosine", "csls", "ratio", "distance"] = "cosine"
    """How nearness is measured."""
    centre: bool = False
    """Take every language's mean off first."""
    layer: Annotated[int, Field(ge=0)] | None = None
    """Mean of this layer's states, 0 being the embeddings; none: the encoder's own sentence vectors."""

    @field_validator("languages")
    @classmethod
    def _canonical(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical(tag) for tag in tags)


class SuiteEntry(Recipe):
    """A row of the suite's table."""

    name: str
    """Name in tables and of the folder of its predictions."""
    task: TaskRecipe | None = None
    """What is taught and scored; its name is this entry's."""
    retrieve: RetrieveRecipe | None = None
    """Instead of a task: retrieval with the encoder as it is."""
    taught_by: str | None = None
    """Another entry whose models are scored here; this one then needs test files only."""
    sources: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Models taught in these languages each, by name, such as {en: [en], ja: [ja], both: [en, ja]}; none: one model,
    taught in all languages of the training files."""
    tune: TuneRecipe | None = None
    """How it is taught, if not as the suite says."""
    across: bool = False
    """Pairs of texts: score also every pair of test languages, first side in one, second in the other."""
    limit: Annotated[int, Field(ge=0)] = 0
    """Test examples a language at most, evenly spread over them; 0: all."""
    published: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Published figures by system, each by language or `mean`, in points."""
    note: str = ""
    """Where they are from, and what differs."""

    @field_validator("sources")
    @classmethod
    def _canonical(cls, sources: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {name: tuple(canonical(tag) for tag in tags) for name, tags in sources.items()}

    @model_validator(mode="after")
    def _one(self) -> SuiteEntry:
        if (self.task is None) == (self.retrieve is None):
            raise ValueError(f"entry {self.name!r} has {'both' if self.task else 'neither'} of task and retrieve")
        if self.task is not None and not self.task.test:
            raise ValueError(f"entry {self.name!r} has no test files")
        if self.taught_by:
            own = [key for key in ("tune", "sources") if getattr(self, key)]
            own += [f"task.{key}" for key in _OF_THE_MODEL if self.task and key in self.task.model_fields_set]
            if own:
                raise ValueError(f"entry {self.name!r} is taught by {self.taught_by!r}, whose {own[0]} holds; it has"
                                 " one of its own: leave it out")  # fmt: skip
        if self.task is not None and not self.taught_by and not self.task.train and self.task.shots != 0:
            raise ValueError(f"entry {self.name!r} has neither training files nor taught_by")
        return self


class SuiteRecipe(Recipe):
    """Tasks scored together."""

    kind: Literal["suite"] = "suite"
    """Which verb runs it."""
    name: str = "suite"
    """Name of the run."""
    model: str = "e5-small"
    """Short name, hub id, checkpoint folder or run folder."""
    root: Path = Path()
    """Folder that relative paths of data files are under."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """One tuned model a seed."""
    tune: TuneRecipe = TuneRecipe()
    """How tasks are taught, unless their entry says otherwise."""
    shift: bool = False
    """Score also with every language's mean moved onto the source's (no labels used), where the source is among the
    test languages."""
    entries: tuple[SuiteEntry, ...] = ()
    """The tasks."""

    @model_validator(mode="after")
    def _names(self) -> SuiteRecipe:
        names = [entry.name for entry in self.entries]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"entries of one name: {twice}")
        for entry in self.entries:
            teacher = next((e for e in self.entries if e.name == entry.taught_by), None)
            if entry.taught_by and (teacher is None or teacher.task is None or teacher.taught_by):
                raise ValueError(f"entry {entry.name!r} is taught by {entry.taught_by!r}, which teaches nothing")
            if teacher and teacher.task and entry.task and teacher.task.type != entry.task.type:
                raise ValueError(f"entry {entry.name!r} ({entry.task.type}) is taught by a {teacher.task.type}")
        return self
