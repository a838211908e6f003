"""languages.py against tags used by public data sets, Unicode's own facts, and hand-computed shares."""

from __future__ import annotations

import itertools
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.errors import LanguageError
from interlingua.languages import canonical, known, language, smoothed

CANONICAL = {
    "zh": "zh", "zho": "zh", "chi": "zh", "cmn": "zh", "zh-Hant": "zh-Hant", "zho_Hant": "zh-Hant", "zho_Hans": "zh",
    "ZH_hant_TW": "zh-Hant", "zh-TW": "zh-Hant", "zho-CN": "zh", "zh-HK": "zh-Hant", "eng-Latn": "en", "eng_Latn": "en",
    "en-US": "en", "pt_BR": "pt", "es_LA": "es", "es-419": "es", "arb_Arab": "ar", "npi_Deva": "ne",
    "swh_Latn": "sw", "lvs": "lv", "zsm": "ms", "plt": "mg", "azj": "az", "uzn": "uz", "nob": "nb", "no": "nb",
    "pes": "fa", "fil": "tl", "srp-Cyrl": "sr", "sr-Latn": "sr-Latn", "ger": "de", "iw": "he", "yue": "yue",
    "pa-Arab": "pa-Arab", "DE": "de", "hi-Latn": "hi-Latn", "kor_Hang": "ko", "jpn_Hira": "ja", "ca-valencia": "ca",
}  # fmt: skip

# Languages of multilingual BERT (google-research/bert, multilingual.md) and of XLM-R (Conneau et al. 2020, table 6).
MBERT = re.findall(
    r"\S+",
    """
    af sq ar an hy ast az ba eu bar be bn bpy bs br bg my ca ceb ce zh zh-Hant cv hr cs da nl en et fi fr gl ka de
    el gu ht he hi hu is io id ga it ja jv kn kk ky ko la lv lt lmo nds lb mk mg ms ml mr min mn ne new nb nn oc
    fa pms pl pt pa ro ru sco sr scn sk sl azb es su sw sv tl tg ta tt te th tr uk ur uz vi vo war cy fy pnb yo sh
    """,
)
XLMR = re.findall(
    r"\S+",
    """
    af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr hu hy id is
    it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps pt ro ru sa sd si sk sl
    so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh
    """,
)


@pytest.mark.parametrize(("tag", "code"), CANONICAL.items())
def test_canonical_tags(tag: str, code: str) -> None:
    """Tags of FLORES, NTREX, TICO, Tatoeba and locales against hand-written BCP-47."""
    assert canonical(tag) == code


@pytest.mark.parametrize("tag", [*MBERT, *XLMR])
def test_pretrained_models_languages_are_known(tag: str) -> None:
    """Every language of mBERT and XLM-R is in the table."""
    assert language(tag).name


@pytest.mark.parametrize("entry", known(), ids=lambda entry: entry.code)
def test_rows_agree_with_unicode(entry) -> None:
    """Each autonym is NFC and written in the row's script and direction, by Unicode's names and bidi classes."""
    assert unicodedata.is_normalized("NFC", entry.autonym)
    letters = [c for c in entry.autonym if unicodedata.category(c)[0] == "L"]
    names = {"Latn": "LATIN", "Cyrl": "CYRILLIC", "Arab": "ARABIC", "Deva": "DEVANAGARI", "Beng": "BENGALI",
             "Hebr": "HEBREW", "Hans": "CJK", "Hant": "CJK", "Jpan": "CJK", "Kore": "HANGUL", "Grek": "GREEK",
             "Thai": "THAI", "Laoo": "LAO", "Mymr": "MYANMAR", "Khmr": "KHMER", "Ethi": "ETHIOPIC", "Tibt": "TIBETAN",
             "Geor": "GEORGIAN", "Armn": "ARMENIAN", "Gujr": "GUJARATI", "Guru": "GURMUKHI", "Knda": "KANNADA",
             "Mlym": "MALAYALAM", "Orya": "ORIYA", "Sinh": "SINHALA", "Taml": "TAMIL", "Telu": "TELUGU"}  # fmt: skip
    foreign = [c for c in letters if not unicodedata.name(c).startswith((names[entry.script], "MODIFIER"))]
    assert not foreign
    rtl = any(unicodedata.bidirectional(c) in ("R", "AL") for c in letters)
    assert entry.direction == ("rtl" if rtl else "ltr")
    assert entry.script == entry.scripts[0]


