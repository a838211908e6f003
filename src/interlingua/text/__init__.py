"""Raw text: readers of documents and pairs, and word boundaries.

Files flow in, `Document`, `Pair` and word starts flow out. Nothing here needs torch or transformers.
"""

from interlingua.text.alignments import AlignedPair, read_alignments
from interlingua.text.documents import UNDETERMINED, Document, read_documents
from interlingua.text.lines import ReadReport
from interlingua.text.pairs import Pair, Parallel, read_moses, read_pairs, read_parallel
from interlingua.text.words import word_starts, word_starts_batch, words

__all__ = [
    "UNDETERMINED",
    "AlignedPair",
    "Document",
    "Pair",
    "Parallel",
    "ReadReport",
    "read_alignments",
    "read_documents",
    "read_moses",
    "read_pairs",
    "read_parallel",
    "word_starts",
    "word_starts_batch",
    "words",
]
