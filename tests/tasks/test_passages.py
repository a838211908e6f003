"""Passage retrieval: readers, and metrics against trec_eval and scikit-learn."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytrec_eval
import torch
from sklearn.metrics import ndcg_score
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError, LanguageError
from interlingua.models.encoder import Encoder
from interlingua.tasks import PassageSet, question_passages, rank_passages, ranking_metrics, read_beir
from interlingua.tasks.rank import passage_prefix


@pytest.fixture(scope="module")
def encoder(hf_tokenizer: Any) -> Encoder:
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer))
    return Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, prefix="query: ", max_length=40)


def drawn(seed: int) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    """Scores of 150 passages for 20 queries, and judgements of some: gains -1 to 3, at least one above 0."""
    chance = np.random.default_rng(seed)
    names = [f"p{i}" for i in range(150)]
    scores = {f"q{i}": dict(zip(names, chance.permutation(150) / 150, strict=True)) for i in range(20)}
    judged = {}
    for query in scores:
        some = chance.choice(names, size=chance.integers(1, 30), replace=False)
        judged[query] = {str(name): int(chance.integers(-1, 4)) for name in some} | {str(some[0]): 2}
    return scores, judged


@pytest.mark.parametrize("seed", range(4))
def test_metrics_equal_trec_eval(seed: int) -> None:
    """Graded judgements, some of them 0 or negative; reciprocal rank over trec_eval's first ten."""
    scores, judged = drawn(seed)
    found = {query: sorted(own, key=lambda name: -own[name])[:100] for query, own in scores.items()}
    ours = ranking_metrics(found, judged)
    full = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.1,10,100"}).evaluate(scores)
    ten = {query: {name: scores[query][name] for name in names[:10]} for query, names in found.items()}
    first = pytrec_eval.RelevanceEvaluator(judged, {"recip_rank"}).evaluate(ten)
    wanted = {
        "mrr@10": [first[query]["recip_rank"] for query in scores],
        "ndcg@10": [full[query]["ndcg_cut_10"] for query in scores],
        **{f"recall@{k}": [full[query][f"recall_{k}"] for query in scores] for k in (1, 10, 100)},
    }
    assert ours == pytest.approx({name: float(np.mean(values)) for name, values in wanted.items()})


def test_ndcg_equals_sklearn() -> None:
    """The same figure from another library, over gains of 0 and more."""
    scores, judged = drawn(9)
    names = list(scores["q0"])
    gains = [[max(0, judged[query].get(name, 0)) for name in names] for query in scores]
    wanted = ndcg_score(gains, [[own[name] for name in names] for own in scores.values()], k=10)
    found = {query: sorted(own, key=lambda name: -own[name]) for query, own in scores.items()}
    assert ranking_metrics(found, judged)["ndcg@10"] == pytest.approx(wanted)


def test_rankings_equal_plain_cosines(encoder: Encoder, tiny_texts: dict[str, list[str]]) -> None:
    """Each ranking against a full sort of the encoder's own cosines, prefixes put by hand; and with means off."""
    queries = dict(zip("abcdef", tiny_texts["de"][:6], strict=True))
    passages = {f"p{i}": text for i, text in enumerate(tiny_texts["en"][:25])}
    one = PassageSet("de", queries, passages, {name: {f"p{i}": 1} for i, name in enumerate("abcde")})
    plain, centred = rank_passages(encoder, [one], centre=True, depth=7)
    bare = Encoder("bare", encoder.model, encoder.tokenizer, max_length=40)
    q = bare.encode([f"query: {queries[name]}" for name in "abcde"], normalize=False).astype(np.float64)
    p = bare.encode([f"passage: {text}" for text in passages.values()], normalize=False).astype(np.float64)
    for ranking, (left, right) in ((plain, (q, p)), (centred, (q - q.mean(0), p - p.mean(0)))):
        cosine = (left / np.linalg.norm(left, axis=1)[:, None]) @ (right / np.linalg.norm(right, axis=1)[:, None]).T
        wanted = [[f"p{j}" for j in row] for row in np.argsort(-cosine, axis=1)[:, :7]]
        assert list(ranking.found.values()) == wanted
        assert (list(ranking.found), ranking.unjudged) == (list("abcde"), 1)
        assert {(s.metric, s.n) for s in ranking.scores("t")} == {(name, 5) for name in ranking.metrics}
    assert (plain.model, centred.model) == ("tiny", "tiny+centred")
    long = [len(encoder.tokenizer(f"passage: {text}")["input_ids"]) > 40 for text in passages.values()]
    assert plain.cut == sum(long)


def test_prefixes_of_passages(encoder: Encoder) -> None:
    """E5's word for passages where E5's is before queries; else the encoder's own."""
    assert passage_prefix(encoder) == "passage: "
    assert passage_prefix(Encoder("m", encoder.model, encoder.tokenizer, prefix="Represent: ")) == "Represent: "


def test_copies_are_ranked_in_the_order_of_the_corpus(encoder: Encoder) -> None:
    """Equal passages have equal scores: the first stands first, and the later one counts as a further rank."""
    passages = {"x": "a long road", "y": "the sea", "z": "the sea"}
    one = PassageSet("en", {"q": "the sea"}, passages, {"q": {"z": 1}})
    (ranking,) = rank_passages(encoder, [one])
    order = ranking.found["q"]
    assert order.index("z") == order.index("y") + 1


