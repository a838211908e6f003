"""What importing costs, and who may import whom; the source's syntax tree is the oracle."""

from __future__ import annotations

import ast
import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(importlib.util.find_spec("interlingua").origin).parent

#: Floors of the design: a module imports from its own floor and those below it.
FLOORS = {
    "errors": 0, "languages": 0, "batch": 0, "recipe": 0, "recipe_base": 0, "recipe_file": 0, "recipe_corpus": 0,
    "recipe_objectives": 0,
    "recipe_continual": 0, "recipe_multitask": 0, "recipe_suite": 0, "recipe_transfer": 0, "recipe_translate": 0,
    "run": 0, "data": 0, "scores": 0,
    "text": 1,
    "vocab": 2, "models": 2,
    "shards": 3, "objectives": 3, "probe": 3, "corpus": 3,
    "train": 4, "tasks": 4, "prepare": 4,
    "pretrain": 5, "pretrain_check": 5, "transfer": 5, "translate": 5,
    "evaluate": 6,
    "report": 7, "export": 7,
    "compress": 8, "serve": 8, "studies": 8, "tour": 8, "doctor": 8, "bench": 8,
    "cli": 9,
}  # fmt: skip
#: Modules that need no torch, and must not load it.
LIGHT = ("interlingua", "interlingua.errors", "interlingua.languages", "interlingua.recipe",
         "interlingua.recipe_file", "interlingua.recipe_transfer", "interlingua.recipe_translate",
         "interlingua.recipe_multitask", "interlingua.recipe_continual", "interlingua.recipe_suite", "interlingua.run",
         "interlingua.text", "interlingua.vocab", "interlingua.corpus", "interlingua.prepare",
         "interlingua.pretrain", "interlingua.translate")  # fmt: skip


def modules() -> dict[str, Path]:
    """Dotted name of every module of the package and its file."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, in_functions: bool, for_types: bool) -> Iterator[str]:
    """Names of the package's modules that a file imports when it is loaded, and on wish later or for type checkers."""

    def visit(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ImportFrom) and child.module and child.module.startswith("interlingua"):
                yield child.module
                for alias in child.names:
                    yield f"{child.module}.{alias.name}"
            elif isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names if alias.name.startswith("interlingua"))
            elif not in_functions and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            elif not for_types and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for other in child.orelse:
                    yield from visit(other)
            else:
                yield from visit(child)

    known = modules()
    yield from (name for name in visit(ast.parse(path.read_text(encoding="utf-8"))) if name in known)


def floor(module: str) -> int:
    top = module.split(".")[1]
    assert top in FLOORS, f"{module} stands on no floor: put {top!r} into FLOORS and into the design"
    return FLOORS[top]


@pytest.mark.parametrize("module", [name for name in modules() if name != "interlingua"])
def test_imports_go_downhill(module):
    """Every import, inside functions and for types too, is from the same floor or one below."""
    uphill = [
        name
        for name in imports(modules()[module], in_functions=True, for_types=True)
        if name != "interlingua" and floor(name) > floor(module)
    ]
    assert uphill == []


def test_no_circles():
    """Modules can be ordered so that each needs only earlier ones to load (depth-first search finds no way back)."""
    graph = {name: set(imports(path, in_functions=False, for_types=False)) - {name} for name, path in modules().items()}
    done: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way, name])
        if name not in done:
            for other in sorted(graph[name]):
                # A package and its own parts are one place: the package's list of names imports them all.
                if other != name.rpartition(".")[0]:
                    follow(other, (*way, name))
            done.add(name)

    for name in graph:
        follow(name, ())


def test_packages_have_no_circles():
    """The same between the packages: nothing imports back and forth, in functions neither."""
    graph: dict[str, set[str]] = {}
    for name, path in modules().items():
        if name != "interlingua":
            top = name.split(".")[1]
            names = imports(path, in_functions=True, for_types=False)
            graph.setdefault(top, set()).update({n.split(".")[1] for n in names if n != "interlingua"} - {top})

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way, name])
        for other in sorted(graph[name]):
            follow(other, (*way, name))

    for name in graph:
        follow(name, ())


def test_import_is_quick():
    """`import interlingua` takes under 0.3 s (median of five processes, by python -X importtime)."""
    seconds = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import interlingua"], capture_output=True, text=True, check=True
        )
        line = next(line for line in done.stderr.splitlines() if line.split("|")[-1].strip() == "interlingua")
        seconds.append(int(line.split("|")[1]) / 1e6)
    assert statistics.median(seconds) < 0.3


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_load_no_torch(module):
    """Importing it leaves torch and transformers out of sys.modules."""
    code = f"import sys, {module}; sys.exit(any(n in sys.modules for n in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
