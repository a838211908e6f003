"""models/pooling.py: the averaging layer against its formula, and in plain transformers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.fixtures_models import random_texts, tiny_config
from transformers import AutoModelForSequenceClassification

from interlingua.errors import CheckpointError
from interlingua.models.pooling import MEAN_WEIGHT, add_mean_layer


def classifier(family: str):
    torch.manual_seed(0)
    config = tiny_config(family, num_labels=3)
    return AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa").double().eval()


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@torch.no_grad()
def test_first_state_is_the_mean(family):
    """After the layer the first token holds LayerNorm(LayerNorm(x_0 + 16 x mean)), by hand from the states before."""
    model = classifier(family)
    texts = random_texts(0, 6)
    ids = torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(t) for t in texts], batch_first=True, padding_value=model.config.pad_token_id
    )
    mask = (ids != model.config.pad_token_id).long()
    before = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
    add_mean_layer(model)
    after = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    mean = (before * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    expected = F.layer_norm(before[:, 0] + MEAN_WEIGHT * mean, (32,), eps=model.config.layer_norm_eps)
    expected = F.layer_norm(expected, (32,), eps=model.config.layer_norm_eps)
    torch.testing.assert_close(after, expected, rtol=0, atol=1e-10)
    # "Practically the mean": its direction, centred as the layer norm centres it.
    cosine = F.cosine_similarity(after, mean - mean.mean(1, keepdim=True))
    assert cosine.min() > 0.98


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_saved_model_opens_in_plain_transformers(family, tmp_path):
    """Saved and opened by from_pretrained, the logits are equal (1e-12), and no weight is missing or new."""
    model = classifier(family)
    add_mean_layer(model)
    model.save_pretrained(tmp_path)
    opened, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True, dtype=torch.double, attn_implementation="sdpa"
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    ids = torch.from_numpy(random_texts(1, 1)[0])[None]
    with torch.no_grad():
        torch.testing.assert_close(opened.eval()(input_ids=ids).logits, model(input_ids=ids).logits, rtol=0, atol=1e-12)


def test_layer_can_be_trained():
    """The appended layer takes gradients (only its feed-forward input and keys, behind zeros, start at none)."""
    model = classifier("bert")
    add_mean_layer(model)
    model(input_ids=torch.from_numpy(random_texts(1, 1)[0])[None], labels=torch.tensor([1])).loss.backward()
    layer = model.bert.encoder.layer[-1]
    assert layer.attention.self.value.weight.grad.abs().sum() > 0
    assert layer.output.dense.weight.grad.abs().sum() > 0


def test_modernbert_is_refused():
    """A class with other layers: CheckpointError that names its own way."""
    with pytest.raises(CheckpointError, match="classifier_pooling"):
        add_mean_layer(classifier("modernbert"))
