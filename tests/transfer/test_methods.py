"""Ways to tune: what learns, what is saved, and that plain peft computes the same from it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.fixtures_models import tiny_config
from tests.fixtures_plain import Plain
from transformers import AutoModel

from interlingua.errors import CheckpointError, RecipeError
from interlingua.models.checkpoint import fingerprint, open_checkpoint, save_checkpoint
from interlingua.models.encoder import Encoder
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe
from interlingua.tasks import Answer, Question, TaggedSentence, TextExample
from interlingua.transfer import build_task, new_head, open_tuned, save_tuned, tune_once
from interlingua.transfer.methods import adapt

METHODS = ("lora", "ia3", "prompt", "prefix")
TUNE = TuneRecipe(epochs=1, batch_size=8, lr=1e-2, threads=1, prompt_tokens=4, max_length=60, freeze="embeddings")


@pytest.fixture
def texts(tiny_texts: dict[str, list[str]]) -> list[TextExample]:
    return [
        TextExample(text if i % 2 else text[:12], "en", ("short", "long")[i % 2])
        for i, text in enumerate(tiny_texts["en"][:16])
    ]


def saved_encoder(family: str, tokenizer: Any, folder: Path, *, prefix: str = "", seed: int = 0) -> Encoder:
    """An encoder as users have one: in a folder that plain libraries open."""
    torch.manual_seed(seed)
    config = tiny_config(family, vocabulary=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    config.interlingua_prefix = prefix
    save_checkpoint(folder, AutoModel.from_config(config), tokenizer)
    model, tokenizer = open_checkpoint(folder, AutoModel)
    return Encoder(str(folder), model, tokenizer, prefix, 100)


PLAIN = """
    import json, sys
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoTokenizer, {auto}
    base, folder, payload = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = {auto}.from_pretrained(base, config=AutoConfig.from_pretrained(folder))
    model = PeftModel.from_pretrained(model, folder).eval()
    with torch.no_grad():
        for item in payload:
            out = model(**tokenizer({call}, return_tensors="pt"), return_dict=True)
            print(json.dumps([value[0].tolist() for value in {values}]))
"""


def plain_logits(
    plain: Plain, base: str, folder: Path, payload: list[Any], auto: str, call: str = "item",
    values: str = "[out.logits]",
) -> list[Any]:  # fmt: skip
    """Logits computed by peft where interlingua cannot be imported."""
    code = textwrap.dedent(PLAIN.format(auto=auto, call=call, values=values))
    return plain(code, base, str(folder), json.dumps(payload))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("family", "prefix"), [("bert", "query: "), ("xlm-roberta", ""), ("modernbert", "")])
def test_a_classifier_predicts_the_same_in_plain_peft(
    method: str, family: str, prefix: str, hf_tokenizer: Any, texts: list[TextExample], tmp_path: Path, plain: Plain
) -> None:
    """Class logits from packed batches against PeftModel on one text at a time, in a process without us."""
    if family == "modernbert" and method in {"ia3", "prefix"}:
        pytest.skip("refused, see below")
    encoder = saved_encoder(family, hf_tokenizer, tmp_path / "base", prefix=prefix)
    task = build_task(TaskRecipe(), texts)
    tuned = tune_once(encoder, task, texts, TUNE.model_copy(update={"method": method}), seed=0)
    save_tuned(tuned, tmp_path / "tuned", encoder)
    assert not (tmp_path / "tuned" / "model.safetensors").exists()
    encoded, _ = task.encode(texts[:4], tuned.tokenizer, max_length=60)
    ours = [logits for i in np.argsort([len(e.tokens) for e in encoded]) for logits in [_logits(tuned, encoded[i])]]
    order = np.argsort([len(e.tokens) for e in encoded])
    theirs = plain_logits(
        plain, encoder.name, tmp_path / "tuned", [texts[i].text for i in order], "AutoModelForSequenceClassification"
    )
    np.testing.assert_allclose(ours, [logits for (logits,) in theirs], rtol=1e-4, atol=1e-5)
    again = open_tuned(tmp_path / "tuned")
    assert task.predict(again.model, encoded, again.tokenizer) == task.predict(tuned.model, encoded, tuned.tokenizer)


def _logits(tuned: Any, example: Any) -> list[float]:
    """Logits of an example that shares its batch with others."""
    (_, states, _), *_ = tuned.task.states(tuned.model, [example, example], tuned.tokenizer)
    with torch.no_grad():
        return list(tuned.task.logits(tuned.model, states)[1].tolist())


@pytest.mark.parametrize("method", METHODS)
def test_a_tagger_predicts_the_same_in_plain_peft(method: str, hf_tokenizer: Any, tmp_path: Path, plain: Plain) -> None:
    """Tags of words: logits of plain peft at the words' first tokens (behind a prompt, so many places later)."""
    sentences = [TaggedSentence(("a", "bb", "a"), ("X", "Y", "X"), "en"), TaggedSentence(("bb", "a"), ("Y", "X"), "en")]
    encoder = saved_encoder("bert", hf_tokenizer, tmp_path / "base")
    task = build_task(TaskRecipe(type="tag"), sentences)
    tuned = tune_once(encoder, task, sentences * 4, TUNE.model_copy(update={"method": method}), seed=0)
    save_tuned(tuned, tmp_path / "tuned", encoder)
    encoded, _ = task.encode(sentences, tuned.tokenizer, max_length=60)
    theirs = plain_logits(
        plain, encoder.name, tmp_path / "tuned", [list(s.words) for s in sentences], "AutoModelForTokenClassification",
        "item, is_split_into_words=True",
    )  # fmt: skip
    for tags, example, (logits,) in zip(
        task.predict(tuned.model, encoded, tuned.tokenizer), encoded, theirs, strict=True
    ):
        assert len(logits) == len(example.tokens)
        assert tags.tolist() == [int(np.argmax(logits[place])) for place in example.words]


