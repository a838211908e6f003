"""models/attention.py and head.py against plain transformers on one text at a time, in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures_models import (
    ENCODERS,
    FAMILIES,
    pack,
    random_texts,
    tiny_config,
    tiny_encoder,
    tiny_masked_lm,
)
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertLMHeadModel,
    RobertaConfig,
    RobertaModel,
)

from interlingua.errors import CheckpointError
from interlingua.models.architectures import architecture, head_piece
from interlingua.models.attention import (
    block_mask,
    encode,
    encode_at,
    hidden_states,
    lower_states,
    pool_segments,
)
from interlingua.models.head import pooled_states, sequence_logits, token_logits

pytestmark = pytest.mark.usefixtures("exact")

CLOSE = {"rtol": 0, "atol": 1e-10}
APART = {"xlm", "bart", "mbart"}
LAYERED = ["bert", "xlm-roberta", "electra"]


def bare(model):
    """What of a model turns tokens into states."""
    return model.encoder if hasattr(model, "decoder") else model.base_model


def alone(model, text: np.ndarray, **more) -> torch.Tensor:
    """The states of one text from plain transformers."""
    return bare(model)(input_ids=torch.from_numpy(text)[None], **more).last_hidden_state[0]


@pytest.mark.parametrize("family", ENCODERS)
@torch.no_grad()
def test_packed_equals_alone(family):
    """Each packed text's states equal those of a plain call on the text alone (1e-10); texts exceed the window."""
    model, texts = tiny_encoder(family), random_texts(0, 12)
    batch = pack(texts, family)
    assert batch.rows < len(texts)
    states_BLD = encode(model, batch)
    for number, text in enumerate(texts, start=1):
        torch.testing.assert_close(states_BLD[batch.segments_BL == number], alone(model, text), **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("family", ENCODERS)
@torch.no_grad()
def test_neighbours_change_nothing(family, dtype):
    """Replacing every other text of a row by another of its length changes a text's states by exactly 0."""
    model, texts = tiny_encoder(family).to(dtype), random_texts(0, 12)
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


@pytest.mark.parametrize("family", ENCODERS)
def test_neighbours_get_no_gradient(family):
    """Of one text's states, all embeddings outside the text get a gradient of exactly 0, its own the plain one."""
    model, texts = tiny_encoder(family), random_texts(3, 8)
    batch = pack(texts, family)
    caught = []
    hook = bare(model).get_input_embeddings().register_forward_hook(lambda *call: caught.append(call[2]))
    states_BLD = encode(model, batch)
    own = batch.segments_BL == 3
    (gradient,) = torch.autograd.grad((states_BLD[own] ** 3).sum(), caught.pop())
    (expected_1LD,) = torch.autograd.grad((alone(model, texts[2]) ** 3).sum(), caught.pop())
    hook.remove()
    if family == "xlnet":  # which runs with rows second
        gradient, expected_1LD = gradient.transpose(0, 1), expected_1LD.transpose(0, 1)
    if family in APART:
        assert (gradient[torch.arange(len(texts)) != 2] == 0).all()
        torch.testing.assert_close(gradient[2, : len(texts[2])], expected_1LD[0], **CLOSE)
    else:
        assert (gradient[~own] == 0).all()
        torch.testing.assert_close(gradient[own], expected_1LD[0], **CLOSE)


@torch.no_grad()
def test_a_class_outside_the_table():
    """RoBERTa, of which the table knows nothing: states of every layer and of chosen tokens equal plain ones."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    model = RobertaModel(RobertaConfig(vocab_size=150, pad_token_id=1, **sizes)).double().eval()
    texts = random_texts(0, 7)
    batch = pack(texts, "xlm-roberta")
    layers = hidden_states(model, batch)
    for number, text in enumerate(texts, start=1):
        plain = model(input_ids=torch.from_numpy(text)[None], output_hidden_states=True).hidden_states
        for ours, expected in zip(layers, plain, strict=True):
            torch.testing.assert_close(ours[batch.segments_BL == number], expected[0], **CLOSE)
    chosen_BL = batch.tokens_BL > 100
    torch.testing.assert_close(encode_at(model, batch, chosen_BL), layers[-1][chosen_BL], **CLOSE)


@torch.no_grad()
def test_deberta_with_a_convolution_does_not_leak():
    """DeBERTa-v2's convolution reaches over borders of texts, so such a network runs them one a row."""
    model, texts = tiny_encoder("deberta-v2", conv_kernel_size=3, conv_act="gelu"), random_texts(0, 8)
    batch = pack(texts, "deberta-v2")
    states_BLD = encode(model, batch)
    for number, text in enumerate(texts, start=1):
        torch.testing.assert_close(states_BLD[batch.segments_BL == number], alone(model, text), **CLOSE)


@pytest.mark.parametrize("family", ["bert", "xlm", "gpt2"])
@pytest.mark.parametrize("packed", [True, False])
@torch.no_grad()
def test_causal_networks_look_back_only(family, packed):
    """As decoders: equal to a plain call on the text, and changing a text's last token changes that state alone."""
    changes = {"bert": {"is_decoder": True}, "xlm": {"causal": True}, "gpt2": {}}[family]
    model, texts = tiny_encoder(family, **changes), random_texts(0, 8)
    batch = pack(texts, family, pack=packed)
    states_BLD = encode(model, batch)
    for number, text in enumerate(texts, start=1):
        torch.testing.assert_close(states_BLD[batch.segments_BL == number], alone(model, text), **CLOSE)
    texts[4] = np.append(texts[4][:-1], 17)
    changed_BL = (encode(model, pack(texts, family, pack=packed)) - states_BLD).abs().amax(dim=2) > 1e-12
    last = (batch.segments_BL == 5).nonzero()[-1]
    assert changed_BL.nonzero().tolist() == [last.tolist()]
    chosen_BL = batch.tokens_BL % 3 == 0
    torch.testing.assert_close(encode_at(model, batch, chosen_BL), states_BLD[chosen_BL], **CLOSE)


@torch.no_grad()
def test_layers_of_a_decoder_one_by_one():
    """lower_states of a BERT decoder are causal too, also where one text a row needs no other mask."""
    torch.manual_seed(0)
    model = BertLMHeadModel(tiny_config("bert", is_decoder=True)).double().eval()
    text = random_texts(0, 1, shortest=20)
    batch = pack(text, "bert")
    plain = model.base_model(torch.from_numpy(text[0])[None], output_hidden_states=True).hidden_states
    torch.testing.assert_close(lower_states(model, batch, 2), plain[2], **CLOSE)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("family", ENCODERS)
@torch.no_grad()
def test_states_of_chosen_tokens(family, packed):
    """Only the chosen tokens' states, equal to those of a plain call on each text alone; none chosen is no state."""
    model, texts = tiny_encoder(family), random_texts(2, 9)
    batch = pack(texts, family, pack=packed)
    chosen_BL = (torch.rand(batch.tokens_BL.shape, generator=torch.Generator().manual_seed(0)) < 0.2) & (
        batch.segments_BL > 0
    )
    states_ND, of_text_N = encode_at(model, batch, chosen_BL), batch.segments_BL[chosen_BL]
    for number, text in enumerate(texts, start=1):
        own = chosen_BL[batch.segments_BL == number]
        torch.testing.assert_close(states_ND[of_text_N == number], alone(model, text)[own], **CLOSE)
    assert encode_at(model, batch, torch.zeros_like(chosen_BL)).shape == (0, 32)


@pytest.mark.parametrize("family", ENCODERS)
@torch.no_grad()
def test_hidden_states_of_every_layer(family):
    """All layers' states of a packed batch equal plain transformers' output_hidden_states on the text alone."""
    model, texts = tiny_encoder(family), random_texts(1, 6)
    batch = pack(texts, family)
    layers = hidden_states(model, batch)
    plain = bare(model)(input_ids=torch.from_numpy(texts[4])[None], output_hidden_states=True).hidden_states
    assert len(layers) == len(plain) == model.config.num_hidden_layers + 1
    for ours, expected in zip(layers, plain, strict=True):
        torch.testing.assert_close(ours[batch.segments_BL == 5], expected[0], **CLOSE)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("family", LAYERED)
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
    torch.testing.assert_close(second.states_BLD, exact.type(torch.float32))
    states_BLD = encode(model, replace(second, states_BLD=exact))
    for number, i in enumerate(order, start=1):
        torch.testing.assert_close(states_BLD[second.segments_BL == number], alone(model, texts[i]), **CLOSE)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "electra", "albert"])
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


