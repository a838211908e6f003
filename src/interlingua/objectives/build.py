"""From recipe sections to a mixture of objectives, and what they ask of network, vocabulary and data."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from interlingua.errors import RecipeError
from interlingua.models.build import HEADS, Head
from interlingua.models.separate import language_parts
from interlingua.objectives.align import AlignedTexts, WordAlignment
from interlingua.objectives.base import Objective
from interlingua.objectives.boundary import BoundaryHead, SpanBoundary
from interlingua.objectives.clm import CausalLM
from interlingua.objectives.contrast import MomentumQueue, TranslationRanking
from interlingua.objectives.denoise import Denoising
from interlingua.objectives.masking import Masking, RateSchedule
from interlingua.objectives.mix import Mixture
from interlingua.objectives.mlm import MaskedLM, TranslationLM
from interlingua.objectives.noise import (
    Deletion,
    Deshuffling,
    DroppedSpans,
    Infilling,
    Noise,
    PrefixLM,
    Recasting,
    Rotation,
    SentencePermutation,
    SpanCorruption,
    TokenMasking,
)
from interlingua.objectives.order import TextOrder
from interlingua.objectives.phrases import PhraseLexicon, read_phrases
from interlingua.objectives.plm import PermutationLM
from interlingua.objectives.replacing import LanguageVocabulary, read_neighbours
from interlingua.objectives.rtd import ReplacedTokenDetection, share_embeddings
from interlingua.objectives.simcse import DropoutPairs
from interlingua.objectives.switch import CodeSwitching, LexiconEntry
from interlingua.objectives.units import (
    Phrases,
    Spans,
    Tokens,
    Unit,
    Words,
    geometric_lengths,
    inverse_frequency,
    ngram_lengths,
)
from interlingua.recipe import LexiconSource
from interlingua.recipe_objectives import (
    AlignRecipe,
    CLMRecipe,
    ContrastRecipe,
    DenoiseRecipe,
    MaskingRecipe,
    NoiseRecipe,
    NSPRecipe,
    ObjectiveRecipe,
    PLMRecipe,
    RTDRecipe,
    SimCSERecipe,
    SOPRecipe,
    SpanBoundaryRecipe,
    TLMRecipe,
)
from interlingua.text.alignments import read_alignments
from interlingua.text.lexicons import read_lexicon
from interlingua.vocab.train import SENTINEL

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.shards.read import ShardSet

__all__ = ["build_mixture", "common_head", "generator_for"]

#: The head each objective learns through; those left out take any.
NEEDED: dict[str, Head] = {
    "mlm": "masked",
    "tlm": "masked",
    "sbo": "masked",
    "nsp": "pretraining",
    "sop": "pretraining",
    "clm": "causal",
    "plm": "permutation",
    "rtd": "discriminator",
    "denoise": "seq2seq",
}
#: Last characters of tokens that end a sentence, for sentence permutation.
FULL_STOPS = (".", "!", "?", "。", "！", "？", "।", "؟", "۔", "။", "።", "։", "។")


def common_head(recipes: Sequence[ObjectiveRecipe], family: str) -> Head:
    """The one head all objectives of a recipe can learn through.

    Raises:
        RecipeError: two objectives need different ones.
    """
    needed = {NEEDED[r.type]: r.type for r in recipes if r.weight and r.type in NEEDED}
    if set(needed) == {"masked", "pretraining"}:  # the second has all of the first
        return "pretraining"
    if len(needed) > 1:
        (one, first), (other, second), *_ = needed.items()
        raise RecipeError(
            f"objectives {first!r} and {second!r} in one run",
            expected="objectives that share a head",
            where="objectives",
            next_step=f"{first} needs a {one} head and {second} a {other} head; run one after the other",
        )
    return next(iter(needed), next(head for head, families in HEADS.items() if family in families))


def generator_for(model: PreTrainedModel, width: float, *, seed: int) -> PreTrainedModel:
    """A masked language model of the discriminator's family, ``width`` times as wide, over embeddings as wide as its.

    Clark et al. 2020 (section 3.2) found a quarter to a half of the width best.
    """
    import torch
    from transformers import AutoModelForMaskedLM

    config = copy.deepcopy(model.config)
    all_heads, hidden = config.num_attention_heads, config.hidden_size
    heads = max(1, round(all_heads * width))
    config.embedding_size = getattr(config, "embedding_size", None) or hidden
    config.hidden_size = hidden // all_heads * heads
    config.intermediate_size = max(1, config.intermediate_size * heads // all_heads)
    config.num_attention_heads = heads
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator: PreTrainedModel = AutoModelForMaskedLM.from_config(config)
    return generator


class _Builder:
    """What all objectives of a run are made from."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        model: PreTrainedModel | None,
        seed: int,
        languages: Sequence[str],
        shards: ShardSet | None,
    ) -> None:
        self.tokenizer = tokenizer
        self._model = model
        self.seed = seed
        self.languages = languages
        self._shards = shards

    @property
    def model(self) -> PreTrainedModel:
        if self._model is None:
            raise RecipeError(
                "an objective with networks of its own, and no model",
                expected="build_mixture(..., model=)",
                where="objectives",
            )
        return self._model

    @property
    def shards(self) -> ShardSet:
        if self._shards is None:
            raise RecipeError(
                "masking by counts of tokens, and no shards to count them in",
                expected="build_mixture(..., shards=)",
                where="objectives",
            )
        return self._shards

    def masking(self, recipe: MaskingRecipe) -> Masking:
        size = len(self.tokenizer)
        allowed = np.setdiff1d(np.arange(size), np.array(self.tokenizer.all_special_ids))
        by_language = None
        if recipe.random and recipe.random_from != "all":
            counts = (self.shards.token_counts(size, lang) for lang in self.shards.languages)
            by_language = LanguageVocabulary.of(counts, allowed, unigram=recipe.random_from == "unigram")
        return Masking(
            self.tokenizer.mask_token_id,
            allowed,
            RateSchedule(recipe.rates, recipe.between) if recipe.rates else recipe.rate,
            self.unit(recipe),
            recipe.mask,
            recipe.random,
            recipe.knn,
            by_language,
            read_neighbours(recipe.neighbours, size) if recipe.neighbours else None,
        )

    def unit(self, recipe: MaskingRecipe) -> Unit:
        if recipe.unit == "ngram":
            return Spans(ngram_lengths(recipe.max_ngram), together=False)
        if recipe.unit == "span":
            return Spans(geometric_lengths(recipe.span_p, recipe.span_max))
        weights_V = None
        if recipe.frequency:
            weights_V = inverse_frequency(self.shards.token_counts(len(self.tokenizer)), recipe.frequency)
        if recipe.lexicon:
            phrases = read_phrases(recipe.lexicon)
            return Phrases(PhraseLexicon(phrases, self.tokenizer, self.languages), weights_V)
        return Words(weights_V) if recipe.unit == "word" else Tokens(weights_V)

    def objective(self, recipe: ObjectiveRecipe) -> Objective:
        if isinstance(recipe, TLMRecipe):
            return TranslationLM(self.masking(recipe), restart_positions=recipe.restart_positions)
        if isinstance(recipe, NSPRecipe):
            return TextOrder(self.masking(recipe), wrong=recipe.negatives, weight=recipe.order_weight)
        if isinstance(recipe, SOPRecipe):
            return TextOrder(self.masking(recipe), wrong="swapped", weight=recipe.order_weight)
        if isinstance(recipe, SpanBoundaryRecipe):
            head = BoundaryHead.for_model(self.model, positions=recipe.positions, seed=self.seed)
            return SpanBoundary(self.masking(recipe), head)
        if isinstance(recipe, ContrastRecipe):
            queue = None
            if recipe.queue:
                queue = MomentumQueue(self.model, size=recipe.queue, momentum=recipe.momentum)
            return TranslationRanking(
                temperature=recipe.temperature,
                margin=recipe.margin,
                languages=recipe.languages,
                negatives=recipe.negatives,
                pooling=recipe.pooling,
                queue=queue,
            )
        if isinstance(recipe, AlignRecipe):
            texts = AlignedTexts(
                itertools.chain.from_iterable(read_alignments(**dict(source)) for source in recipe.pairs),
                self.tokenizer,
                self.languages,
                exponent=recipe.exponent,
            )
            return WordAlignment(texts, temperature=recipe.temperature, negatives=recipe.negatives)
        if isinstance(recipe, SimCSERecipe):
            return DropoutPairs(temperature=recipe.temperature, pooling=recipe.pooling)
        if isinstance(recipe, CLMRecipe):
            return CausalLM(context=recipe.context, running=recipe.running)
        if isinstance(recipe, PLMRecipe):
            return PermutationLM(self.masking(recipe))
        if isinstance(recipe, RTDRecipe):
            return self.detection(recipe)
        if isinstance(recipe, DenoiseRecipe):
            return self.denoising(recipe)
        return MaskedLM(self.masking(recipe))

    def detection(self, recipe: RTDRecipe) -> Objective:
        generator = generator_for(self.model, recipe.generator, seed=self.seed)
        if recipe.sharing == "shared":
            share_embeddings(self.model, generator)
        elif recipe.sharing == "gdes":  # the difference begins at 0
            self.model.get_input_embeddings().weight.data.copy_(generator.get_input_embeddings().weight.data)
        return ReplacedTokenDetection(
            self.masking(recipe), generator, sharing=recipe.sharing, weight=recipe.detection_weight
        )

    def denoising(self, recipe: DenoiseRecipe) -> Objective:
        t5 = self.model.config.model_type in {"t5", "mt5"}
        noise: Recasting | list[Noise]
        if (alone := self.recasting(recipe.noise[0])) is not None:
            noise = alone
        else:
            noise = [self.noise(one) for one in recipe.noise]
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        return Denoising(
            noise,
            pad_id=self.tokenizer.pad_token_id,
            first_id=None if t5 else self.tokenizer.bos_token_id if begin is None else begin,
            last_id=self.tokenizer.eos_token_id if end is None else end,
            start_id=self.model.config.decoder_start_token_id,
        )

    def recasting(self, recipe: NoiseRecipe) -> Recasting | None:
        if recipe.kind == "spans":
            return SpanCorruption(self.sentinels(), recipe.rate, recipe.mean)
        if recipe.kind == "drop":
            return DroppedSpans(recipe.rate, recipe.mean)
        if recipe.kind == "prefix":
            return PrefixLM()
        return Deshuffling() if recipe.kind == "deshuffle" else None

    def noise(self, recipe: NoiseRecipe) -> Noise:
        mask = self.tokenizer.mask_token_id
        if recipe.kind == "mask":
            return TokenMasking(mask, recipe.rate)
        if recipe.kind == "delete":
            return Deletion(recipe.rate)
        if recipe.kind == "infill":
            return Infilling(mask, recipe.rate, recipe.mean or 3.0, recipe.words)
        if recipe.kind == "permute":
            tokens = self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))
            return SentencePermutation(np.flatnonzero([token.endswith(FULL_STOPS) for token in tokens]))
        return Rotation()

    def sentinels(self) -> np.ndarray:
        vocabulary = self.tokenizer.get_vocab()
        found: list[int] = []
        while (token := SENTINEL.format(len(found))) in vocabulary:
            found.append(vocabulary[token])
        if len(found) < 2:
            raise RecipeError(
                f"noise 'spans' with a vocabulary that has {len(found)} sentinels",
                expected=f"{SENTINEL.format(0)}, {SENTINEL.format(1)}, ... in the vocabulary",
                where="objectives",
                next_step="train the vocabulary with vocab.sentinels=100, or take a T5 vocabulary",
            )
        return np.array(found)


