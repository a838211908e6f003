"""Tiny real networks, real tokenizers as transformers open them, and real shards, for the tests of the core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from interlingua.batch import Batch, rows_from_texts
from interlingua.models.checkpoint import open_tokenizer
from interlingua.shards.write import write_shards
from interlingua.text.pairs import Parallel
from interlingua.vocab.train import save_vocabulary

__all__ = [
    "ENCODERS",
    "FAMILIES",
    "dense",
    "exact",
    "hf_tokenizer",
    "one_thread",
    "pack",
    "parallel_items",
    "random_texts",
    "shard_folder",
    "tiny_config",
    "tiny_encoder",
    "tiny_masked_lm",
]

#: Families with a masked LM.
FAMILIES = ("bert", "xlm-roberta", "modernbert", "electra", "albert", "distilbert", "eurobert", "deberta-v2", "xlm")
#: All that the table of architectures knows.
ENCODERS = (*FAMILIES, "xlnet", "gpt2", "bart", "mbart", "t5", "mt5")
#: begin, end, padding, mask of the made-up vocabularies; ids from 5 are ordinary.
BEGIN, END, MASK = 2, 3, 4
PAD = dict.fromkeys(ENCODERS, 0) | {"xlm-roberta": 1}
WINDOW = 8


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads on matrices of width 32 are slower than one."""
    torch.set_num_threads(1)


#: Dropout's names, and what else a class needs beyond width 32.
OWN: dict[str, dict[str, Any]] = {
    "modernbert": {"num_hidden_layers": 4, "local_attention": WINDOW, "cls_token_id": BEGIN, "sep_token_id": END},
    "eurobert": {"num_key_value_heads": 1, "mask_token_id": MASK},
    "electra": {"embedding_size": 24, "initializer_range": 0.3},
    "albert": {"embedding_size": 24, "classifier_dropout_prob": 0.0, "num_hidden_groups": 2},
    "deberta-v2": {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"],
                   "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False},
    "distilbert": {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0},
    "xlm": {"dropout": 0.0, "attention_dropout": 0.0, "summary_first_dropout": 0.0, "init_std": 0.2,
            "embed_init_std": 0.2},
    "xlnet": {"dropout": 0.0, "summary_last_dropout": 0.0},
    "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "bart": {"dropout": 0.0, "init_std": 0.2},
    "mbart": {"dropout": 0.0, "init_std": 0.2},
    "t5": {"dropout_rate": 0.0, "relative_attention_max_distance": 16},
    "mt5": {"dropout_rate": 0.0, "relative_attention_max_distance": 16},
}  # fmt: skip
#: The names of width, depth, heads, inner width and positions where they are not BERT's.
NAMES = {
    "distilbert": ("dim", "n_layers", "n_heads", "hidden_dim", "max_position_embeddings"),
    "xlm": ("emb_dim", "n_layers", "n_heads", None, "max_position_embeddings"),
    "xlnet": ("d_model", "n_layer", "n_head", "d_inner", None),
    "gpt2": ("n_embd", "n_layer", "n_head", "n_inner", "n_positions"),
    "bart": ("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "max_position_embeddings"),
    "mbart": ("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "max_position_embeddings"),
    "t5": ("d_model", "num_layers", "num_heads", "d_ff", None),
    "mt5": ("d_model", "num_layers", "num_heads", "d_ff", None),
}
BERT_NAMES = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings"
)  # fmt: skip


def tiny_config(family: str, *, vocabulary: int = 150, types: int = 1, **changes: Any) -> Any:
    """Return a config of width 32; ModernBERT's window reaches four tokens either side."""
    sizes = zip(NAMES.get(family, BERT_NAMES), (32, 3, 2, 48, 130), strict=True)
    fields = {
        "vocab_size": vocabulary,
        "pad_token_id": PAD[family],
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "initializer_range": 0.2,
    } | {name: size for name, size in sizes if name}
    if family in {"bert", "xlm-roberta", "electra", "albert", "deberta-v2"}:
        fields |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "type_vocab_size": types}
    if family in {"bert", "xlm-roberta", "electra"}:
        fields["classifier_dropout"] = 0.0
    return AutoConfig.for_model(family, **(fields | OWN.get(family, {}) | changes))


def tiny_encoder(family: str, *, seed: int = 0, **changes: Any) -> Any:
    """Return a bare encoder in float64 and evaluation mode."""
    torch.manual_seed(seed)
    return AutoModel.from_config(tiny_config(family, **changes)).double().eval()


def tiny_masked_lm(family: str, *, seed: int = 0, attention: str | None = None, **changes: Any) -> Any:
    """Return a masked LM in float64 and evaluation mode; the same weights for the same seed."""
    torch.manual_seed(seed)
    config = tiny_config(family, **changes)
    return AutoModelForMaskedLM.from_config(config, attn_implementation=attention).double().eval()


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let classes that turn float64 into float32 on the way (XLM, T5, EuroBERT, XLNet) stay in float64."""
    to_float, to_type = torch.Tensor.float, torch.Tensor.to

    def keep(tensor: torch.Tensor, *args: Any, **more: Any) -> torch.Tensor:
        return tensor if tensor.dtype == torch.double else to_float(tensor, *args, **more)

    def keep_too(tensor: torch.Tensor, *args: Any, **more: Any) -> torch.Tensor:
        down = tensor.dtype == torch.double and (args[:1] == (torch.float32,) or more.get("dtype") == torch.float32)
        return tensor if down else to_type(tensor, *args, **more)

    monkeypatch.setattr(torch.Tensor, "float", keep)
    monkeypatch.setattr(torch.Tensor, "to", keep_too)


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
