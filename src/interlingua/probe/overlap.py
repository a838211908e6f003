"""How many subwords does a language share with the source, and do scores go with it?

In: texts of several languages and a tokenizer; scores by language. Out: what a language's subwords have in common with
the source's, and correlations with an interval over languages. Decision: subwords are counted, no text is kept, so any
amount of it streams through. Price: overlap grows with the amount of text; compare languages on equally much, best on
the same text translated.

Sources: Wu and Dredze 2019 (arXiv 1904.09077), section 4.4, for shares by type and token and their correlation with
scores; Pires et al. 2019 (arXiv 1906.01502), section 3, for the Jaccard index of the subwords of entities.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, LanguageError
from interlingua.scores import Score
from interlingua.vocab.report import unknown_and_byte_ids
from interlingua.vocab.words import fast_tokenizer

__all__ = ["Correlation", "Interval", "Overlap", "correlation", "subword_overlap"]

_BLOCK = 1024
#: Languages for a correlation: two lie on a line whatever they are, four resampled ones are too often the same.
LEAST = 5


@dataclass(frozen=True)
class Overlap:
    """What a language's subwords have in common with the source's.

    Attributes:
        lang: canonical tag.
        texts: how many.
        types: different subwords.
        jaccard: subwords of both over subwords of either.
        types_in_source: share of its different subwords that the source's text has too.
        tokens_in_source: share of its running subwords that the source's text has too.
    """

    lang: str
    texts: int
    types: int
    jaccard: float
    types_in_source: float
    tokens_in_source: float

    @property
    def measures(self) -> dict[str, float]:
        """The three measures by name."""
        return {
            "jaccard": self.jaccard,
            "types_in_source": self.types_in_source,
            "tokens_in_source": self.tokens_in_source,
        }

    def scores(self, model: str, source: str, metrics: Mapping[str, str] | None = None) -> list[Score]:
        """Rows ``overlap.SOURCE``.

        Args:
            model: whose tokenizer it is.
            source: canonical tag.
            metrics: measures and what they are called in the rows; all by their own names if None.
        """
        names = metrics or {name: name for name in self.measures}
        return [
            Score(model, f"overlap.{source}", self.lang, "all", metric, self.measures[name], self.texts)
            for name, metric in names.items()
        ]


def subword_overlap(tokenizer: Any, texts: Iterable[tuple[str, str]], *, source: str) -> list[Overlap]:
    """Compare the subwords of every language with the source's; special and unknown tokens are not counted.

    Args:
        tokenizer: a fast tokenizer.
        texts: (canonical tag, text), in any order, read once.
        source: canonical tag.

    Returns:
        One a language but the source, in the order in which they come first.

    Raises:
        LanguageError: no text in the source's language, or in no other one.
        DataError: a language none of whose texts has a token.
        VocabularyError: not a fast tokenizer.
    """
    inner = fast_tokenizer(tokenizer)
    found: dict[str, Counter[int]] = {}
    counts: Counter[str] = Counter()
    waiting = iter(texts)
    while some := list(itertools.islice(waiting, _BLOCK)):
        encodings = inner.encode_batch([text for _, text in some], add_special_tokens=False)
        for (lang, _), encoding in zip(some, encodings, strict=True):
            found.setdefault(lang, Counter()).update(encoding.ids)
            counts[lang] += 1
    # Two languages have nothing in common in what the vocabulary does not know.
    for own, unknown in itertools.product(found.values(), unknown_and_byte_ids(inner)[0]):
        del own[unknown]
    if source not in found or len(found) < 2:
        raise LanguageError(f"text in {', '.join(found) or 'no language'}",
                            expected=f"{source!r} and another language at least")  # fmt: skip
    if blank := [lang for lang, own in found.items() if not own]:
        raise DataError(f"no subword in the text of {', '.join(blank)}", expected="text in every language")
    there = set(found[source])
    rows = []
    for lang, own in found.items():
        if lang != source:
            common = there & set(own)
            rows.append(
                Overlap(
                    lang,
                    counts[lang],
                    len(own),
                    len(common) / len(there | set(own)),
                    len(common) / len(own),
                    sum(own[one] for one in common) / own.total(),
                )
            )
    return rows


@dataclass(frozen=True)
class Interval:
    """A correlation coefficient and the interval that holds 95 % of its resampled values."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Correlation:
    """How two numbers of the same languages go together.

    Attributes:
        pearson: of the numbers.
        spearman: of their ranks.
        n: languages.
    """

    pearson: Interval
    spearman: Interval
    n: int


def correlation(
    one: Mapping[str, float], other: Mapping[str, float], *, draws: int = 2000, seed: int = 0
) -> Correlation:
    """Correlate two numbers over the languages that have both.

    Args:
        one: language -> number.
        other: language -> number.
        draws: how often languages are drawn with replacement for the intervals (percentile bootstrap); draws in which
            all are alike have no correlation and are left out.
        seed: of the drawing.

    Raises:
        DataError: fewer than five languages in common, numbers that are not finite, or all alike.
    """
    from scipy.stats import rankdata

    common = sorted(set(one) & set(other))
    pairs_2N = np.array([[side[lang] for lang in common] for side in (one, other)], dtype=np.float64)
    if len(common) < LEAST:
        raise DataError(f"{len(common)} languages with both numbers: {', '.join(common) or 'none'}",
                        expected=f"{LEAST} at least")  # fmt: skip
    if not np.isfinite(pairs_2N).all():
        raise DataError("numbers that are not finite", expected="finite numbers")
    if (np.ptp(pairs_2N, axis=1) == 0).any():
        raise DataError(f"the same number for all {len(common)} languages", expected="numbers that differ")
    drawn_SN = np.random.default_rng(seed).integers(len(common), size=(draws, len(common)))
    resampled_2SN = pairs_2N[:, drawn_SN]
    found = []
    for pick in (np.asarray, lambda values: rankdata(values, axis=-1)):
        value = _pearson(pick(pairs_2N))
        low, high = np.nanquantile(_pearson(pick(resampled_2SN)), [0.025, 0.975])
        found.append(Interval(float(value), float(low), float(high)))
    return Correlation(found[0], found[1], len(common))


def _pearson(pairs_2XN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlation along the last axis; NaN where a side does not vary."""
    x_XN, y_XN = pairs_2XN - pairs_2XN.mean(axis=-1, keepdims=True)
    spread_X = np.sqrt((x_XN**2).sum(axis=-1) * (y_XN**2).sum(axis=-1))
    flat_X = (np.ptp(pairs_2XN, axis=-1) == 0).any(axis=0)
    return np.where(flat_X, np.nan, (x_XN * y_XN).sum(axis=-1) / np.where(flat_X, 1, spread_X))
