"""Texts that people would keep or drop, in several scripts; counts against plain Python."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.prepare.letters import LETTER, SPACE, Letters
from interlingua.prepare.quality import Judge
from interlingua.recipe_corpus import QualityRecipe

GOOD = {
    "en": "The river was high, and nobody crossed it before the morning came.",
    "zh": "昨天下了大雨，河水上涨了很多。",
    "th": "เมื่อวานฝนตกหนักมากจนน้ำในแม่น้ำสูงขึ้น",
    "hi": "कल बहुत तेज़ बारिश हुई और नदी का पानी बढ़ गया।",
    "ar": "هطل المطر بغزارة أمس وارتفع ماء النهر كثيرا.",
    "und": "Something written in a tongue that nobody named.",
}
MENU = "Home\nAbout us\nProducts\nContact\nLog in\nSign up\nPrivacy\nImprint and more"


def judged(text: str, lang: str, **settings: object) -> str:
    return Judge(QualityRecipe.model_validate(settings))([text], [lang], Letters([text]))[0]


@pytest.mark.parametrize("lang", GOOD)
def test_good_texts_stay(lang: str) -> None:
    assert judged(GOOD[lang], lang) == ""


@pytest.mark.parametrize(
    ("text", "lang", "reason"),
    [
        ("Too short.", "en", "short"),
        ("大雨。", "zh", "short"),
        ("word " * 300_000, "en", "long"),
        ("=== 12:30 --- 14:45 *** 22 / 33 / 44 === +++", "en", "symbols"),
        (GOOD["en"], "ru", "script"),
        (GOOD["hi"], "zh", "script"),
        ("buy this thing right now " * 20, "en", "repetition"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "en", "repetition"),
        ("Lorem Ipsum dolor sit amet, consectetur adipiscing elit.", "en", "boilerplate"),
        (MENU, "en", "boilerplate"),
        ("首页\n关于我们\n产品中心\n联系我们\n登录注册", "zh", "boilerplate"),
    ],
)
def test_bad_texts_go(text: str, lang: str, reason: str) -> None:
    assert judged(text, lang) == reason


def test_limits_follow_the_script() -> None:
    # Ten characters are enough in Chinese, not in English; a recipe may say otherwise.
    assert judged("河水上涨了很多很多。", "zh") == ""
    assert judged("河水上涨了很多很多。", "zh", scripts={"Hans": {"min_characters": 30}}) == "short"


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_points_are_counted_as_python_counts_them(texts: list[str]) -> None:
    # Oracle: unicodedata, character by character.
    letters = Letters(texts)
    expected = [sum(unicodedata.category(c)[0] in "LM" for c in text) for text in texts]
    assert letters.sums(letters.kind == LETTER).tolist() == expected
    # One line end behind each text.
    spaces = [sum(unicodedata.category(c)[0] == "Z" or c in "\t\n\v\f\r\x85" for c in text) + 1 for text in texts]
    assert letters.sums(letters.kind == SPACE).tolist() == spaces


@given(st.lists(st.sampled_from([*GOOD.values(), MENU, "x", "a b " * 30]), min_size=1, max_size=12))
def test_a_verdict_does_not_depend_on_the_batch(texts: list[str]) -> None:
    judge = Judge(QualityRecipe())
    alone = [judge([text], ["en"], Letters([text]))[0] for text in texts]
    assert judge(texts, ["en"] * len(texts), Letters(texts)) == alone


def test_no_text_at_all() -> None:
    assert Judge(QualityRecipe())([], [], Letters([])) == []
    assert np.array_equal(Letters([]).sums(np.zeros(0)), np.zeros(0))
