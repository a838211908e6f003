"""Fixtures of tiny networks, shards and vocabularies."""

import pytest
from tests.fixtures_models import *  # noqa: F403
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def number_tokenizer() -> PreTrainedTokenizerFast:
    """A vocabulary whose words are their ids: w5, w6, ..., w999."""
    words = {name: i for i, name in enumerate(["<pad>", "<s>", "</s>", "<unk>", "<mask>"])}
    words |= {f"w{i}": i for i in range(5, 1000)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", mask_token="<mask>")
