"""What all verbs share: how an answer, an error and help reach the terminal.

A verb returns an :class:`Answer`; :class:`Verb` prints it, as text or with ``--json`` as one document, and turns
errors into messages and exit codes. Decision: a verb never prints, so "nothing else on stdout" holds for all of them
at once; while a verb runs with ``--json``, anything a library prints goes to stderr. Price: a verb that talks (the
tour, which asks for sentences) shows its first part itself with :func:`show`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from interlingua.errors import InterlinguaError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["JSON", "Answer", "Debug", "InOrder", "Overrides", "RecipeName", "Verb", "group", "has_colour", "show"]

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="With an error, print where in the code it was raised.")]
RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A YAML file, or a name that `interlingua recipe list` shows.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY.SUB=VALUE", help="Keys that replace those of the recipe.")
]

VERBS = (
    "tour", "corpus", "vocab", "shards", "pretrain", "watch", "finetune", "continual", "evaluate", "compare",
    "forecast", "probe", "retrieve", "translate", "report", "study", "recipe", "bench", "doctor",
)  # fmt: skip
_EXAMPLE = "\nExample:\n"
# Tables that go to a file or a pipe are not squeezed into the 80 columns of a terminal that is not there.
_PIPE_WIDTH = 200


@dataclass(frozen=True)
class Answer:
    """What a verb found.

    Attributes:
        document: the same as values, for ``--json``: anything :func:`plain` takes.
        shown: for people: lines of text, and rich renderables.
        status: exit code.
    """

    document: Any
    shown: Sequence[Any] = ()
    status: int = 0


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows; numbers that are none (NaN, infinite) become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    if hasattr(value, "item"):  # numpy's numbers
        return plain(value.item())
    return value


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def has_colour() -> bool:
    """Whether stdout shows colours."""
    return _console().color_system is not None


def show(items: Sequence[Any]) -> None:
    """Print lines and renderables on stdout."""
    for item in items:
        if isinstance(item, str):
            typer.echo(item)
        else:
            _console().print(item, crop=False)


@contextlib.contextmanager
def _nothing_on_stdout(wanted: bool) -> Iterator[None]:
    with contextlib.redirect_stdout(sys.stderr) if wanted else contextlib.nullcontext():
        yield


class Verb(TyperCommand):
    """A command whose function returns an :class:`Answer` and whose docstring ends with ``Example:``."""

    def __init__(self, *args: Any, help: str | None = None, **settings: Any) -> None:
        text, _, self.example = (help or "").partition(_EXAMPLE)
        super().__init__(*args, help=text.strip(), **settings)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example as it stands in the docstring."""
        if self.example:
            formatter.write("\nExample:\n" + "".join(f"  {line.strip()}\n" for line in self.example.splitlines()))

    def invoke(self, ctx: Any) -> None:
        """Run the verb, print its answer, and turn errors into exit codes.

        Raises:
            typer.Exit: the verb failed, was interrupted, or its answer is bad news.
        """
        as_json, debug = bool(ctx.params.get("as_json")), bool(ctx.params.get("debug"))
        try:
            with _nothing_on_stdout(as_json):
                answer: Answer = super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted; what was finished is saved, and the same command goes on from there", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            raise
        except (InterlinguaError, OSError) as error:
            rank = int(os.environ.get("RANK", "0"))
            if debug:
                traceback.print_exc()
            elif rank:  # the first rank says it whole
                typer.echo(f"rank {rank} ends: {(str(error) or type(error).__name__).splitlines()[0]}", err=True)
            else:
                typer.echo(f"{typer.style('error', fg='red', bold=True)}: {error}", err=True)
            raise typer.Exit(1) from None
        if as_json:
            typer.echo(json.dumps(plain(answer.document), ensure_ascii=False, indent=1, allow_nan=False))
        else:
            show(answer.shown)
        if answer.status:
            raise typer.Exit(answer.status)


class InOrder(TyperGroup):
    """The root command: verbs in the order in which data travel, not the alphabet's."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the verbs."""
        return sorted(self.commands, key=VERBS.index)


def group(help: str, *, cls: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """Open a command that holds verbs.

    Plain help instead of rich's boxes: it reads the same in a pipe, and rich takes a tenth of a second to import.
    """
    return typer.Typer(
        cls=cls,
        help=help,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
