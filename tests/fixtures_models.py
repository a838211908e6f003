"""Tiny real networks, real tokenizers as transformers open them, and real shards, for the tests of the core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, BertConfig, ModernBertConfig, XLMRobertaConfig

from interlingua.batch import Batch, rows_from_texts
from interlingua.models.checkpoint import open_tokenizer
from interlingua.shards.write import write_shards
from interlingua.text.pairs import Parallel
from interlingua.vocab.train import save_vocabulary

__all__ = [
    "FAMILIES",
    "dense",
    "hf_tokenizer",
    "one_thread",
    "pack",
    "parallel_items",
    "random_texts",
    "shard_folder",
    "tiny_config",
    "tiny_masked_lm",
]

FAMILIES = ("bert", "xlm-roberta", "modernbert")
#: begin, end, padding, mask of the made-up vocabularies; ids from 5 are ordinary.
BEGIN, END, MASK = 2, 3, 4
PAD = {"bert": 0, "xlm-roberta": 1, "modernbert": 0}
WINDOW = 8


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads on matrices of width 32 are slower than one."""
    torch.set_num_threads(1)


def tiny_config(family: str, *, vocabulary: int = 150, types: int = 1, **changes: Any) -> Any:
    """Return a config of width 32; ModernBERT's window reaches four tokens either side."""
    common = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": 4 if family == "modernbert" else 3,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "pad_token_id": PAD[family],
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "initializer_range": 0.2,
    } | changes
    if family == "modernbert":
        sizes = {"max_position_embeddings": 128, "local_attention": WINDOW}
        return ModernBertConfig(**(sizes | common), cls_token_id=BEGIN, sep_token_id=END)
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
    cls = BertConfig if family == "bert" else XLMRobertaConfig
    return cls(**(no_dropout | {"max_position_embeddings": 130} | common), type_vocab_size=types)


def tiny_masked_lm(family: str, *, seed: int = 0, attention: str = "sdpa", **changes: Any) -> Any:
    """Return a masked LM in float64 and evaluation mode; the same weights for the same seed."""
    torch.manual_seed(seed)
    config = tiny_config(family, **changes)
    return AutoModelForMaskedLM.from_config(config, attn_implementation=attention).double().eval()


def random_texts(
    seed: int, count: int, *, shortest: int = 3, longest: int = 40, vocabulary: int = 150
) -> list[np.ndarray]:
    """Return texts of random ids between a begin and an end token."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(shortest, longest + 1, size=count)
    return [np.array([BEGIN, *generator.integers(5, vocabulary, size=n - 2), END]) for n in lengths]


def pack(texts: list[np.ndarray], family: str, *, row_length: int = 64, **more: Any) -> Batch:
    """Return the texts as a packed batch."""
    pad = PAD[family]
    specials = np.array([pad, BEGIN, END, MASK])
    return rows_from_texts(texts, pad_id=pad, row_length=row_length, special_ids=specials, **more)


def dense(batch: Batch, values_BL: torch.Tensor, fill: int) -> torch.Tensor:
    """Return values of a packed batch with one text a row, padded: [S, longest text]."""
    rows = [values_BL[batch.segments_BL == s] for s in range(1, batch.segments + 1)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)


@pytest.fixture(scope="session")
def hf_tokenizer(bpe_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """BPE with byte fallback, as transformers open it."""
    return open_tokenizer(save_vocabulary(bpe_tokenizer, tmp_path_factory.mktemp("vocab")))


@pytest.fixture(scope="session")
def parallel_items(tiny_parallel: dict[str, dict[str, str]]) -> list[Parallel]:
    """The 150 verses as translation groups of twelve languages."""
    return [Parallel(name, dict(texts)) for name, texts in tiny_parallel.items()]


@pytest.fixture(scope="session")
def shard_folder(parallel_items: list[Parallel], hf_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of the verses, six files, a tenth held out."""
    folder = tmp_path_factory.mktemp("shards")
    languages = sorted(parallel_items[0].texts)
    write_shards(folder, parallel_items, hf_tokenizer, languages, held_out=0.1, block=25)
    return folder
