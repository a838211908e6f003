"""``interlingua probe steer``: one language made another, token by token, by a vector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb
from interlingua.cli.probe import Layers, Model, Out, layer_list

if TYPE_CHECKING:
    from interlingua.evaluate.tokens import TokenTranslation

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Hang the verb into its group."""
    app.command(cls=Verb)(steer)


def steer(
    model: Model,
    parallel: Annotated[
        str, typer.Option(metavar="FILE.tsv[.zst]", help="Multi-parallel text: id, then a column a language.")
    ],
    target: Annotated[str, typer.Option(metavar="TAG", help="Language that is steered to.")],
    source: Annotated[str, typer.Option(metavar="TAG", help="Language that is steered from.")] = "en",
    limit: Annotated[int, typer.Option(min=1, help="Sentences that are steered; means are taken of the others.")] = 200,
    alphas: Annotated[str, typer.Option("--alphas", metavar="A,...", help="How far.")] = "0,1,2,3,4",
    layers: Layers = "",
    lexicon: Annotated[
        str | None, typer.Option(metavar="FILE", help="Words and their translations, for P@1; MUSE or a table.")
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="Sentences to print, at the layer with the highest BLEU.")] = 1,
    figure: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw BLEU by layer and alpha.")] = None,
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Translate tokens without any translation: move a masked LM's states towards another language.

    At a layer, alpha x (mean of the target - mean of the source) is added to all states; the LM head names tokens.

    Example:
    interlingua probe steer runs/bible-tiny --parallel package:bible.tsv.zst --target de --layers 0,1 --alphas 0,1,2
    """
    from transformers import AutoModelForMaskedLM

    from interlingua.cli.parallel import parallel_rows
    from interlingua.cli.progress import Stages
    from interlingua.data import resolve as file_of
    from interlingua.errors import DataError
    from interlingua.evaluate.tokens import translate_tokens
    from interlingua.languages import canonical
    from interlingua.models.checkpoint import open_checkpoint
    from interlingua.models.encoder import resolve
    from interlingua.scores import append_scores
    from interlingua.text.lexicons import read_lexicon_parts

    tags = canonical(source), canonical(target)
    try:
        far = [float(word) for word in alphas.split(",") if word.strip()]
    except ValueError:
        raise typer.BadParameter(f"--alphas {alphas!r}: expected numbers with commas between") from None
    if not far:
        raise typer.BadParameter("--alphas names nothing")
    rows = parallel_rows(parallel, limit=0, source=tags[0]).texts
    both = [texts for texts in rows.values() if set(tags) <= set(texts)]
    others = {tag: [texts[tag] for texts in both[limit:]] for tag in tags}
    if not others[tags[1]]:
        raise DataError(
            f"{len(both):,} rows in {tags[0]} and {tags[1]}, of which {limit:,} are steered",
            expected="more, of which means are taken", where=parallel, next_step="give a smaller --limit",
        )  # fmt: skip
    pairs: list[tuple[str, str]] = []
    if lexicon is not None:
        entries = read_lexicon_parts(file_of(lexicon), source_lang=tags[0], target_lang=tags[1])
        pairs = [(one.source, one.target) for one in entries]
    network, tokenizer = open_checkpoint(resolve(model), AutoModelForMaskedLM, with_head=True)
    wanted = layer_list(layers) or list(range(network.config.num_hidden_layers + 1))
    with Stages({"steer": 1.0}) as stages:
        found = translate_tokens(
            network, tokenizer, [texts[tags[0]] for texts in both[:limit]], [texts[tags[1]] for texts in both[:limit]],
            languages=tags, texts=others, layers=wanted, alphas=far, lexicon=pairs,
            progress=stages.counter("steer", len(wanted) * len(far)),
        )  # fmt: skip
    scores = found.scores(model)
    if figure is not None:
        _draw(found, model, figure)
    if out is not None:
        append_scores(out, scores)
    return Answer(scores, _lines(found, [texts[tags[0]] for texts in both[:show]]))


def _lines(found: TokenTranslation, shown: list[str]) -> list[object]:
    from interlingua.cli.tables import number, table

    rows = [
        (one.layer, f"{one.alpha:g}", number(one.share), number(one.bleu1, 1), number(one.p1))
        for one in found.steered
    ]  # fmt: skip
    words = f"{found.words:,} words of the lexicon" if found.words else "no lexicon"
    lines: list[object] = [
        f"{found.sentences:,} sentences from {found.source} to {found.target}, {words}; tokens of {found.target} in its"
        f" own translations: {number(found.reference_share)}",
        table(["layer", "alpha", "share of tokens", "BLEU-1", "P@1"], rows, left=0),
        f"sacreBLEU: {found.signature}",
    ]
    best = max(found.steered, key=lambda one: one.bleu1)
    for i, text in enumerate(shown):
        lines += [f"at layer {best.layer}:", f"  {text}"]
        lines += [f"  alpha {one.alpha:g}: {one.texts[i]}" for one in found.steered if one.layer == best.layer]
    return lines


def _draw(found: TokenTranslation, model: str, path: Path) -> None:
    from interlingua.report.plots import heatmap
    from interlingua.run import atomic_write

    layers = list(dict.fromkeys(one.layer for one in found.steered))
    alphas = list(dict.fromkeys(one.alpha for one in found.steered))
    cells = {(one.layer, one.alpha): one.bleu1 for one in found.steered}
    figure = heatmap(
        [[cells[layer, alpha] for alpha in alphas] for layer in layers],
        [f"layer {layer}" for layer in layers],
        [f"alpha {alpha:g}" for alpha in alphas],
        measure="BLEU of single words",
        languages=False,
        digits=1,
        title=f"{found.source} moved towards {found.target}",
        caption=f"{model}, {found.sentences:,} sentences.",
    )
    atomic_write(path, figure.svg)
