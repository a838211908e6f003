"""The typed recipe of pretraining: vocabulary, data, network, objectives, loop.

Decision: one section a stage, each with defaults that run; objectives have a module of their own
(:mod:`interlingua.recipe_objectives`). Price: a key that one family of networks alone knows stands beside those of all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from interlingua.languages import canonical
from interlingua.recipe_base import Place, Positive, Recipe, Share
from interlingua.recipe_objectives import MLMRecipe, ObjectiveRecipe

__all__ = [
    "AdaptRecipe",
    "DataRecipe",
    "LexiconSource",
    "ModelRecipe",
    "PairSource",
    "PhaseRecipe",
    "PretrainRecipe",
    "TextSource",
    "TrainRecipe",
    "VocabRecipe",
]


class VocabRecipe(Recipe):
    """A shared subword vocabulary."""

    path: Path | None = None
    """A folder with a finished vocabulary; when given, the other fields are not used."""
    kind: Literal["bpe", "wordpiece", "unigram", "byte-bpe"] = "bpe"
    """Algorithm: bpe, wordpiece, unigram, or byte-bpe (byte-level BPE)."""
    size: Positive = 16_000
    """Number of entries, specials and bytes included."""
    exponent: Share = 0.7
    """S of p^S: how languages share the training sample (mBERT 0.7, XLM-R 0.3)."""
    cap: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Largest share of one language in the training sample."""
    sample_characters: Positive = 20_000_000
    """Characters drawn for training the vocabulary."""
    lowercase: bool = False
    """Fold upper case to lower case."""
    byte_fallback: bool = True
    """Spell unknown characters as bytes (bpe, unigram)."""
    sentinels: Annotated[int, Field(ge=0)] = 0
    """Tokens <extra_id_0>, ... added for T5's span corruption (T5 has 100); `size` does not count them."""


class TextSource(Recipe):
    """A file of texts in one language."""

    path: Path
    """txt, jsonl[.gz|.zst], parquet, tsv[.zst]."""
    lang: str | None = None
    """Language tag; needed unless every row has its own."""
    paragraphs: bool = False
    """txt: lines up to the next blank one are the parts of one document (other formats have a field `document`)."""

    @field_validator("lang")
    @classmethod
    def _canonical(cls, tag: str | None) -> str | None:
        return canonical(tag) if tag else None


class PairSource(Recipe):
    """A file of translation pairs."""

    path: Path
    """tsv[.zst], jsonl or tmx; for Moses the source side, with `target_path` beside it."""
    source_lang: str
    """Language of the first side."""
    target_lang: str
    """Language of the second side."""
    target_path: Path | None = None
    """Moses format: the file with the second side."""

    @field_validator("source_lang", "target_lang")
    @classmethod
    def _canonical(cls, tag: str) -> str:
        return canonical(tag)


class LexiconSource(Recipe):
    """A file of word translations, for code-switching."""

    path: Path
    """Two columns a line, split at a tab or space (MUSE); also .gz and .zst."""
    source_lang: str
    """Language of the first column."""
    target_lang: str
    """Language of the second column."""

    @field_validator("source_lang", "target_lang")
    @classmethod
    def _canonical(cls, tag: str) -> str:
        return canonical(tag)


class PhaseRecipe(Recipe):
    """From some step on, other proportions."""

    begin: Share = 0.0
    """Share of the steps at which the phase begins; the first begins at 0."""
    exponent: Share = 0.7
    """S of p^S in this phase."""
    cap: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Largest share of one language."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Fixed shares instead of p^S."""
    languages: tuple[str, ...] = ()
    """Languages drawn in this phase; none named: all."""

    @field_validator("weights")
    @classmethod
    def _canonical_weights(cls, weights: dict[str, float]) -> dict[str, float]:
        return {canonical(tag): weight for tag, weight in weights.items()}

    @field_validator("languages")
    @classmethod
    def _canonical_languages(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical(tag) for tag in tags)


