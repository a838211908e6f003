"""One dial for size.

In: a family and a size name. Out: the dimensions of a network. The sizes from ``small`` up are the published ones
where there are such (BERT: Devlin et al. 2019 and Turc et al. 2019; XLM-R: Conneau et al. 2020; ModernBERT: Warner et
al. 2024; ALBERT: Lan et al. 2020; ELECTRA: Clark et al. 2020; mDeBERTa: He et al. 2021; XLNet: Yang et al. 2019;
GPT-2: Radford et al. 2019; BART: Lewis et al. 2020; T5: Raffel et al. 2020; mT5: Xue et al. 2021); those below are for
laptops. Decision: width sets heads (64 a head) and feed-forward (4x, gated ones less); only width and depth vary, so
any other shape is two numbers in a recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from interlingua.errors import RecipeError, nearest
from interlingua.recipe import ModelRecipe

__all__ = ["FAMILIES", "PRESETS", "Preset", "preset"]

FAMILIES: tuple[str, ...] = get_args(ModelRecipe.model_fields["family"].annotation)


@dataclass(frozen=True)
class Preset:
    """Dimensions of an encoder.

    Attributes:
        hidden: width D.
        layers: number of layers (of encoder and of decoder each, where there are both).
        heads: attention heads.
        feed_forward: inner width of the feed-forward block.
    """

    hidden: int
    layers: int
    heads: int
    feed_forward: int


#: width and depth by size; ``base`` and ``large`` follow the family.
PRESETS: dict[str, tuple[int, int]] = {
    "tiny": (128, 2),
    "mini": (256, 4),
    "small": (384, 6),
    "medium": (512, 8),
    "base": (768, 12),
    "large": (1024, 24),
}
#: Depths that are not BERT's.
LAYERS: dict[str, dict[str, int]] = {
    "modernbert": {"base": 22, "large": 28},
    "distilbert": {"base": 6, "large": 12},
    "bart": {"base": 6, "large": 12},
    "mbart": {"base": 6, "large": 12},
}


def preset(family: str, size: str) -> Preset:
    """Dimensions for a family and a size.

    Raises:
        RecipeError: unknown family or size.
    """
    if family not in FAMILIES:
        raise RecipeError(
            f"model family {family!r}{nearest(family, FAMILIES)}",
            expected=f"one of {', '.join(FAMILIES)}",
            where="model.family",
        )
    if size not in PRESETS:
        raise RecipeError(
            f"model size {size!r}{nearest(size, PRESETS)}", expected=f"one of {', '.join(PRESETS)}", where="model.size"
        )
    hidden, layers = PRESETS[size]
    layers = LAYERS.get(family, {}).get(size, layers)
    if family == "modernbert":
        # Gated: ModernBERT-base has two matrices of 768 x 1152.
        feed_forward = 2624 if size == "large" else hidden * 3 // 2
    elif family == "mt5":
        # Gated too: mT5-small 512 and 1024, base 768 and 2048, large 1024 and 2816.
        feed_forward = {"medium": 1024, "large": 2816}.get(size, hidden * 8 // 3)
    else:
        feed_forward = hidden * 4
    return Preset(hidden, layers, max(1, hidden // 64), feed_forward)
