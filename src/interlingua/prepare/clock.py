"""Processor time of a step, kept where datatrove keeps the time of its own.

A datatrove step flows in, its statistics have the seconds afterwards. Decision: processor time and not the wall
clock's, since machines are shared and a step waits for the one before it. Price: waiting for a disk is not seen.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["clocked"]


@contextlib.contextmanager
def clocked(step: Any, unit: str) -> Iterator[None]:
    """Add the processor seconds of the block to the step's statistics, as those of one ``unit``."""
    begin = time.process_time()
    try:
        yield
    finally:
        step.stats.time_stats.update(time.process_time() - begin, unit)
