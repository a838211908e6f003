"""``interlingua probe``: look inside an encoder."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb, group

if TYPE_CHECKING:
    from interlingua.probe.links import LayerLinks
    from interlingua.probe.profile import LayerGeometry, LayerLikeness
    from interlingua.probe.words import WordVectors
    from interlingua.text.alignments import AlignedPair

__all__ = ["Layers", "Model", "Out", "Texts", "Vocabulary", "app", "layer_list"]

app = group("Look inside an encoder.")


Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name, hub id, checkpoint or run folder; `interlingua doctor` lists.")
]
Texts = Annotated[
    str, typer.Argument(metavar="FILE", help="Texts: lang and text in columns or fields; or a column a language.")
]
Vocabulary = Annotated[
    str, typer.Argument(metavar="TOKENIZER", help="Vocabulary folder, checkpoint, run, or a model's name.")
]
Layers = Annotated[
    str, typer.Option("--layers", metavar="N,...", help="Layers, 0 the embeddings, -1 the last; all by default.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Add the rows to this scores.jsonl.")]


def layer_list(layers: str) -> list[int] | None:
    """Numbers of layers with commas between; None: all."""
    try:
        return [int(word) for word in layers.split(",") if word.strip()] or None
    except ValueError:
        raise typer.BadParameter(f"--layers {layers!r}: expected whole numbers with commas between") from None


@app.command(cls=Verb)
def geometry(
    model: Model,
    file: Texts,
    other: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Compare with this model instead, by CKA and Procrustes distance."),
    ] = None,
    languages: Annotated[str, typer.Option(metavar="TAG,...", help="Only these languages; all by default.")] = "",
    by: Annotated[str, typer.Option(metavar="family|branch", help="What clusters are held against.")] = "family",
    layers: Layers = "",
    limit: Annotated[int, typer.Option(min=0, help="Texts a language at most, the file's first; 0: all.")] = 200,
    keep: Annotated[int, typer.Option(min=5, help="Texts a language that the classifier of languages sees.")] = 200,
    distances: Annotated[
        Path | None, typer.Option(metavar="FILE.tsv", help="Write the distances between language means, by layer.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw what the table holds by layer.")] = None,
    draw_map: Annotated[
        Path | None,
        typer.Option(
            "--map", metavar="FILE.svg", help="Draw the languages' means as a map, in the last layer asked for."
        ),
    ] = None,
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Measure where languages lie, by layer.

    Families in the distances between language means, language identity, anisotropy; or the likeness of two models.

    Example:
    interlingua probe geometry e5-small package:general.tsv.zst --limit 100 --figure layers.svg --map languages.svg
    interlingua probe geometry e5-small package:general.tsv.zst --other runs/try --layers 0,6,12
    """
    from interlingua.cli.progress import Stages
    from interlingua.cli.spoken import spoken_texts
    from interlingua.models.encoder import load
    from interlingua.probe.profile import compare_models, language_geometry
    from interlingua.scores import append_scores
    from interlingua.text.lines import ReadReport

    if by not in ("family", "branch"):
        raise typer.BadParameter(f"--by {by!r}: expected family or branch")
    if other is not None and distances is not None:
        raise typer.BadParameter("--distances are of one model; leave --other out")
    if other is not None and draw_map is not None:
        raise typer.BadParameter("--map is of one model; leave --other out")
    wanted, report = layer_list(layers), ReadReport()
    chosen = [tag for tag in languages.split(",") if tag]
    # Read twice, so that what is wrong with the text is said before the model works, and how much there is.
    counts = Counter(lang for lang, _ in spoken_texts(file, languages=chosen, limit=limit, report=report))
    if draw_map is not None and len(counts) < 3:
        raise typer.BadParameter(f"--map draws three languages or more; the texts are in {', '.join(counts)}")
    total = sum(counts.values()) * (1 if other is None else 2)
    texts = spoken_texts(file, languages=chosen, limit=limit)
    lines: list[object]
    with Stages({"encode": 1.0}) as stages:
        encoded = stages.counter("encode", total)
        stages.say(f"{sum(counts.values()):,} texts in {len(counts)} languages, {report.blank} blank ones passed over")
        encoder = load(model)
        if other is not None:
            likeness = compare_models(
                encoder, load(other), (text for _, text in texts), layers=wanted, progress=encoded
            )
            scores = [score for one in likeness for score in one.scores(f"{model}~{other}")]
            lines = [_likeness_table(likeness, model, other)]
            curves = {"CKA": {one.layer: one.cka for one in likeness},
                      "Procrustes distance": {one.layer: one.procrustes for one in likeness}}  # fmt: skip
            title = f"Likeness of {model} and {other}"
        else:
            found = language_geometry(encoder, texts, layers=wanted, by="family" if by == "family" else "branch",
                                      keep=keep, progress=encoded)  # fmt: skip
            scores = [score for one in found for score in one.scores(model)]
            lines = [_layer_table(found)]
            curves = {
                "V-measure of families": {one.layer: one.v_measure for one in found},
                "the same, shuffled": {one.layer: one.shuffled for one in found},
                "language named": {one.layer: one.identity for one in found},
                "mean cosine": {one.layer: one.anisotropy for one in found},
                "within a language": {one.layer: statistics.fmean(one.own_anisotropy.values()) for one in found},
            }
            title = f"Languages in {model}"
            if found[0].full:
                stages.say(f"{found[0].full:,} texts fill the {encoder.max_length} tokens that {model} takes;"
                           " longer ones were cut there")  # fmt: skip
    if distances is not None:
        _write_distances(distances, found)
    if out is not None:
        append_scores(out, scores)
    if figure is not None:
        _draw_layers(figure, curves, "value", title=title)
    if draw_map is not None:
        _draw_map(draw_map, found[-1], model)
    return Answer(scores, lines)


