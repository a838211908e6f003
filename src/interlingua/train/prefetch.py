"""Batches prepared in another thread while the step before is computed.

In: a function that makes what step t needs. Out: the same, in order, and how long the loop had to wait for it.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Prefetcher"]

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Prepares the next steps in one other thread.

    Args:
        make: a pure function of the step.
        start: first step.
        stop: the step after the last.
        ahead: steps prepared beforehand.
    """

    def __init__(self, make: Callable[[int], T], start: int, stop: int, ahead: int = 2) -> None:
        self._make, self._stop, self._ahead = make, stop, ahead
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._waiting = {t: self._pool.submit(make, t) for t in range(start, min(start + ahead, stop))}
        self.waited = 0.0
        """Seconds that :meth:`get` has spent waiting, all in all."""

    def get(self, t: int) -> T:
        """What step ``t`` needs; steps are asked for one after the other."""
        if t + self._ahead < self._stop:
            self._waiting[t + self._ahead] = self._pool.submit(self._make, t + self._ahead)
        begin = time.perf_counter()
        found = self._waiting.pop(t).result()
        self.waited += time.perf_counter() - begin
        return found

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)
