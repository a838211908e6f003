"""Tuning: what is saved opens in plain transformers and predicts the same; freezing; selection."""

from __future__ import annotations

import json
import os
import signal
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.fixtures_models import BEGIN, ENCODERS, END, tiny_config
from tests.fixtures_plain import Plain
from transformers import AlbertConfig, AlbertModel, AutoModel

from interlingua.errors import CheckpointError, LabelError, LanguageError, RecipeError, RunError
from interlingua.models.checkpoint import save_checkpoint
from interlingua.models.encoder import Encoder
from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile, TaskRecipe, TuneRecipe
from interlingua.tasks import TaggedSentence, TextExample
from interlingua.transfer.finetune import build_task, finetune, open_tuned, read_examples, save_tuned
from interlingua.transfer.freezing import freeze
from interlingua.transfer.heads import new_head
from interlingua.transfer.tune import tune_once

TUNE = TuneRecipe(epochs=2, batch_size=8, lr=1e-3, threads=1, freeze="none")


def tiny_encoder(family: str, tokenizer: Any, *, prefix: str = "", **changes: Any) -> Encoder:
    torch.manual_seed(0)
    config = tiny_config(family, vocabulary=len(tokenizer), **({"pad_token_id": tokenizer.pad_token_id} | changes))
    return Encoder("tiny", AutoModel.from_config(config).eval(), tokenizer, prefix, 100)


@pytest.fixture
def texts(tiny_texts: dict[str, list[str]]) -> list[TextExample]:
    """Short texts against long ones: learnable in a few steps."""
    rows = []
    for lang in ("en", "de"):
        for text in tiny_texts[lang][:24]:
            rows += [TextExample(text[:12], lang, "short"), TextExample(text + " " + text, lang, "long")]
    return rows


PLAIN = """
    import json, sys
    import torch
    from transformers import AutoTokenizer, {auto}
    folder, payload = sys.argv[1], json.loads(sys.argv[2])
    tokenizer, model = AutoTokenizer.from_pretrained(folder), {auto}.from_pretrained(folder).eval()
    with torch.no_grad():
        for item in payload:
            logits = model(**tokenizer({call}, return_tensors="pt")).logits[0]
            print(json.dumps(logits.tolist()))
"""


def plain_logits(plain: Plain, folder: Path, auto: str, call: str, payload: list[Any]) -> list[Any]:
    """Logits computed where interlingua cannot be imported."""
    return plain(textwrap.dedent(PLAIN.format(auto=auto, call=call)), str(folder), json.dumps(payload))


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "modernbert", "electra", "eurobert"])
@pytest.mark.parametrize("prefix", ["", "query: "])
def test_a_tuned_classifier_predicts_the_same_in_plain_transformers(
    family: str, prefix: str, hf_tokenizer: Any, texts: list[TextExample], tmp_path: Path, plain: Plain
) -> None:
    """Class indices of our path against logits of AutoModelForSequenceClassification in a process without us."""
    encoder = tiny_encoder(family, hf_tokenizer, prefix=prefix)
    task = build_task(TaskRecipe(), texts)
    tuned = tune_once(encoder, task, texts, TUNE, seed=0)
    save_tuned(tuned, tmp_path / "tuned")
    encoded, _ = task.encode(texts[:6], tuned.tokenizer, max_length=128)
    ours = task.predict(tuned.model, encoded, tuned.tokenizer)
    theirs = plain_logits(
        plain, tmp_path / "tuned", "AutoModelForSequenceClassification", "item", [e.text for e in texts[:6]]
    )
    assert ours == [int(np.argmax(row)) for row in theirs]
    again = open_tuned(tmp_path / "tuned")
    assert again.task.labels == task.labels
    assert task.predict(again.model, encoded, again.tokenizer) == ours


