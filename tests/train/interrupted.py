"""Run a pretraining recipe in one go, and again in child processes that are killed at random moments.

    python interrupted.py RECIPE OUT KILLS RANKS

Children are forked after the heavy imports, so that a kill costs no second start-up; with several ranks there are so
many at once. The first ones run to their end in OUT/whole and set the time scale; KILLS further ones run in OUT/run,
each killed with SIGKILL at a random moment if it still runs (one rank, which must end the others, or all of them); the
last ones end by themselves. Prints one JSON line: what they left behind.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

import torch
import transformers.models.bert.modeling_bert  # noqa: F401  before the forks, as all that follows

import interlingua.models.build
import interlingua.shards.write
import interlingua.train.loop  # noqa: F401
from interlingua.pretrain import pretrain
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_file import load_recipe


def fork(recipe: PretrainRecipe, out: Path, rank: int, ranks: int, port: int) -> int:
    """Start one rank; its process id."""
    process = os.fork()
    if process == 0:
        if ranks > 1:
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)}
            os.environ |= {"LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        code = 1
        try:
            pretrain(recipe, out)
            code = 0
        finally:
            os._exit(code)
    return process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def attempt(
    recipe: PretrainRecipe, out: Path, ranks: int, seconds: float | None, victims: list[int]
) -> dict[str, object]:
    """Fork, run, kill; return how the first rank ended and where the run stood then."""
    port = free_port()
    running = {rank: fork(recipe, out, rank, ranks, port) for rank in range(ranks)}
    processes = dict(running)
    codes: dict[int, int] = {}
    begin = time.monotonic()
    killed = False
    while running:
        for rank, process in list(running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                codes[rank] = os.waitstatus_to_exitcode(status)
                del running[rank]
        if seconds is not None and not killed and time.monotonic() - begin > seconds:
            killed = True
            for rank in victims:
                if rank in running:
                    os.kill(processes[rank], signal.SIGKILL)
        time.sleep(0.002)
    index = out / "checkpoints" / "index.json"
    last = json.loads(index.read_text())["last"] if index.exists() else None
    used = sum(file.stat().st_size for file in (out / "checkpoints").rglob("*") if file.is_file())
    whole = [folder.name for folder in (out / "checkpoints").glob("step-*") if not (folder / "config.json").exists()]
    return {
        "status": codes[0],
        "killed": sum(code == -9 for code in codes.values()),
        "last": last,
        "seconds": time.monotonic() - begin,
        "bytes": used,
        "checkpoints": len(list((out / "checkpoints").glob("step-*"))),
        "half": whole,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    recipe = load_recipe(sys.argv[1], PretrainRecipe)
    folder, kills, ranks = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    whole = attempt(recipe, folder / "whole", ranks, None, [])
    chance = random.Random(kills)
    # About as long as the whole run all together, so that kills fall into every stage of it.
    moments = [chance.uniform(0, 2.2 / kills) * float(str(whole["seconds"])) for _ in range(kills)]
    everyone = list(range(ranks))
    left = [
        attempt(recipe, folder / "run", ranks, s, everyone if chance.random() < 0.5 else [chance.choice(everyone)])
        for s in moments
    ]
    left.append(attempt(recipe, folder / "run", ranks, None, []))
    sys.stdout.write(json.dumps([whole, *left]) + "\n")
