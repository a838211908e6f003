"""What a pretraining recipe must have to run, said before anything runs.

In: a :class:`~interlingua.recipe.PretrainRecipe`. Out: nothing, or an error that names the key and what to set.
Decision: each part of the recipe is looked at beside the parts it depends on, since every part alone was checked when
it was read. Price: rules of an objective stand here, not with the objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interlingua.corpus import LOOK, holds_documents
from interlingua.errors import RecipeError
from interlingua.recipe import ModelRecipe, PretrainRecipe, TrainRecipe
from interlingua.recipe_objectives import (
    AlignRecipe,
    CLMRecipe,
    ContrastRecipe,
    DenoiseRecipe,
    MaskingRecipe,
    MLMRecipe,
    NSPRecipe,
    ObjectiveRecipe,
    SimCSERecipe,
    SOPRecipe,
    TLMRecipe,
)
from interlingua.text.lines import check_file

__all__ = ["check_pretrain"]


def check_pretrain(recipe: PretrainRecipe) -> None:
    """Refuse what cannot run, before anything does.

    Raises:
        RecipeError: no text; shards without their vocabulary; objectives that need translations, lexicons, dropout,
            sentinels or another head than there is; a network that cannot be built; a row longer than the network's
            positions; accumulation with in-batch negatives.
    """
    from interlingua.train.meters import need_tensorboard

    learnt = [objective for objective in recipe.objectives if objective.weight]
    _check_text(recipe, learnt)
    if recipe.train.tensorboard:
        need_tensorboard()
    if recipe.adapt.encoder:
        _check_adapt(recipe)
    else:
        _check_network(recipe.model, recipe.train, learnt)
    _check_batch(recipe.model, recipe.train, learnt)
    for objective in learnt:
        _check_objective(objective, recipe)


def _check_text(recipe: PretrainRecipe, learnt: Sequence[ObjectiveRecipe]) -> None:
    """There is text, with its vocabulary, and of the kind that the objectives learn from."""
    from interlingua.shards.files import joined

    data, model = recipe.data, recipe.model
    if not (data.shards or data.texts or data.pairs or data.parallel):
        raise RecipeError("a recipe without text", expected="data.texts, data.pairs, data.parallel or data.shards",
                          where="data")  # fmt: skip
    if data.shards and not recipe.vocab.path and not recipe.adapt.encoder:
        raise RecipeError(
            f"data.shards = {str(data.shards)!r} without a vocabulary",
            expected="vocab.path: the vocabulary that the shards were written with",
            where="vocab.path",
            next_step="`interlingua shards write` leaves it in the same folder: "
            f"vocab.path={joined(data.shards, 'vocab')}",
        )
    learnt = [o for o in recipe.objectives if o.weight]
    needs_pairs = [o.type for o in learnt if isinstance(o, (TLMRecipe, ContrastRecipe))]
    if needs_pairs and not (data.shards or data.pairs or data.parallel):
        raise RecipeError(
            f"objective {needs_pairs[0]!r} without translations",
            expected="data.pairs or data.parallel",
            where="objectives",
            next_step="add translation pairs, or use mlm alone",
        )
    ordered = [o.type for o in learnt if isinstance(o, (NSPRecipe, SOPRecipe))]
    if ordered and not (_following(data.shards) if data.shards else holds_documents(data)):
        raise RecipeError(
            f"objective {ordered[0]!r} on single texts: of the first {LOOK:,} of each source none goes on with another",
            expected="documents of more than one text",
            where="data",
            next_step="name documents in the input (a field `document`, or paragraphs: true for txt), or make "
            "data.unit_tokens smaller, so that long texts are divided",
        )
    if ordered and model.language_embeddings:
        raise RecipeError(
            f"objective {ordered[0]!r} with model.language_embeddings",
            expected="one of the two: both need token types",
            where="model.language_embeddings",
        )


def _check_network(model: ModelRecipe, train: TrainRecipe, learnt: Sequence[ObjectiveRecipe]) -> None:
    """The network can be built, with the objectives' one head, and rows fit into it."""
    from interlingua.models.build import check_model
    from interlingua.objectives.build import common_head

    if train.row_length > model.positions:
        raise RecipeError(
            f"train.row_length = {train.row_length} with model.positions = {model.positions}",
            expected="rows no longer than the network's positions",
            where="train.row_length",
        )
    check_model(model, [common_head(learnt, model.family)])
    if model.vectors is not None:
        check_file(model.vectors)