class DataRecipe(Recipe):
    """What is trained on, and in which proportions."""

    shards: Place | None = None
    """A folder written by `shards write`, or its address (s3://..., gs://...); no source below is then read."""
    cache_gb: Annotated[float, Field(gt=0)] = 20.0
    """Room for local copies of shards on object storage, in gigabytes."""
    window: Annotated[int, Field(ge=0)] = 0
    """Texts of a language whose order is drawn together, one such window after another; 0: all of them. Shards on
    object storage or a slow disk want some ten thousands, so that few of them are read from at a time."""
    texts: tuple[TextSource, ...] = ()
    """Monolingual files."""
    pairs: tuple[PairSource, ...] = ()
    """Bilingual files."""
    parallel: tuple[Path, ...] = ()
    """Multi-parallel TSV files: a column `id` and a column a language."""
    exponent: Share = 0.7
    """S of p^S: how languages share the batches."""
    cap: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Largest share of one language in the batches."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Fixed shares per language instead of p^S; languages left out are not drawn."""
    phases: tuple[PhaseRecipe, ...] = ()
    """Proportions that change on the way (languages that join, S annealed); they replace the three fields above."""
    lexicons: tuple[LexiconSource, ...] = ()
    """Word translations for objectives with `switch`."""
    pivot: str | None = "en"
    """Translation pairs are drawn with this language on one side where it is there; none: any two."""
    held_out: Share = 0.01
    """Share of the texts kept for the held-out loss; translations of one another stay together."""
    unit_tokens: Positive = 126
    """Longest unit in a shard, in tokens; longer documents are split at word starts."""

    @field_validator("pivot")
    @classmethod
    def _canonical(cls, tag: str | None) -> str | None:
        return canonical(tag) if tag else None

    @field_validator("weights")
    @classmethod
    def _canonical_weights(cls, weights: dict[str, float]) -> dict[str, float]:
        return {canonical(tag): weight for tag, weight in weights.items()}


class ModelRecipe(Recipe):
    """The network."""

    family: Literal[
        "bert", "xlm-roberta", "modernbert", "eurobert", "deberta-v2", "albert", "electra", "distilbert", "xlm",
        "xlnet", "gpt2", "bart", "mbart", "t5", "mt5",
    ] = "bert"  # fmt: skip
    """Class of transformers, by its model_type. Encoders: bert, xlm-roberta, modernbert, eurobert, deberta-v2 (also
    mDeBERTa-v3), albert, electra, distilbert, xlm, xlnet. Decoder: gpt2. Encoder-decoders: bart, mbart, t5, mt5."""
    size: Literal["tiny", "mini", "small", "medium", "base", "large"] = "mini"
    """Dial for width and depth: tiny 128x2, mini 256x4, small 384x6, medium 512x8, base 768x12, large 1024x24."""
    hidden: Positive | None = None
    """Width, if not the preset's."""
    layers: Positive | None = None
    """Depth, if not the preset's."""
    heads: Positive | None = None
    """Attention heads, if not one per 64 of width."""
    feed_forward: Positive | None = None
    """Inner width of the feed-forward block, if not the preset's."""
    embedding_size: Positive | None = None
    """Width of the token table where it is factorised (albert: 128 by default; electra, deberta-v2: the network's)."""
    positions: Positive = 512
    """Longest text in tokens."""
    positions_kind: Literal["family", "none"] = "family"
    """family: as the class has them (absolute: bert, xlm-roberta, albert, electra, distilbert, xlm, gpt2, bart, mbart;
    relative: deberta-v2, xlnet, t5, mt5; rotary: modernbert, eurobert); none: no positions (bert, xlm-roberta)."""
    dropout: Share = 0.0
    """Dropout everywhere. 0 is free; any other value costs a small model a third of its speed on a CPU."""
    tie_embeddings: bool = True
    """Share one table between input tokens and the LM head's output; untied costs a second table."""
    vectors: Path | None = None
    """What token vectors begin with: a .npy file, floats [vocabulary, width of the token table], of `vocab vectors`
    for example; rows of NaN keep their random numbers. Give train.embedding_lr a low rate if they are to last."""
    language_embeddings: bool = False
    """Mark languages: by token_type_ids (bert, xlm-roberta, albert, electra) or langs (xlm)."""
    sharing: Literal["none", "attention", "ffn", "all"] | None = None
    """Weights shared between layers (albert, bert, xlm-roberta, electra); if not set: all for albert, else none."""
    groups: Positive = 1
    """Groups of layers that share: 1 shares between all of them."""
    separate_embeddings: bool = False
    """Every language has a token table of its own (bert, xlm-roberta), tied to an output layer of its own."""
    separate_layers: Annotated[int, Field(ge=0)] = 0
    """So many lowest layers are every language's own (bert, xlm-roberta)."""
    separate_positions: bool = False
    """Every language has a table of positions of its own (bert, xlm-roberta)."""
    separate_specials: bool = False
    """Every language has vectors of its own for the special tokens (bert, xlm-roberta)."""

    @property
    def separates(self) -> bool:
        """Whether languages have parts of their own."""
        own = (self.separate_embeddings, self.separate_layers, self.separate_positions, self.separate_specials)
        return any(own)


