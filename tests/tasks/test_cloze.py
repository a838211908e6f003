"""Cloze classification: scores and losses against plain masked language models, and what a run saves."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.fixtures_models import FAMILIES, tiny_config
from tests.fixtures_plain import Plain
from transformers import AutoModel, AutoModelForMaskedLM

from interlingua.errors import CheckpointError, LabelError, RecipeError, VocabularyError
from interlingua.evaluate import control_scores, evaluate
from interlingua.models.attention import encode_at
from interlingua.models.checkpoint import save_checkpoint
from interlingua.models.encoder import Encoder, load
from interlingua.recipe_continual import ContinualRecipe
from interlingua.recipe_multitask import MultitaskRecipe
from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile, TaskRecipe, TuneRecipe
from interlingua.tasks import Classify, Cloze, TextExample
from interlingua.tasks.base import TaskStream, add_frozen_states
from interlingua.tasks.patterns import Patterns
from interlingua.transfer.continual import continual
from interlingua.transfer.finetune import finetune, open_tuned, save_tuned
from interlingua.transfer.multitask import multitask
from interlingua.transfer.tune import tune_once

PATTERNS = Patterns(
    patterns={"en": "{text} This is {mask}.", "de": "{mask}: {text}"},
    verbalisers={
        "en": {"a": ("God", "the Lord"), "b": ("water",), "c": ("king", "people", "Jerusalem")},
        "de": {"a": ("Gott",), "b": ("Wasser", "Meer"), "c": ("König",)},
    },
)
LABELS = ("a", "b", "c")
TUNE = TuneRecipe(epochs=2, batch_size=4, lr=1e-3, threads=1, freeze="none")


@pytest.fixture
def examples(tiny_texts: dict[str, list[str]]) -> list[TextExample]:
    return [
        TextExample(text, lang, LABELS[i % 3])
        for lang in ("en", "de", "ja")
        for i, text in enumerate(tiny_texts[lang][:6])
    ]


def masked_lm(family: str, tokenizer: Any, **changes: Any) -> Any:
    torch.manual_seed(0)
    fields = {"pad_token_id": tokenizer.pad_token_id} | changes
    config = tiny_config(family, vocabulary=len(tokenizer), **fields)
    return AutoModelForMaskedLM.from_config(config).double().eval()


def plain_scores(model: Any, task: Cloze, encoded: Any, tokenizer: Any, *, highest: bool = False) -> torch.Tensor:
    """Label scores [C] by the definition: each input alone through the plain class, word by word."""
    wording = task.wordings[task.patterns.language(encoded.lang)]
    rows = {}
    for size, part in zip(wording.sizes, encoded.parts(), strict=True):
        ids = torch.from_numpy(part.tokens)[None]
        positions = (
            {"position_ids": torch.arange(ids.shape[1])[None] + model.config.pad_token_id + 1}
            if model.config.model_type == "xlm-roberta"
            else {}
        )
        log_p = model(input_ids=ids, **positions).logits[0].log_softmax(-1)
        rows[size] = log_p[[i for i, token in enumerate(part.tokens) if token == tokenizer.mask_token_id]]
        assert len(rows[size]) == size
    scores = []
    for words in wording.ids:
        own = [sum(rows[len(word)][t, token] for t, token in enumerate(word)) / len(word) for word in words]
        scores.append(max(own) if highest else sum(own) / len(own))
    return torch.stack(scores)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("words", ["mean", "max"])
def test_scores_and_loss_equal_the_plain_masked_lm(
    family: str, words: str, hf_tokenizer: Any, examples: list[TextExample]
) -> None:
    """Packed, several masks and languages a batch, in float64: label scores, predictions, and the cross-entropy."""
    model = masked_lm(family, hf_tokenizer)
    task = Cloze(LABELS, patterns=PATTERNS.model_copy(update={"words": words}))
    encoded, _ = task.encode(examples, hf_tokenizer, max_length=60)
    assert len({len(e.parts()) for e in encoded}) > 1, "the test wants languages with other numbers of inputs"
    with torch.no_grad():
        plain = torch.stack(
            [plain_scores(model, task, e, hf_tokenizer, highest=words == "max") for e in encoded]
        )  # fmt: skip
        gold = torch.tensor([int(e.labels[0]) for e in encoded])
        batch = task.batch(encoded, hf_tokenizer)
        ours = task.loss(model, batch, task.prepare(batch, np.random.default_rng(0)))
        each = torch.nn.functional.cross_entropy(plain, gold, reduction="none")
    assert ours.count == len(examples) == task.prepare(batch, np.random.default_rng(0)).count
    assert batch.rows < batch.segments, "the test wants several inputs a row"
    torch.testing.assert_close(ours.each_N, each, rtol=1e-9, atol=1e-9)
    assert Counter(ours.languages_N.tolist()) == {0: 6, 1: 6, 2: 6}
    assert task.predict(model, encoded, hf_tokenizer) == plain.argmax(dim=1).tolist()


def test_states_of_frozen_layers_change_nothing(hf_tokenizer: Any, examples: list[TextExample]) -> None:
    """Losses with kept states of two layers, of examples with several inputs, against those from the tokens."""
    model = masked_lm("bert", hf_tokenizer).float()
    task = Cloze(LABELS, patterns=PATTERNS)
    encoded, _ = task.encode(examples, hf_tokenizer, max_length=60)
    kept = add_frozen_states(model, hf_tokenizer, encoded, 2)
    with torch.no_grad():
        losses = []
        for of in (encoded, kept):
            batch = task.batch(of, hf_tokenizer)
            losses.append(task.loss(model, batch, task.prepare(batch, np.random.default_rng(0))).each_N)
    torch.testing.assert_close(losses[1], losses[0])


def test_calibration_takes_off_the_scores_of_texts_without_content(
    hf_tokenizer: Any, examples: list[TextExample]
) -> None:
    """Priors and calibrated predictions against the plain class's, by the definition of Zhao et al. (2021)."""
    model = masked_lm("bert", hf_tokenizer)
    task = Cloze(LABELS, patterns=PATTERNS, calibrate=True)
    encoded, _ = task.encode(examples, hf_tokenizer, max_length=60)
    settled = task.settled(model, hf_tokenizer)
    priors = {}
    for lang in ("en", "de"):
        empty = [TextExample(text, lang, "a") for text in ("", "N/A", hf_tokenizer.mask_token)]
        shares = []
        for one in task.encode(empty, hf_tokenizer, max_length=60)[0]:
            masks = set(one.words.tolist())
            # The text's own mask token is no question.
            hidden = np.array([
                i if place in masks or i != hf_tokenizer.mask_token_id else -1 for place, i in enumerate(one.tokens)
            ])  # fmt: skip
            with torch.no_grad():
                shares.append(content_free(model, task, one, hidden, hf_tokenizer).softmax(-1))
        priors[lang] = torch.stack(shares).mean(0).log()
        torch.testing.assert_close(torch.tensor(settled.priors[lang], dtype=torch.double), priors[lang])
    with torch.no_grad():
        wanted = [
            int((plain_scores(model, task, e, hf_tokenizer) - priors[task.patterns.language(e.lang)]).argmax())
            for e in encoded
        ]
    assert settled.predict(model, encoded, hf_tokenizer) == wanted
    assert wanted != task.predict(model, encoded, hf_tokenizer), "the test wants a calibration that matters"
    assert Cloze(LABELS, patterns=PATTERNS).settled(model, hf_tokenizer).priors == {}


