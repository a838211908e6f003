"""``interlingua bench``: speed beside what people use today, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, Verb, group

__all__ = ["app"]

app = group("Speed beside what people use today, on this machine.")


@app.command(cls=Verb)
def pretrain(
    shapes: Annotated[
        list[str] | None, typer.Argument(metavar="[SHAPE]...", help="h256-30k, h256-120k, h256-250k, h768-120k.")
    ] = None,
    against: Annotated[Literal["transformers"], typer.Option(help="The other side: its Trainer.")] = "transformers",
    repeats: Annotated[int, typer.Option(min=1, help="Runs a side, in turn.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Steps timed.")] = 4,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Pretraining tokens/s of our loop and of transformers.Trainer.

    The same BERT (width, depth, vocabulary), the same weights, batches and masks; the losses of both sides must agree,
    step by step. Without a shape all four are measured, which takes long.

    Example:
    interlingua bench pretrain h256-30k --against transformers
    """
    from interlingua.bench import COLUMNS, SHAPES, compare_pretraining
    from interlingua.cli.progress import Stages
    from interlingua.cli.tables import table
    from interlingua.errors import RecipeError, nearest

    names = shapes or list(SHAPES)
    for name in names:
        if name not in SHAPES:
            raise RecipeError(
                f"shape {name!r}{nearest(name, SHAPES)}", expected=f"one of {', '.join(SHAPES)}", where="command line"
            )
    document: list[dict[str, Any]] = []
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    with Stages() as stages:
        for name in names:
            found = compare_pretraining(SHAPES[name], repeats=repeats, steps=steps, say=stages.say)
            document.append({**vars(found), "shape": name, "ratios": found.ratios("ours")})
            rows += found.rows()
            notes.append(
                f"{name}: losses of a step differ by at most {found.difference:.0e}, relative; "
                f"{found.operations / 1e6:,.1f} M operations a token"
            )
    return Answer(document, [table(list(COLUMNS), rows, left=2), *notes])


