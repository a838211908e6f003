"""Accuracy of a model in a language, or after a training mix, that was never scored."""

from interlingua.evaluate.forecast.facts import Facts, read_facts
from interlingua.evaluate.forecast.forecaster import Cells, Forecaster, LeftOut
from interlingua.evaluate.forecast.grid import Grid, read_grid, read_mixes

__all__ = ["Cells", "Facts", "Forecaster", "Grid", "LeftOut", "read_facts", "read_grid", "read_mixes"]