def content_free(model: Any, task: Cloze, one: Any, hidden: np.ndarray, tokenizer: Any) -> torch.Tensor:
    """As :func:`plain_scores`, for texts that hold a mask token."""
    wording = task.wordings[one.lang]
    begins = [0, *one.ends[:-1].tolist()]
    rows = {}
    for size, part, begin in zip(wording.sizes, one.parts(), begins, strict=True):
        log_p = model(input_ids=torch.from_numpy(part.tokens)[None]).logits[0].log_softmax(-1)
        own = hidden[begin : begin + len(part.tokens)]
        rows[size] = log_p[[i for i, token in enumerate(own) if token == tokenizer.mask_token_id]]
    return torch.stack([
        sum(sum(rows[len(w)][t, token] for t, token in enumerate(w)) / len(w) for w in words) / len(words)
        for words in wording.ids
    ])  # fmt: skip


@pytest.fixture
def checkpoint(hf_tokenizer: Any, tmp_path: Path) -> Path:
    model = masked_lm("xlm-roberta", hf_tokenizer, max_position_embeddings=132).float()
    return save_checkpoint(tmp_path / "mlm", model, hf_tokenizer)


PLAIN = """
    import json, sys
    import torch
    from transformers import AutoModelForMaskedLM
    model, report = AutoModelForMaskedLM.from_pretrained(sys.argv[1], output_loading_info=True)
    assert not report["missing_keys"], report
    with torch.no_grad():
        for ids in json.loads(sys.argv[2]):
            ids = torch.tensor([ids])
            where = torch.arange(ids.shape[1])[None] + model.config.pad_token_id + 1
            print(json.dumps(model.eval()(input_ids=ids, position_ids=where).logits[0].log_softmax(-1).tolist()))
"""


