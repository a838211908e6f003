"""models/attention.py and head.py against plain transformers on one text at a time, in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures_models import FAMILIES, dense, pack, random_texts, tiny_config, tiny_masked_lm
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DistilBertConfig,
)

from interlingua.errors import CheckpointError
from interlingua.models.attention import (
    architecture,
    block_mask,
    encode,
    encode_at,
    hidden_states,
    lower_states,
    pool_segments,
)
from interlingua.models.head import pooled_states, sequence_logits, token_logits

CLOSE = {"rtol": 0, "atol": 1e-10}


def alone(model, text: np.ndarray, **more) -> torch.Tensor:
    """The states of one text from plain transformers."""
    return model.base_model(input_ids=torch.from_numpy(text)[None], **more).last_hidden_state[0]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_packed_equals_alone(family):
    """Each packed text's states equal those of a plain call on the text alone (1e-10); texts exceed the window."""
    model, texts = tiny_masked_lm(family), random_texts(0, 12)
    batch = pack(texts, family)
    assert batch.rows < len(texts)
    states_BLD = encode(model, batch)
    for number, text in enumerate(texts, start=1):
        torch.testing.assert_close(states_BLD[batch.segments_BL == number], alone(model, text), **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_neighbours_change_nothing(family, dtype):
    """Replacing every other text of a row by another of its length changes a text's states by exactly 0."""
    model, texts = tiny_masked_lm(family).to(dtype), random_texts(0, 12)
    others = [np.array([t[0], *np.random.default_rng(i).integers(5, 150, len(t) - 2), t[-1]])
              for i, t in enumerate(texts)]  # fmt: skip
    batch = pack(texts, family)
    before = encode(model, batch)
    for kept in range(0, 12, 3):
        changed = pack([text if i == kept else others[i] for i, text in enumerate(texts)], family)
        after = encode(model, changed)
        own = batch.segments_BL == kept + 1
        assert (own == (changed.segments_BL == kept + 1)).all()
        assert (after[own] - before[own]).abs().max() == 0
        assert (after[~own] - before[~own]).abs().max() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_neighbours_get_no_gradient(family):
    """The gradient of one text's states with respect to all embeddings is exactly 0 outside the text."""
    model, texts = tiny_masked_lm(family), random_texts(3, 8)
    batch = pack(texts, family)
    caught = []
    hook = model.base_model.embeddings.register_forward_hook(lambda *call: caught.append(call[2]))
    states_BLD = encode(model, batch)
    hook.remove()
    own = batch.segments_BL == 3
    (gradient_BLD,) = torch.autograd.grad(states_BLD[own].sum(), caught[0])
    assert (gradient_BLD[~own] == 0).all()
    assert (gradient_BLD[own] != 0).any()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_states_of_chosen_tokens(family, packed):
    """Only the chosen tokens' states, equal to those of a plain call on each text alone; none chosen is no state."""
    model, texts = tiny_masked_lm(family), random_texts(2, 9)
    batch = pack(texts, family, pack=packed)
    chosen_BL = (torch.rand(batch.tokens_BL.shape, generator=torch.Generator().manual_seed(0)) < 0.2) & (
        batch.segments_BL > 0
    )
    states_ND, of_text_N = encode_at(model, batch, chosen_BL), batch.segments_BL[chosen_BL]
    for number, text in enumerate(texts, start=1):
        own = chosen_BL[batch.segments_BL == number]
        torch.testing.assert_close(states_ND[of_text_N == number], alone(model, text)[own], **CLOSE)
    assert encode_at(model, batch, torch.zeros_like(chosen_BL)).shape == (0, 32)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_hidden_states_of_every_layer(family):
    """All layers' states of a packed batch equal plain transformers' output_hidden_states on the text alone."""
    model, texts = tiny_masked_lm(family), random_texts(1, 6)
    batch = pack(texts, family)
    layers = hidden_states(model, batch)
    plain = model.base_model(input_ids=torch.from_numpy(texts[4])[None], output_hidden_states=True).hidden_states
    assert len(layers) == len(plain) == model.config.num_hidden_layers + 1
    for ours, expected in zip(layers, plain, strict=True):
        torch.testing.assert_close(ours[batch.segments_BL == 5], expected[0], **CLOSE)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@torch.no_grad()
def test_upper_layers_from_kept_lower_states(family, packed):
    """lower_states, laid out again in another batch, then encode, equals the full pass of plain transformers."""
    model, texts = tiny_masked_lm(family), random_texts(2, 7)
    first = pack(texts, family, pack=packed)
    lower_BLD = lower_states(model, first, 2)
    kept = [lower_BLD[first.segments_BL == n].numpy() for n in range(1, 8)]
    order = [3, 0, 6, 2, 5, 1, 4]
    second = pack([texts[i] for i in order], family, states=[kept[i] for i in order], states_layer=2)
    # rows_from_texts keeps states in float32; the float64 ones are put back to compare to 1e-10.
    exact = torch.zeros(*second.tokens_BL.shape, 32, dtype=torch.double)
    for number, i in enumerate(order, start=1):
        exact[second.segments_BL == number] = torch.from_numpy(kept[i])
    torch.testing.assert_close(second.states_BLD, exact.float())
    states_BLD = encode(model, replace(second, states_BLD=exact))
    for number, i in enumerate(order, start=1):
        torch.testing.assert_close(states_BLD[second.segments_BL == number], alone(model, texts[i]), **CLOSE)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@torch.no_grad()
def test_token_types_and_languages_reach_the_network(family):
    """types_BL without language embeddings, languages_BL with them: equal to token_type_ids given to a plain call."""
    texts = random_texts(4, 5)
    types = [np.arange(len(t)) % 2 for t in texts]
    for changes, layout in (
        ({}, {"types": types}),
        ({"interlingua_languages": ["a", "b"]}, {"token_languages": types}),
    ):
        model = tiny_masked_lm(family, types=2, **changes)
        batch = pack(texts, family, **layout)
        states_BLD = encode(model, batch)
        for number, (text, own) in enumerate(zip(texts, types, strict=True), start=1):
            expected = alone(model, text, token_type_ids=torch.from_numpy(own)[None])
            torch.testing.assert_close(states_BLD[batch.segments_BL == number], expected, **CLOSE)


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6), window=st.none() | st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_block_mask_by_plain_loop(lengths, window):
    """Every cell of the mask by the rule: same segment, and not farther apart than the window."""
    batch = pack([np.full(n, 9) for n in lengths], "bert", row_length=20)
    mask = block_mask(batch, window=window)
    segments = batch.segments_BL.tolist()
    for r, row in enumerate(segments):
        for i, a in enumerate(row):
            for j, b in enumerate(row):
                assert bool(mask[r, 0, i, j]) == (a == b and (window is None or abs(i - j) <= window))


