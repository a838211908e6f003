"""The whole road from text that ships inside the package.

In: the bundled Bible (13 languages, 6 scripts) and a few hundred general segments. Out: the same report as the tour,
for an encoder that was pretrained minutes ago. Road: text -> vocabulary -> shards -> masked LM + translation LM +
translation ranking -> a task taught in English only -> every other language. The task is the part of the Bible a
verse of a held-out chapter stands in; SIB-200 topics, another domain, stand beside it as they are.

Decision: one wide layer. In ten minutes of two cores what can be learnt is mostly which words translate which, and a
layer more halves the number of verses seen. Price: little syntax; the tour says what it reaches, not what is possible.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interlingua.data import read_packed, resolve
from interlingua.errors import RunError
from interlingua.evaluate import control_scores, evaluate
from interlingua.pretrain import pretrain
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_file import load_recipe
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe
from interlingua.run import atomic_write
from interlingua.scores import Score, append_scores, summarise
from interlingua.tour.bible import BibleSplit, split_bible
from interlingua.tour.shared import (
    SOURCE,
    Say,
    Stage,
    Stopwatch,
    TourResult,
    beaten_controls,
    facts,
    mean_over_others,
    method_section,
    pick_languages,
    sentence_section,
)

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.tasks.texts import TextExample
    from interlingua.train.loop import Progress
    from interlingua.transfer.tune import Tuned

__all__ = ["SCRATCH_TUNE", "run_scratch_tour"]

#: How the tour teaches; scripts/tour_settings.py compares other settings on English verses.
SCRATCH_TUNE = TuneRecipe(epochs=6, batch_size=64, lr=1e-3, head_lr=3e-3, freeze="none", max_length=96, dropout=0.2)
CANDIDATES = 500


def _write_text(split: BibleSplit, folder: Path) -> tuple[Path, Path]:
    """The pretraining text as multi-parallel files."""
    lines = ["\t".join(["id", *split.languages])]
    lines += ["\t".join([v, *(texts.get(lang, "") for lang in split.languages)]) for v, texts in split.pretrain.items()]
    bible, general = folder / "bible.tsv", folder / "general.tsv"
    atomic_write(bible, "\n".join(lines) + "\n")
    atomic_write(general, read_packed("general.tsv.zst"))
    return bible, general


def run_scratch_tour(
    out: Path,
    *,
    languages: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    sentences: Sequence[str] = (),
    say: Say = lambda text: None,
    stage: Stage = lambda name, done, total: None,
    overrides: Sequence[str] = (),
) -> TourResult:
    """Run the tour from scratch.

    Args:
        out: run folder.
        languages: which test languages; all thirteen if None. Pretraining always uses all.
        seeds: one tuned model each.
        sentences: texts to classify at the end, shown in the report.
        say: told in a line what was found.
        stage: called as (stage, done, total) while it runs.
        overrides: ``key.sub=value`` words for the bundled recipe ``scratch``.

    Raises:
        LanguageError: a language without test verses, or none but English.
        RunError: pretraining was stopped by SIGTERM; what it had learnt is saved.
    """
    from interlingua.models.encoder import load

    watch = Stopwatch()
    split = split_bible()
    chosen = pick_languages(split.languages, languages)
    bible, general = _write_text(split, out / "text")
    recipe = load_recipe("scratch", PretrainRecipe, [f"data.parallel=[{bible}, {general}]", *overrides])

    def on_step(progress: Progress) -> None:
        stage("pretrain", progress.step, progress.steps)

    stage("vocabulary and shards", 0, 1)
    trained = pretrain(recipe, out / "pretrain", say=say, on_step=on_step)
    if trained.training.reason == "stopped":
        raise RunError(
            f"pretraining was stopped at step {trained.training.step:,}",
            expected=f"{recipe.train.steps:,} steps before anything is taught",
            where=str(trained.checkpoint),
            next_step="the same command goes on from there",
        )
    watch.lap("vocabulary, shards, pretraining")
    encoder = load(trained.checkpoint)
    scores = _retrieval(encoder, split, chosen, stage)
    watch.lap("retrieval")
    tuned, bible_scores = _taught(
        encoder,
        "bible part",
        split.teach,
        [e for e in split.test if e.lang in chosen],
        seeds,
        out / "tuned",
        stage,
        say,
    )
    watch.lap("bible part, controls")
    scores += bible_scores
    sib_train, sib_test = _sib(chosen)
    if any(e.lang != SOURCE for e in sib_test):
        scores += _taught(encoder, "topics", sib_train, sib_test, seeds, out / "topics", stage, say)[1]
        watch.lap("SIB-200 topics, controls")
    rows = summarise(bible_scores, metric="accuracy", source=SOURCE, model="scratch")
    result = TourResult(out / "report.html", rows, _findings(scores), tuned, scores, watch.seconds)
    stage("report", 0, 1)
    append_scores(out / "scores.jsonl", scores)
    _write(result, out / "pretrain", sentences)
    stage("report", 1, 1)
    watch.lap("report")
    return result


def _retrieval(encoder: Encoder, split: BibleSplit, chosen: Sequence[str], stage: Stage) -> list[Score]:
    """P@1 among 500 held-out verses, English <-> each language."""
    from interlingua.probe.retrieval import retrieve

    scores: list[Score] = []
    others = [lang for lang in chosen if lang != SOURCE]
    for done, lang in enumerate(others):
        stage("retrieval", done, len(others))
        both = [v for v, texts in split.test_verses.items() if lang in texts and SOURCE in texts]
        picked = random.Random(0).sample(both, min(CANDIDATES, len(both)))
        texts = {tag: {v: split.test_verses[v][tag] for v in picked} for tag in (SOURCE, lang)}
        found = retrieve(encoder, texts, source=SOURCE, ways=["raw", "centred"])
        scores += [score for one in found for score in one.scores()]
    stage("retrieval", 1, 1)
    # Rows are named after the checkpoint's folder; the report speaks of "scratch".
    return [Score(**{**s.__dict__, "model": "scratch" + ("+centred" if "+centred" in s.model else "")}) for s in scores]


def _sib(chosen: Sequence[str]) -> tuple[list[TextExample], list[TextExample]]:
    from interlingua.tasks import read_text_examples

    file = resolve("package:sib200.tsv.zst")
    train = read_text_examples(file, split="train")
    test = read_text_examples(file, split="test")
    return train, [e for lang in chosen for e in test if e.lang == lang]


def _taught(
    encoder: Encoder,
    name: str,
    train_examples: Sequence[TextExample],
    test: Sequence[TextExample],
    seeds: Sequence[int],
    folder: Path,
    stage: Stage,
    say: Say,
) -> tuple[list[Tuned], list[Score]]:
    """Teach in English, score everywhere, controls beside."""
    from interlingua.tasks.base import Encoded
    from interlingua.transfer.finetune import build_task, save_tuned
    from interlingua.transfer.tune import tune_once

    task = build_task(TaskRecipe(name=name), train_examples)
    steps = SCRATCH_TUNE.epochs * -(-len(train_examples) // SCRATCH_TUNE.batch_size) * (len(seeds) + 1)
    done = 0

    def on_step(progress: Progress) -> None:
        nonlocal done
        done += 1
        stage(f"teach {name}", done, steps)

    cache: dict[str, list[Encoded]] = {}
    tuned = [
        tune_once(encoder, task, train_examples, SCRATCH_TUNE, seed=seed, on_step=on_step, cache=cache)
        for seed in seeds
    ]
    for one in tuned:
        save_tuned(one, folder / f"seed-{one.seed}")
    scores = evaluate(tuned, test, shift=True, source=SOURCE, model="scratch")
    scores += control_scores(task, train_examples, test, encoder=encoder, tune=SCRATCH_TUNE, on_step=on_step)
    stage(f"teach {name}", 1, 1)
    say(f"{name}: taught with {len(train_examples):,} English examples, scored on {len(test):,}")
    return tuned, scores


def _others(scores: Sequence[Score], task: str, metric: str, model: str = "scratch") -> float:
    rows = summarise([s for s in scores if s.task == task], metric=metric, source=SOURCE, model=model)
    return mean_over_others(rows)


def _findings(scores: Sequence[Score]) -> list[str]:
    rows = summarise([s for s in scores if s.task == "bible part"], metric="accuracy", source=SOURCE, model="scratch")
    english = next(row.mean for row in rows if row.language == SOURCE)
    beaten, failed = beaten_controls(rows)
    others = mean_over_others(rows)
    lines = [
        f"Held-out verse retrieval, English <-> {len(rows) - 1} languages, {CANDIDATES} candidates: P@1 "
        f"{_others(scores, 'retrieval', 'p1'):.3f} on average.",
        f"Part of the Bible, taught in English only: {english:.3f} in English, {others:.3f} on average elsewhere "
        f"({others / english:.0%} of English).",
        f"Every control is beaten in {beaten} of {len(rows)} languages"
        + (f"; not in {', '.join(failed)}." if failed else "."),
    ]
    if topics := [s for s in scores if s.task == "topics"]:
        sib = summarise(topics, metric="accuracy", source=SOURCE, model="scratch")
        lines.append(
            f"SIB-200 topics, another domain: {next(r.mean for r in sib if r.language == SOURCE):.3f} in English, "
            f"{mean_over_others(sib):.3f} on average over {len(sib) - 1} other languages."
        )
    return lines


def _write(result: TourResult, run: Path, sentences: Sequence[str]) -> None:
    from interlingua.report.page import write_report
    from interlingua.report.sections import retrieval_section, score_section, shift_section
    from interlingua.report.training import curve_section, read_metrics

    by_task = {name: [s for s in result.scores if s.task == name] for name in ("bible part", "topics", "retrieval")}
    sections = [
        curve_section(
            read_metrics(run / "metrics.jsonl"),
            heading="Pretraining",
            paragraphs=[
                "Masked LM, translation LM and translation ranking over the bundled text, one objective a step."
            ],
        ),
        retrieval_section(
            by_task["retrieval"],
            heading="Finding a verse's translation",
            paragraphs=[
                f"Nearest neighbour by cosine among {CANDIDATES} verses of chapters that pretraining never saw."
            ],
            model="scratch",
            chance=1 / CANDIDATES,
        ),
        score_section(
            by_task["bible part"],
            heading="Taught in English: which part of the Bible?",
            paragraphs=[
                "Labels need no annotator: law, history, wisdom, prophets, gospels and acts, letters. Whole chapters "
                "are held out in every language. Burmese and Swahili have the New Testament only, so two of the six "
                "classes."
            ],
            model="scratch",
            metric="accuracy",
            source=SOURCE,
        ),
        shift_section(
            by_task["bible part"],
            heading="Shifting a language's mean onto English's",
            paragraphs=[
                "Means are those of the unlabelled test verses; where a language's verses are of other parts than the "
                "English ones, the shift takes that difference away as well."
            ],
            model="scratch",
            metric="accuracy",
        ),
    ]
    if by_task["topics"]:
        sections.append(
            score_section(
                by_task["topics"],
                heading="Another domain: SIB-200 topics",
                paragraphs=["News and encyclopaedia sentences; nothing like them stood in the pretraining text."],
                model="scratch",
                metric="accuracy",
                source=SOURCE,
                chance=1 / 7,
            )
        )
    if sentences:
        sections.append(sentence_section(result, sentences, "part"))
    sections.append(
        method_section(
            result, "the bundled Bible translations, UDHR and permissively licensed segments; SIB-200 for topics"
        )
    )
    write_report(result.report, "From raw text to every language", " ".join(result.lines[:2]), facts(result), sections)
