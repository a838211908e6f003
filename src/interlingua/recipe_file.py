"""Recipes read, overridden, checked and shown.

In: YAML files, names of bundled recipes, and ``key.sub=value`` words from the command line. Out: the types of
:mod:`interlingua.recipe`, and from them YAML again, plain or with every key explained. Decision: a misspelt key is an
error with the nearest known one, and a recipe is saved whole beside its result. Price: a saved recipe is long.
"""

from __future__ import annotations

import copy
import json
import re
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from interlingua.errors import RecipeError, nearest
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_base import Recipe
from interlingua.recipe_continual import ContinualRecipe
from interlingua.recipe_corpus import CorpusRecipe
from interlingua.recipe_multitask import MultitaskRecipe
from interlingua.recipe_suite import SuiteRecipe
from interlingua.recipe_transfer import FinetuneRecipe
from interlingua.recipe_translate import TranslateRecipe
from interlingua.run import Run

__all__ = ["bundled_recipes", "load_recipe", "open_run", "recipe_kind", "show_recipe", "to_yaml"]

R = TypeVar("R", bound=Recipe)
KINDS: dict[str, type[Recipe]] = {
    "pretrain": PretrainRecipe,
    "finetune": FinetuneRecipe,
    "multitask": MultitaskRecipe,
    "continual": ContinualRecipe,
    "corpus": CorpusRecipe,
    "suite": SuiteRecipe,
    "translate": TranslateRecipe,
}
_VERBS = {
    "corpus": "corpus build",
    "multitask": "finetune",
    "suite": "evaluate --suite",
    "translate": "translate train",
}


