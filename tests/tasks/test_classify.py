"""Text classification: readers, loss, metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from tests.fixtures_models import FAMILIES, PAD, tiny_config
from transformers import AutoModelForSequenceClassification

from interlingua.errors import DataError, LabelError, LanguageError
from interlingua.models.head import pooled_states, sequence_logits
from interlingua.recipe_transfer import LabelledFile, TaskRecipe
from interlingua.tasks import Classify, Encoded, TextExample, read_text_examples

LABELS = ("a", "b", "c")


def sequence_model(family: str) -> Any:
    torch.manual_seed(0)
    config = tiny_config(family, vocabulary=8000)
    config.num_labels = len(LABELS)
    return AutoModelForSequenceClassification.from_config(config).double().eval()


@pytest.fixture
def examples(tiny_texts: dict[str, list[str]]) -> list[TextExample]:
    return [
        TextExample(text, lang, LABELS[i % 3])
        for lang in ("en", "ja", "ru")
        for i, text in enumerate(tiny_texts[lang][:6])
    ]


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_equals_plain_classifier_one_text_a_row(
    family: str, hf_tokenizer: Any, examples: list[TextExample]
) -> None:
    """Packed loss against the plain classifier's mean cross-entropy times the number of texts, in float64."""
    model = sequence_model(family)
    model.config.pad_token_id = hf_tokenizer.pad_token_id
    task = Classify(LABELS)
    encoded, _ = task.encode(examples, hf_tokenizer, max_length=100)
    batch = task.batch(encoded, hf_tokenizer)
    assert batch.rows < len(examples), "the test wants several texts a row"
    ours = task.loss(model, batch, task.prepare(batch, np.random.default_rng(0)))
    plain = torch.stack(
        [
            model(input_ids=torch.from_numpy(e.tokens)[None], labels=torch.from_numpy(e.labels)).loss
            if family != "xlm-roberta"
            else model(
                input_ids=torch.from_numpy(e.tokens)[None],
                position_ids=torch.arange(len(e.tokens))[None] + hf_tokenizer.pad_token_id + 1,
                labels=torch.from_numpy(e.labels),
            ).loss
            for e in encoded
        ]
    )
    assert ours.count == len(examples)
    torch.testing.assert_close(ours.each_N, plain.detach(), rtol=1e-10, atol=1e-10)
    assert PAD  # the families' own pad ids are for other tests; here the tokenizer's is used


def test_pooled_states_then_head_equal_the_whole_model(hf_tokenizer: Any, examples: list[TextExample]) -> None:
    """Class logits from pooled states against the plain model's logits."""
    model = sequence_model("bert")
    task = Classify(LABELS)
    encoded, _ = task.encode(examples, hf_tokenizer, max_length=100)
    batch = task.batch(encoded, hf_tokenizer)
    with torch.no_grad():
        logits = sequence_logits(model, pooled_states(model, batch))
        plain = torch.cat([model(input_ids=torch.from_numpy(e.tokens)[None]).logits for e in encoded])
    torch.testing.assert_close(logits, plain, rtol=1e-10, atol=1e-10)


def test_metrics_against_counts_of_a_confusion_matrix() -> None:
    """Accuracy and macro-F1 against their definitions over scikit-learn's confusion matrix, random cases."""
    chance = np.random.default_rng(0)
    task = Classify(["w", "x", "y", "z"])
    nothing = np.zeros(0, dtype=np.int64)
    for _ in range(50):
        gold, predicted = chance.integers(0, 4, 30), chance.integers(0, 3, 30)
        table = confusion_matrix(gold, predicted, labels=range(4)).astype(float)
        f1 = [
            2 * table[i, i] / (table[i].sum() + table[:, i].sum())
            for i in range(4)
            if table[i].sum() + table[:, i].sum()
        ]
        scores = task.score(predicted, [Encoded(nothing, "en", gold[i : i + 1]) for i in range(30)])
        assert scores["accuracy"] == pytest.approx(np.trace(table) / 30)
        assert scores["macro_f1"] == pytest.approx(np.mean(f1))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_readers_give_the_rows_that_were_written(tmp_path: Path, kind: str) -> None:
    """Rows of one split, with their own languages, from three formats."""
    rows = [
        {"lang": "deu", "split": "train", "text": "Guten Tag", "label": "x"},
        {"lang": "zho_Hant", "split": "test", "text": "你好", "label": "y"},
    ]
    path = tmp_path / f"data.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(r) for r in rows), encoding="utf-8")
    else:
        separator = "," if kind == "csv" else "\t"
        lines = [separator.join(rows[0]), *(separator.join(r.values()) for r in rows)]
        path.write_text("\n".join(lines), encoding="utf-8")
    assert [(e.text, e.lang, e.label) for e in read_text_examples(path)] == [
        ("Guten Tag", "de", "x"),
        ("你好", "zh-Hant", "y"),
    ]
    assert [e.text for e in read_text_examples(path, split="test")] == ["你好"]


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    """A misnamed label column: file, line and the nearest name."""
    path = tmp_path / "data.tsv"
    path.write_text("lang\ttext\tlabels\nen\thello\tx\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no column 'label'; did you mean 'labels'(?s:.*)line 2"):
        read_text_examples(path)


