"""Bitext mining: candidates as LASER's, thresholds, F1 and files as XTREME's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support
from tests.fixtures_models import tiny_config
from tests.fixtures_vectors import cosines, sides
from transformers import AutoModel

from interlingua.errors import DataError, LanguageError, RecipeError
from interlingua.models.encoder import Encoder
from interlingua.tasks import Bitext, Candidates, best_threshold, candidates, mine, mining_scores, read_bitext
from interlingua.tasks.mine import RETRIEVALS, write_bucc


def by_hand(x: Any, y: Any, retrieval: str, k: int = 4) -> list[tuple[float, int, int]]:
    """Artetxe and Schwenk's ratio margin and retrievals, in loops over a full float64 matrix."""
    cosine = cosines(x, y)
    mean_x = [np.sort(row)[::-1][:k].mean() for row in cosine]
    mean_y = [np.sort(row)[::-1][:k].mean() for row in cosine.T]
    margin = np.array([[c / ((mean_x[i] + mean_y[j]) / 2) for j, c in enumerate(row)] for i, row in enumerate(cosine)])
    forward = [(i, max(np.argsort(-cosine[i])[:k], key=lambda j: margin[i, j])) for i in range(len(x))]
    backward = [(max(np.argsort(-cosine[:, j])[:k], key=lambda i: margin[i, j]), j) for j in range(len(y))]
    pairs = {
        "forward": forward, "backward": backward,
        "intersection": [pair for pair in forward if pair in backward], "max": forward + backward,
    }[retrieval]  # fmt: skip
    rows = sorted(((margin[i, j], int(i), int(j)) for i, j in pairs), key=lambda row: -row[0])
    if retrieval != "max":
        return rows
    kept: list[tuple[float, int, int]] = []
    for row in rows:
        if all(row[1] != other[1] and row[2] != other[2] for other in kept):
            kept.append(row)
    return kept


@pytest.mark.parametrize("retrieval", RETRIEVALS)
def test_candidates_equal_the_paper(retrieval: str) -> None:
    """Pairs, order and scores of each way of retrieval; uneven lists."""
    x, y = sides(40, 52)
    ours, wanted = candidates(x, y, retrieval=retrieval), by_hand(x, y, retrieval)
    assert [pair[1:] for pair in ours] == [pair[1:] for pair in wanted]
    assert [pair[0] for pair in ours] == pytest.approx([pair[0] for pair in wanted], abs=1e-5)
    if retrieval == "max":
        assert len({i for _, i, _ in ours}) == len({j for _, _, j in ours}) == len(ours)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_threshold_is_the_best_of_all(rows: list[tuple[int, bool]], missed: int) -> None:
    """Against every threshold there is, tied scores among them; F1 from precision and recall."""
    rows = sorted(rows, reverse=True, key=lambda row: row[0])
    pairs = [(str(i), str(i)) for i in range(len(rows))]
    found = Candidates(pairs, [float(score) for score, _ in rows])
    gold = frozenset(
        [p for p, (_, right) in zip(pairs, rows, strict=True) if right] + [("x", str(i)) for i in range(missed)]
    )

    def f1(threshold: float) -> float:
        taken = found.above(threshold)
        right = len(gold.intersection(taken))
        return 0.0 if not right else 2 / (len(taken) / right + len(gold) / right)

    assert f1(best_threshold(found, gold)) == pytest.approx(max(f1(score) for score, _ in rows))


def test_threshold_lies_half_way_and_nothing_right_gives_nothing() -> None:
    """Scores 3, 2, 1, of which the first two are right: 1.5. None right: no pair is handed in."""
    found = Candidates([("a", "a"), ("b", "b"), ("c", "c")], [3.0, 2.0, 1.0])
    assert best_threshold(found, frozenset({("a", "a"), ("b", "b")})) == 1.5
    assert found.above(best_threshold(found, frozenset({("z", "z")}))) == []