@app.command(cls=Verb)
def embed(
    model: Annotated[str, typer.Option(help="Short name, hub id or folder.")] = "e5-small",
    against: Annotated[
        Literal["sentence-transformers"], typer.Option(help="The other side: its encode.")
    ] = "sentence-transformers",
    file: Annotated[Path | None, typer.Option(help="Texts of your own: .txt, .jsonl, .tsv, Parquet.")] = None,
    texts: Annotated[int, typer.Option(min=10, help="Number of texts.")] = 600,
    repeats: Annotated[int, typer.Option(min=1, help="Runs a side, in turn.")] = 3,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Sentence vectors a second of our encoder and of sentence-transformers.

    The same weights, prefix and longest length, float32, on the CPU; the vectors of both sides must agree. The texts
    are bundled ones of mixed length, in 13 and more languages, unless a file is given.

    Example:
    interlingua bench embed --texts 600
    """
    import itertools
    import statistics

    from interlingua.bench import compare_embedding, mixed_texts
    from interlingua.bench.embed import SIDES
    from interlingua.cli.progress import Stages
    from interlingua.cli.tables import table
    from interlingua.text.documents import read_documents

    chosen = [d.text for d in itertools.islice(read_documents(file), texts)] if file else mixed_texts(texts)
    with Stages() as stages:
        found = compare_embedding(model, chosen, repeats=repeats, say=stages.say)
    rows, ratios = [], {}
    for side, name in SIDES.items():
        ratios[side] = sorted(found.ratios(side))
        low, high = ratios[side][0], ratios[side][-1]
        settings = found.settings[side]
        rows.append(
            (
                name, f"{found.rate(side, found.texts):,.1f}", f"{found.rate(side, found.tokens):,.0f}",
                f"{statistics.median(ratios[side]):.2f} ({low:.2f}-{high:.2f})",
                str(settings["threads"]), str(settings.get("batch_size", "-")), f"{found.peak_mb[side]:,.0f}",
            )
        )  # fmt: skip
    columns = ["side", "texts/s", "tokens/s", "ratio (range)", "threads", "batch size", "peak MB"]
    shown = (
        f"{found.texts:,} texts, {found.tokens:,} tokens; vectors differ by at most {found.difference:.0e}, "
        f"cosine distance at most {found.distance:.0e}"
    )
    return Answer({**vars(found), "ratios": ratios}, [table(columns, rows, left=1), shown])


@app.command(cls=Verb)
def tune(
    shapes: Annotated[list[str] | None, typer.Argument(metavar="[SHAPE]...", help="xnli, topic, long.")] = None,
    model: Annotated[str, typer.Option(help="Short name, hub id or folder.")] = "e5-small",
    freeze: Annotated[Literal["none", "embeddings"], typer.Option(help="Frozen part, on every side.")] = "embeddings",
    repeats: Annotated[int, typer.Option(min=1, help="Runs a side, in turn.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Steps timed.")] = 5,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Tuning examples/s of our tuner and of transformers.Trainer.

    The same network, head, batches and rates, dropout off; the losses of both sides must agree, step by step. Trainer
    pads to the longest length, to the longest of a batch, and to the longest of batches made of texts of one length.
    Without a shape all three are measured.

    Example:
    interlingua bench tune topic
    """
    import statistics

    from interlingua.bench import TUNE_SHAPES, compare_tuning
    from interlingua.cli.progress import Stages
    from interlingua.cli.tables import table
    from interlingua.errors import RecipeError, nearest

    names = shapes or list(TUNE_SHAPES)
    for name in names:
        if name not in TUNE_SHAPES:
            raise RecipeError(
                f"shape {name!r}{nearest(name, TUNE_SHAPES)}",
                expected=f"one of {', '.join(TUNE_SHAPES)}",
                where="command line",
            )
    sides = {
        "ours": "ours",
        "ours-plain": "ours, torch's products",
        "trainer-longest": "Trainer, padded to the longest length",
        "trainer-batch": "Trainer, padded by batch",
        "trainer-grouped": "Trainer, grouped by length",
    }
    document: list[dict[str, Any]] = []
    rows, notes = [], []
    with Stages() as stages:
        for name in names:
            found = compare_tuning(
                TUNE_SHAPES[name], model=model, freeze=freeze, repeats=repeats, steps=steps, say=stages.say
            )
            ratios = {side: sorted(found.ratios(side)) for side in sides}
            document.append({**vars(found), "shape": name, "ratios": ratios})
            notes.append(f"{name}: losses of a step differ by at most {found.difference:.0e}, relative")
            rows += [
                (
                    name, shown, f"{found.rate(side):,.1f}",
                    f"{statistics.median(ratios[side]):.2f} ({ratios[side][0]:.2f}-{ratios[side][-1]:.2f})",
                    str(found.threads[side]), f"{found.peak_mb[side]:,.0f}", f"{found.score[side]:.3f}",
                )
                for side, shown in sides.items()
            ]  # fmt: skip
    columns = ["shape", "side", "examples/s", "ours is faster by", "threads", "peak MB", "accuracy"]
    return Answer(document, [table(columns, rows, left=2), *notes])


@app.command(cls=Verb)
def corpus(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A corpus recipe: whose texts are measured.")
    ] = "corpus",
    overrides: Overrides = None,
    against: Annotated[Literal["datatrove"], typer.Option(help="The other side: its own steps.")] = "datatrove",
    megabytes: Annotated[float, typer.Option(min=0.1, help="MB of text both sides get.")] = 20.0,
    repeats: Annotated[int, typer.Option(min=0, help="Runs a side, in turn.")] = 3,
    sizes: Annotated[
        list[float] | None, typer.Option("--size", help="MB of input to measure memory at; repeat it.")
    ] = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """MB of raw text a second and core through `corpus build` and through plain datatrove steps.

    Both clean, identify, drop copies and near copies, and write. Processor time of one process a side is counted. With
    --size the build runs on inputs of these sizes as well, for its memory; where the recipe has less text, its texts
    are joined to new ones.

    Example:
    interlingua bench corpus corpus --megabytes 5 --repeats 1
    interlingua bench corpus corpus --repeats 0 --size 20 --size 60
    """
    import statistics
    import tempfile
    from pathlib import Path

    from interlingua.bench import compare_corpus, grown_corpus, write_input
    from interlingua.cli.progress import Stages
    from interlingua.cli.tables import table
    from interlingua.recipe_corpus import CorpusRecipe
    from interlingua.recipe_file import load_recipe

    plan = load_recipe(recipe, CorpusRecipe, overrides or ())
    shown: list[Any] = []
    with tempfile.TemporaryDirectory() as name, Stages() as stages:
        folder = Path(name)
        runs = []
        if repeats:
            size = write_input(plan, folder / "input.jsonl", megabytes)
            runs = compare_corpus(folder / "input.jsonl", size, folder, repeats=repeats, say=stages.say)
        grown = grown_corpus(plan, sizes or (), folder, say=stages.say)
    by_side = {side: [run for run in runs if run.side == side] for side in ("ours", "datatrove")}
    ratios = sorted(a.speed / b.speed for a, b in zip(by_side["ours"], by_side["datatrove"], strict=True))
    if runs:
        rows = [
            (side, f"{found[0].megabytes:.1f}", f"{statistics.median(run.speed for run in found):.2f}",
             f"{found[0].kept:,}", f"{max(run.peak_mb for run in found):,.0f}")
            for side, found in by_side.items()
        ]  # fmt: skip
        shown.append(table(["side", "MB", "MB/s a core", "texts kept", "peak MB"], rows, left=1))
        shown.append(f"ratio: {statistics.median(ratios):.1f} ({ratios[0]:.1f}-{ratios[-1]:.1f})")
        steps = [
            (step, f"{statistics.median(run.megabytes / max(run.stages[step], 1e-9) for run in by_side['ours']):.1f}")
            for step in by_side["ours"][0].stages
        ]
        shown.append(table(["our step", "MB/s a core"], steps, left=1))
    if grown:
        lines = [(f"{run.megabytes:,.0f}", f"{run.peak_mb:,.0f}", f"{run.speed:.2f}", f"{run.kept:,}") for run in grown]
        shown.append(table(["input, MB", "peak MB", "MB/s a core", "texts kept"], lines, left=0))
    return Answer({"runs": runs, "ratios": ratios, "sizes": grown}, shown)
