"""Tokens that a masked LM names for states that were moved, against plain transformers with a hook of its own."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from sacrebleu.metrics import BLEU
from tests.fixtures_models import tiny_config
from tokenizers.normalizers import Lowercase
from transformers import AutoModel, AutoModelForMaskedLM

from interlingua.errors import DataError, RecipeError
from interlingua.evaluate.tokens import translate_tokens


@pytest.fixture(scope="module")
def network(hf_tokenizer: Any) -> Any:
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    config.initializer_range = 0.5  # other tokens win than the ones that came in
    return AutoModelForMaskedLM.from_config(config).eval()


def places(network: Any) -> list[Any]:
    return [network.bert.embeddings, *network.bert.encoder.layer]


def plain_states(network: Any, tokenizer: Any, texts: list[str]) -> list[torch.Tensor]:
    """States of all tokens of all texts by layer, one text at a time."""
    states: list[list[torch.Tensor]] = [[] for _ in places(network)]
    with torch.inference_mode():
        for text in texts:
            for layer, one in enumerate(
                network.bert(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
            ):
                states[layer].append(one[0].double())
    return [torch.cat(own) for own in states]


def plain_tokens(network: Any, tokenizer: Any, text: str, layer: int, vector: torch.Tensor) -> list[int]:
    def moved(module: Any, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + vector, *output[1:])
        return output + vector

    handle = places(network)[layer].register_forward_hook(moved)
    with torch.inference_mode():
        found = network(**tokenizer(text, return_tensors="pt")).logits[0].argmax(-1)[1:-1].tolist()
    handle.remove()
    return found


def test_moved_tokens_and_their_scores(network: Any, hf_tokenizer: Any, tiny_texts: dict[str, list[str]]) -> None:
    source, references = tiny_texts["en"][:6], tiny_texts["de"][:6]
    texts = {lang: tiny_texts[lang][6:40] for lang in ("en", "de")}
    # Every one-token word of the text may become what the network says of it at alpha 2, or nothing that it says.
    said = {}
    means = {lang: [s.mean(0) for s in plain_states(network, hf_tokenizer, own)] for lang, own in texts.items()}
    for layer in (0, 1):
        for alpha in (0.0, 2.0):
            vector = (alpha * (means["de"][layer] - means["en"][layer])).float()
            said[layer, alpha] = [plain_tokens(network, hf_tokenizer, text, layer, vector) for text in source]
    lexicon, hits, every = [], dict.fromkeys(said, 0), 0
    for i, text in enumerate(source):
        encoded = hf_tokenizer(text, return_offsets_mapping=True)
        numbers = encoded.word_ids()
        for at, number in enumerate(numbers):
            if number is None or numbers.count(number) > 1:
                continue
            begin, end = encoded["offset_mapping"][at]
            if text[begin:end].strip().lower() in {"the", "of"}:
                every += 1
                for key in said:
                    hits[key] += hf_tokenizer.decode([said[key][i][at - 1]]).strip().lower() in {"und", "der"}
    lexicon = [("the", "der"), ("The", "und"), ("of", "der"), ("of", "und"), ("the", "keintoken")]
    found = translate_tokens(network, hf_tokenizer, source, references, languages=("eng", "de"), texts=texts,
                             layers=[0, 1], alphas=[0.0, 2.0], lexicon=lexicon, batch_tokens=64,
                             max_length=200)  # fmt: skip
    counts = {lang: np.zeros(len(hf_tokenizer)) for lang in texts}
    for lang, own in texts.items():
        for text in own:
            for one in hf_tokenizer(text, add_special_tokens=False)["input_ids"]:
                counts[lang][one] += one not in hf_tokenizer.all_special_ids
    target = counts["de"] / counts["de"].sum() > counts["en"] / counts["en"].sum()
    special = hf_tokenizer.all_special_ids
    assert (found.source, found.target, found.sentences, found.words) == ("en", "de", 6, every)
    assert every > 5
    assert [(one.layer, one.alpha) for one in found.steered] == list(said)
    for one in found.steered:
        own = said[one.layer, one.alpha]
        assert one.texts == [hf_tokenizer.decode(ids, skip_special_tokens=True) for ids in own]
        flat = [t for ids in own for t in ids if t not in special]
        assert one.share == pytest.approx(np.mean([target[t] for t in flat]))
        assert one.bleu1 == pytest.approx(BLEU(max_ngram_order=1).corpus_score(one.texts, [references]).score)
        assert one.p1 == pytest.approx(hits[one.layer, one.alpha] / every)
    flat = [t for text in references for t in hf_tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert found.reference_share == pytest.approx(np.mean([target[t] for t in flat if t not in special]))
    rows = found.scores("m")
    assert [(s.task, s.metric, s.n) for s in rows[:3]] == [
        ("steering.layer0.alpha0", "target_share", 6), ("steering.layer0.alpha0", "bleu1", 6),
        ("steering.layer0.alpha0", "p1", every),
    ]  # fmt: skip
    # Moved by nothing, every layer says what the network says.
    first, _, second, _ = found.steered
    assert first.texts == second.texts
    whole = translate_tokens(network, hf_tokenizer, source, references, languages=("en", "de"), texts=texts,
                             layers=[1], alphas=[2.0], max_length=200)  # fmt: skip
    assert whole.steered[0].texts == found.steered[3].texts
    assert whole.steered[0].p1 is None
    assert "p1" not in {s.metric for s in whole.scores("m")}


def test_letters_that_the_vocabulary_does_not_have(
    network: Any, hf_tokenizer: Any, tiny_texts: dict[str, list[str]]
) -> None:
    """A lower-casing tokenizer: capitals in the references cost nothing. Layers may be counted from the top."""
    tokenizer = copy.deepcopy(hf_tokenizer)
    tokenizer.backend_tokenizer.normalizer = Lowercase()
    texts = {lang: tiny_texts[lang][6:20] for lang in ("en", "de")}
    source = [text.lower() for text in tiny_texts["en"][:4]]

    def steered(references: list[str], layer: int) -> Any:
        options = {"languages": ("en", "de"), "texts": texts, "layers": [layer], "alphas": [0.0]}
        return translate_tokens(network, tokenizer, source, references, **options).steered[0]

    said = [text.lower() for text in steered(source, 0).texts]
    assert steered(said, 0).bleu1 == steered([text.upper() for text in said], 0).bleu1 > 50
    assert steered(said, -1).layer == 3
    with pytest.raises(RecipeError, match="no alpha"):
        translate_tokens(network, tokenizer, source, source, languages=("en", "de"), texts=texts, alphas=[])


def test_what_cannot_be_translated(network: Any, hf_tokenizer: Any, tiny_texts: dict[str, list[str]]) -> None:
    texts = {lang: tiny_texts[lang][:5] for lang in ("en", "de")}

    def tried(model: Any = network, source: list[str] = texts["en"], **changes: Any) -> None:
        given: dict[str, Any] = {"languages": ("en", "de"), "texts": texts} | changes
        translate_tokens(model, hf_tokenizer, source, texts["de"], **given)

    with pytest.raises(DataError, match="0 sentences and 5 references"):
        tried(source=[])
    with pytest.raises(DataError, match="no text in fr"):
        tried(languages=("en", "fr"))
    with pytest.raises(RecipeError, match=r"layer 9(?s:.*)0 \(embeddings\) to 3"):
        tried(layers=[9])
    with pytest.raises(RecipeError, match=r"BertModel names no tokens(?s:.*)masked LM"):
        tried(model=AutoModel.from_config(network.config))
    broken = AutoModelForMaskedLM.from_config(network.config).eval()
    with torch.no_grad():
        broken.bert.encoder.layer[0].output.dense.weight[:] = torch.nan
    with pytest.raises(DataError, match="mean states of en that are not finite"):
        tried(model=broken)
