"""``interlingua translate``: teach a translator, translate with it, and score translations."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, RecipeName, Verb, group
from interlingua.cli.keys import TranslateVerb

if TYPE_CHECKING:
    from interlingua.tasks.translate import Translated
    from interlingua.tasks.translation_scores import Measured

__all__ = ["app"]

app = group("Machine translation by two pretrained encoders, one of which becomes the decoder.")

Beam = Annotated[int, typer.Option(min=1, help="Hypotheses kept; 1 takes the likeliest token each time.")]
Penalty = Annotated[float, typer.Option(help="Beam: scores are divided by length to this power.")]
Longest = Annotated[int, typer.Option(min=2, help="Longest source and translation in tokens; what is cut is counted.")]


@app.command(cls=TranslateVerb)
def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; runs/NAME by default. A run of this recipe is resumed.")
    ] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Teach a translator: from pairs, or from texts alone by denoising and back-translation.

    Leaves checkpoints that plain transformers opens and generates with. Killed or stopped, the same command goes on.

    Example:
    interlingua translate train translate-bible
    interlingua translate train translate-bible train.steps=50 data.limit=500 --out runs/try
    """
    from interlingua.cli.progress import Stages
    from interlingua.cli.tables import number
    from interlingua.recipe_file import load_recipe
    from interlingua.recipe_translate import TranslateRecipe
    from interlingua.translate import train_translator

    plan = load_recipe(recipe, TranslateRecipe, overrides or ())
    folder = out or Path("runs") / plan.name
    with Stages({"translate": 1.0}) as stages:
        result = train_translator(
            plan,
            folder,
            say=stages.say,
            on_step=lambda p: stages.stage(
                "translate",
                p.step,
                p.steps,
                "  ".join(f"{name} {loss:.3f}" for name, loss in p.losses.items())
                + f"  {p.tokens_per_second:,.0f} tokens/s",
            ),
        )
    training = result.training
    words = ["interlingua", "translate", "train", recipe, *(overrides or ()), "--out", str(folder)]
    held_out = training.held_out.losses["translate"] if training.held_out else {}
    document = {
        "folder": result.folder,
        "checkpoint": training.checkpoint,
        "reason": training.reason,
        "step": training.step,
        "tokens": training.tokens,
        "seconds": round(training.seconds, 3),
        "languages": result.languages,
        "pairs": result.pairs,
        "texts": result.texts,
        "cut": result.cut,
        "blank": result.blank,
        "vocabulary": result.vocabulary,
        "held_out": held_out,
        "held_out_files": result.held_out,
    }
    if training.reason == "stopped":
        return Answer(document, [f"stopped and saved at step {training.step}. To go on:", f"  {shlex.join(words)}"])
    lines = [f"{training.reason}: {training.step:,} steps, {training.tokens:,} tokens in {training.seconds:.0f} s"]
    lines += [f"held-out loss a token of {lang}: {number(loss)}" for lang, loss in held_out.items()]
    lines += [f"checkpoint: {training.checkpoint}"]
    file = next(iter(result.held_out), None)
    to = file.stem.rpartition("-")[2] if file else ""
    lines += [f"next: interlingua translate score {folder} --pairs {file} --to {to}"] if file else []
    return Answer(document, lines)


