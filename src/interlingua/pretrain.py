"""From a recipe to an encoder: text -> vocabulary -> shards -> batches -> checkpoint.

In: a :class:`~interlingua.recipe.PretrainRecipe` and a run folder. Out: the run folder with ``vocab/``, ``shards/``,
``checkpoints/``, and ``adapters/LANG`` where the recipe names an encoder to adapt. Decision: each stage leaves a
finished folder and is skipped when it is there, so a killed run goes on where it was with the same command.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from interlingua.corpus import corpus_items, corpus_languages, sample_corpus
from interlingua.pretrain_check import check_pretrain
from interlingua.recipe import (
    DataRecipe,
    PhaseRecipe,
    PretrainRecipe,
    VocabRecipe,
)
from interlingua.recipe_file import open_run
from interlingua.recipe_objectives import (
    ContrastRecipe,
    SimCSERecipe,
)
from interlingua.run import Run, atomic_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.models.language_adapters import LanguageAdapters
    from interlingua.shards.read import ShardSet
    from interlingua.shards.stream import PhasedStream, Stream
    from interlingua.train.heldout import HeldOut, LossOf
    from interlingua.train.loop import Progress, TrainResult

__all__ = ["EXECUTION", "PretrainResult", "pretrain", "train_vocabulary_stage", "write_shards_stage"]

Say = Callable[[str], None]

#: Keys that say how a run is computed, not what is learnt: a resumed run may have others. ``train.evaluate_every`` is
#: none of them, since it decides which checkpoint is the best and when the patience is over.
EXECUTION = (
    "data.cache_gb",
    "train.accumulate",
    "train.attention",
    "train.compile",
    "train.device",
    "train.parallel",
    "train.save_every",
    "train.tensorboard",
    "train.threads",
)
#: Texts and characters by language of the corpus that a vocabulary was trained on; lies beside it.
CORPUS = "corpus.json"


@dataclass(frozen=True)
class PretrainResult:
    """A pretraining run's outcome.

    Attributes:
        folder: the run folder.
        checkpoint: its last checkpoint.
        training: how the loop ended.
        languages: canonical tags in stream order.
        drawn: texts drawn by this process, per language.
        cut_tokens: tokens cut because a text was longer than a row.
        adapters: folder of each language's adapter, where the recipe adapts an encoder.
    """

    folder: Path
    checkpoint: Path
    training: TrainResult
    languages: list[str]
    drawn: dict[str, int]
    cut_tokens: int
    adapters: dict[str, Path] = field(default_factory=dict)


def train_vocabulary_stage(recipe: VocabRecipe, data: DataRecipe, folder: Path, *, seed: int, say: Say) -> Path:
    """Train the vocabulary into ``folder``, unless it is there or the recipe names a finished one.

    What the pass over the corpus counted lies beside it in ``corpus.json``.
    """
    from interlingua.vocab.train import save_vocabulary, train_vocabulary

    if recipe.path is not None:
        return recipe.path
    if (folder / "tokenizer.json").exists():
        return folder
    sample = sample_corpus(data, characters=recipe.sample_characters, exponent=recipe.exponent, seed=seed)
    total = sum(sample.characters.values())
    say(f"read {sum(sample.counts.values()):,} texts, {total / 1e6:.1f} M characters, {len(sample.counts)} languages")
    tokenizer = train_vocabulary(
        sample.texts,
        kind=recipe.kind,
        size=recipe.size,
        exponent=recipe.exponent,
        cap=recipe.cap,
        sample_characters=recipe.sample_characters,
        byte_fallback=recipe.byte_fallback,
        lowercase=recipe.lowercase,
        seed=seed,
        sizes=sample.characters,
    )
    counted = {lang: {"texts": sample.counts[lang], "characters": sample.characters[lang]} for lang in sample.counts}
    with atomic_folder(folder) as temporary:
        save_vocabulary(tokenizer, temporary, sentinels=recipe.sentinels)
        (temporary / CORPUS).write_text(json.dumps(counted, indent=1), encoding="utf-8")
    say(f"vocabulary: {tokenizer.get_vocab_size():,} entries, {recipe.kind}")
    return folder


def write_shards_stage(recipe: PretrainRecipe, vocab: Path, folder: Path, *, say: Say, workers: int = 1) -> Path | str:
    """Write the shards into ``folder``, unless they are there or the recipe names finished ones.

    Args:
        recipe: its text, and how it is cut.
        vocab: what :func:`train_vocabulary_stage` returned.
        folder: of ``train/`` and ``held-out/``.
        say: told in a line what was written.
        workers: processes.
    """
    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.shards.read import MANIFEST
    from interlingua.shards.write import write_shards

    if recipe.data.shards is not None:
        return recipe.data.shards
    if (folder / "train" / MANIFEST).exists():
        return folder
    report = write_shards(
        folder,
        corpus_items(recipe.data),
        open_tokenizer(vocab),
        _languages(recipe, vocab),
        unit_tokens=recipe.data.unit_tokens,
        held_out=recipe.data.held_out,
        workers=workers,
    )
    say(
        f"shards: {report.units['train']:,} units, {report.tokens['train'] / 1e6:.2f} M tokens"
        f" (held out: {report.units.get('held-out', 0):,} units; {report.split_documents:,} documents split,"
        f" {report.cut_tokens:,} tokens of long translations cut, {report.empty} empty)"
    )
    return folder


def _languages(recipe: PretrainRecipe, vocab: Path) -> list[str]:
    """Languages of the corpus: those that the pass for its vocabulary counted, where there was one."""
    counted = vocab / CORPUS
    if recipe.vocab.path is None and counted.is_file():
        return sorted(json.loads(counted.read_text(encoding="utf-8")))
    return corpus_languages(recipe.data)


def _stream(
    recipe: PretrainRecipe, shards: ShardSet, tokenizer: PreTrainedTokenizerBase, phase: PhaseRecipe, *, seed: int
) -> Stream:
    from interlingua.shards.stream import Stream

    return Stream(
        shards,
        tokenizer,
        seed=seed,
        batch_tokens=recipe.train.batch_tokens,
        row_length=recipe.train.row_length,
        exponent=phase.exponent,
        cap=phase.cap,
        weights=phase.weights,
        only=phase.languages or None,
        pivot=recipe.data.pivot,
        window=recipe.data.window,
    )


def _phases(recipe: PretrainRecipe, shards: ShardSet, tokenizer: PreTrainedTokenizerBase) -> PhasedStream:
    """One stream a phase; the first has the run's own seed, the others draw in orders of their own."""
    from interlingua.shards.sampling import keyed_generator
    from interlingua.shards.stream import PhasedStream

    phases = recipe.data.phases or (_all_along(recipe),)
    streams = [
        _stream(recipe, shards, tokenizer, phase, seed=recipe.seed if number == 0 else
                int(keyed_generator(recipe.seed, 7, number).integers(2**31)))
        for number, phase in enumerate(phases)
    ]  # fmt: skip
    return PhasedStream(streams, [phase.begin for phase in phases], steps=recipe.train.steps)


