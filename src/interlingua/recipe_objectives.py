"""Typed recipes of objectives: what is learnt from text, told apart by ``type``.

Decision: one section an objective, with a common base for their weight in the mixture and one for all that hide tokens.
Price: what two objectives have in common beyond that is written twice.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from interlingua.languages import canonical
from interlingua.recipe_base import Positive, Rate, Recipe, Share

__all__ = [
    "AlignRecipe",
    "AlignmentSource",
    "CLMRecipe",
    "ContrastRecipe",
    "DenoiseRecipe",
    "LearntRecipe",
    "MLMRecipe",
    "MaskingRecipe",
    "NSPRecipe",
    "NoiseRecipe",
    "ObjectiveRecipe",
    "PLMRecipe",
    "RTDRecipe",
    "SOPRecipe",
    "SimCSERecipe",
    "SpanBoundaryRecipe",
    "TLMRecipe",
]


class LearntRecipe(Recipe):
    """What all objectives have."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight in the mixture."""
    switch: Share = 0.0
    """Share of the words with an entry in data.lexicons that are replaced by a translation before all else."""


class MaskingRecipe(LearntRecipe):
    """Which tokens are hidden and what stands in their place."""

    rate: Rate = 0.15
    """Share of maskable tokens that are predicted."""
    rates: tuple[tuple[Share, Rate], ...] = ()
    """Instead of rate: [share of the steps, rate] in order, such as [[0, 0.3], [0.5, 0.15], [0.9, 0.05]] (mmBERT)."""
    between: Literal["steps", "linear", "cosine"] = "steps"
    """From one of the rates to the next: at once, along a line, or along half a cosine wave."""
    unit: Literal["token", "word", "ngram", "span", "phrase"] = "token"
    """Hide single tokens, whole words, n-grams of words (ALBERT), spans of words (SpanBERT: each is masked, replaced or
    kept as a whole), or the phrases of a lexicon and the words between them (ERNIE)."""
    max_ngram: Positive = 3
    """ngram: longest, in words; n words are drawn with a probability proportional to 1/n."""
    span_p: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """span: lengths are geometric, p (1 - p)^(words - 1) ..."""
    span_max: Positive = 10
    """... up to so many words, scaled to add up to 1 (mean 3.8 words)."""
    lexicon: Path | None = None
    """phrase: a file with a phrase a line, or language, tab, phrase; also .gz and .zst."""
    frequency: Annotated[float, Field(ge=0.0)] = 0.0
    """token, word, phrase: chosen with weights count^-frequency; 0: all alike, 0.5: XLM. A word weighs the mean of its
    tokens."""
    mask: Share = 0.8
    """Of the hidden tokens: share replaced by the mask token ..."""
    random: Share = 0.1
    """... by a random token ..."""
    knn: Share = 0.0
    """... by a neighbour in another language; the rest stays as it is."""
    random_from: Literal["all", "language", "unigram"] = "all"
    """Random tokens: any of the vocabulary, any that occurs in the hidden token's language, or of these each as often
    as it occurs."""
    neighbours: Path | None = None
    """knn: a .npy file, int32 [vocabulary, k], of `cross_lingual_neighbours`."""

    @model_validator(mode="after")
    def _split(self) -> MaskingRecipe:
        if self.mask + self.random + self.knn > 1 + 1e-9:
            raise ValueError(f"mask + random + knn = {self.mask + self.random + self.knn:g}, more than 1")
        return self

    @model_validator(mode="after")
    def _whole(self) -> MaskingRecipe:
        begins = [begin for begin, _ in self.rates]
        if begins and (begins[0] != 0 or any(a >= b for a, b in pairwise(begins))):
            raise ValueError(f"rates begin at {begins}: the first must begin at 0, and each behind the one before")
        if (self.unit == "phrase") != (self.lexicon is not None):
            raise ValueError(f"unit {self.unit!r} and lexicon {str(self.lexicon)!r}: a lexicon is for phrases")
        if bool(self.knn) != (self.neighbours is not None):
            raise ValueError(f"knn = {self.knn:g} and neighbours {str(self.neighbours)!r}: one needs the other")
        if self.frequency and self.unit in {"ngram", "span"}:
            raise ValueError(f"frequency = {self.frequency:g} with unit {self.unit!r}: for token, word and phrase only")
        return self


