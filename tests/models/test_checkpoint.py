"""models/checkpoint.py: folders that plain transformers opens, and every folder that must be refused."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import torch
from tests.fixtures_models import FAMILIES
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from interlingua.errors import CheckpointError, ModelUnavailableError
from interlingua.models.attention import ARCHITECTURES
from interlingua.models.build import build_model
from interlingua.models.checkpoint import open_checkpoint, open_tokenizer, save_checkpoint
from interlingua.models.encoder import load
from interlingua.recipe import ModelRecipe

SMALL = {"hidden": 32, "layers": 2, "heads": 2, "feed_forward": 48, "positions": 64}


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request, hf_tokenizer, tmp_path_factory):
    own = {"feed_forward": None} if request.param == "xlm" else {}
    model = build_model(ModelRecipe(family=request.param, **SMALL | own), hf_tokenizer, ["en"], seed=0).eval()
    return save_checkpoint(tmp_path_factory.mktemp("model") / "saved", model, hf_tokenizer), model


@pytest.fixture
def folder(hf_tokenizer, tmp_path):
    model = build_model(ModelRecipe(**SMALL), hf_tokenizer, ["en"], seed=0)
    return save_checkpoint(tmp_path / "saved", model, hf_tokenizer)


@torch.no_grad()
def test_plain_transformers_open_it(checkpoint, hf_tokenizer):
    """AutoModelForMaskedLM and AutoTokenizer open the folder: same logits, same ids, nothing missing."""
    folder, model = checkpoint
    plain, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(["In the beginning was the word."], return_tensors="pt")
    assert inputs["input_ids"].tolist() == hf_tokenizer(["In the beginning was the word."])["input_ids"]
    keys = {k: v for k, v in inputs.items() if k in ("input_ids", "attention_mask")}
    torch.testing.assert_close(plain.eval()(**keys).logits, model(**keys).logits, rtol=0, atol=1e-6)


def test_open_as_another_task(checkpoint):
    """A pretrained encoder opens as a classifier: the body's weights are the saved ones, the head is new."""
    folder, model = checkpoint
    opened, _ = open_checkpoint(folder, AutoModelForSequenceClassification, families=ARCHITECTURES, num_labels=3)
    assert opened.config.num_labels == 3
    saved = dict(model.base_model.named_parameters())
    assert all((p == saved[n]).all() for n, p in opened.base_model.named_parameters() if n in saved)


def refused(folder, *, auto=AutoModelForMaskedLM, **more) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder, auto, families=ARCHITECTURES, **more)
    return caught.value


def test_nothing_there(tmp_path):
    """An empty folder: no checkpoint."""
    assert "no checkpoint" in refused(tmp_path).found


def test_pickled_weights_are_refused(folder):
    """Only pytorch_model.bin: refused before it is opened (a pickle that would raise is never read)."""
    (folder / "model.safetensors").unlink()

    class Bomb:
        def __reduce__(self):
            return (SystemExit, ("opened",))

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    error = refused(folder)
    assert "pytorch_model.bin" in error.found
    with pytest.raises(CheckpointError, match="pickled"):
        load(folder)


def test_another_architecture(folder):
    """model_type outside the table, and a config whose class needs other weights than the file holds."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]})
    )
    assert "'roberta'" in refused(folder).found
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert "not in the file" in refused(folder).found
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    assert str(folder) in str(refused(folder))


def test_vocabulary_that_does_not_fit(folder):
    """A tokenizer larger than the embedding table."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    assert "for a model of 100" in refused(folder).found


def test_damaged_files(folder):
    """Truncated weights, broken JSON, no tokenizer: CheckpointError, from open_checkpoint and from load."""
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert str(folder) in str(refused(folder))
    with pytest.raises(CheckpointError):
        load(folder)
    weights.write_bytes(whole)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config[:40])
    assert "config.json" in str(refused(folder))
    (folder / "config.json").write_text(config)
    (folder / "tokenizer.json").rename(folder / "elsewhere.json")
    assert "tokenizer.json" in refused(folder).found
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        open_tokenizer(folder)


def test_saving_again_replaces_the_whole_folder(folder, hf_tokenizer):
    """A second save leaves no file of the first behind, and no temporary folder."""
    (folder / "stale.txt").write_text("old")
    model = build_model(ModelRecipe(**SMALL), hf_tokenizer, ["en"], seed=1)
    save_checkpoint(folder, model, hf_tokenizer)
    assert not (folder / "stale.txt").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["saved"]


def test_load_by_folder(folder):
    """load(folder) gives an encoder whose vectors equal mean pooling over plain transformers."""
    encoder = load(folder)
    texts = ["In the beginning", "was the word, and the word was with God", "in"]
    vectors = encoder.encode(texts, normalize=False, batch_tokens=16)
    plain = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        for text, vector in zip(texts, vectors, strict=True):
            states = plain(input_ids=torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0]
            torch.testing.assert_close(torch.from_numpy(vector), states.mean(0), rtol=0, atol=1e-5)
    assert encoder.encode([]).shape == (0, 32)
    assert encoder.max_length == 64


def test_load_by_unknown_name(tmp_path, monkeypatch):
    """A misspelt name: the nearest one; a hub id without a hub: one message with all that was tried."""
    monkeypatch.setenv("INTERLINGUA_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelUnavailableError, match="did you mean 'e5-small'"):
        load("e5-smal")
    with pytest.raises(ModelUnavailableError, match=r"hub FacebookAI/xlm-roberta-base: HF_HUB_OFFLINE=1"):
        load("xlm-r")
    with pytest.raises(ModelUnavailableError, match="hub someone/something") as caught:
        load("someone/something")
    assert caught.value.next_step
    with pytest.raises(ModelUnavailableError, match="no model"):
        load(tmp_path / "not" / "here")


def test_load_does_not_take_a_damaged_cache_for_a_model(tmp_path, monkeypatch, folder):
    """A cache folder without weights counts as empty."""
    monkeypatch.setenv("INTERLINGUA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cached = tmp_path / "cache" / "xlm-r"
    shutil.copytree(folder, cached)
    assert load("xlm-r").model.config.hidden_size == 32
    (cached / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailableError, match="empty"):
        load("xlm-r")
