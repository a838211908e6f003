"""A folder of shards, opened.

In: the folder that :func:`interlingua.shards.write_shards` finished. Out: units by language, and their translations,
each an offset into a memory map. Only a few numbers a shard and language are held in memory.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import ShardError
from interlingua.shards.format import VERSION, Shard

__all__ = ["Located", "ShardSet", "Which"]

MANIFEST = "manifest.json"
Which = Literal["all", "linked", "following"]


@dataclass(frozen=True)
class Located:
    """A unit and where it lies."""

    shard: Shard
    unit: int
    language: int


class ShardSet:
    """All shards of a folder.

    Args:
        folder: with ``manifest.json`` in it.
        vocabulary: fingerprint the shards must have been written with; None accepts any.
        verify: read every file and compare checksums (a corpus of a terabyte takes a while; damage found later shows
            as wrong tokens).

    Raises:
        ShardError: unfinished, another vocabulary, a missing, truncated or altered file.
    """

    def __init__(self, folder: Path, *, vocabulary: str | None = None, verify: bool = True) -> None:
        self.folder = folder
        self.manifest = self._read_manifest(folder)
        if vocabulary is not None and vocabulary != self.manifest["vocabulary"]:
            raise ShardError(
                f"shards of vocabulary {self.manifest['vocabulary']!r}",
                expected=f"vocabulary {vocabulary!r}, the one in use",
                where=str(folder / MANIFEST),
                next_step="write the shards again with this vocabulary, or name the one they were written with",
            )
        self.languages: list[str] = self.manifest["languages"]
        self.shards = []
        for entry in self.manifest["shards"]:
            path = folder / entry["file"]
            shard = Shard(path)
            if verify and hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
                raise ShardError(
                    f"shard {entry['file']!r} was altered after it was written",
                    expected=f"SHA-256 {entry['sha256'][:16]}...",
                    where=str(path),
                    next_step="restore the file, or remove the folder of the shards and write them again",
                )
            self.shards.append(shard)
        counts: dict[Which, list[np.ndarray]] = {
            "all": [s.unit_counts for s in self.shards],
            "linked": [s.linked_counts for s in self.shards],
            "following": [s.unit_counts - s.document_counts for s in self.shards],
        }
        self._ends = {
            which: np.cumsum(np.array(rows, dtype=np.int64).reshape(-1, len(self.languages)), axis=0)
            for which, rows in counts.items()
        }

    @staticmethod
    def _read_manifest(folder: Path) -> dict[str, Any]:
        path = folder / MANIFEST
        if not path.is_file():
            unfinished = len(list(folder.glob("*.shard"))) if folder.is_dir() else 0
            raise ShardError(
                f"no manifest in {str(folder)!r}"
                + (f", but {unfinished} shards: writing did not end" if unfinished else ""),
                expected="a folder finished by `interlingua shards write`",
                where=str(path),
                next_step="run the same `shards write` command again: it goes on where it stopped",
            )
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            manifest = {"format": f"not JSON: {error}"}
        found = manifest if isinstance(manifest, dict) else {}
        version = (found.get("format"), found.get("version"))
        missing = {"vocabulary", "languages", "per_language", "shards"} - set(found)
        if version != ("interlingua-shards", VERSION) or missing:
            raise ShardError(
                f"a manifest of format and version {version!r}" + (f" without {sorted(missing)}" if missing else ""),
                expected=f"('interlingua-shards', {VERSION}) with all its keys",
                where=str(path),
                next_step="restore manifest.json, or remove the folder of the shards and write them again",
            )
        return found

    def count(self, language: str, which: Which = "all") -> int:
        """Units in a language: all, those with a translation, or those that go on with the unit before them."""
        ends = self._ends[which]
        return int(ends[-1, self.languages.index(language)]) if len(ends) else 0

    def token_counts(self, vocabulary: int, language: str | None = None) -> NDArray[np.int64]:
        """How often each token id occurs, in one language or in all: int64 [vocabulary]."""
        column = None if language is None else self.languages.index(language)
        counts = np.zeros(vocabulary, dtype=np.int64)
        for shard in self.shards:
            counts += shard.token_counts(vocabulary, column)
        return counts

    def mean_tokens(self, language: str) -> float:
        """Mean tokens a unit in a language."""
        entry = self.manifest["per_language"].get(language)
        return entry["tokens"] / entry["units"] if entry and entry["units"] else 0.0

    def unit(self, language: str, number: int, which: Which = "all") -> Located:
        """Unit ``number`` of a language, counted over all shards and over units of that kind."""
        column = self.languages.index(language)
        ends = self._ends[which][:, column]
        at = int(np.searchsorted(ends, number, side="right"))
        number -= int(ends[at - 1]) if at else 0
        shard = self.shards[at]
        unit = shard.following(column, number) if which == "following" else shard.language_starts[column] + number
        return Located(shard, int(unit), column)

    def number(self, located: Located) -> int:
        """The unit's number in its language, counted over all shards."""
        at = next(i for i, shard in enumerate(self.shards) if shard is located.shard)
        before = int(self._ends["all"][at - 1, located.language]) if at else 0
        return before + located.unit - int(located.shard.language_starts[located.language])

    def outside(self, located: Located, number: int) -> Located:
        """Unit ``number`` of the located unit's language, not counting those of its document."""
        document = located.shard.document(located.unit)
        first = self.number(Located(located.shard, document.start, located.language))
        return self.unit(self.languages[located.language], number + (len(document) if number >= first else 0))

    def translations(self, located: Located) -> list[Located]:
        """The other units of its group."""
        shard = located.shard
        return [
            Located(shard, int(u), shard.language(int(u)))
            for u in shard.translations(located.unit)
            if u != located.unit
        ]
