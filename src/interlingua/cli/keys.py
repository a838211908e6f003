"""The keys of a recipe as help: each with its default and the text that stands under its field.

Recipe types flow in; a verb whose ``--help`` lists their keys flows out. Decision: nothing is written down twice; a
new field of a recipe is in the help by itself.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from interlingua.cli.console import Verb

__all__ = ["ContinualVerb", "CorpusVerb", "FinetuneVerb", "PretrainVerb", "TranslateVerb", "recipe_keys"]


def _sections(annotation: Any) -> list[Any]:
    """Recipe classes inside a type: one for a section, several for a list of objectives."""
    from interlingua.recipe_base import Recipe

    if isinstance(annotation, type) and issubclass(annotation, Recipe):
        return [annotation]
    return [found for argument in typing.get_args(annotation) for found in _sections(argument)]


def recipe_keys(kind: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield ``(key=default, meaning)`` for every key that can stand on the command line.

    Args:
        kind: a recipe class.
        prefix: path of the section, ending in a dot.
    """
    for name, field in kind.model_fields.items():
        inner = _sections(field.annotation)
        meaning = " ".join((field.description or "").split())
        if not inner:
            default = field.get_default(call_default_factory=True)
            shown = "" if field.is_required() or default in (None, (), {}) else f"{default}"
            yield f"{prefix}{name}={shown}", meaning
        elif field.annotation is inner[0]:
            yield from recipe_keys(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}=[...]", meaning or "a list"
            seen: set[str] = set()
            for section in inner:
                for key, text in recipe_keys(section, f"{prefix}{name}.N."):
                    # Objectives share keys; `type` says itself which values there are.
                    if (path := key.partition("=")[0]) not in seen:
                        seen.add(path)
                        yield (f"{path}=" if len(inner) > 1 and path.endswith(".type") else key), text


class _RecipeVerb(Verb):
    """A verb that takes a recipe of one kind."""

    recipe_kind = ""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example, then all keys."""
        from interlingua.recipe_file import KINDS

        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        with formatter.section("Keys (N: number in the list, from 0)"):
            formatter.write_dl(list(recipe_keys(KINDS[self.recipe_kind])), col_max=34)


class PretrainVerb(_RecipeVerb):
    """A verb that takes a pretraining recipe."""

    recipe_kind = "pretrain"


class FinetuneVerb(_RecipeVerb):
    """A verb that takes a tuning recipe."""

    recipe_kind = "finetune"


class ContinualVerb(_RecipeVerb):
    """A verb that takes a recipe of a stream."""

    recipe_kind = "continual"


class CorpusVerb(_RecipeVerb):
    """A verb that takes a corpus recipe."""

    recipe_kind = "corpus"


class TranslateVerb(_RecipeVerb):
    """A verb that takes a translation recipe."""

    recipe_kind = "translate"
