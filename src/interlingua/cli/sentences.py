"""``interlingua probe retrieve``: translations found by layer, pooling and what is done to the vectors."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb
from interlingua.cli.probe import Model, Out, layer_list

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.probe.alignment import Retrieval

__all__ = ["add_to", "say_cut", "word_list"]


def add_to(app: typer.Typer) -> None:
    """Give the verbs of `probe` this one."""
    app.command("retrieve", cls=Verb)(_retrieve)


def _retrieve(
    model: Model,
    parallel: Annotated[
        str, typer.Option(metavar="FILE.tsv[.zst]", help="Multi-parallel text: id, then a column a language.")
    ],
    source: Annotated[str, typer.Option(help="Language searched from and to.")] = "en",
    layers: Annotated[
        str,
        typer.Option(
            "--layers", metavar="N,...|all", help="Layers, 0 the embeddings, -1 the last; the last by default."
        ),
    ] = "",
    pooling: Annotated[str, typer.Option(metavar="NAME,...", help="mean, first, max.")] = "mean",
    vectors: Annotated[
        str,
        typer.Option(metavar="NAME,...", help="raw, centred, projected (by half of the rows), lir, lsar."),
    ] = "raw",
    scoring: Annotated[str, typer.Option(metavar="NAME,...", help="cosine, csls, distance, ratio.")] = "cosine",
    neighbours: Annotated[
        int | None, typer.Option(min=1, help="Neighbours a margin looks at; csls 10, distance and ratio 4 by default.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, help="Candidates at most, rows with the most languages first; 0: all.")
    ] = 500,
    figure: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw P@1 by layer.")] = None,
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Find translations by their vectors, by layer.

    How often is the sentence nearest in the other language the translation (P@1)?

    Example:
    interlingua probe retrieve e5-small --parallel package:general.tsv.zst --limit 200
    interlingua probe retrieve e5-small --parallel flores.tsv --layers all --vectors raw,centred --figure layers.svg
    """
    from interlingua.cli.parallel import by_language, parallel_rows
    from interlingua.cli.progress import Stages
    from interlingua.languages import canonical
    from interlingua.models.encoder import load
    from interlingua.probe.retrieval import retrieve
    from interlingua.probe.states import layer_numbers
    from interlingua.scores import append_scores

    pivot = canonical(source)
    named = {"--pooling": word_list(pooling), "--vectors": word_list(vectors), "--scoring": word_list(scoring)}
    if empty := [option for option, words in named.items() if not words]:
        raise typer.BadParameter(f"{empty[0]} names nothing")
    every = layers.strip() == "all"
    wanted = None if every else layer_list(layers)
    if figure is not None and not every and len(wanted or ()) < 2:
        raise typer.BadParameter("--figure draws layers; name several with --layers, or all")
    rows = parallel_rows(parallel, limit=limit, source=pivot)
    texts = by_language(rows.texts)
    total = sum(map(len, texts.values()))
    with Stages({"encode": 1.0}) as stages:
        encoded = stages.counter("encode", total)
        stages.say(f"{len(rows.texts):,} rows in {len(texts)} languages, {rows.passed_over:,} passed over")
        encoder = load(model)
        say_cut(encoder, (text for by_id in texts.values() for text in by_id.values()), stages.say)
        if every:
            wanted = layer_numbers(encoder, None)
        found = retrieve(
            encoder, texts, source=pivot, layers=wanted, poolings=named["--pooling"], ways=named["--vectors"],
            scorings=named["--scoring"], k=neighbours, progress=encoded,
        )  # fmt: skip
    scores = [score for one in found for score in one.scores()]
    if out is not None:
        append_scores(out, scores)
    if figure is not None:
        _draw(found, pivot, figure)
    return Answer(scores, _lines(found, pivot))


def say_cut(encoder: Encoder, texts: Iterable[str], say: Callable[[str], None]) -> None:
    """Tell how many different texts the encoder sees the beginning of only, if there are any."""
    from interlingua.probe.states import cut_texts

    if cut := len(cut_texts(encoder, dict.fromkeys(texts))):
        say(f"{cut:,} different texts are longer than the {encoder.max_length:,} tokens that {encoder.name} takes and"
            " were cut there")  # fmt: skip


def word_list(text: str) -> list[str]:
    """Words with commas between."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _means(found: Sequence[Retrieval]) -> dict[tuple[int | None, str], float]:
    """(layer, name) -> mean P@1 over languages."""
    cells = dict.fromkeys((one.layer, one.model) for one in found)
    return {cell: statistics.fmean(one.p1 for one in found if (one.layer, one.model) == cell) for cell in cells}


def _lines(found: Sequence[Retrieval], source: str) -> list[object]:
    """Means by layer and way, where there are several; and the languages of the best of them."""
    from interlingua.cli.tables import number, table

    means = _means(found)
    best = max(means, key=lambda cell: means[cell])
    languages = _table([one for one in found if (one.layer, one.model) == best], source)
    if len(means) == 1:
        return [languages]
    layers, names = (list(dict.fromkeys(keys)) for keys in zip(*means, strict=True))
    rows = [("last" if layer is None else layer, *(number(means[layer, name]) for name in names)) for layer in layers]
    where = "" if best[0] is None else f", layer {best[0]}"
    count = len({one.language for one in found})
    return [
        f"P@1, mean of {count} languages and both ways:",
        table(["layer", *names], rows, left=0),
        f"highest, {best[1]}{where}:",
        languages,
    ]


def _table(found: Sequence[Retrieval], source: str) -> object:
    from interlingua.cli.tables import language_names, number, table

    rows: list[tuple[object, ...]] = [
        (language_names(one.language)[0], one.language, number(one.from_source), number(one.to_source), number(one.p1),
         one.count, language_names(one.language)[1])
        for one in sorted(found, key=lambda one: -one.p1)
    ]  # fmt: skip
    means = [
        number(statistics.fmean(getattr(one, name) for one in found)) for name in ("from_source", "to_source", "p1")
    ]
    rows.append((f"mean of {len(found)}", "", *means, "", ""))
    columns = ["language", "tag", f"from {source}", f"to {source}", "P@1", "candidates", ""]
    return table(columns, rows, left=2, spare=[5])


def _draw(found: Sequence[Retrieval], source: str, path: Path) -> None:
    from interlingua.report.plots import layer_curves
    from interlingua.run import atomic_write

    series: dict[str, dict[int, float]] = {}
    for (layer, name), mean in _means(found).items():
        if layer is not None:
            series.setdefault(name, {})[layer] = mean
    languages, counts = len({one.language for one in found}), sorted({one.count for one in found})
    number = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    caption = f"Mean over {languages} languages, from and to {source}, among {number} texts."
    title = "Translations found by layer"
    atomic_write(path, layer_curves(series, "P@1", title=title, caption=caption).svg)
