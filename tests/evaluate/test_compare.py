"""Comparisons: costs from processes of their own, scores from the models, nothing done twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import RecipeError, TrainingError
from interlingua.evaluate.compare import compare, way_of
from interlingua.models.checkpoint import open_tokenizer, save_checkpoint
from interlingua.models.language_adapters import with_language_adapters
from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile, TaskRecipe, TuneRecipe
from interlingua.transfer import open_tuned


@pytest.fixture
def recipe(hf_tokenizer: Any, tiny_texts: dict[str, list[str]], tmp_path: Path) -> FinetuneRecipe:
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    save_checkpoint(tmp_path / "model", AutoModel.from_config(config), hf_tokenizer)
    files = []
    for lang in ("en", "de"):
        file = tmp_path / f"{lang}.tsv"
        rows = [f"{'long' if i % 2 else 'short'}\t{t if i % 2 else t[:9]}" for i, t in enumerate(tiny_texts[lang][:12])]
        file.write_text("label\ttext\n" + "\n".join(rows) + "\n", encoding="utf-8")
        files.append(LabelledFile(path=file, lang=lang))
    return FinetuneRecipe(
        model=str(tmp_path / "model"),
        seeds=(0, 1),
        task=TaskRecipe(name="length", train=(files[0],), test=tuple(files)),
        tune=TuneRecipe(epochs=1, batch_size=4, threads=1, max_length=60),
    )


def test_costs_and_scores(recipe: FinetuneRecipe, tmp_path: Path) -> None:
    """Numbers trained counted in the saved files; scores of the models; a second call computes nothing."""
    ways = dict(map(way_of, ("frozen", "lora", "wide:method=lora,rank=16,lr=0.001")))
    said: list[str] = []
    frozen, lora, wide = compare(recipe, ways, tmp_path / "out", say=said.append)
    classifier, pooler = 2 * 32 + 2, 32 * 32 + 32
    assert frozen.cost.trained_parameters == classifier + pooler
    saved = load_file(tmp_path / "out/lora/tuned/length/en/seed-0/adapter_model.safetensors")
    assert lora.cost.trained_parameters == sum(tensor.numel() for tensor in saved.values())
    assert wide.cost.trained_parameters - classifier - pooler == 2 * (
        lora.cost.trained_parameters - classifier - pooler
    )
    assert lora.cost.memory_mb > 100
    assert lora.cost.minutes > 0
    # One thread cannot be busy for longer than the process ran; a little more for what it starts beside.
    assert 0 < lora.cost.processor_minutes < 1.5 * lora.cost.minutes
    assert set(lora.cells) == {"en", "de"}
    assert {cell.seeds for cell in lora.cells.values()} == {2}
    assert open_tuned(tmp_path / "out/wide/tuned/length/en/seed-1").adapted is not None
    log = (tmp_path / "out/lora/finetune.log").stat().st_mtime_ns
    again = compare(recipe, ways, tmp_path / "out", say=said.append)
    assert [row.cost for row in again] == [frozen.cost, lora.cost, wide.cost]
    assert [row.cells for row in again] == [frozen.cells, lora.cells, wide.cells]
    assert (tmp_path / "out/lora/finetune.log").stat().st_mtime_ns == log


def test_adapters_are_rows_too(recipe: FinetuneRecipe, tmp_path: Path) -> None:
    """Numbers trained counted in the saved files; every language scored through its own adapter, one has none."""
    folders = with_language_adapters(
        tmp_path / "model", "model", ["en"], adapted=["en"], reduction=2, invertible=True, seed=0,
        counts=np.ones(len(open_tokenizer(tmp_path / "model")), dtype=np.int64),
    ).write(tmp_path / "languages")  # fmt: skip
    tune = recipe.tune.model_copy(update={"language_adapters": folders, "without_adapter": "none"})
    said: list[str] = []
    rows = compare(
        recipe.model_copy(update={"tune": tune, "seeds": (0,)}), dict(map(way_of, ("adapter", "madx"))),
        tmp_path / "out", say=said.append,
    )  # fmt: skip
    for row in rows:
        folder = tmp_path / "out" / row.way / "tuned" / "length" / "en" / "seed-0"
        saved = [load_file(folder / file) for file in ("adapter.safetensors", "head.safetensors")]
        assert row.cost.trained_parameters == sum(tensor.numel() for one in saved for tensor in one.values())
        assert set(row.cells) == {"en", "de"}
    assert any("without a language adapter: de (12 examples)" in line for line in said)


def test_what_does_not_fit_is_refused(recipe: FinetuneRecipe, tmp_path: Path) -> None:
    """An unknown way, a key of tune that is none, no test files, and a training that ends with an error."""
    with pytest.raises(RecipeError, match="way 'lorra'; did you mean 'lora'"):
        way_of("lorra")
    with pytest.raises(RecipeError, match="'rank' in 'own:rank'"):
        way_of("own:rank")
    with pytest.raises(RecipeError, match=r"rnk(?s:.*)did you mean 'rank'"):
        compare(recipe, dict([way_of("own:rnk=3")]), tmp_path / "out")
    alone = recipe.model_copy(update={"task": recipe.task.model_copy(update={"test": ()})})
    with pytest.raises(RecipeError, match="without test files"):
        compare(alone, dict([way_of("lora")]), tmp_path / "out")
    with pytest.raises(TrainingError, match=r"ended with code(?s:.*)layers that are not frozen"):
        compare(recipe, dict([way_of("none:method=lora,freeze=all")]), tmp_path / "out")
