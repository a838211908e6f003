"""Checkpoints of tiny encoders over a Unigram vocabulary, and translators made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.fixtures_models import tiny_config
from transformers import AutoModel, PreTrainedTokenizerFast

from interlingua.models.checkpoint import open_tokenizer, save_checkpoint
from interlingua.models.translator import add_languages, pair_encoders, tie_sides
from interlingua.vocab.train import save_vocabulary

__all__ = ["encoder_folder", "make_encoder", "one_thread_each", "translator", "unigram"]


@pytest.fixture(scope="session", autouse=True)
def one_thread_each() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def unigram(unigram_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    """XLM-R's kind, as transformers open it."""
    return open_tokenizer(save_vocabulary(unigram_tokenizer, tmp_path_factory.mktemp("unigram")))


def make_encoder(folder: Path, tokenizer: Any, family: str = "bert", **changes: Any) -> Path:
    """Save a random encoder of width 32 and 3 layers."""
    torch.manual_seed(1)
    fields = {"vocabulary": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "initializer_range": 0.05}
    return save_checkpoint(folder, AutoModel.from_config(tiny_config(family, **(fields | changes))), tokenizer)


@pytest.fixture(scope="session")
def encoder_folder(unigram: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT over the Unigram vocabulary."""
    return make_encoder(tmp_path_factory.mktemp("encoder"), unigram)


def translator(folder: Path, *, share: str = "embeddings", layers: int | None = None, spread: float = 0.3) -> Any:
    """A network and its tokenizer, in float64; weights far enough apart that what is written differs."""
    model, tokenizer = pair_encoders(folder, folder, seed=0, decoder_layers=layers)
    add_languages(model, tokenizer, ["de", "en", "fi"])
    tie_sides(model, share)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=spread)
    return model.double().eval(), tokenizer
