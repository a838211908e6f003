"""All verbs under one command, in the order in which data travel."""

from __future__ import annotations

from typing import Annotated

import typer

from interlingua.cli import (
    bench,
    compare,
    continual,
    corpus,
    dictionaries,
    doctor,
    evaluate,
    fake,
    finetune,
    forecast,
    overlap,
    pretrain,
    probe,
    recipe,
    report,
    retrieve,
    senses,
    sentences,
    shards,
    steer,
    study,
    symbols,
    tour,
    translate,
    vocab,
    watch,
)
from interlingua.cli.console import InOrder, group

__all__ = ["app"]

app = group(
    """Cross-lingual encoders: one model, one shared vocabulary, many languages.

    From raw text in many languages to a model that is taught a task in one of them and does it in the others.
    """,
    cls=InOrder,
)


def _version(asked: bool) -> None:
    if asked:
        from interlingua import __version__

        typer.echo(f"interlingua {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


tour.add_to(app)
app.add_typer(corpus.app, name="corpus")
app.add_typer(vocab.app, name="vocab")
app.add_typer(shards.app, name="shards")
pretrain.add_to(app)
watch.add_to(app)
finetune.add_to(app)
continual.add_to(app)
evaluate.add_to(app)
compare.add_to(app)
forecast.add_to(app)
sentences.add_to(probe.app)
senses.add_to(probe.app)
overlap.add_to(probe.app)
symbols.add_to(probe.app)
fake.add_to(probe.app)
steer.add_to(probe.app)
dictionaries.add_to(probe.app)
app.add_typer(probe.app, name="probe")
app.add_typer(retrieve.app, name="retrieve")
app.add_typer(translate.app, name="translate")
report.add_to(app)
app.add_typer(study.app, name="study")
app.add_typer(recipe.app, name="recipe")
app.add_typer(bench.app, name="bench")
doctor.add_to(app)
