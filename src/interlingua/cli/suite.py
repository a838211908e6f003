"""``interlingua evaluate --suite``: many tasks taught and scored by one recipe."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.cli.console import Answer
from interlingua.cli.tables import number, table

if TYPE_CHECKING:
    from interlingua.evaluate.suite import SuiteResult
    from interlingua.evaluate.summary import Cell
    from interlingua.recipe_suite import SuiteEntry

__all__ = ["cell_text", "evaluate_suite"]


def evaluate_suite(
    name: str,
    overrides: Sequence[str],
    *,
    out: Path | None,
    entries: Sequence[str],
    languages: Sequence[str],
    shift: bool,
    against: Path | None,
) -> Answer:
    """Run a suite and show its tables."""
    from interlingua.cli.progress import Stages
    from interlingua.evaluate.suite import run_suite
    from interlingua.evaluate.summary import differences, suite_score
    from interlingua.languages import canonical
    from interlingua.recipe_file import load_recipe
    from interlingua.recipe_suite import SuiteRecipe

    recipe = load_recipe(name, SuiteRecipe, overrides)
    if shift:
        recipe = recipe.model_copy(update={"shift": True})
    folder = out or Path("runs") / recipe.name
    with Stages() as stages:
        result = run_suite(
            recipe, folder, entries=entries, languages=[canonical(word) for word in languages], say=stages.say,
            stage=stages.stage,
        )  # fmt: skip
    shown: list[Any] = []
    for entry in recipe.entries:
        if entry.name in result.selection:
            shown += _entry(result, entry)
    sources = list(dict.fromkeys(name for entry in recipe.entries for name in entry.sources)) or [""]
    whole = {
        f"{recipe.model}/{source}" if source else recipe.model: found
        for source in sources
        if (found := suite_score(result.scores, recipe.entries, recipe.model, source))
    }
    shown.append(table(["model", "mean over tasks", "tasks"], [(m, number(v), n) for m, (v, n) in whole.items()]))
    document: dict[str, Any] = {
        "folder": folder,
        "scores": folder / "scores.jsonl",
        "computed": result.computed,
        "kept": result.kept,
        "selection": result.selection,
        "mean_over_tasks": {model: value for model, (value, _) in whole.items()},
        "rows": result.scores,
    }
    if against is not None:
        compared = differences(folder, against, recipe.entries)
        rows = [
            (task, lang, source, number(d.value, signed=True), number(d.low, signed=True), number(d.high, signed=True),
             number(d.p), d.n)
            for (task, lang, source), d in compared.items()
        ]  # fmt: skip
        columns = ["entry", "language", "source", "difference", "low", "high", "p", "n"]
        shown += [f"{folder} minus {against}, paired bootstrap, 95 % interval:", table(columns, rows, left=3)]
        document["differences"] = [
            {"entry": task, "language": lang, "source": source, **vars(d)}
            for (task, lang, source), d in compared.items()
        ]
    shown.append(f"{result.computed} tests computed, {result.kept} kept from before; scores: {folder / 'scores.jsonl'}")
    return Answer(document, shown)


def _entry(result: SuiteResult, entry: SuiteEntry) -> list[Any]:
    """The table of an entry: languages, and a column a model, published figures behind.

    Of texts in two languages those that files hold have rows; every language with every other has the test below.
    """
    from interlingua.evaluate.summary import cells_of, main_metric, task_score, within_across

    metric = main_metric(entry)
    by_model = cells_of(result.scores, task=entry.name, metric=metric)
    if not by_model:
        return [f"{entry.name}: no language asked for"]
    there = list(dict.fromkeys(lang for cells in by_model.values() for lang in cells))
    plain = [lang for lang in there if "/" not in lang]
    langs = plain if entry.across else [*plain, *(lang for lang in there if "/" in lang)]
    rows = [
        (lang, *(cell_text(cells.get(lang)) for cells in by_model.values()), *_published(entry, lang),
         next(cells[lang].n for cells in by_model.values() if lang in cells))
        for lang in langs
    ]  # fmt: skip
    if rows:
        averaged = [[cells[lang].mean for lang in plain or langs if lang in cells] for cells in by_model.values()]
        means = [number(statistics.fmean(values)) if values else "-" for values in averaged]
        name = "mean" if len(plain) in {0, len(langs)} else "mean of one language"
        rows.append((name, *means, *_published(entry, "mean"), ""))
    if plain and entry.task is not None and entry.task.type == "span":
        both = [number(task_score(result.scores, entry, model)) for model in by_model]
        rows.append(("mean of (EM + F1) / 2", *both, *("-" for _ in entry.published), ""))
    seeds = max(cell.seeds for cells in by_model.values() for cell in cells.values())
    head = f"{entry.name}: {metric.replace('_', ' ')}"
    spread = f"; +/-: standard deviation over {seeds} seeds" if seeds > 1 else "; one seed"
    shown: list[Any] = [f"{head}{spread}; selection: {result.selection[entry.name]}"]
    shown.append(table([entry.name, *by_model, *entry.published, "n"], rows))
    if entry.note:
        shown.append(f"published: {entry.note}")
    for model, cells in by_model.items():
        if (test := within_across(cells)) is not None:
            lines = [(lang, number(test.within[lang]), number(test.across[lang])) for lang in test.within]
            columns = [model, "within", "across"]
            shown += [f"both sides in one language, or in two; gap {number(test.gap)}:", table(columns, lines)]
    return shown


def cell_text(cell: Cell | None) -> str:
    """A score as it stands in a table: mean, and with several seeds their spread."""
    if cell is None:
        return "-"
    return number(cell.mean) + (f" +/- {number(cell.spread)}" if cell.seeds > 1 else "")


def _published(entry: SuiteEntry, lang: str) -> list[str]:
    """Published figures of a language, as shares like ours."""
    return [number(by[lang] / 100 if lang in by else None) for by in entry.published.values()]
