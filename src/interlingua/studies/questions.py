"""Is a question answered in a language that was not taught, and is it worth translating what is taught?

In: questions on passages in English and Japanese, and XQuAD's, which people translated. Out: F1 of each model on each
test set, and on parts of it. Two halves: taught in English, Japanese or both, and tested on eleven languages; taught on
some articles of XQuAD in English, in Chinese or in German, and tested on the others. Decision: a claim's interval is a
bootstrap over parts of the test sets, since a model costs too much to be taught often; articles of the second half are
wholly taught or wholly tested. Price: what another order of teaching does is not in the interval; the second half
teaches 600 questions where the paper has 87,000.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from interlingua.errors import DataError
from interlingua.recipe_base import Positive
from interlingua.recipe_suite import SuiteEntry, SuiteRecipe
from interlingua.recipe_transfer import LabelledFile, TaskRecipe, TuneRecipe
from interlingua.report.page import Align, Cell, Figure, Section, Table
from interlingua.scores import Score, read_scores
from interlingua.studies.base import Claim, Evidence, Say
from interlingua.studies.probing import MASKED, ProbeRecipe, Probing, Source, kind_of, name_of
from interlingua.studies.suites import block_means, block_scores, plain, run_entries
from interlingua.studies.tables import shown
from interlingua.text.lines import ReadReport, numbered_lines

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = ["SQUAD", "QuestionsRecipe", "QuestionsStudy", "question_task", "question_tune", "xquad"]

XQUAD = ("en", "ar", "de", "es", "hi", "ru", "tr", "zh")
TRANSLATED = ("en", "zh", "de")
_LINES = "a question a line: id, title, context, question, answers"


def xquad(lang: str) -> Source:
    """XQuAD in a language; the same ids in all."""
    return Source(f"qa/xquad.{lang}.jsonl.zst", _LINES, "XQuAD (Artetxe et al. 2020)")


SQUAD = Source("qa/squad_v10.en.train.jsonl.zst", _LINES, "SQuAD 1 (Rajpurkar et al. 2016)")
JAQUAD = Source("qa/jaquad.ja.train.jsonl.zst", _LINES, "JaQuAD (So et al. 2022)")
OTHERS = {
    "zh-Hant": Source("qa/drcd.zh-Hant.test.jsonl.zst", _LINES, "DRCD (Shao et al. 2018)"),
    "zh": Source("qa/cmrc2018.zh.dev.jsonl.zst", _LINES, "CMRC 2018 (Cui et al. 2019)"),
    "ja": Source("qa/jaquad.ja.dev.jsonl.zst", _LINES, "JaQuAD (So et al. 2022)"),
    "ar": Source("qa/arcd.ar.test.jsonl.zst", _LINES, "ARCD (Mozannar et al. 2019)"),
    "tr": Source("qa/tquad.tr.dev.jsonl.zst", _LINES, "TQuAD, turkish-nlp-qa-dataset"),
}
_NAMES = {"zh-Hant": "DRCD, zh-Hant", "zh": "CMRC, zh", "ja": "JaQuAD, ja", "ar": "ARCD, ar", "tr": "TQuAD, tr"}
#: Test sets that a claim is about: entry and language.
SETS = {
    "Chinese": {("xquad", "zh"), ("others", "zh-Hant"), ("others", "zh")},
    "English": {("xquad", "en")},
    "Japanese": {("others", "ja")},
}


class QuestionsRecipe(ProbeRecipe):
    """What the study of questions teaches."""

    seeds: tuple[int, ...] = (0,)
    """Of head and order; the intervals are over parts of the test sets."""
    matrix: Path | None = None
    """Run folder of `interlingua evaluate --suite benchmarks/qa-matrix.yaml` whose scores are the first half; taught
    here if none is named."""
    taught: Annotated[int, Field(ge=0)] = 1500
    """Questions a language in the first half, evenly spread over the file; 0: all."""
    tested: Annotated[int, Field(ge=0)] = 160
    """Questions a test set; 0: all."""
    epochs: Positive = 1
    """Passes over the questions of the first half."""
    repeats: Positive = 3
    """Passes over those of the second half."""
    frozen: Annotated[int, Field(ge=0)] = 4
    """Lowest layers that stay as they are."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Of the others."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of the CPU; 0 measures."""


def question_tune(*, epochs: int, frozen: int, lr: float, threads: int) -> TuneRecipe:
    """How questions are taught: passages of 320 tokens, 32 a step."""
    return TuneRecipe(epochs=epochs, batch_size=32, lr=lr, freeze=frozen, max_length=320, threads=threads)


def question_task(
    test: Sequence[LabelledFile], train: Sequence[LabelledFile] = (), *, squad: bool = False
) -> TaskRecipe:
    """Questions on passages; by SQuAD's rule in every language, as XTREME has it, or by the language's own."""
    return TaskRecipe(type="span", rule="squad" if squad else "auto", bad_answers="repair", train=tuple(train),
                      test=tuple(test))  # fmt: skip


_HSU = "Hsu et al. 2019 (arXiv 1909.09587), table 2"
_ONE = "Hsu et al. 2019 (arXiv 1909.09587), table 1"
CLAIMS = (
    Claim("Taught in Japanese, Chinese is answered better than taught in English",
          "Korean from Chinese 78.2, from English 69.3; Chinese from Korean 82.7, from English 78.8", _HSU,
          {"ja on Chinese": 1, "en on Chinese": -1}, "matrix", about=MASKED),
    Claim("Taught in Japanese instead of English, Chinese gains more than English does",
          "in Chinese instead of English: Korean +8.9, English -34.8", _HSU,
          {"ja on Chinese": 1, "en on Chinese": -1, "ja on English": -1, "en on English": 1}, "matrix", about=MASKED),
    Claim("A language's own questions teach it better than English ones", "Chinese 88.7 : 78.8", _HSU,
          {"ja on Japanese": 1, "en on Japanese": -1}, "matrix", about=MASKED),
    Claim("English questions beside its own do a language no harm, within a point", "Chinese 90.1 : 88.7", _ONE,
          {"both on Japanese": 1, "ja on Japanese": -1}, "matrix", -0.01, MASKED),
    Claim("Japanese questions beside the English ones do English no harm, within a point",
          "of Chinese, English beside Chinese 90.1 : 88.7", _ONE,
          {"both on English": 1, "en on English": -1}, "matrix", -0.01, MASKED),
    Claim("Both languages are better than English alone where the second is tested", "Chinese 90.1 : 78.8", _ONE,
          {"both on Japanese": 1, "en on Japanese": -1}, "matrix", about=MASKED),
    Claim("Chinese is answered as well when English is taught as when its translation into Chinese is, within a point",
          "78.8 : 78.8", _HSU, {"en on Chinese": 1, "zh on Chinese": -1}, "translated", -0.01, MASKED),
    Claim("Translated into Chinese, what is taught is worse in English", "71.4 : 88.6", _HSU,
          {"en on English": 1, "zh on English": -1}, "translated", about=MASKED),
    Claim("Translated into German, what is taught is worse in English", "into French 76.4 : 88.6", _HSU,
          {"en on English": 1, "de on English": -1}, "translated", about=MASKED),
    Claim("Translated into German, what is taught is worse in Chinese than in English as it was",
          "into French 72.5 : 78.8", _HSU, {"en on Chinese": 1, "de on Chinese": -1}, "translated", about=MASKED),
)  # fmt: skip


class QuestionsStudy:
    """Questions taught in one language and answered in others."""

    name: ClassVar = "qa"
    title: ClassVar = "Questions taught in one language"
    question: ClassVar = "Are questions answered in languages that were not taught, and is translating them worth it?"
    scales: ClassVar = {
        "small": QuestionsRecipe(),
        "full": QuestionsRecipe(model="mbert", seeds=(0, 1, 2), taught=0, tested=0, epochs=2, frozen=0, lr=3e-5),
    }
    claims: ClassVar = CLAIMS

    def run(self, folder: Path, recipe: QuestionsRecipe, *, say: Say) -> None:
        """Teach and score both halves; the first is taken where it was run."""
        for source in (*map(xquad, XQUAD), *OTHERS.values(), *([] if recipe.matrix else [SQUAD, JAQUAD])):
            source.file(recipe.root)
        probing = Probing(folder, recipe.model, say)
        if recipe.matrix is None:
            run_entries(probing, _matrix(recipe), blocks=True)
        else:
            probing.stage("xquad", _taken, recipe.matrix, recipe.model)
        suite = _translated(folder / "drawn", recipe)
        run_entries(probing, suite, blocks=True, encoder=cache(lambda: _drawn(probing, recipe, suite.root)))

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """F1, block by block, mean over the test sets of a language."""
        kind = kind_of(scores)
        return {
            half: Evidence(block_means(scores, lambda s, half=half: _arm(s, half)), f"F1, {how}",  # type: ignore[misc]
                           "blocks of questions", kind)
            for half, how in (("matrix", "first half"), ("translated", "second half"))
        }  # fmt: skip

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """Both matrices."""
        first = _cells(scores, "matrix")
        second = _cells(scores, "translated")
        model = name_of(scores).partition("/")[0]
        found = []
        if first:
            text = (
                f"{model}, taught questions in English (SQuAD), in Japanese (JaQuAD), or in both, scored after the "
                f"last step on {_counts(scores, 'matrix')} questions a set. F1 by SQuAD's rule on XQuAD, on the others "
                "by the language's own. Published, F1 of mBERT on DRCD: taught in English 78.8, in Chinese 88.7, in "
                "both 90.1."
            )
            paragraphs = [f"Command: interlingua study run {self.name} root=data", text]
            found.append(Section("Taught in one language, answered in another", paragraphs, _matrices(first)))
        if second:
            text = (
                f"{model}, taught the questions of every second article of XQuAD in English, or as people translated "
                f"them into Chinese and German; scored on {_counts(scores, 'translated')} questions a set: those of "
                "the other articles, DRCD and CMRC. Published translations are a machine's. Published, F1 of mBERT on "
                "English, taught in English 88.6, in Chinese translation 71.4; on Chinese 78.8 and 78.8."
            )
            lead = [] if first else [f"Command: interlingua study run {self.name} root=data"]
            found.append(Section("Taught in translation", [*lead, text], _matrices(second)))
        return found


def _half(entry: str) -> str:
    return "translated" if entry.startswith("translated") else "matrix"


def _arm(score: Score, half: str) -> str:
    """``SOURCE on LANGUAGE`` for what claims are about."""
    entry = score.task.removeprefix("translated-") if half == "translated" else score.task
    if _half(score.task) == half:
        for name, sets in SETS.items():
            if (entry, score.language) in sets:
                return f"{score.model.rpartition('/')[2]} on {name}"
    return ""


def _cells(scores: Sequence[Score], half: str) -> dict[str, dict[str, list[float]]]:
    """Source -> test set -> F1 of each seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for s in plain(scores, "f1"):
        if _half(s.task) == half:
            name = _NAMES[s.language] if s.task.endswith("others") else f"XQuAD, {s.language}"
            found.setdefault(s.model.rpartition("/")[2], {}).setdefault(name, []).append(s.value)
    return found


