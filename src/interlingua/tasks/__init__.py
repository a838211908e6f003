"""Tasks: each holds its readers, head, loss and metric."""

from interlingua.tasks.base import Encoded, TaskStream
from interlingua.tasks.classify import Classify, TextExample, read_text_examples
from interlingua.tasks.tag import Tag, TaggedSentence, entity_spans, read_tagged_sentences

__all__ = [
    "Classify",
    "Encoded",
    "Tag",
    "TaggedSentence",
    "TaskStream",
    "TextExample",
    "entity_spans",
    "read_tagged_sentences",
    "read_text_examples",
]
