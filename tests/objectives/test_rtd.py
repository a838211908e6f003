"""objectives/rtd.py against ElectraForMaskedLM and ElectraForPreTraining, in float64, drawn tokens held fixed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.fixtures_models import MASK, dense, pack, random_texts, tiny_config
from transformers import (
    DebertaV2ForMaskedLM,
    DebertaV2ForTokenClassification,
    ElectraForMaskedLM,
    ElectraForPreTraining,
)

from interlingua.objectives import rtd
from interlingua.objectives.masking import Masking
from interlingua.objectives.rtd import ReplacedTokenDetection, share_embeddings

CLOSE = {"rtol": 0, "atol": 1e-10}
MASKING = Masking(MASK, np.arange(5, 150), rate=0.3, mask=1.0, random=0.0)
GENERATOR = {"hidden_size": 16, "num_attention_heads": 1, "intermediate_size": 20, "num_hidden_layers": 2}


def networks() -> tuple[ElectraForPreTraining, ElectraForMaskedLM]:
    """Discriminator of width 32, generator of width 16, embeddings of width 24 both."""
    torch.manual_seed(0)
    discriminator = ElectraForPreTraining(tiny_config("electra"))
    return discriminator.double().eval(), ElectraForMaskedLM(tiny_config("electra", **GENERATOR)).double().eval()


@pytest.fixture
def drawn(monkeypatch):
    """The generator draws each masked token's successor in the vocabulary, or the token itself every third time."""
    plain = rtd.sampled_losses

    def fixed(model, states_ND, labels_N):
        total, each_N, _ = plain(model, states_ND, labels_N)
        places_N = torch.arange(len(labels_N))
        return total, each_N, torch.where(places_N % 3 == 0, labels_N, (labels_N + 1) % 150)

    monkeypatch.setattr(rtd, "sampled_losses", fixed)


def library_losses(batch, targets, discriminator, generator) -> tuple[torch.Tensor, torch.Tensor]:
    """The library's two losses on one text a row, means over their predictions."""
    chosen_BL = targets.labels_BL != -100
    labels_N = targets.labels_BL[chosen_BL]
    drawn_N = torch.where(torch.arange(len(labels_N)) % 3 == 0, labels_N, (labels_N + 1) % 150)
    shown_BL = batch.tokens_BL.masked_scatter(chosen_BL, drawn_N)
    mask = dense(batch, torch.ones_like(batch.tokens_BL), 0)
    first = generator(
        input_ids=dense(batch, targets.tokens_BL, 0), attention_mask=mask, labels=dense(batch, targets.labels_BL, -100)
    ).loss
    labels = dense(batch, (shown_BL != batch.tokens_BL).long(), 0)
    output = discriminator(input_ids=dense(batch, shown_BL, 0), attention_mask=mask, labels=labels)
    # Its own loss is float32, whatever the network: to seven digits it is the float64 one, which is compared further.
    real = mask.bool()
    second = F.binary_cross_entropy_with_logits(output.logits[real], labels[real].double())
    torch.testing.assert_close(output.loss.double(), second, rtol=1e-6, atol=0)
    return first, second


def same_gradients(ours, plain) -> None:
    expected = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, **CLOSE, msg=name)


@pytest.mark.parametrize("sharing", ["none", "shared"])
def test_equals_the_library(drawn, sharing):
    """Mean loss = generator's + 50 x discriminator's; gradients too, one table with both where it is shared."""
    (ours, our_generator), (plain, plain_generator) = networks(), networks()
    if sharing == "shared":
        share_embeddings(ours, our_generator)
        assert our_generator.get_input_embeddings().weight is ours.get_input_embeddings().weight
        assert our_generator.get_output_embeddings().weight is ours.get_input_embeddings().weight
        # Tied by hand in the plain pair: values alike, gradients added up afterwards.
        with torch.no_grad():
            for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
                theirs = getattr(plain.electra.embeddings, name).weight
                getattr(plain_generator.electra.embeddings, name).weight.copy_(theirs)
    batch = pack(random_texts(0, 10), "electra")
    objective = ReplacedTokenDetection(MASKING, our_generator, sharing=sharing)
    targets = objective.prepare(batch, np.random.default_rng(0))
    loss = objective.loss(ours, batch, targets)
    (loss.total / loss.count).backward()
    first, second = library_losses(batch, targets, plain, plain_generator)
    (first + 50 * second).backward()
    torch.testing.assert_close(loss.total / loss.count, first + 50 * second, **CLOSE)
    torch.testing.assert_close(loss.each_N.mean(), first.detach(), **CLOSE)
    if sharing == "shared":
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            mine, other = (getattr(m.electra.embeddings, name).weight for m in (plain, plain_generator))
            mine.grad += other.grad
            other.grad = mine.grad
    same_gradients(ours, plain)
    same_gradients(our_generator, plain_generator)