def _check_batch(model: ModelRecipe, train: TrainRecipe, learnt: Sequence[ObjectiveRecipe]) -> None:
    """The objectives bear how batches are run: in parts, without dropout, through parts of each language."""
    whole = [o.type for o in learnt if isinstance(o, (AlignRecipe, ContrastRecipe, SimCSERecipe))]
    if train.accumulate > 1 and whole:
        raise RecipeError(
            f"train.accumulate = {train.accumulate} with objective {whole[0]!r}",
            expected="1: its negatives are the whole batch's",
            where="train.accumulate",
            next_step="set train.accumulate=1, or make train.batch_tokens smaller",
        )
    if any(isinstance(o, SimCSERecipe) for o in learnt) and not model.dropout:
        raise RecipeError(
            "objective 'simcse' without dropout",
            expected="model.dropout above 0: two runs of a text must differ",
            where="model.dropout",
            next_step="set model.dropout=0.1",
        )
    if model.separates:
        able = (MLMRecipe, TLMRecipe, NSPRecipe, SOPRecipe, ContrastRecipe, AlignRecipe, SimCSERecipe)
        for objective in learnt:
            queued = isinstance(objective, ContrastRecipe) and objective.queue
            if not isinstance(objective, able) or queued:
                raise RecipeError(
                    f"objective {objective.type!r}{' with a queue' if queued else ''} with parts that languages do not "
                    "share",
                    expected="mlm, tlm, nsp, sop, contrast without a queue, align or simcse",
                    where="objectives",
                    next_step="leave model.separate_* out, or change the objective",
                )


def _check_objective(objective: ObjectiveRecipe, recipe: PretrainRecipe) -> None:
    """What an objective asks for is there."""
    from interlingua.objectives.phrases import read_phrases

    data, model, train = recipe.data, recipe.model, recipe.train
    if isinstance(objective, AlignRecipe):
        for one in objective.pairs:
            for path in filter(None, (one.path, one.links)):
                check_file(path)
    if objective.switch and isinstance(objective, AlignRecipe):
        raise RecipeError(
            f"switch = {objective.switch:g} for objective 'align'",
            expected="none: words that change places lose their links",
            where="objectives",
        )
    if objective.switch and not data.lexicons:
        raise RecipeError(
            f"switch = {objective.switch:g} for objective {objective.type!r} without lexicons",
            expected="data.lexicons: [{path, source_lang, target_lang}]",
            where="data.lexicons",
        )
    if isinstance(objective, MaskingRecipe):
        if objective.lexicon is not None:
            next(iter(read_phrases(objective.lexicon)))  # refuses a missing or empty file
        if objective.neighbours is not None:
            check_file(objective.neighbours)
    if isinstance(objective, CLMRecipe) and objective.context:
        if objective.context >= train.row_length:
            raise RecipeError(
                f"context = {objective.context} in rows of {train.row_length} tokens",
                expected="a context shorter than train.row_length",
                where="objectives",
            )
        if model.family == "xlm":
            raise RecipeError(
                f"context = {objective.context} for xlm, which keeps no keys and values",
                expected="gpt2 or bert",
                where="model.family",
            )
    spans = isinstance(objective, DenoiseRecipe) and objective.noise[0].kind == "spans"
    if spans and recipe.vocab.path is None and not recipe.vocab.sentinels:
        raise RecipeError(
            "noise 'spans' with a vocabulary without sentinels",
            expected="tokens that stand for the hidden spans, as in T5",
            where="vocab.sentinels",
            next_step="set vocab.sentinels=100",
        )


def _check_adapt(recipe: PretrainRecipe) -> None:
    """Refuse what adapters of languages cannot learn by."""
    for objective in recipe.objectives:
        if not isinstance(objective, MLMRecipe):
            raise RecipeError(f"objective {objective.type!r} for adapters of languages", expected="mlm",
                              where="objectives")  # fmt: skip
    if recipe.vocab.path is not None:
        raise RecipeError(f"vocab.path = {str(recipe.vocab.path)!r} with adapt.encoder",
                          expected="no other vocabulary than the encoder's", where="vocab.path")  # fmt: skip
    if recipe.train.parallel == "shard":
        raise RecipeError("train.parallel = 'shard' with adapt.encoder", expected="replicate",
                          where="train.parallel")  # fmt: skip


def _following(shards: Path | str) -> bool:
    """Whether finished shards hold units that go on with the unit before them."""
    from interlingua.shards.files import joined
    from interlingua.shards.read import ShardSet

    found = ShardSet(joined(shards, "train"), verify=False)
    return any(found.count(lang, "following") for lang in found.languages)