def _counts(scores: Sequence[Score], half: str) -> str:
    counts = {s.n for s in plain(scores, "f1") if _half(s.task) == half}
    return f"{min(counts):,}" + (f" to {max(counts):,}" if len(counts) > 1 else "")


def _matrices(cells: Mapping[str, Mapping[str, list[float]]]) -> list[Figure | Table]:
    from interlingua.report.plots import heatmap

    sets = list(dict.fromkeys(name for own in cells.values() for name in own))
    rows: list[list[Cell]] = [[name, *(shown(own.get(name, [])) for own in cells.values())] for name in sets]
    matrix = [[statistics.fmean(own[name]) if name in own else None for name in sets] for own in cells.values()]
    models = [f"taught: {source}" for source in cells]
    drawing = heatmap(matrix, models, sets, measure="F1", languages=False, title="F1 by what was taught and tested",
                      caption="A row a model, a column a test set.")  # fmt: skip
    align: list[Align] = ["left", *(["right"] * len(cells))]  # type: ignore[list-item]
    return [drawing, Table("F1", "", ["test set", *models], rows, align)]


def _matrix(recipe: QuestionsRecipe) -> SuiteRecipe:
    """The first half, as benchmarks/qa-matrix.yaml has it."""
    sources = {"en": ("en",), "ja": ("ja",), "both": ("en", "ja")}
    train = [LabelledFile(path=Path(source.path), lang=lang, limit=recipe.taught)
             for lang, source in (("en", SQUAD), ("ja", JAQUAD))]  # fmt: skip
    first = question_task([LabelledFile(path=Path(xquad(lang).path), lang=lang) for lang in XQUAD], train, squad=True)
    others = question_task([LabelledFile(path=Path(source.path), lang=lang) for lang, source in OTHERS.items()])
    tune = question_tune(epochs=recipe.epochs, frozen=recipe.frozen, lr=recipe.lr, threads=recipe.threads)
    return SuiteRecipe(
        name="matrix", model=recipe.model, root=recipe.root, seeds=recipe.seeds, tune=tune,
        entries=(SuiteEntry(name="xquad", task=first, sources=sources, limit=recipe.tested),
                 SuiteEntry(name="others", task=others, taught_by="xquad", limit=recipe.tested)),
    )  # fmt: skip


