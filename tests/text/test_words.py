"""text/words.py and text/segment.py against budoux, against UAX #29 of the regex package, and by hand."""

from __future__ import annotations

import itertools
import unicodedata

import budoux
import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.errors import LanguageError
from interlingua.text.segment import phrase_model
from interlingua.text.words import code_points, word_starts, word_starts_batch, words

PARSERS = {
    "ja": budoux.load_default_japanese_parser,
    "zh-hans": budoux.load_default_simplified_chinese_parser,
    "zh-hant": budoux.load_default_traditional_chinese_parser,
    "th": budoux.load_default_thai_parser,
}
CHINESE = [
    "耶稣基督的家谱，亚伯拉罕的后裔。", "今天天气很好，我们去公园散步吧。", "這是一個用來測試的繁體中文句子。",
    "请在2024年3月之前提交Python代码。", "他们在北京大学学习计算机科学。", "人人生而自由，在尊嚴和權利上一律平等。",
]  # fmt: skip
THAI = [
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน", "วันนี้อากาศดีมาก เราไปเดินเล่นกันเถอะ", "ฉันเรียนภาษาไทยมา3ปีแล้ว",
    "ทดสอบ Python 3.11 ภาษาไทย", "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
]  # fmt: skip
ALPHABETS = (
    "abcé", "абв", "αβγ", "אבג", "عربي", "हिन्दी", "বাংলা", "தமிழ்", "ไทยที่", "ລາວ", "မြန်မာ", "ខ្មែរ", "中文字",
    "ひらカナ", "한국어", "አማርኛ", "ქართ", "Հայ", "བོད་", "සිංහල", "0123٣४", " \t\n\u00a0\u200b", "'’-.,!?。、「」–…",
    "\u0301\u200d\ufe0f\u00ad", "😀👍🏽₤+", "\x00\ue000\U0001f468\U00020000",
)  # fmt: skip
RANDOM_TEXT = st.text(st.sampled_from("".join(ALPHABETS)), max_size=60)
LANGUAGES = st.sampled_from(["en", "ar", "hi", "ko", "zh", "zh-Hant", "ja", "th", "km", "my", "lo", "bo"])


def phrases(model: str, texts: list[str]) -> list[list[str]]:
    codes, firsts = code_points(texts)
    found = phrase_model(model).boundaries(codes)
    cut = []
    for first, text in zip(firsts.tolist(), texts, strict=True):
        own = found[first : first + len(text)].copy()
        own[:1] = True
        starts = [*np.flatnonzero(own).tolist(), len(text)]
        cut.append([text[a:b] for a, b in itertools.pairwise(starts)])
    return cut


@pytest.mark.parametrize("model", PARSERS)
def test_phrases_equal_budoux(model: str, tiny_texts) -> None:
    """The vectorised models against budoux.Parser.parse on real sentences, in one batch."""
    texts = [*tiny_texts["ja"][:60], *CHINESE, *THAI, *tiny_texts["en"][:3], "", "。", "あい"]
    parser = PARSERS[model]()
    assert phrases(model, texts) == [parser.parse(text) for text in texts]


@given(
    st.sampled_from(sorted(PARSERS)),
    st.lists(st.text(st.sampled_from("あの日本語今天的ไทยที่ก，。a1 "), max_size=12), min_size=1),
)
@settings(max_examples=80, deadline=None)
def test_phrases_equal_budoux_on_any_text(model: str, texts: list[str]) -> None:
    """The vectorised models against budoux.Parser.parse on short random texts: nothing leaks between texts."""
    parser = PARSERS[model]()
    assert phrases(model, texts) == [parser.parse(text) for text in texts]


