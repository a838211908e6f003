"""The tour: a real encoder taught topics in English only, scored in up to sixty other languages.

In: multilingual-e5-small and the bundled SIB-200 (701 English training sentences, 204 test sentences a language).
Out: ``report.html``, ``scores.jsonl`` and the tuned models in a run folder. Decisions: the lowest eight layers stay
frozen, so they run once a sentence; the tuned part is taught three times with different seeds; the languages' means
are those of their own unlabelled test sentences, and both numbers, shifted and not, are always shown.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile, TaskRecipe, TuneRecipe
from interlingua.scores import Score, append_scores, summarise
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
    release_memory,
    sentence_section,
    trim_heap,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from interlingua.models.encoder import Encoder
    from interlingua.tasks.base import Encoded

__all__ = ["TOUR_TUNE", "run_tour"]

BUNDLED = Path("package:sib200.tsv.zst")
#: How the tour teaches; how these were found stands in docs/results/tour.md, scripts/tour_settings.py compares.
TOUR_TUNE = TuneRecipe(epochs=3, batch_size=16, lr=1e-4, head_lr=1e-3, freeze=8, dropout=0.0, select="last")


def run_tour(
    out: Path,
    *,
    languages: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    sentences: Sequence[str] = (),
    say: Say = lambda text: None,
    stage: Stage = lambda name, done, total: None,
) -> TourResult:
    """Run the tour.

    Args:
        out: run folder.
        languages: which test languages, all 60 others if None; English is always there.
        seeds: one tuned model each.
        sentences: texts to classify at the end, shown in the report.
        say: told in a line what was found.
        stage: called as (stage, done, total) while it runs.

    Raises:
        LanguageError: a language without test sentences, or none but English.
        ModelUnavailableError: e5-small could not be had; the message says how.
    """
    from interlingua.data import resolve
    from interlingua.evaluate import control_scores, evaluate
    from interlingua.models.encoder import load
    from interlingua.tasks import read_text_examples
    from interlingua.transfer.finetune import finetune, read_examples

    watch = Stopwatch()
    task_recipe = TaskRecipe(name="topics", train=(LabelledFile(path=BUNDLED, lang=SOURCE, split="train"),))
    train_examples = read_examples(task_recipe, task_recipe.train)
    test = read_text_examples(resolve(BUNDLED), split="test")
    chosen = pick_languages(sorted({e.lang for e in test}), languages)
    examples = [e for lang in chosen for e in test if e.lang == lang]
    stage("load e5-small", 0, 1)
    encoder = load("e5-small")
    stage("load e5-small", 1, 1)
    watch.lap("load")
    recipe = FinetuneRecipe(name="tour", model="e5-small", seeds=tuple(seeds), task=task_recipe, tune=TOUR_TUNE)
    steps = TOUR_TUNE.epochs * -(-len(train_examples) // TOUR_TUNE.batch_size)
    tuned = finetune(
        recipe,
        out / "tuned",
        encoder=encoder,
        say=say,
        on_step=lambda seed, p: stage("teach in English", list(seeds).index(seed) * steps + p.step, steps * len(seeds)),
    )
    stage("teach in English", 1, 1)
    watch.lap("teach")
    release_memory()
    geometry = _Geometry(encoder, tuned[0].tokenizer)

    def on_language(_: str, done: int, total: int) -> None:
        stage("score every language", done, total)
        trim_heap()

    scores = evaluate(
        tuned,
        examples,
        shift=True,
        source=SOURCE,
        model="e5-small",
        on_language=on_language,
        on_encoded=geometry.add,
    )
    stage("score every language", 1, 1)
    scores += geometry.scores()
    points = geometry.map()
    del geometry  # a second copy of the encoder: the controls need the room
    release_memory()
    watch.lap("score")
    scores += control_scores(
        tuned[0].task, train_examples, examples, encoder=encoder, tune=TOUR_TUNE,
        on_language=lambda lang, done, total: stage("controls", steps + done, steps + total),
        on_step=lambda p: stage("controls", p.step, steps + len(chosen)),
    )  # fmt: skip
    stage("controls", 1, 1)
    watch.lap("controls")
    result_rows = summarise(
        [s for s in scores if s.task == "topics"], metric="accuracy", source=SOURCE, model="e5-small"
    )
    lines = _findings(scores, len(chosen) - 1)
    result = TourResult(out / "report.html", result_rows, lines, tuned, scores, watch.seconds)
    stage("report", 0, 1)
    append_scores(out / "scores.jsonl", scores)
    _write(result, points, sentences, len(examples) // len(chosen))
    stage("report", 1, 1)
    watch.lap("report")
    return result


class _Geometry:
    """Sentence vectors of the encoder as it came, from the states of its frozen layers that scoring needs anyway.

    Args:
        encoder: the untuned encoder.
        tokenizer: the tuned models', which puts the encoder's prefix before every text.
    """

    def __init__(self, encoder: Encoder, tokenizer: PreTrainedTokenizerBase) -> None:
        from interlingua.models.precision import for_inference, inference_dtype

        self.model = for_inference(encoder.model, inference_dtype(encoder.model))
        self.tokenizer = tokenizer
        self.vectors: dict[str, NDArray[np.float32]] = {}

    def add(self, lang: str, examples: list[Encoded]) -> None:
        """Run the remaining layers for one language."""
        import torch

        from interlingua.models.attention import encode, pool_segments
        from interlingua.tasks.base import lay_out, prediction_batches

        out = np.zeros((len(examples), self.model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for indices, chosen in prediction_batches(examples, self.tokenizer):
                batch = lay_out(chosen, self.tokenizer)
                out[indices] = pool_segments(encode(self.model, batch).float(), batch).numpy()
        self.vectors[lang] = out

    def scores(self) -> list[Score]:
        """Retrieval, raw and centred; SIB-200 lists the same sentences in the same order in every language."""
        from interlingua.probe.alignment import retrieval_scores

        raw = retrieval_scores(self.vectors, source=SOURCE, model="e5-small")
        return raw + retrieval_scores(self.vectors, source=SOURCE, model="e5-small", centre=True)

    def map(self) -> dict[str, tuple[float, float]]:
        """Two coordinates a language; empty for fewer than three languages."""
        from interlingua.probe.geometry import language_map, language_means

        return language_map(language_means(self.vectors)) if len(self.vectors) > 2 else {}


def _mean(scores: Sequence[Score], model: str, metric: str, *, others: bool = True) -> float:
    return statistics.fmean(
        s.value for s in scores if s.model == model and s.metric == metric and (s.language != SOURCE) == others
    )


def _findings(scores: Sequence[Score], others: int) -> list[str]:
    topics = [s for s in scores if s.task == "topics"]
    rows = summarise(topics, metric="accuracy", source=SOURCE, model="e5-small")
    shifted = summarise(topics, metric="accuracy", source=SOURCE, model="e5-small+shift")
    english = next(row.mean for row in rows if row.language == SOURCE)
    beaten, failed = beaten_controls(rows)
    gains = {r.language: r.mean - next(o.mean for o in rows if o.language == r.language) for r in shifted}
    gained = sum(gain > 0 for gain in gains.values())
    lost = sum(gain < 0 for gain in gains.values())
    return [
        f"Taught in English only: {english:.3f} in English, {mean_over_others(rows):.3f} on average over "
        f"{others} other languages.",
        f"With each language's mean shifted onto English's: {mean_over_others(shifted):.3f} "
        f"({gained} languages gain, {lost} lose).",
        f"Every control is beaten in {beaten} of {len(rows)} languages"
        + (f"; not in {', '.join(failed)}." if failed else "."),
        f"Retrieval of translations among the test sentences: P@1 {_mean(scores, 'e5-small', 'p1'):.3f}, "
        f"{_mean(scores, 'e5-small+centred', 'p1'):.3f} with each language centred.",
    ]


def _write(result: TourResult, points: dict[str, tuple[float, float]], sentences: Sequence[str], each: int) -> None:
    from interlingua.report.figures import language_map
    from interlingua.report.page import Section, write_report
    from interlingua.report.sections import retrieval_section, score_section, shift_section

    topics = [s for s in result.scores if s.task == "topics"]
    retrieval = [s for s in result.scores if s.task == "retrieval"]
    seeds = len(result.tuned)
    sections: list[Section] = [
        score_section(
            topics,
            heading="Taught in English, scored everywhere",
            paragraphs=[
                "The model saw 701 labelled English sentences and no label in any other language. A dot is the mean "
                f"over {seeds} seeds, the bar goes from the worst to the best.",
                "Crosses are the controls on the same sentences: the most frequent English topic, one layer of the "
                "same network with random weights, all of it taught with the same sentences, and TF-IDF character "
                "n-grams with logistic regression trained on them.",
            ],
            model="e5-small",
            metric="accuracy",
            source=SOURCE,
            chance=1 / 7,
        ),
        shift_section(
            topics,
            heading="Shifting a language's mean onto English's",
            paragraphs=[
                "Each language sits at an offset of its own in the network's space. Subtracting the mean of its "
                f"(unlabelled) {each} test sentences and adding that of the English ones takes the offset away without "
                "any label. It needs a batch of sentences of the language.",
            ],
            model="e5-small",
            metric="accuracy",
        ),
    ]
    if retrieval:
        sections.append(
            retrieval_section(
                retrieval,
                heading="Finding a sentence's translation",
                paragraphs=[f"Nearest neighbour by cosine among {each} sentences, with the encoder as it came."],
                model="e5-small",
                chance=1 / each,
            )
        )
    if points:
        figure = language_map(points)
        sections.append(
            Section(
                "A map of the languages", ("First two principal components of the languages' mean vectors.",), (figure,)
            )
        )
    if sentences:
        sections.append(sentence_section(result, sentences, "topic"))
    sections.append(method_section(result, "intfloat/multilingual-e5-small (MIT), SIB-200 (text CC BY-SA 4.0)"))
    write_report(
        result.report,
        "Taught in English, used in every language",
        " ".join(result.lines[:2]),
        facts(result),
        sections,
    )