class MLMRecipe(MaskingRecipe):
    """Masked language modelling on single texts."""

    type: Literal["mlm"] = "mlm"
    """Which objective."""


class TLMRecipe(MaskingRecipe):
    """Translation language modelling: masked LM over a joined pair (XLM)."""

    type: Literal["tlm"] = "tlm"
    """Which objective."""
    restart_positions: bool = True
    """Positions restart at the second side."""


class SpanBoundaryRecipe(MaskingRecipe):
    """Masked language modelling, and each hidden span from the two tokens beside it (SpanBERT)."""

    type: Literal["sbo"] = "sbo"
    """Which objective."""
    unit: Literal["token", "word", "ngram", "span", "phrase"] = "span"
    """As for mlm; the tokens hidden together are a span."""
    positions: Positive = 20
    """Tokens from the beginning of a span that are predicted from its bounds; the others by the masked LM alone."""


class ContrastRecipe(LearntRecipe):
    """Translation ranking: a text's vector must be nearest to its translation's."""

    type: Literal["contrast"] = "contrast"
    """Which objective."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Similarities are divided by it."""
    margin: Annotated[float, Field(ge=0)] = 0.0
    """Taken off the similarity of true pairs (additive margin softmax)."""
    languages: Annotated[int, Field(ge=2)] = 2
    """Languages drawn of each multi-parallel group; 2 for bilingual data."""
    negatives: Literal["both", "other"] = "both"
    """Wrong candidates: texts of the other side only, or of both sides."""
    pooling: Literal["mean", "first"] = "mean"
    """How token states become a sentence vector."""
    queue: Annotated[int, Field(ge=0)] = 0
    """More wrong candidates: so many vectors of earlier batches, from a slowly moving copy of the network (MoCo)."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """How slowly the copy moves."""


class AlignmentSource(Recipe):
    """A file of word-aligned sentence pairs."""

    path: Path
    """tsv with a header (src_tokens, tgt_tokens, sure; perhaps possible, pair, split), or `source ||| target` lines
    with `links` beside them; also .gz and .zst."""
    links: Path | None = None
    """Pharaoh's format: a line of links i-j a line of text."""
    source_lang: str | None = None
    """Language of the first side; of a table with a column `pair`, only its rows."""
    target_lang: str | None = None
    """Language of the second side."""
    split: str | None = None
    """Only rows whose column `split` says so."""

    @field_validator("source_lang", "target_lang")
    @classmethod
    def _canonical(cls, tag: str | None) -> str | None:
        return canonical(tag) if tag else None