def test_an_uneven_row_is_refused_with_its_line(tmp_path: Path) -> None:
    """A row of two columns in a file of three."""
    path = tmp_path / "data.tsv"
    path.write_text("lang\ttext\tlabel\nen\thello\tx\nen\tlost\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"2 columns(?s:.*)line 3"):
        read_text_examples(path)


def test_a_row_without_language_and_an_unknown_one(tmp_path: Path) -> None:
    """No language anywhere, and one that does not exist."""
    path = tmp_path / "data.tsv"
    path.write_text("text\tlabel\nhello\tx\n", encoding="utf-8")
    with pytest.raises(DataError, match="without a language"):
        read_text_examples(path)
    with pytest.raises(LanguageError, match="did you mean"):
        read_text_examples(path, lang="englsh")


def test_a_label_that_training_never_saw(hf_tokenizer: Any) -> None:
    """The label, what is known, and where it stands."""
    with pytest.raises(LabelError, match=r"label 'bb'; did you mean 'b'(?s:.*)here, line 7"):
        Classify(LABELS).encode([TextExample("x", "en", "bb", where="here, line 7")], hf_tokenizer, max_length=10)


def test_labels_that_training_never_saw_are_wrong_if_the_recipe_says_so(hf_tokenizer: Any) -> None:
    """Against scikit-learn with the unseen label among the gold ones: no example is lost."""
    task = Classify(["x", "y"], unseen="wrong")
    gold = ["x", "y", "z", "z", "x"]
    rows = [TextExample(f"text {i}", "sw" if i else "en", label) for i, label in enumerate(gold)]
    encoded, _ = task.encode(rows, hf_tokenizer, max_length=20)
    found = ["x", "x", "x", "y", "x"]
    scores = task.score([task.labels.index(label) for label in found], encoded)
    assert scores["accuracy"] == pytest.approx(accuracy_score(gold, found))
    assert scores["macro_f1"] == pytest.approx(f1_score(gold, found, average="macro", zero_division=0.0))
    assert task.check_labels(rows) == ["label 'z' was never taught: 2 examples in sw counted as wrong"]


def test_cut_examples_are_counted(hf_tokenizer: Any) -> None:
    """Two of three texts are longer than the longest length."""
    texts = [TextExample("word " * n, "en", "a") for n in (1, 50, 60)]
    encoded, cut = Classify(LABELS).encode(texts, hf_tokenizer, max_length=12)
    assert cut == 2
    assert [len(e.tokens) for e in encoded][1:] == [12, 12]


def test_two_texts_in_two_languages(tmp_path: Path) -> None:
    """First texts of one file with second texts of a parallel one; files that are not parallel."""
    header = "label\ta\tb\n"
    (tmp_path / "en.tsv").write_text(header + "yes\tone\ttwo\nno\tthree\tfour\n", encoding="utf-8")
    (tmp_path / "de.tsv").write_text(header + "yes\teins\tzwei\nno\tdrei\tvier\n", encoding="utf-8")
    recipe = TaskRecipe(text="a", text_pair="b")
    file = LabelledFile(path=tmp_path / "en.tsv", lang="en", path_pair=tmp_path / "de.tsv", lang_pair="de")
    found = Classify.read(recipe, file)
    assert [(e.text, e.text_pair, e.label, e.lang) for e in found] == [
        ("one", "zwei", "yes", "en/de"), ("three", "vier", "no", "en/de"),
    ]  # fmt: skip
    alone = Classify.read(recipe, LabelledFile(path=tmp_path / "en.tsv", lang="en", lang_pair="deu"))
    assert [(e.text_pair, e.lang) for e in alone] == [("two", "en/de"), ("four", "en/de")]
    (tmp_path / "de.tsv").write_text(header + "yes\teins\tzwei\n", encoding="utf-8")
    with pytest.raises(DataError, match="2 and 1 rows"):
        Classify.read(recipe, file)
    (tmp_path / "de.tsv").write_text(header + "no\teins\tzwei\nno\tdrei\tvier\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"labels 'yes' and 'no'(?s:.*)en.tsv, line 2; (?s:.*)de.tsv, line 2"):
        Classify.read(recipe, file)
