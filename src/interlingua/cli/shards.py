"""``interlingua shards``: tokenise a corpus once, and look at what was written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, RecipeName, Verb, group, has_colour
from interlingua.cli.keys import PretrainVerb

if TYPE_CHECKING:
    from interlingua.recipe_objectives import ObjectiveRecipe
    from interlingua.shards.inspect import Piece, ShownRow
    from interlingua.shards.read import ShardSet

__all__ = ["app"]

app = group("Write a corpus as token shards, or look into them.")

_STYLES = {"mask": "black on yellow", "random": "white on red", "kept": "black on green"}


@app.command(cls=PretrainVerb)
def write(
    recipe: RecipeName,
    out: Annotated[Path, typer.Option("--out", help="Folder for vocab/, train/ and held-out/.")],
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that tokenise.")] = 1,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Tokenise the corpus of a recipe (its sections `data` and `vocab`).

    Interrupted, the same command goes on after the last finished shard. A pretraining recipe uses them with
    data.shards=DIR vocab.path=DIR/vocab.

    Example:
    interlingua shards write bible-tiny --out runs/shards
    """
    from interlingua.cli.progress import Stages
    from interlingua.errors import RecipeError
    from interlingua.pretrain import EXECUTION, train_vocabulary_stage, write_shards_stage
    from interlingua.recipe import PretrainRecipe
    from interlingua.recipe_file import load_recipe, open_run
    from interlingua.shards.read import ShardSet

    plan = load_recipe(recipe, PretrainRecipe, overrides or ())
    if plan.data.shards is not None:
        raise RecipeError(
            f"data.shards = {str(plan.data.shards)!r}: finished shards", expected="sources of text", where="data.shards"
        )
    with Stages() as stages, open_run(out, plan, execution=EXECUTION):
        vocab = train_vocabulary_stage(plan.vocab, plan.data, out / "vocab", seed=plan.seed, say=stages.say)
        write_shards_stage(plan, vocab, out, say=stages.say, workers=workers)
    written = {split: ShardSet(out / split, verify=False) for split in ("train", "held-out") if (out / split).is_dir()}
    document = {"folder": out, "vocab": vocab, "splits": {name: shards.manifest for name, shards in written.items()}}
    return Answer(
        document,
        [
            *(line for name, shards in written.items() for line in _manifest(name, shards)),
            f"next: interlingua shards inspect {out} --rows 4",
        ],
    )