class AlignRecipe(LearntRecipe):
    """Word alignment: a word's vector must be nearest to its translation's, on links that are given."""

    type: Literal["align"] = "align"
    """Which objective."""
    pairs: Annotated[tuple[AlignmentSource, ...], Field(min_length=1)]
    """Aligned sentence pairs, in languages of the shards."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """Similarities are divided by it."""
    negatives: Literal["both", "other"] = "both"
    """Wrong candidates: words of the other side only (weak alignment), or of both sides (strong)."""
    exponent: Share = 0.7
    """S of p^S over language pairs."""


class SimCSERecipe(LearntRecipe):
    """Dropout pairs: a text's two vectors under two dropout masks must be nearest (SimCSE); needs model.dropout."""

    type: Literal["simcse"] = "simcse"
    """Which objective."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    """Similarities are divided by it."""
    pooling: Literal["mean", "first"] = "mean"
    """How token states become a sentence vector."""


class CLMRecipe(LearntRecipe):
    """Causal language modelling: every token from those before it."""

    type: Literal["clm"] = "clm"
    """Which objective."""
    running: bool = False
    """Rows are cut from running text instead of holding single texts."""
    context: Annotated[int, Field(ge=0)] = 0
    """Tokens at the head of every running row that are read without a gradient and not predicted."""


class PLMRecipe(MaskingRecipe):
    """Permutation language modelling (XLNet): chosen tokens in random order; mask and random are not used."""

    type: Literal["plm"] = "plm"
    """Which objective."""
    rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 1 / 6
    """Share of the tokens that is predicted (1 / K)."""


class RTDRecipe(MaskingRecipe):
    """Replaced-token detection (ELECTRA, DeBERTa-v3): which tokens did a small generator make up?"""

    type: Literal["rtd"] = "rtd"
    """Which objective."""
    mask: Share = 1.0
    """Share of the chosen tokens the generator sees as the mask token."""
    random: Share = 0.0
    """Share it sees as a random token."""
    generator: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Width of the generator relative to the network's (heads and feed-forward follow)."""
    sharing: Literal["shared", "gdes", "none"] = "shared"
    """Token embeddings: one table (ELECTRA), gradient-disentangled (DeBERTa-v3), or two tables."""
    detection_weight: Annotated[float, Field(gt=0)] = 50.0
    """Lambda: weight of the detection loss."""


class NSPRecipe(MaskingRecipe):
    """Masked language modelling over two texts, and whether the second follows the first (BERT)."""

    type: Literal["nsp"] = "nsp"
    """Which objective."""
    negatives: Literal["other", "same", "either"] = "other"
    """Where wrong second texts come from: another document (BERT), elsewhere in the same one, or either as often."""
    order_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the order's loss; 0: pairs are read, their order is not asked for."""


class SOPRecipe(MaskingRecipe):
    """Masked language modelling over two texts that follow one another, and whether they were swapped (ALBERT)."""

    type: Literal["sop"] = "sop"
    """Which objective."""
    order_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the order's loss; 0: pairs are read, their order is not asked for."""


class NoiseRecipe(Recipe):
    """One way to damage a text."""

    kind: Literal["mask", "delete", "infill", "permute", "rotate", "spans", "drop", "prefix", "deshuffle"]
    """BART, in any order: mask, delete, infill, permute (sentences), rotate; T5, alone: spans, drop, prefix,
    deshuffle."""
    rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.15
    """Share of the tokens (mask, delete, infill, spans, drop)."""
    mean: Annotated[float, Field(gt=0)] | None = 3.0
    """Mean span length: Poisson's lambda (infill), T5's mean (spans, drop; none: single tokens)."""
    words: bool = False
    """Spans begin and end at word bounds (infill)."""


class DenoiseRecipe(LearntRecipe):
    """Denoising with an encoder-decoder (BART, mBART, T5, mT5)."""

    type: Literal["denoise"] = "denoise"
    """Which objective."""
    noise: Annotated[tuple[NoiseRecipe, ...], Field(min_length=1)] = (
        NoiseRecipe(kind="permute"),
        NoiseRecipe(kind="infill", rate=0.3),
    )
    """What is done to a text, in order."""

    @model_validator(mode="after")
    def _alone(self) -> DenoiseRecipe:
        recast = [n.kind for n in self.noise if n.kind in {"spans", "drop", "prefix", "deshuffle"}]
        if recast and len(self.noise) > 1:
            raise ValueError(f"noise {recast[0]!r} has a target of its own and stands alone")
        return self


ObjectiveRecipe = Annotated[
    MLMRecipe
    | TLMRecipe
    | SpanBoundaryRecipe
    | ContrastRecipe
    | AlignRecipe
    | SimCSERecipe
    | CLMRecipe
    | PLMRecipe
    | RTDRecipe
    | NSPRecipe
    | SOPRecipe
    | DenoiseRecipe,
    Field(discriminator="type"),
]
