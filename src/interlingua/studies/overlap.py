"""Do languages that share more subwords with English do better at a task that was taught in English only?

In: scores by language of models taught in English, which another study or a suite left, and parallel texts. Out: the
overlap of every language's subwords with English ones, and its correlation with the scores. Decision: scores are copied
into the study's own file, so its page needs no other; correlations come with a bootstrap over languages, once over all
and once within Latin script, since script is what overlap measures first. Price: texts are others than the tasks'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from interlingua.errors import DataError
from interlingua.languages import language
from interlingua.report.page import Cell, Figure, Section, Table
from interlingua.scores import Score, read_scores
from interlingua.studies.base import Claim, Evidence, Say, unit_values
from interlingua.studies.probing import MASKED, ProbeRecipe, Probing, Source, kind_of, name_of, parallel_texts

if TYPE_CHECKING:
    from interlingua.probe.overlap import Correlation

__all__ = ["OverlapRecipe", "OverlapStudy"]

PIVOT = "en"
MEASURES = {"jaccard": "Jaccard", "types_in_source": "types", "tokens_in_source": "tokens"}


@dataclass(frozen=True)
class _Task:
    """A task, its metric, and Pearson's R of types and tokens in the paper that has a task like it."""

    name: str
    metric: str
    published: str
    types: float
    tokens: float


TASKS = {
    "topics": _Task("Topics", "accuracy", "MLDoc", 0.80, 0.70),
    "ner": _Task("Entities", "span_f1", "NER", 0.99, 0.98),
    "pos": _Task("Parts of speech", "accuracy", "POS", 0.58, 0.55),
    "nli": _Task("Inference", "accuracy", "XNLI", -0.036, 0.36),
}
#: A correlation that explains a tenth of the variance; what is below is called flat.
_FLAT = 0.316
_NONE = "no correlation"


class OverlapRecipe(ProbeRecipe):
    """What the study of overlap looks at."""

    scores: tuple[Path, ...] = ()
    """Files of scores of models taught in English, of a task the first that has it; those of the study `shift` in the
    folder beside this one if none is named."""
    texts: str = "package:sib200.tsv.zst"
    """Table with lang, id and text, below `root` or in the package: the same texts in all languages."""
    split: str = "test"
    """Only rows of this part, where the table has parts."""


_WU = "Wu and Dredze 2019 (arXiv 1904.09077), by lecture notes [N]"


def _claims() -> Iterator[Claim]:
    for task, own in TASKS.items():
        for measure, value in (("types_in_source", own.types), ("tokens_in_source", own.tokens)):
            arm, way, said = f"{task} {measure}", MEASURES[measure], f"{own.published}: Pearson R {value:.2f}"
            if value > _FLAT:
                yield Claim(f"{own.name}: scores rise with the share of {way} found in English", said, _WU,
                            {arm: 1, _NONE: -1}, "pearson", about=MASKED)  # fmt: skip
            else:
                yield Claim(f"{own.name}: scores do not rise with the share of {way} found in English "
                            "(a tenth of the variance at most)", said, _WU, {_NONE: 1, arm: -1}, "pearson",
                            margin=-_FLAT, about=MASKED)  # fmt: skip
    yield Claim("Entities: scores are flat over overlap (a tenth of the variance at most)",
                "mBERT flat, F1 40 to 82 at 0 to 27 %; English BERT near 0 below 10 %, then rising [P]",
                "Pires et al. 2019 (arXiv 1906.01502), by lecture notes [N]", {_NONE: 1, "ner jaccard": -1}, "pearson",
                margin=-_FLAT, about=MASKED)  # fmt: skip


