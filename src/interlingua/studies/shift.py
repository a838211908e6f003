"""Does moving a language's mean onto English's help a task that was taught in English only?

In: topics of SIB-200, taught in English, tested in 60 languages; models that `interlingua finetune topics` left are
taken as they are. Out: accuracy by language as it is, with the pooled states moved, and with the states of all tokens
moved at a layer that is chosen without labels of the tested languages. Decision: languages are the units, each the mean
over seeds. Price: languages are tested on translations of the same sentences, so they are less different than 60 draws.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from interlingua.data import resolve
from interlingua.errors import DataError, LanguageError
from interlingua.report.page import Cell, Section, Table
from interlingua.scores import Score
from interlingua.studies.base import Claim, Evidence, Say, Values
from interlingua.studies.probing import MASKED, ProbeRecipe, Probing, kind_of, name_of
from interlingua.tour.topics import BUNDLED, TOUR_TUNE

if TYPE_CHECKING:
    from interlingua.transfer.tune import Tuned

__all__ = ["ShiftRecipe", "ShiftStudy"]

PIVOT = "en"
#: Languages scored at a time: so many are lost where a study is interrupted.
_BATCH = 10


class ShiftRecipe(ProbeRecipe):
    """What the study of shifted means looks at."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the tuned models."""
    tuned: Path | None = None
    """Run folder of `interlingua finetune topics` whose models are taken; taught here if none is named."""
    steered: tuple[str, ...] = ("ar", "de", "hi", "id", "ja", "ru", "so", "sw", "tr", "yo", "zh")
    """Languages moved at each of `layers` too; all if none are named."""
    layers: tuple[int, ...] = (0, 4, 8, 12)
    """Layers at which the states of tokens are moved; all if none are named."""


_LIU = "Liu et al. 2020 (arXiv 2010.10041), by lecture notes"
_SAID = "XNLI improves a little in every language; no table found"


def _claims() -> Iterator[Claim]:
    for metric, how in (("pooled", "Pooled states moved onto English's mean"),
                        ("steered", "States of tokens moved at the layer chosen")):  # fmt: skip
        yield Claim(f"{how}: the others gain on average", _SAID, _LIU, {"moved": 1, "as it is": -1}, metric,
                    about=MASKED)  # fmt: skip
        yield Claim(f"{how}: hardly a language (one in twenty) loses more than a standard error", _SAID, _LIU,
                    {"does not lose": 1, "nineteen of twenty": -1}, metric, about=MASKED)  # fmt: skip
        yield Claim(f"{how}: languages change by three points at most, up or down, on average", _SAID, _LIU,
                    {"no change": 1, "change": -1}, metric, margin=-0.03, about=MASKED)  # fmt: skip


