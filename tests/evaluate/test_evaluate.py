"""Scores of tuned models and of controls."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError, LabelError, RecipeError
from interlingua.evaluate import Score, append_scores, control_scores, evaluate, read_scores, summarise
from interlingua.models.encoder import Encoder
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe
from interlingua.tasks import TaggedSentence, TextExample
from interlingua.transfer.finetune import build_task
from interlingua.transfer.tune import Tuned, tune_once


@pytest.fixture(scope="module")
def texts(tiny_texts: dict[str, list[str]]) -> list[TextExample]:
    return [
        TextExample(text[:20] if i % 2 else text, lang, "ab"[i % 2])
        for lang in ("en", "de", "ja")
        for i, text in enumerate(tiny_texts[lang][:20])
    ]


@pytest.fixture(scope="module")
def tuned(hf_tokenizer: Any, texts: list[TextExample]) -> list[Tuned]:
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    encoder = Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, max_length=100)
    english = [e for e in texts if e.lang == "en"]
    task = build_task(TaskRecipe(name="length"), english)
    recipe = TuneRecipe(epochs=2, batch_size=8, lr=1e-3, threads=1, freeze=1)
    return [tune_once(encoder, task, english, recipe, seed=seed) for seed in (0, 1)]


def plain_states(tuned: Tuned, texts: list[str]) -> torch.Tensor:
    """First-token states of the plain model, one text at a time."""
    rows = []
    for text in texts:
        with torch.no_grad():
            rows.append(tuned.model.bert(**tuned.tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0])
    return torch.stack(rows)


def test_accuracy_and_shift_equal_those_by_hand(tuned: list[Tuned], texts: list[TextExample]) -> None:
    """Accuracy per language and seed, raw and with means shifted, against plain transformers and the formula."""
    scores = {(s.model, s.language, s.seed): s for s in evaluate(tuned, texts, shift=True) if s.metric == "accuracy"}
    assert len(scores) == 2 * 3 * 2
    for one in tuned:
        states = {lang: plain_states(one, [e.text for e in texts if e.lang == lang]) for lang in ("en", "de", "ja")}
        for lang in states:
            gold = [one.task.labels.index(e.label) for e in texts if e.lang == lang]
            moved = states[lang] - states[lang].mean(0) + states["en"].mean(0)
            for name, vectors in (("tuned", states[lang]), ("tuned+shift", moved)):
                with torch.no_grad():
                    pooled = one.model.bert.pooler(vectors[:, None])
                    predicted = one.model.classifier(pooled).argmax(-1).tolist()
                right = float(np.mean(np.array(predicted) == np.array(gold)))
                assert scores[name, lang, one.seed].value == pytest.approx(right)
                assert scores[name, lang, one.seed].n == 20


def test_a_label_that_training_never_saw_is_refused(tuned: list[Tuned]) -> None:
    """Evaluation examples with another label set."""
    with pytest.raises(LabelError, match="label 'c'"):
        evaluate(tuned, [TextExample("x", "de", "c", where="f, line 2")])


def test_controls_equal_their_definitions(tuned: list[Tuned], texts: list[TextExample]) -> None:
    """Majority against a count; TF-IDF against scikit-learn called directly."""
    english = [e for e in texts if e.lang == "en"][:15]
    scores = {
        (s.model, s.language): s.value
        for s in control_scores(tuned[0].task, english, texts, kinds=("majority", "tfidf"))
        if s.metric == "accuracy"
    }
    most = Counter(e.label for e in english).most_common(1)[0][0]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, min_df=2)
    model = LogisticRegression(C=10.0, max_iter=500).fit(
        vectorizer.fit_transform([e.text for e in english]), [e.label for e in english]
    )
    for lang in ("en", "de", "ja"):
        rows = [e for e in texts if e.lang == lang]
        assert scores["majority", lang] == pytest.approx(np.mean([e.label == most for e in rows]))
        predicted = model.predict(vectorizer.transform([e.text for e in rows]))
        assert scores["tfidf", lang] == pytest.approx(np.mean(predicted == [e.label for e in rows]))


def test_the_random_control_is_one_layer_all_of_it_taught(
    tuned: list[Tuned], texts: list[TextExample], hf_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the recipe freezes or adds: one layer of the encoder's width, all of its tensors changed."""
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    encoder = Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, max_length=100)
    english = [e for e in texts if e.lang == "en"]
    taught: list[Tuned] = []

    def noted(*words: Any, **named: Any) -> Tuned:
        taught.append(tune_once(*words, **named))
        return taught[-1]

    monkeypatch.setattr(importlib.import_module("interlingua.transfer.tune"), "tune_once", noted)
    recipe = TuneRecipe(
        epochs=1, batch_size=8, threads=1, freeze=1, method="madx", language_adapters={"en": Path("of another encoder")}
    )
    scores = control_scores(tuned[0].task, english, texts, kinds=("random",), encoder=encoder, tune=recipe, seed=5)
    assert {(s.model, s.language) for s in scores} == {("random", lang) for lang in ("en", "de", "ja")}
    config.num_hidden_layers = 1
    torch.manual_seed(5)
    fresh = dict(AutoModel.from_config(config).named_parameters())
    own = dict(taught[0].model.base_model.named_parameters())
    assert set(own) == set(fresh)
    # Keys' biases shift all scores of a query alike, so that no gradient ever moves them.
    moved = {name for name in own if "key.bias" not in name}
    assert [name for name in moved if torch.equal(own[name], fresh[name])] == []


