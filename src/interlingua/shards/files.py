"""Where the files of a folder of shards are: on this disk, or on object storage with a bounded copy here.

In: a folder, or the address of one (``s3://``, ``gs://``, ``https://``, ...: whatever fsspec opens). Out: local paths.
Decisions: a remote file is fetched whole when first asked for, by one process at a time, so ranks and runs on one
machine share the copies; these belong to a manifest, so shards written anew have copies of their own; when they are
more than allowed, those not used for the longest time go. A file that is mapped stays readable when its name is gone,
and keeps its room on the disk until then. Price: a cache that is smaller than what is drawn from at a time (see
``data.window``) fetches the same files again and again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from interlingua.errors import MissingExtraError, ShardError
from interlingua.run import saving

__all__ = ["Files", "is_remote", "joined"]


def is_remote(folder: str | Path) -> bool:
    """Whether an address is one of object storage and not a path."""
    return isinstance(folder, str) and "://" in folder


def joined(folder: str | Path, name: str) -> str | Path:
    """A name in a folder or below an address."""
    return f"{folder.rstrip('/')}/{name}" if isinstance(folder, str) and is_remote(folder) else Path(folder) / name


class Files:
    """The files of one folder.

    Args:
        folder: a path, or an address with ``://``.
        copies: folder for copies of remote files.
        room: bytes that these copies may take.
    """

    def __init__(self, folder: str | Path, *, copies: Path, room: int) -> None:
        self.folder = folder
        self.remote = is_remote(folder)
        self.room = room
        self._all_copies = copies
        self._copies = self._copies_of(b"")

    def where(self, name: str) -> str:
        """A file's full name, for messages."""
        return str(joined(self.folder, name))

    def manifest(self, name: str) -> bytes | None:
        """The file that says what the others are, read anew each time; None if there is none.

        Raises:
            ShardError: the storage does not answer.
            MissingExtraError: the storage's package is not installed.
        """
        if not self.remote:
            path = Path(self.folder) / name
            return path.read_bytes() if path.is_file() else None
        with self._storage(name) as (system, address):
            found: bytes | None = system.cat_file(address) if system.exists(address) else None
        if found is not None:
            self._copies = self._copies_of(found)
        return found

    def _copies_of(self, manifest: bytes) -> Path:
        return self._all_copies / hashlib.sha256(str(self.folder).encode() + manifest).hexdigest()[:16]

    @contextlib.contextmanager
    def _storage(self, name: str) -> Iterator[tuple[Any, str]]:
        """The file system of the storage, and a file's path in it."""
        import fsspec

        address = self.where(name)
        try:
            yield fsspec.core.url_to_fs(address)
        except ImportError as error:
            raise MissingExtraError(f"{address!r}: {error}", next_step="install the package that it names") from error
        except Exception as error:  # every storage has errors of its own
            raise ShardError(
                f"{name!r} could not be fetched: {type(error).__name__}: {error}",
                expected="a storage that answers, and the file in it",
                where=address,
                next_step="check address and credentials; the same command goes on from the last checkpoint",
            ) from error

    def path(self, name: str) -> Path:
        """A local path of a file, fetched if need be.

        Raises:
            ShardError: the storage does not deliver it.
            MissingExtraError: the storage's package is not installed.
            SaveError: no room for the copy.
        """
        if not self.remote:
            return Path(self.folder) / name
        copy = self._copies / name
        with saving(copy):
            self._copies.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self._all_copies / ".lock"):
            if copy.exists():
                os.utime(copy)
            else:
                self._fetch(name, copy)
                self._tidy(keep=copy)
        return copy

    def forget(self, name: str) -> None:
        """Remove the copy of a file, which turned out to be damaged."""
        if self.remote:
            (self._copies / name).unlink(missing_ok=True)

    def _fetch(self, name: str, copy: Path) -> None:
        temporary = copy.with_name(f".{name}.tmp")  # one process at a time
        with self._storage(name) as (system, path):
            system.get_file(path, str(temporary))
        with saving(copy):
            temporary.replace(copy)

    def _tidy(self, *, keep: Path) -> None:
        """Remove the copies that were not used for the longest time, of all folders, until they fit."""
        found = [
            (file.stat().st_mtime_ns, file.stat().st_size, file)
            for file in self._all_copies.glob("*/*")
            if not file.name.startswith(".")
        ]
        used = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if used <= self.room:
                return
            if file != keep:
                file.unlink(missing_ok=True)
                used -= size
