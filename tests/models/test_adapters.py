"""models/adapters.py: the formula in plain torch, the inverse, and every token through its language's adapter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.fixtures_models import ENCODERS, MASK, pack, random_texts, tiny_encoder, tiny_masked_lm

from interlingua.errors import LanguageError, RecipeError
from interlingua.models.adapters import (
    TASK,
    Form,
    adapter_parameters,
    add_adapter,
    before_output,
    has_adapters,
    layers_of,
    route,
)
from interlingua.models.attention import encode, encode_at
from interlingua.models.bottleneck import Coupling
from interlingua.models.precision import for_inference
from interlingua.objectives.masking import Masking
from interlingua.objectives.mlm import MaskedLM

#: Families that take adapters, with the norm that ends a layer ("": none) and the embeddings' module.
TAKING = {
    "bert": ("encoder.layer.{}.output.LayerNorm", "embeddings"),
    "xlm-roberta": ("encoder.layer.{}.output.LayerNorm", "embeddings"),
    "electra": ("encoder.layer.{}.output.LayerNorm", "embeddings"),
    "deberta-v2": ("encoder.layer.{}.output.LayerNorm", "embeddings"),
    "distilbert": ("transformer.layer.{}.output_layer_norm", "embeddings"),
    "modernbert": ("layers.{}", "embeddings"),
    "eurobert": ("layers.{}", "embed_tokens"),
}
LANGUAGES = ("en", "sw")
CLOSE = {"rtol": 0, "atol": 1e-9}
pytestmark = pytest.mark.usefixtures("exact")


def adapted(model: Any, *, reduction: int = 4, move: bool = True) -> dict[str, dict[str, torch.Tensor]]:
    """Put two languages' adapters and a task's into a network; their tensors by adapter and name in a file."""
    layers = tuple(range(len(layers_of(model))))
    forms = dict.fromkeys(LANGUAGES, Form(layers, 2, "gelu", invertible=True)) | {TASK: Form(layers, reduction)}
    torch.manual_seed(1)
    parameters = {name: adapter_parameters(add_adapter(model, name, form)) for name, form in forms.items()}
    route(model, languages=LANGUAGES, missing="error")
    if move:
        with torch.no_grad():
            for own in parameters.values():
                for parameter in own.values():
                    parameter.add_(0.2 * torch.randn_like(parameter))
    return {name: {n: p.detach().clone() for n, p in own.items()} for name, own in parameters.items()}


def bottleneck(tensors: dict[str, torch.Tensor], place: str, states: torch.Tensor, act: Any) -> torch.Tensor:
    """The definition, written out."""
    t = {name.removeprefix(f"{place}."): value for name, value in tensors.items() if name.startswith(f"{place}.")}
    inner = act(states @ t["down.weight"].T + t["down.bias"])
    return inner @ t["up.weight"].T + t["up.bias"]


def hooked(model: Any, family: str, languages: dict[str, torch.Tensor], task: dict[str, torch.Tensor]) -> None:
    """The same network by hooks that know nothing of ours: one language, one text a row."""
    end, embeddings = TAKING[family]

    def through(states: torch.Tensor) -> torch.Tensor:
        half = states.shape[-1] // 2
        a, b = states[..., :half], states[..., half:]
        a = a + bottleneck(languages, "invertible.F", b, F.gelu)
        return torch.cat([a, b + bottleneck(languages, "invertible.G", a, F.gelu)], -1)

    model.get_submodule(embeddings).register_forward_hook(lambda m, args, out: through(out))
    for number in range(model.config.num_hidden_layers):
        place = f"layers.{number}"

        def after_norm(m: Any, args: Any, out: torch.Tensor, place: str = place) -> torch.Tensor:
            norm = lambda z: F.layer_norm(z, m.weight.shape, m.weight, m.bias, m.eps)  # noqa: E731
            z = args[0] + bottleneck(languages, place, out, F.gelu)
            return norm(z + bottleneck(task, place, norm(z), F.relu))

        def after_layer(m: Any, args: Any, out: Any, place: str = place) -> Any:
            z = out[0] if isinstance(out, tuple) else out
            z = z + bottleneck(languages, place, z, F.gelu)
            z = z + bottleneck(task, place, z, F.relu)
            return (z, *out[1:]) if isinstance(out, tuple) else z

        hook = after_norm if end.endswith(("Norm", "norm")) else after_layer
        model.get_submodule(end.format(number)).register_forward_hook(hook)


@pytest.mark.parametrize("family", TAKING)
def test_a_packed_batch_of_two_languages_is_each_text_alone(family: str) -> None:
    """States of packed rows against plain transformers under hooks written here, a text a row in one language."""
    model, texts, spoken = tiny_encoder(family), random_texts(0, 6), [0, 1, 0, 1, 1, 0]
    tensors = adapted(model)
    batch = pack(texts, family, languages=spoken)
    with torch.no_grad():
        ours = encode(model, batch)
        chosen = (batch.segments_BL > 0) & (batch.tokens_BL % 3 == 0)
        torch.testing.assert_close(encode_at(model, batch, chosen), ours[chosen], **CLOSE)
        for number, language in enumerate(LANGUAGES):
            plain = tiny_encoder(family)
            hooked(plain, family, tensors[language], tensors[TASK])
            for i in (i for i, own in enumerate(spoken) if own == number):
                theirs = plain(input_ids=torch.from_numpy(texts[i])[None]).last_hidden_state[0]
                torch.testing.assert_close(ours[batch.segments_BL == i + 1], theirs, **CLOSE)


@pytest.mark.parametrize("family", TAKING)
def test_a_new_adapter_changes_nothing(family: str) -> None:
    """States before and after, equal; and those of a copy in another type have hooks of their own."""
    model, batch = tiny_encoder(family), pack(random_texts(0, 4), family, languages=[0, 1, 1, 0])
    with torch.no_grad():
        before = encode(model, batch)
        adapted(model, move=False)
        torch.testing.assert_close(encode(model, batch), before, rtol=0, atol=1e-12)
        copy = for_inference(model, torch.float32)
        for name, parameter in copy.named_parameters():
            if ".adapters." in name:
                parameter.add_(0.5)
        assert not torch.allclose(encode(copy, batch).double(), before, atol=1e-2)
        torch.testing.assert_close(encode(model, batch), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [32, 33])
def test_the_coupling_is_invertible(width: int) -> None:
    """inverse(forward(x)) = x and forward(inverse(x)) = x in float64; and it is not the identity."""
    torch.manual_seed(0)
    coupling = Coupling(width, 2).double()
    states = torch.randn(5, 7, width, dtype=torch.double)
    torch.testing.assert_close(coupling(states), states, rtol=0, atol=0)
    for parameter in coupling.parameters():
        torch.nn.init.normal_(parameter)
    with torch.no_grad():
        torch.testing.assert_close(coupling.inverse(coupling(states)), states, **CLOSE)
        torch.testing.assert_close(coupling(coupling.inverse(states)), states, **CLOSE)
        assert not torch.allclose(coupling(states), states, atol=0.1)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "modernbert", "electra"])
def test_the_inverse_stands_before_the_output_table(family: str) -> None:
    """The loss of hidden tokens against cross-entropy of the dense logits, by hand, a language at a time."""
    model, spoken = tiny_masked_lm(family), [0, 1, 1, 0]
    tensors = adapted(model)
    batch = pack(random_texts(0, 4), family, languages=spoken)
    objective = MaskedLM(Masking(MASK, np.arange(5, 150), 0.3))
    targets = objective.prepare(batch, np.random.default_rng(0))
    loss = objective.loss(model, batch, targets)
    chosen = targets.labels_BL != -100
    hidden = encode(model, pack_like(batch, targets.tokens_BL))[chosen]
    transform = {
        "bert": lambda: model.cls.predictions.transform(hidden),
        "xlm-roberta": lambda: model.lm_head.layer_norm(F.gelu(model.lm_head.dense(hidden))),
        "modernbert": lambda: model.head(hidden),
        "electra": lambda: model.generator_predictions(hidden),
    }[family]
    states, languages = transform(), batch.languages_BL[chosen]
    half, back = states.shape[-1] // 2, torch.empty_like(states)
    for number, language in enumerate(LANGUAGES):
        own, t = languages == number, tensors[language]
        a, b = states[own][:, :half], states[own][:, half:]
        b = b - bottleneck(t, "invertible.G", a, F.gelu)
        back[own] = torch.cat([a - bottleneck(t, "invertible.F", b, F.gelu), b], -1)
    output = model.get_output_embeddings()
    logits = back @ output.weight.T + (0 if output.bias is None else output.bias)
    torch.testing.assert_close(loss.total, F.cross_entropy(logits, targets.labels_BL[chosen], reduction="sum"), **CLOSE)


def pack_like(batch: Any, tokens: torch.Tensor) -> Any:
    return replace(batch, tokens_BL=tokens)


def test_gradients_only_where_they_belong() -> None:
    """A text in en gives none to sw's adapter; a frozen body gets none; the loss with a frozen table is the same."""
    model = tiny_masked_lm("bert")
    learning = MaskedLM(Masking(MASK, np.arange(5, 150), 0.3))
    batch = pack(random_texts(0, 4), "bert", languages=[0, 0, 0, 0])
    targets = learning.prepare(batch, np.random.default_rng(0))
    adapted(model)
    learning.loss(model, batch, targets).total.backward()
    with_table = {
        name: p.grad.clone() for name, p in model.named_parameters() if ".adapters." in name and p.grad is not None
    }
    for name, parameter in model.named_parameters():
        parameter.grad = None
        parameter.requires_grad_(".adapters." in name)
    learning.loss(model, batch, targets).total.backward()
    touched = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert touched == {name for name, _ in model.named_parameters() if ".adapters." in name and ".sw." not in name}
    for name, parameter in model.named_parameters():
        if name in touched:
            torch.testing.assert_close(parameter.grad, with_table[name], rtol=0, atol=0)