def test_a_tuned_tagger_predicts_the_same_in_plain_transformers(
    hf_tokenizer: Any, tmp_path: Path, plain: Plain
) -> None:
    """Tags of first tokens against AutoModelForTokenClassification in a process without us."""
    sentences = [TaggedSentence(("a", "bb", "a"), ("X", "Y", "X"), "en"), TaggedSentence(("bb", "a"), ("Y", "X"), "en")]
    encoder = tiny_encoder("xlm-roberta", hf_tokenizer)
    task = build_task(TaskRecipe(type="tag"), sentences)
    tuned = tune_once(encoder, task, sentences * 10, TUNE, seed=0)
    save_tuned(tuned, tmp_path / "tuned")
    encoded, _ = task.encode(sentences, tuned.tokenizer, max_length=64)
    ours = task.predict(tuned.model, encoded, tuned.tokenizer)
    theirs = plain_logits(
        plain, tmp_path / "tuned", "AutoModelForTokenClassification", "item, is_split_into_words=True",
        [list(s.words) for s in sentences],
    )  # fmt: skip
    for tags, example, logits in zip(ours, encoded, theirs, strict=True):
        assert tags.tolist() == [int(np.argmax(logits[place])) for place in example.words]


def test_the_prefix_is_in_the_template(hf_tokenizer: Any) -> None:
    """Ids of a text by the tuned tokenizer against ids of prefix + text by the plain one."""
    encoder = tiny_encoder("bert", hf_tokenizer, prefix="query: ")
    task = build_task(TaskRecipe(), [TextExample("x", "en", label) for label in "ab"])
    _, tokenizer = new_head(encoder, task, seed=0)
    assert tokenizer("In the beginning")["input_ids"] == hf_tokenizer("query: In the beginning")["input_ids"]


def test_frozen_layers_stay_and_their_cached_states_change_nothing(hf_tokenizer: Any, texts: list[TextExample]) -> None:
    """Tuning with two frozen layers: they equal the checkpoint's; losses equal those of a run without the cache."""
    encoder = tiny_encoder("bert", hf_tokenizer)
    task = build_task(TaskRecipe(), texts)
    recipe = TUNE.model_copy(update={"freeze": 2})
    losses: dict[str, list[float]] = {"cached": [], "plain": []}
    tuned = tune_once(encoder, task, texts, recipe, seed=0, on_step=lambda p: losses["cached"].append(p.losses["task"]))
    for name, value in encoder.model.state_dict().items():
        if name.startswith(("embeddings", "encoder.layer.0.", "encoder.layer.1.")):
            assert torch.equal(value, tuned.model.base_model.state_dict()[name]), name
    table = tuned.model.base_model.embeddings.word_embeddings.weight
    assert table.data_ptr() == encoder.model.embeddings.word_embeddings.weight.data_ptr()  # shared, not copied
    encoded, _ = task.encode(texts, hf_tokenizer, max_length=128)
    tune_once(
        encoder, task, texts, recipe, seed=0, cache={"train": encoded},
        on_step=lambda p: losses["plain"].append(p.losses["task"]),
    )  # fmt: skip
    np.testing.assert_allclose(losses["cached"], losses["plain"], rtol=1e-4, atol=1e-5)
    assert losses["cached"][-1] < losses["cached"][0]


def test_freeze_counts_layers_and_refuses_too_many(hf_tokenizer: Any, texts: list[TextExample]) -> None:
    """Gradients are off where asked, and nowhere else."""
    model, _ = new_head(tiny_encoder("bert", hf_tokenizer), build_task(TaskRecipe(), texts), seed=0)
    assert freeze(model, "none") == 0
    assert all(p.requires_grad for p in model.parameters())
    assert freeze(model, "embeddings") == 0
    assert not any(p.requires_grad for p in model.base_model.embeddings.parameters())
    assert all(p.requires_grad for p in model.base_model.encoder.parameters())
    assert freeze(model, "all") == 3
    assert not any(p.requires_grad for p in model.base_model.encoder.parameters())
    assert model.classifier.weight.requires_grad
    with pytest.raises(RecipeError, match="at most 3"):
        freeze(model, 4)


