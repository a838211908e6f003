"""What is written for a fake language, and the sides of the network that learned it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError, VocabularyError
from interlingua.models.checkpoint import save_checkpoint
from interlingua.models.encoder import load
from interlingua.pretrain import pretrain
from interlingua.probe.fake import fake_sides, write_fake
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_file import load_recipe
from interlingua.text.fake import SHIFT
from interlingua.text.pairs import read_parallel


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def moved(text: str) -> str:
    return "".join(c if c == " " else chr(ord(c) + SHIFT) for c in text)


@pytest.mark.parametrize(("reverse", "apart"), [(False, False), (True, False), (False, True)])
def test_what_is_written(reverse: bool, apart: bool, tiny_texts: dict[str, list[str]], tmp_path: Path) -> None:
    """By hand: every row, its order and which language it is in; the file is one that pretraining reads."""
    texts = [*tiny_texts["en"][:100], "  ", "Two\tparts  here"]
    found = write_fake(texts, "eng", tmp_path, size=400, reverse=reverse, apart=apart)
    rows = rows_of(found.text)
    kept = [*tiny_texts["en"][:100], "Two parts here"]
    assert len(rows) == 101
    assert found.texts == (50 if apart else 101)
    for i, (row, text) in enumerate(zip(rows, kept, strict=True)):
        words = text.split()
        fake = moved(" ".join(reversed(words) if reverse else words))
        real = " ".join(words)
        assert row == {"id": str(i), "eng": "" if apart and i >= 50 else real,
                       "en-x-fake": "" if apart and i < 50 else fake}  # fmt: skip
    assert {lang for one in read_parallel(found.text) for lang in one.texts} == {"en", "en-x-fake"}
    assert 0 <= found.unknown < found.tokens / 50


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 texts"):
        write_fake([" ", ""], "en", tmp_path)
    with pytest.raises(DataError, match=r"1 texts(?s:.*)two at least"):
        write_fake(["one text"], "en", tmp_path, apart=True)
    with pytest.raises(VocabularyError, match="size 2048 asked"):
        write_fake(["too little text"], "en", tmp_path)
    with pytest.raises(DataError, match=r"U\+20000(?s:.*)text 2: the"):
        write_fake(["fine", "the \U00020000"], "en", tmp_path, size=30)


@pytest.mark.parametrize("apart", [{}, {"language_embeddings": True, "separate_positions": True}], ids=["one", "own"])
def test_sides_of_a_network(apart: dict[str, bool], tiny_texts: dict[str, list[str]], tmp_path: Path) -> None:
    """The fake side has the ids of the fake text, its language's token type, and the network with its own parts.

    What was taught in reverse order is asked in reverse order, as the checkpoint says."""
    reverse = bool(apart)
    written = write_fake(tiny_texts["en"], "en", tmp_path / "data", size=400, reverse=reverse)
    model = {"hidden": 32, "layers": 2, "heads": 1, "feed_forward": 64, "positions": 40} | apart
    tree = {"vocab": {"path": str(written.vocab)}, "data": {"parallel": [str(written.text)]}, "model": model,
            "train": {"steps": 2, "batch_tokens": 256, "row_length": 40, "threads": 1}}  # fmt: skip
    result = pretrain(load_recipe(tree, PretrainRecipe), tmp_path / "run")
    texts = [" ".join(text.split()[:6]) for text in tiny_texts["en"][:20]]
    real, fake = fake_sides(tmp_path / "run", texts, "en")
    tokenizer = load(result.checkpoint).tokenizer
    for text, ours, theirs in zip(texts, real.sentences, fake.sentences, strict=True):
        other = " ".join(reversed(text.split())) if reverse else text
        assert ours.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
        assert theirs.tolist() == tokenizer(moved(other), add_special_tokens=False)["input_ids"]
    with pytest.raises(DataError, match=r"a text of 100 tokens(?s:.*)1 to 38"):
        fake_sides(tmp_path / "run", ["the " * 100], "en")
    assert (fake.tokens - real.tokens == 400).all()
    assert len(real.tokens) == 400 - len(tokenizer.all_special_ids)
    assert (real.token_type, fake.token_type) == ((0, 1) if apart else (0, 0))
    same = np.array_equal(*(side.encoder.model.embeddings.position_embeddings.weight.detach() for side in (real, fake)))
    assert same == (not apart)


def test_a_network_that_knows_no_fake_language(hf_tokenizer: Any, tmp_path: Path) -> None:
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    folder = save_checkpoint(tmp_path / "plain", AutoModel.from_config(config), hf_tokenizer)
    with pytest.raises(VocabularyError, match="no fake copy"):
        fake_sides(folder, ["a text"], "en")
