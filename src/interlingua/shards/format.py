"""The binary shard format.

In: units (tokenised texts) of one block of input. Out: one file, memory-mapped when read. Decisions: units are sorted
by language, those with a translation first, so that "unit j of language l" is an offset and the index of a whole
corpus is a few numbers a shard; all translations of one text stand in the same shard. A document here is a run of units
of which each goes on exactly where the last one ended. Price: the order of documents is not kept across languages
(inside one language it is), and a document of which only some texts have translations falls in several.

A file is a 64-byte header and nine arrays, each starting at a multiple of 64 bytes, little endian:

    header      magic b"ILSHARD1", uint32 version, uint32 bytes a token (2 or 4), uint64 units, uint64 tokens,
                uint64 languages, uint64 groups, uint64 linked units, uint64 documents
    tokens      uint16 or uint32 [tokens]      ids without special tokens
    ends        uint64 [units]                 where each unit ends in tokens
    starts      uint8 [(tokens + 7) // 8]      one bit a token, most significant first: token begins a word
    characters  uint32 [units]                 length of the text in code points
    group       uint32 [units]                 1 + number of its group in this shard; 0: no translation
    languages   uint64 [languages, 3]          for each language of the manifest: linked units, units, documents
    documents   uint32 [documents]             the first unit of each document; the others go on where the last ended
    group_ends  uint64 [groups]                where each group ends in group_units
    group_units uint32 [linked units]          the units of each group, in language order
"""

from __future__ import annotations

import bisect
import hashlib
import math
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import ShardError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Shard", "ShardHeader", "Unit", "encode_shard", "fingerprint"]

MAGIC = b"ILSHARD1"
VERSION = 3
HEADER = struct.Struct("<8sII6Q")
ALIGN = 64


@dataclass(frozen=True)
class Unit:
    """A tokenised text.

    Attributes:
        tokens: ids without specials.
        starts: bool, True where a token begins a word.
        language: index in the manifest's language list.
        characters: length of the text in code points.
        group: any integer shared by translations of one another, or -1.
        document: any integer shared by units of one language that go on one with the other, in the order in which they
            are given, with no other unit between; -1: a document alone.
    """

    tokens: np.ndarray
    starts: np.ndarray
    language: int
    characters: int
    group: int = -1
    document: int = -1