@pytest.mark.parametrize("how", ["mean", "first"])
@pytest.mark.parametrize("specials", [True, False])
def test_pooling_by_hand(how, specials):
    """Pooled vectors equal a loop over segments with numpy."""
    texts = random_texts(6, 9)
    batch = pack(texts, "bert")
    states = torch.from_numpy(np.random.default_rng(0).normal(size=(*batch.tokens_BL.shape, 8)))
    pooled = pool_segments(states, batch, how=how, specials=specials)
    assert pooled.shape == (9, 8)
    for number in range(1, 10):
        own = states[batch.segments_BL == number].numpy()
        inner = own if specials else own[1:-1]
        np.testing.assert_allclose(pooled[number - 1], own[0] if how == "first" else inner.mean(0), atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_sequence_logits_equal_plain(family):
    """Class logits of packed texts equal AutoModelForSequenceClassification's on one padded text a row."""
    poolings = ("cls", "mean") if family == "modernbert" else ("cls",)
    for pooling in poolings:
        torch.manual_seed(0)
        config = tiny_config(family, num_labels=5)
        if family == "modernbert":
            config.classifier_pooling = pooling
        model = AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa").double().eval()
        batch = pack(random_texts(7, 11), family)
        ours = sequence_logits(model, pooled_states(model, batch))
        plain = model(
            input_ids=dense(batch, batch.tokens_BL, config.pad_token_id),
            attention_mask=dense(batch, torch.ones_like(batch.tokens_BL), 0),
        ).logits
        torch.testing.assert_close(ours, plain, **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_token_logits_equal_plain(family):
    """Tag logits of chosen tokens equal AutoModelForTokenClassification's on one padded text a row."""
    torch.manual_seed(0)
    config = tiny_config(family, num_labels=5)
    model = AutoModelForTokenClassification.from_config(config, attn_implementation="sdpa").double().eval()
    batch = pack(random_texts(8, 11), family)
    mask = dense(batch, torch.ones_like(batch.tokens_BL), 0)
    plain = model(input_ids=dense(batch, batch.tokens_BL, config.pad_token_id), attention_mask=mask).logits
    ours = token_logits(model, encode(model, batch)[batch.segments_BL > 0])
    order = torch.argsort(batch.segments_BL[batch.segments_BL > 0], stable=True)
    torch.testing.assert_close(ours[order], plain[mask.bool()], **CLOSE)


def test_unknown_architecture_is_refused():
    """A class outside the table: CheckpointError with the ones that will do."""
    config = DistilBertConfig(vocab_size=20, dim=8, n_heads=1, n_layers=1, hidden_dim=8)
    model = AutoModelForMaskedLM.from_config(config)
    with pytest.raises(CheckpointError, match="'distilbert'") as caught:
        architecture(model)
    assert "modernbert" in caught.value.expected
