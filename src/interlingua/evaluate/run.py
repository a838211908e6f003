"""Tuned models scored in every language there is.

In: models of one task (one a seed) and labelled examples in any languages. Out: scores. Decisions: the frozen lower
layers, which the seeds share, are run once a language; inference runs in bf16 where that is measured to be faster;
``shift`` also scores every language after moving its mean onto the source's (Liu et al. 2020, arXiv 2010.10041;
Libovický et al. 2020, arXiv 2004.05160): pooled states x of language L become

    x - mean(x of L's unlabelled test texts) + mean(x of the source's)

which uses no label. Price: the shift needs a batch of texts of the language, not a single one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.models.precision import for_inference, inference_dtype
from interlingua.run import atomic_write
from interlingua.scores import Score
from interlingua.tasks.base import Encoded, add_frozen_states

if TYPE_CHECKING:
    from interlingua.tasks.base import Encoded, Example, States
    from interlingua.transfer.tune import Tuned

__all__ = ["Predicted", "evaluate"]


@dataclass(frozen=True)
class Predicted:
    """What a model predicted in a language.

    Attributes:
        model: name in the rows.
        language: canonical tag, or two.
        split: name of the part, for the rows.
        tuned: the model.
        predictions: one an encoded example.
        encoded: what they are of.
        counts: what each example adds to the metrics, [examples, K].
    """

    model: str
    language: str
    split: str
    tuned: Tuned
    predictions: list[Any]
    encoded: list[Encoded]
    counts: NDArray[np.float64]

    def scores(self) -> list[Score]:
        """A row a metric."""
        task, seed = self.tuned.task, self.tuned.seed
        return [
            Score(self.model, task.name, self.language, self.split, metric, value, len(self.counts), seed)
            for metric, value in task.metrics(self.counts.sum(axis=0)).items()
        ]

    def write(self, folder: Path) -> None:
        """Write the predictions in XTREME's layout: ``FOLDER/seed-N/TASK/test-LANG.tsv`` or ``.json``."""
        task = self.tuned.task
        ending, text = task.prediction_file(self.predictions, self.encoded)
        shifted = "-shift" if self.model.endswith("+shift") else ""
        name = f"test-{self.language.replace('/', '_')}.{ending}"
        atomic_write(folder / f"seed-{self.tuned.seed}{shifted}" / task.name / name, text)


def _by_language(examples: Sequence[Example], first: str | None) -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    if first is not None:
        found[first] = []
    for example in examples:
        found.setdefault(example.lang, []).append(example)
    return {lang: rows for lang, rows in found.items() if rows}


def evaluate(
    tuned: Sequence[Tuned],
    examples: Sequence[Example],
    *,
    split: str = "test",
    max_length: int = 128,
    shift: bool = False,
    source: str = "en",
    model: str = "tuned",
    on_language: Callable[[str, int, int], None] | None = None,
    on_encoded: Callable[[str, list[Encoded]], None] | None = None,
    on_predicted: Callable[[Predicted], None] | None = None,
) -> list[Score]:
    """Score models in all languages of the examples.

    Args:
        tuned: models of one task, one a seed.
        examples: labelled examples; each knows its language.
        split: name of the part, for the rows.
        max_length: longest example in tokens.
        shift: also score with language means shifted onto the source's, as model ``MODEL+shift``.
        source: language whose mean is the goal of the shift; must be among the examples for it.
        model: name in the rows.
        on_language: called as (language, done, all) before each language.
        on_encoded: called with each language's tokenised examples, which hold the states of the frozen layers: whoever
            wants more of the checkpoint's own states need not run those layers again.
        on_predicted: called with what each model predicted in each language.

    Raises:
        LabelError: a label that training never saw.
        LanguageError: a language without an adapter, which the models are not to do without.
    """
    for one in tuned:
        one.notes(examples)
    dtype = inference_dtype(tuned[0].model)
    networks = [for_inference(tuned[0].model, dtype)]
    networks += [for_inference(one.model, dtype, like=(tuned[0].model, networks[0])) for one in tuned[1:]]
    frozen = {t.frozen_layers for t in tuned}
    layers = frozen.pop() if len(frozen) == 1 else 0
    groups = _by_language(examples, source if shift else None)
    goals: list[Any] = [None] * len(tuned)
    scores = []
    for done, (lang, rows) in enumerate(groups.items()):
        if on_language:
            on_language(lang, done, len(groups))
        encoded, _ = tuned[0].task.encode(rows, tuned[0].tokenizer, max_length=max_length)
        if layers and (len(tuned) > 1 or on_encoded):
            encoded = add_frozen_states(networks[0], tuned[0].tokenizer, encoded, layers)
        if on_encoded:
            on_encoded(lang, encoded)
        for i, (one, network) in enumerate(zip(tuned, networks, strict=True)):
            if one.grown:
                one.grown.put(network, one.grown.of_language(lang))
            task, states = one.task, one.task.states(network, encoded, one.tokenizer)
            shifts: dict[str, Any] = {model: None}
            if shift:
                kept = list(states)
                mean = _mean(kept)
                if lang == source:
                    goals[i] = mean
                shifts[f"{model}+shift"] = goals[i] - mean
            for name, by in shifts.items():
                predicted = task.predict_states(network, kept if shift else states, encoded, shift=by)
                found = Predicted(name, lang, split, one, predicted, encoded, task.counts(predicted, encoded))
                if on_predicted:
                    on_predicted(found)
                scores += found.scores()
    return scores


def _mean(states: Sequence[States]) -> Any:
    """Mean of all states before the head, float32 [D]."""
    sums = [states_KD.double().sum(dim=0).cpu().numpy() for _, states_KD, _ in states]
    count = sum(len(states_KD) for _, states_KD, _ in states)
    return (np.sum(sums, axis=0) / max(1, count)).astype(np.float32)
