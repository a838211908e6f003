"""Parts that begin anew: each parameter against the pretrained one by name; the key in a real tuning."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import RecipeError
from interlingua.models.encoder import Encoder
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe
from interlingua.tasks import TextExample
from interlingua.transfer.finetune import build_task
from interlingua.transfer.fresh import check_fresh, renewed
from interlingua.transfer.tune import tune_once

#: First parts of names of what is not the body, by plain transformers' own names.
EMBEDDINGS = {"bert": ("embeddings",), "modernbert": ("embeddings",), "distilbert": ("embeddings",)}


def encoder(family: str, tokenizer: Any) -> Encoder:
    torch.manual_seed(0)
    model = AutoModel.from_config(tiny_config(family, vocabulary=len(tokenizer), pad_token_id=tokenizer.pad_token_id))
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases begin at ones and zeros, alike in every new network
            parameter.add_(torch.rand_like(parameter))
    return Encoder("tiny", model.eval(), tokenizer, "", 100)


@pytest.mark.parametrize("family", EMBEDDINGS)
@pytest.mark.parametrize("part", ["none", "embeddings", "body", "all"])
def test_parts_by_name(family: str, part: str, hf_tokenizer: Any) -> None:
    old = encoder(family, hf_tokenizer)
    before = {name: value.clone() for name, value in old.model.named_parameters()}
    new = renewed(old, part, seed=3)
    for name, value in new.model.named_parameters():
        inside = name.startswith(EMBEDDINGS[family])
        begun = part == "all" or (part == "embeddings" and inside) or (part == "body" and not inside)
        assert torch.equal(value, before[name]) != begun, name
    assert all(torch.equal(value, before[name]) for name, value in old.model.named_parameters())
    again = renewed(old, part, seed=3).model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in new.model.state_dict().items())


def test_tuning_begins_there(hf_tokenizer: Any, tiny_texts: dict[str, list[str]]) -> None:
    # One step at a rate of nearly nothing: what is not drawn anew is the pretrained network's still.
    old = encoder("bert", hf_tokenizer)
    examples = [TextExample(text, "en", label) for text, label in zip(tiny_texts["en"][:8], "abababab", strict=True)]
    task = build_task(TaskRecipe(type="classify"), examples)
    tune = TuneRecipe(epochs=1, batch_size=8, lr=1e-12, weight_decay=0, threads=1, freeze="none", fresh="body")
    tuned = tune_once(old, task, examples, tune, seed=0).model.base_model
    kept = {name: value for name, value in old.model.named_parameters() if "pooler" not in name}
    apart = {name for name, value in tuned.named_parameters() if name in kept and not torch.allclose(value, kept[name])}
    assert apart == {name for name in kept if not name.startswith("embeddings")}


@pytest.mark.parametrize(
    "keys",
    [
        {"fresh": "embeddings", "freeze": "embeddings"},
        {"fresh": "all", "freeze": 1},
        {"fresh": "body", "freeze": 2},
        {"fresh": "body", "freeze": "all"},
        {"fresh": "body", "freeze": "none", "method": "lora"},
    ],
)
def test_new_weights_that_would_never_learn(keys: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"tune\.fresh"):
        check_fresh(TuneRecipe(**keys))
    check_fresh(TuneRecipe(fresh="body", freeze="embeddings"))
