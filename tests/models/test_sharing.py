"""models/sharing.py: which layers are one, what the saved folder holds, and what opening it ties again."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from transformers import AlbertForMaskedLM, AutoModelForMaskedLM

from interlingua.models.build import build_model, reinitialised
from interlingua.models.checkpoint import open_checkpoint, save_checkpoint
from interlingua.recipe import ModelRecipe

SMALL = {"hidden": 32, "layers": 4, "heads": 2, "feed_forward": 48, "positions": 64}
#: Parameters of one layer of width 32 and inner width 48, by hand.
ATTENTION = 4 * (32 * 32 + 32) + 2 * 32
FEED_FORWARD = 32 * 48 + 48 + 48 * 32 + 32 + 2 * 32


def layers_of(model) -> list[torch.nn.Module]:
    encoder = model.base_model.encoder
    groups = getattr(encoder, "albert_layer_groups", None)
    return list(encoder.layer) if groups is None else [g.albert_layers[0] for g in groups]


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "electra", "albert"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("sharing", ["attention", "ffn", "all"])
def test_parameters_counted_by_hand(family, sharing, groups, hf_tokenizer):
    """Weights in the layers: as many copies of each part as the sharing leaves."""
    recipe = ModelRecipe(family=family, sharing=sharing, groups=groups, **SMALL)
    model = build_model(recipe, hf_tokenizer, ["en"], seed=0)
    own = {id(p): p.numel() for layer in layers_of(model) for p in layer.parameters()}
    copies = {"attention": (groups, 4), "ffn": (4, groups), "all": (groups, groups)}[sharing]
    assert sum(own.values()) == copies[0] * ATTENTION + copies[1] * FEED_FORWARD


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_shared_layers_survive_a_checkpoint(family, hf_tokenizer, tmp_path):
    """After a step on shared weights: plain transformers reads every layer's copy, ours ties them again."""
    recipe = ModelRecipe(family=family, sharing="attention", groups=2, **SMALL)
    model = build_model(recipe, hf_tokenizer, ["en"], seed=0).eval()
    ids = torch.arange(5, 25)[None]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    first, second, third, _ = (dict(layer.attention.named_parameters()) for layer in layers_of(model))
    assert all(p is second[name] and p is not third[name] for name, p in first.items())
    folder = save_checkpoint(tmp_path / "saved", model, hf_tokenizer)
    stored = [name for name in load_file(folder / "model.safetensors") if "attention" in name]
    assert len(stored) == 4 * len(first)
    plain, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(input_ids=ids).logits, model(input_ids=ids).logits)
    opened, _ = open_checkpoint(folder, AutoModelForMaskedLM)
    assert len(list(opened.parameters())) == len(list(model.parameters()))
    assert len(list(plain.parameters())) > len(list(model.parameters()))


def test_layers_gone_apart_stay_apart(hf_tokenizer, tmp_path):
    """A tuned network whose layers differ is opened as it is, not tied back to its first layer."""
    model = build_model(ModelRecipe(sharing="all", **SMALL), hf_tokenizer, ["en"], seed=0)
    plain = AutoModelForMaskedLM.from_pretrained(save_checkpoint(tmp_path / "saved", model, hf_tokenizer))
    with torch.no_grad():
        layers_of(plain)[2].output.dense.weight.add_(1.0)
    opened, _ = open_checkpoint(save_checkpoint(tmp_path / "tuned", plain, hf_tokenizer), AutoModelForMaskedLM)
    assert all((p == q).all() for p, q in zip(opened.parameters(), plain.parameters(), strict=True))


def test_albert_all_is_the_library_s_own(hf_tokenizer):
    """Sharing everything is AlbertConfig's groups; the class and its number of weights are the library's."""
    model = build_model(
        ModelRecipe(family="albert", groups=2, embedding_size=24, **SMALL), hf_tokenizer, ["en"], seed=0
    )
    assert (model.config.num_hidden_groups, model.config.embedding_size) == (2, 24)
    assert not hasattr(model.config, "interlingua_sharing")
    plain = AlbertForMaskedLM(model.config)
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@torch.no_grad()
def test_no_positions(family, hf_tokenizer, tmp_path):
    """Without positions the order of the other tokens changes no state, here, reopened, in plain transformers."""
    recipe = ModelRecipe(family=family, positions_kind="none", **SMALL)
    model = build_model(recipe, hf_tokenizer, ["en"], seed=0)
    folder = save_checkpoint(tmp_path / "saved", model, hf_tokenizer)
    opened, _ = open_checkpoint(folder, AutoModelForMaskedLM)
    plain = AutoModelForMaskedLM.from_pretrained(folder)
    ids = torch.tensor([[5, 9, 14, 20, 33]])
    for network in (model, opened, plain, reinitialised(model, seed=1)):
        network.eval().double()
        one, other = network(input_ids=ids).logits, network(input_ids=ids.flip(1)).logits
        torch.testing.assert_close(one, other.flip(1), rtol=0, atol=1e-12)
    table = opened.base_model.embeddings.position_embeddings.weight
    assert not table.requires_grad
    assert not table.any()
