"""A folder of shards, opened.

In: the folder that :func:`interlingua.shards.write_shards` finished, or its address on object storage. Out: units by
language, and their translations, each an offset into a memory map. Only a few numbers a shard and language are held in
memory; files are opened when a unit of theirs is asked for, and some hundred stay open. Price: the first batches of a
large folder are slower than the later ones.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import ShardError
from interlingua.run import cache_folder
from interlingua.shards.files import Files
from interlingua.shards.format import VERSION, Shard

__all__ = ["Located", "ShardSet", "Which", "has_shards"]

MANIFEST, COUNTS = "manifest.json", "counts.npy"
#: Files that stay open: each is a file descriptor, of which a process has 1,024 on most machines.
OPEN = 128
#: Folders of fewer bytes are read and compared whole when they are opened: seconds.
AT_ONCE = 4 * 2**30
#: Shards in which tokens are counted.
COUNTED = 64
Which = Literal["all", "linked", "following"]


@dataclass(frozen=True)
class Located:
    """A unit and where it lies."""

    shard: Shard
    unit: int
    language: int


def has_shards(folder: Path | str) -> bool:
    """Whether there are finished shards.

    Raises:
        ShardError: a storage that does not answer.
    """
    return Files(folder, copies=cache_folder() / "shards", room=0).manifest(MANIFEST) is not None


class ShardSet:
    """All shards of a folder.

    Args:
        folder: with ``manifest.json`` in it; a path, or an address such as ``s3://bucket/shards/train``.
        vocabulary: fingerprint the shards must have been written with; None accepts any.
        verify: compare checksums: of all files now, where they are here and less than :data:`AT_ONCE`, else of each
            when it is first opened. Damage found later than that shows as wrong tokens.
        room: bytes that local copies of a remote folder may take.

    Raises:
        ShardError: unfinished, another vocabulary, a missing, truncated or altered file.
    """

    def __init__(
        self, folder: Path | str, *, vocabulary: str | None = None, verify: bool = True, room: int = 20 * 10**9
    ) -> None:
        self.folder = folder
        self._files = Files(folder, copies=cache_folder() / "shards", room=room)
        self.manifest = self._read_manifest()
        if vocabulary is not None and vocabulary != self.manifest["vocabulary"]:
            raise ShardError(
                f"shards of vocabulary {self.manifest['vocabulary']!r}",
                expected=f"vocabulary {vocabulary!r}, the one in use",
                where=self._files.where(MANIFEST),
                next_step="write the shards again with this vocabulary, or name the one they were written with",
            )
        self.languages: list[str] = self.manifest["languages"]
        self._entries = self.manifest["shards"]
        self._unverified = set(range(len(self._entries))) if verify else set()
        self._open: OrderedDict[int, Shard] = OrderedDict()
        self._lock = threading.Lock()
        linked, units, documents = np.moveaxis(self._read_counts(), 2, 0)
        self._ends: dict[Which, np.ndarray] = {
            "all": np.cumsum(units, axis=0),
            "linked": np.cumsum(linked, axis=0),
            "following": np.cumsum(units - documents, axis=0),
        }
        if not self._files.remote:
            self._check_files()

    def __len__(self) -> int:
        return len(self._entries)

    def shard(self, number: int) -> Shard:
        """A shard, opened; the last :data:`OPEN` stay so.

        Raises:
            ShardError: missing, truncated or altered.
        """
        with self._lock:  # batches are made in one thread, and looked into in another
            if number not in self._open:
                self._open[number] = self._opened(number)
                if len(self._open) > OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(number)
            return self._open[number]

    def _opened(self, number: int) -> Shard:
        entry = self._entries[number]
        for last in (False, True):
            path = self._files.path(entry["file"])
            try:
                if number in self._unverified:
                    self._compare(path, entry)
                shard = Shard(path, number)
            except ShardError:
                # A copy may go, damaged or removed by another process for want of room: it is fetched once more.
                if last or not self._files.remote or path.exists():
                    raise
            else:
                self._unverified.discard(number)
                return shard
        raise AssertionError  # the second time returns or raises

    def _check_files(self) -> None:
        """All files are there; if that is little to read, they are what was written."""
        size = 0
        for entry in self._entries:
            path = self._files.path(entry["file"])
            if not path.is_file():
                raise ShardError(
                    f"shard {entry['file']!r} is missing", expected="all files of the manifest", where=str(path),
                    next_step="restore the file, or remove the folder of the shards and write them again",
                )  # fmt: skip
            size += path.stat().st_size
        if size < AT_ONCE:
            for number in sorted(self._unverified):
                self.shard(number)

    def _compare(self, path: Path, entry: dict[str, Any]) -> None:
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            found = f"nothing: {error.strerror}"
        if found != entry["sha256"]:
            self._files.forget(entry["file"])
            raise ShardError(
                f"{entry['file']!r} was altered after it was written",
                expected=f"SHA-256 {entry['sha256'][:16]}...",
                where=self._files.where(entry["file"]),
                next_step="restore the file, or write the shards again",
            )

    def _read_counts(self) -> np.ndarray:
        """Linked units, units and documents: int64 [shards, languages, 3]."""
        path = self._files.path(COUNTS)
        self._compare(path, {"file": COUNTS, "sha256": self.manifest["counts"]})
        return np.load(path, allow_pickle=False).astype(np.int64)  # type: ignore[no-any-return]

    def _read_manifest(self) -> dict[str, Any]:
        raw, shown = self._files.manifest(MANIFEST), self._files.where(MANIFEST)
        if raw is None:
            folder = Path(self.folder)
            unfinished = len(list(folder.glob("*.shard"))) if not self._files.remote and folder.is_dir() else 0
            raise ShardError(
                f"no manifest in {str(self.folder)!r}"
                + (f", but {unfinished} shards: writing did not end" if unfinished else ""),
                expected="a folder finished by `interlingua shards write`",
                where=shown,
                next_step="run the same `shards write` command again: it goes on where it stopped",
            )
        try:
            manifest = json.loads(raw)
        except ValueError as error:
            manifest = {"format": f"not JSON: {error}"}
        found = manifest if isinstance(manifest, dict) else {}
        version = (found.get("format"), found.get("version"))
        missing = {"vocabulary", "languages", "per_language", "shards", "counts"} - set(found)
        if version != ("interlingua-shards", VERSION) or missing:
            raise ShardError(
                f"a manifest of format and version {version!r}" + (f" without {sorted(missing)}" if missing else ""),
                expected=f"('interlingua-shards', {VERSION}) with all its keys",
                where=shown,
                next_step="restore manifest.json, or remove the folder of the shards and write them again",
            )
        return found

    def count(self, language: str, which: Which = "all") -> int:
        """Units in a language: all, those with a translation, or those that go on with the unit before them."""
        ends = self._ends[which]
        return int(ends[-1, self.languages.index(language)]) if len(ends) else 0

    def token_counts(self, vocabulary: int, language: str | None = None) -> NDArray[np.int64]:
        """How often each token id occurs, in one language or in all: int64 [vocabulary].

        Counted in at most :data:`COUNTED` shards, evenly spaced: frequencies, exact for small folders.
        """
        column = None if language is None else self.languages.index(language)
        counts = np.zeros(vocabulary, dtype=np.int64)
        for number in np.unique(np.linspace(0, len(self) - 1, min(len(self), COUNTED)).round().astype(int)).tolist():
            counts += self.shard(number).token_counts(vocabulary, column)
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
        shard = self.shard(at)
        unit = shard.following(column, number) if which == "following" else shard.language_starts[column] + number
        return Located(shard, int(unit), column)

    def number(self, located: Located) -> int:
        """The unit's number in its language, counted over all shards."""
        at = located.shard.number
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