@pytest.mark.parametrize("shots", [0, 2])
def test_a_run_with_few_labels_or_none(
    shots: int, checkpoint: Path, hf_tokenizer: Any, tiny_texts: dict[str, list[str]], tmp_path: Path, plain: Plain
) -> None:
    """From a recipe to a folder that plain transformers opens as a masked LM, giving the same classes; and back."""
    rows = "".join(f"{text}\t{LABELS[i % 3]}\n" for i, text in enumerate(tiny_texts["en"][:12]))
    (tmp_path / "en.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    (tmp_path / "patterns.yaml").write_text(json.dumps(PATTERNS.model_dump(mode="json")), encoding="utf-8")
    file = LabelledFile(path=tmp_path / "en.tsv", lang="en")
    recipe = FinetuneRecipe(
        model=str(checkpoint),
        task=TaskRecipe(type="cloze", train=(file,), shots=shots, patterns=tmp_path / "patterns.yaml", calibrate=True),
        tune=TUNE,
    )
    said: list[str] = []
    (tuned,) = finetune(recipe, tmp_path / "run", say=said.append)
    assert any(line.startswith("en: ") and "the Lord" in line for line in said)
    assert (tuned.trained_parameters > 0) == (shots > 0)
    assert tuned.selection.startswith("nothing taught" if not shots else "last of 2")
    again = open_tuned(tmp_path / "run" / "seed-0")
    assert again.task.settings() == tuned.task.settings()
    examples = Cloze.read(recipe.task, file)
    encoded, _ = again.task.encode(examples, again.tokenizer, max_length=60)
    ours = again.task.predict(again.model, encoded, again.tokenizer)
    assert ours == tuned.task.predict(tuned.model, encoded, tuned.tokenizer)
    parts = [part.tokens.tolist() for e in encoded for part in e.parts()]
    theirs = iter(plain(textwrap.dedent(PLAIN), str(tmp_path / "run" / "seed-0"), json.dumps(parts)))
    wording = again.task.wordings["en"]
    for predicted, example in zip(ours, encoded, strict=True):
        at = {}
        for size, part in zip(wording.sizes, example.parts(), strict=True):
            log_p = np.array(next(theirs))
            at[size] = log_p[part.tokens == hf_tokenizer.mask_token_id]
        scores = [
            np.mean([np.mean([at[len(w)][t, token] for t, token in enumerate(w)]) for w in words])
            for words in wording.ids
        ]
        assert predicted == int(np.argmax(np.array(scores) - again.task.priors["en"]))
    scores = evaluate([again], examples)
    assert {s.metric for s in scores} == {"accuracy", "macro_f1"}
    body = load(checkpoint).model.state_dict()
    same = [torch.equal(body[name], value) for name, value in again.model.base_model.state_dict().items()]
    assert all(same) == (shots == 0)


def test_several_tasks_and_streams_say_which_words_they_use(
    checkpoint: Path, tiny_texts: dict[str, list[str]], tmp_path: Path
) -> None:
    """As a single run does: a word of several tokens, and one that the vocabulary has not got."""
    rows = "".join(f"{text}\t{LABELS[i % 3]}\n" for i, text in enumerate(tiny_texts["en"][:12]))
    (tmp_path / "en.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    (tmp_path / "patterns.yaml").write_text(json.dumps(PATTERNS.model_dump(mode="json")), encoding="utf-8")
    file = LabelledFile(path=tmp_path / "en.tsv", lang="en")
    task = TaskRecipe(name="verses", type="cloze", train=(file,), test=(file,), patterns=tmp_path / "patterns.yaml")
    said: list[str] = []
    tune = TUNE.model_copy(update={"epochs": 1})
    multitask(MultitaskRecipe(model=str(checkpoint), tasks=(task,), tune=tune), tmp_path / "m", say=said.append)
    continual(ContinualRecipe(model=str(checkpoint), tasks=(task,), tune=tune), tmp_path / "c", say=said.append)
    assert len([line for line in said if line.startswith("task verses: en: ") and "the Lord" in line]) == 2


def test_controls_are_those_of_a_classifier(checkpoint: Path, examples: list[TextExample]) -> None:
    """Majority, n-grams and a random network are taught the same labels with a head of their own."""
    task = Cloze(LABELS, patterns=PATTERNS)
    assert isinstance(task.control(), Classify)
    scores = control_scores(task, examples, examples[:6], encoder=load(checkpoint), tune=TUNE)
    assert {s.model for s in scores} == {"majority", "tfidf", "random"}
    with pytest.raises(RecipeError, match="controls without training examples"):
        control_scores(task, [], examples[:6])


def test_few_examples_are_learnt_at_the_networks_own_rate(checkpoint: Path, examples: list[TextExample]) -> None:
    """A task that words alone decide is learnt; the head is no new one, so ``head_lr`` is not for it."""
    task = Cloze(LABELS, patterns=PATTERNS)
    rows = [replace(e, lang="en", text=e.label * 5) for e in examples]
    recipe = TUNE.model_copy(update={"epochs": 20, "head_lr": 1e9})
    tuned = tune_once(load(checkpoint), task, rows, recipe, seed=0)
    encoded, _ = tuned.task.encode(rows, tuned.tokenizer, max_length=60)
    assert tuned.task.score(tuned.task.predict(tuned.model, encoded, tuned.tokenizer), encoded)["accuracy"] == 1.0


@pytest.mark.parametrize("method", ["lora", "ia3", "bitfit", "adapter"])
def test_added_weights_on_a_masked_lm(
    method: str, checkpoint: Path, examples: list[TextExample], tmp_path: Path
) -> None:
    """Taught, saved and opened again with the same predictions; the pretrained head is not among what is saved."""
    task = Cloze(LABELS, patterns=PATTERNS)
    encoder = load(checkpoint)
    tuned = tune_once(
        encoder, task, examples, TUNE.model_copy(update={"method": method, "lr": None, "max_length": 60}), seed=0
    )
    save_tuned(tuned, tmp_path / "tuned", encoder)
    encoded, _ = task.encode(examples, tuned.tokenizer, max_length=60)
    ours = tuned.task.predict(tuned.model, encoded, tuned.tokenizer)
    again = open_tuned(tmp_path / "tuned")
    assert again.task.predict(again.model, encoded, again.tokenizer) == ours
    assert tuned.trained_parameters < 20_000


def test_methods_that_are_refused(checkpoint: Path, examples: list[TextExample]) -> None:
    """Before anything is computed, with the methods that do; so are adapters of languages."""
    task = Cloze(LABELS, patterns=PATTERNS)
    for method in ("prefix", "prompt", "madx"):
        message = f"'{method}' for a XLMRobertaForMaskedLM(?s:.*)full, bitfit, lora, ia3, adapter"
        with pytest.raises(RecipeError, match=message):
            tune_once(load(checkpoint), task, examples, TUNE.model_copy(update={"method": method}), seed=0)


def test_an_encoder_without_the_head_is_refused(hf_tokenizer: Any, tmp_path: Path) -> None:
    """A folder of a bare encoder, and a bare encoder without a folder."""
    bare = AutoModel.from_config(tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=1))
    folder = save_checkpoint(tmp_path / "bare", bare, hf_tokenizer)
    task = Cloze(LABELS, patterns=PATTERNS)
    with pytest.raises(CheckpointError, match=r"weights of the head of a BertForMaskedLM(?s:.*)xlm-r, mbert"):
        tune_once(load(folder), task, [], TUNE, seed=0)
    with pytest.raises(CheckpointError, match="without a head, and not from a folder"):
        tune_once(Encoder("tiny", bare, hf_tokenizer), task, [], TUNE, seed=0)


def test_a_network_with_its_head_in_memory(hf_tokenizer: Any, examples: list[TextExample]) -> None:
    """No folder is needed where the encoder holds the head; it is not changed."""
    model = masked_lm("bert", hf_tokenizer).float()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    encoder = Encoder("tiny", model, hf_tokenizer)
    tune_once(encoder, Cloze(LABELS, patterns=PATTERNS), examples, TUNE, seed=0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_a_recipe_must_say(tmp_path: Path, examples: list[TextExample], hf_tokenizer: Any) -> None:
    """No patterns; labels without words; a pair in a pattern for one text; nothing taught to a new head."""
    path = tmp_path / "patterns.yaml"
    path.write_text(json.dumps(PATTERNS.model_dump(mode="json")), encoding="utf-8")
    with pytest.raises(RecipeError, match="without patterns"):
        Cloze.taught_with(TaskRecipe(type="cloze"), examples)
    recipe = TaskRecipe(type="cloze", patterns=path)
    with pytest.raises(LabelError, match=r"label 'bb' without words; did you mean 'b'(?s:.*)line 7"):
        Cloze.taught_with(recipe, [TextExample("x", "en", "bb", where="x, line 7")])
    with pytest.raises(RecipeError, match=r"with task.text_pair = 'second'"):
        Cloze.taught_with(recipe.model_copy(update={"text_pair": "second"}), examples)
    assert Cloze.taught_with(recipe, []).labels == LABELS
    with pytest.raises(RecipeError, match="type 'classify' with no example"):
        tune_once(Encoder("tiny", masked_lm("bert", hf_tokenizer), hf_tokenizer), Classify(LABELS), [], TUNE, seed=0)
    with pytest.raises(RecipeError, match="without training files"):
        finetune(FinetuneRecipe(task=recipe), tmp_path / "run")


def test_tokenizer_without_mask(hf_tokenizer: Any, examples: list[TextExample]) -> None:
    """Refused before any network runs."""
    import copy

    tokenizer = copy.deepcopy(hf_tokenizer)
    tokenizer.mask_token = None
    with pytest.raises(VocabularyError, match="without a mask token"):
        Cloze(LABELS, patterns=PATTERNS).encode(examples, tokenizer, max_length=60)


def test_batches_of_a_stream(hf_tokenizer: Any, examples: list[TextExample]) -> None:
    """Every example once an epoch, whatever its number of inputs."""
    task = Cloze(LABELS, patterns=PATTERNS)
    encoded, _ = task.encode(examples, hf_tokenizer, max_length=60)
    stream = TaskStream(task, encoded, hf_tokenizer, batch_size=5, seed=0)
    counts = [task.prepare(stream.batch(t), np.random.default_rng(0)).count for t in range(stream.steps_an_epoch)]
    assert sum(counts) == len(examples)
    model = masked_lm("bert", hf_tokenizer)
    batch = stream.batch(0)
    assert batch.labels is not None
    assert len(encode_at(model, batch, batch.labels >= 0)) == int((batch.labels >= 0).sum())
