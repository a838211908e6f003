"""The stages between: which rows are copies of earlier ones.

Hashes of all pieces flow in, a bucket of keys a task; numbers of the rows to drop flow out. Decision: keys are cut
into buckets by their first bits, so the memory of a task is that of a bucket, however large the corpus; equal keys of
MinHash bands are edges, and of each connected group the first row in input order stays (one task, scipy). Price: that
one task holds the edges, 16 bytes each, so its memory follows the number of near copies.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.pipeline.base import PipelineStep

from interlingua.prepare.clock import clocked
from interlingua.prepare.store import EXACT, NEAR, runs, save_array, slices

__all__ = ["FindCopies", "FindNearCopies", "JoinNearCopies", "Stage", "dropped_rows"]

_NONE = np.zeros(0, dtype=np.uint64)


class Stage(PipelineStep):  # type: ignore[misc]  # datatrove has no types
    """A task that reads and writes files of the build."""

    type = "interlingua"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Do the task; nothing is passed on."""
        with clocked(self, "task"):
            self.work(rank, world_size)
        yield from ()

    @abstractmethod
    def work(self, bucket: int, buckets: int) -> None:
        """What the task is."""


class FindCopies(Stage):
    """Rows with the 128-bit key of an earlier row."""

    name = "copies"

    def work(self, bucket: int, buckets: int) -> None:
        """Write the numbers of the later rows, sorted."""
        keys = slices(runs(self.folder, "exact"), EXACT, bucket, buckets)
        order = np.lexsort((keys["row"], keys["rest"], keys["key"]))
        keys = keys[order]
        again = np.zeros(len(keys), dtype=bool)
        again[1:] = (keys["key"][1:] == keys["key"][:-1]) & (keys["rest"][1:] == keys["rest"][:-1])
        save_array(self.folder / "work" / "copies" / f"{bucket:05d}.npy", np.sort(keys["row"][again]))


class FindNearCopies(Stage):
    """Rows that share the key of a band, as edges to the first of them."""

    name = "near copies"

    def work(self, bucket: int, buckets: int) -> None:
        """Write the edges of a bucket; rows that are copies already have none."""
        keys = slices(runs(self.folder, "near"), NEAR, bucket, buckets)
        keys = keys[np.argsort(keys["key"])]
        same = keys["key"][1:] == keys["key"][:-1]
        shared = np.zeros(len(keys), dtype=bool)
        shared[1:] |= same
        shared[:-1] |= same
        # Few are left to be put in the order of the input.
        keys = keys[shared]
        keys = keys[np.lexsort((keys["row"], keys["key"]))]
        keys = keys[~_are_in(keys["row"], _files(self.folder, "copies"))]
        begins = np.ones(len(keys), dtype=bool)
        begins[1:] = keys["key"][1:] != keys["key"][:-1]
        firsts = keys["row"][begins][np.cumsum(begins) - 1] if len(keys) else _NONE
        edges = np.stack([firsts, keys["row"]], axis=1)[~begins]
        save_array(self.folder / "work" / "near" / f"{bucket:05d}.npy", np.unique(edges, axis=0))


class JoinNearCopies(Stage):
    """All edges to groups; all but the first row of each group go."""

    name = "join"

    def work(self, bucket: int, buckets: int) -> None:
        """Write the numbers of the rows, sorted."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        edges = [np.load(file) for file in _files(self.folder, "near")]
        every = np.concatenate(edges) if edges else np.zeros((0, 2), dtype=np.uint64)
        rows, places = np.unique(every, return_inverse=True)
        places = places.reshape(-1, 2)
        again = np.zeros(len(rows), dtype=bool)
        if len(rows):
            graph = coo_array((np.ones(len(places), dtype=np.int8), places.T), (len(rows), len(rows)))
            groups = connected_components(graph, directed=False)[1]
            # `rows` is sorted, so the first place of a group is the first in the input.
            again[:] = True
            again[np.unique(groups, return_index=True)[1]] = False
        save_array(self.folder / "work" / "join" / "00000.npy", rows[again])


def _files(folder: Path, stage: str) -> list[Path]:
    return sorted((folder / "work" / stage).glob("*.npy"))


def _are_in(rows: np.ndarray, files: list[Path]) -> np.ndarray:
    found = np.zeros(len(rows), dtype=bool)
    for file in files:
        numbers = np.load(file, mmap_mode="r")
        if len(numbers):
            places = np.minimum(np.searchsorted(numbers, rows), len(numbers) - 1)
            found |= numbers[places] == rows
    return found


def dropped_rows(folder: Path, stage: str, piece: int) -> np.ndarray:
    """Places in a piece of the rows that a stage dropped (``copies`` or ``join``), sorted."""
    found = [_NONE]
    for file in _files(folder, stage):
        numbers = np.load(file, mmap_mode="r")
        low, high = np.searchsorted(numbers, np.array([piece << 32, (piece + 1) << 32], dtype=np.uint64))
        found.append(np.array(numbers[low:high]))
    return np.sort(np.concatenate(found)) - np.uint64(piece << 32)
