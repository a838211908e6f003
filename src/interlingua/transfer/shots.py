"""A few examples a class: the few-shot setting.

In: training examples, how many of each class, a seed. Out: a part of them. Decision: a seed orders the examples once
and takes the first of every class, so that 4 shots are among its 8, and each seed is another draw. Price: with one seed
a few-shot score says little; take several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from interlingua.errors import DataError

__all__ = ["draw_shots"]


def draw_shots(examples: Sequence[Any], shots: int, seed: int) -> list[Any]:
    """So many examples of every class and language, in the order of the files.

    Args:
        examples: with a ``label`` each; those without (sentences with tags, questions) are all of one class.
        shots: how many of each class and language.
        seed: of the draw.

    Raises:
        DataError: a class that has fewer.
    """

    def group(example: Any) -> tuple[str, str]:
        return example.lang, getattr(example, "label", "")

    counts = Counter(map(group, examples))
    if short := {of: count for of, count in counts.items() if count < shots}:
        (lang, label), count = next(iter(short.items()))
        raise DataError(
            f"{count} examples of class {label!r} in {lang!r}"
            + (f", and {len(short) - 1} more classes with too few" if len(short) > 1 else ""),
            expected=f"at least {shots}",
            where="task.shots",
            next_step="take fewer shots, or more examples",
        )
    taken: Counter[tuple[str, str]] = Counter()
    chosen = []
    for i in np.random.default_rng([seed, 11]).permutation(len(examples)).tolist():
        if taken[group(examples[i])] < shots:
            taken[group(examples[i])] += 1
            chosen.append(i)
    return [examples[i] for i in sorted(chosen)]
