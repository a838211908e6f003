"""Make the fonts of the report: Noto Sans, cut down to what language names need.

In: the Noto fonts of the Debian packages ``fonts-noto-core`` and ``fonts-noto-cjk`` (SIL Open Font License 1.1), and
``src/interlingua/data/languages.tsv`` for the Chinese, Japanese and Korean characters of the names. Out: one small
font a script in ``src/interlingua/report/fonts``, renamed ("Interlingua Sans Deva") so that they never collide with an
installed Noto.

Decision: whole alphabets for every script that has one, but Han and Hangul only as far as names of languages need
them. Price: a label with other Chinese characters falls back to the Latin name.

Run it as ``python scripts/subset_fonts.py``, after ``pip install fonttools`` and
``apt-get install fonts-noto-core fonts-noto-cjk``.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parent.parent
FONTS = ROOT / "src" / "interlingua" / "report" / "fonts"
LANGUAGES = ROOT / "src" / "interlingua" / "data" / "languages.tsv"

# Figures also use dashes and quotation marks.
COMMON = [(0x20, 0x7E), (0xA0, 0xFF), (0x2010, 0x2027), (0x2030, 0x203A)]

# ZWNJ, ZWJ and the dotted circle take part in shaping.
JOINERS = [(0x200C, 0x200F), (0x25CC, 0x25CC)]

# Names of Chinese, Japanese and Korean, their scripts and varieties, as each of these countries writes them.
CJK_NAMES = (
    "中文汉语漢語汉字漢字华语華語普通话普通話官话官話国语國語简体簡體繁体繁體字正體粤语粵語广东话廣東話閩南語闽南语吴语吳語"
    "客家话客家話贛語赣语湘语湘語文言文臺灣台灣香港中国中國大陆大陸日本語日语日語韩语韓語朝鲜语朝鮮語英语英語法语法語德语德語俄语俄語"
    "西班牙语阿拉伯语白話字壮语壯語한국어조선말한국말일본어중국어영어한글朝鮮말韓國語한자"
)


@dataclass(frozen=True)
class Source:
    """One script: its ISO 15924 code, the Noto file, and the code points to keep."""

    script: str
    file: str
    ranges: tuple[tuple[int, int], ...]
    face: int = -1


CORE = "truetype/noto/NotoSans{}-Regular.ttf"
SOURCES = (
    Source(
        "Latn",
        CORE.format(""),
        (
            *COMMON,
            (0x100, 0x24F),
            (0x250, 0x2AF),  # IPA letters: African alphabets use several
            (0x2B0, 0x2FF),
            (0x300, 0x36F),
            (0x370, 0x3FF),
            (0x400, 0x52F),
            (0x1E00, 0x1EFF),
            (0x1F00, 0x1FFF),
            (0xA78B, 0xA78C),
        ),
    ),
    Source("Arab", CORE.format("Arabic"), ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF))),
    Source("Armn", CORE.format("Armenian"), ((0x530, 0x58F),)),
    Source("Beng", CORE.format("Bengali"), ((0x964, 0x965), (0x980, 0x9FF))),
    Source("Cher", CORE.format("Cherokee"), ((0x13A0, 0x13FF),)),
    Source("Deva", CORE.format("Devanagari"), ((0x900, 0x97F),)),
    Source("Ethi", CORE.format("Ethiopic"), ((0x1200, 0x139F),)),
    Source("Geor", CORE.format("Georgian"), ((0x10A0, 0x10FF), (0x1C90, 0x1CBF))),
    Source("Gujr", CORE.format("Gujarati"), ((0xA80, 0xAFF),)),
    Source("Guru", CORE.format("Gurmukhi"), ((0xA00, 0xA7F),)),
    Source("Hebr", CORE.format("Hebrew"), ((0x590, 0x5FF),)),
    Source("Khmr", CORE.format("Khmer"), ((0x1780, 0x17FF), (0x19E0, 0x19FF))),
    Source("Knda", CORE.format("Kannada"), ((0xC80, 0xCFF),)),
    Source("Laoo", CORE.format("Lao"), ((0xE80, 0xEFF),)),
    # Noto Sans itself has neither arrows nor the minus sign.
    Source("Math", CORE.format("Math"), ((0x2190, 0x2193), (0x2212, 0x2212), (0x2248, 0x2248), (0x2260, 0x2265))),
    Source("Mlym", CORE.format("Malayalam"), ((0xD00, 0xD7F),)),
    Source("Mtei", CORE.format("MeeteiMayek"), ((0xABC0, 0xABFF),)),
    Source("Mymr", CORE.format("Myanmar"), ((0x1000, 0x109F),)),
    Source("Nkoo", CORE.format("NKo"), ((0x7C0, 0x7FF),)),
    Source("Olck", CORE.format("OlChiki"), ((0x1C50, 0x1C7F),)),
    Source("Orya", CORE.format("Oriya"), ((0xB00, 0xB7F),)),
    Source("Sinh", CORE.format("Sinhala"), ((0xD80, 0xDFF),)),
    Source("Taml", CORE.format("Tamil"), ((0xB80, 0xBFF),)),
    Source("Telu", CORE.format("Telugu"), ((0xC00, 0xC7F),)),
    Source("Tfng", CORE.format("Tifinagh"), ((0x2D30, 0x2D7F),)),
    Source("Thaa", CORE.format("Thaana"), ((0x780, 0x7BF),)),
    Source("Thai", CORE.format("Thai"), ((0xE01, 0xE3A), (0xE3F, 0xE5B))),
    # Noto has no sans Tibetan in these packages. Without the letters of Sanskrit, whose stacks fill half a megabyte.
    Source(
        "Tibt",
        "truetype/noto/NotoSerifTibetan-Regular.ttf",
        (
            *((0xF0B, 0xF14), (0xF20, 0xF29), (0xF40, 0xF42), (0xF44, 0xF47), (0xF49, 0xF49), (0xF4F, 0xF51)),
            *((0xF53, 0xF56), (0xF58, 0xF5B), (0xF5D, 0xF64), (0xF66, 0xF68), (0xF71, 0xF74), (0xF7A, 0xF7D)),
            *((0xF90, 0xF92), (0xF94, 0xF97), (0xF99, 0xF99), (0xF9F, 0xFA1), (0xFA3, 0xFA6), (0xFA8, 0xFAB)),
            *((0xFAD, 0xFB4), (0xFB6, 0xFB8)),
        ),
    ),
    # Face 2 of the collection is Simplified Chinese; `locl` gives the Japanese, Korean and Taiwanese forms.
    Source("Hani", "opentype/noto/NotoSansCJK-Regular.ttc", ((0x3001, 0x3003), (0x3041, 0x30FF)), face=2),
)


def name_characters() -> set[int]:
    """Return the code points of Han, kana and Hangul in the table of languages and in ``CJK_NAMES``."""
    found = {ord(character) for character in CJK_NAMES}
    if LANGUAGES.exists():
        with LANGUAGES.open(encoding="utf-8") as lines:
            for row in csv.reader(lines, delimiter="\t"):
                found |= {ord(character) for cell in row for character in cell}
    return {
        point
        for point in found
        if 0x2E80 <= point <= 0x9FFF or 0xAC00 <= point <= 0xD7A3 or 0xF900 <= point <= 0xFAFF or point >= 0x20000
    }


def make(source: Source, noto: Path) -> Path:
    """Cut one font and write it under its own name; the bytes depend on nothing but the inputs."""
    options = subset.Options()
    options.layout_features = ["*"] if source.script != "Hani" else ["locl", "ccmp"]
    options.hinting = False
    options.notdef_outline = True
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.glyph_names = False
    options.recalc_timestamp = False
    font = TTFont(noto / source.file, fontNumber=source.face, recalcTimestamp=False)
    points = {point for low, high in (*source.ranges, *JOINERS) for point in range(low, high + 1)}
    if source.script == "Hani":
        points |= name_characters()
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=points)
    cutter.subset(font)
    family = f"Interlingua Sans {source.script}"
    for record in list(font["name"].names):
        new = {1: family, 3: f"{family}; cut from {Path(source.file).name}", 4: family, 6: family.replace(" ", "")}
        if record.nameID in new:
            record.string = new[record.nameID]
    if "CFF " in font:
        font["CFF "].cff.fontNames[0] = family.replace(" ", "")
        font["CFF "].cff.topDictIndex[0].FamilyName = family
        font["CFF "].cff.topDictIndex[0].FullName = family
    path = FONTS / f"{source.script}.{'otf' if 'CFF ' in font else 'ttf'}"
    font.save(path)
    return path


def main() -> None:
    """Make all fonts and say how large they are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--noto", type=Path, default=Path("/usr/share/fonts"), help="where the Debian packages put fonts"
    )
    noto = parser.parse_args().noto
    FONTS.mkdir(parents=True, exist_ok=True)
    total = 0
    for source in SOURCES:
        path = make(source, noto)
        total += path.stat().st_size
        sys.stdout.write(f"{path.name:10} {path.stat().st_size / 1024:8.1f} KiB\n")
    sys.stdout.write(f"{'together':10} {total / 1024:8.1f} KiB\n")


if __name__ == "__main__":
    main()