@pytest.mark.parametrize("method", METHODS)
def test_a_question_answerer_predicts_the_same_in_plain_peft(
    method: str, hf_tokenizer: Any, tmp_path: Path, plain: Plain
) -> None:
    """Logits of first and last token of every token, and a window that is shorter by the prompt."""
    asked = Question("1", "Who was it?", "The king was Harold.", (Answer("Harold", 13),), "en")
    encoder = saved_encoder("xlm-roberta", hf_tokenizer, tmp_path / "base")
    task = build_task(TaskRecipe(type="span", stride=4, max_question=10), [asked])
    tuned = tune_once(encoder, task, [asked] * 8, TUNE.model_copy(update={"method": method}), seed=0)
    save_tuned(tuned, tmp_path / "tuned", encoder)
    encoded, _ = task.encode([asked], tuned.tokenizer, max_length=60)
    ((_, states, _),) = task.states(tuned.model, encoded, tuned.tokenizer)
    with torch.no_grad():
        ours = task.logits(tuned.model, states).T.tolist()
    theirs = plain_logits(
        plain, encoder.name, tmp_path / "tuned", [[asked.question, asked.context]], "AutoModelForQuestionAnswering",
        "*item", "[out.start_logits, out.end_logits]",
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_merged_equals_unmerged(method: str, hf_tokenizer: Any, texts: list[TextExample], tmp_path: Path) -> None:
    """Logits of a plain folder with the updates added to the weights, to 1e-5; the encoder stays as it was."""
    encoder = saved_encoder("bert", hf_tokenizer, tmp_path / "base", prefix="query: ")
    before = fingerprint(encoder.model)
    task = build_task(TaskRecipe(), texts)
    recipe = TUNE.model_copy(update={"method": method})
    apart = tune_once(encoder, task, texts, recipe, seed=0)
    whole = tune_once(encoder, task, texts, recipe.model_copy(update={"merge": True}), seed=0)
    save_tuned(whole, tmp_path / "whole")
    again = open_tuned(tmp_path / "whole")
    assert again.adapted is None
    encoded, _ = task.encode(texts[:4], apart.tokenizer, max_length=60)
    for example in encoded:
        np.testing.assert_allclose(_logits(apart, example), _logits(again, example), atol=1e-5)
    assert fingerprint(encoder.model) == before


def learning(encoder: Encoder, **changes: Any) -> set[str]:
    task = build_task(TaskRecipe(), [TextExample("x", "en", label) for label in "ab"])
    model, tokenizer = new_head(encoder, task, seed=0)
    adapted = adapt(model, tokenizer, task, TUNE.model_copy(update=changes), encoder)
    return {name for name, parameter in adapted.model.named_parameters() if parameter.requires_grad}


def test_what_learns(hf_tokenizer: Any, tmp_path: Path) -> None:
    """By name, from the definitions: the head always, and of the network what the method says, above what is frozen."""
    encoder = saved_encoder("bert", hf_tokenizer, tmp_path / "base")
    bitfit = learning(encoder, method="bitfit", freeze=1)
    inside = {name for name in bitfit if name.startswith("bert.encoder")}
    assert inside == {
        name for name in (f"bert.{n}" for n, _ in encoder.model.named_parameters())
        if name.endswith("bias") and name.startswith(("bert.encoder.layer.1", "bert.encoder.layer.2"))
    }  # fmt: skip
    assert {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight"} <= bitfit
    lora = learning(encoder, method="lora", freeze=1)
    layers = {name.split(".")[3] for name in lora if name.startswith("bert.encoder")}
    assert layers == {"1", "2"}
    assert all("lora_" in name for name in lora if name.startswith("bert.encoder"))
    assert len([name for name in lora if "lora_A" in name]) == 2 * 6, "six matrices a layer"
    ia3 = learning(encoder, method="ia3")
    assert len([name for name in ia3 if "ia3_l" in name]) == 3 * 3, "keys, values, feed-forward in three layers"
    for method in ("lora", "ia3", "prompt", "prefix"):
        names = learning(encoder, method=method)
        assert any("classifier" in name for name in names)
        assert any("pooler" in name for name in names)
    sentences = saved_encoder("bert", hf_tokenizer, tmp_path / "sentences", prefix="query: ")
    for method in ("bitfit", "lora", "ia3", "prompt", "prefix"):
        # The fourth layer is the one that takes the mean: saved, and not learnt.
        assert not any("encoder.layer.3" in name for name in learning(sentences, method=method))
    everything = {f"bert.{name}" for name, _ in encoder.model.named_parameters()}
    assert {name for name in learning(encoder, freeze="none") if "pooler" not in name} - {
        "classifier.weight", "classifier.bias"
    } == {name for name in everything if "pooler" not in name}  # fmt: skip


def test_methods_a_class_does_not_bear(hf_tokenizer: Any, tmp_path: Path) -> None:
    """Named with those that do; nothing to update; more positions than there are."""
    modern = saved_encoder("modernbert", hf_tokenizer, tmp_path / "modern")
    with pytest.raises(RecipeError, match=r"'ia3' for a modernbert(?s:.*)bert(?s:.*)lora"):
        learning(modern, method="ia3")
    with pytest.raises(RecipeError, match=r"'prefix' for a modernbert(?s:.*)tune.method=prompt"):
        learning(modern, method="prefix")
    bert = saved_encoder("bert", hf_tokenizer, tmp_path / "bert")
    with pytest.raises(RecipeError, match="layers that are not frozen"):
        learning(bert, method="lora", freeze="all")
    with pytest.raises(RecipeError, match="virtual tokens before texts of 5000"):
        learning(bert, method="prompt", max_length=5000)


def test_an_adapter_for_another_encoder_is_refused(hf_tokenizer: Any, texts: list[TextExample], tmp_path: Path) -> None:
    """Same class and shape, other weights: both fingerprints are named."""
    encoder = saved_encoder("bert", hf_tokenizer, tmp_path / "base")
    other = saved_encoder("bert", hf_tokenizer, tmp_path / "other", seed=1)
    task = build_task(TaskRecipe(), texts)
    tuned = tune_once(encoder, task, texts, TUNE.model_copy(update={"method": "lora"}), seed=0)
    save_tuned(tuned, tmp_path / "tuned", encoder)
    message = f"added to another encoder(?s:.*){fingerprint(other.model)}(?s:.*){fingerprint(encoder.model)}"
    with pytest.raises(CheckpointError, match=message):
        open_tuned(tmp_path / "tuned", encoder=other)
