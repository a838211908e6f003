"""Help: every verb has it, at once, with examples that the parser takes and keys that the recipes have."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from tests.fixtures_cli import command, run

from interlingua.cli.app import app
from interlingua.cli.keys import recipe_keys
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_base import Recipe
from interlingua.recipe_continual import ContinualRecipe
from interlingua.recipe_file import bundled_recipes, load_recipe, recipe_kind
from interlingua.recipe_transfer import FinetuneRecipe
from interlingua.recipe_translate import TranslateRecipe
from interlingua.studies import STUDIES


def verbs(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    group = group or typer.main.get_command(app)
    for name, inner in group.commands.items():
        if hasattr(inner, "commands"):
            yield from verbs(inner, (*path, name))
        else:
            yield (*path, name), inner


ALL = dict(verbs())


def test_verbs_are_those_of_the_issue() -> None:
    # The lists of the issues, in the order of help.
    wanted = (
        "tour, corpus build, vocab train, vocab report, vocab vectors, shards write, shards inspect, pretrain, watch,"
        " finetune,"
        " continual, evaluate, compare, forecast, probe retrieve, probe geometry, probe links, probe words,"
        " probe senses, probe overlap, probe symbols, probe fake, probe steer, probe multilinguality,"
        " probe dictionaries,"
        " retrieve sentences, retrieve bitext, retrieve passages, translate train, translate run,"
        " translate score, report,"
        " study list, study run, study report, recipe list, recipe show, recipe check,"
        " bench pretrain, bench embed, bench tune, bench corpus, doctor"
    )
    assert {" ".join(path) for path in ALL} == set(wanted.split(", "))
    help_text = run("--help").stdout
    shown = re.findall(r"^  ([a-z]+)  ", help_text.partition("Commands:")[2], flags=re.MULTILINE)
    assert shown == list(dict.fromkeys(name.split()[0] for name in wanted.split(", ")))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_an_example_that_parses(path: tuple[str, ...]) -> None:
    # Oracle: the parser itself reads each line of the example; recipes it names are in the package and take the words.
    result = run(*path, "--help")
    assert result.exit_code == 0
    lines = re.findall(r"^  interlingua (.+)$", result.stdout.partition("\nExample:\n")[2], flags=re.MULTILINE)
    assert lines
    for line in lines:
        words = shlex.split(line.partition(" > ")[0])
        verb = next(p for p in ALL if tuple(words[: len(p)]) == p)
        context = ALL[verb].make_context(" ".join(verb), words[len(verb) :])
        name = context.params.get("recipe") or context.params.get("name")
        if path[0] == "study":
            assert name is None or name in STUDIES
        elif name is not None:
            assert name in bundled_recipes()
            load_recipe(name, recipe_kind(name), context.params["overrides"] or ())


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("pretrain", PretrainRecipe),
        ("finetune", FinetuneRecipe),
        ("continual", ContinualRecipe),
        ("translate train", TranslateRecipe),
    ],
)
def test_help_lists_every_key(verb: str, kind: type[Recipe]) -> None:
    # Oracle: the properties of pydantic's own JSON schema, and what stands in a recipe dumped with its defaults.
    text = run(*verb.split(), "--help").stdout
    schema = kind.model_json_schema()
    names = {name for section in (schema, *schema["$defs"].values()) for name in section.get("properties", {})}
    assert [name for name in names if not re.search(rf"\b{name}[=.]", text)] == []
    keys = {key.partition("=")[0] for key, _ in recipe_keys(kind)}

    def leaves(tree: dict[str, Any], path: str = "") -> Iterator[str]:
        for name, value in tree.items():
            if isinstance(value, dict) and value:
                yield from leaves(value, f"{path}{name}.")
            else:
                yield f"{path}{name}"

    assert set(leaves(kind().model_dump())) <= keys


def test_keys_of_the_help_are_accepted() -> None:
    # Every `key=default` of the help, said back on the command line, is a recipe equal to the default one.
    words = [
        f"{key.replace('None', 'null')}"
        for key, _ in recipe_keys(PretrainRecipe)
        if ".N." not in key and not key.endswith(("=", "=[...]"))
    ]
    assert len(words) > 30
    assert load_recipe({}, PretrainRecipe, words) == PretrainRecipe()


def test_help_is_at_once_and_imports_no_torch() -> None:
    # The wall-clock time of a new process, the best of three; then sys.modules after the help was printed.
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run(command("--help"), check=True, capture_output=True)
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 1.0
    code = (
        "import sys; sys.argv = ['interlingua', {words}]\n"
        "from interlingua.cli import main\n"
        "try: main()\n"
        "except SystemExit: print([m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules])"
    )
    for words in ("'--help'", "'pretrain', '--help'", "'recipe', 'list'"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(words=words)], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"


def test_settings_of_threads_are_made_before_torch() -> None:
    # A new process without the variables has them after importing the command line; given ones stay as they are.
    code = "import os, sys, interlingua.cli; print(os.environ['OMP_WAIT_POLICY'], os.environ['TOKENIZERS_PARALLELISM'], 'torch' in sys.modules)"  # noqa: E501
    bare = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM")}
    for extra, wanted in (({}, "PASSIVE true False"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE true False")):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**bare, **extra}
        )
        assert done.stdout.strip() == wanted


def test_version() -> None:
    # The attribute against the option.
    import interlingua

    assert run("--version").stdout == f"interlingua {interlingua.__version__}\n"
