"""translate.py: from texts to a translator, killed and resumed, taught with pairs and without."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.fixtures_models import tiny_config
from tests.fixtures_translate import encoder_folder, make_encoder, unigram  # noqa: F401
from transformers import AutoModelForSeq2SeqLM

from interlingua.errors import CheckpointError, DataError, RecipeError, RunError
from interlingua.models.checkpoint import open_tokenizer, save_checkpoint
from interlingua.models.translator import add_languages, frame, language_ids, pair_encoders, tie_sides
from interlingua.objectives.mix import Mixture
from interlingua.objectives.noise import Deletion, LocalShuffle
from interlingua.objectives.translate import BackTranslation, Batches, Drawn, Frame, Sides, Translation
from interlingua.recipe import TrainRecipe
from interlingua.recipe_file import load_recipe, recipe_kind
from interlingua.recipe_translate import TranslateRecipe
from interlingua.tasks.translate import load_translator
from interlingua.tasks.translation_scores import score_translations
from interlingua.train.loop import train
from interlingua.translate import train_translator


@pytest.fixture(scope="module")
def twenty(tiny_parallel, tmp_path_factory):
    """Twenty short verses in English, German and Finnish."""
    rows = sorted(tiny_parallel.items(), key=lambda item: len(item[1]["en"]) + len(item[1]["de"]))[:20]
    file = tmp_path_factory.mktemp("verses") / "twenty.tsv"
    lines = ["id\ten\tde\tfi", *("\t".join([name, row["en"], row["de"], row["fi"]]) for name, row in rows)]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def recipe(file, folder, **changes):
    tree = {
        "data": {"parallel": [str(file)], "languages": ["en", "de"]},
        "model": {"encoder": str(folder), "decoder_layers": 1, "dropout": 0.0},
        "objectives": [{"type": "translate"}],
        "train": {"steps": 8, "batch_tokens": 300, "threads": 1, "device": "cpu", "save_every": 3, "lr": 0.003},
    }
    for name, section in changes.items():
        tree[name] = {**tree[name], **section} if isinstance(section, dict) else section
    return load_recipe(tree, TranslateRecipe)


def test_twenty_pairs_are_learnt_by_heart(twenty, encoder_folder, tmp_path):  # noqa: F811
    """Real sentences, both ways, by a tiny network: BLEU above 90 on what it was taught, in both languages."""
    wider = make_encoder(tmp_path / "wider", open_tokenizer(encoder_folder), hidden_size=96,
                         intermediate_size=192, num_hidden_layers=2)  # fmt: skip
    plan = recipe(
        twenty,
        wider,
        model={"decoder_layers": 2},
        train={"steps": 260, "batch_tokens": 900, "lr": 0.004, "save_every": 260},
    )
    result = train_translator(plan, tmp_path / "run")
    assert result.pairs == 40
    translator = load_translator(tmp_path / "run")
    rows = [line.split("\t") for line in twenty.read_text(encoding="utf-8").splitlines()[1:]]
    for source, target, tag in ((1, 2, "de"), (2, 1, "en")):
        found = translator.translate([row[source] for row in rows], tag)
        assert len(found.texts) == 20
        scores = score_translations(found.texts, [[row[target] for row in rows]], tag, model="m")
        assert scores[0].score.value > 90


ALL = [
    {"type": "translate", "label_smoothing": 0.1},
    {"type": "denoise"},
    {"type": "backtranslate", "begin": 0.25, "sample": True},
]


def test_killed_and_resumed_it_is_the_same(twenty, encoder_folder, tmp_path):  # noqa: F811
    """SIGKILL in step 8 of 10, with dropout and sampled back-translations: the weights of a run in one go, exactly."""
    changes = {"objectives": ALL, "model": {"dropout": 0.1}, "train": {"steps": 10, "batch_tokens": 200}}
    plan = recipe(twenty, encoder_folder, **changes)
    train_translator(plan, tmp_path / "whole")
    code = f"""