def _layer_table(found: Sequence[LayerGeometry]) -> object:
    from interlingua.cli.tables import number, table

    rows = [
        (one.layer, *(number(value) for value in (one.v_measure, one.shuffled, one.identity, one.majority,
                                                  one.anisotropy, statistics.fmean(one.own_anisotropy.values()))))
        for one in found
    ]  # fmt: skip
    columns = ["layer", "V-measure", "shuffled", "language id", "majority", "mean cosine", "within a language"]
    return table(columns, rows, left=0)


def _likeness_table(found: Sequence[LayerLikeness], model: str, other: str) -> object:
    from interlingua.cli.tables import number, table

    rows = [(one.layer, one.other, number(one.cka), number(one.procrustes), one.count) for one in found]
    return table([f"layer of {model}", f"of {other}", "CKA", "Procrustes", "texts"], rows, left=0)


def _write_distances(path: Path, found: Sequence[LayerGeometry]) -> None:
    from interlingua.run import atomic_write

    languages = list(found[0].counts)
    lines = ["\t".join(["layer", "lang", *languages])]
    for one in found:
        for lang, row in zip(languages, one.distances.tolist(), strict=True):
            lines.append("\t".join([str(one.layer), lang, *(f"{value:.6f}" for value in row)]))
    atomic_write(path, "\n".join(lines) + "\n")


def _draw_layers(path: Path, series: Mapping[str, Mapping[int, float]], measure: str, *, title: str) -> None:
    from interlingua.report.plots import layer_curves
    from interlingua.run import atomic_write

    atomic_write(path, layer_curves(series, measure, title=title, caption="Layer 0: the embeddings.").svg)


def _draw_map(path: Path, layer: LayerGeometry, model: str) -> None:
    from interlingua.probe.geometry import language_map
    from interlingua.report.plots import language_map as draw
    from interlingua.run import atomic_write

    places = language_map(
        {lang: mean_D.astype("float32") for lang, mean_D in zip(layer.counts, layer.means, strict=True)}
    )
    caption = (
        f"{model}, layer {layer.layer}: the first two principal components of the means of {len(places)} languages."
    )
    atomic_write(path, draw(places, caption=caption).svg)


