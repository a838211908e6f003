"""How many of the lowest layers may stay as they were pretrained, for the languages that are not taught?

In: a few tasks, taught in one language. Out: each task's score in other languages with the embeddings and so many
layers frozen, and with all but the head. Decision: a seed's score is the mean over languages, as published; the seeds
of an arm share its frozen layers. Price: *features alone* is a head on the last layer, while the paper has a network of
its own on them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from interlingua.recipe_base import Positive
from interlingua.recipe_suite import SuiteEntry, SuiteRecipe
from interlingua.recipe_transfer import LabelledFile, TaskRecipe, TuneRecipe
from interlingua.report.page import Cell, Section, Table
from interlingua.scores import Score
from interlingua.studies.base import Claim, Evidence, Say, Values, unit_values
from interlingua.studies.probing import MASKED, ProbeRecipe, Probing, Source, kind_of, name_of
from interlingua.studies.suites import plain, run_entries
from interlingua.studies.tables import shown

__all__ = ["FreezingRecipe", "FreezingStudy"]

Name = Literal["topics", "ner", "pos", "nli"]
#: The arm in which only the head learns.
FEATURES = "all"


@dataclass(frozen=True)
class _Task:
    """A task, where its files lie, and what was published of a task like it.

    Attributes:
        label: in tables.
        files: the file of a language and part, below the folder of data; one for all if it names no language.
        source: the language it is taught in.
        tested: the other languages, by what the files call them.
        metric: that is compared.
        settings: of its recipe.
        like: the paper's task.
        published: frozen layers -> its mean score in points.
    """

    label: str
    files: Source
    source: str
    tested: Mapping[str, str]
    metric: str
    settings: Mapping[str, Any]
    like: str
    published: Mapping[str, float]

    def file(self, lang: str, part: str) -> Source:
        """The file of a language (canonical tag)."""
        place = self.files.path.format(lang=self.tested.get(lang, lang), part=part)
        return Source(place, self.files.what, self.files.origin)

    def labelled(self, lang: str, part: str, **more: Any) -> LabelledFile:
        """The same, as a recipe has it."""
        whole = {"split": part, "languages": (lang,)} if "{lang}" not in self.files.path else {"lang": lang}
        return LabelledFile(path=Path(self.file(lang, part).path), **whole, **more)


def _tags(*words: str) -> dict[str, str]:
    """Canonical tag -> what the files call it."""
    return {word.partition(":")[0]: word.rpartition(":")[2] for word in words}


_ARMS = ("0", "3", "6", "9", FEATURES)


def _published(*values: float) -> dict[str, float]:
    return dict(zip(_ARMS, values, strict=True))


TASKS: dict[Name, _Task] = {
    "topics": _Task(
        "Topics", Source("package:sib200.tsv.zst", "a table with lang, split, id, label, text",
                         "SIB-200 (Adelani et al. 2024)"),
        "en", _tags("ar", "de", "es", "et", "hi", "id", "ja", "ru", "sw", "tr", "yo", "zh"), "accuracy", {},
        "MLDoc", _published(75.3, 75.1, 77.4, 77.2, 62.6),
    ),
    "ner": _Task(
        "Entities", Source("ner/ner.{lang}.{part}.tsv.zst", "a word and its IOB2 tag a line",
                           "the transfer collection of MasakhaNER 2.0"),
        "en", _tags("am", "ar", "de", "es", "fa", "fr", "ha:hau", "id", "it", "nl", "sw:swa", "uk"), "span_f1",
        {"type": "tag", "tags": "iob2"}, "NER", _published(74.3, 74.3, 73.4, 67.3, 70.8),
    ),
    "pos": _Task(
        "Parts of speech", Source("pos/{lang}.{part}.conllu2.zst", "a word and its tag a line",
                                  "Universal Dependencies"),
        "en", _tags("en:en_ewt", "ar:ar_padt", "de:de_gsd", "es:es_gsd", "fr:fr_gsd", "hi:hi_hdtb", "id:id_pud",
                    "ja:ja_gsd", "ko:ko_gsd", "ru:ru_gsd", "tr:tr_imst", "vi:vi_vtb", "zh:zh_gsdsimp"), "accuracy",
        {"type": "tag"}, "POS", _published(84.6, 85.2, 85.1, 83.1, 83.3),
    ),
    "nli": _Task(
        "Inference", Source("nli/{lang}.{part}.tsv.zst", "a table with label, premise, hypothesis",
                            "IndoNLI; XNLI by myXNLI and KorNLI"),
        "id", _tags("id:indonli.id", "en:xnli.en", "ko:xnli.ko", "my:xnli.my", "sw:xnli.sw"), "accuracy",
        {"text": "premise", "text_pair": "hypothesis"}, "XNLI", _published(66.3, 66.1, 67.1, 65.3, 63.1),
    ),
}  # fmt: skip


class FreezingRecipe(ProbeRecipe):
    """What the study of freezing teaches."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Of head and order."""
    tasks: tuple[Name, ...] = ("topics", "ner", "pos")
    """What is taught; inference in Indonesian, the others in English."""
    taught: Annotated[int, Field(ge=0)] = 500
    """Examples that are taught, evenly spread; 0: all."""
    tested: Annotated[int, Field(ge=0)] = 50
    """Examples a language that are tested; 0: all."""
    epochs: Positive = 3
    """Passes over what is taught."""
    batch_size: Positive = 16
    """Examples a step."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Of what is not frozen."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of the CPU; 0 measures."""


_WU = "Wu and Dredze 2019 (arXiv 1904.09077), by lecture notes"


