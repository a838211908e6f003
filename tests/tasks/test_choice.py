"""Multiple choice: reader, loss, controls, and what a run saves."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.fixtures_models import tiny_config
from tests.fixtures_plain import Plain
from transformers import AutoModel, AutoModelForMultipleChoice

from interlingua.errors import DataError, LabelError, RecipeError
from interlingua.evaluate import control_scores, evaluate
from interlingua.models.encoder import Encoder
from interlingua.recipe_transfer import LabelledFile, TaskRecipe, TuneRecipe
from interlingua.tasks import Choice, ChoiceExample
from interlingua.tasks.base import add_frozen_states
from interlingua.transfer.finetune import build_task, open_tuned, save_tuned
from interlingua.transfer.tune import tune_once

FAMILIES = ("bert", "xlm-roberta", "modernbert", "electra", "albert", "distilbert", "xlm", "xlnet")
RECIPE = TaskRecipe(
    type="choice", text="premise", question="question", choices=("choice1", "choice2"), name="copa"
)  # fmt: skip
TUNE = TuneRecipe(epochs=30, batch_size=8, lr=1e-3, threads=1, freeze="none")


@pytest.fixture
def examples(tiny_texts: dict[str, list[str]]) -> list[ChoiceExample]:
    """The right choice is the text itself."""
    rows = []
    for lang in ("en", "ja"):
        for i, text in enumerate(tiny_texts[lang][:10]):
            choices = (text[:40], "abraham " * 4)
            rows.append(ChoiceExample(text[:40], lang, choices[:: -1 if i % 2 else 1], i % 2))
    return rows


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_equals_the_plain_multiple_choice_head(
    family: str, hf_tokenizer: Any, examples: list[ChoiceExample]
) -> None:
    """Packed losses against AutoModelForMultipleChoice on a row of choices at a time, in float64."""
    torch.manual_seed(0)
    changes: dict[str, Any] = {"classifier_pooling": "cls"} if family == "modernbert" else {}
    config = tiny_config(family, vocabulary=8000, pad_token_id=hf_tokenizer.pad_token_id, types=2, **changes)
    config.num_labels = 1
    model = AutoModelForMultipleChoice.from_config(config).double().eval()
    task = Choice()
    encoded, _ = task.encode(examples, hf_tokenizer, max_length=100)
    batch = task.batch(encoded, hf_tokenizer)
    assert batch.rows < batch.segments == 2 * len(examples), "the test wants several texts a row"
    ours = task.loss(model, batch, task.prepare(batch, np.random.default_rng(0)))
    plain = []
    for e in encoded:
        # Choices one by one, so that no class sees padding; the loss is over both.
        logits = []
        for part in e.parts():
            inputs = {"input_ids": torch.from_numpy(part.tokens)[None, None]}
            if part.types is not None and family in {"bert", "xlm-roberta", "electra", "albert", "xlnet"}:
                inputs["token_type_ids"] = torch.from_numpy(part.types)[None, None]
            if family == "xlm-roberta":
                places = torch.arange(len(part.tokens)) + hf_tokenizer.pad_token_id + 1
                inputs["position_ids"] = places[None, None]
            logits.append(model(**inputs).logits)
        gold = torch.from_numpy(e.labels)
        plain.append(torch.nn.functional.cross_entropy(torch.cat(logits, dim=1), gold).detach())
    torch.testing.assert_close(ours.each_N, torch.stack(plain), rtol=1e-9, atol=1e-9)
    assert ours.count == task.prepare(batch, np.random.default_rng(0)).count == len(examples)


PLAIN = """
    import json, sys
    import torch
    from transformers import AutoModelForMultipleChoice, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    model = AutoModelForMultipleChoice.from_pretrained(sys.argv[1]).eval()
    with torch.no_grad():
        for text, choices in json.loads(sys.argv[2]):
            inputs = tokenizer([text] * len(choices), choices, return_tensors="pt", padding=True)
            print(json.dumps(model(**{k: v[None] for k, v in inputs.items()}).logits[0].tolist()))
