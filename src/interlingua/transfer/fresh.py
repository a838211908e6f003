"""Parts of a network that begin anew: what is a pretrained body worth, what are its embeddings?

In: an encoder and a part. Out: an encoder whose part has the random weights of a new network and whose rest is as it
was. Decision: the parts are those that ``freeze`` knows, the embeddings (their norm and positions included) and all
above them. Price: a copy of the network.

Source: Kao and Lee 2021 (arXiv 2103.07162), who teach a network of one discipline another one, with embeddings or
everything drawn anew beside it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from interlingua.errors import RecipeError

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.recipe_transfer import TuneRecipe

__all__ = ["check_fresh", "renewed"]


def check_fresh(recipe: TuneRecipe) -> None:
    """Refuse new weights that would never be taught.

    Raises:
        RecipeError: as said.
    """
    if recipe.fresh == "none":
        return
    allowed = ("none", "embeddings") if recipe.fresh == "body" else ("none",)
    if recipe.freeze not in allowed or recipe.method != "full":
        raise RecipeError(
            f"tune.fresh = {recipe.fresh!r} with tune.method = {recipe.method!r} and tune.freeze = {recipe.freeze!r}",
            expected=f"tune.method=full and tune.freeze={' or '.join(allowed)}: new weights have everything to learn",
            where="tune.fresh",
        )


def renewed(encoder: Encoder, part: str, *, seed: int) -> Encoder:
    """The encoder with a part of its network drawn anew.

    Args:
        encoder: not changed.
        part: ``none``, ``embeddings``, ``body`` (all but those), or ``all``.
        seed: of the weights, which are drawn by the class's own initialisation.
    """
    import torch

    from interlingua.models.architectures import architecture
    from interlingua.models.build import reinitialised

    if part == "none":
        return encoder
    fresh = reinitialised(encoder.model, seed=seed)
    embeddings = {id(p) for module in architecture(fresh).stack(fresh.base_model)[0] for p in module.parameters()}
    with torch.no_grad():
        for new, old in zip(fresh.parameters(), encoder.model.parameters(), strict=True):
            if part != "all" and (id(new) in embeddings) == (part == "body"):
                new.copy_(old)
    return replace(encoder, model=fresh)
