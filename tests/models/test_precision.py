"""models/precision.py: a converted copy against torch's own conversion."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.fixtures_models import tiny_config, tiny_masked_lm
from transformers import AutoModel

from interlingua.models.precision import bf16_is_quicker, for_inference, inference_dtype


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "modernbert"])
def test_converted_copy(family):
    """All tensors equal ``copy.deepcopy(model).to(bf16)``, tied ones stay tied, and the network itself is untouched."""
    model = tiny_masked_lm(family).float()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = copy.deepcopy(model).to(torch.bfloat16).state_dict()
    converted = for_inference(model, torch.bfloat16)
    assert not converted.training
    assert converted.get_input_embeddings().weight is converted.get_output_embeddings().weight
    found = converted.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert for_inference(model, torch.float32) is model


def test_tensors_shared_with_another_network_are_converted_once():
    """What a second network shares with the first comes from the first's copy; the rest is its own."""
    first = tiny_masked_lm("bert").float()
    second = copy.deepcopy(first)
    second.bert.embeddings.word_embeddings.weight.data = first.bert.embeddings.word_embeddings.weight.data
    torch.nn.init.normal_(second.bert.encoder.layer[0].output.dense.weight)
    one = for_inference(first, torch.bfloat16)
    two = for_inference(second, torch.bfloat16, like=(first, one))
    assert two.bert.embeddings.word_embeddings.weight is one.bert.embeddings.word_embeddings.weight
    own = two.bert.encoder.layer[0].output.dense.weight
    assert torch.equal(own, second.bert.encoder.layer[0].output.dense.weight.to(torch.bfloat16))
    assert own.data_ptr() != one.bert.encoder.layer[0].output.dense.weight.data_ptr()


@pytest.mark.parametrize(("said", "expected"), [("0", torch.float32), ("1", torch.bfloat16)])
def test_the_type_does_not_depend_on_the_clock(said, expected, monkeypatch):
    """The environment's word holds for a network of over two million weights; small and converted ones stay."""
    monkeypatch.setenv("INTERLINGUA_BF16", said)
    bf16_is_quicker.cache_clear()
    sizes = {"hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 1024}
    large = AutoModel.from_config(tiny_config("bert", **sizes))
    assert {inference_dtype(large) for _ in range(3)} == {expected}
    assert inference_dtype(tiny_masked_lm("bert").float()) == torch.float32
    assert inference_dtype(large.to(torch.float16)) == torch.float16
    bf16_is_quicker.cache_clear()
