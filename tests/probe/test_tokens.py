"""Vectors of tokens of several languages in one space: copies of a language must find their originals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from interlingua.data import resolve
from interlingua.errors import DataError, LanguageError
from interlingua.models.checkpoint import open_tokenizer
from interlingua.probe.fake import write_fake
from interlingua.probe.tokens import token_vectors
from interlingua.text.fake import fake_text
from interlingua.text.pairs import read_parallel


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[str]]:
    """A doubled vocabulary and the text it is of: 1,200 verses."""
    verses = read_parallel(resolve("package:bible.tsv.zst"))
    texts = list(itertools.islice((row.texts["en"] for row in verses if "en" in row.texts), 1200))
    folder = tmp_path_factory.mktemp("fake")
    write_fake(texts, "en", folder, size=300)
    return open_tokenizer(folder / "vocab"), texts


def test_a_copy_finds_its_original(english: tuple[Any, list[str]]) -> None:
    """Token i + 300 is the copy of token i; the vectors are learned from two random states."""
    tokenizer, texts = english
    both = [(lang, change(text)) for lang, change in (("en", str), ("en-x-fake", fake_text)) for text in texts]
    said: list[str] = []
    found = token_vectors(tokenizer, both, width=32, epochs=10, say=said.append)
    assert found.languages == ("en", "en-x-fake")
    assert len(said) == 2
    assert "en-x-fake: vectors of" in said[1]
    special = sorted(set(tokenizer.all_special_ids))
    ids = {one for text in texts for one in tokenizer(text, add_special_tokens=False)["input_ids"]} - {*special}
    there = sorted(ids)
    assert sorted(np.flatnonzero(found.occurs[:, 0])) == there
    assert sorted(np.flatnonzero(found.occurs[:, 1])) == [one + 300 for one in there]
    absent = ~found.occurs.any(axis=1)
    assert np.isnan(found.vectors[absent]).all()
    assert absent[special].all()
    np.testing.assert_allclose(np.linalg.norm(found.vectors[~absent], axis=1), 1, atol=1e-5)
    counted = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    assert found.tokens == {"en": counted, "en-x-fake": counted}
    # Chance is 1 in 250.
    near = found.neighbours(3)
    assert np.mean([near[one, 0] == one + 300 for one in there]) > 0.5
    cosines = found.vectors[there] @ found.vectors[there].T
    own = np.einsum("nd,nd->n", found.vectors[there], found.vectors[np.array(there) + 300])
    assert own.mean() > cosines.mean() + 0.3
    assert (near[absent] == -1).all()


def test_a_token_of_two_languages_gets_the_mean_of_its_vectors(english: tuple[Any, list[str]]) -> None:
    """The same text under two tags: all tokens are common, so that none has a neighbour in another language."""
    tokenizer, texts = english
    found = token_vectors(
        tokenizer, [*(("en", t) for t in texts), *(("de", t) for t in texts)], width=16, how="glove", epochs=1
    )
    assert (found.occurs[:, 0] == found.occurs[:, 1]).all()
    assert (found.neighbours(2) == -1).all()
    there = found.occurs[:, 0]
    np.testing.assert_allclose(np.linalg.norm(found.vectors[there], axis=1), 1, atol=1e-5)


def test_what_has_no_vectors(english: tuple[Any, list[str]]) -> None:
    tokenizer, texts = english
    with pytest.raises(LanguageError, match="texts in en"):
        token_vectors(tokenizer, [("en", text) for text in texts], width=16)
    with pytest.raises(LanguageError, match="texts in no language"):
        token_vectors(tokenizer, [], width=16)
    with pytest.raises(DataError, match=r"words(?s:.*)at least 16"):
        token_vectors(tokenizer, [*(("en", text) for text in texts), ("de", "In the")], width=16, epochs=1)
