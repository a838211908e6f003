"""Tuning by adapters: plain torch computes the same from the folder, tokens find their language, nothing else moves."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.fixtures_plain import Plain
from tests.transfer.test_methods import TUNE, saved_encoder

from interlingua.errors import CheckpointError, LanguageError, RecipeError
from interlingua.evaluate import evaluate
from interlingua.models.adapters import adapter_parameters
from interlingua.models.checkpoint import fingerprint
from interlingua.models.encoder import Encoder
from interlingua.models.language_adapters import with_language_adapters
from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile, TaskRecipe, TuneRecipe
from interlingua.tasks import Answer, Question, TaggedSentence, TextExample
from interlingua.transfer import build_task, finetune, new_head, open_tuned, save_tuned, tune_once
from interlingua.transfer.methods import adapt
from interlingua.transfer.tune import Tuned

ADAPTER = TUNE.model_copy(update={"method": "adapter", "reduction": 4})

#: How docs/finetune.md opens a folder, in a process without us.
PLAIN = """
    import json, sys
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    def opened(folder):
        facts = json.load(open(f"{folder}/adapter.json"))
        return facts, getattr(torch.nn.functional, facts["activation"]), load_file(f"{folder}/adapter.safetensors")

    def change(adapter, place, x):
        _, act, t = adapter
        inner = act(x @ t[f"{place}.down.weight"].T + t[f"{place}.down.bias"])
        return inner @ t[f"{place}.up.weight"].T + t[f"{place}.up.bias"]

    def put(model, adapters, layers, embeddings):
        for number, layer in enumerate(layers):
            own = [a for a in adapters if number in a[0]["layers"]]

            def hook(module, args, out, own=own, place=f"layers.{number}"):
                z = args[0] if own and own[0][0]["norm"] else out
                for adapter in own:
                    z = z + change(adapter, place, out)
                    out = module.forward(z) if adapter[0]["norm"] else z
                return out

            norm = adapters[0][0]["norm"]
            (layer.get_submodule(norm) if norm else layer).register_forward_hook(hook)
        for adapter in adapters:
            if adapter[0]["invertible"]:
                def coupled(module, args, out, adapter=adapter):
                    a, b = out.tensor_split([out.shape[-1] // 2], dim=-1)
                    a = a + change(adapter, "invertible.F", b)
                    return torch.cat([a, b + change(adapter, "invertible.G", a)], dim=-1)
                embeddings.register_forward_hook(coupled)

    base, folder, language, texts = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(base, config=AutoConfig.from_pretrained(folder)).eval()
    assert not model.load_state_dict(load_file(f"{folder}/head.safetensors"), strict=False).unexpected_keys
    body = model.base_model
    adapters = [opened(f"{folder}/languages/{language}")] if language else []
    put(model, [*adapters, opened(folder)], getattr(body, "layers", None) or body.encoder.layer, body.embeddings)
    with torch.no_grad():
        for text in texts:
            print(json.dumps(model(**tokenizer(text, return_tensors="pt")).logits[0].tolist()))
"""


@pytest.fixture
def texts(tiny_texts: dict[str, list[str]]) -> list[TextExample]:
    """Short texts against long ones, in two languages."""
    return [
        TextExample(text if i % 2 else text[:12], lang, ("short", "long")[i % 2])
        for lang in ("en", "fi")
        for i, text in enumerate(tiny_texts[lang][:8])
    ]


def language_folders(encoder: Encoder, out: Path, *languages: str) -> dict[str, Path]:
    """Adapters of languages that are not the identity."""
    adapters = with_language_adapters(
        Path(encoder.name), encoder.name, languages, adapted=languages, reduction=2, invertible=True, seed=0,
        counts=np.ones(len(encoder.tokenizer), dtype=np.int64),
    )  # fmt: skip
    torch.manual_seed(3)
    with torch.no_grad():
        for placed in adapters.languages.values():
            for parameter in adapter_parameters(placed.modules).values():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return adapters.write(out)


@pytest.fixture
def madx(hf_tokenizer: Any, tmp_path: Path) -> tuple[Encoder, TuneRecipe]:
    """An encoder, and the recipe with adapters of two languages for it."""
    encoder = saved_encoder("bert", hf_tokenizer, tmp_path / "base", prefix="query: ")
    folders = language_folders(encoder, tmp_path / "languages", "en", "fi")
    return encoder, ADAPTER.model_copy(update={"method": "madx", "language_adapters": folders})


def logits(tuned: Any, examples: list[TextExample]) -> np.ndarray:
    """Class logits, all examples in one packed batch."""
    encoded, _ = tuned.task.encode(examples, tuned.tokenizer, max_length=60)
    out = np.zeros((len(examples), len(tuned.task.labels)))
    for indices, states, _ in tuned.task.states(tuned.model, encoded, tuned.tokenizer):
        with torch.no_grad():
            out[indices] = tuned.task.logits(tuned.model, states).numpy()
    return out


@pytest.mark.parametrize("method", ["adapter", "madx"])
@pytest.mark.parametrize(("family", "prefix"), [("bert", "query: "), ("xlm-roberta", ""), ("modernbert", "")])
def test_plain_torch_computes_the_same(
    method: str, family: str, prefix: str, hf_tokenizer: Any, texts: list[TextExample], tmp_path: Path, plain: Plain
) -> None:
    """Logits of a packed batch of two languages against hooks on plain transformers, a text at a time, to 1e-5."""
    encoder = saved_encoder(family, hf_tokenizer, tmp_path / "base", prefix=prefix)
    recipe = ADAPTER.model_copy(update={"method": method})
    if method == "madx":
        recipe = recipe.model_copy(
            update={"language_adapters": language_folders(encoder, tmp_path / "languages", "en", "fi")}
        )
    task = build_task(TaskRecipe(), texts)
    tuned = tune_once(encoder, task, texts, recipe, seed=0)
    save_tuned(tuned, tmp_path / "tuned", encoder)
    assert not (tmp_path / "tuned" / "model.safetensors").exists()
    ours = logits(tuned, texts)
    code = textwrap.dedent(PLAIN)
    for lang in ("en", "fi"):
        own = [i for i, example in enumerate(texts) if example.lang == lang]
        payload = json.dumps([texts[i].text for i in own])
        theirs = plain(code, encoder.name, str(tmp_path / "tuned"), lang if method == "madx" else "", payload)
        np.testing.assert_allclose(ours[own], theirs, rtol=1e-4, atol=1e-5)
    again = open_tuned(tmp_path / "tuned")
    np.testing.assert_array_equal(logits(again, texts), ours)
    assert again.trained_parameters == tuned.trained_parameters > 0


def test_what_learns(madx: tuple[Encoder, TuneRecipe], texts: list[TextExample]) -> None:
    """By name: the head and the task's adapter, above what is frozen; before a step, logits are the bare network's."""
    encoder, recipe = madx
    task = build_task(TaskRecipe(), texts)
    for changes, layers in (({"method": "adapter", "freeze": 1}, {"1", "2"}), ({"method": "madx"}, {"0", "1", "2"})):
        model, tokenizer = new_head(encoder, task, seed=0)
        adapted = adapt(model, tokenizer, task, recipe.model_copy(update=changes), encoder)
        names = {name for name, parameter in adapted.model.named_parameters() if parameter.requires_grad}
        inside = {name for name in names if name.startswith("bert.encoder")}
        assert {name.split(".")[3] for name in inside} == layers
        assert all(".adapters.task." in name for name in inside)
        assert names - inside == {
            "bert.pooler.dense.weight",
            "bert.pooler.dense.bias",
            "classifier.weight",
            "classifier.bias",
        }
        assert adapted.frozen_layers == (1 if changes["method"] == "adapter" else 0)
    before = fingerprint(encoder.model)
    kept = {n: t.clone() for n, t in load_file(recipe.language_adapters["en"] / "adapter.safetensors").items()}
    tuned = tune_once(encoder, task, texts, recipe, seed=0)
    assert fingerprint(encoder.model) == before
    inside = dict(tuned.model.named_parameters())
    for name, tensor in kept.items():
        if name.startswith("layers.0"):
            part = name.removeprefix("layers.0.")
            assert torch.equal(inside[f"bert.encoder.layer.0.adapters.languages.en.{part}"], tensor)


def test_an_untrained_adapter_leaves_the_logits(hf_tokenizer: Any, texts: list[TextExample], tmp_path: Path) -> None:
    """The bare network with the same head, against the network with a new adapter: equal but for rounding."""
    encoder = saved_encoder("bert", hf_tokenizer, tmp_path / "base")
    task = build_task(TaskRecipe(), texts)
    found = []
    for add in (False, True):
        model, tokenizer = new_head(encoder, task, seed=0)
        if add:
            adapt(model, tokenizer, task, ADAPTER, encoder)
        found.append(logits(Tuned(model.eval(), tokenizer, task, 0, 0, ""), texts))
    np.testing.assert_allclose(*found, rtol=0, atol=1e-6)


def test_sides_of_a_pair_go_through_their_own_languages(madx: tuple[Encoder, TuneRecipe], tmp_path: Path) -> None:
    """Where the second side begins, from the template; a packed batch of four kinds of pairs is each pair alone."""
    encoder, recipe = madx
    pairs = [
        TextExample(f"one {i}", lang, "ab"[i % 2], f"two {i}")
        for i, lang in enumerate(("en/fi", "en", "fi", "fi/en") * 2)
    ]
    task = build_task(TaskRecipe(), pairs)
    tuned = tune_once(encoder, task, pairs, recipe, seed=0)
    encoded, _ = task.encode(pairs, tuned.tokenizer, max_length=60)
    batch = task.batch(encoded, tuned.tokenizer)
    assert batch.language_names == ("en", "fi")
    for number, (pair, one) in enumerate(zip(pairs, encoded, strict=True), 1):
        first, *second = pair.lang.split("/")
        text = tuned.tokenizer.convert_ids_to_tokens(one.tokens.tolist())
        ends = [i for i, token in enumerate(text) if token == tuned.tokenizer.sep_token]
        found = [batch.language_names[i] for i in batch.languages_BL[batch.segments_BL == number]]
        # The template is [first] prefix A [last] [last] B [last]: the second side begins behind two marks.
        assert found == [first] * (ends[1] + 1) + [(second or [first])[0]] * (len(text) - ends[1] - 1)
    alone = [logits(tuned, [pair])[0] for pair in pairs]
    np.testing.assert_allclose(logits(tuned, pairs), alone, atol=1e-5)
    same = [TextExample("one", lang, "a", "two") for lang in ("en/fi", "en", "fi")]
    both, en, fi = logits(tuned, same)
    assert not np.allclose(both, en, atol=1e-4)
    assert not np.allclose(both, fi, atol=1e-4)


@pytest.mark.parametrize("kind", ["tag", "span"])
def test_taggers_and_question_answerers(kind: str, madx: tuple[Encoder, TuneRecipe]) -> None:
    """States before the head in a packed batch of en, fi and (span) both, against each example alone."""
    encoder, recipe = madx
    if kind == "tag":
        examples: list[Any] = [TaggedSentence(("a", "bb", "a"), ("X", "Y", "X"), lang) for lang in ("en", "fi", "en")]
    else:
        examples = [
            Question(str(i), "Who was it?", "The king was Harold.", (Answer("Harold", 13),), lang)
            for i, lang in enumerate(("en/fi", "en", "fi"))
        ]
    task = build_task(TaskRecipe(type=kind, stride=4, max_question=10), examples)
    tuned = tune_once(encoder, task, examples * 3, recipe, seed=0)
    encoded, _ = task.encode(examples, tuned.tokenizer, max_length=60)
    alone = [next(iter(task.states(tuned.model, [one], tuned.tokenizer)))[1] for one in encoded]
    assert not torch.allclose(alone[0], alone[1], atol=1e-4), "languages differ"
    found = {}
    for indices, states, counts in task.states(tuned.model, encoded, tuned.tokenizer):
        found |= dict(zip(indices.tolist(), torch.split(states, counts), strict=True))
    for number, states in enumerate(alone):
        torch.testing.assert_close(found[number], states, rtol=0, atol=1e-5)


def test_missing_languages(madx: tuple[Encoder, TuneRecipe], texts: list[TextExample], tmp_path: Path) -> None:
    """Counted and named before anything runs; with `none` said and scored; a copied folder serves from then on."""
    encoder, recipe = madx
    task = build_task(TaskRecipe(), texts)
    german = [TextExample("Guten Tag", "de", "short")] * 3
    with pytest.raises(LanguageError, match=r"no language adapter for de \(3 examples\)(?s:.*)en, fi(?s:.*)none"):
        tune_once(encoder, task, [*texts, *german], recipe, seed=0)
    tuned = tune_once(encoder, task, texts, recipe, seed=0)
    save_tuned(tuned, tmp_path / "tuned", encoder)
    with pytest.raises(LanguageError, match=r"de \(3 examples\)"):
        evaluate([open_tuned(tmp_path / "tuned")], [*texts, *german])
    lenient = tune_once(encoder, task, texts, recipe.model_copy(update={"without_adapter": "none"}), seed=0)
    save_tuned(lenient, tmp_path / "lenient", encoder)
    opened = open_tuned(tmp_path / "lenient")
    assert opened.notes([*texts, *german]) == ["without a language adapter: de (3 examples)"]
    assert {score.language for score in evaluate([opened], [*texts, *german])} == {"en", "fi", "de"}
    (folder,) = language_folders(encoder, tmp_path / "more", "de").values()
    shutil.copytree(folder, tmp_path / "tuned" / "languages" / "de")
    served = open_tuned(tmp_path / "tuned")
    assert served.notes(german) == []
    assert not np.allclose(logits(served, german), logits(opened, german), atol=1e-4)


def test_refused(madx: tuple[Encoder, TuneRecipe], hf_tokenizer: Any, texts: list[TextExample], tmp_path: Path) -> None:
    """Merging, no language adapters, nothing above what is frozen, another encoder's adapters, other classes."""
    encoder, recipe = madx
    task = build_task(TaskRecipe(), texts)

    def tune(other: Encoder = encoder, **changes: Any) -> None:
        tune_once(other, task, texts, recipe.model_copy(update=changes), seed=0)

    for method in ("adapter", "madx", "prompt"):
        with pytest.raises(RecipeError, match=f"merge for method '{method}'(?s:.*)lora or ia3"):
            tune(method=method, merge=True)
    with pytest.raises(RecipeError, match="'madx' without language adapters"):
        tune(language_adapters={})
    with pytest.raises(RecipeError, match="layers that are not frozen"):
        tune(freeze="all")
    other = saved_encoder("bert", hf_tokenizer, tmp_path / "other", prefix="query: ", seed=1)
    with pytest.raises(CheckpointError, match=f"made for another encoder(?s:.*){fingerprint(encoder.model)}"):
        tune(other)
    with pytest.raises(RecipeError, match="adapters in a albert"):
        tune(saved_encoder("albert", hf_tokenizer, tmp_path / "albert"), method="adapter")
    save_tuned(tune_once(encoder, task, texts, recipe, seed=0), tmp_path / "tuned", encoder)
    with pytest.raises(CheckpointError, match="added to another encoder"):
        open_tuned(tmp_path / "tuned", encoder=other)
    shutil.rmtree(tmp_path / "tuned" / "languages" / "fi")
    shutil.copytree(tmp_path / "tuned" / "languages" / "en", tmp_path / "tuned" / "languages" / "fi")
    with pytest.raises(CheckpointError, match="an adapter of en"):
        open_tuned(tmp_path / "tuned", encoder=encoder)


def test_cut_off_and_taken_up_again(madx: tuple[Encoder, TuneRecipe], texts: list[TextExample], tmp_path: Path) -> None:
    """A run killed between two checkpoints ends with the same adapter and head, bit for bit."""
    encoder, recipe = madx
    for lang in ("en", "fi"):
        rows = "".join(f"{example.text}\t{example.label}\n" for example in texts if example.lang == lang)
        (tmp_path / f"{lang}.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    files = tuple(LabelledFile(path=tmp_path / f"{lang}.tsv", lang=lang) for lang in ("en", "fi"))
    plan = FinetuneRecipe(
        task=TaskRecipe(train=files), tune=recipe.model_copy(update={"save_every": 2, "epochs": 4}), model=encoder.name
    )

    def cut(seed: int, progress: Any) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(plan, tmp_path / "cut", encoder=encoder, on_step=cut)
    for name in ("cut", "whole"):
        finetune(plan, tmp_path / name, encoder=encoder)
    for file in ("adapter.safetensors", "head.safetensors"):
        ours, theirs = (load_file(tmp_path / name / "seed-0" / file) for name in ("cut", "whole"))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
