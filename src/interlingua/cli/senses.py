"""``interlingua probe senses``: does a word's vector tell its senses apart?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb
from interlingua.cli.probe import Layers, Model, Out, layer_list

if TYPE_CHECKING:
    from interlingua.probe.senses import WordSenses

__all__ = ["add_to"]

# Names beside the cells lie on each other where there are more.
_DRAWN = 60


def add_to(app: typer.Typer) -> None:
    """Hang the verb into its group."""
    app.command(cls=Verb)(senses)


def senses(
    model: Model,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Sentences: lang, word, sense, text in columns; or sense<TAB>sentence."),
    ],
    word: Annotated[str | None, typer.Option(help="The word; of a file with several, only this one.")] = None,
    lang: Annotated[
        str | None, typer.Option(metavar="TAG", help="Its language; of a file with several, only this one.")
    ] = None,
    layers: Layers = "",
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Draw one word's cosines at the layer with the highest silhouette."),
    ] = None,
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Tell a word's senses apart, by layer.

    Vectors of one word in many sentences: are those of the same sense nearer to each other?

    Example:
    interlingua probe senses e5-small package:two.senses.tsv
    interlingua probe senses e5-small apple.tsv --word apple --lang en --figure apple.svg
    """
    from interlingua.cli.progress import Stages
    from interlingua.data import resolve
    from interlingua.models.encoder import load
    from interlingua.probe.senses import word_senses
    from interlingua.scores import append_scores
    from interlingua.text.senses import read_senses

    examples = list(read_senses(resolve(file), word=word, lang=lang))
    words = len({(one.lang, one.word) for one in examples})
    if figure is not None and words > 1:
        raise typer.BadParameter(f"--figure draws one word, and the file has {words}; choose with --word and --lang")
    wanted = layer_list(layers)
    with Stages({"encode": 1.0}) as stages:
        encoded = stages.counter("encode", len(examples))
        found = word_senses(
            load(model), examples, layers=wanted, progress=encoded,
            left_out=lambda what: stages.say(f"left out, as each of two senses needs two sentences: {what}"),
        )  # fmt: skip
        for one in found:
            stages.say(f"{one.lang} {one.word}: {len(one.senses)} sentences, {one.without} without the word,"
                       f" {one.cut} with it behind the longest text")  # fmt: skip
    scores = [score for one in found for score in one.scores(model)]
    if figure is not None:
        _draw(found[0], model, figure)
    if out is not None:
        append_scores(out, scores)
    return Answer(scores, [line for one in found for line in _lines(one)])


def _lines(one: WordSenses) -> Sequence[object]:
    from interlingua.cli.tables import number, table

    rows = [
        ("static" if own.layer is None else own.layer,
         *(number(value) for value in (own.silhouette, own.nearest_same, own.same, own.other)))
        for own in one.layers
    ]  # fmt: skip
    counts = ", ".join(f"{name} {count}" for name, count in Counter(one.senses).items())
    columns = ["layer", "silhouette", "nearest same", "cosine, same sense", "another sense"]
    return [f"{one.lang} {one.word} ({counts}); nearest same by chance {number(one.chance)}:",
            table(columns, rows, left=0)]  # fmt: skip


def _draw(one: WordSenses, model: str, path: Path) -> None:
    from interlingua.report.plots import heatmap
    from interlingua.run import atomic_write

    if len(one.senses) > _DRAWN:
        raise typer.BadParameter(f"--figure draws {_DRAWN} sentences at most, and {one.word!r} has {len(one.senses)}")
    best = one.best
    layer = "static vectors" if best.layer is None else f"layer {best.layer}"
    names = [f"{sense} {one.senses[: i + 1].count(sense)}" for i, sense in enumerate(one.senses)]
    figure = heatmap(
        best.cosines.tolist(),
        names,
        names,
        measure="cosine",
        languages=False,
        title=f"{one.word} in {len(names)} sentences",
        caption=f"{model}, {layer}; silhouette {best.silhouette:.3f}.",
    )
    atomic_write(path, figure.svg)
