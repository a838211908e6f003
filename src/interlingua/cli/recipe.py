"""``interlingua recipe``: list, show and check recipes.

Names, files and ``key.sub=value`` words flow in; commented YAML, or the reason why a recipe cannot run, flows out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from interlingua.cli.console import JSON, Answer, Debug, Overrides, RecipeName, Verb, group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlingua.recipe import PretrainRecipe
    from interlingua.recipe_base import Recipe
    from interlingua.recipe_transfer import TaskRecipe

__all__ = ["app"]

app = group("List, show and check recipes.")


@app.command("list", cls=Verb)
def list_recipes(as_json: JSON = False, debug: Debug = False) -> Answer:
    """List the recipes that ship with the package.

    Example:
    interlingua recipe list
    """
    from interlingua.recipe_file import bundled_recipes, recipe_kind

    rows = [{"name": n, "kind": _kind(recipe_kind(n)), "about": about} for n, about in bundled_recipes().items()]
    width = max(len(row["name"]) for row in rows)
    lines = [f"{row['name']:<{width}}  {row['kind']:<9}  {row['about']}" for row in rows]
    return Answer(rows, [*lines, "", "interlingua recipe show NAME > my.yaml   writes one with every key explained"])


@app.command(cls=Verb)
def show(name: RecipeName, overrides: Overrides = None, as_json: JSON = False, debug: Debug = False) -> Answer:
    """Print a whole recipe as YAML, each key explained.

    Example:
    interlingua recipe show topics > my.yaml
    interlingua recipe show bible-tiny train.steps=200
    """
    from interlingua.recipe_file import bundled_recipes, show_recipe

    recipe = _load(name, overrides)
    about = bundled_recipes().get(name)
    return Answer(recipe.model_dump(mode="json"), [*([f"# {about}"] if about else []), show_recipe(recipe)])


@app.command(cls=Verb)
def check(name: RecipeName, overrides: Overrides = None, as_json: JSON = False, debug: Debug = False) -> Answer:
    """Check that a recipe can run.

    Its keys and values, what goes with what, and that its files, vocabulary and shards are there.

    Example:
    interlingua recipe check topics
    interlingua recipe check bible-tiny model.size=small
    """
    from interlingua.data import resolve
    from interlingua.errors import RecipeError
    from interlingua.prepare.plan import make_plan
    from interlingua.pretrain_check import check_pretrain
    from interlingua.recipe import PretrainRecipe
    from interlingua.recipe_continual import ContinualRecipe
    from interlingua.recipe_corpus import CorpusRecipe
    from interlingua.recipe_multitask import MultitaskRecipe
    from interlingua.recipe_transfer import FinetuneRecipe
    from interlingua.tasks.patterns import read_patterns
    from interlingua.text.lines import check_file
    from interlingua.transfer.shared import check_tasks

    recipe = _load(name, overrides)
    if isinstance(recipe, CorpusRecipe):
        files = [Path(file) for file in make_plan(recipe).files]
        return Answer({"recipe": name, "kind": "corpus", "files": files}, [_able(name, "corpus", len(files))])
    if isinstance(recipe, PretrainRecipe):
        check_pretrain(recipe)
        _check_finished(recipe)
    elif isinstance(recipe, ContinualRecipe | MultitaskRecipe):
        check_tasks(recipe.tasks)
    elif isinstance(recipe, FinetuneRecipe) and not recipe.task.train and recipe.task.shots != 0:
        raise RecipeError(
            "a task without training files",
            expected="task.train: [{path: FILE, lang: TAG}]",
            where="task.train",
            next_step=f"interlingua recipe show {name} > my.yaml, and fill in the files",
        )
    files = _files(recipe)
    for file in files:
        if not file.is_dir():  # LASER's folder of sentences
            check_file(resolve(file))
    for task in _tasks(recipe):
        if task.patterns is not None:
            read_patterns(task.patterns)
    known = {"recipe": name, "kind": _kind(type(recipe)), "files": files}
    return Answer(known, [_able(name, _kind(type(recipe)), len(files))])


def _able(name: str, kind: str, files: int) -> str:
    return f"{name}: a {kind} recipe that can run; {files} file(s) found"


def _check_finished(recipe: PretrainRecipe) -> None:
    """Open the vocabulary and the shards that a recipe names."""
    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.shards.files import joined
    from interlingua.shards.format import fingerprint
    from interlingua.shards.read import ShardSet

    if recipe.vocab.path is not None:
        tokenizer = open_tokenizer(recipe.vocab.path)
        if recipe.data.shards is not None:
            vocabulary = fingerprint(tokenizer.backend_tokenizer)
            ShardSet(joined(recipe.data.shards, "train"), vocabulary=vocabulary, verify=False)


def _load(name: str, overrides: list[str] | None) -> Recipe:
    from interlingua.recipe_file import load_recipe, recipe_kind

    return load_recipe(name, recipe_kind(name), overrides or ())


def _kind(kind: type[Recipe]) -> str:
    return str(kind.model_fields["kind"].default)


def _files(recipe: Recipe) -> list[Path]:
    """All files that a recipe reads."""
    from interlingua.recipe import PretrainRecipe
    from interlingua.recipe_suite import SuiteRecipe
    from interlingua.recipe_translate import TranslateRecipe

    if isinstance(recipe, PretrainRecipe):
        data = recipe.data
        if data.shards is not None:
            return []
        targets = [pair.target_path for pair in data.pairs if pair.target_path]
        return [*(text.path for text in data.texts), *(pair.path for pair in data.pairs), *targets, *data.parallel]
    if isinstance(recipe, SuiteRecipe):
        searched = [entry.retrieve.path for entry in recipe.entries if entry.retrieve]
        tasks = [entry.task for entry in recipe.entries if entry.task]
        return [*(recipe.root / path for path in searched), *_of_tasks(tasks, recipe.root)]
    if isinstance(recipe, TranslateRecipe):
        read = recipe.data
        pairs = [path for pair in (*read.pairs, *read.dev) for path in (pair.path, pair.target_path) if path]
        return [*pairs, *(Path(path) for path in read.parallel), *(text.path for text in read.texts)]
    return _of_tasks(_tasks(recipe))


def _of_tasks(tasks: Sequence[TaskRecipe], root: Path = Path()) -> list[Path]:
    """Labelled files and mappings, each once; those of a suite are under its folder of data."""
    from interlingua.data import rooted

    labelled = [(task, file) for task in tasks for file in (*task.train, *task.dev, *task.test)]
    texts = [path for _, file in labelled for path in (file.path, file.path_pair) if path]
    beside = [one for task in tasks for one in (task.mapping, task.patterns) if isinstance(one, Path)]
    beside += [file.mapping for _, file in labelled if isinstance(file.mapping, Path)]
    return list(dict.fromkeys([*(rooted(path, root) for path in texts), *beside]))


def _tasks(recipe: Recipe) -> tuple[TaskRecipe, ...]:
    """The tasks of a recipe that teaches some."""
    from interlingua.recipe_continual import ContinualRecipe
    from interlingua.recipe_multitask import MultitaskRecipe
    from interlingua.recipe_transfer import FinetuneRecipe

    if isinstance(recipe, FinetuneRecipe):
        return (recipe.task,)
    return recipe.tasks if isinstance(recipe, ContinualRecipe | MultitaskRecipe) else ()