@pytest.mark.parametrize("family", ENCODERS)
def test_frozen_layers_of_every_class(family: str) -> None:
    """Autograd as witness: states up to the frozen layer need no gradient, those above it do."""
    model = AutoModel.from_config(tiny_config(family))
    for count in (0, 2) if family == "albert" else (0, 1, 2):  # ALBERT's first two of three layers are one
        model.requires_grad_(True)
        assert freeze(model, count or "embeddings") == count
        inputs = {"input_ids": torch.tensor([[BEGIN, 10, 11, END]])}
        bare = model.get_encoder() if model.config.is_encoder_decoder else model
        states = bare(**inputs, output_hidden_states=True).hidden_states
        # XLNet and ALBERT among others give the states before every layer and after the last.
        assert not any(state.requires_grad for state in states[: count + 1])
        assert all(state.requires_grad for state in states[count + 1 :])


def test_layers_that_share_weights_are_frozen_together(hf_tokenizer: Any) -> None:
    """ALBERT with two groups in four layers: two can be frozen, one and three cannot."""
    config = AlbertConfig(
        vocab_size=50, embedding_size=8, hidden_size=16, num_hidden_layers=4, num_hidden_groups=2,
        num_attention_heads=2, intermediate_size=16,
    )  # fmt: skip
    model = AlbertModel(config)
    assert freeze(model, 2) == 2
    for count in (1, 3):
        with pytest.raises(RecipeError, match="share weights"):
            freeze(model, count)


def test_the_best_epoch_on_dev_is_kept(hf_tokenizer: Any, texts: list[TextExample]) -> None:
    """With selection, the kept model scores on dev as well as the best epoch that was seen."""
    encoder = tiny_encoder("bert", hf_tokenizer)
    task = build_task(TaskRecipe(), texts)
    recipe = TUNE.model_copy(update={"select": "source-dev", "epochs": 3})
    tuned = tune_once(encoder, task, texts[:64], recipe, seed=0, dev_examples=texts[64:])
    assert "best accuracy on the source's development examples" in tuned.selection
    with pytest.raises(RecipeError, match="without development examples"):
        tune_once(encoder, task, texts, recipe, seed=0)


def test_seeds_differ_and_repeat(hf_tokenizer: Any, texts: list[TextExample]) -> None:
    """Same seed, same weights; another seed, others."""
    encoder = tiny_encoder("bert", hf_tokenizer)
    task = build_task(TaskRecipe(), texts)
    weights = [tune_once(encoder, task, texts, TUNE, seed=s).model.classifier.weight.detach() for s in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_finetune_from_files_resumes_finished_seeds(
    hf_tokenizer: Any, texts: list[TextExample], tmp_path: Path
) -> None:
    """A recipe over files; the second call opens what the first one saved, also if it scores otherwise."""
    encoder = tiny_encoder("bert", hf_tokenizer)
    save_checkpoint(tmp_path / "model", encoder.model, hf_tokenizer)
    file = tmp_path / "train.tsv"
    file.write_text(
        "text\tlabel\n" + "".join(f"{e.text}\t{e.label}\n" for e in texts if e.lang == "en"), encoding="utf-8"
    )
    recipe = FinetuneRecipe(
        model=str(tmp_path / "model"),
        seeds=(0, 1),
        task=TaskRecipe(train=(LabelledFile(path=file, lang="en"),)),
        tune=TUNE,
    )
    said: list[str] = []
    first = finetune(recipe, tmp_path / "run", say=said.append)
    scored = recipe.task.model_copy(update={"unseen_labels": "wrong"})
    second = finetune(recipe.model_copy(update={"task": scored}), tmp_path / "run", say=said.append)
    assert [t.seed for t in second] == [0, 1]
    assert any("found in" in line for line in said)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.model.classifier.weight, b.model.classifier.weight)


