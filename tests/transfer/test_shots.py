"""Few shots: how many, which, and that they are drawn with the seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from interlingua.errors import DataError
from interlingua.tasks import TextExample
from interlingua.transfer.shots import draw_shots

EXAMPLES = [TextExample(str(i), "en" if i % 3 else "de", "abc"[i % 5 % 3]) for i in range(120)]


def test_as_many_of_every_class_and_language() -> None:
    """Counted; in the order of the files; fewer shots are among more; another seed draws others."""
    four, eight = (draw_shots(EXAMPLES, k, 3) for k in (4, 8))
    assert set(Counter((e.lang, e.label) for e in four).values()) == {4}
    assert len(eight) == 8 * 6
    assert set(four) <= set(eight)
    assert [int(e.text) for e in four] == sorted(int(e.text) for e in four)
    assert draw_shots(EXAMPLES, 4, 3) == four
    assert draw_shots(EXAMPLES, 4, 4) != four


def test_every_example_has_the_same_chance() -> None:
    """Drawn 2,000 times, each example of a class within four standard deviations of its share."""
    rows = [TextExample(str(i), "en", "a") for i in range(20)]
    drawn = Counter(int(e.text) for seed in range(2000) for e in draw_shots(rows, 5, seed))
    counts = np.array([drawn[i] for i in range(20)])
    assert np.abs(counts - 500).max() < 4 * (2000 * 0.25 * 0.75) ** 0.5


def test_too_few_are_named() -> None:
    """Class, language, how many there are."""
    with pytest.raises(DataError, match=r"1 examples of class 'b' in 'de'(?s:.*)at least 2"):
        draw_shots([*EXAMPLES[:1], *EXAMPLES[:1], TextExample("x", "de", "b")], 2, 0)
