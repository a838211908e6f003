"""Languages moved onto the source at a layer, against plain transformers with a hook of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import LanguageError, RecipeError
from interlingua.evaluate.steer import evaluate_steered
from interlingua.models.encoder import Encoder
from interlingua.models.steering import layer_means, steered
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe
from interlingua.tasks import TextExample
from interlingua.transfer.finetune import build_task
from interlingua.transfer.tune import Tuned, tune_once


@pytest.fixture(scope="module")
def texts(tiny_texts: dict[str, list[str]]) -> list[TextExample]:
    return [
        TextExample(text[:20] if i % 2 else text, lang, "ab"[i % 2])
        for lang in ("de", "en", "ja")
        for i, text in enumerate(tiny_texts[lang][:16])
    ]


@pytest.fixture(scope="module", params=["bert", "modernbert"])
def tuned(request: pytest.FixtureRequest, hf_tokenizer: Any, texts: list[TextExample]) -> Tuned:
    torch.manual_seed(0)
    config = tiny_config(request.param, vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    encoder = Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, max_length=100)
    english = [e for e in texts if e.lang == "en"]
    recipe = TuneRecipe(epochs=1, batch_size=8, lr=1e-3, threads=1, freeze="embeddings")
    return tune_once(encoder, build_task(TaskRecipe(name="length"), english), english, recipe, seed=0)


def plain_layer(tuned: Tuned, layer: int) -> Any:
    """The module whose output the states after a layer are, by the names that transformers has."""
    base = tuned.model.base_model
    if layer == 0:
        return base.embeddings
    return base.layers[layer - 1] if hasattr(base, "layers") else base.encoder.layer[layer - 1]


def plain_logits(tuned: Tuned, text: str, layer: int, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the plain classifier with a vector added to a layer's output, and that output before, [n, D]."""
    seen = []

    def hook(module: Any, args: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        seen.append(states[0])
        moved = states + vector
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle = plain_layer(tuned, layer).register_forward_hook(hook)
    with torch.no_grad():
        logits = tuned.model(**tuned.tokenizer(text, return_tensors="pt")).logits[0]
    handle.remove()
    return logits, seen[0]


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_scores_and_information_equal_those_of_plain_transformers(
    tuned: Tuned, texts: list[TextExample], layer: int
) -> None:
    """One text at a time: means over tokens, accuracy, and information by scipy's entropies, after half the way."""
    found = evaluate_steered([tuned], texts, source="en", layers=[layer], alpha=0.5)
    means = {
        lang: torch.cat([plain_logits(tuned, e.text, layer, torch.zeros(1))[1] for e in texts if e.lang == lang]).mean(
            0
        )
        for lang in ("de", "en", "ja")
    }
    information = []
    for lang in ("de", "en", "ja"):
        rows = [e for e in texts if e.lang == lang]
        logits = torch.stack([plain_logits(tuned, e.text, layer, 0.5 * (means["en"] - means[lang]))[0] for e in rows])
        right = np.mean([tuned.task.labels[int(row.argmax())] == e.label for row, e in zip(logits, rows, strict=True)])
        score = next(s for s in found.scores if s.language == lang and "@" in s.model and s.metric == "accuracy")
        assert (score.model, score.value) == (f"tuned+steer@{layer}", pytest.approx(right))
        if lang != "en":
            p = logits.softmax(dim=-1).double().numpy()
            information.append(entropy(p.mean(axis=0)) - entropy(p, axis=1).mean())
    assert found.information[layer] == pytest.approx(np.mean(information), rel=1e-3, abs=1e-6)
    assert found.layer == layer


def test_means_of_all_layers_and_rows_of_several_languages(tuned: Tuned, texts: list[TextExample]) -> None:
    """A batch that mixes languages gives what each gives alone: every token is moved by its own language's vector."""
    encoded, _ = tuned.task.encode(texts, tuned.tokenizer, max_length=100)
    mixed = [encoded[i] for i in (0, 20, 40, 1, 21)]
    width = tuned.model.config.hidden_size
    chance = np.random.default_rng(0)
    vectors = {lang: chance.normal(size=width) for lang in ("de", "ja")}
    with torch.inference_mode(), steered(tuned.model, 2, vectors):
        together, _ = tuned.task.head_states(tuned.model, tuned.task.batch(mixed, tuned.tokenizer), mixed)
        alone = [tuned.task.head_states(tuned.model, tuned.task.batch([e], tuned.tokenizer), [e])[0] for e in mixed]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)
    means = layer_means(tuned.model, [tuned.task.batch([e], tuned.tokenizer) for e in mixed])
    plain = torch.cat([plain_logits(tuned, texts[i].text, 1, torch.zeros(1))[1] for i in (0, 20, 40, 1, 21)])
    np.testing.assert_allclose(means[1], plain.mean(dim=0).numpy(), atol=1e-5)


def test_what_cannot_be_steered(tuned: Tuned, texts: list[TextExample]) -> None:
    """A layer that is not there, no source, no other language, and texts without a language."""
    with pytest.raises(RecipeError, match=r"layer 9(?s:.*)to [34]"):
        evaluate_steered([tuned], texts, source="en", layers=[9])
    with pytest.raises(LanguageError, match="the source 'fr'"):
        evaluate_steered([tuned], texts, source="fr")
    with pytest.raises(LanguageError, match="at least one more"):
        evaluate_steered([tuned], [e for e in texts if e.lang == "en"], source="en")
    across = [e if e.lang == "en" else replace(e, text_pair=e.text, lang=f"{e.lang}/en") for e in texts]
    with pytest.raises(LanguageError, match=r"de/en, two languages each"):
        evaluate_steered([tuned], across, source="en")
    with pytest.raises(LanguageError, match="without a language"), steered(tuned.model, 1, {}):
        tuned.model(**tuned.tokenizer("a text", return_tensors="pt"))
