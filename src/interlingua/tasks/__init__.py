"""Tasks: each holds its readers, head, loss and metric."""

from interlingua.tasks.base import Encoded, Example, Task, TaskStream
from interlingua.tasks.choice import Choice, ChoiceExample
from interlingua.tasks.classify import Classify
from interlingua.tasks.cloze import Cloze
from interlingua.tasks.mine import Bitext, Candidates, best_threshold, candidates, mine, mining_scores, read_bitext
from interlingua.tasks.passages import PassageSet, question_passages, read_beir
from interlingua.tasks.questions import Answer, Question, read_questions
from interlingua.tasks.rank import Ranking, rank_passages, ranking_metrics
from interlingua.tasks.retrieve import Retrieved, SentenceSet, read_sentence_sets, retrieve_sentences
from interlingua.tasks.score import ScoredText, Scoring
from interlingua.tasks.span import Span
from interlingua.tasks.tag import Tag, TaggedSentence, entity_spans, read_tagged_sentences
from interlingua.tasks.texts import TextExample, read_text_examples

__all__ = [
    "TASKS",
    "Answer",
    "Bitext",
    "Candidates",
    "Choice",
    "ChoiceExample",
    "Classify",
    "Cloze",
    "Encoded",
    "Example",
    "PassageSet",
    "Question",
    "Ranking",
    "Retrieved",
    "ScoredText",
    "Scoring",
    "SentenceSet",
    "Span",
    "Tag",
    "TaggedSentence",
    "Task",
    "TaskStream",
    "TextExample",
    "best_threshold",
    "candidates",
    "entity_spans",
    "mine",
    "mining_scores",
    "question_passages",
    "rank_passages",
    "ranking_metrics",
    "read_beir",
    "read_bitext",
    "read_questions",
    "read_sentence_sets",
    "read_tagged_sentences",
    "read_text_examples",
    "retrieve_sentences",
]

#: Tasks that are taught, by their type in recipes.
TASKS: dict[str, type[Task]] = {task.kind: task for task in (Classify, Cloze, Scoring, Choice, Tag, Span)}