def test_no_judged_query_is_refused(encoder: Encoder) -> None:
    """Only judgements of 0."""
    with pytest.raises(DataError, match="no query in 'de' has a relevant passage"):
        rank_passages(encoder, [PassageSet("de", {"q": "a"}, {"p": "b"}, {"q": {"p": 0}})])


CORPUS = [{"_id": "p1", "title": "Sea", "text": "Water."}, {"_id": "p2", "text": "Bread."}]
QUERIES = [{"_id": "q1", "text": "Was ist Brot?", "lang": "deu"}, {"_id": "q2", "text": "What is water?"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\tp2\t1\nq1\tp1\t0\n"


def beir(folder: Path, corpus: list[Any] = CORPUS, queries: list[Any] = QUERIES, qrels: str = QRELS) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in corpus)
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries), encoding="utf-8")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    return folder


def test_beir_folder(tmp_path: Path) -> None:
    """By hand: titles before texts, a set a query language, the query without a judgement kept and not judged."""
    passages = {"p1": "Sea Water.", "p2": "Bread."}
    german, english = read_beir(beir(tmp_path))
    assert german == PassageSet("de", {"q1": "Was ist Brot?"}, passages, {"q1": {"p2": 1, "p1": 0}})
    assert english == PassageSet("en", {"q2": "What is water?"}, passages, {})
    assert (german.judged(), english.judged()) == (["q1"], [])


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"qrels": QRELS + "q9\tp1\t1\n"}, DataError, "query 'q9', which is not there"),
        ({"qrels": QRELS + "q1\tp9\t1\n"}, DataError, "passage 'p9', which is not there"),
        ({"qrels": QRELS + "q1\tp1\tyes\n"}, DataError, "whole number"),
        ({"corpus": CORPUS * 2}, DataError, "the id 'p1' twice"),
        ({"corpus": [{"_id": "p1", "text": " "}]}, DataError, "'text' is ' '"),
        ({"queries": []}, DataError, "empty file"),
        ({"queries": [{"_id": "q1", "text": "a", "lang": "qqq"}]}, LanguageError, "qqq"),
    ],
)
def test_beir_folders_that_are_refused(
    tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Judgements of what is not there, a gain that is no number, ids twice, empty texts and files, a wrong tag."""
    with pytest.raises(error, match=message):
        read_beir(beir(tmp_path, **changed))


def test_a_folder_without_a_corpus(tmp_path: Path) -> None:
    """The file that is missing is named."""
    with pytest.raises(DataError, match=r"no corpus\.jsonl in"):
        read_beir(tmp_path)


def rows(file: Path, *entries: tuple[str, str, str]) -> Path:
    lines = (json.dumps({"id": i, "question": q, "context": c}) + "\n" for i, q, c in entries)
    file.write_text("".join(lines), encoding="utf-8")
    return file


def test_questions_within_a_language_and_across(tmp_path: Path) -> None:
    """Two questions share a paragraph; across, ids join; a question the other file lacks is not judged."""
    german = rows(tmp_path / "de.jsonl", ("1", "Wer?", "Text A"), ("2", "Wo?", "Text A"), ("3", "Wann?", "Text B"))
    english = rows(tmp_path / "en.jsonl", ("1", "Who?", "A text"), ("3", "When?", "B text"), ("4", "Why?", "C text"))
    own = question_passages(german, language="de")
    assert own.passages == {"0": "Text A", "1": "Text B"}
    assert own.judgements == {"1": {"0": 1}, "2": {"0": 1}, "3": {"1": 1}}
    across = question_passages(german, language="deu", passages=english)
    assert across.queries == {"1": "Wer?", "2": "Wo?", "3": "Wann?"}
    assert across.passages == {"0": "A text", "1": "B text", "2": "C text"}
    assert (across.judgements, across.judged()) == ({"1": {"0": 1}, "3": {"1": 1}}, ["1", "3"])
    with pytest.raises(DataError, match="no id of"):
        question_passages(german, language="de", passages=rows(tmp_path / "x.jsonl", ("9", "a", "b")))


def test_squads_own_layout(tmp_path: Path) -> None:
    """The same questions as nested JSON give the same set."""
    entries = (("1", "Who?", "A"), ("2", "Where?", "A"), ("3", "When?", "B"))
    lines = rows(tmp_path / "q.jsonl", *entries)
    paragraphs = [
        {"context": context, "qas": [{"id": i, "question": q} for i, q, c in entries if c == context]}
        for context in ("A", "B")
    ]
    nested = tmp_path / "q.json"
    nested.write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    assert question_passages(nested, language="en") == question_passages(lines, language="en")
    nested.write_text('{"data": [{}]}', encoding="utf-8")
    with pytest.raises(DataError, match="id = None"):
        question_passages(nested, language="en")


@pytest.mark.parametrize(
    ("entries", "message"),
    [((("1", "a", "b"), ("1", "c", "d")), "the id '1' twice"), ((("1", " ", "b"),), "question = ' '")],
)
def test_questions_that_are_refused(tmp_path: Path, entries: Any, message: str) -> None:
    """An id twice, an empty question."""
    with pytest.raises(DataError, match=message):
        question_passages(rows(tmp_path / "q.jsonl", *entries), language="en")