@dataclass(frozen=True)
class ShardHeader:
    """The counts at the head of a file."""

    token_bytes: int
    units: int
    tokens: int
    languages: int
    groups: int
    linked: int
    documents: int

    def arrays(self) -> list[tuple[str, np.dtype[np.generic], tuple[int, ...]]]:
        """Name, type and shape of the arrays, in file order."""
        token = np.dtype("<u2" if self.token_bytes == 2 else "<u4")
        return [
            ("tokens", token, (self.tokens,)),
            ("ends", np.dtype("<u8"), (self.units,)),
            ("starts", np.dtype("u1"), ((self.tokens + 7) // 8,)),
            ("characters", np.dtype("<u4"), (self.units,)),
            ("group", np.dtype("<u4"), (self.units,)),
            ("languages", np.dtype("<u8"), (self.languages, 3)),
            ("documents", np.dtype("<u4"), (self.documents,)),
            ("group_ends", np.dtype("<u8"), (self.groups,)),
            ("group_units", np.dtype("<u4"), (self.linked,)),
        ]

    def offsets(self) -> tuple[dict[str, int], int]:
        """Where each array starts, and the size of the file."""
        at, found = ALIGN, {}
        for name, dtype, shape in self.arrays():
            found[name] = at
            size = dtype.itemsize * math.prod(shape)
            at += -(-size // ALIGN) * ALIGN
        return found, at


def fingerprint(tokenizer: Tokenizer) -> str:
    """What identifies a vocabulary: the first 16 hex digits of SHA-256 over its serialised form."""
    return hashlib.sha256(tokenizer.to_str(pretty=False).encode()).hexdigest()[:16]


def encode_shard(units: Sequence[Unit], languages: int, vocabulary_size: int) -> bytes:
    """Serialise units to one shard file's bytes (see the module's head for the layout)."""
    sizes = Counter(unit.group for unit in units)
    alone = [unit.group < 0 or sizes[unit.group] == 1 for unit in units]
    order = sorted(range(len(units)), key=lambda i: (units[i].language, alone[i]))
    units = [units[i] for i in order]
    members: dict[int, list[int]] = {}
    for i, unit in enumerate(units):
        if unit.group >= 0:
            members.setdefault(unit.group, []).append(i)
    groups = [rows for rows in members.values() if len(rows) > 1]
    group = np.zeros(len(units), dtype=np.uint32)
    for number, rows in enumerate(groups, start=1):
        group[rows] = number
    language = np.array([unit.language for unit in units], dtype=np.int64)
    # A document begins where anything changes that its units share, and at every unit that stands alone.
    shared = np.array([(unit.language, group[i] > 0, unit.document) for i, unit in enumerate(units)]).reshape(-1, 3)
    begins = np.ones(len(units), dtype=bool)
    begins[1:] = (np.diff(shared, axis=0) != 0).any(axis=1) | (shared[1:, 2] < 0) | (np.diff(order) != 1)
    counts = np.stack(
        [np.bincount(of, minlength=languages) for of in (language[group > 0], language, language[begins])], axis=1
    )
    lengths = np.array([len(unit.tokens) for unit in units], dtype=np.uint64)
    token_bytes = 2 if vocabulary_size <= 1 << 16 else 4
    header = ShardHeader(
        token_bytes,
        len(units),
        int(lengths.sum()),
        languages,
        len(groups),
        sum(len(rows) for rows in groups),
        int(begins.sum()),
    )
    empty = np.zeros(0, dtype=np.int64)
    values: dict[str, np.ndarray] = {
        "tokens": np.concatenate([unit.tokens for unit in units] or [empty]),
        "ends": np.cumsum(lengths),
        "starts": np.packbits(np.concatenate([unit.starts for unit in units] or [empty.astype(bool)])),
        "characters": np.array([unit.characters for unit in units]),
        "group": group,
        "languages": counts,
        "documents": np.flatnonzero(begins),
        "group_ends": np.cumsum([len(rows) for rows in groups]),
        "group_units": np.array([i for rows in groups for i in rows]),
    }
    offsets, size = header.offsets()
    out = bytearray(size)
    HEADER.pack_into(out, 0, MAGIC, VERSION, *astuple(header))
    for name, dtype, shape in header.arrays():
        raw = values[name].reshape(shape).astype(dtype).tobytes()
        out[offsets[name] : offsets[name] + len(raw)] = raw
    return bytes(out)


class Shard:
    """One memory-mapped shard file.

    Args:
        path: of the file.
        number: which one of its folder it is.

    Raises:
        ShardError: not a shard, another version, or cut short.
    """

    def __init__(self, path: Path, number: int = 0) -> None:
        self.path = path
        self.number = number
        try:
            raw = np.memmap(path, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:
            raise ShardError(
                f"shard {path.name!r} cannot be opened: {error}",
                where=str(path),
                next_step="remove the folder of the shards and write them again",
            ) from error
        if len(raw) < ALIGN or bytes(raw[:8]) != MAGIC:
            raise ShardError(
                f"{path.name!r} begins with {bytes(raw[:8])!r}",
                expected=f"{MAGIC!r}",
                where=str(path),
                next_step="remove the folder of the shards and write them again",
            )
        _, version, token_bytes, *counts = HEADER.unpack(bytes(raw[: HEADER.size]))
        if version != VERSION:
            raise ShardError(
                f"shard version {version}",
                expected=str(VERSION),
                where=str(path),
                next_step="remove the folder of the shards and write them again",
            )
        self.header = ShardHeader(token_bytes, *counts)
        offsets, size = self.header.offsets()
        if len(raw) != size:
            raise ShardError(
                f"{path.name!r} has {len(raw)} bytes",
                expected=f"{size} by its header: it was cut short",
                where=str(path),
                next_step="remove the folder of the shards and write them again",
            )
        self._arrays = {
            name: raw[offsets[name] : offsets[name] + dtype.itemsize * math.prod(shape)].view(dtype).reshape(shape)
            for name, dtype, shape in self.header.arrays()
        }
        counted = self._arrays["languages"].astype(np.int64)
        self.language_starts = np.concatenate([[0], np.cumsum(counted[:, 1])])
        #: Linked units, units and documents of each language: [languages, 3].
        self.counts = counted
        self.document_counts = counted[:, 2]
        self._first_documents = np.concatenate([[0], np.cumsum(self.document_counts)])

    def tokens(self, unit: int) -> np.ndarray:
        """Token ids of a unit, int64."""
        start, end = self._bounds(unit)
        return self._arrays["tokens"][start:end].astype(np.int64)

    def starts(self, unit: int) -> np.ndarray:
        """True where a token of the unit begins a word."""
        start, end = self._bounds(unit)
        first, last = start // 8, (end + 7) // 8
        bits = np.unpackbits(self._arrays["starts"][first:last])
        return bits[start - 8 * first : end - 8 * first].astype(bool)

    def token_counts(self, vocabulary: int, language: int | None = None) -> NDArray[np.int64]:
        """How often each token id occurs in the shard, in one language (by index) or in all: int64 [vocabulary]."""
        tokens = self._arrays["tokens"]
        if language is not None:
            first, last = self.language_starts[language : language + 2].tolist()
            tokens = tokens[self._bounds(first)[0] : self._bounds(last - 1)[1]] if last > first else tokens[:0]
        return np.bincount(tokens, minlength=vocabulary).astype(np.int64)

    def characters(self, unit: int) -> int:
        """Length of the unit's text in code points."""
        return int(self._arrays["characters"][unit])

    def language(self, unit: int) -> int:
        """Index of the unit's language."""
        return int(np.searchsorted(self.language_starts, unit, side="right")) - 1

    def translations(self, unit: int) -> np.ndarray:
        """All units of the unit's group, itself included; empty if it has no translation."""
        group = int(self._arrays["group"][unit])
        if group == 0:
            return np.zeros(0, dtype=np.int64)
        ends = self._arrays["group_ends"]
        start = int(ends[group - 2]) if group > 1 else 0
        return self._arrays["group_units"][start : int(ends[group - 1])].astype(np.int64)

    def document(self, unit: int) -> range:
        """All units of the unit's document, in its order."""
        begins = self._arrays["documents"]
        number = int(np.searchsorted(begins, unit, side="right"))
        return range(int(begins[number - 1]), int(begins[number]) if number < len(begins) else self.header.units)

    def following(self, language: int, number: int) -> int:
        """The ``number``-th unit of a language that goes on with the unit before it."""
        begins = self._arrays["documents"]
        first, last = map(int, self._first_documents[language : language + 2])
        # Before document d lie begins[d] units of which d begin a document: the others are counted here.
        number += int(self.language_starts[language]) - first
        document = bisect.bisect_right(range(first, last), number, key=lambda d: int(begins[d]) - d) + first - 1
        return number + document + 1

    def _bounds(self, unit: int) -> tuple[int, int]:
        ends = self._arrays["ends"]
        return (int(ends[unit - 1]) if unit else 0), int(ends[unit])
