"""The multilinguality score against plain transformers, a text at a time, and scikit-learn's nearest neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError
from interlingua.models.encoder import Encoder
from interlingua.probe.multilinguality import Side, multilinguality


@pytest.fixture(scope="module")
def encoders(hf_tokenizer: Any) -> list[Encoder]:
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id,
                             type_vocab_size=2)  # fmt: skip
        found.append(Encoder("tiny", AutoModel.from_config(config).double().eval(), hf_tokenizer, max_length=60))
    found[1].model.load_state_dict({n: v + 0.01 * torch.randn_like(v) for n, v in found[0].model.state_dict().items()})
    return found


def plain(encoder: Encoder, ids: np.ndarray, layer: int, token_type: int) -> np.ndarray:
    first, last = encoder.tokenizer("")["input_ids"]
    row = torch.tensor([[first, *ids.tolist(), last]])
    with torch.no_grad():
        states = encoder.model(
            row, token_type_ids=torch.full_like(row, token_type), output_hidden_states=True
        ).hidden_states[layer]
    return np.asarray(states[0, 1:-1].mean(dim=0))


def precision(left: np.ndarray, right: np.ndarray) -> float:
    ways = []
    for queries, keys in ((left, right), (right, left)):
        found = NearestNeighbors(n_neighbors=1, metric="cosine").fit(keys).kneighbors(queries)[1][:, 0]
        ways.append((found == np.arange(len(queries))).mean())
    return float(np.mean(ways))


@pytest.mark.parametrize("token_type", [0, 1])
def test_scores_are_those_of_plain_transformers(
    encoders: list[Encoder], tiny_texts: dict[str, list[str]], token_type: int
) -> None:
    """Two networks that differ a little, so that some counterparts are found and some are not."""
    tokenizer = encoders[0].tokenizer
    texts = [np.array(tokenizer(t, add_special_tokens=False)["input_ids"][:40]) for t in tiny_texts["en"][:60]]
    tokens = np.arange(10, 200)
    sides = Side(encoders[0], texts, tokens), Side(encoders[1], texts, tokens, token_type)
    found = multilinguality(*sides, layers=(0, 2), batch_tokens=300)
    for layer in (0, 2):
        for measured, rows in ((found.retrieval, texts), (found.translation, list(tokens[:, None]))):
            vectors = [
                np.stack([plain(encoder, ids, layer, kind) for ids in rows])
                for encoder, kind in zip(encoders, (0, token_type), strict=True)
            ]
            assert measured[layer] == pytest.approx(precision(*vectors), abs=1.01 / len(rows))
    assert found.score == pytest.approx(
        np.mean([found.retrieval[0], found.retrieval[2], found.translation[0], found.translation[2]])
    )
    assert 0.05 < found.retrieval[0] <= 1
    again = multilinguality(*sides, layers=(0, 2), batch_tokens=5000)
    assert again.retrieval == pytest.approx(found.retrieval)


def test_what_cannot_be_measured(encoders: list[Encoder]) -> None:
    some = np.array([10, 11])
    with pytest.raises(DataError, match="1 and 0 sentences, 2 and 2 tokens"):
        multilinguality(Side(encoders[0], [some], some), Side(encoders[0], [], some))
    broken = Encoder("broken", AutoModel.from_config(encoders[0].model.config).eval(), encoders[0].tokenizer)
    broken.model.get_input_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        multilinguality(Side(broken, [some], some), Side(broken, [some], some), layers=(0,))
