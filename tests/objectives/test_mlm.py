"""objectives/mlm.py against the dense path of plain transformers, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import transformers
from tests.fixtures_models import (
    BEGIN,
    END,
    FAMILIES,
    MASK,
    PAD,
    dense,
    pack,
    random_texts,
    tiny_config,
    tiny_masked_lm,
)

from interlingua.batch import Batch
from interlingua.models.attention import encode
from interlingua.models.head import masked_logits
from interlingua.objectives.base import Loss, Targets
from interlingua.objectives.masking import Masking
from interlingua.objectives.mlm import MaskedLM, TranslationLM

MASKING = Masking(MASK, np.arange(5, 150), rate=0.3)
# Eager attention of ModernBERT and EuroBERT takes its softmax in float32; the others' is a second opinion on sdpa.
ATTENTION = dict.fromkeys(FAMILIES, "eager") | {"modernbert": "sdpa", "eurobert": "sdpa"}
pytestmark = pytest.mark.usefixtures("exact")
CLOSE = {"rtol": 0, "atol": 1e-10}


def same_gradients(ours: torch.nn.Module, plain: torch.nn.Module) -> None:
    expected = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        wanted = expected[name].grad
        if wanted is None:
            assert parameter.grad is None, name
        else:
            torch.testing.assert_close(parameter.grad, wanted, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")


def same_as_dense(family: str, batch: Batch, targets: Targets, loss: Loss, ours, plain, **inputs) -> None:
    """Compare logits, loss and gradients with ``AutoModelForMaskedLM`` on one text a row."""
    labels = dense(batch, targets.labels_BL, -100)
    output = plain(
        input_ids=dense(batch, targets.tokens_BL, PAD[family]),
        attention_mask=dense(batch, torch.ones_like(batch.tokens_BL), 0),
        **inputs,
    )
    # ModernBERT's own labels= computes its loss in float32, so torch's cross-entropy over its logits stands in.
    plain_loss = F.cross_entropy(output.logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(loss.total / loss.count, plain_loss, **CLOSE)
    shown = Batch(**{**vars(batch), "tokens_BL": targets.tokens_BL})
    ours_NV = masked_logits(ours, encode(ours, shown)[targets.labels_BL != -100])
    # Rows are packed in another order than the texts: compare text by text.
    of_text_N = batch.segments_BL[targets.labels_BL != -100]
    order = torch.argsort(of_text_N, stable=True)
    torch.testing.assert_close(ours_NV[order], output.logits[labels != -100], **CLOSE)
    (loss.total / loss.count).backward()
    plain_loss.backward()
    same_gradients(ours, plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_masked_only_equals_dense(family):
    """Logits, loss and every gradient equal plain transformers' dense path to 1e-10."""
    ours, plain = tiny_masked_lm(family), tiny_masked_lm(family, attention=ATTENTION[family])
    batch = pack(random_texts(1, 14), family)
    assert batch.rows < 14  # several texts share a row
    objective = MaskedLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(0))
    same_as_dense(family, batch, targets, objective.loss(ours, batch, targets), ours, plain)


def test_one_text_a_row_needs_no_mask_and_equals_dense():
    """Rows of one text each and no padding (no mask is built) equal the dense path, ModernBERT's window included."""
    ours, plain = tiny_masked_lm("modernbert"), tiny_masked_lm("modernbert")
    batch = pack(random_texts(1, 5, shortest=30, longest=30), "modernbert", row_length=30)
    objective = MaskedLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(0))
    same_as_dense("modernbert", batch, targets, objective.loss(ours, batch, targets), ours, plain)


def test_deberta_with_the_newer_head_equals_dense():
    """DeBERTa's own head (not the legacy one) multiplies with the input table."""
    ours, plain = (tiny_masked_lm("deberta-v2", legacy=False) for _ in range(2))
    batch = pack(random_texts(1, 6), "deberta-v2")
    objective = MaskedLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(0))
    same_as_dense("deberta-v2", batch, targets, objective.loss(ours, batch, targets), ours, plain)


