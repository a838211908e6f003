"""Which objective, masking, noise and sharing is best at equal cost, and does it agree with what was published?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from interlingua.report.page import Section
from interlingua.scores import Score
from interlingua.studies.arms import Arm, Setup, TimedArms, run_arms
from interlingua.studies.base import Claim, Evidence, Say, seed_values
from interlingua.studies.measures import bits, classified, retrieval
from interlingua.studies.tables import Column, arms_table, languages_of, number_of, seeds_of, spoken

__all__ = ["ObjectivesStudy"]


def _mlm(unit: str, rate: float) -> dict[str, Any]:
    return {"type": "mlm", "unit": unit, "rate": rate}


def _arm(
    name: str, label: str, objective: Mapping[str, Any], changes: tuple[str, ...] = (), *, rate: float = 1.0
) -> Arm:
    """An objective with translation ranking beside it, a batch of each a step."""
    return Arm(name, label, (objective, {"type": "contrast", "weight": 1.0}), changes, rate=rate)


#: Detection has the papers' weight of 50 inside the objective; whole it would drown the ranking beside it.
_RTD = {"type": "rtd", "weight": 0.1}
_BART = ("model.family=bart",)
_H256 = ("model.hidden=256", "model.feed_forward=1024")
#: Tables of the page, in order; an arm is named where it stands first.
GROUPS: Mapping[str, Sequence[Arm]] = {
    "Masking policy and rate": [
        _arm("token-15", "single tokens, 15 %", _mlm("token", 0.15)),
        _arm("token-40", "single tokens, 40 %", _mlm("token", 0.4)),
        _arm("word-15", "whole words, 15 %", _mlm("word", 0.15)),
        _arm("word-40", "whole words, 40 %", _mlm("word", 0.4)),
        _arm("ngram-15", "n-grams of words, 15 %", _mlm("ngram", 0.15)),
        _arm("span-15", "spans (SpanBERT), 15 %", _mlm("span", 0.15)),
        _arm("span-40", "spans (SpanBERT), 40 %", _mlm("span", 0.4)),
    ],
    "The order of texts": [
        _arm("pairs-none", "two texts, no question", {"type": "sop", "order_weight": 0.0}),
        _arm("nsp", "next sentence, from other chapters", {"type": "nsp"}),
        _arm("nsp-either", "next sentence, from other chapters or the same", {"type": "nsp", "negatives": "either"}),
        _arm("sop", "sentence order", {"type": "sop"}),
    ],
    "Replaced tokens and masked tokens, by width": [
        _arm("electra-mlm-128", "masked LM, H128", _mlm("token", 0.15), ("model.family=electra",)),
        _arm("rtd-128", "replaced tokens, H128", _RTD, ("model.family=electra",)),
        _arm("electra-mlm-256", "masked LM, H256", _mlm("token", 0.15), ("model.family=electra", *_H256),
            rate=0.5),
        _arm("rtd-256", "replaced tokens, H256", _RTD, ("model.family=electra", *_H256), rate=0.5),
    ],
    "Noise of an encoder-decoder": [
        _arm("bart-mask", "token masking, 15 %", {"type": "denoise", "noise": [{"kind": "mask"}]}, _BART),
        _arm("bart-delete", "token deletion, 15 %", {"type": "denoise", "noise": [{"kind": "delete"}]}, _BART),
        _arm("bart-infill", "infilling, 30 %, Poisson 3",
            {"type": "denoise", "noise": [{"kind": "infill", "rate": 0.3}]}, _BART),
        _arm("bart-rotate", "rotation", {"type": "denoise", "noise": [{"kind": "rotate"}]}, _BART),
    ],
    "Layers that share weights (four layers)": [
        _arm(f"share-{what}", label, _mlm("token", 0.15), ("model.layers=4", f"model.sharing={what}"))
        for what, label in (("none", "nothing shared"), ("attention", "attention shared"),
                            ("ffn", "feed-forward shared"), ("all", "all shared"))
    ],
}  # fmt: skip
ARMS = [arm for arms in GROUPS.values() for arm in arms]

SCALES = {
    "small": TimedArms(),
    "full": TimedArms(
        seconds=4 * 3600.0,
        seeds=(0, 1, 2, 3, 4),
        languages=("en", "de", "fr", "es", "fi", "ru", "vi", "sw"),
        changes=("train.batch_tokens=131072", "train.lr=5e-4", "train.embedding_lr=null"),
    ),
}

SETUP = Setup((retrieval, classified, bits))

_BOOKS = "accuracy"
CLAIMS = (
    Claim("Spans are better than single tokens", "MNLI 87.0 : 86.7, TriviaQA 78.8 : 76.3",
          "Joshi et al. 2020", {"span-15": 1, "token-15": -1}, _BOOKS),
    Claim("Whole words are better than single tokens", "MNLI 87.1 : 86.1, SQuAD 92.8 : 91.0",
          "google-research/bert, whole word masking", {"word-15": 1, "token-15": -1}, _BOOKS),
    Claim("40 % masked is as good as 15 %, within a point", "MNLI 84.5 : 84.2, SST-2 92.8 : 93.3",
          "Wettig et al. 2023", {"token-40": 1, "token-15": -1}, _BOOKS, margin=-0.01),
    Claim("Without next-sentence prediction it is as good, within a point",
          "RoBERTa's MNLI 84.7 : 84.0, RACE 64.8 : 64.2", "Liu et al. 2019",
          {"pairs-none": 1, "nsp": -1}, _BOOKS, margin=-0.01),
    Claim("Sentence order helps", "average of five tasks 80.1 : 79.0", "Lan et al. 2020",
          {"sop": 1, "pairs-none": -1}, _BOOKS),
    Claim("Sentence order is better than next sentence", "average of five tasks 80.1 : 79.2", "Lan et al. 2020",
          {"sop": 1, "nsp": -1}, _BOOKS),
    Claim("Replaced-token detection is better than masked LM at width 128", "GLUE about 75 : 69",
          "Clark et al. 2020", {"rtd-128": 1, "electra-mlm-128": -1}, _BOOKS),
    Claim("... and its gain is larger at width 128 than at 256", "+6 : +4", "Clark et al. 2020",
          {"rtd-128": 1, "electra-mlm-128": -1, "rtd-256": -1, "electra-mlm-256": 1}, _BOOKS),
    Claim("Infilling is better than rotation", "MNLI 84.0 : 75.3", "Lewis et al. 2020",
          {"bart-infill": 1, "bart-rotate": -1}, _BOOKS),
    Claim("Deletion is as good as masking, within a point", "MNLI 84.1 : 84.1", "Lewis et al. 2020",
          {"bart-delete": 1, "bart-mask": -1}, _BOOKS, margin=-0.01),
    Claim("Sharing attention costs little (a point)", "average of five tasks, E = 768, 81.6 : 82.3", "Lan et al. 2020",
          {"share-attention": 1, "share-none": -1}, _BOOKS, margin=-0.01),
    Claim("Sharing everything costs more than sharing attention", "average of five tasks, E = 768, 79.8 : 81.6",
          "Lan et al. 2020", {"share-attention": 1, "share-all": -1}, _BOOKS),
)  # fmt: skip


class ObjectivesStudy:
    """Objectives, masking, noise and sharing at equal cost."""

    name: ClassVar = "objectives"
    title: ClassVar = "Objectives at equal cost"
    question: ClassVar = (
        "Which masking, sentence objective, noise and sharing is best for the same time, and what was published?"
    )
    scales: ClassVar = SCALES
    claims: ClassVar = CLAIMS

    def run(self, folder: Path, recipe: TimedArms, *, say: Say) -> None:
        """Pretrain and measure what is missing."""
        run_arms(ARMS, folder, recipe, SETUP, say=say)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Transfer, seed by seed."""
        others = [lang for lang in languages_of(scores, "bible part") if lang != "en"]
        values = seed_values(scores, "bible part", "accuracy", others)
        return {_BOOKS: Evidence(values, "the part of the Bible, other languages")}

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """A table a group of arms."""
        languages = languages_of(scores, "bible part")
        others = [lang for lang in languages if lang != "en"]
        columns: dict[str, Column] = {
            "part, English": (seed_values(scores, "bible part", "accuracy", ["en"]), 3),
            "part, others": (seed_values(scores, "bible part", "accuracy", others), 3),
            "P@1": (seed_values(scores, "retrieval", "p1", others), 3),
            **{f"bits {lang}": (seed_values(scores, "bits", "bits_per_character", [lang]), 2) for lang in languages},
            "steps": number_of(scores, "steps"),
            "tokens/s": number_of(scores, "tokens_per_second"),
        }
        method = (
            f"{spoken(languages)}: verses of the bundled Bible, whole chapters held "
            "out. BERT H128 L2 unless a row says otherwise, 6,000 entries. Every arm has the same time, and learns "
            "translation ranking beside its objective, without which encoders of this size have no common space after "
            "a minute: a batch of each a step. Replaced-token detection, "
            "whose loss is 50 times as large, counts a tenth; width 256 has half the learning rates. "
            f"{seeds_of(scores)} seeds; mean \u00b1 standard deviation. Part of the Bible: logistic regression on "
            "frozen vectors, taught in English only. P@1: English and each language, 500 held-out verses. "
            "Bits a character: held-out verses, 15 % of the tokens masked in every arm. "
            "Tokens/s: objective and ranking together."
        )
        found = [Section("What was compared", [f"Command: interlingua study run {self.name}", method])]
        for title, arms in GROUPS.items():
            if table := arms_table("Arms, mean \u00b1 deviation over seeds", arms, columns):
                found.append(Section(title, [], [table]))
        return found