@app.command(cls=Verb)
def run(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Run folder, checkpoint folder or hub id.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="UTF-8, a text a line; also .gz and .zst.")],
    to: Annotated[str, typer.Option(metavar="TAG", help="Language to write.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the translations to this file.")] = None,
    beam: Beam = 1,
    length_penalty: Penalty = 1.0,
    longest: Longest = 128,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Translate a file line by line; as many lines come out, an empty one for an empty one.

    Example:
    interlingua translate run runs/translate-bible english.txt --to de > german.txt
    interlingua translate run runs/translate-bible english.txt --to de --beam 4 --out german.txt
    """
    from interlingua.languages import canonical
    from interlingua.run import atomic_write

    texts = _lines(file)
    found = _translated(model, texts, to, beam=beam, length_penalty=length_penalty, longest=longest)
    document = {"model": model, "language": canonical(to), "beam": beam, "cut": found.cut,
                "unfinished": found.unfinished, "empty": found.empty, "translations": found.texts}  # fmt: skip
    if out is None:
        return Answer(document, found.texts)
    atomic_write(out, "".join(f"{text}\n" for text in found.texts))
    return Answer(document, [f"{out}: {len(found.texts):,} lines, {_counts(found)}"])


@app.command(cls=Verb)
def score(
    what: Annotated[
        str, typer.Argument(metavar="MODEL|FILE", help="A translator, or a file of translations, one a line.")
    ],
    to: Annotated[str, typer.Option(metavar="TAG", help="Language of the translations.")],
    pairs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Sources and references in one file: tsv, jsonl, tmx.")
    ] = None,
    source: Annotated[str, typer.Option("--from", metavar="TAG", help="Language of the sources (tmx).")] = "en",
    sources: Annotated[Path | None, typer.Option(metavar="FILE", help="Sources, one a line.")] = None,
    refs: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="References, one a line; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Only the first so many; 0: all.")] = 0,
    beam: Beam = 1,
    length_penalty: Penalty = 1.0,
    longest: Longest = 128,
    translations: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the translations here.")] = None,
    task: Annotated[str, typer.Option(metavar="NAME", help="Name of the task in the rows.")] = "translate",
    split: Annotated[str, typer.Option(metavar="NAME", help="Name of the part in the rows.")] = "test",
    out: Annotated[Path | None, typer.Option("--out", help="Add the rows to this scores.jsonl.")] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Score translations by sacreBLEU: BLEU, chrF and chrF++, each with its signature.

    Where the sources are known, they stand beside it as if they were translations (copy).

    Example:
    interlingua translate score runs/translate-bible --pairs runs/translate-bible/held-out/en-de.tsv --to de
    interlingua translate score german.txt --refs reference.txt --to de --json > scores.json
    """
    from interlingua.cli.tables import number, table
    from interlingua.run import atomic_write
    from interlingua.scores import append_scores
    from interlingua.tasks.translation_scores import require_sacrebleu, score_translations

    require_sacrebleu()
    if (pairs is None) == (not refs):
        raise typer.BadParameter("either --pairs, or --refs with or without --sources")
    ready = Path(what).is_file()
    if not ready and pairs is None and sources is None:
        raise typer.BadParameter("a model translates --sources, or the first side of --pairs")
    given, references = _test_set(pairs, sources, refs or [], source, to)
    end = limit or None
    references = [lines[:end] for lines in references]
    given = None if given is None else given[:end]
    notes = ""
    if ready:
        texts = _lines(Path(what))[:end]
    else:
        assert given is not None
        found = _translated(what, given, to, beam=beam, length_penalty=length_penalty, longest=longest)
        texts, notes = found.texts, _counts(found)
    if translations is not None:
        atomic_write(translations, "".join(f"{text}\n" for text in texts))
    named: list[tuple[str, Sequence[str]]] = [(what if beam == 1 or ready else f"{what} (beam {beam})", texts)]
    named += [] if given is None else [("copy", given)]
    measured: list[Measured] = []
    rows = []
    for name, lines in named:
        own = score_translations(lines, references, to, model=name, task=task, split=split)
        measured += own
        rows.append((name, *(number(one.score.value, 1) for one in own), own[0].score.n))
    if out is not None:
        append_scores(out, [one.score for one in measured])
    shown: list[object] = [table(["translations", "BLEU", "chrF", "chrF++", "sentences"], rows)]
    shown += [f"{one.score.metric}: {one.signature}" for one in measured[:3]]
    return Answer(measured, [*shown, *([notes] if notes else [])])


def _test_set(
    pairs: Path | None, sources: Path | None, refs: Sequence[Path], source: str, to: str
) -> tuple[list[str] | None, list[list[str]]]:
    """Sources, where they are known, and references."""
    from interlingua.errors import DataError
    from interlingua.text.pairs import read_pairs

    if pairs is not None:
        rows = list(read_pairs(pairs, source, to))
        return [row.source for row in rows], [[row.target for row in rows]]
    given = None if sources is None else _lines(sources)
    references = [_lines(file) for file in refs]
    for file, lines in zip(refs, references, strict=True):
        if given is not None and len(lines) != len(given):
            raise DataError(
                f"{str(sources)!r} has {len(given):,} lines, {str(file)!r} has {len(lines):,} lines",
                expected="a reference a source",
                where=str(file),
            )
    return given, references


def _lines(file: Path) -> list[str]:
    """All lines, blank ones too: the place of a line is what belongs together."""
    from interlingua.text.lines import ReadReport, nfc, numbered_lines

    return [nfc(text) for _, text in numbered_lines(file, ReadReport())]


def _translated(
    model: str, texts: Sequence[str], to: str, *, beam: int, length_penalty: float, longest: int
) -> Translated:
    from interlingua.cli.progress import Stages
    from interlingua.tasks.translate import load_translator

    translator = load_translator(model)
    with Stages() as stages:
        found = translator.translate(
            texts,
            to,
            beam=beam,
            length_penalty=length_penalty,
            longest=longest,
            progress=lambda done: stages.stage("translate", done, len(texts)),
        )
        stages.say(_counts(found))
    return found


def _counts(found: Translated) -> str:
    return (
        f"{len(found.texts):,} translated: {found.cut:,} sources cut, {found.unfinished:,} translations ended by"
        f" length, {found.empty:,} empty"
    )
