"""Tuned models scored with every language moved onto the source, at each layer.

In: models of one task (one a seed), and labelled examples in several languages, the source's among them. Out: scores
at every layer, and a layer chosen without a label of the target languages. At layer l the states x of all
tokens of language L become (Liu et al. 2020, arXiv 2010.10041)

    x + alpha (mean_l(tokens of the source's texts) - mean_l(tokens of L's texts))

Decision: the layer is the one after which the classes predicted for the target languages are both sure and many: the
highest mutual information of text and class, H(mean of p) - mean of H(p), as in Shi and Sha (2012, arXiv 1206.6438) and
Liang et al. (2020, arXiv 2002.08546); a network that calls all texts of a language the same is sure too. Means and
information are of unlabelled test texts. Price: one run of the network a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from interlingua.errors import LanguageError, RecipeError
from interlingua.evaluate.run import Predicted
from interlingua.models.precision import for_inference, inference_dtype
from interlingua.models.steering import layer_means, steerable_layers, steered
from interlingua.tasks.base import prediction_batches

if TYPE_CHECKING:
    from interlingua.scores import Score
    from interlingua.tasks.base import Encoded, Example, States, Task
    from interlingua.transfer.tune import Tuned

__all__ = ["RULE", "Steered", "evaluate_steered"]

#: How the layer is chosen, in words for tables.
RULE = "highest mutual information of text and predicted class in the target languages; no label of theirs is used"


@dataclass(frozen=True)
class Steered:
    """Scores at every layer.

    Attributes:
        scores: rows of ``MODEL+steer@LAYER``; the source's, which is not moved, are the same at every layer.
        information: layer -> mutual information of text and predicted class, mean of the target languages, in nats.
    """

    scores: list[Score]
    information: dict[int, float]

    @property
    def layer(self) -> int:
        """The layer that the rule chooses."""
        return max(self.information, key=lambda layer: self.information[layer])


def evaluate_steered(
    tuned: Sequence[Tuned],
    examples: Sequence[Example],
    *,
    source: str,
    layers: Sequence[int] = (),
    alpha: float = 1.0,
    split: str = "test",
    max_length: int = 128,
    model: str = "tuned",
    on_language: Callable[[str, int, int], None] | None = None,
) -> Steered:
    """Score models steered at each of some layers.

    Args:
        tuned: models of one task, one a seed.
        examples: labelled examples; each knows its language.
        source: language onto which the others are moved; it is not moved itself.
        layers: where to; all, 0 being the embeddings, if none are named.
        alpha: how far; 1 puts the means upon each other.
        split: name of the part, for the rows.
        max_length: longest example in tokens.
        model: name in the rows.
        on_language: called as (language, done, all) before each language.

    Raises:
        RecipeError: a task without classes, a class of network that cannot be steered, a layer that it does not have.
        LanguageError: no examples in the source, in no other language, or of two languages each.
        LabelError: a label that training never saw.
    """
    task = tuned[0].task
    if not task.labels:
        raise RecipeError(f"steering a task of type {task.kind!r}", expected="classes, by which the layer is chosen",
                          where="--steer")  # fmt: skip
    count = steerable_layers(tuned[0].model)
    if beyond := [layer for layer in layers if not 0 <= layer < count]:
        raise RecipeError(f"layer {beyond[0]}", expected=f"0 (embeddings) to {count - 1}", where="--steer")
    groups: dict[str, list[Example]] = {source: []}
    for example in examples:
        groups.setdefault(example.lang, []).append(example)
    if not groups[source] or len(groups) < 2:
        raise LanguageError(
            f"examples in {', '.join(lang for lang, rows in groups.items() if rows) or 'no language'}",
            expected=f"the source {source!r} and at least one more",
            where="--source",
        )
    if mixed := [lang for lang in groups if "/" in lang]:
        raise LanguageError(
            f"examples in {mixed[0]}, two languages each",
            expected="examples in one language, whose mean is moved",
            where="--steer",
            next_step="name the languages without them: --languages",
        )
    dtype = inference_dtype(tuned[0].model)
    networks = [for_inference(one.model, dtype) for one in tuned]
    goals: list[NDArray[np.float64]] = []
    scores: list[Score] = []
    information: dict[int, list[float]] = {layer: [] for layer in layers or range(count)}
    for done, (lang, rows) in enumerate(groups.items()):
        if on_language:
            on_language(lang, done, len(groups))
        encoded, _ = task.encode(rows, tuned[0].tokenizer, max_length=max_length)
        for place, (one, network) in enumerate(zip(tuned, networks, strict=True)):
            batches = (one.task.batch(some, one.tokenizer) for _, some in prediction_batches(encoded, one.tokenizer))
            means = layer_means(network, (batch.to(network.device) for batch in batches))
            rows_of = partial(_rows, one=one, network=network, lang=lang, split=split, encoded=encoded)
            if lang == source:
                goals.append(means)
                kept = list(one.task.states(network, encoded, one.tokenizer))
                scores += [score for layer in information for score in rows_of(f"{model}+steer@{layer}", kept)]
                continue
            for layer in information:
                with steered(network, layer, {lang: alpha * (goals[place][layer] - means[layer])}):
                    kept = list(one.task.states(network, encoded, one.tokenizer))
                information[layer].append(_information(one.task, network, kept))
                scores += rows_of(f"{model}+steer@{layer}", kept)
    return Steered(scores, {layer: float(np.mean(found)) for layer, found in information.items()})


def _rows(
    name: str, states: Sequence[States], *, one: Tuned, network: Any, lang: str, split: str, encoded: list[Encoded]
) -> list[Score]:
    predicted = one.task.predict_states(network, states, encoded)
    return Predicted(name, lang, split, one, predicted, encoded, one.task.counts(predicted, encoded)).scores()


def _information(task: Task, network: Any, states: Sequence[States]) -> float:
    """Mutual information of an example (or word) and its predicted class, in nats."""
    with torch.inference_mode():
        log_p = torch.cat([task.logits(network, own_KD).float().log_softmax(dim=-1) for _, own_KD, _ in states])
        mean_C = log_p.exp().mean(dim=0)
        return float(torch.special.entr(mean_C).sum() + (log_p.exp() * log_p).sum(dim=-1).mean())
