"""Regression: readers, loss, correlations, controls, and what a run saves."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import root_mean_squared_error
from tests.fixtures_models import FAMILIES, tiny_config
from tests.fixtures_plain import Plain
from transformers import AutoModel, AutoModelForSequenceClassification

from interlingua.errors import LabelError
from interlingua.evaluate import control_scores, evaluate
from interlingua.models.encoder import Encoder
from interlingua.recipe_transfer import LabelledFile, TaskRecipe, TuneRecipe
from interlingua.tasks import Encoded, ScoredText, Scoring
from interlingua.transfer.finetune import build_task, open_tuned, save_tuned
from interlingua.transfer.tune import tune_once

TUNE = TuneRecipe(epochs=2, batch_size=8, lr=1e-3, threads=1, freeze="none")


@pytest.fixture
def examples(tiny_texts: dict[str, list[str]]) -> list[ScoredText]:
    """The number is how long the first text is."""
    return [
        ScoredText(text[: 10 + 7 * i % 90], lang, (10 + 7 * i % 90) / 20, "x")
        for lang in ("en", "ja")
        for i, text in enumerate(tiny_texts[lang][:12])
    ]


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_equals_the_plain_regression_head(family: str, hf_tokenizer: Any, examples: list[ScoredText]) -> None:
    """Packed squared errors against transformers' own of ``problem_type="regression"``, one text a row, in float64."""
    task = Scoring()
    torch.manual_seed(0)
    config = tiny_config(family, vocabulary=8000, pad_token_id=hf_tokenizer.pad_token_id, types=2)
    config.num_labels, config.problem_type = 1, "regression"
    model = AutoModelForSequenceClassification.from_config(config).double().eval()
    encoded, _ = task.encode(examples, hf_tokenizer, max_length=100)
    batch = task.batch(encoded, hf_tokenizer)
    assert batch.rows < len(examples), "the test wants several texts a row"
    ours = task.loss(model, batch, task.prepare(batch, np.random.default_rng(0)))
    plain = []
    for e in encoded:
        inputs = {"input_ids": torch.from_numpy(e.tokens)[None], "labels": torch.from_numpy(e.labels).double()}
        if e.types is not None and family in {"bert", "electra", "albert", "xlm-roberta", "deberta-v2"}:
            inputs["token_type_ids"] = torch.from_numpy(e.types)[None]
        if family == "xlm-roberta":
            inputs["position_ids"] = torch.arange(len(e.tokens))[None] + hf_tokenizer.pad_token_id + 1
        plain.append(model(**inputs).loss)
    torch.testing.assert_close(ours.each_N, torch.stack(plain).detach(), rtol=1e-9, atol=1e-9)
    assert ours.count == len(examples)


numbers = st.floats(-5, 5, width=32).map(lambda x: round(x, 2))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=40))
def test_metrics_against_scipy_and_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    """Pearson's r, Spearman's with ties, and the error, from sums over examples; nothing varying gives 0."""
    own, gold = np.array(pairs, dtype=np.float32).T.astype(np.float64)
    nothing = np.zeros(0, dtype=np.int64)
    scores = Scoring().score(own.tolist(), [Encoded(nothing, "en", np.array([g])) for g in gold])
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(gold, own), abs=1e-6)
    if len(set(own)) == 1 or len(set(gold)) == 1:
        assert (scores["pearson"], scores["spearman"]) == (0.0, 0.0)
    else:
        assert scores["pearson"] == pytest.approx(pearsonr(own, gold).statistic, abs=1e-6)
        assert scores["spearman"] == pytest.approx(spearmanr(own, gold).statistic, abs=1e-9)


@pytest.mark.parametrize("bad", ["high", "", "nan", "inf"])
def test_a_label_that_is_no_number_is_refused(tmp_path: Path, bad: str) -> None:
    """With its file and line; numbers are read as they stand."""
    path = tmp_path / "sts.tsv"
    path.write_text(f"score\ta\tb\n2.5\tone\ttwo\n{bad}\tthree\tfour\n", encoding="utf-8")
    recipe, file = TaskRecipe(type="score", text="a", text_pair="b", label="score"), LabelledFile(path=path, lang="en")
    with pytest.raises(LabelError, match=rf"label '{bad}'(?s:.*)a number(?s:.*)sts.tsv, line 3"):
        Scoring.read(recipe, file)
    path.write_text("score\ta\tb\n2.5\tone\ttwo\n-1e0\tthree\tfour\n", encoding="utf-8")
    assert [(e.score, e.text_pair) for e in Scoring.read(recipe, file)] == [(2.5, "two"), (-1.0, "four")]


PLAIN = """
    import json, sys
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
    assert model.config.problem_type == "regression" and model.config.num_labels == 1
    with torch.no_grad():
        for text, second in json.loads(sys.argv[2]):
            print(json.dumps(model(**tokenizer(text, second, return_tensors="pt")).logits[0].tolist()))
"""


@pytest.mark.parametrize("prefix", ["", "query: "])
def test_a_tuned_network_gives_the_same_numbers_in_plain_transformers(
    prefix: str, hf_tokenizer: Any, examples: list[ScoredText], tmp_path: Path, plain: Plain
) -> None:
    """Numbers of our path against AutoModelForSequenceClassification in a process without us; rows of scores."""
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    encoder = Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, prefix, 100)
    task = build_task(TaskRecipe(type="score"), examples)
    tuned = tune_once(encoder, task, examples, TUNE.model_copy(update={"epochs": 30}), seed=0)
    save_tuned(tuned, tmp_path / "tuned")
    again = open_tuned(tmp_path / "tuned")
    encoded, _ = task.encode(examples, again.tokenizer, max_length=128)
    ours = task.predict(again.model, encoded, again.tokenizer)
    pairs = [(e.text, e.text_pair) for e in examples]
    theirs = plain(textwrap.dedent(PLAIN), str(tmp_path / "tuned"), json.dumps(pairs))
    np.testing.assert_allclose(ours, np.array(theirs)[:, 0], rtol=1e-4, atol=1e-4)
    scores = {(s.language, s.metric): s.value for s in evaluate([again], examples)}
    assert scores["en", "pearson"] > 0.9, "the number is the length of the text, and was taught"
    assert {metric for _, metric in scores} == {"pearson", "spearman", "rmse"}
    ending, text = task.prediction_file(ours, encoded)
    assert (ending, [float(line) for line in text.splitlines()]) == ("tsv", ours)


def test_controls(hf_tokenizer: Any, examples: list[ScoredText]) -> None:
    """The mean does not vary, and its error is the numbers' spread; n-grams that two texts share; random weights."""
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    encoder = Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer)
    alike = [ScoredText(e.text, "en", float(i % 2), e.text if i % 2 else "zzz") for i, e in enumerate(examples)]
    found = {
        (s.model, s.metric): s.value
        for s in control_scores(Scoring(), alike, alike, encoder=encoder, tune=TUNE)
    }  # fmt: skip
    assert found["mean", "pearson"] == 0.0
    assert found["mean", "rmse"] == pytest.approx(np.std([e.score for e in alike]))
    assert found["tfidf", "pearson"] > 0.95
    assert "pearson" in {metric for model, metric in found if model == "random"}
    single = [ScoredText(e.text, "en", e.score) for e in examples]
    alone = control_scores(Scoring(), single, single, kinds=("tfidf",))
    assert next(s.value for s in alone if s.metric == "pearson") > 0.5
