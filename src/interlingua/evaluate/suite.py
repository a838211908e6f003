"""Suites: many tasks taught and scored by one recipe, as XTREME and its like do.

In: a recipe of kind ``suite``. Out: tuned models, a prediction file a task and language in XTREME's layout, and rows of
Scores. Decisions: teaching is ``finetune``'s (a seed that is there is kept); a score is kept under a name made of
everything it follows from, so an interrupted suite goes on, and a language, task or seed that is added is all that is
computed. Price: models and counts stay on disk.

    OUT/tuned/ENTRY/SOURCE/seed-N    models, as `finetune` writes them
    OUT/predictions/SOURCE/seed-N/ENTRY/test-LANG.tsv|json
    OUT/scored/                      see :mod:`interlingua.evaluate.cache`
    OUT/scores.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import DataError, LanguageError, RecipeError, nearest
from interlingua.evaluate.cache import ScoreCache, Scored, digest_of, key_of
from interlingua.evaluate.missing import Subject, score_missing
from interlingua.recipe_file import load_recipe, open_run
from interlingua.recipe_suite import SuiteEntry, SuiteRecipe
from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile
from interlingua.scores import Score, append_scores
from interlingua.transfer.bottlenecks import check_languages, language_adapters

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Example
    from interlingua.tasks.retrieve import SentenceSet
    from interlingua.transfer.tune import Tuned

__all__ = ["SuiteResult", "run_suite", "teaching", "teaching_folder"]

#: What may change between runs of one folder: these add or leave out scores, and never change one. What an entry
#: teaches is compared in the folder of its models.
GROWS = ("entries", "seeds", "root", "shift", "tune.device", "tune.threads", "tune.save_every")


@dataclass(frozen=True)
class SuiteResult:
    """A suite's run.

    Attributes:
        recipe: of the suite.
        scores: all rows asked for.
        computed: how many of the (model, entry, language) tests were computed now; the others were kept.
        kept: how many were kept.
        selection: entry -> how the epoch was chosen.
    """

    recipe: SuiteRecipe
    scores: list[Score]
    computed: int
    kept: int
    selection: dict[str, str]


@dataclass
class _Work:
    """What goes through a run."""

    recipe: SuiteRecipe
    out: Path
    cache: ScoreCache
    languages: frozenset[str]
    say: Callable[[str], None]
    stage: Callable[[str, int, int], None]
    encoder: Encoder | None = None
    computed: int = 0
    kept: int = 0


def run_suite(
    recipe: SuiteRecipe,
    out: Path | None = None,
    *,
    entries: Sequence[str] = (),
    languages: Sequence[str] = (),
    encoder: Encoder | None = None,
    say: Callable[[str], None] = lambda text: None,
    stage: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> SuiteResult:
    """Teach and score whatever is not there yet.

    Args:
        recipe: the suite.
        out: run folder, ``runs/NAME`` by default.
        entries: only these; all if none.
        languages: score only these; all if none.
        encoder: the recipe's model, if it is open already.
        say: told in a line what was done.
        stage: called as (stage, done, total) while it runs.

    Raises:
        RecipeError: no entry, or one that is not in the suite.
        LanguageError: a language that no entry has.
        DataError, LabelError, RunError, ModelUnavailableError: as their names say.
    """
    if not recipe.entries:
        raise RecipeError("a suite without entries", expected="at least one task", where="entries")
    names = [entry.name for entry in recipe.entries]
    for name in entries:
        if name not in names:
            raise RecipeError(f"entry {name!r}{nearest(name, names)}", expected=f"one of {', '.join(names)}",
                              where="--entries")  # fmt: skip
    out = out or Path("runs") / recipe.name
    work = _Work(recipe, out, ScoreCache(out / "scored"), frozenset(languages), say, stage, encoder)
    scores: list[Score] = []
    selection: dict[str, str] = {}
    with open_run(out, recipe, execution=GROWS):
        chosen = [entry for entry in recipe.entries if not entries or entry.name in entries]
        # All of them before the first is taught: what is wrong with the last should not be found after hours.
        plans = {entry.name: _plan(entry, work) for entry in chosen if entry.task}
        sets = {entry.name: _sets(entry, work) for entry in chosen if entry.retrieve}
        for entry in chosen:
            found, how = (
                _teach_and_score(plans[entry.name], work) if entry.task else _retrieve(entry, sets[entry.name], work)
            )
            scores += found
            selection[entry.name] = how
            append_scores(out / "scores.jsonl", found)
    if languages and not scores:
        raise LanguageError(f"no entry has {', '.join(sorted(languages))}", expected="a language of the test files",
                            where="--languages")  # fmt: skip
    return SuiteResult(recipe, scores, work.computed, work.kept, selection)


def _encoder(work: _Work) -> Encoder:
    from interlingua.models.encoder import load

    work.encoder = work.encoder or load(work.recipe.model)
    return work.encoder


@dataclass(frozen=True)
class _Plan:
    """An entry whose files were read.

    Attributes:
        entry: of the suite.
        teacher: the entry whose models it uses, itself or another.
        groups: test examples by language or pair of languages.
        recipes: what is taught, by name of the source.
    """

    entry: SuiteEntry
    teacher: SuiteEntry
    groups: dict[str, list[Example]]
    recipes: dict[str, FinetuneRecipe]


def _plan(entry: SuiteEntry, work: _Work) -> _Plan:
    """Read what an entry needs, and refuse what teaching or scoring would stumble over."""
    groups = _examples(entry, work)
    teacher = next(e for e in work.recipe.entries if e.name == (entry.taught_by or entry.name))
    recipes = teaching(teacher, work.recipe)
    every = [example for rows in groups.values() for example in rows]
    for source, recipe in recipes.items():
        missing = _untaught(recipe, teaching_folder(work.out, teacher, source))
        _check_examples(entry, recipe, every, work, missing=bool(missing))
        if missing and recipe.tune.method == "madx":
            check_languages(recipe.tune.language_adapters, recipe.tune.without_adapter, every)
    return _Plan(entry, teacher, groups, recipes)


def _untaught(recipe: FinetuneRecipe, folder: Path) -> list[int]:
    """Seeds without a model."""
    return [seed for seed in recipe.seeds if not (folder / f"seed-{seed}" / "interlingua.json").is_file()]


def _teach_and_score(plan: _Plan, work: _Work) -> tuple[list[Score], str]:
    scores: list[Score] = []
    how = ""
    for source, recipe in plan.recipes.items():
        folder = teaching_folder(work.out, plan.teacher, source)
        if _untaught(recipe, folder):
            _teach(recipe, folder, work, f"{plan.teacher.name}, {source}")
        else:
            _check_taught(plan.teacher, source, recipe, folder, work)
        found, how = _score(plan.entry, source, recipe, folder, plan.groups, work)
        scores += found
    return scores, how


def _check_examples(
    entry: SuiteEntry, recipe: FinetuneRecipe, tests: list[Example], work: _Work, *, missing: bool
) -> None:
    """Read what is taught, if it is still to be; refuse test labels that are not among its, or say which they are."""
    from interlingua.transfer.finetune import build_task, read_examples

    assert entry.task is not None
    labelled = any(example.labels for example in tests)
    if not (missing or labelled):
        return
    taught = recipe.task.model_copy(update={"unseen_labels": entry.task.unseen_labels})
    train = read_examples(taught, taught.train)
    if labelled:
        for line in build_task(taught, train).check_labels(tests):
            work.say(f"{entry.name}: {line}")


def _check_taught(teacher: SuiteEntry, source: str, recipe: FinetuneRecipe, folder: Path, work: _Work) -> None:
    """Refuse models that another recipe taught; only the folder of data may be another by now, and how is scored."""
    from interlingua.transfer.finetune import EXECUTION

    suite = work.recipe
    scoring = ("task.rule", "task.metric") if recipe.tune.select == "last" else ()
    taught = load_recipe(folder / "recipe.yaml", FinetuneRecipe).task.train
    for now, then in zip(recipe.task.train[:1], taught[:1], strict=False):
        own = now.path.relative_to(suite.root).parts if now.path.is_relative_to(suite.root) else ()
        if own and then.path.parts[-len(own) :] == own:
            suite = suite.model_copy(update={"root": Path(*then.path.parts[: -len(own)])})
    with open_run(folder, teaching(teacher, suite)[source], execution=(*EXECUTION, *scoring)):
        pass


def teaching_folder(out: Path, entry: SuiteEntry, source: str) -> Path:
    """The run folder of an entry's models."""
    return out / "tuned" / entry.name / source