@torch.no_grad()
def test_languages_reach_xlm():
    """languages_BL with language embeddings and restarting positions: equal to langs and position_ids given plainly."""
    model = tiny_masked_lm("xlm", n_langs=3, interlingua_languages=["a", "b", "c"])
    texts = random_texts(4, 5)
    languages = [np.arange(len(t)) % 3 for t in texts]
    positions = [np.arange(len(t)) % 5 for t in texts]
    batch = pack(texts, "xlm", token_languages=languages, positions=positions)
    states_BLD = encode(model, batch)
    for number, text in enumerate(texts, start=1):
        given_as = {"langs": languages, "position_ids": positions}
        plain = alone(model, text, **{k: torch.from_numpy(v[number - 1])[None] for k, v in given_as.items()})
        torch.testing.assert_close(states_BLD[batch.segments_BL == number], plain, **CLOSE)


@torch.no_grad()
def test_sides_of_a_pair_reach_xlnet():
    """types_BL: equal to token_type_ids given to a plain call."""
    model, texts = tiny_encoder("xlnet"), random_texts(4, 5)
    torch.nn.init.normal_(model.layer[0].rel_attn.seg_embed)
    types = [np.arange(len(t)) % 2 for t in texts]
    batch = pack(texts, "xlnet", types=types)
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