def _all_along(recipe: PretrainRecipe) -> PhaseRecipe:
    """The proportions of a recipe without phases."""
    data = recipe.data
    return PhaseRecipe(exponent=data.exponent, cap=data.cap, weights=data.weights)


@contextlib.contextmanager
def _joined_run(recipe: PretrainRecipe, out: Path) -> Iterator[Run]:
    """The run folder, locked by the first rank."""
    from interlingua.objectives.ranks import rank_and_world
    from interlingua.train.dist import all_fine

    with contextlib.ExitStack() as open_runs:
        with all_fine():
            run = open_runs.enter_context(open_run(out, recipe, execution=EXECUTION, leads=rank_and_world()[0] == 0))
        yield run


def _stages(
    recipe: PretrainRecipe, encoder: Path | None, out: Path, *, say: Say, workers: int
) -> tuple[Path, Path | str]:
    """Folders of the vocabulary (an adapted encoder brings its own) and the shards, made by the first rank."""
    from interlingua.train.dist import first_rank

    if encoder is not None:
        recipe = recipe.model_copy(update={"vocab": VocabRecipe(path=encoder)})
    vocab = recipe.vocab.path or out / "vocab"

    def make() -> None:
        train_vocabulary_stage(recipe.vocab, recipe.data, vocab, seed=recipe.seed, say=say)
        write_shards_stage(recipe, vocab, out / "shards", say=say, workers=workers)

    first_rank(make)
    return vocab, recipe.data.shards or out / "shards"


def _network(recipe: PretrainRecipe, tokenizer: PreTrainedTokenizerBase, shards: ShardSet) -> PreTrainedModel:
    """A new network for the recipe's objectives."""
    from interlingua.models.build import build_model, separate_languages, set_output_prior
    from interlingua.objectives.build import common_head

    head = common_head([o for o in recipe.objectives if o.weight], recipe.model.family)
    model = build_model(recipe.model, tokenizer, shards.languages, head=head, seed=recipe.seed)
    own = recipe.data.pivot if recipe.data.pivot in shards.languages else shards.languages[0]
    separate_languages(model, recipe.model, tokenizer, shards.languages, head=head, own=own, seed=recipe.seed)
    set_output_prior(model, shards.token_counts(len(tokenizer)))
    return model


