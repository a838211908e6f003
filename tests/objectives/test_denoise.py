"""objectives/denoise.py against the losses of BartForConditionalGeneration, MBart and T5 in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.fixtures_models import BEGIN, END, MASK, pack, random_texts
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MBartConfig,
    MBartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from interlingua.objectives.denoise import Denoising
from interlingua.objectives.noise import Deletion, Infilling, SentencePermutation, SpanCorruption

PAD = 0
SIZES = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
         "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "d_model": 32, "vocab_size": 150, "max_position_embeddings": 128,
         "dropout": 0.0, "init_std": 0.2, "pad_token_id": PAD, "bos_token_id": BEGIN, "eos_token_id": END,
         "decoder_start_token_id": END}  # fmt: skip
T5_SIZES = {"vocab_size": 250, "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2,
            "dropout_rate": 0.0, "pad_token_id": PAD, "eos_token_id": END, "decoder_start_token_id": PAD}  # fmt: skip


def network(name: str):
    torch.manual_seed(0)
    if name == "bart":
        model = BartForConditionalGeneration(BartConfig(**SIZES))
        torch.nn.init.normal_(model.final_logits_bias)
    elif name == "mbart":
        model = MBartForConditionalGeneration(MBartConfig(**SIZES))
    else:
        tied = name == "t5"
        gated = {} if tied else {"feed_forward_proj": "gated-gelu"}
        model = T5ForConditionalGeneration(T5Config(**T5_SIZES, tie_word_embeddings=tied, **gated))
    return model.double().eval()


def objective(name: str) -> Denoising:
    if "t5" in name:
        return Denoising(SpanCorruption(np.arange(200, 250)), pad_id=PAD, first_id=None, last_id=END, start_id=PAD)
    noise = [SentencePermutation(np.array([9, 19])), Infilling(MASK), Deletion()]
    return Denoising(noise, pad_id=PAD, first_id=BEGIN, last_id=END, start_id=END)


@pytest.mark.parametrize("name", ["bart", "mbart", "t5", "t5-untied"])
def test_equals_the_library(name):
    """Loss and gradients equal the library's own ``labels=`` path, padded with its own masks, to 1e-10."""
    ours, plain = network(name), network(name)
    batch = pack(random_texts(0, 12), "bert", languages=[i % 3 for i in range(12)])
    own = objective(name)
    targets = own.prepare(batch, np.random.default_rng(0))
    loss = own.loss(ours, batch, targets)
    if name == "mbart":  # its own shift puts the language token first; ours the one start token
        expected = plain(input_ids=targets.source_SX, attention_mask=targets.mask_SX.long(),
                         decoder_input_ids=targets.decoder_SY, labels=targets.labels_SY).loss  # fmt: skip
    else:
        expected = plain(input_ids=targets.source_SX, attention_mask=targets.mask_SX.long(),
                         labels=targets.labels_SY).loss  # fmt: skip
    torch.testing.assert_close(loss.total / loss.count, expected, rtol=0, atol=1e-10)
    (loss.total / loss.count).backward()
    expected.backward()
    theirs = dict(plain.named_parameters())
    for parameter_name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[parameter_name].grad, rtol=0, atol=1e-10)


def test_targets_are_the_texts():
    """BART's targets are the undamaged texts with their specials, in the order of the segments; languages go along."""
    texts = random_texts(1, 9)
    batch = pack(texts, "bert", languages=[i % 4 for i in range(9)])
    targets = objective("bart").prepare(batch, np.random.default_rng(0))
    for number, text in enumerate(texts):
        assert targets.labels_SY[number][targets.labels_SY[number] >= 0].tolist() == text.tolist()
    assert targets.languages_S.tolist() == [i % 4 for i in range(9)]
    assert targets.decoder_SY[:, 0].tolist() == [END] * 9
    assert (targets.source_SX[~targets.mask_SX] == PAD).all()


def test_rows_apart_add_up_to_the_whole():
    """Losses and counts of row ranges add up to the batch's, each summand with its language."""
    model, own = network("bart"), objective("bart")
    batch = pack(random_texts(2, 14), "bert", languages=[i % 3 for i in range(14)])
    targets = own.prepare(batch, np.random.default_rng(0))
    whole = own.loss(model, batch, targets)
    half = batch.rows // 2
    parts = [own.loss(model, batch.select_rows(a, b), own.rows(targets, batch, a, b))
             for a, b in ((0, half), (half, batch.rows))]  # fmt: skip
    torch.testing.assert_close(sum(p.total for p in parts), whole.total, rtol=0, atol=1e-9)
    assert sum(p.count for p in parts) == whole.count == len(whole.languages_N) == len(whole.each_N)