"""


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@pytest.mark.parametrize("prefix", ["", "query: "])
def test_a_tuned_network_chooses_the_same_in_plain_transformers(
    family: str, prefix: str, hf_tokenizer: Any, examples: list[ChoiceExample], tmp_path: Path, plain: Plain
) -> None:
    """Choices of our path against AutoModelForMultipleChoice in a process without us; learnt, and scored."""
    torch.manual_seed(0)
    config = tiny_config(family, vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id,
                         max_position_embeddings=132)  # fmt: skip
    encoder = Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, prefix, 100)
    task = build_task(RECIPE, examples)
    tuned = tune_once(encoder, task, examples, TUNE, seed=0)
    save_tuned(tuned, tmp_path / "tuned")
    again = open_tuned(tmp_path / "tuned")
    encoded, _ = task.encode(examples, again.tokenizer, max_length=128)
    ours = task.predict(again.model, encoded, again.tokenizer)
    rows = json.dumps([(e.text, e.choices) for e in examples])
    theirs = plain(textwrap.dedent(PLAIN), str(tmp_path / "tuned"), rows)
    assert ours == [int(np.argmax(row)) for row in theirs]
    scores = {(s.language, s.metric): s.value for s in evaluate([again], examples)}
    assert scores["en", "accuracy"] > 0.8
    assert task.prediction_file(ours, encoded) == ("tsv", "".join(f"{i}\n" for i in ours))


def test_states_of_frozen_layers_change_nothing(hf_tokenizer: Any, examples: list[ChoiceExample]) -> None:
    """Losses with kept states of two layers against those from the tokens, token types included."""
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=8000, pad_token_id=hf_tokenizer.pad_token_id, types=2)
    model = AutoModelForMultipleChoice.from_config(config).eval()
    task = Choice()
    encoded, _ = task.encode(examples, hf_tokenizer, max_length=100)
    batches = [task.batch(of, hf_tokenizer) for of in (encoded, add_frozen_states(model, hf_tokenizer, encoded, 2))]
    with torch.no_grad():
        losses = [task.loss(model, b, task.prepare(b, np.random.default_rng(0))).each_N for b in batches]
    torch.testing.assert_close(losses[1], losses[0])


def test_rows_of_xcopa(tmp_path: Path) -> None:
    """A row as the data set has it; then what is refused, with its line."""
    row = {"lang": "et", "split": "val", "premise": "Ta komistas.", "choice1": "A.", "choice2": "B.",
           "question": "effect", "label": 1}  # fmt: skip
    path = tmp_path / "copa.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {"split": "test"}) + "\n", encoding="utf-8")
    file = LabelledFile(path=path, split="val")
    (found,) = Choice.read(RECIPE, file)
    assert (found.text, found.choices, found.right, found.lang) == ("Ta komistas. effect", ("A.", "B."), 1, "et")
    assert Choice.taught_with(RECIPE, [found]).settings()["choices"] == 2
    path.write_text(json.dumps(row | {"label": 2}), encoding="utf-8")
    with pytest.raises(LabelError, match=r"label '2'(?s:.*)0 to 1(?s:.*)line 1"):
        Choice.read(RECIPE, file)
    with pytest.raises(DataError, match="no column 'choice3'; did you mean 'choice"):
        Choice.read(RECIPE.model_copy(update={"choices": ("choice1", "choice3")}), file)
    with pytest.raises(RecipeError, match=r"task.choices = \[\]"):
        Choice.read(RECIPE.model_copy(update={"choices": ()}), file)
    with pytest.raises(RecipeError, match="choices in another language"):
        Choice.read(RECIPE, file.model_copy(update={"path_pair": path}))
    with pytest.raises(DataError, match="no example in"):
        Choice.read(RECIPE, file.model_copy(update={"split": "test"}))


def test_columns_under_a_files_own_names(tmp_path: Path) -> None:
    """Text, question, label and a language that the file calls otherwise."""
    path = tmp_path / "x.jsonl"
    row = {"premise": "p", "ask": "why?", "a": "1", "b": "2", "gold": 1, "lang": "et"}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    recipe = TaskRecipe(type="choice", choices=("a", "b"), question="question")
    columns = {"text": "premise", "question": "ask", "label": "gold"}
    (found,) = Choice.read(recipe, LabelledFile.model_validate({"path": path, "columns": columns}))
    assert (found.text, found.lang, found.choices, found.right) == ("p why?", "et", ("1", "2"), 1)


def test_controls(hf_tokenizer: Any, examples: list[ChoiceExample]) -> None:
    """The most frequent place is right half the time here; the text's own n-grams always."""
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    encoder = Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer)
    tune = TUNE.model_copy(update={"epochs": 2})
    found = {s.model: s.value for s in control_scores(Choice(), examples, examples, encoder=encoder, tune=tune)}
    assert found["majority"] == 0.5
    assert found["tfidf"] == 1.0
    assert 0 <= found["random"] <= 1