def _taken(folder: Path, model: str) -> Iterator[Score]:
    """The first half's rows from the folder of a suite."""
    names = ("xquad", "others")
    found = [s for s in read_scores(folder / "scores.jsonl") if s.task in names and s.model.startswith(f"{model}/")]
    if lacking := [name for name in names if not any(s.task == name for s in found)]:
        raise DataError(
            f"no rows of {' or '.join(lacking)} with {model}",
            expected="a run of benchmarks/qa-matrix.yaml",
            where=str(folder),
            next_step="leave matrix out, and the study teaches itself",
        )
    yield from found
    yield from (s for s in block_scores(folder, names) if s.model.startswith(f"{model}/"))


def _translated(folder: Path, recipe: QuestionsRecipe) -> SuiteRecipe:
    """The second half, over the files that :func:`_drawn` writes."""

    def files(tags: Sequence[str], part: str) -> list[LabelledFile]:
        return [LabelledFile(path=Path(f"xquad.{lang}.jsonl"), lang=lang, split=part) for lang in tags]

    chinese = [LabelledFile(path=Path(f"{lang}.jsonl"), lang=lang) for lang in ("zh-Hant", "zh")]
    tune = question_tune(epochs=recipe.repeats, frozen=recipe.frozen, lr=recipe.lr, threads=recipe.threads)
    taught = question_task(files(XQUAD, "test"), files(TRANSLATED, "train"), squad=True)
    return SuiteRecipe(
        name="translated", model=recipe.model, root=folder, seeds=recipe.seeds, tune=tune,
        entries=(SuiteEntry(name="translated-xquad", task=taught, sources={lang: (lang,) for lang in TRANSLATED},
                            limit=recipe.tested),
                 SuiteEntry(name="translated-others", task=question_task(chinese), taught_by="translated-xquad",
                            limit=recipe.tested)),
    )  # fmt: skip


def _drawn(probing: Probing, recipe: QuestionsRecipe, folder: Path) -> Encoder:
    """Write XQuAD with its articles dealt to two parts, and the other Chinese sets as they are."""
    from interlingua.run import atomic_write

    english = _rows(xquad("en").file(recipe.root))
    articles = list(dict.fromkeys(row["title"] for row in english))
    parts = {row["id"]: "test" if articles.index(row["title"]) % 2 else "train" for row in english}
    for lang in XQUAD:
        rows = _rows(xquad(lang).file(recipe.root))
        atomic_write(folder / f"xquad.{lang}.jsonl", _jsonl([{**row, "split": parts[row["id"]]} for row in rows]))
    for lang in ("zh-Hant", "zh"):
        atomic_write(folder / f"{lang}.jsonl", _jsonl(_rows(OTHERS[lang].file(recipe.root))))
    return probing.encoder


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for _, line in numbered_lines(file, ReadReport()) if line.strip()]


def _jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
