"""What adapters are made of: bottlenecks, and invertible couplings of two of them.

In: states. Out: what is added to them (Houlsby et al. 2019, arXiv 1902.00751), or other states from which they can be
had again (NICE, Dinh et al. 2015, arXiv 1410.8516; in MAD-X, arXiv 2005.00052):

    a, b <- halves;  a <- a + F(b);  b <- b + G(a)

Decision: ``up`` begins at 0, so that a new adapter changes nothing. Price: its ``down`` learns from the second step on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["Bottleneck", "Coupling"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


class Bottleneck(nn.Module):
    """What an adapter adds: up(activation(down(states))).

    Args:
        width: D_in of the states.
        reduction: D_in divided by the width between the two maps (1 at least).
        activation: ``relu`` or ``gelu``.
        out: width of the result, if not D_in.
    """

    def __init__(self, width: int, reduction: int, activation: str = "relu", *, out: int | None = None) -> None:
        super().__init__()
        inner = max(1, width // reduction)
        self.down = nn.Linear(width, inner)
        self.activation = _ACTIVATIONS[activation]()
        self.up = nn.Linear(inner, out or width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> Tensor:
        """The change of the states."""
        changed: Tensor = self.up(self.activation(self.down(states)))
        return changed


class Coupling(nn.Module):
    """An invertible map of the embeddings, by two additive couplings.

    Args:
        width: E.
        reduction: of F and G, bottlenecks between the halves.
        activation: theirs.
    """

    def __init__(self, width: int, reduction: int, activation: str = "relu") -> None:
        super().__init__()
        self.left = width // 2
        rest = width - self.left
        self.F = Bottleneck(rest, reduction, activation, out=self.left)
        self.G = Bottleneck(self.left, reduction, activation, out=rest)

    def forward(self, states: Tensor) -> Tensor:
        """Through the map."""
        a, b = states[..., : self.left], states[..., self.left :]
        a = a + self.F(b)
        return torch.cat([a, b + self.G(a)], dim=-1)

    def inverse(self, states: Tensor) -> Tensor:
        """And back."""
        a, b = states[..., : self.left], states[..., self.left :]
        b = b - self.G(a)
        return torch.cat([a - self.F(b), b], dim=-1)
