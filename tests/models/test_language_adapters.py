"""Adapters of languages, trained by the pretraining road: what learns, what is saved, and exact resume."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.fixtures_models import tiny_config
from transformers import AutoModel, AutoModelForMaskedLM

from interlingua.errors import CheckpointError, RecipeError
from interlingua.models.adapter_folder import put_adapter, read_adapter
from interlingua.models.adapters import Form, adapter_parameters
from interlingua.models.checkpoint import fingerprint, open_checkpoint, save_checkpoint
from interlingua.pretrain import pretrain
from interlingua.pretrain_check import check_pretrain
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_file import load_recipe

Adapt = Callable[..., PretrainRecipe]


def folder_of(auto: Any, tokenizer: Any, folder: Path, *, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = tiny_config("bert", vocabulary=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    return save_checkpoint(folder, auto.from_config(config), tokenizer)


@pytest.fixture
def adapt(tiny_texts: dict[str, list[str]], tmp_path: Path) -> Adapt:
    """A recipe for two languages."""
    files = []
    for lang in ("en", "fi"):
        (tmp_path / f"{lang}.txt").write_text("\n".join(tiny_texts[lang][:60]), encoding="utf-8")
        files.append({"path": str(tmp_path / f"{lang}.txt"), "lang": lang})

    def recipe(encoder: Path, **changes: Any) -> PretrainRecipe:
        tree = {
            "name": "adapt", "data": {"texts": files, "held_out": 0.1}, "adapt": {"encoder": str(encoder)},
            "train": {"steps": 8, "batch_tokens": 400, "lr": 0.01, "threads": 1, "device": "cpu", "save_every": 3,
                      "evaluate_every": 4},
        }  # fmt: skip
        return load_recipe(tree | changes, PretrainRecipe)

    return recipe


def test_only_adapters_learn(adapt: Adapt, hf_tokenizer: Any, tmp_path: Path) -> None:
    """The body of the last checkpoint is the encoder's; of the head it is when the encoder had one; the loss falls."""
    for name, auto in (("bare", AutoModel), ("whole", AutoModelForMaskedLM)):
        base = folder_of(auto, hf_tokenizer, tmp_path / name)
        said: list[str] = []
        result = pretrain(adapt(base), tmp_path / f"{name}-run", say=said.append)
        assert ("new LM head" in " ".join(said)) == (name == "bare")
        before = {k.removeprefix("bert."): v for k, v in load_file(base / "model.safetensors").items()}
        after = {k.removeprefix("bert."): v for k, v in load_file(result.checkpoint / "model.safetensors").items()}
        assert all(torch.equal(value, after[key]) for key, value in before.items() if key in after)
        assert set(result.adapters) == {"en", "fi"}
        rows = [json.loads(row) for row in (result.folder / "metrics.jsonl").read_text().splitlines()]
        losses = [sum(row["held_out"]["mlm"].values()) for row in rows if "held_out" in row]
        assert losses[-1] < losses[0]
        encoder, _ = open_checkpoint(base, AutoModel)
        for lang, folder in result.adapters.items():
            saved = read_adapter(folder, base={"name": "it", "fingerprint": fingerprint(encoder)}, language=lang)
            assert saved.form == Form((0, 1, 2), 2, invertible=True)
            assert all(bool(tensor.any()) for tensor in saved.tensors.values()), "every tensor has learnt"
            inside = {
                ".".join(key.split(".")[-2:]): v for key, v in saved.tensors.items() if key.startswith("layers.1.")
            }
            for key, value in inside.items():
                assert torch.equal(after[f"encoder.layer.1.adapters.languages.{lang}.{key}"], value)