def read_entries(sources: Sequence[LexiconSource]) -> list[LexiconEntry]:
    """All entries of lexicon files."""
    return [
        LexiconEntry(word, source.source_lang, translation, source.target_lang)
        for source in sources
        for word, translation in read_lexicon(source.path)
    ]


def build_mixture(
    recipes: Sequence[ObjectiveRecipe],
    tokenizer: PreTrainedTokenizerBase,
    *,
    how: str,
    seed: int,
    model: PreTrainedModel | None = None,
    languages: Sequence[str] = (),
    lexicons: Sequence[LexiconSource] = (),
    shards: ShardSet | None = None,
) -> Mixture:
    """The objectives of a recipe.

    Args:
        recipes: one section each.
        tokenizer: their vocabulary.
        how: ``"sample"`` or ``"sum"``.
        seed: of the run.
        model: what is trained; needed by denoising, replaced-token detection, span boundaries and a queue.
        languages: in stream order; needed where words are switched, or phrases have languages.
        lexicons: for objectives that switch words.
        shards: what is read; needed where tokens are chosen or replaced by how often they occur.
    """
    builder = _Builder(tokenizer, model, seed, languages, shards)
    objectives = [builder.objective(recipe) for recipe in recipes]
    entries = read_entries(lexicons) if any(recipe.switch for recipe in recipes) else []
    for recipe, objective in zip(recipes, objectives, strict=True):
        if recipe.switch:
            switch = CodeSwitching(entries, tokenizer, languages, rate=recipe.switch)
            objective.layout = replace(objective.layout, transform=switch)
    parts = None if model is None else language_parts(model)
    networks = {} if parts is None else {"languages": parts}
    return Mixture(objectives, [recipe.weight for recipe in recipes], how=how, seed=seed, networks=networks)
