"""One rate for every dropout of a network.

In: any network of transformers. Out: the same with another rate, in its modules and in what its configuration says.
Decision: modules are looked through, since families keep their rates under many names. Price: a rate that a family
keeps under a name not listed here is missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["set_dropout"]

#: Where modules that call a function keep their rate, and where configurations do.
MODULE_RATES = ("attention_dropout", "dropout", "dropout_prob")
CONFIG_RATES = (
    "attention_dropout",
    "attention_probs_dropout_prob",
    "dropout",
    "dropout_rate",
    "hidden_dropout_prob",
    "mlp_dropout",
)


def set_dropout(model: PreTrainedModel, rate: float) -> None:
    """Set every dropout of a network, and what its configuration and those of its two sides say of it."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name in MODULE_RATES:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)
    sides = [side for side in (getattr(model, "encoder", None), getattr(model, "decoder", None)) if side is not None]
    for config in (model.config, *(side.config for side in sides if hasattr(side, "config"))):
        for name in CONFIG_RATES:
            if hasattr(config, name):
                setattr(config, name, rate)
