"""From a recipe to a translator: pairs and texts -> vocabulary -> two encoders put together -> the loop -> checkpoint.

In: a :class:`~interlingua.recipe_translate.TranslateRecipe` and a run folder. Out: the run folder with
``checkpoints/``, whose folders plain ``transformers`` opens as ``EncoderDecoderModel`` and generates with, and with the
held-out pairs as files. Decisions: the loop is that of pretraining; vocabulary, network and order of the texts follow
from recipe and files, so a run that was cut off makes them again and goes on at its last checkpoint. Price: a minute of
reading before it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import RecipeError
from interlingua.recipe_file import open_run
from interlingua.recipe_translate import (
    BackTranslateRecipe,
    LearntRecipe,
    RepairRecipe,
    SupervisedRecipe,
    TranslateRecipe,
    TranslatorRecipe,
)
from interlingua.run import atomic_write

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.objectives.base import Objective, Part
    from interlingua.objectives.mix import Mixture
    from interlingua.objectives.translate import Frame, Sides
    from interlingua.tasks.translation_texts import TranslationTexts
    from interlingua.text.pairs import Pair
    from interlingua.train.heldout import HeldOut, LossOf
    from interlingua.train.loop import Progress, TrainResult

__all__ = ["TranslateResult", "build_translator", "train_translator"]

#: Keys that say how a run is computed, and not what it learns.
EXECUTION = ("train.accumulate", "train.compile", "train.device", "train.save_every", "train.tensorboard",
             "train.threads")  # fmt: skip


@dataclass(frozen=True)
class TranslateResult:
    """How a training of a translator ended.

    Attributes:
        folder: the run folder.
        training: how the loop ended; its checkpoint is the last one.
        languages: those that it writes.
        pairs: pairs learnt from, in all directions.
        texts: texts learnt from, by language.
        cut: sides that were longer than allowed.
        blank: rows without text, not used.
        vocabulary: entries that were kept.
        held_out: files of held-out pairs, which no step learnt from.
    """

    folder: Path
    training: TrainResult
    languages: list[str]
    pairs: int
    texts: dict[str, int]
    cut: int
    blank: int
    vocabulary: int
    held_out: list[Path]


class _Begun:
    """A mixture whose objectives begin at steps of their own; before any has, the first stands in."""

    def __init__(self, mixture: Mixture, begins: Sequence[int]) -> None:
        self._mixture = mixture
        self._begins = tuple(begins)
        self.objectives = mixture.objectives
        self.networks = mixture.networks

    def parts(self, t: int) -> tuple[Part, ...]:
        """What step ``t`` is made of."""
        from interlingua.objectives.base import Part

        found = tuple(part for part in self._mixture.parts(t) if t >= self._begins[part.index])
        first = min(range(len(self._begins)), key=self._begins.__getitem__)
        return found or (Part(first, self.objectives[first], 1.0),)


def check(recipe: TranslateRecipe, texts: TranslationTexts) -> None:
    """Refuse what cannot run.

    Raises:
        RecipeError: objectives without what they learn from.
    """
    kinds = {objective.type for objective in recipe.objectives}
    if strange := sorted({pair.target_lang for pair in texts.dev} - set(texts.languages)):
        raise RecipeError(f"held-out pairs into {strange[0]!r}", expected=f"one of {', '.join(texts.languages)}",
                          where="data.dev", next_step="data.directions=forward learns one way alone")  # fmt: skip
    if "translate" in kinds and not texts.pairs:
        raise RecipeError("objective 'translate' without pairs", expected="data.pairs or data.parallel",
                          where="objectives", next_step="without pairs: denoise and backtranslate")  # fmt: skip
    if kinds != {"translate"} and not texts.texts:
        raise RecipeError(f"objectives {sorted(kinds)!r} without texts", expected="data.texts, pairs or parallel files",
                          where="data")  # fmt: skip
    if "backtranslate" in kinds and len(texts.texts) < 2:
        raise RecipeError(
            f"objective 'backtranslate' with texts in {list(texts.texts)!r}",
            expected="texts in two languages or more",
            where="data.texts",
        )
    if "backtranslate" in kinds and len(kinds) == 1:
        raise RecipeError(
            "objective 'backtranslate' alone",
            expected="denoise or translate beside it: nothing else teaches the network to write",
            where="objectives",
        )


def build_translator(
    recipe: TranslatorRecipe, texts: TranslationTexts, *, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The network that a recipe describes, over the vocabulary of its texts.

    Raises:
        CheckpointError, ModelUnavailableError, RecipeError, VocabularyError: as their names say.
    """
    from interlingua.models.dropout import set_dropout
    from interlingua.models.encoder import resolve
    from interlingua.models.translator import (
        SEQ2SEQ,
        add_languages,
        family,
        open_translator,
        pair_encoders,
        take_entries,
        tie_sides,
    )
    from interlingua.vocab.trim import trim

    folder = resolve(recipe.encoder)
    ready = family(folder) in SEQ2SEQ
    if ready:
        if recipe.decoder or recipe.encoder_layers or recipe.decoder_layers:
            raise RecipeError(
                f"{recipe.encoder!r} has a decoder of its own",
                expected="no model.decoder, model.encoder_layers, model.decoder_layers",
                where="model",
            )
        model, tokenizer = open_translator(folder)
    else:
        other = resolve(recipe.decoder) if recipe.decoder else folder
        model, tokenizer = pair_encoders(
            folder, other, seed=seed, encoder_layers=recipe.encoder_layers, decoder_layers=recipe.decoder_layers
        )
    if recipe.vocabulary == "seen" and not ready:
        used: set[int] = set()
        for text in (*texts.texts.values(), [p.source for p in texts.pairs], [p.target for p in texts.pairs]):
            if text:
                used.update(i for row in tokenizer(text, add_special_tokens=False)["input_ids"] for i in row)
        tokenizer, kept_V = trim(tokenizer, used)
        take_entries(model, kept_V)
    add_languages(model, tokenizer, texts.languages)
    if not ready:
        tie_sides(model, recipe.share)
    set_dropout(model, recipe.dropout)
    _freeze(model, recipe.freeze)
    return model, tokenizer


