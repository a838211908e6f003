"""Fake languages: another letter for every letter, and back."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.errors import DataError, LanguageError
from interlingua.languages import canonical, language
from interlingua.text.fake import fake_tag, fake_text, real_text

TEXT = st.text(st.characters(max_codepoint=0x1FFFF, exclude_categories=["Cs", "Co"]))


@given(TEXT)
def test_no_character_is_shared_and_none_is_lost(text: str) -> None:
    """All but white space is of private use; normal forms leave it alone; the way back gives the text."""
    fake = fake_text(text)
    text = unicodedata.normalize("NFKC", text)
    assert len(fake) == len(text)
    assert all(
        a == b if a.isspace() else unicodedata.category(b) in {"Co", "Cn"} for a, b in zip(text, fake, strict=True)
    )
    assert unicodedata.normalize("NFKC", fake) == fake
    assert real_text(fake) == text


def test_words_in_reverse() -> None:
    assert real_text(fake_text("In the  beginning, God", reverse=True)) == "God beginning, the In"
    assert [ord(c) for c in fake_text("A b")] == [0xF0041, 0x20, 0xF0062]


@pytest.mark.parametrize("text", ["a \U00020000 b", fake_text("twice")])
def test_characters_without_room(text: str) -> None:
    with pytest.raises(DataError, match=r"character U\+(20000|F0074)(?s:.*)U\+1FFFF"):
        fake_text(text)
    with pytest.raises(DataError, match=r"where: *text 7"):
        fake_text(text, where="text 7")


def test_tags_of_private_use() -> None:
    """BCP 47: what stands behind x is kept, in lower case; the rest is the language's own."""
    assert fake_tag("eng_Latn") == "en-x-fake"
    assert canonical("zho-Hant-x-A1_b") == "zh-Hant-x-a1-b"
    assert canonical(canonical("en-X-Fake")) == "en-x-fake"
    assert language("en-x-fake").family == language("en").family
    assert language("en-x-fake").name == "English (fake)"
    for wrong in ("en-x", "x-fake", "en-x-", "en-x-muchtoolong", "qq-x-fake"):
        with pytest.raises(LanguageError, match="unknown"):
            canonical(wrong)
