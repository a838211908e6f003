"""How much of the differences between training mixes is an effect of the mix: two models tuned on the same mixes.

Noise of two trainings is independent, what a mix does is (partly) the same. So the share of variance around each
language's mean that two models have in common bounds what any forecast from the mix alone can remove, as far as the
models react alike.

    python benchmarks/mix_noise.py FORECAST/train/XNLI_XLMR.json.zst FORECAST/train/XNLI_TULRv6Large.json.zst
"""

import sys
from pathlib import Path

import numpy as np

from interlingua.evaluate.forecast import read_grid

first, second = (read_grid([Path(name)]) for name in sys.argv[1:3])
places = [list(second.mixes).index(mix) for mix in first.mixes]
columns = [second.languages.index(lang) for lang in first.languages]
values = [100 * first.values, 100 * second.values[places][:, columns]]
values = [part - part.mean(axis=0) for part in values]
common = float((values[0] * values[1]).mean())
for grid, part in zip((first, second), values, strict=True):
    share = common / float((part**2).mean())
    print(
        f"{Path(grid.name).name}: mean absolute difference from the language's mean {np.abs(part).mean():.2f} points; "
        f"in common {share:.0%} of the variance; without that part {np.abs(part).mean() * (1 - share) ** 0.5:.2f}"
    )