def _freeze(model: PreTrainedModel, what: str) -> None:
    frozen = {"none": (), "embeddings": (model.get_input_embeddings(),), "encoder": (model.get_encoder(),)}[what]
    for module in frozen:
        module.requires_grad_(False)


def train_translator(
    recipe: TranslateRecipe,
    out: Path | None = None,
    *,
    say: Callable[[str], None] = lambda text: None,
    on_step: Callable[[Progress], None] | None = None,
) -> TranslateResult:
    """Run a translation recipe; a run of the same recipe in ``out`` is resumed.

    Args:
        recipe: what to do.
        out: run folder, ``runs/NAME`` by default.
        say: told in a line what a stage did.
        on_step: called after every step.

    Raises:
        RecipeError: the recipe cannot run.
        DataError, LanguageError, VocabularyError, CheckpointError, RunError, SaveError: as their names say.
    """
    from interlingua.models.translator import frame, language_ids, longest_side
    from interlingua.objectives.mix import Mixture
    from interlingua.objectives.translate import Batches, Frame
    from interlingua.tasks.translation_texts import Encoding, read_texts
    from interlingua.train.loop import train
    from interlingua.train.meters import need_tensorboard

    out = out or Path("runs") / recipe.name
    if recipe.train.tensorboard:
        need_tensorboard()
    with open_run(out, recipe, execution=EXECUTION) as run:
        alone = any(o.type != "translate" for o in recipe.objectives)
        texts = read_texts(recipe.data, alone=alone)
        check(recipe, texts)
        files = _write_held_out(out / "held-out", texts.dev)
        model, tokenizer = build_translator(recipe.model, texts, seed=recipe.seed)
        if recipe.train.row_length > longest_side(model):
            raise RecipeError(
                f"train.row_length = {recipe.train.row_length} for a network of {longest_side(model)} positions",
                expected="sides no longer than the network's positions",
                where="train.row_length",
            )
        languages = texts.languages
        spoken = [*languages, *texts.read]
        first, last = frame(tokenizer)
        starts = language_ids(tokenizer)
        around = Frame(tuple(first), last, tokenizer.pad_token_id, tuple(starts[lang] for lang in languages))
        encoding = Encoding(tokenizer, spoken, longest=recipe.train.row_length)
        pairs = encoding.pairs(texts.pairs) if any(o.type == "translate" for o in recipe.objectives) else []
        singles = [row for lang, own in texts.texts.items() for row in encoding.texts(lang, own)]
        counted = {lang: len(own) for lang, own in texts.texts.items()}
        cut, blank = encoding.cut, texts.blank + encoding.empty
        say(
            f"{len(pairs):,} pairs, {sum(counted.values()):,} texts in {', '.join(spoken)}; {blank:,} blank rows,"
            f" {cut:,} sides cut at {recipe.train.row_length} tokens; {len(tokenizer):,} entries"
        )
        objectives = [
            _objective(one, number, recipe, around, pairs, singles, tokenizer)
            for number, one in enumerate(recipe.objectives)
        ]
        mixture = Mixture(objectives, [o.weight for o in recipe.objectives], how=recipe.mix, seed=recipe.seed)
        begins = [round(getattr(o, "begin", 0.0) * recipe.train.steps) for o in recipe.objectives]
        training = train(
            model,
            tokenizer,
            Batches(spoken),
            _Begun(mixture, begins),
            recipe.train,
            seed=recipe.seed,
            run=run,
            evaluate=_held_out(encoding.pairs(texts.dev), around, spoken, model) if texts.dev else None,
            on_step=on_step,
            optimizer=_optimizer(model, recipe),
        )
    return TranslateResult(out, training, languages, len(pairs), counted, cut, blank, len(tokenizer), files)


