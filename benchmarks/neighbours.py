"""Nearest neighbours of very many vectors: seconds, memory and recall of the exact search, beside faiss.

    python benchmarks/neighbours.py [--model e5-small] [--count 200000] [--k 10] [--threads 2]

Vectors are a model's token table: its first COUNT rows are looked for among its last COUNT. Each side runs in a process
of its own, so that memory is its own; faiss (`pip install faiss-cpu`) is asked for its exact index. What was found is
held against cosines in float64 for every so many-th query; a neighbour counts as found where its cosine is that of the
true one to 1e-6, since neighbours that lie equally near may be told in any order.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHECKED = 500


def vectors(model: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    from interlingua.models.encoder import load

    table = load(model).model.get_input_embeddings().weight.detach().numpy()
    if len(table) < count:
        raise SystemExit(f"{model} has {len(table):,} tokens; give a smaller --count")
    return table[:count].copy(), table[-count:].copy()


def peak_mb() -> float:
    """Largest resident memory of this program; what a parent had does not count, as it would with getrusage."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def ours(queries: np.ndarray, keys: np.ndarray, k: int) -> np.ndarray:
    from interlingua.probe.neighbours import nearest

    return nearest(queries, keys, k).index


def faiss(queries: np.ndarray, keys: np.ndarray, k: int) -> np.ndarray:
    import faiss as library

    from interlingua.probe.neighbours import unit

    library.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    index = library.IndexFlatIP(keys.shape[1])
    index.add(unit(keys))
    return index.search(unit(queries), k)[1]


SIDES = {"ours": ours, "faiss, IndexFlatIP": faiss}


def recall(found: np.ndarray, queries: np.ndarray, keys: np.ndarray) -> float:
    """Share of the true neighbours' places that hold a vector as near as the true one."""
    rows = np.arange(0, len(queries), max(1, len(queries) // CHECKED))
    sides = [side.astype(np.float64) for side in (queries[rows], keys)]
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    hits = []
    for row, query in zip(rows, left, strict=True):
        cosines = right @ query
        best = np.sort(cosines)[::-1][: found.shape[1]]
        hits.append(np.abs(np.sort(cosines[found[row]])[::-1] - best) <= 1e-6)
    return float(np.mean(hits))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="e5-small")
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    if chosen.side:
        queries, keys = (np.load(chosen.folder / f"{name}.npy") for name in ("queries", "keys"))
        SIDES[chosen.side](queries[:20], keys[:20], chosen.k)  # what it imports is no memory of the search
        before = peak_mb()
        started = time.perf_counter()
        found = SIDES[chosen.side](queries, keys, chosen.k)
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "mb": peak_mb() - before, "recall": recall(found, queries, keys)}))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, side in zip(("queries", "keys"), vectors(chosen.model, chosen.count), strict=True):
            np.save(Path(folder) / f"{name}.npy", side)
        threads = {name: str(chosen.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        print(f"{chosen.count:,} queries, {chosen.count:,} keys, k {chosen.k}, {chosen.threads} threads")
        print("| side | seconds | queries/s | MB beside the vectors | recall |\n| --- | --- | --- | --- | --- |")
        for side in SIDES:
            words = [sys.executable, __file__, "--side", side, "--folder", folder, "--k", str(chosen.k)]
            done = subprocess.run(words, env=os.environ | threads, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout)
            print(f"| {side} | {row['seconds']:,.0f} | {chosen.count / row['seconds']:,.0f} | {row['mb']:,.0f} |"
                  f" {row['recall']:.4f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