class _Loader(yaml.SafeLoader):
    """YAML with the booleans of its version 1.2: ``no`` is Norwegian, not false."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def bundled_recipes() -> dict[str, str]:
    """Names of the recipes inside the package, with the first comment line of each."""
    folder = files("interlingua.data").joinpath("recipes")
    found = {}
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".yaml"):
            first = file.read_text(encoding="utf-8").splitlines()[0]
            found[file.name.removesuffix(".yaml")] = first.lstrip("# ")
    return found


def _read(source: str | Path) -> tuple[dict[str, Any], str]:
    path = Path(source)
    if path.is_file():
        try:
            text, where = path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(
                f"a recipe that cannot be read: {error}", expected="a UTF-8 file", where=str(path)
            ) from error
    else:
        names = bundled_recipes()
        if path.is_dir():
            raise RecipeError(f"a folder: {str(source)!r}", expected="a YAML file", where=str(path))
        if str(source) not in names:
            raise RecipeError(
                f"no recipe {str(source)!r}{nearest(str(source), names)}",
                expected=f"a YAML file or one of {', '.join(names)}",
                next_step="interlingua recipe list",
            )
        where = f"bundled recipe {source}"
        text = files("interlingua.data").joinpath("recipes", f"{source}.yaml").read_text(encoding="utf-8")
    try:
        tree = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise RecipeError(
            f"not YAML: {getattr(error, 'problem', error)!r}",
            expected="keys and values in YAML",
            where=f"{where}{line}",
        ) from error
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise RecipeError(
            f"{repr(tree)[:40]} instead of a recipe", expected="keys and values, such as `kind: pretrain`", where=where
        )
    return tree, where


def _item(node: list[Any], key: str, word: str) -> int:
    """The place in a list that ``key`` means."""
    if not key.isdigit() or int(key) >= len(node):
        raise RecipeError(
            f"override {word!r}: no item {key!r}",
            expected=f"a number from 0 to {len(node) - 1}" if node else "a list that is not empty",
            where="command line",
        )
    return int(key)


def _enter(node: Any, key: str, default: Any, word: str) -> Any:
    """The section or list under ``key``, made where it is missing."""
    if isinstance(node, list):
        inner = node[_item(node, key, word)]
    else:
        # A list that only the defaults have is spelt out, so that its items have numbers.
        inner = node.setdefault(key, copy.deepcopy(default) if isinstance(default, list) else {})
    if not isinstance(inner, (dict, list)):
        raise RecipeError(
            f"override {word!r}: {key!r} is the value {inner!r}", expected="a section or a list", where="command line"
        )
    return inner


def _override(tree: dict[str, Any], words: Sequence[str], defaults: Mapping[str, Any]) -> None:
    for word in words:
        path, equals, value = word.partition("=")
        if not equals or not path:
            raise RecipeError(f"override {word!r}", expected="key.sub=value", where="command line")
        node: Any = tree
        default: Any = defaults
        *parents, last = path.split(".")
        for key in parents:
            default = default.get(key) if isinstance(default, Mapping) else None
            node = _enter(node, key, default, word)
        try:
            parsed = yaml.load(value, Loader=_Loader)
        except yaml.YAMLError as error:
            raise RecipeError(
                f"override {word!r}: {value!r} is not YAML",
                expected="a number, a word, [a list] or {keys: values}, quoted where the shell would read it",
                where="command line",
            ) from error
        if isinstance(node, list):
            node[_item(node, last, word)] = parsed
        else:
            node[last] = parsed


def _section(kind: type[Recipe], location: Sequence[str | int]) -> type[Recipe] | None:
    """The recipe class that holds the last key of a location, for the did-you-mean."""
    current: type[Recipe] | None = kind
    choices: list[type[Recipe]] = []
    for key in location[:-1]:
        if current is None:
            return None
        if isinstance(key, int):
            continue
        field = current.model_fields.get(key)
        if field is None:  # what tells the kinds of a list's items apart
            current = next((c for c in choices if c.model_fields["type"].default == key), None)
            continue
        choices = list(_recipe_types(field.annotation))
        current = choices[0] if choices else None
    return current


def _recipe_types(annotation: Any) -> Iterator[type[Recipe]]:
    if isinstance(annotation, type) and issubclass(annotation, Recipe):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _recipe_types(argument)


def _explain(error: ValidationError, kind: type[Recipe], where: str) -> RecipeError:
    # A misspelt key often makes the right one missing as well: the misspelling is the cause.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        section = _section(kind, first["loc"])
        known = list(section.model_fields) if section else []
        return RecipeError(
            f"unknown key {str(first['loc'][-1])!r}{nearest(str(first['loc'][-1]), known)}",
            expected=f"one of {', '.join(known)}" if known else None,
            where=f"{where}, {location}",
        )
    # pydantic names its own classes where a section was expected.
    said = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return RecipeError(
        f"{location} = {first.get('input')!r}",
        expected="a section: keys and values" if first["type"] == "model_type" else said,
        where=f"{where}, {location}",
        next_step="interlingua recipe show NAME prints every key with its meaning",
    )


def load_recipe(source: str | Path | Mapping[str, Any], kind: type[R], overrides: Sequence[str] = ()) -> R:
    """Read, override and check a recipe.

    Args:
        source: a YAML file, the name of a bundled recipe, or the keys themselves.
        kind: the recipe class expected.
        overrides: ``key.sub=value`` words; list items by number (``objectives.0.rate=0.3``).

    Raises:
        RecipeError: unknown key (with the nearest one), wrong value, or a recipe of another verb.
    """
    if isinstance(source, Mapping):
        tree, where = json.loads(json.dumps(dict(source), default=str)), "recipe"
    else:
        tree, where = _read(source)
    _override(tree, overrides, kind().model_dump(mode="json"))
    wanted = kind.model_fields["kind"].default if "kind" in kind.model_fields else None
    if wanted and (given := tree.get("kind", wanted)) != wanted:
        raise RecipeError(
            f"a recipe of kind {given!r}",
            expected=f"kind: {wanted}",
            where=where,
            next_step=f"interlingua {_VERBS.get(str(given), given)} runs this one" if str(given) in KINDS else None,
        )
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, kind, where) from error


def recipe_kind(source: str | Path) -> type[Recipe]:
    """The recipe class that a file or bundled recipe is of."""
    tree, where = _read(source)
    name = str(tree.get("kind", "pretrain"))
    if name not in KINDS:
        raise RecipeError(f"kind {name!r}{nearest(name, KINDS)}", expected=f"one of {', '.join(KINDS)}", where=where)
    return KINDS[name]


def open_run(
    folder: Path,
    recipe: Recipe,
    *,
    head: Mapping[str, str] = MappingProxyType({}),
    execution: Collection[str] = (),
    leads: bool = True,
) -> Run:
    """The run folder of a recipe.

    A recipe that an earlier version of this package saved there counts as the same if the keys that it lacks have their
    defaults.

    Args:
        folder: where the run lives.
        recipe: what is run; saved there.
        head: keys that are saved above the recipe's own, and say whose it is.
        execution: as for :class:`~interlingua.run.Run`.
        leads: as there.

    Raises:
        RunError: the folder holds a run of another recipe, or another process is using it.
    """

    def rewritten(text: str) -> str:
        try:
            tree = dict(yaml.load(text, _Loader))
            above = {key: tree.pop(key) for key in head if key in tree}
            return _dumped(above, load_recipe(tree, type(recipe)))
        except (RecipeError, yaml.YAMLError, TypeError, ValueError):
            return text

    return Run(folder, _dumped(head, recipe), execution=execution, leads=leads, rewritten=rewritten)


def to_yaml(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as YAML."""
    return _dumped({}, recipe)


def _dumped(head: Mapping[str, Any], recipe: Recipe) -> str:
    return yaml.safe_dump({**head, **recipe.model_dump(mode="json")}, sort_keys=False, allow_unicode=True)


def show_recipe(recipe: Recipe, *, indent: int = 0) -> str:
    """The whole recipe as YAML with each key's meaning beside it."""
    lines = []
    pad = "  " * indent
    for name, field in type(recipe).model_fields.items():
        value = getattr(recipe, name)
        comment = f"  # {' '.join(field.description.split())}" if field.description else ""
        if isinstance(value, Recipe):
            doc = (type(value).__doc__ or "").splitlines()[0]
            lines += [f"{pad}{name}:  # {doc}", show_recipe(value, indent=indent + 1)]
        elif isinstance(value, tuple) and value and isinstance(value[0], Recipe):
            lines.append(f"{pad}{name}:{comment}")
            for item in value:
                inner = show_recipe(item, indent=indent + 2).splitlines()
                lines += [f"{pad}  - {inner[0].strip()}", *inner[1:]]
        else:
            plain = recipe.model_dump(mode="json", include={name})[name]
            text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10_000)
            lines.append(f"{pad}{name}: {text.removesuffix('...' + chr(10)).strip()}{comment}")
    return "\n".join(lines)