class ShiftStudy:
    """Zero-shot topics with languages' means moved."""

    name: ClassVar = "shift"
    title: ClassVar = "Languages moved onto English"
    question: ClassVar = "Does moving a language's mean onto English's help a task that was taught in English only?"
    scales: ClassVar = {
        "small": ShiftRecipe(),
        "full": ShiftRecipe(model="mbert", seeds=(0, 1, 2, 3, 4), steered=(), layers=()),
    }
    claims: ClassVar = tuple(_claims())

    def run(self, folder: Path, recipe: ShiftRecipe, *, say: Say) -> None:
        """Teach, unless taught models are named, and score what is missing."""
        from interlingua.evaluate import evaluate
        from interlingua.evaluate.steer import evaluate_steered
        from interlingua.tasks import read_text_examples

        work = _Shift(Probing(folder, recipe.model, say), recipe)
        examples = read_text_examples(resolve(BUNDLED), split="test")
        spoken = [lang for lang in dict.fromkeys(e.lang for e in examples) if lang != PIVOT]
        if lacking := set(recipe.steered) - set(spoken):
            raise LanguageError(f"no test sentences in {', '.join(sorted(lacking))}", where="steered",
                                expected=f"of {', '.join(spoken)}")  # fmt: skip
        for start in range(0, len(spoken), _BATCH):
            some = {PIVOT, *spoken[start : start + _BATCH]}
            chosen = [e for e in examples if e.lang in some]

            def shifted(chosen: Any = chosen, start: int = start) -> Iterator[Score]:
                for score in evaluate(work.tuned, chosen, shift=True, source=PIVOT, model=recipe.model):
                    yield replace(score, task=f"topics.pooled.{start // _BATCH}")

            work.probing.stage(f"topics.pooled.{start // _BATCH}", shifted)
        steered = {PIVOT, *(recipe.steered or spoken)}

        def moved() -> Iterator[Score]:
            chosen = [e for e in examples if e.lang in steered]
            found = evaluate_steered(work.tuned, chosen, source=PIVOT, layers=recipe.layers, model=recipe.model)
            for score in found.scores:
                yield replace(score, task="topics.steered")
            for layer, value in found.information.items():
                yield Score(f"{recipe.model}+steer@{layer}", "topics.steered", "mul", "test", "information", value,
                            len(steered) - 1)  # fmt: skip

        work.probing.stage("topics.steered", moved)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Accuracy, language by language, mean over seeds."""
        pooled, steered = _pooled(scores), _steered(scores)
        chosen, kind = _chosen(scores), kind_of(scores)
        counts = {s.language: s.n for s in scores if s.metric == "accuracy"}
        arms = {
            "pooled": {"as it is": pooled.get("", {}), "moved": pooled.get("shift", {})},
            "steered": {"as it is": steered.get("", {}), "moved": steered.get(chosen, {})},
        }
        return {
            name: Evidence(
                _with_changes(own, counts), f"accuracy in {len(own['as it is'])} languages", "languages", kind
            )
            for name, own in arms.items()
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """Every language before and after, and every layer."""
        from interlingua.report.figures import shift_effect

        pooled, steered = _pooled(scores), _steered(scores)
        model, seeds = name_of(scores), len({s.seed for s in scores if s.seed is not None})
        english = statistics.fmean(s.value for s in scores if s.language == PIVOT and s.metric == "accuracy"
                                   and s.model == model and s.task.startswith("topics.pooled"))  # fmt: skip
        text = (
            f"{model}, taught the seven topics of SIB-200 in English ({seeds} seeds, the last epoch, accuracy in "
            f"English {english:.3f}), tested on 204 sentences a language, no label of which was seen. Moved: a "
            "language's mean over its test sentences is put onto that of the English ones, in the pooled states before "
            "the head, or in the states of all tokens at a layer. A loss, in the claims, is a drop "
            "larger than the standard error of the accuracy as it is, from the number of sentences."
        )
        found = [Section(
            "Pooled states moved",
            [f"Command: interlingua study run {self.name}", text],
            [shift_effect(pooled[""], pooled["shift"], names=("as it is", "moved")),
             Table("Accuracy by language", "", ["language", "as it is", "moved", "gain"], _rows(pooled, "shift"))],
        )]  # fmt: skip
        if steered:
            chosen, base = _chosen(scores), statistics.fmean(steered[""].values())
            information = {s.model.partition("+")[2]: s.value for s in scores if s.metric == "information"}
            layers: list[list[Cell]] = [
                [how.removeprefix("steer@"), statistics.fmean(by.values()), statistics.fmean(by.values()) - base,
                 information[how], "chosen" if how == chosen else ""]
                for how, by in steered.items() if how
            ]  # fmt: skip
            about = (
                f"Mean over {len(steered[''])} languages, as it is {base:.3f}. The layer is chosen by the mutual "
                "information of sentence and predicted topic in the tested languages, which looks at no label."
            )
            columns = ["layer", "accuracy", "gain", "information", ""]
            found.append(Section("States of tokens moved at a layer", [about], [
                Table("Accuracy by layer", "", columns, layers),
                Table("Accuracy by language", "", ["language", "as it is", "moved", "gain"], _rows(steered, chosen)),
            ]))  # fmt: skip
        return found


def _pooled(scores: Sequence[Score]) -> Values:
    return _accuracy([s for s in scores if s.task.startswith("topics.pooled")])


def _steered(scores: Sequence[Score]) -> Values:
    """As it is, in the languages that were steered, and at each layer."""
    moved = {how: by for how, by in _accuracy([s for s in scores if s.task == "topics.steered"]).items() if how}
    steered = {lang for by in moved.values() for lang in by}
    plain = {lang: value for lang, value in _pooled(scores).get("", {}).items() if lang in steered}
    return {"": plain, **moved} if moved else {}


def _accuracy(scores: Sequence[Score]) -> Values:
    """What was done -> language -> mean over seeds; the source is left out."""
    found: dict[str, dict[str, list[float]]] = {}
    for s in scores:
        if s.metric == "accuracy" and s.language != PIVOT:
            found.setdefault(s.model.partition("+")[2], {}).setdefault(s.language, []).append(s.value)
    return {how: {lang: statistics.fmean(rows) for lang, rows in by.items()} for how, by in found.items()}


def _chosen(scores: Sequence[Score]) -> str:
    """The layer of most information, as part of a model's name; empty where none was tried."""
    information = {s.model.partition("+")[2]: s.value for s in scores if s.metric == "information"}
    return max(information, key=lambda how: information[how], default="")


