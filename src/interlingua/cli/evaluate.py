"""``interlingua evaluate``: tuned models scored in every language, beside controls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb

if TYPE_CHECKING:
    from interlingua.evaluate.steer import Steered
    from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile
    from interlingua.scores import Score
    from interlingua.tasks import Example
    from interlingua.transfer.tune import Tuned

__all__ = ["add_to"]


def evaluate(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN...]",
            help="Run folders of `finetune`, or its seed folders; with --suite: overrides KEY=VALUE.",
        ),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Teach and score a suite: a bundled name or a YAML file.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Where the test files stand; the run's own recipe by default.")
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(metavar="LANG=FILE", help="Labelled file of a language, instead of the recipe's; repeatable."),
    ] = None,
    languages: Annotated[
        str, typer.Option(metavar="TAG,...", help="Score only these (and the source language); all by default.")
    ] = "",
    shift: Annotated[
        bool, typer.Option("--shift", help="Also with each language's mean moved onto the source's (no labels used).")
    ] = False,
    steer: Annotated[
        str,
        typer.Option(
            metavar="auto|LAYER,...",
            help="Also with the states of every language moved onto the source's at a layer: these, or all; the one "
            "with the most informative predictions is shown (no labels used).",
        ),
    ] = "",
    controls: Annotated[
        str,
        typer.Option(metavar="NAME,...", help="Controls to measure beside: majority (or mean), tfidf, random."),
    ] = "",
    source: Annotated[
        str | None, typer.Option(metavar="LANG", help="Language the task was taught in; by default as the recipe says.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="scores.jsonl, in the (first) run folder by default; with --suite: the run folder."),
    ] = None,
    entries: Annotated[str, typer.Option(metavar="NAME,...", help="With --suite: only these entries.")] = "",
    against: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="With --suite: another run of it; tests the differences by paired bootstrap."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write predictions in XTREME's layout, DIR/seed-N/TASK/test-LANG.*"),
    ] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Score tuned models in every language there is.

    For each language that the test files have: mean and spread over seeds, gap to the source language, controls.

    Example:
    interlingua finetune topics
    interlingua evaluate runs/topics --shift --controls majority,tfidf
    interlingua evaluate runs/topics --languages de,sw,hi --steer auto
    interlingua evaluate --suite xtreme-like root=data --entries topics
    """
    from interlingua.errors import RecipeError

    if suite is not None:
        from interlingua.cli.suite import evaluate_suite

        return evaluate_suite(
            suite,
            runs or (),
            out=out,
            entries=_words(entries),
            languages=_words(languages),
            shift=shift,
            against=against,
        )
    if not runs:
        raise RecipeError("nothing to evaluate", expected="run folders of `finetune`, or --suite RECIPE", where="RUN")
    folders = [Path(run) for run in runs]
    return _evaluate(folders, recipe, test, languages, shift, steer, controls, source, out, predictions)


def _words(option: str) -> list[str]:
    return [word.strip() for word in option.split(",") if word.strip()]


def _evaluate(
    runs: list[Path],
    recipe: str | None,
    test: list[str] | None,
    languages: str,
    shift: bool,
    steer: str,
    controls: str,
    source: str | None,
    out: Path | None,
    predictions: Path | None,
) -> Answer:
    """Score the models of one task."""
    from interlingua.cli.progress import Stages
    from interlingua.cli.tables import score_table
    from interlingua.evaluate import evaluate as run
    from interlingua.evaluate.controls import check_controls
    from interlingua.evaluate.steer import RULE
    from interlingua.languages import canonical
    from interlingua.scores import append_scores, summarise
    from interlingua.transfer.finetune import read_examples

    wanted = controls.split(",") if controls else []
    check_controls(wanted)
    plan = _recipe(runs[0], recipe)
    tuned = _open(runs)
    examples = read_examples(plan.task, _tests(plan, test))
    train_examples = read_examples(plan.task, plan.task.train) if controls or not source else []
    taught = canonical(source) if source else train_examples[0].lang if train_examples else "en"
    examples = _only(examples, languages, taught)
    for one in tuned:
        one.task.unseen = plan.task.unseen_labels
    unseen = tuned[0].task.check_labels(examples)
    with Stages() as stages:
        scores = run(
            tuned, examples, max_length=plan.tune.max_length, shift=shift, source=taught,
            on_language=lambda lang, done, total: stages.stage("score", done, total, lang),
            on_predicted=(lambda found: found.write(predictions)) if predictions else None,
        )  # fmt: skip
        stages.stage("score", 1, 1)
        moved = _steered(tuned, examples, plan, steer, taught, stages.stage) if steer else None
        if moved:
            scores += moved.scores
        if controls:
            scores += _controls(plan, tuned[0], train_examples, examples, wanted, stages.stage)
    file = out or (runs[0].parent if (runs[0] / "interlingua.json").is_file() else runs[0]) / "scores.jsonl"
    append_scores(file, scores)
    metric = tuned[0].task.metric
    models = ["tuned", *(["tuned+shift"] if shift else []), *([f"tuned+steer@{moved.layer}"] if moved else [])]
    rows = {model: summarise(scores, metric=metric, source=taught, model=model) for model in models}
    notes = tuned[0].notes(examples)
    document = {"scores": file, "metric": metric, "source": taught, "selection": tuned[0].selection, "rows": rows,
                "notes": notes}  # fmt: skip
    lines: list[object] = []
    for model, measured in rows.items():
        if model == "tuned+shift":
            lines.append("language means shifted onto the source's:")
        elif moved and model != "tuned":
            each = ", ".join(f"{layer}: {value:.3f}" for layer, value in moved.information.items())
            lines.append(f"states moved onto the source's at layer {moved.layer} ({RULE}; {each}):")
        lines.append(score_table(measured, metric=metric, source=taught))
    seeds = ", ".join(str(one.seed) for one in tuned)
    lines += notes
    lines.append(f"spread: standard deviation over seeds {seeds}; gap: to {taught}; selection: {tuned[0].selection}")
    return Answer(document, [*lines, *unseen, f"scores: {file}"])


