"""What can be learnt: one file an objective, all over the same batch."""

from interlingua.objectives.align import AlignedTexts, WordAlignment
from interlingua.objectives.base import Loss, Objective, Part, Targets, TokenTargets
from interlingua.objectives.boundary import SpanBoundary
from interlingua.objectives.build import build_mixture
from interlingua.objectives.clm import CausalLM
from interlingua.objectives.contrast import MomentumQueue, TranslationRanking, ranking_losses
from interlingua.objectives.denoise import Denoising
from interlingua.objectives.masking import Masking, RateSchedule
from interlingua.objectives.mix import Mixture
from interlingua.objectives.mlm import MaskedLM, TranslationLM
from interlingua.objectives.order import TextOrder
from interlingua.objectives.plm import PermutationLM
from interlingua.objectives.rtd import ReplacedTokenDetection
from interlingua.objectives.simcse import DropoutPairs
from interlingua.objectives.switch import CodeSwitching

__all__ = [
    "AlignedTexts",
    "CausalLM",
    "CodeSwitching",
    "Denoising",
    "DropoutPairs",
    "Loss",
    "MaskedLM",
    "Masking",
    "Mixture",
    "MomentumQueue",
    "Objective",
    "Part",
    "PermutationLM",
    "RateSchedule",
    "ReplacedTokenDetection",
    "SpanBoundary",
    "Targets",
    "TextOrder",
    "TokenTargets",
    "TranslationLM",
    "TranslationRanking",
    "WordAlignment",
    "build_mixture",
    "ranking_losses",
]
