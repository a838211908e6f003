"""``interlingua pretrain``: a recipe in, a checkpoint out; killed or stopped, the same command goes on."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Overrides, RecipeName
from interlingua.cli.keys import PretrainVerb

if TYPE_CHECKING:
    from interlingua.pretrain import PretrainResult

__all__ = ["add_to"]


class _Stopped(BaseException):
    """SIGTERM came while no loop was there to take it; not an Exception, so that nothing on the way swallows it."""


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """Outside the loop, SIGTERM ends the work at once: every stage keeps what it finished."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def pretrain(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; runs/NAME by default. A run of this recipe is resumed.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that tokenise.")] = 1,
    ranks: Annotated[
        int, typer.Option(min=1, help="Processes that train, on this machine: one a GPU. Several machines: torchrun.")
    ] = 1,
    restarts: Annotated[int, typer.Option(min=0, help="How often they go on by themselves after one was killed.")] = 3,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Pretrain an encoder on the text of a recipe.

    From text to vocabulary to shards to a checkpoint. Every stage is skipped where its result is in the run folder
    already, so the same command goes on after a crash, a kill or a SIGTERM (which saves, and ends with 0).

    Example:
    interlingua pretrain bible-tiny
    interlingua pretrain bible-tiny --out runs/try train.steps=50 vocab.size=4000
    interlingua pretrain bible-tiny --ranks 2
    """
    from interlingua.cli.launch import launch
    from interlingua.cli.progress import Stages
    from interlingua.pretrain import pretrain as run
    from interlingua.pretrain_check import check_pretrain
    from interlingua.recipe import PretrainRecipe
    from interlingua.recipe_file import load_recipe

    plan = load_recipe(recipe, PretrainRecipe, overrides or ())
    folder = out or Path("runs") / plan.name
    words = ["interlingua", "pretrain", recipe, *(overrides or ()), "--out", str(folder)]
    if "WORLD_SIZE" in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ:  # `--ranks` of another process
        words += ["--ranks", os.environ["WORLD_SIZE"]]
    if ranks > 1:
        check_pretrain(plan)  # here, not in each of them
        more = ["--workers", str(workers), *(["--json"] if as_json else []), *(["--debug"] if debug else [])]
        say = partial(typer.echo, err=True)
        raise typer.Exit(launch([*words[1:], *more], ranks, restarts=restarts, say=say))
    if os.environ.get("RANK", "0") != "0":
        with contextlib.suppress(_Stopped), _stopping():
            run(plan, folder)  # the first rank speaks for all
        raise typer.Exit(0)
    try:
        with Stages({"pretrain": 1.0}) as stages, _stopping():
            result = run(
                plan,
                folder,
                say=stages.say,
                on_step=lambda p: stages.stage(
                    "pretrain",
                    p.step,
                    p.steps,
                    f"{'  '.join(f'{k} {v:.3f}' for k, v in p.losses.items())}  {p.tokens_per_second:,.0f} tokens/s"
                    + (f"  {share:.0%} of the machine" if (share := p.readings.flops_utilisation) else ""),
                ),
                workers=workers,
            )
    except _Stopped:
        document = {"folder": folder, "reason": "stopped", "step": 0, "checkpoint": None}
        return Answer(document, ["stopped; what was finished is kept. To go on:", f"  {shlex.join(words)}"])
    return _answer(result, shlex.join(words))


def _answer(result: PretrainResult, command: str) -> Answer:
    from interlingua.cli.tables import language_names, number, table

    training = result.training
    held_out = training.held_out
    document = {
        "folder": result.folder,
        "checkpoint": result.checkpoint,
        "reason": training.reason,
        "step": training.step,
        "tokens": training.tokens,
        "seconds": round(training.seconds, 3),
        "drawn": result.drawn,
        "cut_tokens": result.cut_tokens,
        "held_out": held_out,
        "adapters": result.adapters,
    }
    if training.reason == "stopped":
        return Answer(document, [f"stopped and saved at step {training.step}. To go on:", f"  {command}"])
    shown: list[object] = [
        f"{training.reason}: {training.step:,} steps, {training.tokens:,} tokens in {training.seconds:.0f} s, "
        f"{result.cut_tokens:,} tokens cut because a text was longer than a row"
    ]
    if held_out is not None:
        names = list(held_out.losses)
        bits = list(held_out.bits_per_character)
        rows = [
            (
                language_names(lang)[0],
                lang,
                *(number(held_out.losses[name].get(lang)) for name in names),
                *(number(held_out.bits_per_character[name].get(lang)) for name in bits),
                f"{result.drawn.get(lang, 0):,}",
                language_names(lang)[1],
            )
            for lang in result.languages
        ]
        columns = ["held out", "tag", *(f"{n} loss" for n in names), *(f"{n} bits/char" for n in bits), "drawn", ""]
        shown.append(table(columns, rows, left=2, spare=[1]))
    shown += [f"adapter of {lang}: {folder}" for lang, folder in result.adapters.items()]
    return Answer(document, [*shown, f"checkpoint: {result.checkpoint}", f"next: interlingua report {result.folder}"])


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("pretrain", cls=PretrainVerb)(pretrain)
