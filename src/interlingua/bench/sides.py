"""A side of a comparison: a process of its own that reads its work as JSON and answers with a line of JSON.

Memory and threads of one side would disturb the other. Price: importing torch again for every measurement.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from interlingua.errors import RunError

__all__ = ["answer", "ask"]


def ask(module: str, side: str, work: dict[str, Any]) -> dict[str, Any]:
    """Run ``module.main()`` in a process of its own.

    Args:
        module: dotted name.
        side: name of the side, its first argument.
        work: what it reads from standard input, as JSON.

    Raises:
        RunError: the process failed; its last words are in the message.
    """
    environment = os.environ | {
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", f"from {module} import main; main()", side],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise RunError(
            f"{side} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:] or 'no message'}",
            where=f"side {side} of {module}",
        )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def answer(sides: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
    """Run the side that the command line names; what it returns, and its peak memory, go to standard output."""
    row = sides[sys.argv[1]](json.load(sys.stdin))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write("\n" + json.dumps(row | {"side": sys.argv[1], "peak_mb": peak_mb}) + "\n")
