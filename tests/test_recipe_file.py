"""recipe_file.py: reading, overriding, refusing and printing recipes; PyYAML is the oracle of what YAML says."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.errors import LanguageError, RecipeError, RunError
from interlingua.recipe import ModelRecipe, PretrainRecipe, TrainRecipe
from interlingua.recipe_file import bundled_recipes, load_recipe, open_run, recipe_kind, show_recipe, to_yaml
from interlingua.recipe_objectives import ContrastRecipe, MLMRecipe, TLMRecipe
from interlingua.recipe_transfer import FinetuneRecipe

FULL = """
kind: pretrain
name: road
data:
  texts: [{path: a.txt, lang: eng_Latn}, {path: b.jsonl}]
  pairs: [{path: p.tsv, source_lang: zho_Hant, target_lang: en}]
  weights: {no: 2, deu: 1}
objectives:
  - {type: contrast, weight: 0.5}
  - {type: tlm, rate: 0.2, unit: word}
train: {steps: 20, lr: 1e-3}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "road.yaml"
    path.write_text(FULL, encoding="utf-8")
    return path


def refused(source, kind=PretrainRecipe, overrides=()) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load_recipe(source, kind, overrides)
    return caught.value


def test_values_and_tags_are_read(file):
    """Every value given is in the tree, tags in canonical form; `no` is Norwegian, not false; the rest are defaults."""
    recipe = load_recipe(file, PretrainRecipe)
    assert [s.lang for s in recipe.data.texts] == ["en", None]
    assert (recipe.data.pairs[0].source_lang, recipe.data.pairs[0].target_lang) == ("zh-Hant", "en")
    assert recipe.data.weights == {"nb": 2.0, "de": 1.0}
    assert [type(o) for o in recipe.objectives] == [ContrastRecipe, TLMRecipe]
    assert (recipe.train.steps, recipe.train.lr, recipe.train.warmup) == (20, 0.001, 0.05)


@pytest.mark.parametrize(
    ("key", "value", "nearest", "where"),
    [
        ("trian", {}, "train", "trian"),
        ("train", {"step": 3}, "steps", "train.step"),
        ("data", {"text": []}, "texts", "data.text"),
        ("data", {"pairs": [{"path": "a", "source_lang": "en", "target_lng": "de"}]}, "target_lang", "pairs.0"),
        ("objectives", [{"type": "mlm", "rat": 0.1}], "rate", "objectives.0"),
        ("objectives", [{"type": "mlm"}, {"type": "contrast", "temprature": 1}], "temperature", "objectives.1"),
    ],
)
def test_unknown_keys_name_the_nearest(key, value, nearest, where):
    """A misspelt key anywhere in the tree is refused with the nearest known one and its place."""
    error = refused({key: value})
    assert f"did you mean {nearest!r}" in error.found
    assert where in error.where


@pytest.mark.parametrize(
    ("tree", "place"),
    [
        ({"train": {"steps": 0}}, "train.steps"),
        ({"train": {"lr": "fast"}}, "train.lr"),
        ({"model": {"family": "roberta"}}, "model.family"),
        ({"objectives": []}, "objectives"),
        ({"objectives": [{"type": "nsq"}]}, "objectives.0"),
        ({"objectives": [{"type": "mlm", "mask": 0.9, "random": 0.2}]}, "objectives.0"),
        ({"train": None}, "train"),
    ],
)
def test_wrong_values_are_refused(tree, place):
    """Out of range, of another type, or senseless together: RecipeError with key, value and what was expected."""
    error = refused(tree)
    assert place in error.where
    assert error.expected


def test_unknown_language_is_refused():
    """A language nobody knows, in a recipe: an error with the nearest tag."""
    with pytest.raises((RecipeError, LanguageError), match="deuu"):
        load_recipe({"data": {"texts": [{"path": "a", "lang": "deuu"}]}}, PretrainRecipe)


def test_overrides(file):
    """Words of the command line win: sections, list items by number, whole lists, new sections, empty values."""
    words = [
        "train.lr=3e-4",
        "objectives.1.rate=0.4",
        "objectives.0={type: mlm, weight: 2}",
        "model.hidden=64",
        "data.pivot=null",
        "data.weights.fi=0.5",
        "name=a=b",
        "data.texts.1.lang=no",
    ]
    recipe = load_recipe(file, PretrainRecipe, words)
    assert recipe.train.lr == 3e-4
    assert recipe.objectives[1].rate == 0.4
    assert recipe.objectives[0] == MLMRecipe(weight=2)
    assert recipe.model.hidden == 64
    assert recipe.data.pivot is None
    assert recipe.data.weights == {"nb": 2.0, "de": 1.0, "fi": 0.5}
    assert recipe.name == "a=b"
    assert recipe.data.texts[1].lang == "nb"


