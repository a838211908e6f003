"""Speed beside what people use today, on the machine at hand.

Two sides do the same work on the same data, each in a process of its own, in turn; what is reported are medians and the
ratios of runs that stood next to one another.
"""

from interlingua.bench.embed import Embedding, compare_embedding, mixed_texts
from interlingua.bench.pretrain import SHAPES, Comparison, Shape, compare_pretraining

__all__ = ["SHAPES", "Comparison", "Embedding", "Shape", "compare_embedding", "compare_pretraining", "mixed_texts"]
