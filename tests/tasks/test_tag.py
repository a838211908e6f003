"""Tagging: readers, loss, span F1."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures_models import FAMILIES, tiny_config
from transformers import AutoModelForTokenClassification

from interlingua.errors import DataError, LabelError
from interlingua.tasks import Encoded, Tag, TaggedSentence, entity_spans, read_tagged_sentences
from interlingua.tasks.tag import entity_texts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from seqeval.metrics import f1_score
    from seqeval.metrics.sequence_labeling import get_entities

IOB2 = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
sequences = st.lists(st.sampled_from(IOB2), min_size=1, max_size=12)


@given(sequences)
def test_entity_spans_equal_seqeval(tags: list[str]) -> None:
    """Spans of any sequence, also of broken ones, against seqeval's."""
    assert entity_spans(tags) == {(kind, first, last) for kind, first, last in get_entities(tags)}


@settings(max_examples=50)
@given(st.lists(st.tuples(sequences, st.integers(0, 2**31)), min_size=1, max_size=8))
def test_span_f1_equals_seqeval(cases: list[tuple[list[str], int]]) -> None:
    """Micro span F1 over several sentences against seqeval's."""
    task = Tag(IOB2, metric="span_f1")
    gold = [tags for tags, _ in cases]
    own = [list(np.random.default_rng(seed).choice(IOB2, len(tags))) for tags, seed in cases]
    nothing = np.zeros(0, dtype=np.int64)
    encoded = [
        Encoded(
            nothing, "en", nothing, gold=np.array([IOB2.index(t) for t in tags]),
            example=TaggedSentence(tuple(tags), tuple(tags), "en"),
        )
        for tags in gold
    ]  # fmt: skip
    scores = task.score([np.array([IOB2.index(t) for t in tags]) for tags in own], encoded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert scores["span_f1"] == pytest.approx(f1_score(gold, own))


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_equals_plain_classifier_one_sentence_a_row(family: str, hf_tokenizer: Any) -> None:
    """Packed loss against the plain token classifier's, in float64."""
    torch.manual_seed(0)
    config = tiny_config(family, vocabulary=8000)
    config.num_labels = 3
    config.pad_token_id = hf_tokenizer.pad_token_id
    model = AutoModelForTokenClassification.from_config(config).double().eval()
    sentences = [
        TaggedSentence(("In", "the", "beginning", "was", "the", "Word"), ("A", "B", "C", "A", "B", "C"), "en"),
        TaggedSentence(("Am", "Anfang", "war", "das", "Wort"), ("A", "C", "A", "B", "C"), "de"),
        TaggedSentence(("初め", "に", "言", "が"), ("A", "B", "A", "B"), "ja"),
    ]
    task = Tag(("A", "B", "C"))
    encoded, lost = task.encode(sentences, hf_tokenizer, max_length=64)
    assert lost == 0
    batch = task.batch(encoded, hf_tokenizer)
    ours = task.loss(model, batch, task.prepare(batch, np.random.default_rng(0)))
    total = 0.0
    for e in encoded:
        positions = torch.arange(len(e.tokens))[None] + (
            hf_tokenizer.pad_token_id + 1 if family == "xlm-roberta" else 0
        )
        plain = model(
            input_ids=torch.from_numpy(e.tokens)[None], position_ids=positions, labels=torch.from_numpy(e.labels)[None]
        )
        total += float(plain.loss.detach()) * int((e.labels >= 0).sum())
    assert ours.count == 15
    assert float(ours.total.detach()) == pytest.approx(total, rel=1e-10)


def test_words_cut_away_count_as_wrong(hf_tokenizer: Any) -> None:
    """Of a sentence cut after its first words, no word leaves the score."""
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=8000)
    config.num_labels = 1
    model = AutoModelForTokenClassification.from_config(config).eval()
    task = Tag(("X", "Y"))
    words = tuple(f"word{i}" for i in range(40))
    encoded, lost = task.encode([TaggedSentence(words, ("X",) * 40, "en")], hf_tokenizer, max_length=16)
    assert lost > 20
    predicted = task.predict(model, encoded, hf_tokenizer)  # one label: everything that is seen is right
    assert task.score(predicted, encoded)["accuracy"] == pytest.approx((40 - lost) / 40)


def test_a_truncating_call_before_does_not_cut_tagged_sentences(hf_tokenizer: Any) -> None:
    """transformers keeps truncation switched on in the tokenizer after a call with it."""
    hf_tokenizer(["a b c d e f g h"], truncation=True, max_length=4)
    _, lost = Tag(("X", "Y")).encode([TaggedSentence(("a",) * 20, ("X",) * 20, "en")], hf_tokenizer, max_length=64)
    assert lost == 0


