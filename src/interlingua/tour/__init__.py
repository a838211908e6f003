"""The main job, start to end: taught in English, scored everywhere."""

from interlingua.tour.scratch import run_scratch_tour
from interlingua.tour.shared import TourResult
from interlingua.tour.topics import run_tour

__all__ = ["TourResult", "run_scratch_tour", "run_tour"]
