"""What must languages share to meet, and can networks that share nothing be joined afterwards?

In: the bundled Bible in two languages and masked LM alone. Out: transfer of a task taught in English and translations
found, for networks whose languages have embeddings and lowest layers of their own; and for networks trained apart, the
same after a turn learned from a thousand pairs of verses. Decisions: layers of one's own are counted from the bottom,
three and six of eight as published, of other depths as many eighths; the control of the turn is one learned from the
same verses paired wrongly. Price: a turn learned from pairs is a parallel signal, if a small one, where the networks
had none.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from interlingua.recipe_base import Positive
from interlingua.report.page import Section, Table
from interlingua.scores import Score
from interlingua.studies.arms import Arm, Setup, TokenArms, run_arms
from interlingua.studies.base import Claim, Evidence, Say, Values, seed_values
from interlingua.studies.measures import CENTRED, Row, Trained, bits, classified, cost, retrieval
from interlingua.studies.tables import Column, arms_table, number_of, others_of, seeds_of, spoken

__all__ = ["SharingRecipe", "SharingStudy", "joined", "likeness"]

#: Pairs of verses that a turn is learned from; they stand in the chapters for teaching, which pretraining did not see.
_LEARNED = 1000
SHARED, APART, UNTRAINED = "shared", "apart", "untrained"


class SharingRecipe(TokenArms):
    """How large the study of sharing is run."""

    tokens: Positive = 2_000_000
    languages: tuple[str, ...] = ("en", "es")
    layers: Positive = 4
    """Of every network."""


SCALES = {
    "small": SharingRecipe(),
    "full": SharingRecipe(
        tokens=4_000_000_000,
        seeds=(0, 1, 2),
        languages=("en", "fr", "ru"),
        layers=8,
        changes=("model.hidden=768", "model.feed_forward=3072", "train.batch_tokens=131072", "train.lr=5e-4",
                 "train.embedding_lr=null"),
    ),
}  # fmt: skip


def _arms(recipe: SharingRecipe) -> list[Arm]:
    few, most = 3 * recipe.layers // 8, 6 * recipe.layers // 8
    tables, depth = "model.separate_embeddings=true", f"model.layers={recipe.layers}"
    return [
        Arm(SHARED, "everything shared", changes=(depth,)),
        Arm("embeddings", "embeddings of one's own", changes=(depth, tables)),
        Arm("embeddings+few", f"embeddings and {few} of {recipe.layers} layers",
            changes=(depth, tables, f"model.separate_layers={few}")),
        Arm("embeddings+most", f"embeddings and {most} of {recipe.layers} layers",
            changes=(depth, tables, f"model.separate_layers={most}")),
        Arm("few", f"{few} of {recipe.layers} layers", changes=(depth, f"model.separate_layers={few}")),
        Arm("most", f"{most} of {recipe.layers} layers", changes=(depth, f"model.separate_layers={most}")),
        Arm(APART, "networks apart", changes=(depth,), apart=True),
        Arm(UNTRAINED, "networks apart, untrained", changes=(depth, "train.steps=1"), apart=True, rate=1e-6),
    ]  # fmt: skip


_WU = "Wu et al. 2020, table of XNLI, NER and parsing"
CLAIMS = (
    Claim("Embeddings of one's own cost", "XNLI 70.2 : 65.7, NER 68.1 : 64.0", _WU, {SHARED: 1, "embeddings": -1},
          "part"),
    Claim("... and three eighths of the layers besides cost more", "XNLI 65.7 : 62.4, NER 64.0 : 58.0", _WU,
          {"embeddings": 1, "embeddings+few": -1}, "part"),
    Claim("... and six eighths more still", "XNLI 62.4 : 40.6, NER 58.0 : 21.0", _WU,
          {"embeddings+few": 1, "embeddings+most": -1}, "part"),
    Claim("Three eighths of the layers of one's own cost", "XNLI 70.2 : 66.8, NER 68.1 : 62.7", _WU,
          {SHARED: 1, "few": -1}, "part"),
    Claim("... and six eighths cost more", "XNLI 66.8 : 47.6, NER 62.7 : 29.3", _WU, {"few": 1, "most": -1}, "part"),
    Claim("Embeddings of one's own: fewer translations are found", "XNLI 70.2 : 65.7 (no retrieval)", _WU,
          {SHARED: 1, "embeddings": -1}, "found"),
    Claim("Networks trained apart and turned onto each other find translations, beyond a turn from wrong pairs",
          "joined after training by Procrustes; tables not found", "Wu et al. 2020, abstract; unverified",
          {APART: 1, f"{APART}, wrong pairs": -1}, "joined"),
    Claim("... and more of them than networks that were not trained",
          "joined after training by Procrustes; tables not found", "Wu et al. 2020, abstract; unverified",
          {APART: 1, UNTRAINED: -1}, "joined"),
    Claim("States of networks trained apart are alike across languages, beyond wrong pairs",
          "CKA is high between monolingual networks; figures not found", "Wu et al. 2020, abstract; unverified",
          {APART: 1, f"{APART}, wrong pairs": -1}, "likeness"),
    Claim("... and more alike than those of networks that were not trained",
          "CKA is high between monolingual networks; figures not found", "Wu et al. 2020, abstract; unverified",
          {APART: 1, UNTRAINED: -1}, "likeness"),
)  # fmt: skip


def joined(trained: Trained) -> list[Row]:
    """P@1 when each language is turned onto English, by pairs of verses and by the same verses paired wrongly."""
    from interlingua.probe.alignment import centred, precision_at_1
    from interlingua.probe.words import procrustes

    rows: list[Row] = []
    source, *others = trained.languages
    for lang in others:
        both = _taught_verses(trained, lang)
        pairs = [trained.states(tag, [texts[tag] for texts in both])[0] for tag in (source, lang)]
        means = [states.mean(axis=0) for states in pairs]
        target = centred(trained.found[source][-1])
        # Turned together: the turn is learned from the first ones, and those behind them are searched.
        own = np.concatenate([pairs[1] - means[1], centred(trained.found[lang][-1])])
        wrong = random.Random(0).sample(range(len(both)), len(both))
        for task, partners in (("joined", range(len(both))), (_wrong("joined"), wrong)):
            turned = procrustes(own, pairs[0] - means[0], list(enumerate(partners)))[len(both) :]
            there, back = precision_at_1(target, turned)
            rows.append((task, lang, "p1", (there + back) / 2, len(turned)))
    return rows


def likeness(trained: Trained) -> list[Row]:
    """Linear CKA of English states with those of each language, layer by layer, and of verses paired wrongly."""
    from interlingua.probe.similarity import linear_cka

    source, *others = trained.languages
    rows: list[Row] = []
    for lang in others:
        count = len(trained.candidates)
        wrong = random.Random(0).sample(range(count), count)
        for layer, (left, right) in enumerate(zip(trained.found[source], trained.found[lang], strict=True)):
            task = f"likeness.layer{layer}"
            rows.append((task, lang, "cka", linear_cka(left, right), count))
            rows.append((_wrong(task), lang, "cka", linear_cka(left, right[wrong]), count))
    return rows


def _taught_verses(trained: Trained, lang: str) -> list[Mapping[str, str]]:
    """Verses outside the pretraining text and the test, in English and a language."""
    texts = trained.split.teach_verses
    shared = [own for own in texts.values() if lang in own and trained.languages[0] in own]
    return random.Random(0).sample(shared, min(_LEARNED, len(shared)))


class SharingStudy:
    """What languages share, and networks that are joined afterwards."""

    name: ClassVar = "sharing"
    title: ClassVar = "What languages share"
    question: ClassVar = "What must languages share to meet, and can networks trained apart be joined afterwards?"
    scales: ClassVar = SCALES
    claims: ClassVar = CLAIMS

    def run(self, folder: Path, recipe: SharingRecipe, *, say: Say) -> None:
        """Pretrain and measure what is missing."""
        run_arms(_arms(recipe), folder, recipe, Setup((cost, retrieval, classified, joined, likeness, bits)), say=say)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Transfer, retrieval, retrieval after a turn, and likeness, seed by seed."""
        others = others_of(scores)
        return {
            "part": Evidence(seed_values(scores, _TASK, "accuracy", others), "the part of the Bible, others"),
            "found": Evidence(seed_values(scores, "retrieval centred", "p1", others), "P@1, means taken off"),
            "joined": Evidence(_beside(scores, "joined", "p1"), "P@1 after a turn"),
            "likeness": Evidence(
                _beside(scores, f"likeness.{(_layers(scores) or ['layer0'])[-1]}", "cka"), "CKA of the last layer"
            ),
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """A row a way to share, and CKA by layer."""
        others = others_of(scores)
        arms = [Arm(name, _label(name, scores)) for name in dict.fromkeys(s.model for s in scores)]
        columns: dict[str, Column] = {
            "part, English": (seed_values(scores, _TASK, "accuracy", ["en"]), 3),
            "part, others": (seed_values(scores, _TASK, "accuracy", others), 3),
            "P@1 centred": (seed_values(scores, "retrieval centred", "p1", others), 3),
            "P@1 joined": (seed_values(scores, "joined", "p1", others), 3),
            "wrong pairs": (seed_values(scores, "joined, wrong pairs", "p1", others), 3),
            "bits": (seed_values(scores, "bits", "bits_per_character", ["en", *others]), 2),
            "tokens": number_of(scores, "tokens"),
        }
        alike: dict[str, Column] = {
            f"{layer}{ending}": (seed_values(scores, task, "cka", others), 3)
            for layer in _layers(scores)
            for ending, task in (("", f"likeness.{layer}"), (", wrong", _wrong(f"likeness.{layer}")))
        }
        method = (
            f"{spoken(['en', *others])}: verses of the bundled Bible, whole chapters held out; masked LM alone, the "
            f"same tokens for every arm, {number_of(scores, 'layers').get(SHARED, 0):.0f} layers. "
            f"{seeds_of(scores)} seeds; mean \u00b1 standard deviation. Part of the Bible: logistic regression on "
            "frozen vectors of the last layer, taught in English only, tested with each language's mean moved to where "
            "it was taught; by chance one in six. P@1: English and each other language, 500 held-out verses, means "
            f"taken off. Joined: turned onto English first, by {_LEARNED:,} pairs of other verses. Networks apart have "
            "each a language and its share of the tokens, and begin differently."
        )
        tables: list[Table | None] = [
            arms_table("Arms, mean \u00b1 deviation over seeds", arms, columns),
            arms_table("CKA of English and other states of the same verses, by layer", arms, alike),
        ]
        return [Section("What was compared", [f"Command: interlingua study run {self.name}", method],
                        [table for table in tables if table])]  # fmt: skip


_TASK = f"bible part {CENTRED}"


def _label(name: str, scores: Sequence[Score]) -> str:
    layers = int(number_of(scores, "layers").get(name, 0))
    return next((arm.label for arm in _arms(SharingRecipe(layers=layers)) if arm.name == name), name)


def _beside(scores: Sequence[Score], task: str, metric: str) -> Values:
    """Every arm, and it with wrong pairs."""
    others = others_of(scores)
    right, wrong = (seed_values(scores, name, metric, others) for name in (task, _wrong(task)))
    return {**right, **{f"{arm}, wrong pairs": values for arm, values in wrong.items()}}


def _wrong(task: str) -> str:
    """The task's name with wrong pairs; the layer stays at its end."""
    name, dot, layer = task.partition(".")
    return f"{name}, wrong pairs{dot}{layer}"


def _layers(scores: Sequence[Score]) -> list[str]:
    """``layer0`` and so on, of those that likeness was measured in."""
    found = {s.task.rpartition(".")[2] for s in scores if s.metric == "cka"}
    return sorted(found, key=lambda layer: int(layer.removeprefix("layer")))