def test_rows_apart_add_up_to_the_whole(monkeypatch):
    """Losses of row ranges add up to the batch's, which weighs the discriminator by the whole batch's ratio."""
    plain = rtd.sampled_losses
    monkeypatch.setattr(rtd, "sampled_losses", lambda *given: (*plain(*given)[:2], (given[2] + 1) % 150))
    model, generator = networks()
    batch = pack(random_texts(1, 10), "electra")
    objective = ReplacedTokenDetection(MASKING, generator, sharing="none")
    targets = objective.prepare(batch, np.random.default_rng(0))
    with torch.no_grad():
        parts = [objective.loss(model, batch.select_rows(r, r + 1), objective.rows(targets, batch, r, r + 1))
                 for r in range(batch.rows)]  # fmt: skip
        torch.testing.assert_close(
            sum(p.total for p in parts), objective.loss(model, batch, targets).total, rtol=0, atol=1e-8
        )


def test_gdes_keeps_the_gradients_apart(drawn):
    """The generator's table gets no gradient of the discriminator, whose table moves with it plus its own steps."""
    ours, our_generator = networks()
    plain, plain_generator = networks()
    batch = pack(random_texts(0, 6), "electra")
    objective = ReplacedTokenDetection(MASKING, our_generator, sharing="gdes")
    targets = objective.prepare(batch, np.random.default_rng(0))
    ours.train()
    table, other = (m.get_input_embeddings().weight for m in (ours, our_generator))
    difference = (table - other).detach().clone()
    for _ in range(3):
        loss = objective.loss(ours, batch, targets)  # takes over what the generator has moved
        torch.testing.assert_close((table - other).detach(), difference, **CLOSE)
        (loss.total / loss.count).backward()
        plain.load_state_dict(ours.state_dict())
        plain_generator.load_state_dict(our_generator.state_dict())
        first, second = library_losses(batch, targets, plain, plain_generator)
        (first + 50 * second).backward()
        same_gradients(ours, plain)
        same_gradients(our_generator, plain_generator)
        with torch.no_grad():
            for model in (ours, our_generator):
                for parameter in model.parameters():
                    parameter -= 0.01 * parameter.grad
            difference -= 0.01 * table.grad
        for model in (ours, our_generator, plain, plain_generator):
            model.zero_grad()


@pytest.mark.usefixtures("exact")
def test_deberta_as_discriminator():
    """DeBERTa pairs share their one table; detection losses equal torch's over the library's token logits."""
    torch.manual_seed(0)
    discriminator = DebertaV2ForTokenClassification(tiny_config("deberta-v2", num_labels=1)).double().eval()
    generator = DebertaV2ForMaskedLM(tiny_config("deberta-v2", num_hidden_layers=1)).double().eval()
    share_embeddings(discriminator, generator)
    assert generator.get_output_embeddings().weight is discriminator.get_input_embeddings().weight
    texts = random_texts(0, 6)
    batch = pack(texts, "deberta-v2")
    replaced_BL = batch.tokens_BL % 4 == 0
    objective = ReplacedTokenDetection(MASKING, generator)
    with torch.no_grad():
        found = torch.zeros_like(batch.tokens_BL, dtype=torch.double)
        found[batch.segments_BL > 0] = objective.detection_losses(discriminator, replace(batch), replaced_BL)
        for number, text in enumerate(texts, start=1):
            logits = discriminator(torch.from_numpy(text)[None]).logits[0, :, 0]
            labels = torch.from_numpy(text % 4 == 0).double()
            expected = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
            torch.testing.assert_close(found[batch.segments_BL == number], expected, **CLOSE)