def test_a_language_without_an_adapter() -> None:
    """Refused by name, or left to the task's adapter alone, as is said; texts of no known language are refused."""
    model, batch = tiny_encoder("bert"), pack(random_texts(0, 4), "bert", languages=[0, 1, 1, 0])
    tensors = adapted(model)
    route(model, languages=("en", "de"), missing="error")
    with pytest.raises(LanguageError, match=r"no language adapter for 'de'(?s:.*)en, sw"):
        encode(model, batch)
    route(model, languages=("en", "de"), missing="none")
    with torch.no_grad():
        ours = encode(model, batch)
        plain = tiny_encoder("bert")
        nothing = {name: torch.zeros_like(value) for name, value in tensors["en"].items()}
        hooked(plain, "bert", nothing, tensors[TASK])
        tokens = batch.tokens_BL[batch.segments_BL == 2][None]
        torch.testing.assert_close(ours[batch.segments_BL == 2], plain(input_ids=tokens).last_hidden_state[0], **CLOSE)
    with pytest.raises(LanguageError, match="without a language"):
        model(input_ids=tokens)


def test_classes_that_take_none() -> None:
    """Every family is either above or refused by name; so are layers that there are not, and shared ones."""
    for family in set(ENCODERS) - set(TAKING):
        model = tiny_encoder(family)
        with pytest.raises(RecipeError, match=rf"adapters in a {family}(?s:.*)bert(?s:.*)modernbert"):
            add_adapter(model, TASK, Form((0,)))
        assert not has_adapters(model)
    with pytest.raises(RecipeError, match="layers 0 to 2"):
        add_adapter(tiny_encoder("bert"), TASK, Form((0, 3)))
    shared = tiny_encoder("bert")
    shared.encoder.layer[1] = shared.encoder.layer[0]
    with pytest.raises(RecipeError, match="share weights"):
        add_adapter(shared, TASK, Form((0,)))


def test_without_couplings_the_output_is_left_alone() -> None:
    """A network with adapters in its layers only."""
    model = tiny_masked_lm("bert")
    add_adapter(model, "en", Form((0, 1)))
    states = torch.randn(3, 32, dtype=torch.double)
    assert before_output(model, states, torch.zeros(3, dtype=torch.long)) is states