@pytest.mark.parametrize("lang", ["en", "fr", "es", "ru", "ko", "vi", "el", "fi", "hu"])
def test_spaced_words_follow_uax29(lang: str, tiny_texts) -> None:
    """Words of verses without hyphens against the Unicode word boundaries of the regex package."""
    for text in tiny_texts[lang]:
        if any(mark in text for mark in "-‐‑’'·:"):
            continue
        oracle = [part for part in regex.split(r"(?w)\b", text, flags=regex.V1) if part.strip()]
        oracle = [piece for part in oracle for piece in (part if not part[0].isalnum() else [part])]
        assert words(text, lang) == [piece for piece in oracle if piece.strip()]


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        ("en", "Don't stop—it's a well-known 'fact'.",
         ["Don't", "stop", "—", "it's", "a", "well-known", "'", "fact", "'", "."]),
        ("en", "3.14, 1,000 and covid19.", ["3.14", ",", "1,000", "and", "covid19", "."]),
        ("en", "a - b -c d-", ["a", "-", "b", "-", "c", "d", "-"]),
        ("fr", "l’été à 20h", ["l’été", "à", "20h"]),
        ("ca", "col·legi", ["col·legi"]),
        ("he", "צה״ל", ["צה״ל"]),
        ("vi", "e\u0302\u0301 a\u0300", ["e\u0302\u0301", "a\u0300"]),
        ("hi", "हिन्दी में।", ["हिन्दी", "में", "।"]),
        ("fa", "می\u200cخواهم کتاب", ["می\u200cخواهم", "کتاب"]),
        ("zh", "使用Python3.11编写，hello world。",
         ["使用", "Python3.11", "编写", "，", "hello", "world", "。"]),
        ("th", "ทดสอบ Python 3", ["ทดสอบ", "Python", "3"]),
        ("km", "ភាសាខ្មែរ Python២ ល។", ["ភាសាខ្មែរ", "Python", "២", "ល", "។"]),
        ("my", "အာဗြဟံသား ဣဇာတ်။", ["အာဗြဟံသား", "ဣဇာတ်", "။"]),
        ("en", "👩\u200d👍🏽!", ["👩\u200d", "👍🏽", "!"]),
        ("en", " \u0301a", ["a"]),
        ("en", "", []),
    ],
)  # fmt: skip
def test_words_by_hand(lang: str, text: str, expected: list[str]) -> None:
    """The rule of the module's docstring, example by example."""
    assert words(text, lang) == expected


@given(RANDOM_TEXT, LANGUAGES)
@settings(max_examples=300, deadline=None)
def test_rules_hold_for_any_text(text: str, lang: str) -> None:
    """No start on white space or marks, a start on every lone punctuation mark, every visible letter in a word."""
    starts = word_starts(text, lang)
    assert starts.shape == (len(text),)
    before = " "
    for character, start in zip(text, starts.tolist(), strict=True):
        category = unicodedata.category(character)
        if category[0] in "ZM" or category in ("Cc", "Cf") or character in "🏽":
            assert not start
        if character in "!?。、「」–…+₤😀":
            assert start
        if category[0] in "LN" and (before.isspace() or before in "!?。、「」\x00"):
            assert start
        before = character if category[0] not in "M" and category != "Cf" else before
    joined = "".join(words(text, lang))
    visible = [c for c in text if unicodedata.category(c)[0] not in "ZMC" and c != "🏽"]
    assert [c for c in joined if unicodedata.category(c)[0] not in "ZMC" and c != "🏽"] == visible


@given(st.lists(RANDOM_TEXT, max_size=6), LANGUAGES)
@settings(max_examples=100, deadline=None)
def test_a_batch_is_its_texts(texts: list[str], lang: str) -> None:
    """Neighbours in a batch change nothing."""
    batch = word_starts_batch(texts, lang)
    for text, starts in zip(texts, batch, strict=True):
        assert starts.tolist() == word_starts(text, lang).tolist()


def test_lone_surrogates_do_not_break_it() -> None:
    """Half a UTF-16 pair, as broken JSON delivers it, is a symbol."""
    assert words("a \ud83d b", "en") == ["a", "\ud83d", "b"]


def test_unknown_language() -> None:
    """An unknown tag is an error that names it."""
    with pytest.raises(LanguageError, match="'xx'"):
        word_starts("a", "xx")
