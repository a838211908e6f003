"""How often should languages with little text be drawn?

In: the bundled Bible, thinned so that languages are as unequal as in CC-100, which XLM-R was trained on; masked LM
alone. Out: bits a character and translations found, for languages of much and of little text. Decisions: a language's
verses are drawn to its share of English's, so that the inequality is a real one; what is measured is whole chapters,
which have all verses in every language. Price: beside so few verses of the smallest language, chance chooses much of
what it learns.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from interlingua.evaluate.forecast.facts import read_facts
from interlingua.recipe_base import Positive
from interlingua.report.page import Section, Table
from interlingua.scores import Score
from interlingua.studies.arms import LARGER, Arm, Setup, TokenArms, run_arms
from interlingua.studies.base import Claim, Evidence, Say, seed_values
from interlingua.studies.measures import Row, Trained, bits_of_chapters, cost, retrieval
from interlingua.studies.tables import Column, arms_table, languages_of, number_of, seeds_of, spoken
from interlingua.tour.bible import BibleSplit, Verses

__all__ = ["SamplingRecipe", "SamplingStudy", "thinned"]

#: mmBERT's three phases of pretraining, by the shares of their tokens.
ANNEALED = "data.phases=[{begin: 0.0, exponent: 0.7}, {begin: 0.77, exponent: 0.5}, {begin: 0.97, exponent: 0.3}]"
EXPONENTS = (1.0, 0.7, 0.5, 0.3)
ARMS = (
    *(Arm(f"S{exponent:g}", f"S = {exponent:g}", changes=(f"data.exponent={exponent}",)) for exponent in EXPONENTS),
    Arm("annealed", "S = .7, .5, .3 in turn", changes=(ANNEALED,)),
)


class SamplingRecipe(TokenArms):
    """How large the study of sampling is run."""

    tokens: Positive = 1_500_000
    languages: tuple[str, ...] = ("en", "vi", "de", "fi", "sw")


SCALES = {
    "small": SamplingRecipe(),
    "full": SamplingRecipe(
        tokens=1_000_000_000,
        seeds=(0, 1, 2, 3, 4),
        languages=("en", "ru", "vi", "ja", "de", "hu", "fr", "fi", "ko", "es", "el", "my", "sw"),
        changes=LARGER,
    ),
}  # fmt: skip

_XLMR = "Conneau et al. 2020 (XLM-R)"
CLAIMS = (
    Claim("S = .3 predicts the language of least text better than S = 1",
          "chosen for 100 languages; the figures by S were not found", f"{_XLMR}; unverified", {"S1": 1, "S0.3": -1},
          "least"),
    Claim("... and English worse", "a trade between languages; the figures by S were not found",
          f"{_XLMR}; unverified", {"S0.3": 1, "S1": -1}, "most"),
    Claim("S = .7 predicts the language of least text better than S = 1",
          "English is drawn 100 times as often as Icelandic instead of 1,000 times",
          "google-research/bert, multilingual.md", {"S1": 1, "S0.7": -1}, "least"),
    Claim("S = .5 predicts the language of least text better than S = .7", "chosen for 15 languages",
          "Lample and Conneau 2019; unverified", {"S0.7": 1, "S0.5": -1}, "least"),
    Claim("S falling to .3 at the end predicts the language of least text better than S = .7 all along",
          "1,700 languages added in the last 3 % of the tokens, at .3: TiQuAD F1 29.9 : 17.8, FoQA 76.0 : 60.4",
          "Marone et al. 2025 (mmBERT)", {"S0.7": 1, "annealed": -1}, "least"),
    Claim("... and English better than with S = .3 all along", "languages of much text come first",
          "Marone et al. 2025 (mmBERT); no figure", {"S0.3": 1, "annealed": -1}, "most"),
)  # fmt: skip


def sizes() -> dict[str, float]:
    """Language -> GiB of CC-100."""
    return {lang: math.exp(size) for lang, size in read_facts().columns["cc100"].items()}


def thinned(split: BibleSplit, languages: Sequence[str]) -> Verses:
    """The pretraining verses, of each language as many as its text in CC-100 allows beside that with most of it.

    Of a language that has fewer verses than its share, all.
    """
    known = sizes()
    most = max(known[lang] for lang in languages)
    kept: dict[str, set[str]] = {}
    for lang in languages:
        own = [verse for verse, texts in split.pretrain.items() if lang in texts]
        wanted = max(1, round(len(split.pretrain) * known[lang] / most))
        kept[lang] = set(random.Random(0).sample(own, min(wanted, len(own))))
    found = {
        verse: {lang: text for lang, text in texts.items() if lang in kept and verse in kept[lang]}
        for verse, texts in split.pretrain.items()
    }
    return {verse: texts for verse, texts in found.items() if texts}


def _sizes_measured(trained: Trained) -> list[Row]:
    """Verses of each language that were pretrained on."""
    verses = thinned(trained.split, trained.languages)
    return [("verses", lang, "verses", float(sum(lang in texts for texts in verses.values())), 1)
            for lang in trained.languages]  # fmt: skip


SETUP = Setup((cost, _sizes_measured, retrieval, bits_of_chapters), verses=thinned)


class SamplingStudy:
    """Shares of languages at equal tokens."""

    name: ClassVar = "sampling"
    title: ClassVar = "How often languages are drawn"
    question: ClassVar = (
        "What do languages of little and of much text gain or lose where the first are drawn more often?"
    )
    scales: ClassVar = SCALES
    claims: ClassVar = CLAIMS

    def run(self, folder: Path, recipe: SamplingRecipe, *, say: Say) -> None:
        """Pretrain and measure what is missing."""
        run_arms(ARMS, folder, recipe, SETUP, say=say)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Bits a character of the languages with most and least text, seed by seed."""
        verses = _verses(scores)
        ends = {"most": verses[:1], "least": verses[-1:]}
        return {
            name: Evidence(seed_values(scores, "bits", "bits_per_character", own), f"bits a character, {name} text")
            for name, own in ends.items()
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """A row an arm, and what was drawn from."""
        languages = _verses(scores)
        counts = {s.language: round(s.value) for s in scores if s.task == "verses"}
        known = sizes()
        columns: dict[str, Column] = {
            **{f"bits {lang}": (seed_values(scores, "bits", "bits_per_character", [lang]), 3) for lang in languages},
            **{f"P@1 {lang}": (seed_values(scores, "retrieval centred", "p1", [lang]), 3)
               for lang in languages if lang in languages_of(scores, "retrieval")},
            "tokens": number_of(scores, "tokens"),
        }  # fmt: skip
        method = (
            f"{spoken(languages)}: verses of the bundled Bible, of each language as many as its text in CC-100 "
            "(Conneau et al. 2020) allows beside the largest. Masked LM alone, the same tokens for every arm; a "
            "language is drawn with a probability proportional to the number of its verses to the power S. "
            f"{seeds_of(scores)} seeds; mean \u00b1 standard deviation. Bits a character: the test chapters, 15 % of "
            "the tokens masked. P@1: English and each language, verses of these chapters, means taken off."
        )
        text = Table("Text", "", ["language", "CC-100, GiB", "verses"],
                     [[lang, known[lang], counts[lang]] for lang in languages], digits=1)  # fmt: skip
        table = arms_table("Arms, mean \u00b1 deviation over seeds", ARMS, columns)
        return [Section("What was compared", [f"Command: interlingua study run {self.name}", method],
                        [text, *([table] if table else [])])]  # fmt: skip


def _verses(scores: Sequence[Score]) -> list[str]:
    """Languages, the one with most verses first."""
    counts = {s.language: s.value for s in scores if s.task == "verses"}
    return sorted(counts, key=lambda lang: -counts[lang])
