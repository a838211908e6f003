"""Run a pretraining recipe in one go, and again in child processes that are killed at random moments.

    python interrupted.py RECIPE OUT KILLS

Children are forked after the heavy imports, so that a kill costs no second start-up. The first one runs to its end in
OUT/whole and sets the time scale; KILLS further ones run in OUT/run, each killed with SIGKILL at a random moment if it
still runs; the last one ends by itself. Prints one JSON line: what each child left behind.
"""

from __future__ import annotations

import json
import os
import random
import signal
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


def child(recipe: PretrainRecipe, out: Path, seconds: float | None) -> dict[str, object]:
    """Fork, run, kill; return how it ended and where the run stood then."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            pretrain(recipe, out)
            code = 0
        finally:
            os._exit(code)
    begin = time.monotonic()
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            break
        if seconds is not None and time.monotonic() - begin > seconds:
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            break
        time.sleep(0.002)
    index = out / "checkpoints" / "index.json"
    last = json.loads(index.read_text())["last"] if index.exists() else None
    return {"status": os.waitstatus_to_exitcode(status), "last": last, "seconds": time.monotonic() - begin}


if __name__ == "__main__":
    torch.set_num_threads(1)
    recipe = load_recipe(sys.argv[1], PretrainRecipe)
    folder, kills = Path(sys.argv[2]), int(sys.argv[3])
    whole = child(recipe, folder / "whole", None)
    chance = random.Random(kills)
    # About as long as the whole run all together, so that kills fall into every stage of it.
    moments = [chance.uniform(0, 2.2 / kills) * float(str(whole["seconds"])) for _ in range(kills)]
    sys.stdout.write(json.dumps([whole, *(child(recipe, folder / "run", s) for s in [*moments, None])]) + "\n")
