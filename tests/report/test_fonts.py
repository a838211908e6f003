"""The shipped fonts, checked against FreeType's own character maps and the table of languages."""

from __future__ import annotations

import warnings

import matplotlib as mpl
import pytest
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font, LoadFlags

from interlingua.languages import known, language
from interlingua.report.fonts import font_files, language_fonts, missing_glyphs


def test_every_autonym_and_name_has_glyphs() -> None:
    # Against the whole table of languages: what it names, figures can write.
    lacking = {item.code: missing_glyphs(item.autonym + item.name) for item in known()}
    assert {code: glyphs for code, glyphs in lacking.items() if glyphs} == {}


@pytest.mark.parametrize("tag", ["zh-Hant", "yue", "wuu", "sr-Latn", "uz-Cyrl"])
def test_autonyms_in_another_script_have_glyphs(tag: str) -> None:
    # Scripts that are not the default one have autonyms of their own.
    assert missing_glyphs(language(tag).autonym) == set()


def test_missing_glyphs_agree_with_freetype() -> None:
    # Oracle: the character maps as FreeType reads them, for a text in and out of the shipped scripts.
    covered = {point for file in font_files() for point in FT2Font(str(file)).get_charmap()}
    text = "Ångström 𓀀 龘 中文 አማርኛ ᠮᠣᠩᠭᠣᠯ ქართული −→ ꦗꦮ"
    assert missing_glyphs(text) == {c for c in text if ord(c) not in covered and not c.isspace()}
    assert "𓀀" in missing_glyphs(text)


def test_invisible_characters_need_no_glyph() -> None:
    # Joiners, direction marks and white space are not drawn.
    assert missing_glyphs("\u200c\u200d\u200e\u2067 \n\t\u202f") == set()


def test_every_autonym_is_drawn_without_a_warning() -> None:
    # matplotlib itself warns of glyphs it cannot find; here that would be an error.
    with language_fonts(), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = Figure()
        for item in known():
            figure.text(0, 0, item.autonym, language=item.code)
        FigureCanvasAgg(figure).draw()


@pytest.mark.parametrize(
    ("text", "code"),
    [("हिन्दी", "hi"), ("العربية", "ar"), ("ខ្មែរ", "km"), ("မြန်မာ", "my"), ("සිංහල", "si"), ("தமிழ்", "ta")],
)
def test_complex_scripts_are_shaped(text: str, code: str) -> None:
    # Property: shaping reorders, joins or stacks, so the glyphs differ from the characters' own glyphs in a row.
    file = next(file for file in font_files() if file.stem == language(code).script)
    font = FT2Font(str(file))
    shaped = [item.glyph_index for item in font._layout(text, LoadFlags.NO_HINTING, language=code)]
    assert 0 not in shaped
    assert shaped != [font.get_char_index(ord(character)) for character in text]


def test_right_to_left_runs_from_right_to_left() -> None:
    # Hebrew letters do not join, so the visual order is the reverse of the logical one.
    font = FT2Font(str(next(file for file in font_files() if file.stem == "Hebr")))
    shaped = [item.glyph_index for item in font._layout("עברית", LoadFlags.NO_HINTING)]
    assert shaped == [font.get_char_index(ord(character)) for character in reversed("עברית")]


def test_the_caller_s_matplotlib_is_left_as_it_was() -> None:
    # rcParams and the list of fonts are the same objects' values before and after, also when drawing fails.
    parameters, fonts = dict(mpl.rcParams), list(font_manager.fontManager.ttflist)
    inside: list[str] = []

    def fail() -> None:
        with language_fonts():
            inside.extend(entry.name for entry in font_manager.fontManager.ttflist)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "Interlingua Sans Deva" in inside
    assert dict(mpl.rcParams) == parameters
    assert font_manager.fontManager.ttflist == fonts


def test_fonts_are_small_and_licensed() -> None:
    # A wheel of a few megabytes; the licence must travel with the fonts (OFL, clause 2).
    assert sum(file.stat().st_size for file in font_files()) < 2.5 * 2**20
    assert "SIL OPEN FONT LICENSE Version 1.1" in (font_files()[0].parent / "OFL.txt").read_text()
