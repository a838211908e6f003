"""Typed recipes of translation: which texts, which two encoders, what is learnt from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from interlingua.languages import canonical
from interlingua.recipe import PairSource, TextSource, TrainRecipe
from interlingua.recipe_base import Positive, Recipe, Share

__all__ = [
    "BackTranslateRecipe",
    "RepairRecipe",
    "SupervisedRecipe",
    "TranslateDataRecipe",
    "TranslateRecipe",
    "TranslateTrainRecipe",
    "TranslatorRecipe",
]


class TranslateDataRecipe(Recipe):
    """Sentences and their translations."""

    pairs: tuple[PairSource, ...] = ()
    """Files of translation pairs, for `translate`."""
    parallel: tuple[str, ...] = ()
    """Multi-parallel TSV files (id, then a column a language); package:bible.tsv.zst ships with the package."""
    languages: tuple[str, ...] = ()
    """Columns of the parallel files that are read; all by default."""
    directions: Literal["both", "forward"] = "both"
    """Pairs are learnt both ways, or from the first side (the first of `languages`) to the other alone."""
    texts: tuple[TextSource, ...] = ()
    """Texts of one language each, for `denoise` and `backtranslate`; without any, the sides of the pairs."""
    dev: tuple[PairSource, ...] = ()
    """Pairs for the held-out loss, by which the best checkpoint is chosen."""
    held_out: Annotated[int, Field(ge=0)] = 0
    """So many rows of every parallel file, spread evenly, are left out of training and serve as dev."""
    limit: Annotated[int, Field(ge=0)] = 0
    """Pairs or texts of a file at most, the file's first; 0: all."""

    @field_validator("languages")
    @classmethod
    def _canonical(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical(tag) for tag in tags)


class TranslatorRecipe(Recipe):
    """An encoder-decoder made of two encoders, or one that is there."""

    encoder: str = "e5-small"
    """Name, hub id or folder of the encoder; of an encoder-decoder (BART, mBART, T5, mT5, or an earlier translator),
    which is then taken as it is."""
    decoder: str | None = None
    """The encoder that becomes the decoder; none: the same. It needs the same vocabulary."""
    encoder_layers: Positive | None = None
    """So many lowest layers of the encoder; none: all."""
    decoder_layers: Positive | None = None
    """So many lowest layers of the decoder; none: all."""
    share: Literal["none", "embeddings", "all"] = "embeddings"
    """Weights that encoder and decoder have in common: none; the token table; or all but the cross attention."""
    vocabulary: Literal["seen", "whole"] = "seen"
    """seen: only entries that occur in the recipe's texts are kept, since the output layer's cost is theirs (Unigram
    and WordPiece vocabularies); whole: all."""
    dropout: Share = 0.1
    """Dropout in both."""
    freeze: Literal["none", "embeddings", "encoder"] = "none"
    """What does not learn."""


class _Learnt(Recipe):
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight in the mixture."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the probability that is spread over the vocabulary."""


class SupervisedRecipe(_Learnt):
    """Translations as they stand in the pairs."""

    type: Literal["translate"] = "translate"
    """Which objective."""


class RepairRecipe(_Learnt):
    """Every language's damaged texts repaired (Lample et al. 2018)."""

    type: Literal["denoise"] = "denoise"
    """Which objective."""
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the tokens taken out."""
    mask: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the tokens hidden."""
    shuffle: Annotated[float, Field(ge=0)] = 3.0
    """Words move by less than so many places."""


class BackTranslateRecipe(_Learnt):
    """Texts from their translations by the network as it is at this step (online back-translation)."""

    type: Literal["backtranslate"] = "backtranslate"
    """Which objective."""
    sample: bool = False
    """Draw translations from the network's distribution instead of taking the likeliest token each time."""
    begin: Share = 0.0
    """Share of the steps before which it is left out, while denoising learns to write."""


LearntRecipe = Annotated[
    SupervisedRecipe | RepairRecipe | BackTranslateRecipe,
    Field(discriminator="type"),
]


class TranslateTrainRecipe(TrainRecipe):
    """The loop."""

    steps: Positive = 2_000
    """Optimiser steps."""
    batch_tokens: Positive = 2_048
    """Tokens of both sides a step, about (a step is a fixed number of pairs or texts an objective)."""
    row_length: Positive = 128
    """Longest side in tokens; what is cut is counted."""
    lr: Annotated[float, Field(gt=0)] = 5e-4
    """Peak learning rate."""
    encoder_lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the encoder (not of a shared table); none: the same."""
    parallel: Literal["replicate"] = "replicate"
    """One process trains."""


class TranslateRecipe(Recipe):
    """A translator between languages."""

    kind: Literal["translate"] = "translate"
    """Which verb runs it."""
    name: str = "translate"
    """Name of the run; its folder is runs/NAME unless --out says otherwise."""
    seed: int = 0
    """Everything random follows from it."""
    data: TranslateDataRecipe = TranslateDataRecipe()
    model: TranslatorRecipe = TranslatorRecipe()
    objectives: Annotated[tuple[LearntRecipe, ...], Field(min_length=1)] = (SupervisedRecipe(label_smoothing=0.1),)
    """What is learnt: translate, denoise, backtranslate."""
    mix: Literal["sample", "sum"] = "sum"
    """Draw one objective a step by weight, or add all of them up every step."""
    train: TranslateTrainRecipe = TranslateTrainRecipe()

    @model_validator(mode="after")
    def _each_once(self) -> TranslateRecipe:
        types = [objective.type for objective in self.objectives]
        if twice := sorted({one for one in types if types.count(one) > 1}):
            raise ValueError(f"each objective once, not {twice[0]!r} twice")
        return self