class OverlapStudy:
    """Transfer against shared subwords."""

    name: ClassVar = "overlap"
    title: ClassVar = "Shared subwords and transfer"
    question: ClassVar = "Do languages that share more subwords with English do better at what was taught in English?"
    scales: ClassVar = {
        "small": OverlapRecipe(),
        "full": OverlapRecipe(model="mbert", texts="retrieval/flores200.devtest.tsv.zst", split=""),
    }
    claims: ClassVar = tuple(_claims())

    def run(self, folder: Path, recipe: OverlapRecipe, *, say: Say) -> None:
        """Count the overlap and copy the scores."""
        source = Source(recipe.texts, "a table with lang, id and text", "FLORES-200 (NLLB Team 2022)")
        file, probing = source.file(recipe.root), Probing(folder, recipe.model, say)
        if not probing.has("scores"):
            found = _taught(recipe.scores or (folder.parent / "shift" / "scores.jsonl",), recipe.model)
            probing.stage("overlap", _counted, probing, file, recipe.split)
            probing.stage("scores", lambda: found)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Pearson's correlations, with an interval each."""
        found = {arm: (own.pearson.value, own.pearson.low, own.pearson.high)
                 for arm, own in _correlations(scores, latin=False).items()}  # fmt: skip
        found[_NONE] = (0.0, 0.0, 0.0)
        return {"pearson": Evidence({}, "Pearson's correlation", "languages", kind_of(scores), found)}

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """Correlations over all languages and within Latin script, a scatter a task, and every language."""
        overlaps, reached = _overlaps(scores), _reached(scores)
        everywhere, latin = _correlations(scores, latin=False), _correlations(scores, latin=True)
        rows: list[list[Cell]] = []
        for arm, own in everywhere.items():
            task, measure = arm.split(" ")
            published = {"types_in_source": TASKS[task].types, "tokens_in_source": TASKS[task].tokens}.get(measure)
            rows.append([TASKS[task].name, MEASURES[measure], own.n, *_span(own), published,
                         *((latin[arm].n, *_span(latin[arm])) if arm in latin else (None, None, None))])  # fmt: skip
        count = next((s.n for s in scores if s.task == f"overlap.{PIVOT}"), 0)
        text = (
            f"{name_of(scores)} and what was taught on it in English alone; overlap of its subwords with English in "
            f"{len(overlaps.get('jaccard', ()))} languages, {count} translated sentences each. Types: share "
            "of a language's different subwords that stand in the English text; tokens: of its running ones; "
            "Jaccard: subwords of both over those of either. Published are Pearson's R of mBERT by types and tokens, "
            "and a plot of scores over Jaccard's index; the overlap was that of the tasks' own text, in the plot that "
            "of entities. [N]: transcribed in lecture notes; [P]: read off a plot."
        )
        caption = (
            "Over all languages and within Latin script, each with the 95 % interval of a bootstrap over languages. A "
            "language in another script shares little with English, whatever else it is: over all languages overlap is "
            "confounded with script. Within one script it no longer is."
        )
        columns = ["task", "overlap", "languages", "Pearson", "95 %", "published", "Latin script", "Pearson", "95 %"]
        figures = [
            _scatter(overlaps, own, task) for task, own in reached.items() if own.keys() & overlaps.get("jaccard", {})
        ]
        found = [Section(
            "Correlations", [f"Command: interlingua study run {self.name}", text, *_compared(everywhere, latin)],
            [*figures, Table("Overlap with English and scores", caption, columns, rows,
                             ["left", "left", *["right"] * (len(columns) - 2)])],  # type: ignore[list-item]
        )]  # fmt: skip
        if overlaps:
            every: list[list[Cell]] = [
                [lang, language(lang).script, *(overlaps[measure][lang] for measure in MEASURES),
                 *(own.get(lang) for own in reached.values())]
                for lang in sorted(overlaps["jaccard"], key=lambda lang: -overlaps["jaccard"][lang])
            ]  # fmt: skip
            names = [f"{TASKS[task].name}, {TASKS[task].metric.replace('_', ' ')}" for task in reached]
            found.append(Section("Languages", (), [
                Table("Overlap and scores by language", "", ["language", "script", *MEASURES.values(), *names], every)
            ]))  # fmt: skip
        return found


def _overlaps(scores: Sequence[Score]) -> Mapping[str, Mapping[str, float]]:
    return unit_values([s for s in scores if s.task == f"overlap.{PIVOT}"], lambda s: s.metric, lambda s: s.language)


