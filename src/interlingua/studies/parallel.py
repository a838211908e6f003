"""What does a parallel signal beside masked language modelling bring, for the same number of tokens?

In: the bundled Bible, read as single verses, as joined translations (translation LM), or as pairs to be ranked. Out:
transfer of a task taught in English, translations found, words translated, and how much is lost where two sides of a
question stand in different languages. Decision: objectives take turns, a batch each, so that every arm sees the same
number of tokens. Price: with a second objective an arm has half the steps of masked LM that the others have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from interlingua.recipe_base import Positive
from interlingua.report.page import Section
from interlingua.scores import Score
from interlingua.studies.arms import LARGER, Arm, Setup, TokenArms, run_arms
from interlingua.studies.base import Claim, Evidence, Say, Values, seed_values
from interlingua.studies.measures import bits, classified, cost, pairs, retrieval, words
from interlingua.studies.tables import Column, arms_table, number_of, others_of, seeds_of, spoken
from interlingua.studies.words import MUSE

__all__ = ["ParallelRecipe", "ParallelStudy"]

_MLM, _TLM, _RANKING = {"type": "mlm"}, {"type": "tlm"}, {"type": "contrast"}
_TURNS = ("mix=sample",)
ARMS = (
    Arm("mlm", "masked LM"),
    Arm("tlm", "masked LM, translation LM", (_MLM, _TLM), _TURNS),
    Arm("ranking", "masked LM, ranking", (_MLM, _RANKING), _TURNS),
    Arm("all", "masked LM, translation LM, ranking", (_MLM, _TLM, _RANKING), _TURNS),
)


class ParallelRecipe(TokenArms):
    """How large the study of parallel signals is run."""

    tokens: Positive = 1_500_000
    languages: tuple[str, ...] = ("en", "de", "es")
    root: Path = Path("data")
    """Folder with the data that do not ship with the package; docs/study.md lists them."""


SCALES = {
    "small": ParallelRecipe(),
    "full": ParallelRecipe(
        tokens=2_000_000_000,
        seeds=(0, 1, 2, 3, 4),
        languages=("en", "de", "fr", "es", "ru", "ja", "ko", "vi"),
        changes=LARGER,
    ),
}  # fmt: skip

_XLM = "Lample and Conneau 2019, by lecture notes"
CLAIMS = (
    Claim("Translation LM beside masked LM: a task taught in English does better in other languages",
          "XNLI, mean of 15 languages, 75.1 : 71.5", _XLM, {"tlm": 1, "mlm": -1}, "others"),
    Claim("... and gains more there than in English", "XNLI +3.6 on average, +1.8 in English", _XLM,
          {"tlm": 1, "mlm": -1}, "others beyond English"),
    Claim("Translation LM and ranking beside masked LM: the task does better in other languages",
          "XNLI +4.7 zero-shot, by these and code-switching after mBERT", "Pan et al. 2021, abstract",
          {"all": 1, "mlm": -1}, "others"),
    Claim("Translation LM and ranking beside masked LM: less is lost where two sides are in different languages",
          "XNLI 5.1 : 9.4 lost, XQuAD 9.3 : 35.2 (InfoXLM : XLM-R)", "Rajaee and Monz 2024, by lecture notes",
          {"mlm": 1, "all": -1}, "lost across"),
    Claim("Ranking beside masked LM finds translations of sentences",
          "Tatoeba F1 52.7 : 30.2, mmBERT-base with 12,000 steps of ranking after it", "README of a third party",
          {"ranking": 1, "mlm": -1}, "retrieval"),
)  # fmt: skip


class ParallelStudy:
    """Masked LM alone and beside parallel objectives at equal tokens."""

    name: ClassVar = "parallel"
    title: ClassVar = "Parallel signals at equal tokens"
    question: ClassVar = (
        "What do translation LM and translation ranking add to masked LM for the same number of tokens?"
    )
    scales: ClassVar = SCALES
    claims: ClassVar = CLAIMS

    def run(self, folder: Path, recipe: ParallelRecipe, *, say: Say) -> None:
        """Pretrain and measure what is missing."""
        setup = Setup((cost, retrieval, words(MUSE.file(recipe.root)), classified, pairs, bits))
        run_arms(ARMS, folder, recipe, setup, say=say)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Transfer, retrieval and what is lost across, seed by seed."""
        others = others_of(scores)
        transfer = seed_values(scores, "bible part", "accuracy", others)
        english = seed_values(scores, "bible part", "accuracy", ["en"])
        found = seed_values(scores, "retrieval", "p1", others)
        return {
            "others": Evidence(transfer, "the part of the Bible, other languages"),
            "others beyond English": Evidence(_less(transfer, english), "the part, other languages less English"),
            "retrieval": Evidence(found, "P@1"),
            "lost across": Evidence(_lost(scores), "accuracy on pairs, within a language less across"),
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """A row an arm."""
        others = others_of(scores)
        columns: dict[str, Column] = {
            "part, English": (seed_values(scores, "bible part", "accuracy", ["en"]), 3),
            "part, others": (seed_values(scores, "bible part", "accuracy", others), 3),
            "centred": (seed_values(scores, "bible part centred", "accuracy", others), 3),
            "P@1": (seed_values(scores, "retrieval", "p1", others), 3),
            "P@1 centred": (seed_values(scores, "retrieval centred", "p1", others), 3),
            "words": (seed_values(scores, "words", "mrr", others), 3),
            "pairs within": (seed_values(scores, "pairs within", "accuracy", others), 3),
            "pairs across": (seed_values(scores, "pairs across", "accuracy", others), 3),
            "bits": (seed_values(scores, "bits", "bits_per_character", ["en", *others]), 2),
            "tokens": number_of(scores, "tokens"),
        }
        method = (
            f"{spoken(['en', *others])}: verses of the bundled Bible, whole chapters held out. Every arm reads the "
            f"same number of tokens; objectives take turns. {seeds_of(scores)} seeds; mean \u00b1 standard deviation. "
            "Part of the Bible: logistic regression on frozen vectors, taught in English only. Centred: each "
            "language's mean taken off first. P@1: English and each language, 500 held-out verses. Words: mean "
            "reciprocal rank of a MUSE translation by mean vectors over held-out chapters. Pairs: does a verse follow "
            "another, taught on English pairs; within: both of one language, across: one of them English. Bits a "
            "character: held-out verses, 15 % of the tokens masked in every arm."
        )
        table = arms_table("Arms, mean \u00b1 deviation over seeds", ARMS, columns)
        return [Section("What was compared", [f"Command: interlingua study run {self.name} root=data", method],
                        [table] if table else [])]  # fmt: skip


def _less(left: Values, right: Values) -> dict[str, dict[int, float]]:
    """The difference arm by arm and seed by seed."""
    return {arm: {seed: value - right[arm][seed] for seed, value in by.items()} for arm, by in left.items()}


def _lost(scores: Sequence[Score]) -> Values:
    others = others_of(scores)
    within = seed_values(scores, "pairs within", "accuracy", others)
    return _less(within, seed_values(scores, "pairs across", "accuracy", others))
