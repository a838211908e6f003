"""Vocabularies: training, words <-> tokens, and what a vocabulary does to each language.

Texts flow in, a tokenizer and its measurements flow out. Nothing here needs torch.
"""

from interlingua.vocab.report import VocabularyRow, vocabulary_report
from interlingua.vocab.train import MemoryEstimate, memory_estimate, save_vocabulary, train_vocabulary
from interlingua.vocab.words import AlignedWords, WordStarts, align_words, word_start_tokens

__all__ = [
    "AlignedWords",
    "MemoryEstimate",
    "VocabularyRow",
    "WordStarts",
    "align_words",
    "memory_estimate",
    "save_vocabulary",
    "train_vocabulary",
    "vocabulary_report",
    "word_start_tokens",
]