def _with_changes(arms: Mapping[str, Mapping[str, float]], counts: Mapping[str, int]) -> Values:
    """The arms, and by language the size of the change and whether it is no loss, each beside what is asked for.

    A loss is larger than the standard error of the accuracy. That of a paired difference would be smaller, but rows say
    nothing of single sentences; seeds add none, since all are tested on the same ones.
    """
    before, after = arms["as it is"], arms["moved"]
    gains = {lang: after[lang] - value for lang, value in before.items() if lang in after}
    errors = {lang: math.sqrt(before[lang] * (1 - before[lang]) / counts[lang]) for lang in gains}
    kept = {lang: float(gain >= -errors[lang]) for lang, gain in gains.items()}
    sizes = {lang: abs(gain) for lang, gain in gains.items()}
    return {
        **arms, "does not lose": kept, "nineteen of twenty": dict.fromkeys(kept, 0.95),
        "change": sizes, "no change": dict.fromkeys(sizes, 0.0),
    }  # fmt: skip


def _rows(values: Values, how: str) -> list[list[Cell]]:
    before, after = values[""], values[how]
    gains = sorted(before, key=lambda lang: before[lang] - after[lang])
    rows: list[list[Cell]] = [[lang, before[lang], after[lang], after[lang] - before[lang]] for lang in gains]
    means = [statistics.fmean(by.values()) for by in (before, after)]
    return [*rows, ["mean", *means, means[1] - means[0]]]


class _Shift:
    """The tuned models, opened or taught when something is missing."""

    def __init__(self, probing: Probing, recipe: ShiftRecipe) -> None:
        self.probing, self.recipe = probing, recipe

    @cached_property
    def tuned(self) -> list[Tuned]:
        """One model a seed."""
        from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile, TaskRecipe
        from interlingua.transfer.finetune import finetune, open_tuned

        encoder = self.probing.encoder
        if self.recipe.tuned is not None:
            folders = [self.recipe.tuned / f"seed-{seed}" for seed in self.recipe.seeds]
            models = [open_tuned(folder, encoder=encoder) for folder in folders]
            if any(one.task.kind != "classify" for one in models):
                raise DataError(f"models of a task of type {models[0].task.kind!r}", expected="topics of SIB-200",
                                where=str(self.recipe.tuned), next_step="interlingua finetune topics")  # fmt: skip
            return models
        task = TaskRecipe(name="topics", train=(LabelledFile(path=BUNDLED, lang=PIVOT, split="train"),))
        taught = FinetuneRecipe(name="topics", model=self.recipe.model, seeds=self.recipe.seeds, task=task,
                                tune=TOUR_TUNE)  # fmt: skip
        return finetune(taught, self.probing.folder / "tuned", encoder=encoder, say=self.probing.say)
