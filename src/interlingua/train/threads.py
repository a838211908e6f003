"""How many threads help.

Two threads on the small matrices of a small model can be many times slower than one: they spin at every barrier. So
the number is measured, on the network that will run. The choice is kept in the checkpoint, because sums in another
order are not the same bits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

__all__ = ["available_cores", "choose_threads"]


def available_cores() -> int:
    """Cores this process may use: its share, where ``torchrun`` started several on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def choose_threads(step: Callable[[], object], *, repeats: int = 3, cores: int = 0) -> int:
    """The number of threads to use for ``step``, measured; torch is left set to it.

    The most threads win unless fewer are clearly faster: on a machine that is busy for the moment of the measurement
    all counts look alike, and then more threads are the better bet for the hours that follow.

    Args:
        step: a forward (and backward) pass as it will be run; called a few times for each candidate.
        repeats: timed calls a candidate; the fastest counts.
        cores: that may be used; 0: all of this process.
    """
    cores = cores or available_cores()
    candidates = sorted({1, 2, 4, 8, 16, cores} & set(range(1, cores + 1)), reverse=True)
    best, best_time = candidates[0], float("inf")
    for threads in candidates:
        torch.set_num_threads(threads)
        step()
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            step()
            times.append(time.perf_counter() - begin)
        if min(times) < 0.85 * best_time:
            best, best_time = threads, min(times)
    torch.set_num_threads(best)
    return best
