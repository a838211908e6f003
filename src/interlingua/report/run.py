"""A run folder's report: training curves from ``metrics.jsonl``, scores by language from ``scores.jsonl``.

In: a run folder. Out: ``report.html`` in it. Decision: the folder alone decides what is in the page (what was not
measured has no section), and every number is drawn from those two files. Price: the page says what stands in the
files, not what was on screen.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import yaml

from interlingua.errors import DataError
from interlingua.languages import language
from interlingua.report.page import Section, write_report
from interlingua.report.sections import found_section, layer_section, retrieval_section, score_section, shift_section
from interlingua.report.training import Metrics, curve_section, read_metrics
from interlingua.scores import Score, read_scores

__all__ = ["report_run"]

_CONTROLS = ("majority", "mean", "tfidf", "random")
#: Of passages, words and bitexts: what their figure shows.
_FOUND = ("mrr@10", "mrr", "f1")
_MAIN_METRICS = ("span_f1", "accuracy", "macro_f1", "pearson")


def report_run(run: Path, out: Path | None = None) -> Path:
    """Write the report of a run.

    Args:
        run: its folder.
        out: the page, ``report.html`` in the folder by default.

    Returns:
        The page.

    Raises:
        DataError: nothing was measured there, or a line of its scores cannot be read.
        SaveError: the page could not be written.
    """
    metrics, scores = run / "metrics.jsonl", run / "scores.jsonl"
    if not metrics.is_file() and not scores.is_file():
        raise DataError(
            f"nothing measured in {str(run)!r}",
            expected="metrics.jsonl (of `interlingua pretrain`) or scores.jsonl (of `interlingua evaluate`)",
            where=str(run),
            next_step="check the path, or run one of these verbs first",
        )
    recipe = _recipe(run)
    facts = {
        key: str(recipe[key]) for key in ("name", "kind", "seed", "model") if isinstance(recipe.get(key), str | int)
    }
    sections: list[Section] = []
    lead: list[str] = []
    if metrics.is_file():
        section, sentence, more = _training(read_metrics(metrics))
        sections.append(section)
        lead.append(sentence)
        facts |= more
    if scores.is_file():
        for part, sentence in _scores(read_scores(scores), recipe):
            sections.append(part)
            lead.append(sentence)
    return write_report(
        out or run / "report.html",
        recipe.get("name") or run.resolve().name,
        " ".join(filter(None, lead)),
        facts,
        sections,
    )


def _recipe(run: Path) -> dict[str, Any]:
    saved = run / "recipe.yaml"
    tree = yaml.safe_load(saved.read_text(encoding="utf-8")) if saved.is_file() else None
    return tree if isinstance(tree, dict) else {}


def _training(metrics: Metrics) -> tuple[Section, str, dict[str, str]]:
    rows = metrics.rows
    last = rows[-1]
    speed = statistics.median(row["tokens_per_second"] for row in rows if "tokens_per_second" in row)
    padding = statistics.fmean(row["padding"] for row in rows if "padding" in row)
    measured: list[dict[str, dict[str, float]]] = [row["held_out"] for row in rows if "held_out" in row]
    facts = {"steps": f"{last['step']:,}", "tokens a second": f"{speed:,.0f}", "padding": f"{padding:.1%}"}
    ends = [
        f"{name} {statistics.fmean(by.values()):.3f}" for name, by in (measured[-1] if measured else {}).items() if by
    ]
    sentence = f"{last['step']:,} steps" + (f"; held-out loss at the end: {', '.join(ends)}." if ends else ".")
    paragraphs = ["A point of the loss is the mean over its neighbours; held-out text was never trained on."]
    return curve_section(metrics, heading="Training", paragraphs=paragraphs), sentence, facts


def _scores(scores: list[Score], recipe: dict[str, Any]) -> list[tuple[Section, str]]:
    """Sections of each task, part and model, with a sentence each."""
    found = _layers([score for score in scores if score.layer is not None])
    scores = [score for score in scores if score.layer is None]
    taught = "task" in recipe or any(score.seed is not None for score in scores)
    for task, split in dict.fromkeys((score.task, score.split) for score in scores):
        rows = [score for score in scores if (score.task, score.split) == (task, split)]
        models = dict.fromkeys(score.model for score in rows)
        for model in models:
            plain, _, how = model.rpartition("+")
            # Drawn beside what they are compared with, where that was measured.
            if model in _CONTROLS or (how in ("shift", "centred") and plain in models):
                continue
            metrics = {score.metric for score in rows if score.model == model}
            if "p1" in metrics and "mrr" not in metrics:
                found.append(_retrieval(rows, model))
            elif main := next((metric for metric in _FOUND if metric in metrics and not taught), None):
                found.append(_found(rows, model, main))
            else:
                found += _task(rows, model, recipe, shifted=f"{model}+shift" in models)
    return found


def _layers(scores: list[Score]) -> list[tuple[Section, str]]:
    """A section for each probe that measured layers."""
    probes = {probe: [s for s in scores if s.task.partition(".")[0] == probe]
              for probe in dict.fromkeys(s.task.partition(".")[0] for s in scores)}  # fmt: skip
    return [
        (layer_section(rows, heading=f"By layer: {probe}"),
         f"{probe.capitalize()} in {len({row.layer for row in rows})} layers.")
        for probe, rows in probes.items()
    ]  # fmt: skip


def _retrieval(rows: list[Score], model: str) -> tuple[Section, str]:
    own = [score for score in rows if score.model == model and score.metric == "p1"]
    candidates = min(score.n for score in own)
    section = retrieval_section(
        rows,
        heading=f"Finding translations: {model}",
        paragraphs=[f"The nearest of at least {candidates} sentences."],
        model=model,
        chance=1 / candidates,
    )
    return section, f"Retrieval P@1 {statistics.fmean(score.value for score in own):.3f} over {len(own)} languages."


def _found(rows: list[Score], model: str, metric: str) -> tuple[Section, str]:
    """Passages, words or pairs found by vectors; nothing was taught, so there is no source language."""
    own = [score for score in rows if score.model == model and score.metric == metric]
    section = found_section(rows, heading=f"{own[0].task}: {model}", model=model, metric=metric)
    mean = statistics.fmean(score.value for score in own)
    return section, f"{own[0].task}: mean {metric} {mean:.3f} over {len(own)} languages."


def _task(rows: list[Score], model: str, recipe: dict[str, Any], *, shifted: bool) -> list[tuple[Section, str]]:
    own = [score for score in rows if score.model == model]
    metric = _main_metric(own, recipe)
    source = _source(recipe)
    task, split = own[0].task, own[0].split
    others = [score.value for score in own if score.metric == metric and score.language != source]
    taught = language(source).name
    first = score_section(
        rows,
        heading=f"{task}: taught in {taught}",
        paragraphs=[f"Part: {split}. Hollow marks are controls on the same examples."],
        model=model,
        metric=metric,
        source=source,
    )
    sentence = (
        f"{task}: mean {metric.replace('_', ' ')} {statistics.fmean(others):.3f} outside {taught}." if others else ""
    )
    sections = [(first, sentence)]
    if shifted and others:
        paragraph = f"Every language's mean moved onto that of {taught}; no labels are needed for it."
        second = shift_section(
            rows, heading=f"{task}: language means shifted", paragraphs=[paragraph], model=model, metric=metric
        )
        sections.append((second, ""))
    return sections


def _main_metric(own: list[Score], recipe: dict[str, Any]) -> str:
    present = dict.fromkeys(score.metric for score in own)
    wanted = (recipe.get("task") or {}).get("metric")
    return next((name for name in (wanted, *_MAIN_METRICS) if name in present), next(iter(present)))


def _source(recipe: dict[str, Any]) -> str:
    """The language a task was taught in, by its recipe; English where the rows of the files say it themselves."""
    named = [file.get("lang") for file in (recipe.get("task") or {}).get("train") or ()]
    return next((str(tag) for tag in named if tag), "en")
