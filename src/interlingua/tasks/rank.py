"""Passages ranked for each query, and how good the ranking is.

In: sets of queries, passages and judgements. Out: the first 100 passages of every query, and MRR@10, nDCG@10 and recall
by language. Decision: metrics as trec_eval has them (gain is the judgement itself, not 2^gain - 1), each the mean over
queries with a relevant passage. Price: queries without one are not scored; they are counted. Equal scores are ranked in
the order of the corpus (trec_eval: by id, backwards).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.probe.alignment import centred
from interlingua.probe.neighbours import nearest
from interlingua.probe.states import cut_texts, text_vectors
from interlingua.scores import Score
from interlingua.tasks.retrieve import variant

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.tasks.passages import PassageSet

__all__ = ["Ranking", "passage_prefix", "rank_passages", "ranking_metrics"]

_DEPTH = 100
_RECALLS = (1, 10, 100)


@dataclass(frozen=True)
class Ranking:
    """What the queries of a set found.

    Attributes:
        model: name in the rows.
        language: of the queries.
        found: query id -> passage ids, best first.
        metrics: name -> mean over the queries.
        unjudged: queries without a relevant passage, not scored.
        cut: different passages that were longer than the encoder reads.
    """

    model: str
    language: str
    found: dict[str, list[str]]
    metrics: dict[str, float]
    unjudged: int
    cut: int

    def scores(self, task: str) -> list[Score]:
        """A row a metric; ``n`` is the number of queries."""
        count = len(self.found)
        return [
            Score(self.model, task, self.language, "test", name, value, count) for name, value in self.metrics.items()
        ]


def passage_prefix(encoder: Encoder) -> str:
    """What stands before a passage: E5's own word for it where the encoder puts E5's before a query."""
    return "passage: " if encoder.prefix == "query: " else encoder.prefix


def rank_passages(
    encoder: Encoder,
    sets: Sequence[PassageSet],
    *,
    centre: bool = False,
    layer: int | None = None,
    depth: int = _DEPTH,
    progress: Callable[[int], Any] | None = None,
) -> list[Ranking]:
    """The passages nearest by cosine to every judged query.

    Args:
        encoder: any encoder; its prefix is for queries, :func:`passage_prefix` for passages.
        sets: queries, passages, judgements. Sets with the same passages run them once.
        centre: also with the mean of the set's queries, and that of its passages, taken off.
        layer: which layer's states; None for the encoder's own vectors.
        depth: passages kept a query.
        progress: called with the number of texts encoded.

    Raises:
        DataError: a set none of whose queries has a relevant passage.
    """
    asked = [one.judged() for one in sets]
    for one, names in zip(sets, asked, strict=True):
        if not names:
            raise DataError(f"no query in {one.language!r} has a relevant passage", expected="judgements above 0")
    reader = replace(encoder, prefix=passage_prefix(encoder))
    texts = (text for one in sets for text in one.passages.values())
    passages = text_vectors(reader, texts, layer=layer, progress=progress)
    queries = text_vectors(
        encoder,
        (one.queries[name] for one, names in zip(sets, asked, strict=True) for name in names),
        layer=layer,
        progress=progress,
    )
    long = cut_texts(reader, passages.place)
    rankings = []
    for one, names in zip(sets, asked, strict=True):
        left_ND = queries.of([one.queries[name] for name in names])
        right_MD, ids = passages.of(list(one.passages.values())), list(one.passages)
        cut = len(long.intersection(one.passages.values()))
        for centre_now in (False, True) if centre else (False,):
            sides = (centred(left_ND), centred(right_MD)) if centre_now else (left_ND, right_MD)
            near = nearest(*sides, depth).index
            found = {name: [ids[place] for place in row] for name, row in zip(names, near, strict=True)}
            rankings.append(
                Ranking(
                    variant(encoder.name, "cosine", centre=centre_now),
                    one.language,
                    found,
                    ranking_metrics(found, one.judgements),
                    len(one.queries) - len(names),
                    cut,
                )
            )
    return rankings


def ranking_metrics(
    found: Mapping[str, Sequence[str]], judgements: Mapping[str, Mapping[str, int]]
) -> dict[str, float]:
    """``mrr@10``, ``ndcg@10`` and ``recall@1``, ``@10``, ``@100``, means over queries.

    Args:
        found: query -> passages, best first.
        judgements: query -> passage -> gain; every query needs one above 0.
    """
    rows = [
        _one_query([judgements[q].get(p, 0) for p in passages], judgements[q].values()) for q, passages in found.items()
    ]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _one_query(gains: list[int], judged: Iterable[int]) -> dict[str, float]:
    ideal = sorted((gain for gain in judged if gain > 0), reverse=True)
    first = next((rank for rank, gain in enumerate(gains[:10], start=1) if gain > 0), None)
    values = {"mrr@10": 1 / first if first else 0.0, "ndcg@10": _dcg(gains[:10]) / _dcg(ideal[:10])}
    for depth in _RECALLS:
        values[f"recall@{depth}"] = sum(gain > 0 for gain in gains[:depth]) / len(ideal)
    return values


def _dcg(gains: Sequence[int]) -> float:
    ranks: NDArray[Any] = np.arange(2, len(gains) + 2)
    return float((np.maximum(gains, 0) / np.log2(ranks)).sum())
