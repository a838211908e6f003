"""Several ranks of a command on this machine, started again when one is killed.

In: the words of a command and a number of ranks. Out: the command's exit code. Decision: a rank that ends by itself
with an error has said what is wrong, so all end; one that was killed (by a signal: out of memory, a machine that
reclaims it) is what checkpoints are for, so all are started again. Price: one machine only; several are ``torchrun``'s.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from types import FrameType

__all__ = ["launch"]


def _rank(rank: int, words: Sequence[str], ranks: int, port: int) -> None:
    """One rank: the command, with what ``torchrun`` would tell it."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "localhost"})
    sys.argv = ["interlingua", *words]
    from interlingua.cli import main

    main()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def _passing_on(processes: Sequence[BaseProcess], asked: list[int]) -> Callable[[int, FrameType | None], None]:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        for process in processes:
            if process.is_alive() and process.pid:
                os.kill(process.pid, number)

    return pass_on


def launch(words: Sequence[str], ranks: int, *, restarts: int, say: Callable[[str], None]) -> int:
    """Run ``interlingua WORDS`` on so many ranks.

    Args:
        words: the command line without the program's name.
        ranks: processes.
        restarts: how often all are started again after one was killed.
        say: told in a line of every restart.

    Returns:
        The exit code.
    """
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

    # Before torch is imported there: each rank makes its batches on its own share of the cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    asked: list[int] = []  # signals to end
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # says that it ends the other ranks
    for left in range(restarts, -1, -1):
        started = spawn(_rank, (list(words), ranks, _free_port()), nprocs=ranks, join=False)  # type: ignore[no-untyped-call]
        assert started is not None  # not joined
        before = signal.signal(signal.SIGTERM, _passing_on(started.processes, asked))
        try:
            while not started.join():
                pass
            return 0
        except ProcessRaisedException as error:
            say(str(error))
            return 1
        except ProcessExitedException as error:
            if asked:
                return 0  # what was finished is saved; a rank that was not in the loop yet ends by the signal itself
            if error.signal_name is None:
                return error.exit_code
            if not left:
                say(f"rank {error.error_index} was killed ({error.signal_name}), and no restart is left (--restarts)")
                return 1
            say(f"rank {error.error_index} was killed ({error.signal_name}); all go on from the last checkpoint")
        finally:
            signal.signal(signal.SIGTERM, before)
    raise AssertionError  # the last round returns