def test_controls_for_tags_and_an_unknown_control(tuned: list[Tuned]) -> None:
    """The most frequent tag everywhere; a misspelt control names the nearest."""
    rows = [TaggedSentence(("a", "b", "c"), ("X", "X", "Y"), "en"), TaggedSentence(("d",), ("Y",), "de")]
    task = build_task(TaskRecipe(type="tag"), rows)
    scores = {s.language: s.value for s in control_scores(task, rows[:1], rows, kinds=("majority",))}
    assert scores == {"en": pytest.approx(2 / 3), "de": 0.0}
    with pytest.raises(RecipeError, match="did you mean 'tfidf'"):
        control_scores(task, rows, rows, kinds=("tf-idf",))
    with pytest.raises(RecipeError, match="without an encoder"):
        control_scores(task, rows, rows, kinds=("random",))


def test_summary_by_hand() -> None:
    """Mean, sample standard deviation over seeds, gap to the source, control beside."""

    def row(model: str, lang: str, value: float, seed: int | None) -> Score:
        return Score(model, "t", lang, "test", "accuracy", value, 10, seed)

    rows = [row("m", "en", 0.9, 0), row("m", "en", 0.7, 1), row("m", "de", 0.5, 0), row("m", "de", 0.5, 1)]
    rows += [row("majority", "de", 0.2, None), Score("m", "t", "de", "test", "macro_f1", 0.1, 10, 0)]
    first, second = summarise(rows, metric="accuracy", source="en", model="m")
    assert (first.language, first.mean, first.seeds) == ("en", pytest.approx(0.8), 2)
    assert first.spread == pytest.approx(0.1 * 2**0.5)
    assert (second.mean, second.gap, second.spread) == (0.5, pytest.approx(0.3), 0.0)
    assert second.controls == {"majority": 0.2}


def test_scores_are_kept_replaced_and_read(tmp_path: Path) -> None:
    """A row of the same key replaces the old one; a broken line is named."""
    path = tmp_path / "scores.jsonl"
    old, new = (Score("m", "t", "zh-Hant", "test", "accuracy", v, 5, 0) for v in (0.1, 0.2))
    append_scores(path, [old])
    append_scores(path, [new, Score("m", "t", "de", "test", "accuracy", 1.0, 5, 0)])
    assert [s.value for s in read_scores(path)] == [0.2, 1.0]
    path.write_text(path.read_text() + "nonsense\n")
    with pytest.raises(DataError, match=r"not a score: 'nonsense'(?s:.*)line 3"):
        read_scores(path)
    with pytest.raises(DataError, match="no scores"):
        read_scores(tmp_path / "none.jsonl")
