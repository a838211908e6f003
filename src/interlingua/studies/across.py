"""Both texts of a pair in one language, or in two: does a model relate languages, or know each by itself?

In: inference and questions, each taught in one language, and parallel test sets. Out: the score of every pair of
languages, first side in one and second in the other, and on parts of the sets. Decisions: *within* is the mean over
languages with both sides in each, *across* the mean over ordered pairs of different ones, which is the mean of what the
paper calls across(l); intervals are a bootstrap over parts of the test sets, which hold the same pairs in every cell.
Price: one model of each, so what another order of teaching does is not in the interval.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from interlingua.recipe_base import Positive
from interlingua.recipe_suite import SuiteEntry, SuiteRecipe
from interlingua.recipe_transfer import LabelledFile, TaskRecipe, TuneRecipe
from interlingua.report.page import Cell, Figure, Section, Table
from interlingua.scores import Score
from interlingua.studies.base import Claim, Evidence, Say
from interlingua.studies.probing import MASKED, ProbeRecipe, Probing, Source, kind_of, name_of
from interlingua.studies.questions import SQUAD, XQUAD, question_task, question_tune, xquad
from interlingua.studies.suites import block_means, plain, run_entries

__all__ = ["AcrossRecipe", "AcrossStudy"]

PIVOT = "en"
#: Languages in which XNLI's test set is at hand; rows are parallel, and the reader refuses files whose labels differ.
NLI = ("en", "ko", "my", "sw")
TAUGHT = Source("nli/indonli.id.train.tsv.zst", "a table with label, premise, hypothesis", "IndoNLI")


def _xnli(lang: str) -> Source:
    what = "a table with label, premise, hypothesis, the same rows in every language"
    return Source(f"nli/xnli.{lang}.test.tsv.zst", what, "XNLI (Conneau et al. 2018), by myXNLI and KorNLI")


@dataclass(frozen=True)
class _Task:
    """A task, and the paper's within and across of three models in points.

    Attributes:
        label: in tables.
        metric: that is compared.
        sides: what the first and the second text are.
        chance: score of a guess, as far as it is known.
        published: model -> within, across.
    """

    label: str
    metric: str
    sides: tuple[str, str]
    chance: float
    published: Mapping[str, tuple[float, float]]

    def kept(self, model: str) -> float:
        """What a published model keeps across languages of what it has within them, both above chance."""
        within, across = (value / 100 - self.chance for value in self.published[model])
        return across / within


TASKS = {
    "nli": _Task("Inference", "accuracy", ("premise", "hypothesis"), 1 / 3,
                 {"mBERT": (65.7, 54.5), "XLM-R": (74.2, 64.8), "InfoXLM": (75.4, 70.3)}),
    "questions": _Task("Questions", "f1", ("question", "passage"), 0.0,
                       {"mBERT": (64.4, 44.2), "XLM-R": (72.0, 36.8), "InfoXLM": (73.8, 64.5)}),
}  # fmt: skip


class AcrossRecipe(ProbeRecipe):
    """What the study of pairs in two languages teaches."""

    seeds: tuple[int, ...] = (0,)
    """Of head and order; the intervals are over parts of the test sets."""
    pairs: Annotated[int, Field(ge=0)] = 6000
    """Inference: pairs that are taught, in Indonesian, evenly spread; 0: all."""
    pairs_tested: Annotated[int, Field(ge=0)] = 200
    """Pairs of each two languages that are tested; 0: all."""
    passes: Positive = 2
    """Over the pairs."""
    questions: Annotated[int, Field(ge=0)] = 2000
    """Questions that are taught, in English, evenly spread; 0: all."""
    questions_tested: Annotated[int, Field(ge=0)] = 40
    """Questions of each two languages that are tested; 0: all."""
    epochs: Positive = 1
    """Passes over the questions."""
    frozen: Annotated[int, Field(ge=0)] = 4
    """Lowest layers that stay as they are."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Of the others."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of the CPU; 0 measures."""


_RAJAEE = "Rajaee and Monz 2024 (arXiv 2402.02099), by lecture notes"


def _claims() -> Iterator[Claim]:
    for name, own in TASKS.items():
        yield Claim(
            f"{own.label}: both sides in one language are better than in two (published of mBERT, XLM-R and InfoXLM)",
            ", ".join(f"{model} {within} : {across}" for model, (within, across) in own.published.items()), _RAJAEE,
            {f"{name} within": 1, f"{name} across": -1}, "scores",
        )  # fmt: skip
        above = " above chance" if own.chance else ""
        yield Claim(
            f"{own.label}: what is learned by contrast, from translations too, keeps more across languages than mBERT "
            f"does of what it has within them{above} (published of InfoXLM)",
            f"InfoXLM keeps {100 * own.kept('InfoXLM'):.0f} %, mBERT {100 * own.kept('mBERT'):.0f} %", _RAJAEE,
            {f"{name} across": 1, f"{name} what mBERT would keep": -1}, "kept", about="sentence encoder",
        )  # fmt: skip
    yield Claim("Questions lose more across languages than inference does",
                "mBERT 20.2 : 11.2 points, XLM-R 35.2 : 9.4, InfoXLM 9.3 : 5.1", _RAJAEE,
                {"questions lost": 1, "nli lost": -1}, "lost")  # fmt: skip
    yield Claim("Inference: a pair with English is judged worse than both sides in the other language",
                "es 57.9, 61.1 : 70.9, hi 45.7, 55.6 : 59.6, ru 51.1, 57.9 : 65.7",
                "K et al. 2020 (arXiv 1912.07840), by lecture notes; taught in (fake) English",
                {"nli others": 1, "nli with English": -1}, "scores", about=MASKED)  # fmt: skip


class AcrossStudy:
    """Pairs of texts in two languages."""

    name: ClassVar = "across"
    title: ClassVar = "Both sides in one language, or in two"
    question: ClassVar = "How much is lost where premise and hypothesis, or question and passage, differ in language?"
    scales: ClassVar = {
        "small": AcrossRecipe(),
        "full": AcrossRecipe(model="mbert", seeds=(0, 1, 2), pairs=0, pairs_tested=0, passes=3, questions=0,
                             questions_tested=0, epochs=2, frozen=0, lr=3e-5),
    }  # fmt: skip
    claims: ClassVar = tuple(_claims())

    def run(self, folder: Path, recipe: AcrossRecipe, *, say: Say) -> None:
        """Teach and score both tasks."""
        for source in (TAUGHT, *map(_xnli, NLI), SQUAD, *map(xquad, XQUAD)):
            source.file(recipe.root)
        run_entries(Probing(folder, recipe.model, say), _suite(recipe), blocks=True)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Within and across, block by block of the parallel test sets."""
        kind = kind_of(scores)
        found = dict(block_means(scores, _side))
        found |= block_means(scores, _english)
        kept, lost = {}, {}
        for name, own in TASKS.items():
            within, across = (found.get(f"{name} {side}", {}) for side in ("within", "across"))
            kept[f"{name} across"] = {block: value - own.chance for block, value in across.items()}
            kept[f"{name} what mBERT would keep"] = {
                block: own.kept("mBERT") * (value - own.chance) for block, value in within.items()
            }
            lost[f"{name} lost"] = {block: within[block] - across[block] for block in across}
        units = "blocks of the test sets"
        return {
            "scores": Evidence(found, "accuracy, of questions F1", units, kind),
            "kept": Evidence(kept, "accuracy above chance, of questions F1", units, kind),
            "lost": Evidence(lost, "what is lost", units, kind, paired=False),
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """A matrix a task, and each language's within and across."""
        found: list[Section] = []
        for name, own in TASKS.items():
            rows = [s for s in plain(scores, own.metric) if s.task == name]
            if not rows:
                continue
            taught = "pairs in Indonesian (IndoNLI)" if name == "nli" else "questions in English (SQuAD)"
            text = (
                f"{name_of(scores)}, taught {taught}; {rows[0].n} examples of every two languages, {own.sides[0]} in "
                f"the one and {own.sides[1]} in the other. {own.metric.capitalize()}. Across, of a language: mean over "
                "the pairs with exactly one side in it. Published figures are of models taught with many times as "
                "much, on 15 languages (inference) and 11 (questions)."
            )
            lead = [] if found else [f"Command: interlingua study run {self.name} root=data"]
            found.append(Section(own.label, [*lead, text], _items(rows, own)))
        return found


def _side(score: Score) -> str:
    """Within or across, of a task."""
    return f"{score.task} {'across' if '/' in score.language else 'within'}" if score.task in TASKS else ""


def _english(score: Score) -> str:
    """Pairs of English with another language, and the others by themselves."""
    sides = score.language.split("/")
    if score.task not in TASKS or sides == [PIVOT]:
        return ""
    return f"{score.task} others" if len(sides) == 1 else f"{score.task} with English" if PIVOT in sides else ""


def _items(rows: Sequence[Score], own: _Task) -> list[Figure | Table]:
    from interlingua.evaluate.summary import cells_of, within_across
    from interlingua.report.plots import heatmap

    (cells,) = cells_of(rows, task=rows[0].task, metric=own.metric).values()
    langs = [lang for lang in cells if "/" not in lang]
    matrix = [
        [cell.mean if (cell := cells.get(one if one == two else f"{one}/{two}")) else None for two in langs]
        for one in langs
    ]
    drawing = heatmap(matrix, langs, langs, measure=own.metric, title=f"{own.label} by the languages of both sides",
                      caption=f"Rows: language of the {own.sides[0]}; columns: of the {own.sides[1]}.")  # fmt: skip
    test = within_across(cells)
    table: list[list[Cell]] = []
    if test is not None:
        table = [
            [lang, test.within[lang], test.across[lang], test.within[lang] - test.across[lang]] for lang in test.within
        ]
        means = [statistics.fmean(by.values()) for by in (test.within, test.across)]
        table.append(["mean", *means, test.gap])
    table += [
        [f"published, {model}", within / 100, across / 100, (within - across) / 100]
        for model, (within, across) in own.published.items()
    ]
    return [drawing, Table("Within and across", "", ["language", "within", "across", "gap"], table)]


def _suite(recipe: AcrossRecipe) -> SuiteRecipe:
    """Two entries, each with every pair of its test languages."""
    nli = TaskRecipe(
        text="premise", text_pair="hypothesis",
        train=(LabelledFile(path=Path(TAUGHT.path), lang="id", limit=recipe.pairs),),
        test=tuple(LabelledFile(path=Path(_xnli(lang).path), lang=lang) for lang in NLI),
    )  # fmt: skip
    asked = question_task(
        [LabelledFile(path=Path(xquad(lang).path), lang=lang) for lang in XQUAD],
        [LabelledFile(path=Path(SQUAD.path), lang="en", limit=recipe.questions)], squad=True,
    )  # fmt: skip
    tune = TuneRecipe(epochs=recipe.passes, lr=recipe.lr, freeze=recipe.frozen, threads=recipe.threads)
    asking = question_tune(epochs=recipe.epochs, frozen=recipe.frozen, lr=recipe.lr, threads=recipe.threads)
    return SuiteRecipe(
        name="across", model=recipe.model, root=recipe.root, seeds=recipe.seeds,
        entries=(SuiteEntry(name="nli", task=nli, tune=tune, across=True, limit=recipe.pairs_tested),
                 SuiteEntry(name="questions", task=asked, tune=asking, across=True, limit=recipe.questions_tested)),
    )  # fmt: skip