def _adapters(recipe: PretrainRecipe, encoder: Path, shards: ShardSet, vocabulary: int) -> LanguageAdapters:
    """The encoder with a new adapter for every language of the shards that is drawn."""
    from interlingua.models.language_adapters import with_language_adapters

    adapt = recipe.adapt
    drawn = {
        lang
        for phase in recipe.data.phases or (_all_along(recipe),)
        for lang in phase.languages or shards.languages
        if not phase.weights or phase.weights.get(lang)
    }
    return with_language_adapters(
        encoder,
        str(adapt.encoder),
        shards.languages,
        adapted=drawn,
        reduction=adapt.reduction,
        invertible=adapt.invertible,
        seed=recipe.seed,
        counts=shards.token_counts(vocabulary),
    )


def pretrain(
    recipe: PretrainRecipe,
    out: Path | None = None,
    *,
    say: Say = lambda text: None,
    on_step: Callable[[Progress], None] | None = None,
    workers: int = 1,
) -> PretrainResult:
    """Run a pretraining recipe; in each of the processes that ``torchrun`` started, where it did.

    Args:
        recipe: what to do.
        out: run folder, ``runs/NAME`` by default; a run there of the same recipe, :data:`EXECUTION` apart, is resumed.
        say: told in a line what a stage did.
        on_step: called after every step.
        workers: processes that write shards.

    Raises:
        RecipeError: the recipe cannot run.
        DataError, LanguageError, VocabularyError, ShardError, RunError, SaveError: as their names say.
    """
    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.models.encoder import resolve
    from interlingua.objectives.build import build_mixture
    from interlingua.objectives.ranks import rank_and_world
    from interlingua.shards.files import joined
    from interlingua.shards.format import fingerprint
    from interlingua.shards.read import ShardSet, has_shards
    from interlingua.train.dist import of_first_rank, pick_device, process_group
    from interlingua.train.heldout import held_out_losses
    from interlingua.train.loop import train

    check_pretrain(recipe)
    out = out or Path("runs") / recipe.name
    encoder = resolve(recipe.adapt.encoder) if recipe.adapt.encoder else None
    with process_group(pick_device(recipe.train.device)), _joined_run(recipe, out) as run:
        vocab, folder = _stages(recipe, encoder, out, say=say, workers=workers)
        tokenizer = open_tokenizer(vocab)
        vocabulary = fingerprint(tokenizer.backend_tokenizer)
        room = round(recipe.data.cache_gb * 1e9)
        shards = ShardSet(joined(folder, "train"), vocabulary=vocabulary, room=room)
        stream = _phases(recipe, shards, tokenizer)
        adapters = _adapters(recipe, encoder, shards, len(tokenizer)) if encoder else None
        model = adapters.model if adapters else _network(recipe, tokenizer, shards)
        mixture = build_mixture(
            recipe.objectives,
            tokenizer,
            how=recipe.mix,
            seed=recipe.seed,
            model=model,
            languages=shards.languages,
            lexicons=recipe.data.lexicons,
            shards=shards,
        )
        for objective in mixture.objectives:
            stream.plan(objective.layout)  # refuses before the first step what has no data
        held_out_folder = joined(folder, "held-out")
        measurable = of_first_rank(has_shards(held_out_folder))
        held_out_stream = (
            _stream(
                recipe,
                ShardSet(held_out_folder, vocabulary=vocabulary, room=room),
                tokenizer,
                _all_along(recipe),
                seed=recipe.seed,
            )
            if measurable
            else None
        )

        measured = [o for o in mixture.objectives if held_out_stream and held_out_stream.can(o.layout)]
        for name in sorted({o.name for o in mixture.objectives} - {o.name for o in measured}):
            say(f"no held-out loss of {name}: nothing it could be measured on is held out (data.held_out)")

        def evaluate(loss_of: LossOf) -> HeldOut:
            assert held_out_stream is not None
            return held_out_losses(loss_of, model.device, held_out_stream, measured, seed=recipe.seed)

        # Which vector is a text's: whoever tunes or probes the checkpoint asks its config.
        ranking = [o for o in recipe.objectives if isinstance(o, (ContrastRecipe, SimCSERecipe)) and o.weight]
        if ranking:
            model.config.interlingua_pooling = ranking[0].pooling
        parameters = sum(p.numel() for p in model.parameters())
        say(f"network: {type(model).__name__}, {parameters / 1e6:.1f} M parameters, {len(shards.languages)} languages")
        if adapters:
            learns = sum(p.numel() for p in model.parameters() if p.requires_grad)
            head = "and a new LM head" if adapters.new_head else "under the encoder's LM head"
            say(f"learns: an adapter a language {head}, {learns / 1e6:.1f} M parameters")
        result = train(
            model,
            tokenizer,
            stream,
            mixture,
            recipe.train,
            seed=recipe.seed,
            run=run,
            evaluate=evaluate if measured else None,
            on_step=on_step,
        )
        assert result.checkpoint is not None  # a run folder was given
        written = {}
        if adapters and result.reason != "stopped" and rank_and_world()[0] == 0:
            written = adapters.write(out / "adapters")
        return PretrainResult(
            out, result.checkpoint, result, shards.languages, stream.drawn, stream.cut_tokens, written
        )
