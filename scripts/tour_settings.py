"""The results page docs/results/tour-settings.md: how the tours' tuning settings compare on English examples alone.

    python scripts/tour_settings.py [--pretrained runs/tour-from-scratch/pretrain] [--seeds 2]

No example in another language and no test example is looked at. Topics are taught with SIB-200's English training
sentences and scored on its English development sentences; parts of the Bible with four fifths of the English teaching
chapters, scored on the last fifth. The second needs the encoder of a finished ``interlingua tour --from-scratch``.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from interlingua.data import resolve
from interlingua.models.encoder import Encoder, load
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe
from interlingua.tasks import TextExample, read_text_examples
from interlingua.tour.bible import split_bible
from interlingua.tour.scratch import SCRATCH_TUNE
from interlingua.tour.topics import TOUR_TUNE
from interlingua.transfer.finetune import build_task
from interlingua.transfer.tune import tune_once

PAGE = Path(__file__).parent.parent / "docs" / "results" / "tour-settings.md"
TOPICS = [
    {},
    {"lr": 5e-5},
    {"lr": 2e-4},
    {"freeze": 6},
    {"freeze": 10},
]
PARTS = [{}, {"dropout": 0.0}, {"dropout": 0.1}, {"dropout": 0.3}, {"lr": 5e-4}, {"lr": 2e-3}, {"epochs": 2}]


def compare(
    encoder: Encoder,
    name: str,
    train: Sequence[TextExample],
    dev: Sequence[TextExample],
    default: TuneRecipe,
    changes: Sequence[dict[str, float]],
    seeds: int,
) -> list[str]:
    """A table of accuracies on the development examples; the first row is the tour's own setting."""
    task = build_task(TaskRecipe(name=name), train)
    lines = [f"| {name}: setting | accuracy on {len(dev)} English examples | spread |", "| --- | --- | --- |"]
    for change in changes:
        recipe = default.model_copy(update=change)
        cache: dict = {}
        found = []
        for seed in range(seeds):
            tuned = tune_once(encoder, task, train, recipe, seed=seed, cache=cache)
            encoded, _ = task.encode(dev, tuned.tokenizer, max_length=recipe.max_length)
            found.append(task.score(task.predict(tuned.model, encoded, tuned.tokenizer), encoded)[task.metric])
        setting = ", ".join(f"{key} {value:g}" for key, value in change.items()) or (
            f"the tour's: lr {default.lr:g}, freeze {default.freeze}, epochs {default.epochs}, dropout {default.dropout:g}"
        )
        lines.append(f"| {setting} | {statistics.fmean(found):.3f} | {statistics.pstdev(found):.3f} |")
        print(lines[-1], flush=True)
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pretrained", type=Path, default=Path("runs/tour-from-scratch/pretrain"))
    parser.add_argument("--seeds", type=int, default=2)
    chosen = parser.parse_args()
    sib = resolve("package:sib200.tsv.zst")
    train, dev = ([e for e in read_text_examples(sib, split=s) if e.lang == "en"] for s in ("train", "dev"))
    lines = compare(load("e5-small"), "topics", train, dev, TOUR_TUNE, TOPICS, chosen.seeds)
    teach = split_bible().teach
    chapters = sorted({e.where.rsplit(".", 1)[0] for e in teach})
    held = set(chapters[::5])
    train = [e for e in teach if e.where.rsplit(".", 1)[0] not in held]
    dev = [e for e in teach if e.where.rsplit(".", 1)[0] in held]
    lines += compare(load(chosen.pretrained), "Bible parts", train, dev, SCRATCH_TUNE, PARTS, chosen.seeds)
    head = ["# The tours' settings", "", "    python scripts/tour_settings.py", "", *__doc__.splitlines()[4:], ""]
    PAGE.write_text("\n".join([*head, f"Means over {chosen.seeds} seeds.", "", *lines]), encoding="utf-8")


if __name__ == "__main__":
    main()
