"""Gettext catalogues (``.po``, ``.mo``) as translations.

A catalogue flows in; the two sides of every finished message flow out. Decision: polib parses; fuzzy, obsolete and
empty messages are not translations and are counted as missing, of plural messages the first and the last form are
taken. Price: marks of keyboard accelerators and placeholders stay in the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from interlingua.errors import DataError, LanguageError, MissingExtraError
from interlingua.languages import canonical
from interlingua.text.lines import ReadReport

__all__ = ["read_catalogue"]


def read_catalogue(
    path: Path, source_lang: str, target_lang: str | None, report: ReadReport
) -> Iterator[dict[str, str]]:
    """Yield ``{source language: message, target language: translation}``.

    The language of the translations is the catalogue's own (its header ``Language``), else ``target_lang``, else what
    the file or a folder above it is called (``de.po``, ``de/LC_MESSAGES/app.mo``).

    Raises:
        DataError: not a catalogue, or none of the three names a language.
        MissingExtraError: polib is not installed.
    """
    try:
        import polib
    except ImportError as error:
        raise MissingExtraError(
            "polib is not installed", expected="the extra 'corpus'", next_step="pip install 'interlingua[corpus]'"
        ) from error
    try:
        entries = polib.mofile(str(path)) if path.suffix.lower() == ".mo" else polib.pofile(str(path))
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise DataError(f"not a gettext catalogue: {error}", expected="a .po or .mo file", where=str(path)) from error
    lang = _language(path, entries.metadata.get("Language", ""), target_lang)
    for entry in entries:
        forms = [entry.msgstr_plural[key] for key in sorted(entry.msgstr_plural)] or [entry.msgstr]
        sides = [(entry.msgid, forms[0])]
        if entry.msgid_plural:
            sides.append((entry.msgid_plural, forms[-1]))
        for source, target in sides:
            if entry.obsolete or getattr(entry, "fuzzy", False) or not source.strip() or not target.strip():
                report.missing += 1
            else:
                report.rows += 1
                yield {source_lang: source, lang: target}


def _language(path: Path, header: str, given: str | None) -> str:
    names = [header, given or "", path.stem, *(folder.name for folder in list(path.parents)[:2])]
    for name in names:
        try:
            return canonical(name.partition("@")[0].partition(".")[0])
        except LanguageError:
            continue
    raise DataError(
        f"a catalogue without a language: header {header!r}",
        expected="the header Language, target_lang in the source, or a name such as de.po",
        where=str(path),
    )
