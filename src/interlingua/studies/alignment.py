"""Words linked with their translations by the states of an encoder: which layer, which pair of languages?

In: gold links of four language pairs. Out: alignment error rate by pair, layer and method, a row a block of sentences.
Decision: blocks of 25 sentences are the units, so that verdicts rest on sentences and not on four languages; the last
block takes the sentences that are left over, too. Blocks of different language pairs are independent, so these are
drawn anew each by itself. Price: a number is the mean over blocks, which differs a little from the rate counted over
all sentences together.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from interlingua.languages import language
from interlingua.report.page import Cell, Section, Table
from interlingua.scores import Score
from interlingua.studies.base import Claim, Evidence, Say, unit_values
from interlingua.studies.probing import (
    MASKED,
    ProbeRecipe,
    Probing,
    Source,
    kind_of,
    name_of,
)

__all__ = ["AlignmentRecipe", "AlignmentStudy"]

GOLD = Source(
    "align/word_alignments.tsv.zst",
    "a table with pair, split, src_tokens, tgt_tokens, sure, possible; gold links in the split 'gold'",
    "the examples of github.com/neulab/awesome-align",
)
#: Alignment error rates of mBERT as it is, by pair.
MBERT = {"en-fr": 0.056, "ro-en": 0.279, "ja-en": 0.456, "zh-en": 0.181}
_BLOCK = 25
_README = "Dou and Neubig 2021, README of neulab/awesome-align"


class AlignmentRecipe(ProbeRecipe):
    """What the study of word alignment looks at."""

    pairs: tuple[str, ...] = tuple(MBERT)
    """Language pairs, source-target."""
    limit: Annotated[int, Field(ge=0)] = 0
    """Sentences a pair at most, the file's first; 0: all."""


def _near(pair: str) -> Claim:
    name = language(pair.replace("en", "").strip("-")).name
    return Claim(f"{name}: linked by layer 8 with at most two points more errors than by mBERT",
                 f"AER {100 * MBERT[pair]:.1f} %", _README, {f"mBERT {pair}": 1, f"{pair} layer8": -1}, "aer",
                 margin=-0.02, about=MASKED)  # fmt: skip


def _easier(one: str, other: str) -> Claim:
    names = [language(pair.replace("en", "").strip("-")).name for pair in (one, other)]
    return Claim(f"{names[0]} is linked with fewer errors than {names[1]}",
                 f"AER {100 * MBERT[one]:.1f} % : {100 * MBERT[other]:.1f} %", _README,
                 {f"{other} layer8": 1, f"{one} layer8": -1}, "aer", about=MASKED)  # fmt: skip


CLAIMS = (
    *(_near(pair) for pair in MBERT),
    _easier("en-fr", "zh-en"),
    _easier("zh-en", "ro-en"),
    _easier("ro-en", "ja-en"),
    Claim("Layer 8 of 12 links better than the last", "layer 8 is best in mBERT and XLM-R",
          "Libovický et al. 2020", {"layer12": 1, "layer8": -1}, "layers", about=MASKED),
    Claim("Layer 8 of 12 links better than layer 1", "layer 8 is best in mBERT and XLM-R",
          "Libovický et al. 2020", {"layer1": 1, "layer8": -1}, "layers", about=MASKED),
)  # fmt: skip


