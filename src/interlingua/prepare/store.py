"""What the first stage leaves behind for each piece, and how later stages find it.

Judged texts flow in; ``rows-N.zst`` (a line a row: group, tab, what will be written), ``exact-N.npy`` and
``near-N.npy`` (hashes with row numbers, sorted) and ``piece.json`` (counts) flow out. Decision: a row has one number,
its piece above and its place in it below, so order of numbers is order of input everywhere; a piece is stored in runs
of bounded size, so memory does not follow the input; hashes are sorted, so a later task reads its share of each file
as one slice. Price: short texts take as much room again in hashes as in text until the build ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interlingua.prepare.counts import Counts
from interlingua.prepare.letters import Letters
from interlingua.prepare.likeness import MinHash, exact_keys, shingles
from interlingua.prepare.reading import Text
from interlingua.recipe_corpus import CorpusRecipe
from interlingua.run import atomic_write, saving

__all__ = ["EXACT", "NEAR", "PieceWriter", "piece_folder", "read_rows", "runs", "save_array", "save_json", "slices"]

EXACT = np.dtype([("key", "<u8"), ("rest", "<u8"), ("row", "<u8")])
NEAR = np.dtype([("key", "<u8"), ("row", "<u8")])
_RUN_BYTES = 48 << 20
_PAIR_RATIO = 3.0
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


def piece_folder(folder: Path, piece: int) -> Path:
    """Where a piece is stored."""
    return folder / "work" / "pieces" / f"{piece:05d}"


def save_json(path: Path, document: Any) -> None:
    """Write JSON whole or not at all."""
    atomic_write(path, json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True))


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with saving(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.save(file, array)
        temporary.replace(path)


class PieceWriter:
    """Stores one piece.

    Args:
        recipe: what counts as a copy, and whether pairs are wanted.
        folder: of the build.
        piece: number of the piece.
    """

    def __init__(self, recipe: CorpusRecipe, folder: Path, piece: int) -> None:
        self._recipe = recipe
        self._folder = piece_folder(folder, piece)
        self._number = piece << 32
        self._minhash = MinHash(recipe.duplicates.bands, recipe.duplicates.rows)
        self._counts = Counts(recipe.samples)
        self._run = 0
        self._lines: list[str] = []
        self._exact: list[np.ndarray] = []
        self._near: list[np.ndarray] = []
        self._size = 0

    def add(self, texts: Sequence[Text], looked: Sequence[Text], letters: Letters | None) -> None:
        """Take the texts of a block, in order."""
        for text in texts:
            self._counts.read(text.lang)
            if text.dropped:
                self._counts.drop(text.lang, text.dropped, text.text, text.source)
        kept = np.flatnonzero(np.fromiter((not text.dropped for text in looked), dtype=bool, count=len(looked)))
        good = [looked[place] for place in kept.tolist()]
        if good and letters is not None:
            first = self._rows([text.lang for text in good], [text.text for text in good], list(map(_line, good)))
            if self._recipe.duplicates.near:
                self._near_keys(letters, kept, [text.lang for text in good], first)
        if self._recipe.pairs:
            self._pairs(texts)
        if self._size >= _RUN_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the counts."""
        self._flush()
        save_json(self._folder / "piece.json", {"runs": self._run, **self._counts.document()})

    def _rows(self, groups: list[str], texts: list[str], lines: list[str]) -> int:
        """Number rows and keep them for the run; return the first number."""
        first = self._number
        self._number += len(texts)
        encoded = [text.encode() for text in texts]
        for group, text, packed in zip(groups, texts, encoded, strict=True):
            self._counts.keep(group, len(text), len(packed))
        self._lines.extend(f"{group}\t{line}\n" for group, line in zip(groups, lines, strict=True))
        self._size += sum(map(len, lines))
        if self._recipe.duplicates.exact:
            keys = np.empty(len(texts), dtype=EXACT)
            hashes = exact_keys(groups, encoded)
            keys["key"], keys["rest"] = hashes[:, 0], hashes[:, 1]
            keys["row"] = np.arange(first, self._number, dtype=np.uint64)
            self._exact.append(keys)
        return first

    def _near_keys(self, letters: Letters, kept: np.ndarray, langs: list[str], first: int) -> None:
        hashes, starts = shingles(letters, self._recipe.duplicates.shingle)
        counts = np.diff(starts)
        alive = np.zeros(len(counts), dtype=bool)
        alive[kept] = True
        if not alive.all():
            hashes = hashes[np.repeat(alive, counts)]
            counts = counts[kept]
            starts = np.concatenate(([0], np.cumsum(counts)))
        there = np.flatnonzero(counts)
        names = sorted(set(langs))
        seed = dict(zip(names, exact_keys(names, [name.encode() for name in names])[:, 0].tolist(), strict=True))
        seeds = np.fromiter((seed[langs[place]] for place in there.tolist()), dtype=np.uint64, count=len(there))
        bands = self._minhash.band_keys(self._minhash.signatures(hashes, starts), seeds)
        keys = np.empty(bands.size, dtype=NEAR)
        keys["key"] = bands.reshape(-1)
        keys["row"] = np.repeat(there.astype(np.uint64) + np.uint64(first), self._recipe.duplicates.bands)
        self._near.append(keys)

    def _pairs(self, texts: Sequence[Text]) -> None:
        pivot = self._recipe.pivot
        groups, sides = [], []
        for unit in _units(texts):
            by_lang = {text.lang: text for text in unit}
            if (source := by_lang.get(pivot)) is None:
                continue
            for lang, target in by_lang.items():
                if lang == pivot:
                    continue
                group = f"pairs/{pivot}-{lang}"
                self._counts.read(group)
                pair = f"{_one_line(source.text)}\t{_one_line(target.text)}"
                if reason := _bad_pair(source, target):
                    self._counts.drop(group, reason, pair, target.source)
                else:
                    groups.append(group)
                    sides.append(pair)
        if groups:
            self._rows(groups, sides, sides)

    def _flush(self) -> None:
        if not self._lines:
            return
        import zstandard

        packed = zstandard.ZstdCompressor(level=1).compress("".join(self._lines).encode())
        atomic_write(self._folder / f"rows-{self._run}.zst", packed)
        for name, parts in (("exact", self._exact), ("near", self._near)):
            if parts:
                keys = np.concatenate(parts)
                save_array(self._folder / f"{name}-{self._run}.npy", keys[np.argsort(keys["key"])])
        self._run += 1
        self._lines, self._exact, self._near, self._size = [], [], [], 0


