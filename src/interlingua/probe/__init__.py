"""Looking inside: hidden states by layer, alignment of languages, language means, what tells languages apart."""

from interlingua.probe.alignment import Retrieval, centred, precision_at_1
from interlingua.probe.fake import FakeCorpus, fake_sides, write_fake
from interlingua.probe.geometry import family_v_measure, language_map, language_means, mean_distances
from interlingua.probe.links import LayerLinks, LinkCounts, itermax, mutual_argmax, transport_plan, word_links
from interlingua.probe.mapping import Mapped, map_unsupervised
from interlingua.probe.multilinguality import Multilinguality, Side, multilinguality
from interlingua.probe.neighbours import SCORINGS, Best, Neighbours, best_matches, nearest
from interlingua.probe.overlap import Correlation, Overlap, correlation, subword_overlap
from interlingua.probe.profile import LayerGeometry, LayerLikeness, compare_models, language_geometry, language_identity
from interlingua.probe.projection import projection
from interlingua.probe.removal import REMOVALS, language_subspace, lir, lsar, removed
from interlingua.probe.retrieval import WAYS, retrieve
from interlingua.probe.senses import SenseLayer, WordSenses, sense_layer, word_senses
from interlingua.probe.similarity import PairedSums, linear_cka, procrustes_distance
from interlingua.probe.states import TextVectors, cut_texts, sentence_states, state_blocks, text_vectors
from interlingua.probe.static import STATIC, static_vectors
from interlingua.probe.symbols import SymbolSequence, read_sequences, symbol_words
from interlingua.probe.tokens import TokenVectors, token_vectors
from interlingua.probe.words import WordTranslation, WordVectors, translate_words, translation_ranks, word_vectors
from interlingua.probe.wordstates import WordedText, WordStates, joined_words, segmented, word_state_blocks

__all__ = [
    "REMOVALS",
    "SCORINGS",
    "STATIC",
    "WAYS",
    "Best",
    "Correlation",
    "FakeCorpus",
    "LayerGeometry",
    "LayerLikeness",
    "LayerLinks",
    "LinkCounts",
    "Mapped",
    "Multilinguality",
    "Neighbours",
    "Overlap",
    "PairedSums",
    "Retrieval",
    "SenseLayer",
    "Side",
    "SymbolSequence",
    "TextVectors",
    "TokenVectors",
    "WordSenses",
    "WordStates",
    "WordTranslation",
    "WordVectors",
    "WordedText",
    "best_matches",
    "centred",
    "compare_models",
    "correlation",
    "cut_texts",
    "fake_sides",
    "family_v_measure",
    "itermax",
    "joined_words",
    "language_geometry",
    "language_identity",
    "language_map",
    "language_means",
    "language_subspace",
    "linear_cka",
    "lir",
    "lsar",
    "map_unsupervised",
    "mean_distances",
    "multilinguality",
    "mutual_argmax",
    "nearest",
    "precision_at_1",
    "procrustes_distance",
    "projection",
    "read_sequences",
    "removed",
    "retrieve",
    "segmented",
    "sense_layer",
    "sentence_states",
    "state_blocks",
    "static_vectors",
    "subword_overlap",
    "symbol_words",
    "text_vectors",
    "token_vectors",
    "translate_words",
    "translation_ranks",
    "transport_plan",
    "word_links",
    "word_senses",
    "word_state_blocks",
    "word_vectors",
    "write_fake",
]
