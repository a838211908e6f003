"""AdamW, Muon, and the learning rate's course.

Decision: torch's fused AdamW (Loshchilov and Hutter 2019), decay on matrices only (not on biases and norms); on request
torch's Muon (Jordan 2024) for the matrices inside the layers, its updates scaled so that AdamW's rate fits both (Liu et
al. 2025). The rate at step t is a pure function of t, so a resumed run needs no scheduler state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["Joined", "build_muon", "build_optimizer", "learning_rate_factor", "state_of"]


def learning_rate_factor(step: int, steps: int, *, schedule: str, warmup: float, decay: float = 0.2) -> float:
    """Share of the peak rate used at ``step`` (0-based) of ``steps``.

    Args:
        step: the step about to be taken.
        steps: steps of the whole run.
        schedule: ``linear`` or ``cosine`` to 0, ``wsd`` (flat, then linear to 0 over the last ``decay``), ``constant``.
        warmup: share of the steps over which the rate rises linearly.
        decay: for ``wsd``.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    if schedule == "linear":
        return 1 - done
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if schedule == "wsd":
        left = (steps - step) / max(1, decay * steps)
        return min(1.0, left)
    return 1.0


def build_optimizer(
    named_groups: Iterable[tuple[Iterable[tuple[str, nn.Parameter]], float]],
    *,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.98),
    epsilon: float = 1e-6,
) -> torch.optim.AdamW:
    """Fused AdamW over groups of parameters with a peak rate each.

    Args:
        named_groups: pairs of (named parameters, peak learning rate); parameters that take no gradient are left out.
        weight_decay: for parameters of two or more dimensions.
        betas: first and second moment.
        epsilon: added to the denominator.
    """
    groups = []
    for named, rate in named_groups:
        parameters = [p for _, p in named if p.requires_grad]
        for chosen, decay in (([p for p in parameters if p.ndim > 1], weight_decay),
                              ([p for p in parameters if p.ndim <= 1], 0.0)):  # fmt: skip
            if chosen:
                groups.append({"params": chosen, "lr": rate, "peak_lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, betas=betas, eps=epsilon, fused=True)


def build_muon(
    named: Iterable[tuple[str, nn.Parameter]], *, lr: float, weight_decay: float, momentum: float = 0.95
) -> torch.optim.Muon:
    """Muon over matrices (parameters of two dimensions).

    Args:
        named: the matrices.
        lr: peak rate, as AdamW's: updates have about the size of AdamW's (``match_rms_adamw``).
        weight_decay: decoupled.
        momentum: of the gradients.
    """
    optimizer = torch.optim.Muon(
        [p for _, p in named], lr=lr, weight_decay=weight_decay, momentum=momentum, adjust_lr_fn="match_rms_adamw"
    )
    for group in optimizer.param_groups:
        group["peak_lr"] = lr
    return optimizer


class Joined:
    """Several optimisers, each over parameters of its own, as one.

    Args:
        parts: the optimisers.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        """A step of each."""
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)


def state_of(optimizer: torch.optim.Optimizer | Joined, parameter: nn.Parameter) -> dict[str, Any]:
    """What an optimiser remembers of a parameter, to read or to fill."""
    for part in optimizer.parts if isinstance(optimizer, Joined) else (optimizer,):
        if any(parameter is own for group in part.param_groups for own in group["params"]):
            state: dict[str, Any] = part.state[parameter]
            return state
    return {}
