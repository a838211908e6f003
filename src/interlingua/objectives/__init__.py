"""What can be learnt: one file an objective, all over the same batch."""

from interlingua.objectives.base import Loss, Objective, Part, Targets
from interlingua.objectives.build import build_mixture
from interlingua.objectives.contrast import TranslationRanking, ranking_losses
from interlingua.objectives.masking import Masking
from interlingua.objectives.mix import Mixture
from interlingua.objectives.mlm import MaskedLM, TranslationLM

__all__ = [
    "Loss",
    "MaskedLM",
    "Masking",
    "Mixture",
    "Objective",
    "Part",
    "Targets",
    "TranslationLM",
    "TranslationRanking",
    "build_mixture",
    "ranking_losses",
]
