"""Scores per language, beside controls."""

from interlingua.evaluate.controls import CONTROLS, control_scores
from interlingua.evaluate.run import evaluate
from interlingua.scores import LanguageRow, Score, append_scores, read_scores, summarise

__all__ = [
    "CONTROLS",
    "LanguageRow",
    "Score",
    "append_scores",
    "control_scores",
    "evaluate",
    "read_scores",
    "summarise",
]