def _objective(
    one: LearntRecipe,
    number: int,
    recipe: TranslateRecipe,
    frame: Frame,
    pairs: Sequence[Sides],
    texts: Sequence[Sides],
    tokenizer: PreTrainedTokenizerBase,
) -> Objective:
    from interlingua.objectives.noise import Deletion, LocalShuffle, Noise, TokenMasking
    from interlingua.objectives.translate import BackTranslation, Drawn, Translation

    rows = pairs if isinstance(one, SupervisedRecipe) else texts
    # A text is shown twice: damaged or translated, and as it is.
    tokens = sum(sum(map(len, row.ids)) * (1 if len(row.ids) > 1 else 2) for row in rows) / len(rows)
    size = max(1, round(recipe.train.batch_tokens / tokens))
    drawn = Drawn(rows, frame, batch_size=size, seed=recipe.seed, number=number)
    if isinstance(one, BackTranslateRecipe):
        return BackTranslation(
            drawn,
            frame,
            languages=sorted({row.languages[-1] for row in texts}),
            longest=recipe.train.row_length,
            sample=one.sample,
            smoothing=one.label_smoothing,
        )
    noise: list[Noise] = []
    if isinstance(one, RepairRecipe):
        if one.mask and tokenizer.mask_token_id is None:
            raise RecipeError(f"denoise.mask = {one.mask} with a vocabulary without a mask token", expected="mask: 0",
                              where="objectives")  # fmt: skip
        noise += [LocalShuffle(one.shuffle)] if one.shuffle else []
        noise += [Deletion(one.drop)] if one.drop else []
        noise += [TokenMasking(tokenizer.mask_token_id, one.mask)] if one.mask else []
    return Translation(drawn, frame, noise=noise, smoothing=one.label_smoothing, name=one.type)


def _optimizer(model: PreTrainedModel, recipe: TranslateRecipe) -> Any:
    """None for the loop's own; where the encoder has a rate of its own, AdamW over two groups."""
    from interlingua.train.optim import build_optimizer
    from interlingua.train.setup import trained

    train = recipe.train
    if train.encoder_lr is None:
        return None
    table = {id(parameter) for parameter in model.get_input_embeddings().parameters()}
    inside = {id(parameter) for parameter in model.get_encoder().parameters()} - table
    named = trained(model, {})
    return build_optimizer(
        [
            ([(n, p) for n, p in named if id(p) in inside], train.encoder_lr),
            ([(n, p) for n, p in named if id(p) in table], train.embedding_lr or train.lr),
            ([(n, p) for n, p in named if id(p) not in inside | table], train.lr),
        ],
        weight_decay=train.weight_decay,
        betas=(train.beta1, train.beta2),
        epsilon=train.epsilon,
    )


def _held_out(
    rows: Sequence[Sides], frame: Frame, languages: Sequence[str], model: PreTrainedModel
) -> Callable[[LossOf], HeldOut]:
    """Measures the loss a token of held-out targets, by their language."""
    import numpy as np
    import torch

    from interlingua.objectives.translate import Drawn, Translation
    from interlingua.train.heldout import HeldOut

    ordered = sorted(rows, key=lambda row: sum(map(len, row.ids)))
    drawn = Drawn(ordered, frame, batch_size=32, seed=0)
    objective = Translation(drawn, frame, name="translate")

    def measure(loss_of: LossOf) -> HeldOut:
        sums = torch.zeros(2, len(languages), dtype=torch.double)
        with torch.inference_mode():
            for start in range(0, len(ordered), drawn.batch_size):
                batch = drawn.lay_out(ordered[start : start + drawn.batch_size])
                targets = objective.prepare(batch, np.random.default_rng(0))
                loss = loss_of(objective, batch.to(model.device), targets.to(model.device))
                of_N, each_N = loss.languages_N.cpu(), loss.each_N.cpu().double()
                sums[0].index_add_(0, of_N, each_N)
                sums[1].index_add_(0, of_N, torch.ones_like(each_N))
        by = {lang: float(sums[0, i] / sums[1, i]) for i, lang in enumerate(languages) if sums[1, i]}
        return HeldOut({"translate": by})

    return measure


def _write_held_out(folder: Path, dev: Sequence[Pair]) -> list[Path]:
    """A file a direction, as `translate score --pairs` reads them."""
    by: dict[str, list[str]] = {}
    for pair in dev:
        # A text may hold what would divide columns or lines.
        cells = (" ".join(side.split()) for side in (pair.source, pair.target))
        by.setdefault(f"{pair.source_lang}-{pair.target_lang}", []).append("\t".join(cells) + "\n")
    for name, lines in by.items():
        atomic_write(folder / f"{name}.tsv", "source\ttarget\n" + "".join(lines))
    return [folder / f"{name}.tsv" for name in by]