def test_scores_equal_sklearn() -> None:
    """Precision, recall and F1 of pairs as labels of all pairs there could be."""
    chance = np.random.default_rng(0)
    universe = [(f"s{i}", f"t{j}") for i in range(9) for j in range(9)]
    gold, taken = (frozenset(p for p in universe if chance.random() < 0.3) for _ in range(2))
    bitext = Bitext(("de", "en"), {}, {}, gold)
    scores = {s.metric: s for s in mining_scores(sorted(taken), bitext, model="m", part="test")}
    wanted = precision_recall_fscore_support(
        [p in gold for p in universe], [p in taken for p in universe], average="binary"
    )
    assert [scores[m].value for m in ("precision", "recall", "f1")] == pytest.approx(list(wanted[:3]))
    assert {(s.language, s.split, s.n) for s in scores.values()} == {("de", "test", len(gold))}
    empty = {s.metric: s.value for s in mining_scores([], bitext, model="m", part="test")}
    assert empty == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    with pytest.raises(DataError, match="no true pairs"):
        mining_scores([], Bitext(("de", "en"), {}, {}), model="m", part="test")


def lists(folder: Path, gold: str | None = "de1\ten1\n", german: str = "de1\tHallo\nde2\tJa\n") -> Path:
    (folder / "de-en.training.de").write_text(german, encoding="utf-8")
    (folder / "de-en.training.en").write_text("en1\tHello\nen2\tYes\n", encoding="utf-8")
    if gold is not None:
        (folder / "de-en.training.gold").write_text(gold, encoding="utf-8")
    return folder / "de-en"


def test_files_of_bucc(tmp_path: Path) -> None:
    """By hand; without pairs there are none."""
    stem = lists(tmp_path)
    text = read_bitext(stem, "training")
    assert text == Bitext(
        ("de", "en"), {"de1": "Hallo", "de2": "Ja"}, {"en1": "Hello", "en2": "Yes"}, frozenset({("de1", "en1")})
    )
    (tmp_path / "de-en.training.gold").unlink()
    assert read_bitext(stem, "training").gold is None
    with pytest.raises(DataError, match="no such file"):
        read_bitext(stem, "test")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gold": "de1\ten9\n"}, "names 'en9', which is in no list"),
        ({"gold": "en1\tde1\n"}, "names 'en1'"),
        ({"gold": "de1 en1\n"}, "'de1 en1'"),
        ({"german": "de1\tHallo\nde1\tJa\n"}, "the id 'de1' twice"),
        ({"german": "de1\t \n"}, "de1"),
        ({"german": "\n"}, "no rows"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, changed: dict[str, str], message: str) -> None:
    """An id in no list, sides in the wrong order, no tab, an id twice, an empty text, an empty list."""
    with pytest.raises(DataError, match=message):
        read_bitext(lists(tmp_path, **changed), "training")


def test_names_that_are_refused(tmp_path: Path) -> None:
    """A path without two languages, an unknown one, and an unknown retrieval."""
    with pytest.raises(DataError, match="'bucc'"):
        read_bitext(tmp_path / "bucc", "test")
    for side in ("qqq", "en"):
        (tmp_path / f"qqq-en.test.{side}").write_text("1\ta\n", encoding="utf-8")
    with pytest.raises(LanguageError, match="qqq"):
        read_bitext(tmp_path / "qqq-en", "test")
    with pytest.raises(RecipeError, match="did you mean 'intersection'"):
        candidates(*sides(3, 3), retrieval="intersect")


def test_repeated_sentences_are_searched_once_and_not_handed_in(hf_tokenizer: Any) -> None:
    """Three ids share a sentence: its pair is counted as repeated, the others keep their ids."""
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer))
    encoder = Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, max_length=100)
    texts = {"1": "the sea", "2": "a long road", "3": "the sea", "4": "bread and wine", "5": "the sea"}
    found = mine(encoder, Bitext(("de", "en"), texts, {f"t{k}": v for k, v in texts.items()}), scoring="cosine")
    assert sorted(found.pairs) == [("2", "t2"), ("4", "t4")]
    assert found.repeated == 1
    assert found.scores == pytest.approx([1.0, 1.0], abs=1e-5)


def test_prediction_file(tmp_path: Path) -> None:
    """``bucc2018/test-xx.tsv``; read as XTREME reads it, a set of pairs split at the tab."""
    file = write_bucc(tmp_path, "de", [("de-1", "en-7"), ("de-2", "en-1")])
    assert file == tmp_path / "bucc2018" / "test-de.tsv"
    assert {tuple(line.split("\t")) for line in file.read_text().splitlines()} == {("de-1", "en-7"), ("de-2", "en-1")}
