"""``interlingua probe fake`` and ``probe multilinguality``: a language beside its copy in other letters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb
from interlingua.cli.probe import Layers, Out, Texts, layer_list

__all__ = ["add_to"]

_Lang = Annotated[str, typer.Option("--lang", metavar="TAG", help="The real language.")]


def fake(
    file: Texts,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where text, vocabulary and recipe are written.")],
    lang: _Lang = "en",
    size: Annotated[int, typer.Option(min=50, help="Tokens of the real language; the fake one has as many.")] = 2048,
    reverse: Annotated[bool, typer.Option("--reverse", help="Put the fake language's words in reverse order.")] = False,
    apart: Annotated[
        bool, typer.Option("--apart", help="Half of the texts for each language: no translations.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="Texts at most, the file's first; 0: all.")] = 0,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Write a language and its fake copy for pretraining.

    All letters of the copy are others, its grammar and meaning the same; what becomes of the two is then measured.

    Example:
    interlingua probe fake package:bible.tsv.zst --out runs/english
    """
    from interlingua.cli.spoken import spoken_texts
    from interlingua.languages import canonical
    from interlingua.probe.fake import write_fake
    from interlingua.recipe import PretrainRecipe
    from interlingua.recipe_file import load_recipe, to_yaml
    from interlingua.run import atomic_write

    tag = canonical(lang)
    texts = (text for _, text in spoken_texts(file, languages=[tag], limit=limit))
    found = write_fake(texts, tag, out, size=size, reverse=reverse, apart=apart)
    tree = {
        "name": f"fake-{out.name}",
        "vocab": {"path": str(found.vocab)},
        "data": {"parallel": [str(found.text)], "pivot": tag},
        # Dufter and Schuetze's small BERT: BERT-base with all widths divided by twelve.
        "model": {"family": "bert", "hidden": 64, "layers": 12, "heads": 1, "feed_forward": 256, "positions": 512},
        "train": {"lr": 2e-3},
    }
    recipe = out / "recipe.yaml"
    atomic_write(recipe, to_yaml(load_recipe(tree, PretrainRecipe)))
    document = {"text": found.text, "vocab": found.vocab, "recipe": recipe, "texts": found.texts,
                "tokens": found.tokens, "unknown": found.unknown}  # fmt: skip
    return Answer(
        document,
        [
            f"{found.texts:,} texts a language, {found.tokens:,} tokens, {found.unknown:,} of them unknown to both",
            f"next: interlingua pretrain {recipe}",
        ],
    )


def multilinguality(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder or checkpoint of `pretrain` on `probe fake`.")],
    file: Texts,
    lang: _Lang = "en",
    layers: Layers = "0,8",
    limit: Annotated[int, typer.Option(min=2, help="Sentences at most, the file's first.")] = 2000,
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Measure how multilingual a network is that knows a language and its fake copy.

    How often do a sentence and its copy, and a token and its copy, find each other? The score is the mean of both.

    Example:
    interlingua probe multilinguality runs/fake-english package:general.tsv.zst --limit 500
    """
    from interlingua.cli.spoken import spoken_texts
    from interlingua.cli.tables import number, table
    from interlingua.languages import canonical
    from interlingua.probe.fake import fake_sides
    from interlingua.probe.multilinguality import multilinguality as measure
    from interlingua.scores import append_scores

    tag = canonical(lang)
    sides = fake_sides(run, [text for _, text in spoken_texts(file, languages=[tag], limit=limit)], tag)
    chosen = layer_list(layers) or list(range(sides[0].encoder.model.config.num_hidden_layers + 1))
    found = measure(*sides, layers=chosen)
    scores = found.scores(str(run), tag, n=(len(sides[0].sentences), len(sides[0].tokens)))
    if out is not None:
        append_scores(out, scores)
    rows = [(layer, number(found.retrieval[layer]), number(found.translation[layer])) for layer in chosen]
    return Answer(
        scores,
        [
            f"{len(sides[0].sentences):,} sentences, {len(sides[0].tokens):,} tokens:",
            table(["layer", "retrieval", "translation"], rows, left=0),
            f"multilinguality score: {number(found.score)}",
        ],
    )


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command(cls=Verb)(fake)
    app.command(cls=Verb)(multilinguality)