def test_override_of_an_item_of_a_default_list():
    """An item of a list the file does not have is the default's item with that key changed."""
    assert load_recipe({}, PretrainRecipe, ["objectives.0.rate=0.3"]).objectives == (MLMRecipe(rate=0.3),)


@pytest.mark.parametrize(
    "word",
    [
        "train.lr", "=3", "train.lr.x=3", "objectives.7.rate=0.1", "objectives.x.rate=0.1", "objectives.rate=0.1",
        "objectives.2=1", "train.lr=[", "trian.lr=1", "objectives.-1.rate=0.1", "name.x=1",
    ],
)  # fmt: skip
def test_overrides_that_make_no_sense(file, word):
    """No value, no such item, a value taken for a section, bad YAML: RecipeError, never another exception."""
    refused(file, overrides=[word])


@given(st.text(alphabet="abc.=01[]{}:- \n", max_size=20))
@settings(max_examples=150, deadline=None)
def test_any_override_gives_a_recipe_or_a_recipe_error(word):
    """Whatever is typed, the outcome is a RecipeError, or a recipe that is the same when it was written and read."""
    try:
        recipe = load_recipe({}, PretrainRecipe, [word])
    except RecipeError:
        return
    assert load_recipe(yaml.safe_load(to_yaml(recipe)), PretrainRecipe) == recipe


def test_files_that_are_no_recipe(tmp_path):
    """Bad YAML names its line; a list, undecodable bytes, an unknown name, another verb's recipe are refused."""
    path = tmp_path / "x.yaml"
    path.write_text("name: a\ntrain:\n  steps: [1, 2\nseed: 1\n")
    with pytest.raises(yaml.YAMLError) as oracle:
        yaml.safe_load(path.read_text())
    assert f"line {oracle.value.problem_mark.line + 1}" in refused(path).where
    path.write_text("- 1\n- 2\n")
    assert "[1, 2] instead of a recipe" in refused(path).found
    assert "a folder" in refused(tmp_path).found
    path.write_bytes(b"name: \xff\xfe\n")
    assert str(path) in refused(path).where
    assert "scratch" in refused("scrach").found
    path.write_text("kind: finetune\n")
    assert "'finetune'" in refused(path).found
    assert refused(path).next_step == "interlingua finetune runs this one"
    assert recipe_kind(path) is FinetuneRecipe
    path.write_text("kind: pretrian\n")
    assert refused(path).next_step is None  # there is no such verb
    with pytest.raises(RecipeError, match="did you mean 'pretrain'"):
        recipe_kind(path)
    path.write_text("")
    assert load_recipe(path, PretrainRecipe) == PretrainRecipe()


def test_bundled_recipes_are_valid():
    """Every recipe inside the package reads as its kind, and its first line says what it is for."""
    for name, about in bundled_recipes().items():
        assert load_recipe(name, recipe_kind(name)).name
        assert len(about) > 20


RECIPES = [
    PretrainRecipe(),
    FinetuneRecipe(),
    load_recipe(yaml.safe_load(FULL.replace("no:", "'no':")), PretrainRecipe),
    PretrainRecipe(name="äöü: #1", model=ModelRecipe(hidden=32), train=TrainRecipe(lr=1e-7, epsilon=1e-12)),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
def test_printed_recipes_read_back(recipe, tmp_path):
    """to_yaml and show_recipe are YAML (for PyYAML too) that gives the same recipe, with every field in it."""
    for number, text in enumerate((to_yaml(recipe), show_recipe(recipe))):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        assert load_recipe(path, type(recipe)) == recipe
        assert yaml.safe_load(text) == yaml.safe_load(to_yaml(recipe))


def test_show_recipe_explains_every_key():
    """Each key's documentation stands beside it."""
    lines = show_recipe(PretrainRecipe()).splitlines()
    undocumented = [line for line in lines if "#" not in line]
    assert undocumented == []


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    """Keys that a saved recipe does not have yet count as their defaults; another value than these is another run."""
    recipe = load_recipe({"train": {"steps": 7}}, PretrainRecipe)
    old = yaml.safe_load(to_yaml(recipe))
    del old["model"]["separate_specials"], old["data"]["window"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(old), encoding="utf-8")
    changed = load_recipe(to_dict(recipe), PretrainRecipe, ["model.separate_specials=true"])
    with pytest.raises(RunError, match=r"separate_specials = False, now model\.separate_specials = True"):
        open_run(tmp_path, changed)
    with open_run(tmp_path, recipe):
        assert (tmp_path / "recipe.yaml").read_text(encoding="utf-8") == to_yaml(recipe)
    old["model"]["a_key_that_was_dropped"] = 1
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(old), encoding="utf-8")
    with pytest.raises(RunError, match="a_key_that_was_dropped = 1, now no"):
        open_run(tmp_path, recipe)


def to_dict(recipe):
    return yaml.safe_load(to_yaml(recipe))
