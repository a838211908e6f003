"""Held-out loss, per objective and per language.

In: a model, the held-out shards' stream, and the objectives. Out: mean loss (nats a prediction) by language, and for
objectives that predict tokens an estimate of bits per character:

    bits per character = mean loss / ln 2  x  tokens / characters of that language's held-out text

(only hidden tokens are predicted, so it is the masked loss spread over all tokens: comparable between vocabularies,
not with a causal model's).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from interlingua.objectives.base import Objective
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["HeldOut", "held_out_losses"]


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
    model: PreTrainedModel, stream: Stream, objectives: Sequence[Objective], *, batches: int = 4, seed: int = 0
) -> HeldOut:
    """Measure on the first ``batches`` batches of the held-out stream, with masks that never change."""
    result = HeldOut()
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for objective in objectives:
            sums = torch.zeros(len(stream.languages), dtype=torch.double)
            counts = torch.zeros(len(stream.languages), dtype=torch.double)
            for t in range(batches):
                batch = stream.batch(t, objective.layout)
                targets = objective.prepare(batch, keyed_generator(seed, t, 4))
                loss = objective.loss(model, batch.to(model.device), targets.to(model.device))
                languages = loss.languages_N.cpu()
                sums.index_add_(0, languages, loss.each_N.double().cpu())
                counts.index_add_(0, languages, torch.ones(len(languages), dtype=torch.double))
            by = {lang: float(sums[i] / counts[i]) for i, lang in enumerate(stream.languages) if counts[i] > 0}
            result.losses[objective.name] = by
            if objective.name in {"mlm", "tlm", "sbo", "nsp", "sop"}:
                per = stream.shards.manifest["per_language"]
                result.bits_per_character[objective.name] = {
                    lang: value / math.log(2) * per[lang]["tokens"] / per[lang]["characters"]
                    for lang, value in by.items()
                    if per[lang]["characters"]
                }
    model.train(was_training)
    return result
