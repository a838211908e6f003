"""The bundled recipes, and the verb that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fixtures_cli import run

from interlingua.data import resolve
from interlingua.recipe_file import bundled_recipes, load_recipe, recipe_kind, to_yaml
from interlingua.recipe_transfer import FinetuneRecipe


@pytest.mark.parametrize("name", bundled_recipes())
def test_shown_is_loaded(name: str, tmp_path: Path) -> None:
    # What `recipe show` writes is, read back, the recipe; its first line says what it is.
    result = run("recipe", "show", name)
    assert result.exit_code == 0
    file = tmp_path / "my.yaml"
    file.write_text(result.stdout, encoding="utf-8")
    kind = recipe_kind(name)
    assert load_recipe(file, kind) == load_recipe(name, kind)
    assert result.stdout.startswith("# ")
    assert len(bundled_recipes()[name]) > 20
    document = json.loads(run("recipe", "show", name, "--json").stdout)
    assert to_yaml(load_recipe(document, kind)) == to_yaml(load_recipe(name, kind))


@pytest.mark.parametrize("name", ["bible-tiny", "topics", "cloze"])
def test_what_reads_bundled_files_can_run(name: str) -> None:
    # The verb finds their files in the package.
    result = run("recipe", "check", name, "--json")
    assert result.exit_code == 0, result.output
    files = json.loads(result.stdout)["files"]
    assert all(file.startswith("package:") and resolve(file).is_file() for file in files)


@pytest.mark.parametrize(
    ("name", "text"),
    [("pos", "task.train"), ("ner", "task.train"), ("bert-base-wiki", "wiki.jsonl.zst"), ("topcs", "'topics'")],
)
def test_what_needs_files_says_so(name: str, text: str) -> None:
    # Recipes to be filled in by the user, and a name that is none.
    result = run("recipe", "check", name)
    assert result.exit_code == 1
    assert text in result.stderr


def test_a_vocabulary_and_shards_must_be_there(tiny_run: Path, tmp_path: Path) -> None:
    # Those of a finished run can be used; a folder that is none, or the shards alone, cannot.
    shards, vocab = f"data.shards={tiny_run / 'shards'}", f"vocab.path={tiny_run / 'vocab'}"
    assert run("recipe", "check", "bible-tiny", shards, vocab).exit_code == 0
    for words, text in (
        ([vocab, f"data.shards={tmp_path}"], "manifest.json"),
        ([shards, f"vocab.path={tmp_path}"], "no tokenizer.json"),
        ([shards], "without a vocabulary"),
    ):
        result = run("recipe", "check", "bible-tiny", *words)
        assert result.exit_code == 1
        assert text in result.stderr


@pytest.mark.parametrize("kind", ["multitask", "continual"])
def test_recipes_of_several_tasks_are_checked_as_their_verbs_do(kind: str, tmp_path: Path) -> None:
    # No task; one without files; two of one name.
    file = tmp_path / "own.yaml"
    for tasks, text in (
        ("[]", "no tasks"),
        ("[{name: a}]", "tasks.0.train"),
        ("[{name: a, train: [{path: x.tsv}]}, {name: a, train: [{path: x.tsv}]}]", "tasks.1.name"),
    ):
        file.write_text(f"kind: {kind}\ntasks: {tasks}\n", encoding="utf-8")
        result = run("recipe", "check", str(file))
        assert result.exit_code == 1
        assert text in result.stderr


def test_tagging_recipes_take_files(tmp_path: Path) -> None:
    # As their comments say: the whole list on the command line.
    file = tmp_path / "en.tsv"
    file.write_text("a\tDET\n", encoding="utf-8")
    assert run("recipe", "check", "pos", f"task.train=[{{path: {file}, lang: en}}]").exit_code == 0


def test_published_figures() -> None:
    # google-research/bert, multilingual.md: S = 0.7, 12 layers of 768; and BERT's million steps.
    document = json.loads(run("recipe", "show", "bert-base-wiki", "--json").stdout)
    assert document["data"]["exponent"] == document["vocab"]["exponent"] == 0.7
    assert document["vocab"]["size"] == 120_000
    assert document["model"]["size"] == "base"
    assert document["train"]["steps"] == 1_000_000


def test_topics_teaches_english_only() -> None:
    # The recipe's training rows, read from the bundled file: 701 sentences of SIB-200, all English.
    from interlingua.transfer.finetune import read_examples

    recipe = load_recipe("topics", FinetuneRecipe)
    examples = read_examples(recipe.task, recipe.task.train)
    assert len(examples) == 701
    assert {example.lang for example in examples} == {"en"}