def test_codes_and_aliases_are_unique() -> None:
    """No code, ISO 639-3 code or alias leads to two languages."""
    owner: dict[str, str] = {}
    for entry in known():
        for tag in {entry.code, entry.iso3, *entry.aliases}:
            assert owner.setdefault(tag, entry.code) == entry.code


def test_script_changes_the_entry() -> None:
    """Another script brings its own direction and name, and keeps the rest."""
    kurdish = language("kur_Arab")
    assert (kurdish.code, kurdish.direction, kurdish.family) == ("ku-Arab", "rtl", "Indo-European")
    assert language("ku").direction == "ltr"
    assert language("zho_Hant").autonym == "繁體中文"


@pytest.mark.parametrize(
    ("name", "tag"), [("arabic", "ar"), ("Deutsch", "de"), ("日本語", "ja"), ("Old English", "ang")]
)
def test_names_are_tags_too(name: str, tag: str) -> None:
    """As data sets name languages: in English or in themselves."""
    assert canonical(name) == tag


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("enn", "'en'"),
        ("Swahilli", "'sw' (swahili)"),
        ("deutsh", "'de' (deutsch)"),
        ("zh-Hannt", "'zh-Hant'"),
        ("", None),
    ],
)
def test_unknown_tags(tag: str, hint: str | None) -> None:
    """An unknown tag names itself and the nearest known tag or name."""
    with pytest.raises(LanguageError) as caught:
        language(tag)
    assert repr(tag) in caught.value.found
    assert hint is None or hint in caught.value.found


def test_unknown_script() -> None:
    """A script nobody uses is refused."""
    with pytest.raises(LanguageError, match="Latm"):
        language("en-Latm")


def test_smoothed_by_hand() -> None:
    """Two languages of 81 and 16 units with S = 0.5 are 9/13 and 4/13."""
    assert smoothed({"en": 81, "sw": 16}, 0.5) == pytest.approx({"en": 9 / 13, "sw": 4 / 13})


def test_smoothed_refuses_a_language_without_text() -> None:
    """Zero sizes are an error that names the language."""
    with pytest.raises(LanguageError, match="a language with no text: 'wo'"):
        smoothed({"en": 5, "wo": 0}, 0.7)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.floats(1e-6, 1e15), min_size=1), st.floats(0, 1))
def test_smoothed_is_a_distribution_that_keeps_order(sizes: dict[str, float], exponent: float) -> None:
    """Shares sum to one and never reverse the order of the sizes."""
    shares = smoothed(sizes, exponent)
    assert sum(shares.values()) == pytest.approx(1)
    ordered = sorted(sizes, key=sizes.__getitem__)
    assert all(shares[a] <= shares[b] * (1 + 1e-12) for a, b in itertools.pairwise(ordered))


def test_cap_is_kept_and_nothing_is_lost():
    """No share above the cap, the sum is 1, and uncapped languages keep their proportions (worked by hand)."""
    shares = smoothed({"en": 90, "de": 6, "fi": 3, "my": 1}, 1.0, cap=0.4)
    assert shares["en"] == pytest.approx(0.4)
    # 6 : 3 : 1 of the .6 left is .36 : .18 : .06, none above the cap.
    assert [shares[lang] for lang in ("de", "fi", "my")] == pytest.approx([0.36, 0.18, 0.06])
    # A cap of .35 cuts de as well: .3 is left for 3 : 1.
    assert list(smoothed({"en": 90, "de": 6, "fi": 3, "my": 1}, 1.0, cap=0.35).values()) == pytest.approx(
        [0.35, 0.35, 0.225, 0.075]
    )
    assert list(smoothed({"en": 90, "de": 1}, 1.0, cap=0.5).values()) == pytest.approx([0.5, 0.5])
    with pytest.raises(LanguageError, match=r"cap of 0\.2 for 3 languages"):
        smoothed({"en": 1, "de": 1, "fi": 1}, 1.0, cap=0.2)
