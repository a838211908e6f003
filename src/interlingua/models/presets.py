"""One dial for size.

In: a family and a size name. Out: the dimensions of a network. The sizes from ``small`` up are the published ones
(BERT: Devlin et al. 2019 and Turc et al. 2019; XLM-R: Conneau et al. 2020; ModernBERT: Warner et al. 2024); those
below are for laptops. Decision: width sets heads (64 a head) and feed-forward (4x, ModernBERT 1.5x gated); only width
and depth vary, so any other shape is two numbers in a recipe.
"""

from __future__ import annotations

from dataclasses import dataclass

from interlingua.errors import RecipeError, nearest

__all__ = ["FAMILIES", "PRESETS", "Preset", "preset"]

FAMILIES = ("bert", "xlm-roberta", "modernbert")


@dataclass(frozen=True)
class Preset:
    """Dimensions of an encoder.

    Attributes:
        hidden: width D.
        layers: number of layers.
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
    if family == "modernbert":
        # ModernBERT-base is 22 layers of 768 with a gated feed-forward of 1152 (two such matrices), large 28 x 1024.
        layers = {"base": 22, "large": 28}.get(size, layers)
        feed_forward = 2624 if size == "large" else hidden * 3 // 2
    else:
        feed_forward = hidden * 4
    return Preset(hidden, layers, max(1, hidden // 64), feed_forward)
