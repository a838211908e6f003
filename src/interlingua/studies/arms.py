"""Ways to pretrain, compared at equal cost on real text.

In: arms, each a few changes of one recipe. Out: scores a seed and language: bits per character (held-out verses, 15 %
of the tokens masked, the same for every arm), P@1 between English and each language among held-out verses, and the part
of the Bible from frozen vectors by a classifier taught in English only.

Decisions: *equal cost* is equal time on the machine at hand. Every arm's time a step is measured first, arms in turn,
and kept in ``speeds.json``; the number of steps follows from it and is part of the recipe, so that a study resumes and
can be repeated. Every arm learns translation ranking beside its objective, a batch of each a step: without it encoders
of this size have no common space after a minute, and there would be no transfer to compare. Price: what an objective
does alone is not measured; arms differ in the number of tokens they see.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from interlingua.errors import RunError
from interlingua.pretrain import PretrainResult, pretrain
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_base import Recipe
from interlingua.recipe_file import load_recipe
from interlingua.run import atomic_write
from interlingua.scores import Score, append_scores, read_scores
from interlingua.studies.base import Say
from interlingua.tour.bible import BibleSplit, split_bible

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = ["Arm", "Scale", "run_arms"]

CANDIDATES = 500
#: Steps of a speed measurement and how many at its beginning are left out; rounds over all arms.
MEASURED, WARM, ROUNDS = 14, 4, 3


@dataclass(frozen=True)
class Arm:
    """One way to pretrain.

    Attributes:
        name: in the scores.
        label: in the tables.
        objective: its section of the recipe, without the ranking beside it.
        changes: further ``key.sub=value`` words.
    """

    name: str
    label: str
    objective: Mapping[str, Any]
    changes: tuple[str, ...] = ()


class Scale(Recipe):
    """How large a study of arms is run."""

    seconds: Annotated[float, Field(gt=0)] = 45.0
    """Of pretraining an arm and seed."""
    seeds: tuple[int, ...] = (0, 1)
    """Of everything random."""
    languages: tuple[str, ...] = ("en", "de", "fi", "ru")
    """Canonical tags, English first."""
    changes: tuple[str, ...] = ()
    """`key.sub=value` words for the recipes of all arms."""


def _corpus(split: BibleSplit, languages: Sequence[str], folder: Path) -> Path:
    """The pretraining verses as a multi-parallel file whose documents are chapters."""
    rows = ["\t".join(["id", "document", *languages])]
    for verse, texts in split.pretrain.items():
        rows.append("\t".join([verse, verse.rsplit(".", 1)[0], *(texts.get(lang, "") for lang in languages)]))
    path = folder / "bible.tsv"
    atomic_write(path, "\n".join(rows) + "\n")
    return path


def _recipe(arm: Arm, shared: Path, scale: Scale, *, steps: int, seed: int) -> PretrainRecipe:
    ranking = {"type": "contrast", "weight": 1.0}
    tree = {
        "name": f"{arm.name}-{seed}",
        "seed": seed,
        "mix": "sum",
        "data": {"shards": str(shared / "shards"), "exponent": 1.0},
        "vocab": {"path": str(shared / "shards" / "vocab")},
        "model": {"hidden": 128, "layers": 2, "feed_forward": 512, "positions": 128},
        "objectives": [dict(arm.objective), ranking],
        "train": {
            "steps": steps, "batch_tokens": 1024, "row_length": 128, "lr": 2e-3, "embedding_lr": 5e-3, "warmup": 0.1,
            "evaluate_every": 10**6, "save_every": 2000,
        },
    }  # fmt: skip
    return load_recipe(tree, PretrainRecipe, [*scale.changes, *arm.changes])


def _prepare(folder: Path, split: BibleSplit, scale: Scale, say: Say) -> None:
    """Vocabulary and shards that all arms share."""
    from interlingua.pretrain import train_vocabulary_stage, write_shards_stage

    tree = {
        "data": {"parallel": [str(_corpus(split, scale.languages, folder))], "unit_tokens": 60, "held_out": 0.03},
        "vocab": {"size": 6000, "sample_characters": 2_000_000, "lowercase": True},
    }
    recipe = load_recipe(tree, PretrainRecipe)
    vocab = train_vocabulary_stage(recipe.vocab, recipe.data, folder / "shards" / "vocab", seed=0, say=say)
    write_shards_stage(recipe, vocab, folder / "shards", say=say)


def _speeds(arms: Sequence[Arm], folder: Path, scale: Scale, say: Say) -> dict[str, dict[str, float]]:
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
            _whole(
                pretrain(
                    _recipe(arm, folder, scale, steps=MEASURED, seed=0),
                    run,
                    on_step=lambda _, marks=marks: marks.append(time.perf_counter()),  # type: ignore[misc]
                )
            )
            gaps = [after - before for before, after in itertools.pairwise(marks[WARM:])]
            seconds[arm.name].append(statistics.median(gaps))
            rows = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            tokens[arm.name].append(statistics.median(json.loads(row)["tokens_per_second"] for row in rows[WARM:]))
            say(f"{arm.name}: {1 / seconds[arm.name][-1]:.1f} steps/s, {tokens[arm.name][-1]:,.0f} tokens/s")
    shutil.rmtree(folder / "speed", ignore_errors=True)
    found = {
        # What else runs on a machine only ever makes a step longer.
        name: {"seconds": min(seconds[name]), "tokens_per_second": max(tokens[name])}
        for name in seconds
    }
    atomic_write(path, json.dumps(found, indent=1))
    return found


def _whole(result: PretrainResult) -> PretrainResult:
    """The result, if the run was not stopped by SIGTERM."""
    if result.training.reason == "stopped":
        raise RunError(
            f"the study was stopped at step {result.training.step:,} of {result.folder.name}",
            expected="arms that were trained to their end",
            where=str(result.folder),
            next_step="the same command goes on from there",
        )
    return result


def run_arms(arms: Sequence[Arm], folder: Path, scale: Scale, *, say: Say) -> None:
    """Pretrain and measure every arm and seed that has no scores yet, seed by seed.

    Args:
        arms: what is compared.
        folder: of the study; ``scores.jsonl`` is written there.
        scale: budget, seeds, languages.
        say: told in a line what was done.
    """
    split = split_bible()
    _prepare(folder, split, scale, say)
    speeds = _speeds(arms, folder, scale, say)
    file = folder / "scores.jsonl"
    done = {(s.model, s.seed) for s in read_scores(file)} if file.exists() else set()
    for seed in scale.seeds:
        for arm in arms:
            if (arm.name, seed) in done:
                continue
            steps = max(20, round(scale.seconds / speeds[arm.name]["seconds"]))
            recipe = _recipe(arm, folder, scale, steps=steps, seed=seed)
            run = folder / "arms" / recipe.name
            result = _whole(pretrain(recipe, run))
            scores = _measured(result.checkpoint, recipe, split, scale.languages)
            speed = speeds[arm.name]["tokens_per_second"]
            scores += [("speed", "und", "tokens_per_second", speed, MEASURED), ("speed", "und", "steps", steps, 1)]
            append_scores(
                file,
                [
                    Score(arm.name, task, lang, "held-out", metric, value, n, seed)
                    for task, lang, metric, value, n in scores
                ],
            )
            # A study leaves numbers; the recipe that stays makes the weights again.
            shutil.rmtree(run / "checkpoints")
            say(f"{recipe.name}: {steps} steps; " + ", ".join(f"{m} {v:.3f}" for t, g, m, v, _ in scores if g == "en"))


_Row = tuple[str, str, str, float, int]


def _measured(checkpoint: Path, recipe: PretrainRecipe, split: BibleSplit, languages: Sequence[str]) -> list[_Row]:
    from interlingua.models.build import HEADS
    from interlingua.models.encoder import load
    from interlingua.objectives.build import common_head

    encoder = load(checkpoint)
    rows = _retrieval(encoder, split, languages) + _classified(encoder, split, languages)
    head = common_head(recipe.objectives, recipe.model.family)
    if head in ("masked", "pretraining") and recipe.model.family in HEADS["masked"]:
        rows += _bits(checkpoint, recipe, languages)
    return rows


def _retrieval(encoder: Encoder, split: BibleSplit, languages: Sequence[str]) -> list[_Row]:
    from interlingua.probe.alignment import retrieve

    shared = [v for v, texts in split.test_verses.items() if all(lang in texts for lang in languages)]
    picked = random.Random(0).sample(shared, min(CANDIDATES, len(shared)))
    texts = {lang: {v: split.test_verses[v][lang] for v in picked} for lang in languages}
    return [("retrieval", s.language, s.metric, s.value, s.n) for s in retrieve(encoder, texts) if s.metric == "p1"]


def _classified(encoder: Encoder, split: BibleSplit, languages: Sequence[str]) -> list[_Row]:
    """Accuracy of a logistic regression on frozen vectors, taught in English."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from interlingua.probe.states import sentence_states

    taught = random.Random(0).sample(split.teach, min(2000, len(split.teach)))
    tests = {lang: [e for e in split.test if e.lang == lang] for lang in languages}
    flat = [e.text for e in taught] + [e.text for rows in tests.values() for e in rows]
    vectors = sentence_states(encoder, flat)[0]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
    classifier.fit(vectors[: len(taught)], [e.label for e in taught])
    rows, at = [], len(taught)
    for lang, examples in tests.items():
        own = vectors[at : at + len(examples)]
        at += len(examples)
        value = float(classifier.score(own, [e.label for e in examples]))
        rows.append(("bible part", lang, "accuracy", value, len(examples)))
    return rows


def _bits(checkpoint: Path, recipe: PretrainRecipe, languages: Sequence[str]) -> list[_Row]:
    """Bits per character of held-out verses with one masking for all arms."""
    from transformers import AutoModelForMaskedLM

    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.objectives.build import build_mixture
    from interlingua.recipe_objectives import MLMRecipe
    from interlingua.shards.read import ShardSet
    from interlingua.shards.stream import Stream
    from interlingua.train.dist import Spread
    from interlingua.train.heldout import held_out_losses

    tokenizer = open_tokenizer(checkpoint)
    shards = ShardSet(Path(str(recipe.data.shards)) / "held-out", verify=False)
    stream = Stream(shards, tokenizer, seed=0, batch_tokens=8192, row_length=128, exponent=0.0)
    masked = build_mixture([MLMRecipe()], tokenizer, how="sum", seed=0).objectives
    model = AutoModelForMaskedLM.from_pretrained(checkpoint).eval()
    loss_of = Spread(model, {}, "replicate").loss
    found = held_out_losses(loss_of, model.device, stream, masked, batches=6).bits_per_character["mlm"]
    return [("bits", lang, "bits_per_character", found[lang], shards.count(lang)) for lang in languages]