import json, os, signal
from pathlib import Path
from interlingua.recipe_file import load_recipe
from interlingua.recipe_translate import TranslateRecipe
from interlingua.translate import train_translator
plan = load_recipe(json.loads({plan.model_dump_json()!r}), TranslateRecipe)
train_translator(plan, Path({str(tmp_path / "cut")!r}),
                 on_step=lambda p: os.kill(os.getpid(), signal.SIGKILL) if p.step == 8 else None)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], check=False, env=environment, timeout=120)
    assert done.returncode == -signal.SIGKILL
    result = train_translator(plan, tmp_path / "cut")
    assert result.training.step == 10
    one, other = (load_file(tmp_path / n / "checkpoints/step-000010/model.safetensors") for n in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one.keys() == other.keys()
    with pytest.raises(RunError, match="another recipe"):
        train_translator(recipe(twenty, encoder_folder, **changes, seed=1), tmp_path / "cut")


def test_an_earlier_translator_goes_on(twenty, encoder_folder, tmp_path):  # noqa: F811
    """A finished one as model.encoder gets a language more; what it knew keeps its token, its tables stay shared."""
    train_translator(recipe(twenty, encoder_folder), tmp_path / "first")
    plan = recipe(
        twenty, tmp_path / "first", data={"languages": ["en", "fi"]}, model={"decoder_layers": None},
        train={"encoder_lr": 0.001, "embedding_lr": 0.002},
    )  # fmt: skip
    train_translator(plan, tmp_path / "second")
    first, second = load_translator(tmp_path / "first"), load_translator(tmp_path / "second")
    assert first.languages == ["de", "en"]
    assert second.languages == ["de", "en", "fi"]
    table = second.model.encoder.get_input_embeddings().weight
    assert table is second.model.decoder.get_input_embeddings().weight
    assert len(second.tokenizer) == len(first.tokenizer) + 1 == len(table)


@pytest.mark.parametrize("family", ["bart", "mbart", "t5", "mt5"])
def test_encoder_decoders_are_taken_as_they_are(family, twenty, unigram, tmp_path):  # noqa: F811
    """A random BART, mBART, T5, mT5: learns, and its folder is of its own class with a token a language."""
    torch.manual_seed(0)
    fields = {"vocabulary": len(unigram), "pad_token_id": unigram.pad_token_id, "decoder_start_token_id": 0}
    if "t5" in family:
        fields["relative_attention_max_distance"] = 64
    model = AutoModelForSeq2SeqLM.from_config(tiny_config(family, **fields))
    save_checkpoint(tmp_path / family, model, unigram)
    seen = []
    plan = recipe(twenty, tmp_path / family, model={"decoder_layers": None}, train={"steps": 12})
    train_translator(plan, tmp_path / "run", on_step=lambda p: seen.append(p.losses["translate"]))
    assert sum(seen[-3:]) < sum(seen[:3])
    translator = load_translator(tmp_path / "run")
    assert translator.model.config.model_type == family
    assert len(translator.translate(["Abraham begat Isaac.", ""], "de", longest=12).texts) == 2


@pytest.mark.parametrize("freeze", ["encoder", "embeddings"])
def test_what_is_frozen_stays(freeze, twenty, encoder_folder, tmp_path):  # noqa: F811
    """Weights of two checkpoints of one run: frozen ones are equal, others are not."""
    plan = recipe(twenty, encoder_folder, model={"freeze": freeze}, train={"steps": 3, "save_every": 1})
    seen = []
    train_translator(plan, tmp_path / "run", on_step=lambda p: seen.append(p.step))
    last = load_file(tmp_path / "run/checkpoints/step-000003/model.safetensors")
    short = recipe(twenty, encoder_folder, model={"freeze": freeze}, train={"steps": 1, "save_every": 1, "warmup": 0})
    train_translator(short, tmp_path / "short")
    first = load_file(tmp_path / "short/checkpoints/step-000001/model.safetensors")
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    frozen = {name for name in first if name.startswith("encoder.") and (freeze == "encoder" or "word_" in name)}
    assert frozen
    assert not frozen & moved
    assert any(name.startswith("decoder.") for name in moved)


def test_held_out_loss_and_best_checkpoint(twenty, encoder_folder, tmp_path):  # noqa: F811
    """Against the network's own logits: mean loss a target token of the held-out rows, which are written as files."""
    plan = recipe(twenty, encoder_folder, data={"held_out": 4}, train={"evaluate_every": 4, "steps": 8})
    result = train_translator(plan, tmp_path / "run")
    assert [path.name for path in result.held_out] == ["en-de.tsv", "de-en.tsv"]
    rows = [line.split("\t") for line in result.held_out[0].read_text(encoding="utf-8").splitlines()[1:]]
    assert len(rows) == 4
    assert result.pairs == 32
    last = load_translator(result.training.checkpoint)
    first, end = frame(last.tokenizer)
    start = language_ids(last.tokenizer)["de"]
    total = count = 0
    for source, target in rows:
        x, y = (last.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (source, target))
        shown, labels = torch.tensor([[start, *y]]), torch.tensor([*y, end])
        with torch.no_grad():
            logits = last.model(input_ids=torch.tensor([[*first, *x, end]]), decoder_input_ids=shown).logits[0]
        total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        count += len(labels)
    assert result.training.held_out.losses["translate"]["de"] == pytest.approx(total / count, rel=1e-5)
    assert json.loads((tmp_path / "run/checkpoints/index.json").read_text())["best"]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"objectives": [{"type": "backtranslate"}]}, RecipeError, "alone"),
        ({"data": {"parallel": []}}, RecipeError, "without pairs"),
        ({"train": {"row_length": 4000}}, RecipeError, "4000"),
        ({"data": {"languages": ["en", "hu"]}}, DataError, "no row"),
        ({"model": {"decoder_layers": 7}}, RecipeError, "7 layers"),
        ({"model": {"vocabulary": "whole", "encoder": "no-such"}}, Exception, "no-such"),
    ],
)
def test_refused(changes, error, words, twenty, encoder_folder, tmp_path):  # noqa: F811
    with pytest.raises(error, match=words):
        train_translator(recipe(twenty, encoder_folder, **changes), tmp_path / "run")