def _steered(
    tuned: Sequence[Tuned], examples: Sequence[Example], plan: FinetuneRecipe, layers: str, source: str, stage: Any
) -> Steered:
    from interlingua.evaluate.steer import evaluate_steered

    try:
        wanted = [] if layers == "auto" else [int(layer) for layer in _words(layers)]
    except ValueError:
        raise typer.BadParameter(f"--steer {layers!r}: expected auto, or numbers of layers") from None
    return evaluate_steered(
        tuned, examples, source=source, layers=wanted, max_length=plan.tune.max_length,
        on_language=lambda lang, done, total: stage("steer", done, total, lang),
    )  # fmt: skip


def _recipe(run: Path, name: str | None) -> FinetuneRecipe:
    from interlingua.errors import DataError
    from interlingua.recipe_file import load_recipe
    from interlingua.recipe_transfer import FinetuneRecipe

    if name is not None:
        return load_recipe(name, FinetuneRecipe)
    saved = next((file for file in (run / "recipe.yaml", run.parent / "recipe.yaml") if file.is_file()), None)
    if saved is None:
        raise DataError(
            f"no recipe.yaml in {str(run)!r}",
            expected="a run folder of `interlingua finetune`",
            where=str(run),
            next_step="check the path, or say with --recipe where the files of the task stand",
        )
    return load_recipe(saved, FinetuneRecipe)


def _open(runs: Sequence[Path]) -> list[Tuned]:
    """The tuned models of all folders; they must be of one task."""
    from interlingua.errors import CheckpointError
    from interlingua.transfer.finetune import open_tuned

    folders: list[Path] = []
    for run in runs:
        seeds = sorted(run.glob("seed-*/interlingua.json"))
        folders += [run] if (run / "interlingua.json").is_file() or not seeds else [file.parent for file in seeds]
    tuned = [open_tuned(folder) for folder in folders]
    for one, folder in zip(tuned, folders, strict=True):
        if one.task.labels != tuned[0].task.labels:
            raise CheckpointError(
                f"labels {list(one.task.labels)!r}",
                expected=f"those of {str(folders[0])!r}: {list(tuned[0].task.labels)!r}",
                where=str(folder),
                next_step="evaluate models of different tasks one after the other",
            )
    return tuned


def _tests(plan: FinetuneRecipe, words: Sequence[str] | None) -> Sequence[LabelledFile]:
    from interlingua.errors import RecipeError
    from interlingua.recipe_transfer import LabelledFile

    if not words and not plan.task.test:
        raise RecipeError("no test files", expected="task.test in the recipe, or --test LANG=FILE", where="task.test")
    files = []
    for word in words or ():
        lang, equals, file = word.partition("=")
        if not equals:
            raise typer.BadParameter(f"--test {word!r}: expected LANG=FILE")
        files.append(LabelledFile(path=Path(file), lang=lang))
    return files or plan.task.test


def _only(examples: list[Example], words: str, source: str) -> list[Example]:
    """The examples of some languages."""
    from interlingua.errors import LanguageError, nearest
    from interlingua.languages import canonical

    wanted = {canonical(word.strip()) for word in words.split(",") if word.strip()}
    there = {example.lang for example in examples}
    for lang in sorted(wanted - there):
        raise LanguageError(
            f"no examples in {lang!r}{nearest(lang, there)}",
            expected=f"one of {', '.join(sorted(there))}",
            where="--languages",
        )
    return [example for example in examples if example.lang in wanted | {source}] if wanted else examples


def _controls(
    plan: FinetuneRecipe,
    tuned: Tuned,
    train_examples: Sequence[Example],
    examples: Sequence[Example],
    kinds: Sequence[str],
    stage: object,
) -> list[Score]:
    from interlingua.evaluate import control_scores
    from interlingua.models.encoder import load
    from interlingua.transfer.shots import draw_shots

    assert callable(stage)
    if plan.task.shots:
        train_examples = draw_shots(train_examples, plan.task.shots, tuned.seed)
    return control_scores(
        tuned.task, train_examples, examples, kinds=kinds, tune=plan.tune, seed=tuned.seed,
        encoder=load(plan.model) if "random" in kinds else None,
        on_language=lambda lang, done, total: stage("control", done, total, lang),
        on_step=lambda p: stage("teach the control", p.step, p.steps),
    )  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate", cls=Verb)(evaluate)
