"""Ways to pretrain, compared at equal cost on real text.

In: arms, each a few changes of one recipe, and what a study measures of them. Out: scores an arm, seed and language.

Decisions: cost is what the study's recipe says. *Equal time* (:class:`TimedArms`) is time on the machine at hand: every
arm's time a step is measured first, arms in turn, and kept in ``speeds.json``; the number of steps follows from it and
is part of the arm's recipe, so that a study resumes and can be repeated. *Equal tokens* (:class:`TokenArms`) is the
same number of steps, on any machine. An arm ``apart`` is a network a language, each with its share of the cost and a
beginning of its own, so that languages cannot learn from each other. Price: at equal time arms differ in the number of
tokens they see, at equal tokens in what they cost.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from interlingua.errors import RecipeError, RunError
from interlingua.pretrain import PretrainResult, pretrain
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_base import Positive, Recipe
from interlingua.recipe_file import load_recipe
from interlingua.run import atomic_write
from interlingua.scores import Score, append_scores, read_scores
from interlingua.studies.base import Say
from interlingua.studies.following import following, read_log, rows_along
from interlingua.studies.measures import Measure, Row, Trained
from interlingua.tour.bible import BibleSplit, Verses, split_bible, write_verses

__all__ = [
    "LARGER",
    "Arm",
    "ArmsRecipe",
    "Setup",
    "TimedArms",
    "TokenArms",
    "arm_recipe",
    "part_of_verses",
    "run_arms",
    "whole",
]

#: What a network of the full scale is, as ``changes``.
LARGER = (
    "model.hidden=512", "model.layers=8", "model.feed_forward=2048", "train.batch_tokens=131072", "train.lr=5e-4",
    "train.embedding_lr=null",
)  # fmt: skip
#: Steps of a speed measurement and how many at its beginning are left out; rounds over all arms.
MEASURED, WARM, ROUNDS = 14, 4, 3


@dataclass(frozen=True)
class Arm:
    """One way to pretrain.

    Attributes:
        name: in the scores.
        label: in the tables.
        objectives: their sections of the recipe.
        changes: further ``key.sub=value`` words.
        apart: a network a language instead of one for all.
        rate: of learning, as a factor on that of the study.
        share: of the verses that are pretrained on.
        followed: measured on the way as well.
    """

    name: str
    label: str
    objectives: tuple[Mapping[str, Any], ...] = ({"type": "mlm"},)
    changes: tuple[str, ...] = ()
    apart: bool = False
    rate: float = 1.0
    share: float = 1.0
    followed: bool = False

    def shards(self, shared: Path) -> Path:
        """The folder of its shards below that of the study."""
        return shared / ("shards" if self.share == 1 else f"shards-{self.share:g}")


class ArmsRecipe(Recipe):
    """What all studies of arms are told."""

    seeds: tuple[int, ...] = (0, 1)
    """Of everything random."""
    languages: tuple[str, ...] = ("en", "de", "fi", "ru")
    """Canonical tags, English first."""
    changes: tuple[str, ...] = ()
    """`key.sub=value` words for the recipes of all arms."""


class TimedArms(ArmsRecipe):
    """How large a study at equal time is run."""

    seconds: Annotated[float, Field(gt=0)] = 45.0
    """Of pretraining an arm and seed."""


class TokenArms(ArmsRecipe):
    """How large a study at equal tokens is run."""

    tokens: Positive = 2_000_000
    """Of pretraining an arm and seed, about: a step is a fixed number of texts."""


def _all_verses(split: BibleSplit, languages: Sequence[str]) -> Verses:
    return split.pretrain


@dataclass(frozen=True)
class Setup:
    """What the arms of a study have in common.

    Attributes:
        measures: what is measured of an arm.
        tree: sections of the recipe, over those of :func:`arm_recipe`.
        vocabulary: entries.
        verses: what is pretrained on.
        along: what is measured on the way of arms that are followed.
        marks: how often.
    """

    measures: Sequence[Measure]
    tree: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    vocabulary: int = 6000
    verses: Callable[[BibleSplit, Sequence[str]], Verses] = _all_verses
    along: Sequence[Measure] = ()
    marks: int = 8


def part_of_verses(verses: Verses, share: float) -> Verses:
    """So many of the verses, whole chapters, drawn so that a smaller share is part of a larger one."""
    chapters = list(dict.fromkeys(verse.rsplit(".", 1)[0] for verse in verses))
    kept = set(random.Random(0).sample(chapters, len(chapters))[: max(1, round(share * len(chapters)))])
    return {verse: texts for verse, texts in verses.items() if verse.rsplit(".", 1)[0] in kept}


def arm_recipe(
    arm: Arm, shared: Path, recipe: ArmsRecipe, setup: Setup, *, steps: int, seed: int, alone: str = ""
) -> PretrainRecipe:
    """The recipe of an arm and seed.

    Args:
        arm: what it changes.
        shared: folder with the shards of the study.
        recipe: of the study.
        setup: of the study.
        steps: how long.
        seed: of everything random.
        alone: the only language that is drawn.
    """
    data: dict[str, Any] = {"shards": str(arm.shards(shared)), "exponent": 1.0}
    if alone:
        # Networks that begin alike would have the tokens that languages share in common.
        data["weights"], seed = {alone: 1.0}, 1000 * (1 + recipe.languages.index(alone)) + seed
    tree: dict[str, Any] = {
        "name": "-".join([arm.name, *([alone] if alone else []), str(seed)]),
        "seed": seed,
        "mix": "sum",
        "data": data,
        "vocab": {"path": str(shared / "shards" / "vocab")},
        "model": {"hidden": 128, "layers": 2, "positions": 128},
        "objectives": [dict(one) for one in arm.objectives],
        "train": {
            "steps": steps, "batch_tokens": 1024, "row_length": 128, "lr": 2e-3, "embedding_lr": 5e-3, "warmup": 0.1,
            "evaluate_every": 10**6, "save_every": 2000,
        },
    }  # fmt: skip
    if arm.followed:
        tree["train"]["save_every"] = max(1, steps // setup.marks)
    for section, values in setup.tree.items():
        tree[section] |= values
    # A study's word that an arm overrode, or the other way round, would be lost in silence.
    if both := {word.partition("=")[0] for word in recipe.changes} & {word.partition("=")[0] for word in arm.changes}:
        raise RecipeError(f"changes of {', '.join(sorted(both))}", expected=f"keys that no arm sets; {arm.name} does",
                          where="changes")  # fmt: skip
    found = load_recipe(tree, PretrainRecipe, [*recipe.changes, *arm.changes])
    rates = {name: own * arm.rate for name in ("lr", "embedding_lr") if (own := getattr(found.train, name)) is not None}
    return found.model_copy(update={"train": found.train.model_copy(update=rates)})


def _prepare(arms: Sequence[Arm], folder: Path, split: BibleSplit, recipe: ArmsRecipe, setup: Setup, say: Say) -> None:
    """Vocabulary of all the text, and shards of as much of it as arms see."""
    from interlingua.pretrain import train_vocabulary_stage, write_shards_stage

    verses = setup.verses(split, recipe.languages)
    for arm in sorted({arm.share: arm for arm in (Arm("whole", ""), *arms)}.values(), key=lambda arm: -arm.share):
        path = folder / f"{arm.shards(folder).name.replace('shards', 'bible')}.tsv"
        tree = {
            "data": {"parallel": [str(write_verses(part_of_verses(verses, arm.share), recipe.languages, path))],
                     "unit_tokens": 60, "held_out": 0.03},
            "vocab": {"size": setup.vocabulary, "sample_characters": 2_000_000, "lowercase": True},
        }  # fmt: skip
        own = load_recipe(tree, PretrainRecipe)
        vocab = train_vocabulary_stage(own.vocab, own.data, folder / "shards" / "vocab", seed=0, say=say)
        write_shards_stage(own, vocab, arm.shards(folder), say=say)


def _speeds(
    arms: Sequence[Arm], folder: Path, recipe: TimedArms, setup: Setup, say: Say
) -> dict[str, dict[str, float]]:
    """Seconds a step and tokens a second of every arm, measured in turn."""
    path = folder / "speeds.json"
    if path.exists():
        found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
        if set(found) == {arm.name for arm in arms}:
            return found
    seconds: dict[str, list[float]] = {arm.name: [] for arm in arms}
    tokens: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for _ in range(ROUNDS):
        for arm in arms:
            run = folder / "speed"
            shutil.rmtree(run, ignore_errors=True)
            marks: list[float] = []
            whole(
                pretrain(
                    arm_recipe(arm, folder, recipe, setup, steps=MEASURED, seed=0),
                    run,
                    on_step=lambda _, marks=marks: marks.append(time.perf_counter()),  # type: ignore[misc]
                )
            )
            gaps = [after - before for before, after in itertools.pairwise(marks[WARM:])]
            seconds[arm.name].append(statistics.median(gaps))
            tokens[arm.name].append(statistics.median(row["tokens_per_second"] for row in read_log(run)[WARM:]))
            say(f"{arm.name}: {1 / seconds[arm.name][-1]:.1f} steps/s, {tokens[arm.name][-1]:,.0f} tokens/s")
    shutil.rmtree(folder / "speed", ignore_errors=True)
    found = {
        # What else runs on a machine only ever makes a step longer.
        name: {"seconds": min(seconds[name]), "tokens_per_second": max(tokens[name])}
        for name in seconds
    }
    atomic_write(path, json.dumps(found, indent=1))
    return found


def whole(result: PretrainResult) -> PretrainResult:
    """The result, if the run was not stopped by SIGTERM."""
    if result.training.reason == "stopped":
        raise RunError(
            f"the study was stopped at step {result.training.step:,} of {result.folder.name}",
            expected="arms that were trained to their end",
            where=str(result.folder),
            next_step="the same command goes on from there",
        )
    return result


def _steps(
    arms: Sequence[Arm], folder: Path, recipe: TimedArms | TokenArms, setup: Setup, say: Say
) -> tuple[dict[str, int], dict[str, list[Row]]]:
    """Steps of every arm, and what was found out about its speed."""
    if isinstance(recipe, TimedArms):
        speeds = _speeds(arms, folder, recipe, setup, say)
        steps = {arm.name: max(20, round(recipe.seconds / speeds[arm.name]["seconds"])) for arm in arms}
        rate = {name: one["tokens_per_second"] for name, one in speeds.items()}
        return steps, {name: [("speed", "und", "tokens_per_second", rate[name], MEASURED)] for name in rate}
    sizes = {arm.name: arm_recipe(arm, folder, recipe, setup, steps=1, seed=0).train.batch_tokens for arm in arms}
    return {name: max(20, round(recipe.tokens / size)) for name, size in sizes.items()}, {}


def _trained(
    arm: Arm, folder: Path, recipe: ArmsRecipe, setup: Setup, split: BibleSplit, *, steps: int, seed: int
) -> Trained:
    """The arm's networks: one, or one a language."""
    alone = recipe.languages if arm.apart else ("",)
    folders: dict[str, Path] = {}
    first, tokens, done = None, 0.0, 0
    for lang in alone:
        own = arm_recipe(arm, folder, recipe, setup, steps=steps // len(alone), seed=seed, alone=lang)
        run = folder / "arms" / own.name

        def looked(checkpoint: Path, own: PretrainRecipe = own) -> Trained:
            return Trained(dict.fromkeys(recipe.languages, checkpoint), own, split, recipe.languages)

        on_step = following(run, own.train.save_every, setup.along, looked) if arm.followed else None
        result = whole(pretrain(own, run, on_step=on_step))
        folders |= dict.fromkeys([lang] if lang else recipe.languages, result.checkpoint)
        state = json.loads((result.checkpoint / "training" / "state.json").read_text(encoding="utf-8"))
        tokens += sum(state["drawn"])
        done += result.training.step
        first = first or own
    assert first is not None  # a study has languages
    return Trained(folders, first, split, recipe.languages, done, tokens)


def run_arms(arms: Sequence[Arm], folder: Path, recipe: TimedArms | TokenArms, setup: Setup, *, say: Say) -> None:
    """Pretrain and measure every arm and seed that has no scores yet, seed by seed.

    Args:
        arms: what is compared.
        folder: of the study; ``scores.jsonl`` is written there.
        recipe: cost, seeds, languages.
        setup: what the arms have in common.
        say: told in a line what was done.
    """
    split = split_bible()
    _prepare(arms, folder, split, recipe, setup, say)
    steps, speeds = _steps(arms, folder, recipe, setup, say)
    file = folder / "scores.jsonl"
    done = {(s.model, s.seed) for s in read_scores(file)} if file.exists() else set()
    for seed in recipe.seeds:
        for arm in arms:
            if (arm.name, seed) in done:
                continue
            trained = _trained(arm, folder, recipe, setup, split, steps=steps[arm.name], seed=seed)
            rows = [row for measure in setup.measures for row in measure(trained)] + speeds.get(arm.name, [])
            rows += [row for run in {own.parents[1] for own in trained.folders.values()} for row in rows_along(run)]
            append_scores(
                file,
                [Score(arm.name, task, lang, "held-out", metric, value, n, seed)
                 for task, lang, metric, value, n in rows],
            )  # fmt: skip
            # A study leaves numbers; the recipe that stays makes the weights again.
            for checkpoint in set(trained.folders.values()):
                shutil.rmtree(checkpoint.parent)
            said = ", ".join(f"{metric} {value:.3f}" for _, lang, metric, value, _ in rows if lang == "en")
            say(f"{arm.name}-{seed}: {trained.steps:,} steps; {said}")