class TrainRecipe(Recipe):
    """The loop."""

    steps: Positive = 10_000
    """Optimiser steps."""
    batch_tokens: Positive = 8_192
    """Tokens a step, about (a step is a fixed number of texts)."""
    row_length: Positive = 128
    """Tokens a packed row."""
    accumulate: Positive = 1
    """Parts a batch is computed in, over all ranks; the memory depends on it, the result only by dropout's numbers."""
    parallel: Literal["replicate", "shard"] = "replicate"
    """Several ranks: each has the whole network (DDP), or a part of weights, gradients and moments (FSDP2)."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    embedding_lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the token embeddings; none: the same. Rows are touched rarely and bear a higher one."""
    warmup: Share = 0.05
    """Share of the steps over which the rate rises."""
    schedule: Literal["linear", "cosine", "wsd", "constant"] = "linear"
    """How the rate falls; wsd: flat, then down over the last `decay` share."""
    decay: Share = 0.2
    """wsd: share of the steps over which the rate falls to 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW's, on matrices only."""
    beta1: Share = 0.9
    """AdamW."""
    beta2: Share = 0.98
    """AdamW."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-6
    """AdamW."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: matrices inside the layers by Muon (at the same rate), all else by AdamW."""
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of the gradient; 0 switches clipping off."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 on a GPU, fp32 on a CPU (where bf16 is slower for small models)."""
    attention: Literal["auto", "mask", "varlen"] = "auto"
    """How packed texts are kept apart: under a block mask, or by a kernel for texts of varying length; auto: varlen in
    bf16 on a GPU where class and dropout let it."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile of every layer; auto: on a GPU (on CPUs it was no faster)."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of the CPU; 0 measures which number is fastest for this network."""
    evaluate_every: Positive = 1_000
    """Steps between held-out evaluations."""
    save_every: Positive = 1_000
    """Steps between checkpoints."""
    tensorboard: bool = False
    """Write tensorboard/ in the run folder as well; metrics.jsonl is always there."""
    on_bad: Literal["stop", "skip"] = "stop"
    """A step whose loss or gradient is not finite, or a spike, ends the run or is left out; its text is named."""
    spike: Annotated[float, Field(ge=0)] = 0.0
    """A gradient norm of more than so many times the median of the last 64 steps is a spike; 0: none is."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many evaluations without a better mean held-out loss; 0 never stops early."""


class AdaptRecipe(Recipe):
    """Instead of a new network: adapters of languages for an encoder that stays as it is (MAD-X)."""

    encoder: str | None = None
    """Short name, hub id, checkpoint folder or run folder; its vocabulary is used, and `model` is not. One adapter is
    trained for every language that is drawn, by the objective mlm, and written to adapters/LANG. None: pretrain."""
    reduction: Positive = 2
    """The network's width divided by that of the bottlenecks."""
    invertible: bool = True
    """A coupling behind the embeddings too, whose inverse stands before the output table."""


class PretrainRecipe(Recipe):
    """From text to an encoder."""

    kind: Literal["pretrain"] = "pretrain"
    """Which verb runs it."""
    name: str = "pretrain"
    """Name of the run; its folder is runs/NAME unless --out says otherwise."""
    seed: int = 0
    """Everything random follows from it."""
    data: DataRecipe = DataRecipe()
    vocab: VocabRecipe = VocabRecipe()
    model: ModelRecipe = ModelRecipe()
    adapt: AdaptRecipe = AdaptRecipe()
    objectives: Annotated[tuple[ObjectiveRecipe, ...], Field(min_length=1)] = (MLMRecipe(),)
    """What is learnt; more than one makes a mixture."""
    mix: Literal["sample", "sum"] = "sample"
    """Draw one objective a step by weight, or add all of them up every step."""
    train: TrainRecipe = TrainRecipe()