class AlignmentStudy:
    """Word alignment by language pair and layer."""

    name: ClassVar = "alignment"
    title: ClassVar = "Word alignment by layer"
    question: ClassVar = "How well do states of words link them with their translations, in which layer and language?"
    scales: ClassVar = {"small": AlignmentRecipe(), "full": AlignmentRecipe(model="mbert")}
    claims: ClassVar = CLAIMS

    def run(self, folder: Path, recipe: AlignmentRecipe, *, say: Say) -> None:
        """Link what is not linked yet, a pair of languages a stage."""
        gold, probing = GOLD.file(recipe.root), Probing(folder, recipe.model, say)
        for pair in recipe.pairs:
            probing.stage(f"links.{pair}", _linked, probing, gold, pair, recipe.limit)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Error rates of mutual bests, block by block; of all pairs of languages together, or of each."""
        wanted = [s for s in scores if s.task.endswith(".argmax") and s.metric == "aer"]
        kind, units = kind_of(scores), f"blocks of {_BLOCK} sentences"
        layers = unit_values(wanted, lambda s: f"layer{s.layer}", lambda s: (_pair(s), s.split))
        by_pair = dict(unit_values(wanted, lambda s: f"{_pair(s)} layer{s.layer}", lambda s: s.split))
        for pair, rate in MBERT.items():
            by_pair[f"mBERT {pair}"] = dict.fromkeys(by_pair.get(f"{pair} layer8", ()), rate)
        return {
            "layers": Evidence(layers, "AER of all pairs", units, kind),
            "aer": Evidence(by_pair, "AER of a pair", units, kind, paired=False),
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """A table of error rates, and their curve."""
        from interlingua.report.plots import layer_curves

        rates: dict[tuple[str, str], dict[int, list[float]]] = {}
        counts: dict[str, dict[str, int]] = {}
        for s in scores:
            layer = s.layer
            if s.metric == "aer" and layer is not None:
                method = s.task.rpartition(".")[2]
                rates.setdefault((_pair(s), method), {}).setdefault(layer, []).append(s.value)
                counts.setdefault(_pair(s), {})[s.split] = s.n
        means = {key: {layer: statistics.fmean(rows) for layer, rows in by.items()} for key, by in rates.items()}
        rows: list[list[Cell]] = [
            [pair, method, sum(counts[pair].values()), *by.values()] for (pair, method), by in means.items()
        ]
        layers = list(next(iter(means.values())))
        best = {(row, 3 + layers.index(min(by, key=lambda n: by[n]))) for row, by in enumerate(means.values())}
        columns = ["pair", "links", "sentences", *(str(layer) for layer in layers)]
        text = (
            f"Words are linked by the cosine of their states in {name_of(scores)}, each the mean of its subwords: "
            "argmax takes mutual bests, itermax goes on among words that are still free. Alignment error rate against "
            f"gold links, mean over blocks of {_BLOCK} of the sentences counted; in bold the best layer, chosen on the "
            "same links. "
            "Published rates of mBERT take the same gold links, link subwords and choose links by softmax."
        )
        figure = layer_curves(
            {pair: by for (pair, method), by in means.items() if method == "argmax"}, "AER",
            title="Error rate by layer", caption="Mutual bests (argmax); lower is better.",
        )  # fmt: skip
        table = Table("Alignment error rate by layer, 0 the embeddings", "", columns, rows,
                      ["left", "left", *["right"] * (len(columns) - 2)],  # type: ignore[list-item]
                      highlight=frozenset(best))  # fmt: skip
        return [
            Section("Error rates", [f"Command: interlingua study run {self.name} root=data", text], [figure, table])
        ]


def _pair(score: Score) -> str:
    return score.task.split(".")[1]


def _linked(probing: Probing, gold: Path, pair: str, limit: int) -> Iterator[Score]:
    from interlingua.probe.links import word_links
    from interlingua.text.alignments import read_alignments

    source, _, target = pair.partition("-")
    pairs = list(read_alignments(gold, source_lang=source, target_lang=target, split="gold"))[: limit or None]
    # A last block of a few sentences would count as much as a whole one: they join the one before.
    starts = range(0, max(1, len(pairs) - _BLOCK + 1), _BLOCK)
    for start in starts:
        block = pairs[start : None if start == starts[-1] else start + _BLOCK]
        for found in word_links(probing.encoder, block, methods=("argmax", "itermax")):
            for score in found.scores(probing.model):
                yield replace(score, split=f"block{start // _BLOCK}")
