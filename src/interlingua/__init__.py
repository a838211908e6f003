"""interlingua: cross-lingual encoders, from raw text to a model taught in one language that works in others.

Decision: a public name is imported when it is first asked for, so that ``import interlingua`` loads neither torch nor
pydantic. Price: three functions share their name with the module they live in (``pretrain``, ``evaluate``, and
``finetune`` by its package), and the import system must be kept from putting the module in the function's place.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlingua import errors, languages
    from interlingua.evaluate import evaluate
    from interlingua.languages import language
    from interlingua.models.encoder import load
    from interlingua.pretrain import pretrain
    from interlingua.recipe import (
        DataRecipe,
        ModelRecipe,
        PretrainRecipe,
        TrainRecipe,
        VocabRecipe,
    )
    from interlingua.recipe_file import load_recipe
    from interlingua.recipe_objectives import ContrastRecipe, MLMRecipe, TLMRecipe
    from interlingua.recipe_transfer import FinetuneRecipe, TaskRecipe, TuneRecipe
    from interlingua.transfer.finetune import finetune

__version__ = "0.1.0"

__all__ = [
    "ContrastRecipe",
    "DataRecipe",
    "FinetuneRecipe",
    "MLMRecipe",
    "ModelRecipe",
    "PretrainRecipe",
    "TLMRecipe",
    "TaskRecipe",
    "TrainRecipe",
    "TuneRecipe",
    "VocabRecipe",
    "__version__",
    "errors",
    "evaluate",
    "finetune",
    "language",
    "languages",
    "load",
    "load_recipe",
    "pretrain",
]

_HOMES = {
    "evaluate": "interlingua.evaluate",
    "finetune": "interlingua.transfer.finetune",
    "language": "interlingua.languages",
    "load": "interlingua.models.encoder",
    "load_recipe": "interlingua.recipe_file",
    "pretrain": "interlingua.pretrain",
    **{name: "interlingua.recipe" for name in __all__ if name.endswith("Recipe")},
    **dict.fromkeys(("ContrastRecipe", "MLMRecipe", "TLMRecipe"), "interlingua.recipe_objectives"),
    **dict.fromkeys(("FinetuneRecipe", "TaskRecipe", "TuneRecipe"), "interlingua.recipe_transfer"),
}
_MODULES = ("errors", "languages")


class _Package(ModuleType):
    """The package, in which a public function is not replaced by the submodule of its name once that is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
