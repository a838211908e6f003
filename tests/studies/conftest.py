"""A tiny masked LM of twelve layers, and a folder of data like the real one, whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.fixtures_models import *  # noqa: F403
from tests.fixtures_models import tiny_config
from transformers import AutoModelForMaskedLM

from interlingua.models.checkpoint import save_checkpoint

#: Copies of the English text: what they say is known without a model.
COPIES = ("de", "fr")


@pytest.fixture(scope="session")
def tiny_model(hf_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of twelve layers of width 32 with a masked LM's head."""
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), num_hidden_layers=12, max_position_embeddings=200)
    model = AutoModelForMaskedLM.from_config(config)
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny", model, hf_tokenizer)


def _write(path: Path, header: str, rows: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def data(tiny_texts: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files where the studies look for them, though not compressed: German and French are copies of English."""
    root = tmp_path_factory.mktemp("data")
    texts = tiny_texts | dict.fromkeys(COPIES, tiny_texts["en"])
    english = list(dict.fromkeys(texts["en"]))
    _write(root / "flores.tsv", "lang\tid\ttext",
           [f"{lang}\t{i}\t{own[texts['en'].index(text)]}" for lang, own in texts.items()
            for i, text in enumerate(english)])  # fmt: skip
    for lang, own in texts.items():
        _write(root / f"bible.{lang}.tsv", "verse_id\ttext", [f"Matt.1.{i}\t{text}" for i, text in enumerate(own)])
    known = sorted({word for text in english for word in text.lower().split() if word.isalpha()})
    same = [f"en-{lang}\t{i}\t{word}\t{word}" for lang in texts if lang != "en" for i, word in enumerate(known)]
    _write(root / "muse.tsv", "pair\tsrc_rank\tsrc\ttgt", same)
    gold = []
    for pair in ("en-fr", "ro-en"):
        for text in english[:60]:
            count = len(text.split())
            # Romanian is the English sentence backwards, which no reading of states by order would get right.
            words = text.split() if pair == "en-fr" else text.split()[::-1]
            links = " ".join(f"{i}-{i if pair == 'en-fr' else count - 1 - i}" for i in range(count))
            gold.append(f"{pair}\tgold\t{text}\t{' '.join(words)}\t{links}\t")
    _write(root / "gold.tsv", "pair\tsplit\tsrc_tokens\ttgt_tokens\tsure\tpossible", gold)
    topics = [
        f"{lang}\t{'train' if i % 3 else 'test'}\t{i}\t{'even' if i % 2 else 'odd'}\t{text}"
        for lang, own in texts.items()
        for i, text in enumerate(own[:60])
        if lang == "en" or i % 3 == 0
    ]
    _write(root / "topics.tsv", "lang\tsplit\tid\tlabel\ttext", topics)
    return root