def test_held_out_language_that_is_not_written(twenty, encoder_folder, tmp_path):  # noqa: F811
    """A dev file into a language that no direction learns."""
    file = tmp_path / "dev.tsv"
    file.write_text("a\tb\n", encoding="utf-8")
    dev = [{"path": str(file), "source_lang": "en", "target_lang": "sw"}]
    with pytest.raises(RecipeError, match="'sw'"):
        train_translator(recipe(twenty, encoder_folder, data={"dev": dev}), tmp_path / "run")


def test_an_encoder_is_no_translator(encoder_folder):  # noqa: F811
    with pytest.raises(CheckpointError, match="'bert'"):
        load_translator(encoder_folder)


def test_recipe(tmp_path):
    """The bundled recipe is of this kind; misspelt keys of its objectives find the right ones; each objective once."""
    assert recipe_kind("translate-bible") is TranslateRecipe
    assert load_recipe("translate-bible", TranslateRecipe).data.languages == ("en", "de")
    with pytest.raises(RecipeError, match="did you mean 'drop'"):
        load_recipe({"objectives": [{"type": "denoise", "dropp": 0.3}]}, TranslateRecipe)
    with pytest.raises(RecipeError, match="twice"):
        load_recipe({"objectives": [{"type": "denoise"}, {"type": "denoise"}]}, TranslateRecipe)


def test_without_pairs_an_alphabet_is_translated(encoder_folder, tmp_path):  # noqa: F811
    """Two languages of the same grammar in different words; no pair. Word vectors of translations lie near one another,
    as pretraining leaves them. Neither the network as it begins nor denoising by itself gets a tenth of the words;
    denoising with back-translation gets most of them right.
    """
    words, noise = 40, 0.3
    tokenizer = open_tokenizer(encoder_folder)
    model, _ = pair_encoders(encoder_folder, encoder_folder, seed=0, encoder_layers=1, decoder_layers=1)
    add_languages(model, tokenizer, ["de", "en"])
    tie_sides(model, "embeddings")
    chance = np.random.default_rng(0)
    with torch.no_grad():
        table = model.encoder.get_input_embeddings().weight
        common = torch.from_numpy(chance.normal(size=(words, 32))).float() * 0.3
        for shift in (100, 200):
            own = torch.from_numpy(chance.normal(size=(words, 32))).float() * 0.3 * noise
            table[shift : shift + words] = common + own
    # Each word has four that may follow it.
    follow = chance.integers(0, words, size=(words, 4))

    def sentence() -> np.ndarray:
        out = [int(chance.integers(words))]
        while len(out) < 7:
            out.append(int(follow[out[-1], chance.integers(4)]))
        return np.array(out)

    first, last = frame(tokenizer)
    around = Frame(tuple(first), last, tokenizer.pad_token_id, tuple(language_ids(tokenizer).values()))
    rows = [Sides((sentence() + 100 * (1 + i % 2),), (i % 2,)) for i in range(2000)]
    drawn = [Drawn(rows, around, batch_size=64, seed=0, number=n) for n in range(2)]
    noises = [LocalShuffle(3.0), Deletion(0.1)]
    repair = Translation(drawn[0], around, noise=noises, name="denoise")
    back = BackTranslation(drawn[1], around, languages=[0, 1], longest=20)

    def right() -> float:
        from interlingua.models.seq2seq import generated

        asked = [sentence() for _ in range(100)]
        written = generated(
            model.eval(), [around.source(one + 100).tolist() for one in asked], [around.starts[1]] * 100, longest=10
        )
        return float(np.mean([
            sum(a + 200 == b for a, b in zip(one.tolist(), row, strict=False)) / len(one)
            for one, row in zip(asked, written, strict=True)
        ]))  # fmt: skip

    plan = TrainRecipe(steps=130, lr=0.01, threads=1, device="cpu")
    before = right()
    train(model, tokenizer, Batches(["de", "en"]), Mixture([repair], [1.0], how="sum", seed=0), plan, seed=0)
    alone = right()
    train(model, tokenizer, Batches(["de", "en"]), Mixture([repair, back], [1.0, 1.0], how="sum", seed=0), plan, seed=0)
    after = right()
    assert max(before, alone) < 0.1
    assert after > 0.6
