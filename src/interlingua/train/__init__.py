"""The loop that runs every objective, its optimiser, and what it measures."""

from interlingua.train.heldout import HeldOut, held_out_losses
from interlingua.train.loop import Progress, TrainResult, train
from interlingua.train.optim import build_optimizer, learning_rate_factor
from interlingua.train.threads import choose_threads

__all__ = [
    "HeldOut",
    "Progress",
    "TrainResult",
    "build_optimizer",
    "choose_threads",
    "held_out_losses",
    "learning_rate_factor",
    "train",
]
