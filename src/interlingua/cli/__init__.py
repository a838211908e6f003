"""The command line: one thin module a verb.

Words flow in; a table or one JSON document flows out on stdout, progress and errors on stderr, and an exit code: 0
done, 1 failed, 2 usage. Decision: verbs import what they need when they run, so that help is there at once. Price:
imports stand inside functions.
"""

from __future__ import annotations

import os

# Read by OpenMP and by tokenizers when they are loaded, which no verb has done yet. Threads that spin while they wait
# slow down everything else on a small machine; shard writers are spawned, never forked, so threads are safe.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

__all__ = ["main"]


def main() -> None:
    """Run the command that the process was started with."""
    from interlingua.cli.app import app

    app(prog_name="interlingua")
