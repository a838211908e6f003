"""Looking inside: hidden states by layer, alignment of languages, language means."""

from interlingua.probe.alignment import centred, precision_at_1, retrieve
from interlingua.probe.geometry import language_map, language_means
from interlingua.probe.neighbours import SCORINGS, Best, Neighbours, best_matches, nearest
from interlingua.probe.states import TextVectors, sentence_states, text_vectors

__all__ = [
    "SCORINGS",
    "Best",
    "Neighbours",
    "TextVectors",
    "best_matches",
    "centred",
    "language_map",
    "language_means",
    "nearest",
    "precision_at_1",
    "retrieve",
    "sentence_states",
    "text_vectors",
]