def test_bad_tasks_are_refused(tmp_path: Path) -> None:
    """One label only; no training file; a folder that is no tuned model."""
    with pytest.raises(LabelError, match="1 label"):
        build_task(TaskRecipe(), [TextExample("x", "en", "only")])
    with pytest.raises(RecipeError, match="without training files"):
        finetune(FinetuneRecipe(), tmp_path / "run")
    with pytest.raises(CheckpointError, match="not a tuned model"):
        open_tuned(tmp_path)


@pytest.mark.parametrize(
    ("changes", "how"),
    [
        ({}, "killed"),
        ({}, "SIGTERM"),
        ({"select": "source-dev"}, "SIGTERM"),
        ({"method": "lora"}, "killed"),
        ({"mixout": 0.5, "dropout": 0.1}, "killed"),
    ],
)
def test_a_tuning_that_was_cut_off_ends_with_the_same_weights(
    changes: dict[str, Any], how: str, hf_tokenizer: Any, texts: list[TextExample], tmp_path: Path
) -> None:
    """Cut off in the second epoch, run again: bit for bit the weights of one go, and no checkpoint left.

    SIGTERM saves the step it came in; a part of a training is never taken for a tuned model.
    """
    encoder = tiny_encoder("bert", hf_tokenizer)
    save_checkpoint(tmp_path / "model", encoder.model, hf_tokenizer)
    rows = [e for e in texts if e.lang == "en"]
    for name, chosen in (("train", rows[:32]), ("dev", rows[32:])):
        body = "".join(f"{e.text}\t{e.label}\n" for e in chosen)
        (tmp_path / f"{name}.tsv").write_text("text\tlabel\n" + body, encoding="utf-8")
    files = {name: (LabelledFile(path=tmp_path / f"{name}.tsv", lang="en"),) for name in ("train", "dev")}
    tune = TUNE.model_copy(update={"epochs": 3, "save_every": 3, **changes})
    recipe = FinetuneRecipe(model=str(tmp_path / "model"), task=TaskRecipe(**files), tune=tune)
    (whole,) = finetune(recipe, tmp_path / "whole")

    def cut(_seed: int, progress: Any) -> None:
        if progress.step == 8 and how == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        elif progress.step == 8:
            raise KeyboardInterrupt

    expected = {"SIGTERM": (RunError, "stopped at step 8 of 12"), "killed": (KeyboardInterrupt, None)}[how]
    with pytest.raises(expected[0], match=expected[1]):
        finetune(recipe, tmp_path / "cut", on_step=cut)
    assert not (tmp_path / "cut" / "seed-0").exists()
    steps: list[int] = []
    (again,) = finetune(recipe, tmp_path / "cut", on_step=lambda _seed, p: steps.append(p.step))
    assert steps[0] == {"SIGTERM": 9, "killed": 7}[how], "taken up behind the last checkpoint"
    assert again.selection == whole.selection
    for (name, a), (_, b) in zip(whole.model.named_parameters(), again.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not (tmp_path / "cut/training/seed-0/checkpoints").exists()


def test_languages_and_part_of_a_file(tmp_path: Path) -> None:
    """Some languages of a file that holds many; so many rows, evenly spread; a language that is not there."""
    rows = [(lang, str(i), "ab"[i % 2]) for lang in ("en", "de", "sw") for i in range(10)]
    file = tmp_path / "a.tsv"
    file.write_text("lang\ttext\tlabel\n" + "".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    recipe = TaskRecipe()
    found = read_examples(recipe, [LabelledFile(path=file, languages=("de", "sw"))])
    assert [e.lang for e in found] == ["de"] * 10 + ["sw"] * 10
    part = read_examples(recipe, [LabelledFile(path=file, languages=("de",), limit=4)])
    assert [e.text for e in part] == ["0", "2", "5", "7"]
    assert len(read_examples(recipe, [LabelledFile(path=file, limit=99)])) == 30
    with pytest.raises(LanguageError, match=r"no example in fr(?s:.*)de, en, sw"):
        read_examples(recipe, [LabelledFile(path=file, languages=("fr", "en"))])
