"""models/separate.py: what a language gets is what a plain network with that language's parts computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from tests.fixtures_models import MASK, PAD, dense, pack, random_texts, tiny_config

from interlingua.models.attention import encode, hidden_states
from interlingua.models.checkpoint import write_checkpoint
from interlingua.models.separate import LanguageParts, language_parts
from interlingua.objectives.masking import Masking
from interlingua.objectives.mlm import MaskedLM

LANGUAGES = ("de", "en", "fi")
CLOSE = {"rtol": 0, "atol": 1e-10}
pytestmark = pytest.mark.usefixtures("exact")


SPECIALS = (0, 1, 2, 3, 4)


def networks(family: str, *, embeddings: bool, layers: int, small: bool = False):
    """The shared network, its parts, and for each language a plain network put together by hand."""
    cls = {"bert": transformers.BertForMaskedLM, "xlm-roberta": transformers.XLMRobertaForMaskedLM}[family]
    fresh = []
    for seed in range(3):
        torch.manual_seed(seed)
        fresh.append(cls(tiny_config(family)).double().eval())
    plain = []
    for i in (1, 0, 2):  # the parts of de, en, fi come from these; en is the network's own
        network = cls(tiny_config(family)).double().eval()
        network.load_state_dict(fresh[0].state_dict())
        if embeddings:
            network.get_input_embeddings().load_state_dict(fresh[i].get_input_embeddings().state_dict())
        for depth in range(layers):
            theirs = fresh[i].base_model.encoder.layer[depth].state_dict()
            network.base_model.encoder.layer[depth].load_state_dict(theirs)
        if small:  # what is no table and no layer
            places = fresh[i].base_model.embeddings.position_embeddings.state_dict()
            network.base_model.embeddings.position_embeddings.load_state_dict(places)
            rows = fresh[i].get_input_embeddings().weight[list(SPECIALS)]
            network.get_input_embeddings().weight.data[list(SPECIALS)] = rows.detach()
        plain.append(network)
    model = fresh[0]
    parts = LanguageParts(
        model, [fresh[1], fresh[2]], LANGUAGES, own=1, embeddings=embeddings, layers=layers, positions=small,
        specials=SPECIALS if small else (),
    )  # fmt: skip
    return model, parts, plain


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@pytest.mark.parametrize(("embeddings", "layers"), [(True, 0), (False, 2), (True, 2)])
def test_losses_equal_plain_networks(family, embeddings, layers):
    """Texts of three languages in one packed batch: each text's loss is that of its language's plain network."""
    model, parts, plain = networks(family, embeddings=embeddings, layers=layers)
    texts = random_texts(1, 15, longest=20)
    spoken = [i % 3 for i in range(15)]
    batch = pack(texts, family, languages=spoken)
    assert batch.rows < 15
    objective = MaskedLM(Masking(MASK, np.arange(5, 150), rate=0.3))
    targets = objective.prepare(batch, np.random.default_rng(0))
    loss = objective.loss(model, batch, targets)
    labels, tokens = dense(batch, targets.labels_BL, -100), dense(batch, targets.tokens_BL, PAD[family])
    mask = dense(batch, torch.ones_like(batch.tokens_BL), 0)
    expected = torch.zeros((), dtype=torch.double)
    for i, network in enumerate(plain):
        rows = [row for row, language in enumerate(spoken) if language == i]
        logits = network(input_ids=tokens[rows], attention_mask=mask[rows]).logits
        expected = expected + torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels[rows].flatten(), reduction="sum"
        )
    torch.testing.assert_close(loss.total, expected, **CLOSE)
    torch.testing.assert_close(loss.each_N.sum(), expected.detach(), **CLOSE)
    loss.total.backward()
    expected.backward()
    # Finnish parts against the Finnish network's.
    if embeddings:
        theirs = plain[2].get_input_embeddings().weight.grad
        torch.testing.assert_close(parts.tables[1].weight.grad, theirs, **CLOSE)
    for depth in range(layers):
        theirs = dict(plain[2].base_model.encoder.layer[depth].named_parameters())
        for name, parameter in parts.layers[depth][1].named_parameters():
            torch.testing.assert_close(parameter.grad, theirs[name].grad, **CLOSE, msg=name)
    # A shared layer learns from all three.
    last = model.base_model.encoder.layer[2].output.dense.weight.grad
    torch.testing.assert_close(
        last, sum(network.base_model.encoder.layer[2].output.dense.weight.grad for network in plain), **CLOSE
    )


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_states_are_the_language_s_own(family, small):
    """All layers' states of a text do not depend on texts of other languages beside it."""
    model, _, plain = networks(family, embeddings=not small, layers=0 if small else 2, small=small)
    texts = random_texts(2, 6, longest=12)
    spoken = [2, 0, 1, 2, 0, 1]
    batch = pack(texts, family, languages=spoken)
    with torch.no_grad():
        states = hidden_states(model, batch)
        torch.testing.assert_close(states[-1], encode(model, batch), **CLOSE)
        for number, (text, language) in enumerate(zip(texts, spoken, strict=True), start=1):
            alone = plain[language](torch.from_numpy(text)[None], output_hidden_states=True).hidden_states
            for ours, theirs in zip(states, alone, strict=True):
                torch.testing.assert_close(ours[batch.segments_BL == number], theirs[0], **CLOSE)


@pytest.mark.parametrize("small", [False, True])
def test_each_language_s_checkpoint_is_plain(small, tmp_path, hf_tokenizer):
    """Written while the network speaks a language, a folder opens in transformers and is that language's network."""
    # With whole tables of its own, a language has its special tokens in them: the switch for these changes nothing.
    model, parts, plain = networks("bert", embeddings=not small, layers=0 if small else 2, small=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert language_parts(model) is parts
    ids = torch.tensor([[2, 10, 20, 3]])
    for language, network in zip(LANGUAGES, plain, strict=True):
        folder = tmp_path / language
        folder.mkdir()
        if language == "en":
            write_checkpoint(folder, model, hf_tokenizer)
        else:
            with parts.speaking(model, language):
                write_checkpoint(folder, model, hf_tokenizer)
        opened = transformers.AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.double).eval()
        with torch.no_grad():
            torch.testing.assert_close(opened(ids).logits, network(ids).logits, **CLOSE)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_special_tokens_learn_from_their_own_language():
    """What a text's special tokens learn goes to its language's vectors, as a plain network's do, and to no other's."""
    model, parts, plain = networks("bert", embeddings=False, layers=0, small=True)
    texts = random_texts(3, 4, longest=9)
    batch = pack(texts, "bert", languages=[2] * 4)
    encode(model, batch).square().sum().backward()
    for text in texts:
        plain[2](torch.from_numpy(text)[None], output_hidden_states=True).hidden_states[-1].square().sum().backward()
    theirs = plain[2].get_input_embeddings().weight.grad
    torch.testing.assert_close(parts.specials[1].grad, theirs[list(SPECIALS)], **CLOSE)
    places = plain[2].base_model.embeddings.position_embeddings.weight.grad
    torch.testing.assert_close(parts.positions[1].weight.grad, places, **CLOSE)
    torch.testing.assert_close(model.get_input_embeddings().weight.grad[5:], theirs[5:], **CLOSE)
    assert not parts.specials[0].grad.any()
    assert not model.get_input_embeddings().weight.grad[list(SPECIALS)].any()