@app.command(cls=Verb)
def links(
    model: Model,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Table with src_tokens, tgt_tokens, sure, possible; or source ||| target."),
    ],
    gold: Annotated[
        Path | None, typer.Option("--links", metavar="FILE", help="Gold links of the lines of FILE: i-j, i?j possible.")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="TAG", help="Language of the first side.")] = None,
    target: Annotated[str | None, typer.Option(metavar="TAG", help="Language of the second side.")] = None,
    split: Annotated[str | None, typer.Option(help="Only the table's rows of this split.")] = None,
    methods: Annotated[
        str, typer.Option(metavar="NAME,...", help="argmax, itermax, transport.")
    ] = "argmax,itermax,transport",
    layers: Layers = "",
    limit: Annotated[int, typer.Option(min=0, help="Pairs a language pair at most, the file's first; 0: all.")] = 0,
    figure: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw AER by layer.")] = None,
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Link words with their translations, by layer.

    Links read from the states of words in context, and their error rate against gold links.

    Example:
    interlingua probe links e5-small gold.tsv --source en --target fr --split gold
    interlingua probe links e5-small text.en-fr --links text.links --source en --target fr --figure layers.svg
    """
    from interlingua.cli.progress import Stages
    from interlingua.models.encoder import load
    from interlingua.probe.links import check_methods, word_links
    from interlingua.scores import append_scores
    from interlingua.text.alignments import read_alignments
    from interlingua.text.lines import ReadReport

    names = [name for name in methods.split(",") if name]
    check_methods(names)
    wanted, report, counts = layer_list(layers), ReadReport(), Counter[tuple[str, str]]()

    def pairs() -> Iterator[AlignedPair]:
        taken = Counter[tuple[str, str]]()
        for pair in read_alignments(
            file, links=gold, source_lang=source, target_lang=target, split=split, report=report
        ):
            spoken = (pair.source_lang, pair.target_lang)
            taken[spoken] += 1
            if not limit or taken[spoken] <= limit:
                yield pair

    counts.update((pair.source_lang, pair.target_lang) for pair in pairs())
    total, blank = 2 * sum(counts.values()), report.missing
    with Stages({"encode": 1.0}) as stages:
        encoded = stages.counter("encode", total)
        stages.say(
            f"{total // 2:,} pairs of sentences in {len(counts)} language pairs, {blank} without links passed over"
        )
        found = word_links(load(model), pairs(), layers=wanted, methods=names, progress=encoded)
    scores = [score for one in found for score in one.scores(model)]
    if figure is not None:
        several = len(counts) > 1
        series: dict[str, dict[int, float]] = {}
        for one in found:
            name = f"{one.source}-{one.target}, {one.method}" if several else one.method
            series.setdefault(name, {})[one.layer] = one.counts.aer
        _draw_layers(figure, series, "alignment error rate", title=f"Words linked by {model}")
    if out is not None:
        append_scores(out, scores)
    return Answer(scores, [line for spoken in counts for line in _link_lines(found, spoken, names)])


def _link_lines(found: Sequence[LayerLinks], spoken: tuple[str, str], methods: Sequence[str]) -> list[object]:
    from interlingua.cli.tables import number, table

    own = {(one.layer, one.method): one for one in found if (one.source, one.target) == spoken}
    layers = list(dict.fromkeys(layer for layer, _ in own))
    first = next(iter(own.values()))
    rows = [(layer, *(number(own[layer, method].counts.aer) for method in methods)) for layer in layers]
    best = {method: min((own[layer, method] for layer in layers), key=lambda one: one.counts.aer) for method in methods}
    low = [
        (method, one.layer, *(number(getattr(one.counts, name)) for name in ("aer", "precision", "recall", "f1")))
        for method, one in best.items()
    ]
    return [
        f"{spoken[0]}-{spoken[1]}, {first.pairs:,} pairs of sentences, {first.missing} words without a state;"
        " AER by layer, and where it is lowest:",
        table(["layer", *methods], rows, left=0),
        table(["method", "layer", "AER", "precision", "recall", "F1"], low),
    ]


@app.command(cls=Verb)
def words(
    model: Model,
    file: Texts,
    lexicon: Annotated[
        Path,
        typer.Option(metavar="FILE", help="A word and its translation a line; or a table with src and tgt."),
    ],
    source: Annotated[str, typer.Option(metavar="TAG", help="Language translated from.")] = "en",
    target: Annotated[str, typer.Option(metavar="TAG", help="Language translated into.")] = "de",
    scoring: Annotated[str, typer.Option(metavar="NAME,...", help="cosine, csls.")] = "cosine,csls",
    layers: Layers = "",
    every_part: Annotated[
        bool,
        typer.Option("--every-part", help="Ask the words of all parts of the lexicon, not of its test part."),
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="Texts a language at most, the file's first; 0: all.")] = 0,
    static_source: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Static vectors of the source's words, word2vec's text format.")
    ] = None,
    static_target: Annotated[Path | None, typer.Option(metavar="FILE", help="The same of the target's.")] = None,
    static: Annotated[
        str, typer.Option(metavar="NAME,...", help="Train static vectors on the same texts: cbow, skipgram, glove.")
    ] = "",
    static_width: Annotated[int, typer.Option(min=1, help="Width of trained static vectors.")] = 100,
    static_epochs: Annotated[int, typer.Option(min=1, help="Passes over the texts that train them.")] = 20,
    figure: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw MRR by layer.")] = None,
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Translate words by their mean vectors, by layer.

    How far up does a lexicon's translation stand among the words of the other language?

    Example:
    interlingua probe words e5-small package:general.tsv.zst --lexicon en-de.txt --source en --target de
    interlingua probe words e5-small text.jsonl --lexicon lexicon.tsv --static-source en.vec --static-target de.vec
    interlingua probe words e5-small text.jsonl --lexicon lexicon.tsv --static cbow,glove --figure words.svg
    """
    from interlingua.cli.progress import Stages
    from interlingua.cli.spoken import spoken_texts
    from interlingua.cli.static import as_it_is_and_turned, check_static, draw_words, train_static, translate_static
    from interlingua.cli.tables import number, table
    from interlingua.languages import canonical
    from interlingua.models.encoder import load
    from interlingua.probe.states import layer_numbers
    from interlingua.probe.words import translate_words, word_vectors
    from interlingua.scores import append_scores
    from interlingua.text.lexicons import read_lexicon_parts
    from interlingua.text.lines import check_file

    if (static_source is None) != (static_target is None):
        raise typer.BadParameter("--static-source and --static-target go together")
    if every_part and static_source is not None:
        raise typer.BadParameter("--every-part would test static vectors on what Procrustes learned from")
    ways = check_static(static)
    tags = (canonical(source), canonical(target))
    if tags[0] == tags[1]:
        raise typer.BadParameter(f"--source and --target are both {tags[0]}")
    entries = list(read_lexicon_parts(lexicon, source_lang=tags[0], target_lang=tags[1]))
    wanted = {tags[0]: {e.source.lower() for e in entries}, tags[1]: {e.target.lower() for e in entries}}
    scorings, chosen = [name.strip() for name in scoring.split(",") if name.strip()], layer_list(layers)
    if not scorings:
        raise typer.BadParameter("--scoring names nothing")
    if unknown := set(scorings) - {"cosine", "csls"}:
        raise typer.BadParameter(f"--scoring {sorted(unknown)[0]!r}: expected cosine, csls")
    files = [path for path in (static_source, static_target) if path is not None]
    for path in files:
        check_file(path)
    counts = Counter(lang for lang, _ in spoken_texts(file, languages=tags, limit=limit))
    total = sum(counts.values())
    encoder = load(model)
    numbers = layer_numbers(encoder, chosen)
    # Before the encoder runs: what is wrong with them is then known while nothing can be lost.
    trained = train_static(
        ways, spoken_texts(file, languages=tags, limit=limit), tags, width=static_width, epochs=static_epochs
    ) if ways else []  # fmt: skip
    with Stages({"encode": 1.0}) as stages:
        encoded = stages.counter("encode", total)
        texts = spoken_texts(file, languages=tags, limit=limit)
        # Sets come in another order each time; sorted words keep sums the same.
        vectors = word_vectors(
            encoder,
            texts,
            {lang: sorted(own) for lang, own in wanted.items()},
            layers=chosen,
            progress=encoded,
        )
        for lang in tags:
            met = vectors[lang]
            stages.say(f"{lang}: {counts[lang]:,} texts, {len(met.words):,} of {len(wanted[lang]):,} words,"
                       f" {met.missing} occurrences cut off")  # fmt: skip
    sides = [vectors[lang] for lang in tags]
    found = translate_words(
        sides[0], sides[1], entries, model=model, layers=numbers, scorings=scorings, every_part=every_part
    )
    if files:
        plain = [_static(path, side) for path, side in zip(files, sides, strict=True)]
        found += as_it_is_and_turned("static", plain[0], plain[1], entries, scorings=scorings, every_part=False)
    found += translate_static(trained, vectors, entries, scorings=scorings, every_part=every_part)
    if figure is not None:
        draw_words(found, tags, figure)
    scores = [score for one in found for score in one.scores(*tags)]
    if out is not None:
        append_scores(out, scores)
    rows = [
        (one.model, "-" if one.layer is None else one.layer, *(number(value) for value in one.metrics.values()),
         len(one.ranks), one.candidates)
        for one in sorted(found, key=lambda one: one.model)
    ]  # fmt: skip
    columns = ["vectors", "layer", "MRR", "P@1", "P@5", "P@10", "coverage", "words", "candidates"]
    return Answer(scores, [f"{tags[0]}-{tags[1]}:", table(columns, rows)])


def _static(path: Path, like: WordVectors) -> WordVectors:
    import numpy as np

    from interlingua.probe.words import WordVectors
    from interlingua.text.vectors import read_vectors

    # Words with a contextual vector only, so that both are asked the same.
    found, vectors_VD = read_vectors(path, set(like.words), lowercase=True)
    return WordVectors(tuple(found), np.ones(len(found), dtype=np.int64), vectors_VD[None])