def teaching(entry: SuiteEntry, suite: SuiteRecipe) -> dict[str, FinetuneRecipe]:
    """What an entry teaches, by name of the source.

    Raises:
        RecipeError: a source without a training file.
    """
    assert entry.task is not None
    rooted = {name: _rooted(getattr(entry.task, name), suite) for name in ("train", "dev")}
    task = entry.task.model_copy(update={"name": entry.name, "test": (), **rooted})
    whole = FinetuneRecipe(
        name=entry.name,
        model=suite.model,
        seeds=suite.seeds,
        task=task,
        tune=entry.tune or suite.tune,
    )
    if not entry.sources:
        return {"-".join(dict.fromkeys(tag for file in task.train for tag in _languages(file))) or "nothing": whole}
    found = {}
    for name, tags in entry.sources.items():
        train, dev = (tuple(f for f in files if set(_languages(f)) <= set(tags)) for files in (task.train, task.dev))
        if lacking := sorted(set(tags) - {tag for file in train for tag in _languages(file)}):
            there = sorted({tag for file in task.train for tag in _languages(file)})
            raise RecipeError(
                f"source {name!r} with {', '.join(lacking)}",
                expected=f"languages of the training files: {', '.join(there)}",
                where=f"entry {entry.name}, sources",
            )
        found[name] = whole.model_copy(update={"task": task.model_copy(update={"train": train, "dev": dev})})
    return found


