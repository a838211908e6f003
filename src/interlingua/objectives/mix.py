"""Several objectives in one run.

``sample``: one objective a step, drawn by weight with a key of (seed, step); ``sum``: all of them every step, each on
its own batch, losses (means) added with their weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from interlingua.errors import RecipeError
from interlingua.objectives.base import Objective, Part
from interlingua.shards.sampling import keyed_generator

__all__ = ["Mixture"]


class Mixture:
    """A weighted set of objectives.

    Args:
        objectives: what is learnt.
        weights: one a piece, not negative, not all zero.
        how: ``"sample"`` or ``"sum"``.
        seed: of the run.
        networks: what else learns, by name (parts of the model that languages do not share).
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        weights: Sequence[float],
        *,
        how: str,
        seed: int,
        networks: Mapping[str, nn.Module] | None = None,
    ) -> None:
        if len(objectives) != len(weights) or sum(weights) <= 0:
            raise RecipeError(
                f"weights {list(weights)!r} for {len(objectives)} objectives",
                expected="one weight an objective, at least one of them positive",
                where="objectives",
            )
        self.objectives = tuple(objectives)
        self.how = how
        self._networks = dict(networks or {})
        self.seed = seed
        self._weights = [float(w) for w in weights]
        self._cumulative = np.cumsum(self._weights) / sum(self._weights)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """What learns beside the model by name; the number of the objective goes before names that come twice."""
        found = dict(self._networks)
        for number, objective in enumerate(self.objectives):
            for name, network in objective.networks.items():
                found[name if name not in found else f"{number}-{name}"] = network
        return found

    def parts(self, t: int) -> tuple[Part, ...]:
        """What step ``t`` is made of."""
        if self.how == "sum":
            return tuple(
                Part(i, o, w) for i, (o, w) in enumerate(zip(self.objectives, self._weights, strict=True)) if w
            )
        dice = keyed_generator(self.seed, t, 3).random()
        index = int(np.searchsorted(self._cumulative, dice, side="right"))
        return (Part(index, self.objectives[index], 1.0),)
