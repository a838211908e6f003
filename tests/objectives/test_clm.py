"""objectives/clm.py against the losses of GPT2LMHeadModel, BertLMHeadModel and XLM, and past_key_values by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.fixtures_models import pack, random_texts, tiny_config
from transformers import BertLMHeadModel, GPT2LMHeadModel, XLMWithLMHeadModel

from interlingua.errors import RecipeError
from interlingua.objectives.clm import CausalLM

pytestmark = pytest.mark.usefixtures("exact")
CLOSE = {"rtol": 0, "atol": 1e-10}
CLASSES = {"gpt2": (GPT2LMHeadModel, {}), "bert": (BertLMHeadModel, {"is_decoder": True}),
           "xlm": (XLMWithLMHeadModel, {"causal": True})}  # fmt: skip


def network(family: str, **more):
    cls, changes = CLASSES[family]
    torch.manual_seed(0)
    return cls(tiny_config(family, **changes, **more)).double().eval()


def same_gradients(ours, plain) -> None:
    expected = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, **CLOSE, msg=name)


@pytest.mark.parametrize("family", CLASSES)
def test_equals_the_library_text_by_text(family):
    """Loss and gradients equal the sum over texts of the class's own ``labels=`` loss (XLM shifts none: done here)."""
    ours, plain = network(family), network(family)
    texts = random_texts(0, 9)
    batch = pack(texts, family)
    assert batch.rows < len(texts)
    objective = CausalLM()
    targets = objective.prepare(batch, np.random.default_rng(0))
    loss = objective.loss(ours, batch, targets)
    loss.total.backward()
    total = torch.zeros((), dtype=torch.double)
    for text in texts:
        ids = torch.from_numpy(text)[None]
        if family == "xlm":
            total = total + F.cross_entropy(plain(ids).logits[0, :-1], ids[0, 1:], reduction="sum")
        else:
            total = total + plain(ids, labels=ids).loss * (len(text) - 1)
    total.backward()
    assert targets.count == loss.count == sum(len(t) - 1 for t in texts)
    torch.testing.assert_close(loss.total, total, **CLOSE)
    same_gradients(ours, plain)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_context_is_read_and_not_learnt(family):
    """Values equal full causal attention; gradients equal two plain passes, the first one's keys kept and detached."""
    more = {} if family == "gpt2" else {"types": 2, "interlingua_languages": ["a", "b"]}
    ours, plain = network(family, **more), network(family, **more)
    texts, languages = random_texts(1, 3, shortest=24, longest=24), [np.arange(24) // 12] * 3
    batch = pack(texts, family, row_length=24, token_languages=languages)
    objective = CausalLM(context=10)
    targets = objective.prepare(batch, np.random.default_rng(0))
    loss = objective.loss(ours, batch, targets)
    loss.total.backward()
    types = {"token_type_ids": batch.languages_BL} if more else {}
    head, rest = ({k: v[:, part] for k, v in types.items()} for part in (slice(10), slice(10, None)))
    with torch.no_grad():
        whole = plain(batch.tokens_BL, **types).logits[:, 10:-1].transpose(1, 2)
        kept = plain(batch.tokens_BL[:, :10], use_cache=True, **head).past_key_values
    assert loss.count == 3 * 13
    expected = F.cross_entropy(whole, batch.tokens_BL[:, 11:], reduction="sum")
    torch.testing.assert_close(loss.total.detach(), expected, **CLOSE)
    logits = plain(batch.tokens_BL[:, 10:], past_key_values=kept, use_cache=True, **rest).logits[:, :-1]
    F.cross_entropy(logits.transpose(1, 2), batch.tokens_BL[:, 11:], reduction="sum").backward()
    same_gradients(ours, plain)


def test_what_context_cannot_do():
    """A context as long as the row, and a class that keeps no keys: RecipeError."""
    batch = pack(random_texts(1, 2, shortest=24, longest=24), "xlm", row_length=24)
    with pytest.raises(RecipeError, match="context = 24 in rows of 24"):
        CausalLM(context=24).prepare(batch, np.random.default_rng(0))
    objective = CausalLM(context=4)
    with pytest.raises(RecipeError, match="XLMWithLMHeadModel"):
        objective.loss(network("xlm"), batch, objective.prepare(batch, np.random.default_rng(0)))
