"""Repair of characters: known damage, and properties of whatever comes out."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.prepare.clean import Cleaner
from interlingua.recipe_corpus import CleanRecipe

CLEAN = Cleaner(CleanRecipe())


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("schÃ¶n und groÃŸ", "schön und groß"),
        ("â€œquotedâ€\x9d text, itâ€™s", "“quoted” text, it’s"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚, Ð¼Ð¸Ñ€", "Привет, мир"),
        ("cafe\u0301", "café"),
        ("a&amp;b &lt;tag&gt; &#233;", "a&b <tag> é"),
        ("twice &amp;quot;escaped&amp;quot;", 'twice "escaped"'),
        ("soft\u00adhyphen\ufeff and\x00 nul\x07", "softhyphen and nul"),
        ("  two   spaces \u00a0 and\ta tab ", "two spaces and a tab"),
        ("one\r\ntwo\u2028three\n\n\n\nfour", "one\ntwo\nthree\n\nfour"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a joiner that Persian needs
        ("\u200b \n ", ""),
    ],
)
def test_known_damage(broken: str, whole: str) -> None:
    assert CLEAN(broken) == whole


@given(
    st.sampled_from(["größer als früher", "où êtes-vous allé", "niño pequeño", "Привет всем людям", "日本語の文章です"])
)
def test_wrong_decoding_is_undone(text: str) -> None:
    # Oracle: the damage is made by Python's own codecs.
    try:
        broken = text.encode("utf-8").decode("cp1252")
    except UnicodeDecodeError:
        return  # a byte that Windows-1252 does not have
    assert CLEAN(broken) == text


@given(st.text(max_size=200))
def test_what_comes_out_is_clean(text: str) -> None:
    # Oracle: unicodedata and str methods.
    found = Cleaner(CleanRecipe(repair=False))(text)
    assert unicodedata.is_normalized("NFC", found)
    assert found == found.strip(" \n")
    assert "  " not in found
    assert "\n\n\n" not in found
    assert " \n" not in found
    assert not any(unicodedata.category(c) in ("Cc", "Cs") and c != "\n" for c in found)


@given(st.text(max_size=200))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    clean = Cleaner(CleanRecipe(entities=False, repair=False))
    assert clean(clean(text)) == clean(text)


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1).filter(lambda t: "&" not in t))
def test_what_is_clean_stays(text: str) -> None:
    assert CLEAN(text) == text


@given(st.text(alphabet="ab \n\t\r", max_size=60))
def test_one_line_of_every_text(text: str) -> None:
    # Oracle: split and join.
    assert Cleaner(CleanRecipe(join_lines=True))(text) == re.sub(r"\s+", " ", text).strip()