def test_conllu_ranges_and_empty_nodes_are_no_words(tmp_path: Path) -> None:
    """A contraction and an elided verb, from the CoNLL-U format's own documentation."""
    row = "{}\t{}\t_\t{}\t_\t_\t_\t_\t_\t_"
    lines = [
        "# sent_id = 1",
        row.format("1-2", "vámonos", "_"),
        row.format("1", "vamos", "VERB"),
        row.format("2", "nos", "PRON"),
        row.format("2.1", "ido", "VERB"),
        "",
        row.format("1", "#", "SYM"),
        "",
    ]
    path = tmp_path / "x.conllu"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert [(s.words, s.tags) for s in read_tagged_sentences(path, lang="es")] == [
        (("vamos", "nos"), ("VERB", "PRON")),
        (("#",), ("SYM",)),
    ]


def test_two_columns_and_a_line_without_a_tag(tmp_path: Path) -> None:
    """Word and tag by tab; then a word alone, with its line."""
    path = tmp_path / "x.tsv"
    path.write_text("John\tB-PER\nslept\tO\n\nHi\tO\n", encoding="utf-8")
    assert [s.words for s in read_tagged_sentences(path, lang="eng")] == [("John", "slept"), ("Hi",)]
    path.write_text("John\tB-PER\nslept\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 'slept'(?s:.*)line 2"):
        read_tagged_sentences(path, lang="en")
    path.write_text("\n\n", encoding="utf-8")
    with pytest.raises(DataError, match="no sentence"):
        read_tagged_sentences(path, lang="en")


def test_an_unknown_tag_is_refused(hf_tokenizer: Any) -> None:
    """A tag of another set, with the sentence's place."""
    with pytest.raises(LabelError, match=r"label 'B-DATE'(?s:.*)f, line 3"):
        Tag(IOB2).encode([TaggedSentence(("x",), ("B-DATE",), "en", "f, line 3")], hf_tokenizer, max_length=16)


def test_tags_that_training_never_saw_are_wrong_if_the_recipe_says_so(hf_tokenizer: Any) -> None:
    """Accuracy over all words, and span F1 as seqeval has it with the unseen entity in the gold tags."""
    task = Tag(IOB2, metric="span_f1", unseen="wrong")
    gold = ("B-PER", "I-PER", "O", "B-DATE", "I-DATE", "B-LOC")
    found = ["B-PER", "I-PER", "O", "B-LOC", "O", "B-LOC"]
    sentence = TaggedSentence(("a", "b", "c", "d", "e", "f"), gold, "en")
    encoded, _ = task.encode([sentence], hf_tokenizer, max_length=32)
    scores = task.score([np.array([IOB2.index(t) for t in found])], encoded)
    assert scores == {"accuracy": pytest.approx(4 / 6), "span_f1": pytest.approx(f1_score([list(gold)], [found]))}
    assert task.check_labels([sentence]) == [
        "label 'B-DATE' was never taught: 1 example in en counted as wrong",
        "label 'I-DATE' was never taught: 1 example in en counted as wrong",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a\tX\nb\tX\tY\n", r"3 columns in 'b\\tX\\tY'(?s:.*)2, as in line 1(?s:.*)line 2"),
        ("a b\tX\nc d X\n", r"3 columns in 'c d X'(?s:.*)spaces where others have tabs"),
        ("a\tN\tX\n\nb\tX\n", r"2 columns(?s:.*)3, as in line 1(?s:.*)line 3"),
    ],
)
def test_ragged_columns_are_refused(tmp_path: Path, lines: str, message: str) -> None:
    """More or fewer columns than the first line, and spaces in place of tabs, with file and line."""
    (tmp_path / "a.tsv").write_text(lines, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_tagged_sentences(tmp_path / "a.tsv", lang="en")


def test_entities_as_they_are_written() -> None:
    """Marked by hand: several words, neighbours, a language without spaces; none at all is an error."""
    de = TaggedSentence(("New", "York", "und", "Bonn", "Ulm"), ("B-LOC", "I-LOC", "O", "B-LOC", "B-LOC"), "de")
    zh = TaggedSentence(("纽", "扣", "王"), ("B-ORG", "I-ORG", "O"), "zh")
    assert entity_texts([de, zh]) == ["New York", "Bonn", "Ulm", "纽扣"]
    with pytest.raises(DataError, match="no entity"):
        entity_texts([TaggedSentence(("dog",), ("NOUN",), "en")])