def _reached(scores: Sequence[Score]) -> Mapping[str, Mapping[str, float]]:
    """Task -> language -> mean over seeds; English is left out, which overlaps with itself."""
    wanted = [s for s in scores if s.task.startswith("scores.") and s.language != PIVOT]
    return unit_values(wanted, lambda s: s.task.removeprefix("scores."), lambda s: s.language)


def _correlations(scores: Sequence[Score], *, latin: bool) -> dict[str, Correlation]:
    """Task and measure -> correlation, where there are languages enough and they differ."""
    from interlingua.probe.overlap import LEAST, correlation

    found = {}
    for task, own in _reached(scores).items():
        for measure, shares in _overlaps(scores).items():
            both = [lang for lang in own if lang in shares and (not latin or language(lang).script == "Latn")]
            sides = [{lang: side[lang] for lang in both} for side in (shares, own)]
            if len(both) >= LEAST and all(len(set(side.values())) > 1 for side in sides):
                found[f"{task} {measure}"] = correlation(*sides)
    return found


def _span(found: Correlation) -> tuple[float, str]:
    own = found.pearson
    return own.value, f"{own.low:+.2f} to {own.high:+.2f}"


def _compared(everywhere: Mapping[str, Correlation], latin: Mapping[str, Correlation]) -> list[str]:
    """A sentence a task: what the control within one script leaves of the correlation with shared types."""

    def word(found: Correlation) -> str:
        own = found.pearson
        way = "rise" if own.low > 0 else "fall" if own.high < 0 else "neither surely rise nor surely fall"
        return f"they {way} ({own.value:+.2f}, {found.n} languages)"

    said = ["Scores by the share of types."]
    for task, own in TASKS.items():
        arm = f"{task} types_in_source"
        if arm in everywhere and arm in latin:
            both = [word(found[arm]) for found in (everywhere, latin)]
            said.append(f"{own.name}: over all scripts {both[0]}; within Latin script {both[1]}.")
    return [" ".join(said)] if said[1:] else []


def _scatter(overlaps: Mapping[str, Mapping[str, float]], reached: Mapping[str, float], task: str) -> Figure:
    from interlingua.report.plots import language_map

    shares, own = overlaps["types_in_source"], TASKS[task]
    points = {lang: (shares[lang], value) for lang, value in reached.items() if lang in shares}
    scripts = {lang: "Latin script" if language(lang).script == "Latn" else "other scripts" for lang in points}
    return language_map(
        points, scripts,
        axes_names=("share of types found in English", own.metric.replace("_", " ")), one_scale=False,
        title=f"{own.name}: scores over overlap", caption="Coloured by script.",
    )  # fmt: skip


def _counted(probing: Probing, file: Path, split: str) -> Iterator[Score]:
    from interlingua.probe.overlap import subword_overlap

    texts = parallel_texts(file, split=split)
    lines = ((lang, text) for lang, own in texts.items() for text in own)
    for one in subword_overlap(probing.encoder.tokenizer, lines, source=PIVOT):
        yield from one.scores(probing.model, PIVOT)


def _taught(files: Sequence[Path], model: str) -> list[Score]:
    """Rows of the tasks that are known, of the model as it was taught in English, under names of this study."""
    rows: list[Score] = []
    for file in files:
        if not file.is_file():
            raise DataError(
                f"no scores in {str(file)!r}", expected="scores of models taught in English", where="scores",
                next_step="interlingua study run shift; or scores=[FILE], of interlingua evaluate --suite, say",
            )  # fmt: skip
        known = {row.task for row in rows}
        for row in read_scores(file):
            task = row.task.partition(".")[0]
            own = TASKS.get(task)
            plain = row.model in (model, f"{model}/{PIVOT}")
            if own and row.metric == own.metric and plain and f"scores.{task}" not in known:
                rows.append(replace(row, task=f"scores.{task}"))
    if not rows:
        raise DataError(f"no score of {model!r} in {', '.join(map(str, files))}",
                        expected=f"rows of {', '.join(TASKS)}", where="scores")  # fmt: skip
    return rows
