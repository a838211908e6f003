"""Language tags, names, scripts and families.

What people type (``zh``, ``zho``, ``zh-Hant``, ``zho_Hant``, ``eng-Latn``, ``pt_BR``) flows in; one frozen
`Language` and one BCP-47 tag flow out. The table is ``data/languages.tsv``: a row a language, meant to be read and
corrected by people.

Decision: a tag names a language and, where it is not the usual one, a script. Regions are read and dropped
(``pt-BR`` is ``pt``), except that ``zh-TW``, ``zh-HK`` and ``zh-MO`` mean traditional characters. Single dialects
that data sets use as stand-ins for a macrolanguage (``arb`` for Arabic, ``npi`` for Nepali) become the
macrolanguage. Price: national varieties cannot be told apart by tag; name them in `Document.source` instead.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Literal

from interlingua.errors import LanguageError, nearest

__all__ = ["Language", "canonical", "known", "language", "smoothed"]

_RIGHT_TO_LEFT = frozenset({"Arab", "Hebr", "Syrc", "Thaa", "Nkoo", "Adlm"})
_TRADITIONAL_REGIONS = frozenset({"tw", "hk", "mo"})
_SCRIPT_NAMES = {
    "Arab": "Arabic", "Cyrl": "Cyrillic", "Deva": "Devanagari", "Guru": "Gurmukhi", "Hani": "Han",
    "Hans": "Simplified", "Hant": "Traditional", "Hebr": "Hebrew", "Java": "Javanese", "Latn": "Latin",
    "Mong": "Mongolian", "Sund": "Sundanese", "Tfng": "Tifinagh", "Tglg": "Baybayin",
}  # fmt: skip
# Data sets name the same writing by its parts: FLORES has kor_Hang, others jpn_Hira or zho_Hani.
_WRITINGS = {
    "Kore": {"Hang", "Hani"},
    "Jpan": {"Hira", "Kana", "Hrkt", "Hani"},
    "Hans": {"Hani"},
    "Hant": {"Hani"},
}
_CHINESE_AUTONYMS = {("zh", "Hant"): "繁體中文", ("wuu", "Hant"): "吳語", ("yue", "Hans"): "粤语"}


@dataclass(frozen=True, slots=True)
class Language:
    """One language as written in one script.

    Attributes:
        code: BCP-47 tag; holds the script only where it is not the language's default one.
        iso3: ISO 639-3 code of the language or macrolanguage (``ber``: ISO 639-2).
        name: English name.
        autonym: the language's own name for itself.
        script: ISO 15924 code of the script this value stands for.
        scripts: all scripts in regular use, the default one first.
        family: top-level family; ``Isolate``, ``Creole`` and ``Constructed`` where there is none.
        branch: branch of the family, or None.
        direction: ``ltr`` or ``rtl``, of `script`.
        spaced: whether words are separated by spaces.
        aliases: further codes accepted for it.
    """

    code: str
    iso3: str
    name: str
    autonym: str
    script: str
    scripts: tuple[str, ...]
    family: str
    branch: str | None
    direction: Literal["ltr", "rtl"]
    spaced: bool
    aliases: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def known() -> tuple[Language, ...]:
    """Return every language of the table, in its default script, sorted by code."""
    text = resources.files("interlingua").joinpath("data/languages.tsv").read_text(encoding="utf-8")
    languages = []
    for row in text.splitlines()[1:]:
        code, iso3, aliases, name, autonym, script, scripts, family, branch, direction, spaced = row.split("\t")
        languages.append(
            Language(
                code=code,
                iso3=iso3,
                name=name,
                autonym=autonym,
                script=script,
                scripts=tuple(scripts.split(",")),
                family=family,
                branch=None if branch == "-" else branch,
                direction="rtl" if direction == "rtl" else "ltr",
                spaced=spaced == "yes",
                aliases=() if aliases == "-" else tuple(aliases.split(",")),
            )
        )
    return tuple(sorted(languages, key=lambda entry: entry.code))


@lru_cache(maxsize=1)
def _by_code() -> dict[str, Language]:
    table = {entry.code: entry for entry in known()}
    for entry in known():
        for alias in (entry.iso3, *entry.aliases):
            table.setdefault(alias, entry)
    return table


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Language]:
    return {name.lower(): entry for entry in known() for name in (entry.autonym, entry.name)}


@lru_cache(maxsize=1)
def _scripts() -> frozenset[str]:
    return frozenset(script for entry in known() for script in entry.scripts)


@lru_cache(maxsize=4096)
def language(tag: str) -> Language:
    """Look a tag up.

    Args:
        tag: ISO 639-1, 639-2 or 639-3 code, optionally followed by script, region and variants, separated by ``-``
            or ``_``, in any case; or a name, as data sets have it: ``arabic``, ``Deutsch``. Subtags of private use
            stay: ``en-x-fake`` is a language like English, but another one.

    Returns:
        The language; with a script that is not its default one, the entry is rewritten for that script.

    Raises:
        LanguageError: the language or script is unknown; the message names the nearest known one.
    """
    if isinstance(tag, str) and (private := re.fullmatch(r"(.+?)[-_]x((?:[-_][a-z0-9]{1,8})+)", tag.strip(), re.I)):
        base, own = language(private[1]), private[2][1:].lower().replace("_", "-")
        return replace(base, code=f"{base.code}-x-{own}", name=f"{base.name} ({own})", aliases=())
    parts = re.split(r"[-_]", tag.strip()) if isinstance(tag, str) else [""]
    entry = _by_code().get(parts[0].lower())
    if entry is None and (named := _by_name().get(str(tag).strip().lower())):
        return named
    if entry is None:
        raise _unknown(tag)
    script = None
    for place, part in enumerate(parts[1:]):
        if place == 0 and re.fullmatch(r"[A-Za-z]{4}", part):
            script = part.title()
        elif not re.fullmatch(r"[A-Za-z]{2,3}|[0-9]{3}|[A-Za-z0-9]{4,8}", part) or _misspelt_script(part):
            raise _unknown(tag)
        elif script is None and part.lower() in _TRADITIONAL_REGIONS and "Hant" in entry.scripts:
            script = "Hant"
    if script is None or script == entry.script or script in _WRITINGS.get(entry.script, ()):
        return entry
    if script not in _scripts():
        raise LanguageError(
            f"unknown script {script!r} in language tag {tag!r}{nearest(script, _scripts())}",
            expected=f"a script of the table, for {entry.name} one of {', '.join(entry.scripts)}",
            next_step="leave the script out to get the language's usual one",
        )
    return replace(
        entry,
        code=f"{entry.code}-{script}",
        name=f"{entry.name} ({_SCRIPT_NAMES.get(script, script)})",
        autonym=_CHINESE_AUTONYMS.get((entry.code, script), entry.autonym),
        script=script,
        direction="rtl" if script in _RIGHT_TO_LEFT else "ltr",
    )


def _misspelt_script(part: str) -> bool:
    # BCP-47 variants have five letters or more ("ca-valencia"); "Hannt" would pass as one and lose the script.
    return len(part) > 4 and bool(difflib.get_close_matches(part.title(), _scripts(), n=1, cutoff=0.85))


def _unknown(tag: object) -> LanguageError:
    wanted = str(tag).strip().lower()
    names = {name: entry.code for name, entry in _by_name().items()}
    first, *rest = re.split(r"[-_]", wanted)
    if first in _by_code():
        hint = nearest("-".join([first, *rest]), [f"{first}-{script}" for script in sorted(_scripts())])
    elif len(first) > 3:
        close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
        hint = f"; did you mean {names[close[0]]!r} ({close[0]})?" if close else nearest(first, _by_code())
    else:
        # People lengthen or mistype the end of a short code more often than its beginning.
        hint = nearest(first, [code for code in _by_code() if code[:1] == first[:1]]) or nearest(wanted, names)
    return LanguageError(
        f"unknown language tag {tag!r}{hint}",
        expected="an ISO 639 code, optionally with a script: 'de', 'deu', 'deu_Latn', 'zh-Hant'",
        next_step="interlingua.languages.known() lists every language; a new one is a row in data/languages.tsv",
    )


def canonical(tag: str) -> str:
    """Return the BCP-47 tag under which the project stores ``tag``: ``zho_Hant`` is ``zh-Hant``, ``eng_Latn`` ``en``.

    Raises:
        LanguageError: the tag is unknown.
    """
    return language(tag).code


def smoothed(sizes: Mapping[str, float], exponent: float, *, cap: float = 1.0) -> dict[str, float]:
    """Return the share of each language after exponential smoothing: ``p_i^S / sum_j p_j^S``.

    Devlin et al. (2019, multilingual BERT) take S = 0.7; Conneau et al. (2020, XLM-R) take S = 0.3. S = 1 keeps the
    natural shares, S = 0 makes all languages equal.

    Args:
        sizes: amount of text a language, in any one unit.
        exponent: S, from 0 to 1; larger values are allowed and favour the large languages.
        cap: largest share of any language; what is cut off goes to the others in proportion to their shares.

    Raises:
        LanguageError: no languages, a language with no text, or a cap that leaves a part of the whole to nobody.
    """
    if not sizes:
        raise LanguageError("no languages in {}", expected="at least one language with text")
    if not (math.isfinite(exponent) and exponent >= 0):
        raise LanguageError(f"smoothing exponent {exponent!r}", expected="a number from 0 (equal) to 1 (natural)")
    for name, size in sizes.items():
        if not (math.isfinite(size) and size > 0):
            raise LanguageError(
                f"a language with no text: {name!r} has size {size!r}",
                expected="a positive amount of text for every language",
                next_step=f"give {name!r} some text or leave it out",
            )
    # The largest size is divided out first: raw token counts raised to a power can leave the float range.
    largest = max(sizes.values())
    weights = {name: (size / largest) ** exponent for name, size in sizes.items()}
    if not cap * len(sizes) >= 1:
        raise LanguageError(
            f"a cap of {cap!r} for {len(sizes)} languages",
            expected=f"at least {1 / len(sizes):.3g}, an equal share for each",
            next_step="raise the cap or add languages",
        )
    capped: set[str] = set()
    while True:
        rest = 1 - cap * len(capped)
        total = math.fsum(weight for name, weight in weights.items() if name not in capped)
        shares = {name: cap if name in capped else rest * weight / total for name, weight in weights.items()}
        over = {name for name, share in shares.items() if share > cap + 1e-12}
        if not over:
            return shares
        capped |= over