@app.command(cls=Verb)
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of shards, or a run folder.")],
    rows: Annotated[int, typer.Option(min=0, help="Rows of a batch to show; 0 shows the manifest.")] = 0,
    row_length: Annotated[int, typer.Option(min=8, help="Tokens a packed row.")] = 128,
    objective: Annotated[
        str, typer.Option(help="What lays the batch out and hides: a type, or a section as in a recipe.")
    ] = "mlm",
    step: Annotated[int, typer.Option(min=0, help="Which batch.")] = 0,
    seed: Annotated[int, typer.Option(help="Of draws and masks.")] = 0,
    split: Annotated[Literal["train", "held-out"], typer.Option(help="Which part.")] = "train",
    vocab: Annotated[Path | None, typer.Option(help="Vocabulary folder, if it does not lie beside the shards.")] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Show what stands in shards, decoded.

    The manifest as a table, or with --rows N rows of a batch: their texts, and what a mask would hide.

    Hidden tokens are coloured on a terminal; elsewhere [word] is masked, [word>other] replaced at random, and [word=]
    left as it is but asked for. For nsp and sop | parts the two texts.

    Example:
    interlingua shards write bible-tiny --out runs/shards
    interlingua shards inspect runs/shards
    interlingua shards inspect runs/shards --rows 4 --objective tlm
    interlingua shards inspect runs/shards --rows 4 --objective '{type: mlm, unit: span, rate: 0.3}'
    """
    from interlingua.shards.inspect import find_vocabulary, inspect_rows, split_folder
    from interlingua.shards.read import ShardSet

    shards = ShardSet(split_folder(folder, split))
    if rows == 0:
        return Answer(shards.manifest, _manifest(split, shards))
    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.objectives.build import build_mixture
    from interlingua.shards.format import fingerprint
    from interlingua.shards.stream import Stream

    tokenizer = open_tokenizer(vocab) if vocab else find_vocabulary(Path(shards.folder), shards.manifest["vocabulary"])
    shards = ShardSet(shards.folder, vocabulary=fingerprint(tokenizer.backend_tokenizer), verify=False)
    stream = Stream(shards, tokenizer, seed=seed, batch_tokens=rows * row_length, row_length=row_length)
    learnt = build_mixture(
        [_objective(objective)], tokenizer, how="sum", seed=seed, languages=shards.languages, shards=shards
    ).objectives[0]
    found = inspect_rows(stream, learnt, tokenizer, rows=rows, step=step, seed=seed)
    colour = has_colour()
    return Answer(found, [line for number, row in enumerate(found, 1) for line in _lines(number, row, colour)])


def _objective(section: str) -> ObjectiveRecipe:
    """An objective as a recipe has it; those that add networks of their own to masked LM are shown as masked LM."""
    from interlingua.errors import RecipeError
    from interlingua.recipe import PretrainRecipe
    from interlingua.recipe_file import load_recipe
    from interlingua.recipe_objectives import (
        DenoiseRecipe,
        MaskingRecipe,
        MLMRecipe,
        RTDRecipe,
        SpanBoundaryRecipe,
    )

    word = section if section.startswith("{") else f"{{type: {section}}}"
    asked = load_recipe({}, PretrainRecipe, [f"objectives=[{word}]"]).objectives[0]
    if isinstance(asked, DenoiseRecipe):
        raise RecipeError(
            "denoising reads a text and writes another, which rows cannot show",
            expected="an objective that hides tokens or ranks texts, such as mlm",
            where="--objective",
        )
    if isinstance(asked, (SpanBoundaryRecipe, RTDRecipe)):
        return MLMRecipe(**{name: getattr(asked, name) for name in MaskingRecipe.model_fields})
    return asked


def _manifest(split: str, shards: ShardSet) -> list[Any]:
    """What the shards hold, as a line and a table."""
    from interlingua.cli.tables import language_names, number, table

    manifest = shards.manifest
    rows = [
        (
            language_names(lang)[0], lang, f"{count['units']:,}", f"{shards.count(lang, 'linked'):,}",
            f"{count['tokens']:,}", f"{count['characters']:,}", number(count["tokens"] / max(1, count["units"]), 1),
            number(count["characters"] / max(1, count["tokens"]), 2), language_names(lang)[1],
        )
        for lang, count in manifest["per_language"].items()
    ]  # fmt: skip
    columns = ["language", "tag", "units", "translated", "tokens", "characters", "tokens/unit", "characters/token", ""]
    title = (
        f"{split}: {manifest['units']:,} units, {manifest['tokens']:,} tokens in {len(manifest['shards'])} shard(s), "
        f"vocabulary {manifest['vocabulary']}, units of at most {manifest['unit_tokens']} tokens"
    )
    return [title, table(columns, rows, left=2, spare=[5, 1])]


def _lines(number: int, row: ShownRow, colour: bool) -> Iterable[Any]:
    """A row as lines: a heading, then a line a text and language."""
    from rich.text import Text

    yield f"row {number}: {len(row.texts)} texts, {row.used} of {row.length} tokens used"
    for text in row.texts:
        for place, lang in enumerate(dict.fromkeys(piece.language for piece in text.pieces)):
            head = f"  {text.number:>4}" if place == 0 else "      "
            line = Text(f"{head}  {lang:<8} ", no_wrap=False)
            side = 0
            for piece in text.pieces:
                if piece.language == lang:
                    if piece.side != side:
                        line.append(" | ", style="bold")
                        side = piece.side
                    _add(line, piece, colour)
            if text.in_order is not None:
                line.append("  (in order)" if text.in_order else "  (not in order)", style="dim")
            if text.translations and place == 0:
                line.append(f"  (translates {', '.join(map(str, text.translations))})", style="dim")
            yield line if colour else line.plain


def _add(line: Any, piece: Piece, colour: bool) -> None:
    if not piece.hidden:
        line.append(piece.text)
        return
    # A token of nothing but a space is hidden too, and must be seen to be.
    inner = piece.text.lstrip() or "\u2581"
    line.append(" " if piece.text[:1].isspace() else "")
    mark = {"mask": "", "random": f">{piece.replacement}", "kept": "="}[piece.hidden]
    line.append(f"{inner}{mark}" if colour else f"[{inner}{mark}]", style=_STYLES[piece.hidden])
