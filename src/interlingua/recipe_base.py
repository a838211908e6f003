"""What all typed recipes are made of: frozen pydantic trees whose documentation stands under each field.

Decision: unknown keys are errors, values are checked before anything runs, and the text under a field is its
documentation everywhere (``--help``, ``recipe show``, the site). Price: a new option is a field of some recipe, never a
loose keyword. Files and the command line become recipes in :mod:`interlingua.recipe_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

__all__ = ["Place", "Positive", "Rate", "Recipe", "Share"]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0.0, lt=1.0)]


def _place(value: object) -> Path | str:
    if not isinstance(value, (str, Path)):
        raise ValueError(f"a path or an address, not {value!r}")
    return value if isinstance(value, str) and "://" in value else Path(value)


#: A path, or an address on object storage.
Place = Annotated[Path | str, PlainValidator(_place)]


class Recipe(BaseModel):
    """Base of all recipe sections: frozen, no unknown keys, documented by the text under each field."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