@pytest.mark.parametrize(
    ("family", "pooling"),
    [(f, None) for f in [*FAMILIES, "gpt2", "xlnet"] if f not in {"modernbert", "eurobert"}]
    + [("modernbert", p) for p in ("cls", "mean")]
    + [("eurobert", p) for p in ("bos", "mean", "late")],
)
@torch.no_grad()
def test_sequence_logits_equal_plain(family, pooling):
    """Class logits of packed texts equal AutoModelForSequenceClassification's on each text."""
    torch.manual_seed(0)
    config = tiny_config(family, num_labels=5, **({"classifier_pooling": pooling} if pooling else {}))
    model = AutoModelForSequenceClassification.from_config(config).double().eval()
    texts = random_texts(7, 11)
    batch = pack(texts, family)
    ours = sequence_logits(model, pooled_states(model, batch))
    plain = torch.cat([model(input_ids=torch.from_numpy(text)[None]).logits for text in texts])
    torch.testing.assert_close(ours, plain, **CLOSE)


@pytest.mark.parametrize("family", [*FAMILIES, "gpt2", "xlnet", "t5", "mt5"])
@torch.no_grad()
def test_token_logits_equal_plain(family):
    """Tag logits of chosen tokens equal AutoModelForTokenClassification's on each text."""
    torch.manual_seed(0)
    more = {"classifier_dropout": 0.0} if family == "gpt2" else {}
    model = AutoModelForTokenClassification.from_config(tiny_config(family, num_labels=5, **more)).double().eval()
    texts = random_texts(8, 11)
    batch = pack(texts, family)
    states_BLD = encode(model, batch)
    for number, text in enumerate(texts, start=1):
        ours = token_logits(model, states_BLD[batch.segments_BL == number])
        torch.testing.assert_close(ours, model(input_ids=torch.from_numpy(text)[None]).logits[0], **CLOSE)


@torch.no_grad()
def test_pieces_of_pretraining_heads_equal_plain():
    """Sentence-order logits and replaced-token logits equal the library's classes, text by text."""
    texts = random_texts(9, 6)
    for family, name, field in (
        ("bert", "BertForPreTraining", "seq_relationship_logits"),
        ("albert", "AlbertForPreTraining", "sop_logits"),
        ("electra", "ElectraForPreTraining", "logits"),
        ("deberta-v2", "DebertaV2ForTokenClassification", "logits"),
    ):
        torch.manual_seed(0)
        more = {"num_labels": 1} if family == "deberta-v2" else {}
        model = getattr(transformers, name)(tiny_config(family, **more)).double().eval()
        batch = pack(texts, family)
        states_BLD = encode(model, batch)
        for number, text in enumerate(texts, start=1):
            plain = getattr(model(input_ids=torch.from_numpy(text)[None]), field)
            own_LD = states_BLD[batch.segments_BL == number]
            if field == "logits":
                ours = head_piece(model, "replaced_logits")(model, own_LD)
                torch.testing.assert_close(ours, plain.flatten(), **CLOSE)
            else:
                torch.testing.assert_close(head_piece(model, "order_logits")(model, own_LD[:1]), plain, **CLOSE)


def test_unknown_heads_are_refused():
    """A class outside the table, and a family without the head asked for: CheckpointError with what will do."""
    roberta = RobertaModel(RobertaConfig(vocab_size=20, hidden_size=8, num_attention_heads=1, num_hidden_layers=1))
    with pytest.raises(CheckpointError, match="'roberta'") as caught:
        architecture(roberta)
    assert "modernbert" in caught.value.expected
    with pytest.raises(CheckpointError, match="replaced_logits of a BertForMaskedLM") as caught:
        head_piece(tiny_masked_lm("bert"), "replaced_logits")
    assert caught.value.expected == "one of ['deberta-v2', 'electra']"