def test_stopped_and_taken_up_again(adapt: Adapt, hf_tokenizer: Any, tmp_path: Path) -> None:
    """Cut off after five steps (the last checkpoint is the third's): the same adapters bit for bit."""
    base = folder_of(AutoModel, hf_tokenizer, tmp_path / "base")

    def cut(progress: Any) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(adapt(base), tmp_path / "cut", on_step=cut)
    assert not (tmp_path / "cut" / "adapters").exists()
    again, whole = (pretrain(adapt(base), tmp_path / name) for name in ("cut", "whole"))
    for lang in ("en", "fi"):
        ours, theirs = (load_file(run.adapters[lang] / "adapter.safetensors") for run in (again, whole))
        assert all(torch.equal(value, ours[name]) for name, value in theirs.items())


def test_languages_that_are_not_drawn_get_none(adapt: Adapt, hf_tokenizer: Any, tmp_path: Path) -> None:
    """By weights and by phases; held-out text of the others is still measured."""
    base = folder_of(AutoModel, hf_tokenizer, tmp_path / "base")
    for name, more in (("weights", {"weights": {"fi": 1.0}}), ("phases", {"phases": [{"languages": ["fi"]}]})):
        recipe = adapt(base)
        data = recipe.data.model_dump(mode="json") | more
        result = pretrain(adapt(base, data=data), tmp_path / name)
        assert set(result.adapters) == {"fi"}


def test_refused_recipes(adapt: Adapt, tmp_path: Path) -> None:
    """Other objectives, another vocabulary, a sharded network; each by the name of its key."""
    for changes, message in (
        ({"objectives": [{"type": "clm"}]}, "objective 'clm' for adapters"),
        ({"vocab": {"path": str(tmp_path)}}, "vocab.path"),
        ({"train": {"parallel": "shard"}}, "'shard' with adapt.encoder"),
    ):
        with pytest.raises(RecipeError, match=message):
            check_pretrain(adapt(tmp_path, **changes))


def test_bad_folders(adapt: Adapt, hf_tokenizer: Any, tmp_path: Path) -> None:
    """No adapter; another encoder's; another language's; a damaged file; tensors missing or of another shape."""
    base = folder_of(AutoModel, hf_tokenizer, tmp_path / "base")
    model, _ = open_checkpoint(base, AutoModel)
    own = {"name": "base", "fingerprint": fingerprint(model)}
    train = {"steps": 1, "batch_tokens": 200, "threads": 1, "device": "cpu"}
    folder = pretrain(adapt(base, train=train), tmp_path / "run").adapters["fi"]
    with pytest.raises(CheckpointError, match="no adapter in"):
        read_adapter(tmp_path, base=own, language="fi")
    with pytest.raises(CheckpointError, match=rf"another encoder than 'x'(?s:.*)00(?s:.*){own['fingerprint']}"):
        read_adapter(folder, base={"name": "x", "fingerprint": "00"}, language="fi")
    with pytest.raises(CheckpointError, match=r"an adapter of fi(?s:.*)one of en"):
        read_adapter(folder, base=own, language="en")
    with pytest.raises(CheckpointError, match=r"an adapter of fi(?s:.*)one of a task"):
        read_adapter(folder, base=own)
    tensors = load_file(folder / "adapter.safetensors")
    for name, changed, message in (
        ("lost", {k: v for k, v in tensors.items() if k != "layers.1.up.bias"}, "'layers.1.up.bias', missing"),
        ("more", tensors | {"layers.9.up.bias": torch.zeros(1)}, "'layers.9.up.bias', which belongs nowhere"),
        ("thin", tensors | {"layers.1.up.bias": torch.zeros(7)}, r"'layers.1.up.bias' of shape \(7,\)(?s:.*)\(32,\)"),
    ):
        shutil.copytree(folder, tmp_path / name)
        save_file(changed, tmp_path / name / "adapter.safetensors")
        with pytest.raises(CheckpointError, match=message):
            put_adapter(model, read_adapter(tmp_path / name, base=own, language="fi"), "fi")
    (tmp_path / "thin" / "adapter.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="cannot be opened"):
        read_adapter(tmp_path / "thin", base=own, language="fi")
    assert set(
        adapter_parameters(put_adapter(model, read_adapter(folder, base=own, language="fi"), "fi").modules)
    ) == set(tensors)