def _claims() -> Iterator[Claim]:
    for name, own in TASKS.items():

        def claim(said: str, more: str, less: str, margin: float = 0.0, name: Name = name, own: _Task = own) -> Claim:
            published = f"{own.like} {own.published[more]} : {own.published[less]}"
            terms = {f"{name}.{more}": 1.0, f"{name}.{less}": -1.0}
            return Claim(f"{own.label}: {said}", published, _WU, terms, name, margin, MASKED)

        yield claim("teaching the layers is better than their features alone", "0", FEATURES)
        for layers in ("3", "6"):
            yield claim(f"freezing the lowest {layers} layers costs a point at most", layers, "0", -0.01)
        if own.published["9"] < own.published["0"] - 1:
            yield claim("freezing the lowest 9 layers costs", "0", "9")
        if own.published["6"] > own.published["0"] + 1:
            yield claim("freezing the lowest 6 layers gains", "6", "0")


class FreezingStudy:
    """Zero-shot transfer with lower layers frozen."""

    name: ClassVar = "freezing"
    title: ClassVar = "Lower layers that stay as they were"
    question: ClassVar = "How many of the lowest layers may be frozen before languages that are not taught lose?"
    scales: ClassVar = {
        "small": FreezingRecipe(),
        "full": FreezingRecipe(
            model="mbert", tasks=("topics", "ner", "pos", "nli"), taught=0, tested=0, batch_size=32, lr=5e-5
        ),
    }
    claims: ClassVar = tuple(_claims())

    def run(self, folder: Path, recipe: FreezingRecipe, *, say: Say) -> None:
        """Teach and score every task and arm."""
        for name in recipe.tasks:
            own = TASKS[name]
            for lang in (own.source, *own.tested):
                own.file(lang, "test").file(recipe.root)
            own.file(own.source, "train").file(recipe.root)
        run_entries(Probing(folder, recipe.model, say), _suite(recipe))

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """A task's score, mean over the languages it was not taught in, seed by seed."""
        return {
            name: Evidence(_seeds(scores, name), f"{own.label.lower()}: {_words(own.metric)}", model=kind_of(scores))
            for name, own in TASKS.items()
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """Every task and arm, and the curves over the frozen layers."""
        from interlingua.report.plots import training_curve

        rows: list[list[Cell]] = []
        curves: dict[str, list[float | None]] = {}
        for name, own in TASKS.items():
            if not (found := _seeds(scores, name)):
                continue
            taught = _seeds(scores, name, taught=True)
            tested = {s.language for s in plain(scores) if s.task.startswith(f"{name}.")} - {own.source}
            label = f"{own.label}, {_words(own.metric)}"
            rows.append([f"{label}, {len(tested)} languages", *(_cell(found, name, arm) for arm in _ARMS)])
            rows.append([f"the same in {own.source}", *(_cell(taught, name, arm) for arm in _ARMS)])
            rows.append([f"published, {own.like}", *(f"{own.published[arm] / 100:.3f}" for arm in _ARMS)])
            curves[own.label] = [
                statistics.fmean(by.values()) if (by := found.get(f"{name}.{arm}")) else None for arm in _ARMS
            ]
            curves[f"{own.like}, mBERT"] = [own.published[arm] / 100 for arm in _ARMS]
        text = (
            f"{name_of(scores)}, the embeddings and so many of its lowest layers frozen, taught in one language and "
            "scored after the last epoch in others, nothing selected; mean over these languages, \u00b1 the deviation "
            f"over seeds ({len({s.seed for s in plain(scores)})}). Features: all frozen but the head. Published ones "
            "are of mBERT on other data and, for features, with a network of their own on top. Inference is taught in "
            "Indonesian, the rest in English."
        )
        drawing = training_curve([0, 3, 6, 9, 12], curves, measure="score", axis="frozen layer",
                                 title="Score in languages not taught, by frozen layers",
                                 caption="The last point: features alone.")  # fmt: skip
        columns = ["task", "embeddings", "3 layers", "6 layers", "9 layers", "features"]
        return [
            Section(
                "What stays",
                [f"Command: interlingua study run {self.name} root=data", text],
                [drawing, Table("Scores by frozen part", "", columns, rows,
                                ["left", *["right"] * (len(columns) - 1)])],  # type: ignore[list-item]
            )
        ]  # fmt: skip


def _words(metric: str) -> str:
    return {"span_f1": "F1 of spans"}.get(metric, metric)


def _cell(values: Values, name: str, arm: str) -> str | None:
    return shown(values.get(f"{name}.{arm}", {}).values())


def _seeds(scores: Sequence[Score], name: Name, *, taught: bool = False) -> Values:
    """Arm -> seed -> mean over the languages it was not taught in, or the score in the one it was."""
    own = TASKS[name]
    rows = [s for s in plain(scores, own.metric) if (s.language == own.source) == taught]
    return unit_values(rows, lambda s: s.task if s.task.startswith(f"{name}.") else "", lambda s: s.seed)


def _suite(recipe: FreezingRecipe) -> SuiteRecipe:
    """An entry a task and arm."""
    entries = []
    for name in recipe.tasks:
        own = TASKS[name]
        tested = dict.fromkeys((own.source, *own.tested))
        task = TaskRecipe(
            train=(own.labelled(own.source, "train", limit=recipe.taught),),
            test=tuple(own.labelled(lang, "test") for lang in tested),
            **own.settings,
        )
        for arm in _ARMS:
            tune = TuneRecipe(epochs=recipe.epochs, batch_size=recipe.batch_size, lr=recipe.lr, threads=recipe.threads,
                              freeze="all" if arm == FEATURES else int(arm))  # fmt: skip
            entries.append(SuiteEntry(name=f"{name}.{arm}", task=task, tune=tune, limit=recipe.tested))
    return SuiteRecipe(name="freezing", model=recipe.model, root=recipe.root, seeds=recipe.seeds,
                       entries=tuple(entries))  # fmt: skip
