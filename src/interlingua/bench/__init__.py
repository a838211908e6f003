"""Speed beside what people use today, on the machine at hand.

Two sides do the same work on the same data, each in a process of its own, in turn; what is reported are medians and the
ratios of runs that stood next to one another.
"""

from interlingua.bench.corpus import CorpusRun, compare_corpus, grown_corpus, write_input
from interlingua.bench.embed import Embedding, compare_embedding, mixed_texts
from interlingua.bench.pretrain import COLUMNS, SHAPES, Comparison, Shape, compare_pretraining
from interlingua.bench.tune import TUNE_SHAPES, TuneShape, Tuning, compare_tuning

__all__ = [
    "COLUMNS",
    "SHAPES",
    "TUNE_SHAPES",
    "Comparison",
    "CorpusRun",
    "Embedding",
    "Shape",
    "TuneShape",
    "Tuning",
    "compare_corpus",
    "compare_embedding",
    "compare_pretraining",
    "compare_tuning",
    "grown_corpus",
    "mixed_texts",
    "write_input",
]
