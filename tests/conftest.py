"""Shared fixtures: a small real corpus and four kinds of real tiny tokenizers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from interlingua.vocab.train import train_vocabulary

VERSES = Path(__file__).parent / "data" / "verses.tsv"


@pytest.fixture(scope="session")
def tiny_parallel() -> dict[str, dict[str, str]]:
    """Return verse id -> language -> text: Matthew 1.1 to 6.12 in twelve public-domain translations."""
    with VERSES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return {row.pop("id"): row for row in rows}


@pytest.fixture(scope="session")
def tiny_texts(tiny_parallel: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """Return language -> 150 sentences."""
    languages = next(iter(tiny_parallel.values()))
    return {lang: [texts[lang] for texts in tiny_parallel.values()] for lang in languages}


@pytest.fixture(scope="session")
def wordpiece_tokenizer(tiny_texts: dict[str, list[str]]) -> Tokenizer:
    """BERT's kind: ``##`` continues a word."""
    return train_vocabulary(tiny_texts, kind="wordpiece", size=3000)


@pytest.fixture(scope="session")
def unigram_tokenizer(tiny_texts: dict[str, list[str]]) -> Tokenizer:
    """XLM-R's kind, with byte fallback."""
    return train_vocabulary(tiny_texts, kind="unigram", size=3000)


@pytest.fixture(scope="session")
def unigram_nosplit_tokenizer(tiny_texts: dict[str, list[str]]) -> Tokenizer:
    """Unigram without a split at spaces: a token may hold parts of several words (T5-like, character models)."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    specials = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=2000, special_tokens=specials, unk_token="<unk>", show_progress=False, max_piece_length=8
    )
    tokenizer.train_from_iterator([text for texts in tiny_texts.values() for text in texts[:40]], trainer)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always", split=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer


@pytest.fixture(scope="session")
def byte_bpe_tokenizer(tiny_texts: dict[str, list[str]]) -> Tokenizer:
    """GPT-2's kind: BPE over bytes."""
    return train_vocabulary(tiny_texts, kind="byte-bpe", size=2000)


@pytest.fixture(scope="session")
def bpe_tokenizer(tiny_texts: dict[str, list[str]]) -> Tokenizer:
    """The default: BPE over characters with byte fallback."""
    return train_vocabulary(tiny_texts, kind="bpe", size=3000)
