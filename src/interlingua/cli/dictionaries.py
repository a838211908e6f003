"""``interlingua probe dictionaries``: words of all pairs of languages that a table of dictionaries has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb
from interlingua.cli.probe import Layers, Model, Out, Texts, layer_list

if TYPE_CHECKING:
    from interlingua.probe.words import WordTranslation

__all__ = ["add_to"]

_Pair = tuple[str, str]


def add_to(app: typer.Typer) -> None:
    """Hang the verb into its group."""
    app.command(cls=Verb)(dictionaries)


def dictionaries(
    model: Model,
    file: Texts,
    lexicon: Annotated[Path, typer.Option(metavar="FILE", help="A table with pair (en-de), src and tgt.")],
    languages: Annotated[
        str, typer.Option(metavar="TAG,TAG", help="Only pairs of these; all that the texts have, if none is named.")
    ] = "",
    layers: Layers = "",
    every_part: Annotated[
        bool, typer.Option("--every-part", help="Ask the words of all parts of a dictionary, not of its test part.")
    ] = False,
    fewest: Annotated[int, typer.Option(min=1, help="Pairs with fewer words to ask are left out, and counted.")] = 20,
    limit: Annotated[int, typer.Option(min=0, help="Texts a language at most, the file's first; 0: all.")] = 0,
    figure: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw MRR by pair and layer.")] = None,
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Translate the words of every pair of languages of a table, by layer.

    Each language is read once; otherwise as `probe words`.

    Example:
    interlingua probe dictionaries e5-small flores.tsv --lexicon panlex.tsv --layers 0,6,12
    """
    from interlingua.cli.progress import Stages
    from interlingua.cli.spoken import spoken_texts
    from interlingua.errors import LanguageError
    from interlingua.languages import canonical
    from interlingua.models.encoder import load
    from interlingua.probe.states import layer_numbers
    from interlingua.probe.static import plain_words
    from interlingua.probe.words import lexicon_parts, translate_words, word_vectors
    from interlingua.scores import append_scores
    from interlingua.text.lexicons import read_lexicon_pairs

    wanted = {canonical(tag) for tag in languages.split(",") if tag.strip()}
    tables = read_lexicon_pairs(lexicon)
    named = {lang for pair in tables for lang in pair}
    counts: Counter[str] = Counter()
    met: dict[str, set[str]] = {}
    for lang, text in spoken_texts(file, limit=limit):
        if lang in named and (not wanted or lang in wanted):
            counts[lang] += 1
            met.setdefault(lang, set()).update(plain_words(text, lang))
    pairs: list[_Pair] = []
    few: list[_Pair] = []
    for pair, entries in tables.items():
        if not set(pair) <= set(met):
            continue
        tests, _ = lexicon_parts(entries, every_part)
        there = [word for word, answers in tests.items() if word in met[pair[0]] and answers & met[pair[1]]]
        (pairs if len(there) >= fewest else few).append(pair)
    if not pairs:
        raise LanguageError(
            f"no pair of {', '.join(sorted(wanted or named))} with {fewest} words to ask that the texts have",
            expected="texts in both languages of a pair of the table", where=str(file),
            next_step="give more text, or a smaller --fewest",
        )  # fmt: skip
    if silent := sorted(wanted - set(met)):
        raise LanguageError(
            f"no text in {', '.join(silent)}, or no pair of the table with it",
            expected=f"of {', '.join(sorted(named & set(counts))) or 'the languages of the table'}",
            where="--languages",
        )
    spoken = {lang for pair in pairs for lang in pair}
    asked: dict[str, set[str]] = {lang: set() for lang in spoken}
    for pair in pairs:
        for entry in tables[pair]:
            for lang, word in zip(pair, (entry.source.lower(), entry.target.lower()), strict=True):
                # Room for words that the texts lack would be filled with nothing.
                if word in met[lang]:
                    asked[lang].add(word)
    encoder, chosen = load(model), layer_list(layers)
    numbers = layer_numbers(encoder, chosen)
    with Stages({"encode": 1.0}) as stages:
        if few:
            stages.say(f"left out, fewer than {fewest} words of theirs in the texts: {', '.join(map('-'.join, few))}")
        encoded = stages.counter("encode", sum(counts[lang] for lang in spoken))
        texts = (one for one in spoken_texts(file, limit=limit) if one[0] in spoken)
        # Sets come in another order each time; sorted words keep sums the same.
        vectors = word_vectors(encoder, texts, {lang: sorted(own) for lang, own in asked.items()}, layers=chosen,
                               progress=encoded)  # fmt: skip
    found = {
        pair: translate_words(vectors[pair[0]], vectors[pair[1]], tables[pair], model=model, layers=numbers,
                              every_part=every_part)
        for pair in pairs
    }  # fmt: skip
    scores = [score for pair, own in found.items() for one in own for score in one.scores(*pair)]
    if out is not None:
        append_scores(out, scores)
    if figure is not None:
        _draw(found, numbers, model, figure)
    return Answer(scores, _lines(found, numbers))


def _mrr(own: list[WordTranslation], layer: int, *, csls: bool) -> float:
    return next(one.metrics["mrr"] for one in own if one.layer == layer and one.model.endswith("+csls") == csls)


def _lines(found: dict[_Pair, list[WordTranslation]], layers: list[int]) -> list[object]:
    from statistics import fmean

    from interlingua.cli.tables import number, table

    def row(name: str, words: str, candidates: str, pairs: list[_Pair]) -> tuple[str, ...]:
        plain = [fmean(_mrr(found[pair], layer, csls=False) for pair in pairs) for layer in layers]
        best = max(fmean(_mrr(found[pair], layer, csls=True) for pair in pairs) for layer in layers)
        return (name, words, candidates, *map(number, plain), number(best))

    rows = [
        row("-".join(pair), f"{len(own[0].ranks):,}", f"{own[0].candidates:,}", [pair]) for pair, own in found.items()
    ]  # fmt: skip
    rows.append(row(f"mean of {len(found)}", "", "", list(found)))
    columns = ["pair", "words", "candidates", *(f"layer {layer}" for layer in layers), "CSLS, best layer"]
    return ["mean reciprocal rank, by cosine:", table(columns, rows)]


def _draw(found: dict[_Pair, list[WordTranslation]], layers: list[int], model: str, path: Path) -> None:
    from interlingua.report.plots import heatmap
    from interlingua.run import atomic_write

    figure = heatmap(
        [[_mrr(own, layer, csls=False) for layer in layers] for own in found.values()],
        ["-".join(pair) for pair in found],
        [f"layer {layer}" for layer in layers],
        measure="mean reciprocal rank",
        languages=False,
        title="Words and their translations by pair and layer",
        caption=f"{model}, by cosine; layer 0: the embeddings.",
    )
    atomic_write(path, figure.svg)