def _line(text: Text) -> str:
    row = {"text": text.text, "lang": text.lang, "source": text.source}
    if text.document:
        row["document"] = text.document
    return _ENCODE(row)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _units(texts: Sequence[Text]) -> Iterator[list[Text]]:
    unit: list[Text] = []
    for text in texts:
        if unit and text.unit != unit[-1].unit:
            yield unit
            unit = []
        if text.unit >= 0:
            unit.append(text)
    if unit:
        yield unit


def _bad_pair(source: Text, target: Text) -> str:
    if source.dropped or target.dropped:
        return "side"
    if source.text == target.text:
        return "untranslated"
    # Chinese is short in characters, Burmese long in bytes; what is too long in both is no translation.
    bytes_ratio = _ratio(len(source.text.encode()), len(target.text.encode()))
    return "ratio" if min(bytes_ratio, _ratio(len(source.text), len(target.text))) > _PAIR_RATIO else ""


def _ratio(first: int, second: int) -> float:
    return max(first, second) / min(first, second)


def read_rows(folder: Path, piece: int, run: int) -> Iterator[tuple[str, str]]:
    """Yield ``(group, line)`` of the rows of a run."""
    import zstandard

    packed = (piece_folder(folder, piece) / f"rows-{run}.zst").read_bytes()
    for line in zstandard.ZstdDecompressor().decompressobj().decompress(packed).decode().split("\n")[:-1]:
        group, _, row = line.partition("\t")
        yield group, row


def runs(folder: Path, name: str) -> list[Path]:
    """Files of keys of all pieces, in the order of the input."""
    found = (folder / "work" / "pieces").glob(f"*/{name}-*.npy")
    return sorted(found, key=lambda path: (path.parent.name, int(path.stem.partition("-")[2])))


def slices(files: Sequence[Path], dtype: np.dtype[Any], bucket: int, buckets: int) -> np.ndarray:
    """The records of all files whose key is in a bucket: the part of all keys with the same first bits."""
    width = 2**64 // buckets
    found = []
    for file in files:
        keys = np.load(file, mmap_mode="r")
        low = np.searchsorted(keys["key"], np.uint64(bucket * width))
        high = len(keys) if bucket + 1 == buckets else np.searchsorted(keys["key"], np.uint64((bucket + 1) * width))
        found.append(np.array(keys[low:high]))
    return np.concatenate(found) if found else np.zeros(0, dtype=dtype)
