"""How a run goes, step by step: what stands in its log besides the losses.

In: the loop's clock and counters. Out: a row a step for ``metrics.jsonl`` and, on request, TensorBoard. Decision: each
figure is of the time since the last row (evaluation and saving included, since a user waits for them as well). Price:
the row after an evaluation looks slow.
"""

from __future__ import annotations

import importlib.util
import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from interlingua.errors import MissingExtraError
from interlingua.train.flops import FlopCounter, peak_rate

if TYPE_CHECKING:
    from interlingua.run import Run

__all__ = ["Meters", "Readings", "TensorBoard", "need_tensorboard", "peak_memory_mb"]


def peak_memory_mb(device: torch.device) -> float:
    """Most memory in use so far, in MB: of a GPU what tensors took, else the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1e6 if sys.platform == "darwin" else used / 1e3  # bytes there, kilobytes elsewhere


@dataclass(frozen=True)
class Readings:
    """Of the time since the last ones.

    Attributes:
        tokens_per_second: of all ranks together.
        flops_utilisation: share of the machine's rate, see :mod:`interlingua.train.flops`; None if not asked for.
        padding: share of the batch that was padding.
        data_wait: share of the time in which the loop waited for a batch.
        memory_mb: most memory in use so far, of this rank.
    """

    tokens_per_second: float
    flops_utilisation: float | None
    padding: float
    data_wait: float
    memory_mb: float


class Meters:
    """Reads the clock.

    Args:
        device: what is trained on.
        counter: of operations; None leaves utilisation out.
        ranks: processes that share a step.
    """

    def __init__(self, device: torch.device, counter: FlopCounter | None, *, ranks: int) -> None:
        self.device = device
        self.counter = counter
        self.rate = peak_rate(device) * ranks if counter else math.nan
        """Operations a second of all ranks."""
        self.tokens = 0
        """Tokens since the loop began."""
        self._last = self._begin = time.perf_counter()
        self._waited = 0.0

    @property
    def seconds(self) -> float:
        """Since the loop began."""
        return time.perf_counter() - self._begin

    def read(self, prepared: Sequence[Any], waited: float) -> Readings:
        """Take the readings of a step.

        Args:
            prepared: what the step computed, as (part, batch, targets).
            waited: seconds in which the loop has waited for batches, since it began.
        """
        now = time.perf_counter()
        spent = max(now - self._last, 1e-9)
        tokens = sum(batch.tokens for _, batch, _ in prepared)
        room = sum(batch.tokens_BL.numel() for _, batch, _ in prepared)
        readings = Readings(
            tokens / spent,
            self.counter.step(prepared) / spent / self.rate if self.counter else None,
            1 - tokens / max(1, room),
            min(1.0, (waited - self._waited) / spent),
            peak_memory_mb(self.device),
        )
        self.tokens += tokens
        self._last, self._waited = now, waited
        return readings


def need_tensorboard() -> None:
    """Refuse before anything is done what would fail at its first row.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError(
            "train.tensorboard without TensorBoard", next_step="pip install 'interlingua[tensorboard]'"
        )


class TensorBoard:
    """Scalars of the log's rows, for ``tensorboard --logdir RUN``.

    Args:
        run: its folder gets ``tensorboard/``.
        step: rows after it come again and are dropped there.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self, run: Run, step: int) -> None:
        need_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(run.folder / "tensorboard"), purge_step=step + 1)

    def write(self, row: Mapping[str, Any]) -> None:
        """Every number of a row, by its path in it."""
        for name, value in _scalars(row):
            if name != "step":
                self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _scalars(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{path}{key}/")
        elif isinstance(value, (int, float)):
            yield f"{path}{key}", value
