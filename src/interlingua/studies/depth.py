"""Do deeper networks of the same size bring languages nearer?

In: the bundled Bible, networks of one number of parameters, the more layers the narrower. Out: how well a task taught
in English does in English and in other languages, by depth. Decision: the width is the multiple of 8 with which a
network of so many layers comes nearest to the number of parameters, embeddings included; all see the same tokens at the
same rate. Price: a rate that suits all is best for none, and the deepest learn least in a short time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from interlingua.recipe_base import Positive
from interlingua.report.page import Section
from interlingua.scores import Score
from interlingua.studies.arms import Arm, Setup, TokenArms, run_arms
from interlingua.studies.base import Claim, Evidence, Say, Values, seed_values
from interlingua.studies.measures import CENTRED, bits, classified, cost, retrieval
from interlingua.studies.tables import Column, arms_table, number_of, others_of, seeds_of, spoken

__all__ = ["DepthRecipe", "DepthStudy", "parameters", "width"]

HEADS = 4
_POSITIONS = 128
#: English, Russian and the gap between them by layers: XNLI, taught in fake English.
PUBLISHED = {
    1: (66.6, 45.0, 21.6), 2: (73.7, 55.7, 18.0), 4: (76.9, 59.0, 17.9), 6: (78.3, 63.1, 15.2), 12: (79.0, 65.7, 13.3),
}  # fmt: skip


class DepthRecipe(TokenArms):
    """How large the study of depth is run."""

    tokens: Positive = 2_000_000
    languages: tuple[str, ...] = ("en", "es")
    layers: tuple[Positive, ...] = (1, 2, 4, 6, 12)
    """Depths."""
    parameters: Positive = 1_200_000
    """Of every network, about."""
    vocabulary: Positive = 6000
    """Entries."""


SCALES = {
    "small": DepthRecipe(),
    "full": DepthRecipe(
        tokens=4_000_000_000,
        seeds=(0, 1, 2),
        languages=("en", "es", "ru"),
        parameters=60_000_000,
        vocabulary=16_000,
        changes=("train.batch_tokens=131072", "train.lr=5e-4", "train.embedding_lr=null"),
    ),
}


def parameters(layers: int, hidden: int, vocabulary: int) -> int:
    """Parameters of a BERT with feed-forward blocks of four times its width, its masked LM's head tied."""
    embeddings = (vocabulary + _POSITIONS + 1 + 2) * hidden
    head = hidden * hidden + 3 * hidden + vocabulary
    return embeddings + layers * (12 * hidden * hidden + 13 * hidden) + head


def width(layers: int, wanted: int, vocabulary: int) -> int:
    """The multiple of 8 with which so many layers come nearest to a number of parameters."""
    return min(range(8, 8192, 8), key=lambda hidden: abs(parameters(layers, hidden, vocabulary) - wanted))


def _claims() -> Iterator[Claim]:
    source = "K et al. 2020, by lecture notes"
    for deep, shallow in ((12, 1), (6, 1), (2, 1)):
        gaps = f"XNLI, fake English to Russian: {PUBLISHED[deep][2]} : {PUBLISHED[shallow][2]} points"
        yield Claim(f"{deep} layers lose less from English to the other language than {shallow}", gaps, source,
                    {f"layers-{shallow}": 1, f"layers-{deep}": -1}, "gap")  # fmt: skip
    yield Claim("12 layers do better in the other language than 1", f"{PUBLISHED[12][1]} : {PUBLISHED[1][1]}", source,
                {"layers-12": 1, "layers-1": -1}, "others")  # fmt: skip


def _arms(recipe: DepthRecipe) -> list[Arm]:
    found = []
    for layers in recipe.layers:
        hidden = width(layers, recipe.parameters, recipe.vocabulary)
        shape = (f"model.layers={layers}", f"model.hidden={hidden}", f"model.feed_forward={4 * hidden}",
                 f"model.heads={HEADS}")  # fmt: skip
        found.append(Arm(f"layers-{layers}", f"{layers} layers", changes=shape))
    return found


class DepthStudy:
    """Depth at an equal number of parameters and tokens."""

    name: ClassVar = "depth"
    title: ClassVar = "Depth at equal size"
    question: ClassVar = (
        "Does a task taught in English lose less in other languages if a network of the same size is deeper?"
    )
    scales: ClassVar = SCALES
    claims: ClassVar = tuple(_claims())

    def run(self, folder: Path, recipe: DepthRecipe, *, say: Say) -> None:
        """Pretrain and measure what is missing."""
        setup = Setup((cost, retrieval, classified, bits), vocabulary=recipe.vocabulary)
        run_arms(_arms(recipe), folder, recipe, setup, say=say)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """The gap between English and the others, seed by seed."""
        there = seed_values(scores, _TASK, "accuracy", others_of(scores))
        return {
            "gap": Evidence(_gap(scores), "the part of the Bible, English less the others"),
            "others": Evidence(there, "the part of the Bible, others"),
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """A row a depth."""
        others = others_of(scores)
        depths = sorted({int(s.model.rpartition("-")[2]) for s in scores if s.task == _TASK})
        columns: dict[str, Column] = {
            "parameters": number_of(scores, "parameters"),
            "width": number_of(scores, "width"),
            "part, English": (seed_values(scores, _TASK, "accuracy", ["en"]), 3),
            "part, others": (seed_values(scores, _TASK, "accuracy", others), 3),
            "gap": (_gap(scores), 3),
            "not centred": (seed_values(scores, "bible part", "accuracy", others), 3),
            "P@1 centred": (seed_values(scores, "retrieval centred", "p1", others), 3),
            "bits": (seed_values(scores, "bits", "bits_per_character", ["en", *others]), 2),
            "published gap": {f"layers-{depth}": PUBLISHED[depth][2] / 100 for depth in depths if depth in PUBLISHED},
            "tokens": number_of(scores, "tokens"),
        }
        method = (
            f"{spoken(['en', *others])}: verses of the bundled Bible, whole chapters held out; masked LM alone. "
            "Networks have about the same number of parameters and read the same tokens. "
            f"{seeds_of(scores)} seeds; mean \u00b1 standard deviation. Part of the Bible: logistic regression on "
            "frozen vectors of the last layer, taught in English only, tested with each language's mean moved to where "
            "it was taught; by chance one in six. P@1: English and each other language, 500 held-out verses. Bits a "
            "character: held-out verses, 15 % of the tokens masked."
        )
        arms = [Arm(f"layers-{depth}", str(depth)) for depth in depths]
        table = arms_table("Depths, mean \u00b1 deviation over seeds", arms, columns)
        return [Section("What was compared", [f"Command: interlingua study run {self.name}", method],
                        [table] if table else [])]  # fmt: skip


_TASK = f"bible part {CENTRED}"


def _gap(scores: Sequence[Score]) -> Values:
    here = seed_values(scores, _TASK, "accuracy", ["en"])
    there = seed_values(scores, _TASK, "accuracy", others_of(scores))
    return {arm: {seed: value - there[arm][seed] for seed, value in by.items()} for arm, by in here.items()}