@pytest.mark.parametrize("name", ["BertForPreTraining", "AlbertForPreTraining"])
@torch.no_grad()
def test_masked_head_of_pretraining_classes(name):
    """The loss of the classes with two heads equals torch's cross-entropy over their own prediction_logits."""
    family = name.split("For")[0].lower()
    torch.manual_seed(0)
    model = getattr(transformers, name)(tiny_config(family)).double().eval()
    batch = pack(random_texts(1, 6), family)
    objective = MaskedLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(0))
    logits = model(
        input_ids=dense(batch, targets.tokens_BL, 0), attention_mask=dense(batch, torch.ones_like(batch.tokens_BL), 0)
    ).prediction_logits
    expected = F.cross_entropy(logits.flatten(0, 1), dense(batch, targets.labels_BL, -100).flatten(), reduction="sum")
    torch.testing.assert_close(objective.loss(model, batch, targets).total, expected, **CLOSE)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_translation_lm_equals_dense(family):
    """Joined pairs: restarting positions and language token types, given to plain transformers as they are."""
    changes = {"types": 3, "interlingua_languages": ["de", "en", "fi"]}
    ours, plain = tiny_masked_lm(family, **changes), tiny_masked_lm(family, attention="eager", **changes)
    firsts, seconds = random_texts(2, 9, longest=20), random_texts(3, 9, longest=20)
    texts = [np.concatenate([a, b[1:]]) for a, b in zip(firsts, seconds, strict=True)]
    positions = [
        np.concatenate([np.arange(len(a)), np.arange(len(b) - 1)]) for a, b in zip(firsts, seconds, strict=True)
    ]
    languages = [np.repeat([1, i % 2 * 2], [len(a), len(b) - 1])
                 for i, (a, b) in enumerate(zip(firsts, seconds, strict=True))]  # fmt: skip
    batch = pack(texts, family, positions=positions, token_languages=languages)
    objective = TranslationLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(1))
    offset = PAD[family] + 1 if family == "xlm-roberta" else 0
    same_as_dense(
        family, batch, targets, objective.loss(ours, batch, targets), ours, plain,
        position_ids=dense(batch, batch.positions_BL + offset, PAD[family]),
        token_type_ids=dense(batch, batch.languages_BL, 0),
    )  # fmt: skip


def test_both_sides_of_a_pair_are_masked():
    """Over many pairs each side's share of hidden tokens is the asked rate (binomial, five standard deviations)."""
    texts = [np.concatenate([[BEGIN], np.full(10, 7), [END], np.full(10, 8), [END]]) for _ in range(400)]
    batch = pack(texts, "bert")
    targets = TranslationLM(MASKING).prepare(batch, np.random.default_rng(0))
    for side in (7, 8):
        share = (targets.labels_BL == side).sum() / 4000
        assert abs(share - 0.3) < 5 * (0.3 * 0.7 / 4000) ** 0.5


def test_losses_carry_their_language():
    """Sum of the losses of one language equals the dense loss of that language's texts alone."""
    model = tiny_masked_lm("bert")
    texts = random_texts(4, 10)
    batch = pack(texts, "bert", languages=[i % 3 for i in range(10)])
    objective = MaskedLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(0))
    loss = objective.loss(model, batch, targets)
    labels = dense(batch, targets.labels_BL, -100)
    for language in range(3):
        rows = torch.arange(10) % 3 == language
        plain = model(
            input_ids=dense(batch, targets.tokens_BL, 0)[rows],
            attention_mask=dense(batch, torch.ones_like(batch.tokens_BL), 0)[rows],
            labels=labels[rows],
        ).loss
        torch.testing.assert_close(loss.each_N[loss.languages_N == language].mean(), plain, **CLOSE)


def test_nothing_hidden_is_a_loss_of_zero():
    """A batch of specials alone has no prediction: loss 0, gradients finite."""
    model = tiny_masked_lm("bert")
    batch = pack([np.array([BEGIN, END])] * 3, "bert")
    objective = MaskedLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(0))
    loss = objective.loss(model, batch, targets)
    assert (targets.count, loss.count, float(loss.total.detach())) == (0, 0, 0.0)
    loss.total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_rows_apart_add_up_to_the_whole():
    """Losses over row spans add up to the loss of the whole batch, which the dense path has confirmed."""
    model = tiny_masked_lm("xlm-roberta")
    batch = pack(random_texts(5, 20), "xlm-roberta")
    objective = MaskedLM(MASKING)
    targets = objective.prepare(batch, np.random.default_rng(0))
    total = sum(
        objective.loss(model, batch.select_rows(a, b), objective.rows(targets, batch, a, b)).total
        for a, b in ((0, 2), (2, 3), (3, batch.rows))
    )
    torch.testing.assert_close(total, objective.loss(model, batch, targets).total, **CLOSE)