def _languages(file: LabelledFile) -> tuple[str, ...]:
    """What a training file is in, as far as the recipe says."""
    return (file.lang,) if file.lang else file.languages or ("all",)


def _teach(recipe: FinetuneRecipe, folder: Path, work: _Work, name: str) -> None:
    from interlingua.transfer.finetune import finetune

    seeds = list(recipe.seeds)
    finetune(
        recipe,
        folder,
        encoder=_encoder(work),
        say=lambda line: work.say(f"{name}: {line}"),
        on_step=lambda seed, p: work.stage(f"teach {name}", seeds.index(seed) * p.steps + p.step, len(seeds) * p.steps),
    )


def _examples(entry: SuiteEntry, work: _Work) -> dict[str, list[Example]]:
    """Test examples by language, and by pair of languages for the across test."""
    from interlingua.transfer.finetune import read_examples, spread

    assert entry.task is not None
    files = _rooted(entry.task.test, work.recipe)
    if entry.across:
        files = (*files, *_pairs(entry.name, files))
    groups: dict[str, list[Example]] = {}
    for example in read_examples(entry.task, files):
        groups.setdefault(example.lang, []).append(example)
    wanted = work.languages
    return {
        lang: spread(rows, entry.limit) for lang, rows in groups.items() if not wanted or set(lang.split("/")) <= wanted
    }


def _rooted(files: Sequence[LabelledFile], suite: SuiteRecipe) -> tuple[LabelledFile, ...]:
    """Files under the suite's folder of data."""
    from interlingua.data import rooted

    def under(path: Path | None) -> Path | None:
        return rooted(path, suite.root) if path else None

    return tuple(f.model_copy(update={"path": under(f.path), "path_pair": under(f.path_pair)}) for f in files)


def _pairs(entry: str, files: Sequence[LabelledFile]) -> list[LabelledFile]:
    """Every test file's first sides with every other's second sides."""
    if any(file.lang is None or file.path_pair for file in files):
        raise DataError(
            "test files that hold several languages, or are crossed already",
            expected="a file a language, each with lang:",
            where=f"entry {entry}, across",
        )
    return [
        first.model_copy(update={"path_pair": second.path, "lang_pair": second.lang})
        for first in files
        for second in files
        if first.lang != second.lang
    ]


def _score(
    entry: SuiteEntry,
    source: str,
    recipe: FinetuneRecipe,
    folder: Path,
    groups: dict[str, list[Example]],
    work: _Work,
) -> tuple[list[Score], str]:
    """Scores of an entry's models, computed where they are not kept."""
    folders = [folder / f"seed-{seed}" for seed in recipe.seeds]
    facts = [json.loads((one / "interlingua.json").read_text(encoding="utf-8")) for one in folders]
    subjects = [
        Subject(
            seed,
            {
                "fingerprint": fact["fingerprint"],
                "kind": fact["task"],
                "task": _settings(entry, fact["settings"]),
                "languages": language_adapters(one),
            },
            partial(_open, one, entry, groups, work),
        )
        for seed, one, fact in zip(recipe.seeds, folders, facts, strict=True)
    ]
    taught = [tag for file in recipe.task.train for tag in _languages(file)]
    first = next((tag for tag in taught if tag in groups), None) if work.recipe.shift else None
    if work.recipe.shift and first is None:
        lacking = f"no test language it was taught in ({', '.join(taught)})"
        asked = ", or --languages leaves it out" if work.languages else ""
        work.say(f"{entry.name}, {source}: not shifted, {lacking}{asked}")
    stage = f"score {entry.name}, {source}"
    found = score_missing(
        subjects,
        groups,
        work.cache,
        model=f"{work.recipe.model}/{source}",
        max_length=recipe.tune.max_length,
        shift_to=first,
        on_predicted=lambda predicted: predicted.write(work.out / "predictions" / source),
        on_language=lambda lang, done, total: work.stage(stage, done, total),
    )
    work.stage(stage, 1, 1)
    work.computed += found.computed
    work.kept += found.read
    return found.scores, str(facts[0]["selection"])


