"""recipe.py: what the types take, refuse and say of themselves; pydantic's own ValidationError is the oracle."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from interlingua.recipe import PretrainRecipe
from interlingua.recipe_base import Recipe
from interlingua.recipe_objectives import ContrastRecipe, TLMRecipe
from interlingua.recipe_transfer import FinetuneRecipe


@pytest.mark.parametrize(
    ("tree", "place"),
    [
        ({"train": {"steps": 0}}, ("train", "steps")),
        ({"train": {"warmup": 1.5}}, ("train", "warmup")),
        ({"model": {"hidden": -1}}, ("model", "hidden")),
        ({"objectives": [{"type": "contrast", "languages": 1}]}, ("objectives", 0, "contrast", "languages")),
        ({"objectives": [{"type": "mlm", "mask": 0.9, "random": 0.2}]}, ("objectives", 0, "mlm")),
        ({"sed": 1}, ("sed",)),
    ],
)
def test_senseless_values_are_refused(tree: dict[str, object], place: tuple[str | int, ...]) -> None:
    """Out of range, senseless together, or unknown: refused at the place where it stands."""
    with pytest.raises(ValidationError) as caught:
        PretrainRecipe.model_validate(tree)
    assert caught.value.errors()[0]["loc"] == place


def test_recipes_are_frozen() -> None:
    """What a run was begun with cannot be changed under it."""
    with pytest.raises(ValidationError, match="frozen"):
        PretrainRecipe().seed = 1


def sections(kind: type[Recipe]):
    yield kind
    for field in kind.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Recipe):
            yield from sections(field.annotation)


@pytest.mark.parametrize("kind", [PretrainRecipe, FinetuneRecipe, TLMRecipe, ContrastRecipe])
def test_every_value_is_documented(kind):
    """Each field that is not a section has a description."""
    for section in sections(kind):
        for name, field in section.model_fields.items():
            is_section = isinstance(field.annotation, type) and issubclass(field.annotation, Recipe)
            assert field.description or is_section, f"{section.__name__}.{name}"
