"""Tasks: each holds its readers, head, loss and metric."""

from interlingua.tasks.base import Encoded, Example, Task, TaskStream
from interlingua.tasks.classify import Classify, TextExample, read_text_examples
from interlingua.tasks.questions import Answer, Question, read_questions
from interlingua.tasks.span import Span
from interlingua.tasks.tag import Tag, TaggedSentence, entity_spans, read_tagged_sentences

__all__ = [
    "TASKS",
    "Answer",
    "Classify",
    "Encoded",
    "Example",
    "Question",
    "Span",
    "Tag",
    "TaggedSentence",
    "Task",
    "TaskStream",
    "TextExample",
    "entity_spans",
    "read_questions",
    "read_tagged_sentences",
    "read_text_examples",
]

#: Tasks that are taught, by their type in recipes.
TASKS: dict[str, type[Task]] = {task.kind: task for task in (Classify, Tag, Span)}