def _settings(entry: SuiteEntry, taught: dict[str, Any]) -> dict[str, Any]:
    """How an entry scores: with the windows its models were taught with, but by its own name, metric and rule."""
    assert entry.task is not None
    own = {
        "name": entry.name,
        "metric": entry.task.metric or taught["metric"],
        "rule": entry.task.rule,
        "unseen": entry.task.unseen_labels,
    }
    return taught | {name: value for name, value in own.items() if name in taught}


def _open(folder: Path, entry: SuiteEntry, groups: dict[str, list[Example]], work: _Work) -> Tuned:
    """A tuned model, which scores by this entry's rules."""
    from interlingua.tasks import TASKS
    from interlingua.transfer.finetune import open_tuned

    assert entry.task is not None
    needs_base = "base" in json.loads((folder / "interlingua.json").read_text(encoding="utf-8"))
    tuned = open_tuned(folder, encoder=_encoder(work) if needs_base else None)
    settings = _settings(entry, tuned.task.settings())
    for line in tuned.notes([example for rows in groups.values() for example in rows]):
        work.say(f"{entry.name}, {folder.parent.name}: {line}")
    return replace(tuned, task=TASKS[tuned.task.kind](**settings))


def _sets(entry: SuiteEntry, work: _Work) -> list[SentenceSet]:
    """The texts of an entry's retrieval, a set a language."""
    from interlingua.tasks.retrieve import read_sentence_sets

    plan = entry.retrieve
    assert plan is not None
    sets = read_sentence_sets(
        work.recipe.root / plan.path, source=plan.source, languages=plan.languages, limit=plan.limit
    )
    return [pairs for pairs in sets if not work.languages or pairs.language in work.languages]


def _retrieve(entry: SuiteEntry, sets: list[SentenceSet], work: _Work) -> tuple[list[Score], str]:
    """Retrieval with the encoder as it is."""
    from interlingua.models.checkpoint import fingerprint
    from interlingua.tasks.retrieve import RETRIEVAL, retrieve_sentences, write_tatoeba

    plan = entry.retrieve
    assert plan is not None
    encoder = _encoder(work)
    own = fingerprint(encoder.model)
    scores: list[Score] = []
    absent = []
    for pairs in sets:
        digest = digest_of([pairs])
        how = plan.model_dump(include={"scoring", "centre", "layer"})
        key = key_of(fingerprint=own, examples=digest, name=entry.name, **how)
        if (kept := work.cache.get(key)) is not None:
            scores += kept.scores
            work.kept += 1
        else:
            absent.append((pairs, digest, key))
    texts = sum(2 * len(pairs.ids) for pairs, _, _ in absent)
    done = 0

    def encoded(count: int) -> None:
        nonlocal done
        done += count
        work.stage(f"score {entry.name}", done, texts)

    # All at once: most have their English side in common.
    found = retrieve_sentences(
        encoder,
        [pairs for pairs, _, _ in absent],
        scorings=[plan.scoring],
        centre=plan.centre,
        layer=plan.layer,
        progress=encoded,
    )
    asked = [one for one in found if one.model.endswith("+centred") == plan.centre]
    write_tatoeba(work.out / "predictions" / "retrieval", asked, name=entry.name)
    for one, (_, digest, key) in zip(asked, absent, strict=True):
        work.cache.put(key, Scored(one.scores(entry.name), {"kind": RETRIEVAL}, digest, one.counts()))
        scores += one.scores(entry.name)
        work.computed += 1
    work.stage(f"score {entry.name}", 1, 1)
    return scores, "nothing taught, nothing selected"
