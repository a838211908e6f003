"""Looking inside: hidden states by layer, alignment of languages, language means."""

from interlingua.probe.alignment import centred, precision_at_1, retrieve
from interlingua.probe.geometry import language_map, language_means
from interlingua.probe.states import sentence_states

__all__ = ["centred", "language_map", "language_means", "precision_at_1", "retrieve", "sentence_states"]
