"""Held-out loss, per objective and per language.

In: a model, the held-out shards' stream, and the objectives. Out: mean loss (nats a prediction) by language, and for
objectives that predict tokens an estimate of bits per character:

    bits per character = mean loss / ln 2  x  tokens / characters of that language's held-out text

(only hidden tokens are predicted, so it is the masked loss spread over all tokens: comparable between vocabularies,
not with a causal model's).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from interlingua.batch import Batch
from interlingua.objectives.base import Loss, Objective
from interlingua.objectives.ranks import own_rows, sum_over_ranks
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Stream

__all__ = ["HeldOut", "LossOf", "held_out_losses"]

#: Computes the loss of an objective on a batch (or some of its rows) and its targets, both on the network's device.
LossOf = Callable[[Objective, Batch, Any], Loss]


@dataclass(frozen=True)
class HeldOut:
    """Held-out losses.

    Attributes:
        losses: objective name -> language -> mean loss in nats a prediction.
        bits_per_character: objective name -> language -> bits; token objectives only.
    """

    losses: dict[str, dict[str, float]] = field(default_factory=dict)
    bits_per_character: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean over objectives of the mean over languages: what "best checkpoint" and early stopping go by."""
        means = [sum(by.values()) / len(by) for by in self.losses.values() if by]
        return sum(means) / len(means) if means else math.nan


def held_out_losses(
    loss_of: LossOf,
    device: torch.device,
    stream: Stream,
    objectives: Sequence[Objective],
    *,
    batches: int = 4,
    seed: int = 0,
) -> HeldOut:
    """Measure on the first ``batches`` batches of the held-out stream, with masks that never change.

    Ranks share the rows of a batch where an objective lets them.
    """
    result = HeldOut()
    with torch.inference_mode():
        for objective in objectives:
            sums = torch.zeros(2, len(stream.languages), dtype=torch.double, device=device)  # of losses, and how many
            for t in range(batches):
                batch = stream.batch(t, objective.layout)
                targets = objective.prepare(batch, keyed_generator(seed, t, 4))
                sums += _sums(loss_of, device, objective, batch, targets, len(stream.languages))
            losses, counts = sums.tolist()
            by = {lang: losses[i] / counts[i] for i, lang in enumerate(stream.languages) if counts[i]}
            result.losses[objective.name] = by
            if objective.name in {"mlm", "tlm", "sbo", "nsp", "sop"}:
                per = stream.shards.manifest["per_language"]
                result.bits_per_character[objective.name] = {
                    lang: value / math.log(2) * per[lang]["tokens"] / per[lang]["characters"]
                    for lang, value in by.items()
                    if per[lang]["characters"]
                }
    return result


def _sums(
    loss_of: LossOf, device: torch.device, objective: Objective, batch: Batch, targets: Any, languages: int
) -> torch.Tensor:
    """Summed losses and their number, by language: [2, languages], the same on all ranks."""
    rows = own_rows(batch)
    counts = not objective.splittable or rows.start < rows.stop
    if objective.splittable and (rows.start, rows.stop) != (0, batch.rows):
        # A rank without rows runs one that counts nothing: sharded networks meet in every forward pass.
        rows = rows if counts else slice(0, 1)
        targets = objective.rows(targets, batch, rows.start, rows.stop)
        batch = batch.select_rows(rows.start, rows.stop)
    loss = loss_of(objective, batch.to(device), targets.to(device))
    sums = torch.zeros(2, languages, dtype=torch.double, device=device)
    if counts:
        sums[0].index_add_(0, loss.languages_N, loss.each_N.double())
        sums[1].index_add_(0, loss.languages_N, torch.ones_like(loss.each_N, dtype=torch.double))
    return sum_over_ranks(sums) if objective.splittable else sums
