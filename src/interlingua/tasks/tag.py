"""A label a word: part of speech, and named entities in IOB2.

Readers (two columns, CoNLL, CoNLL-U, each also .zst or .gz), the loss over ``AutoModelForTokenClassification`` on the
first token of every word, accuracy and span F1. Words that were cut away at the longest length are counted as wrong,
never left out of the score.

Span F1 follows conlleval (Tjong Kim Sang and De Meulder 2003): an entity counts if its first word, last word and type
are right; an ``I-`` that follows nothing of its type begins an entity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from interlingua.batch import Batch
from interlingua.data import resolve
from interlingua.errors import DataError, RecipeError
from interlingua.languages import canonical, language
from interlingua.models.attention import encode, encode_at
from interlingua.models.head import token_logits
from interlingua.objectives.base import IGNORED, Loss, TokenTargets, at_least_float32
from interlingua.tasks.base import Encoded, Task, at_least_two, lay_out, token_order
from interlingua.text.lines import ReadReport, numbered_lines
from interlingua.vocab.words import align_words

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.recipe_transfer import LabelledFile, TaskRecipe

__all__ = ["Tag", "TaggedSentence", "entity_spans", "entity_texts", "read_tagged_sentences"]

#: Predicted for a word the network never saw; equal to no label.
CUT_AWAY = -1


@dataclass(frozen=True)
class TaggedSentence:
    """Words with a tag each.

    Attributes:
        words: the words.
        tags: one a word.
        lang: canonical tag.
        where: file and line of the first word.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    lang: str
    where: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its tags."""
        return self.tags


def _word_and_tag(cells: list[str], line: str, where: str) -> tuple[str, str] | None:
    if len(cells) == 10:
        # CoNLL-U: multiword ranges (1-2) and empty nodes (1.1) are not syntactic words.
        return (cells[1], cells[3]) if cells[0].isdigit() else None
    if len(cells) < 2 or not cells[0].strip() or not cells[-1].strip():
        raise DataError(
            f"line {line[:60]!r}", expected="a word and its tag, or the ten columns of CoNLL-U", where=where
        )
    return cells[0], cells[-1]


def read_tagged_sentences(path: Path, *, lang: str) -> list[TaggedSentence]:
    """Read a tagged file: a word a line, sentences parted by blank lines.

    Args:
        path: two or more columns (word first, tag last), or CoNLL-U (form and UPOS). Where every word of the file
            begins with one code and a colon (``de:Berlin``), as WikiANN has it, these are taken off.
        lang: language of the file.

    Raises:
        DataError: missing or empty file, a line without a tag, or one with more or fewer columns than those before it.
    """
    path, tag = Path(path), canonical(lang)
    sentences = list(_sentences(path, tag))
    code = sentences[0].words[0].partition(":")[0] + ":"
    if len(code) > 2 and all(word.startswith(code) and word != code for one in sentences for word in one.words):
        bare = len(code)
        sentences = [replace(one, words=tuple(word[bare:] for word in one.words)) for one in sentences]
    return sentences


def _sentences(path: Path, lang: str) -> Iterator[TaggedSentence]:
    words: list[str] = []
    tags: list[str] = []
    begin, found, columns = 1, 0, 0
    for number, line in numbered_lines(path, ReadReport()):
        comment = line.startswith("#") and "\t" not in line
        if not line.strip() or (comment and not words) or line.startswith("-DOCSTART-"):
            if words:
                yield TaggedSentence(tuple(words), tuple(tags), lang, f"{path}, line {begin}")
                words, tags = [], []
            continue
        cells = line.split("\t") if "\t" in line else line.split(" ")
        pair = _word_and_tag(cells, line, f"{path}, line {number}")
        if columns and len(cells) != columns:
            raise DataError(
                f"{len(cells)} columns in {line[:60]!r}",
                expected=f"{columns}, as in line {found}",
                where=f"{path}, line {number}",
                next_step="set one tab between all columns; spaces where others have tabs make one column of two",
            )
        columns = len(cells)
        if pair is None:
            continue
        found = found or number
        if not words:
            begin = number
        words.append(pair[0])
        tags.append(pair[1])
    if words:
        yield TaggedSentence(tuple(words), tuple(tags), lang, f"{path}, line {begin}")
    if not found:
        raise DataError(f"no sentence in {path.name!r}", expected="words with tags", where=str(path))


def entity_spans(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Entities of an IOB2 sequence as (type, first word, last word)."""
    spans, start, kind = set(), 0, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, now = tag.partition("-")
        if kind and (prefix != "I" or now != kind):
            spans.add((kind, start, i - 1))
            kind = ""
        if prefix in {"B", "I"} and not kind:
            start, kind = i, now
    return spans


def entity_texts(sentences: Sequence[TaggedSentence]) -> list[str]:
    """The entities of tagged sentences as they are written, one for each time that they occur.

    Raises:
        DataError: no entity in any of them.
    """
    found = []
    for one in sentences:
        space = " " if language(one.lang).spaced else ""
        spans = sorted(entity_spans(one.tags), key=lambda span: span[1:])
        found += [space.join(one.words[first : last + 1]) for _, first, last in spans]
    if not found:
        raise DataError("no entity", expected="tags such as B-PER, I-PER, O",
                        where=sentences[0].where if sentences else None)  # fmt: skip
    return found


class Tag(Task):
    """Tagging over a fixed list of tags.

    Args:
        labels: the tags; their order is the classifier's.
        name: shown in tables.
        metric: ``accuracy`` or ``span_f1``.
        unseen: ``stop`` or ``wrong``, as :class:`~interlingua.tasks.Task` has it.
        separator: what stands between words; ``""`` writes unspaced languages as they are written.
    """

    kind: ClassVar[str] = "tag"
    auto: ClassVar[str] = "AutoModelForTokenClassification"

    def __init__(
        self,
        labels: Sequence[str],
        *,
        name: str = "tag",
        metric: str = "accuracy",
        unseen: str = "stop",
        separator: str = " ",
    ) -> None:
        super().__init__(labels, name=name, metric=metric, unseen=unseen)
        self.separator = separator

    @classmethod
    def read(cls, recipe: TaskRecipe, file: LabelledFile) -> list[TaggedSentence]:
        """Sentences of a file, as :func:`read_tagged_sentences` reads them."""
        if not file.lang:
            raise RecipeError(f"a tagged file without a language: {str(file.path)!r}", where="task",
                              expected="lang: beside path:")  # fmt: skip
        return read_tagged_sentences(resolve(file.path), lang=file.lang)

    @classmethod
    def taught_with(cls, recipe: TaskRecipe, train: Sequence[TaggedSentence]) -> Self:
        """The task over the tags of its training sentences."""
        labels = at_least_two({tag for e in train for tag in e.tags})
        return cls(labels, name=recipe.name, metric=cls.main_metric(recipe), unseen=recipe.unseen_labels)

    @classmethod
    def main_metric(cls, recipe: TaskRecipe) -> str:
        """Spans where tags have beginnings, else tags."""
        return recipe.metric or ("span_f1" if recipe.tags == "iob2" else "accuracy")

    def settings(self) -> dict[str, Any]:
        """What its constructor wants."""
        return super().settings() | {"unseen": self.unseen, "separator": self.separator}

    def encode(
        self, examples: Sequence[TaggedSentence], tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> tuple[list[Encoded], int]:
        """Tokenise sentences; also return how many words have no token (cut away, or without a visible character).

        Raises:
            LabelError: a tag that is not in ``labels``, unless such words are wrong.
        """
        self.check_labels(examples)
        encoded, lost = [], 0
        for example in examples:
            aligned = align_words(example.words, tokenizer, max_length, separator=self.separator)
            first = np.array(aligned.first_token_of_word, dtype=np.int64)
            gold = np.array([self.label_index(tag) for tag in example.tags], dtype=np.int64)
            labels = np.full(len(aligned.ids), IGNORED, dtype=np.int64)
            labels[first[first >= 0]] = gold[first >= 0]
            lost += int((first < 0).sum())
            ids = np.array(aligned.ids, dtype=np.int64)
            encoded.append(Encoded(ids, example.lang, labels, words=first, gold=gold, example=example))
        return encoded, lost

    def batch(self, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> Batch:
        """Pack sentences with their labels, int64 [B, L]."""
        batch = lay_out(examples, tokenizer)
        labels_BL = torch.full(batch.tokens_BL.shape, IGNORED, dtype=torch.long)
        labels_BL.view(-1)[token_order(batch)[0]] = torch.from_numpy(np.concatenate([e.labels for e in examples]))
        return replace(batch, labels=labels_BL)

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> TokenTargets:
        """The labels are in the batch."""
        assert batch.labels is not None
        return TokenTargets(int((batch.labels != IGNORED).sum()), batch.tokens_BL, batch.labels)

    def rows(self, targets: TokenTargets, batch: Batch, start: int, stop: int) -> TokenTargets:
        """Targets of some rows."""
        return targets.rows(start, stop)

    def loss(self, model: PreTrainedModel, batch: Batch, targets: TokenTargets) -> Loss:
        """Summed cross-entropy over words."""
        chosen_BL = targets.labels_BL != IGNORED
        logits_NC = token_logits(model, encode_at(model, batch, chosen_BL))
        each = F.cross_entropy(at_least_float32(logits_NC), targets.labels_BL[chosen_BL], reduction="none")
        return Loss(each.sum(), len(each), each.detach(), batch.languages_BL[chosen_BL])

    def head_states(
        self, model: PreTrainedModel, batch: Batch, examples: Sequence[Encoded]
    ) -> tuple[Tensor, list[int]]:
        """States of the first token of every word that has one."""
        order_N, begins_S = token_order(batch)
        firsts = [_kept(e) for e in examples]
        counts = [len(first) for first in firsts]
        within_K = torch.from_numpy(np.concatenate(firsts)).to(order_N.device)
        begins_K = begins_S[:-1].repeat_interleave(torch.tensor(counts, device=order_N.device))
        return encode(model, batch).flatten(0, 1)[order_N[begins_K + within_K]], counts

    def logits(self, model: PreTrainedModel, states_KD: Tensor) -> Tensor:
        """Tag logits."""
        return token_logits(model, states_KD)

    def decide(self, logits_KC: Tensor, example: Encoded) -> NDArray[np.int64]:
        """Tag indices, one a word; ``CUT_AWAY`` for words without a token."""
        assert example.words is not None
        tags = np.full(len(example.words), CUT_AWAY, dtype=np.int64)
        tags[example.words >= 0] = logits_KC.argmax(dim=-1).numpy()
        return tags

    def counts(self, predicted: Sequence[NDArray[np.int64]], examples: Sequence[Encoded]) -> NDArray[np.float64]:
        """Of every sentence: right words, words, and spans shared, found and wanted."""
        rows = []
        for tags, example in zip(predicted, examples, strict=True):
            assert example.gold is not None
            wanted = entity_spans(example.example.tags)
            found = entity_spans([self.labels[i] if i >= 0 else "O" for i in tags])
            right = int((tags == example.gold).sum())
            rows.append((right, len(tags), len(wanted & found), len(found), len(wanted)))
        return np.array(rows, dtype=np.float64).reshape(-1, 5)

    def metrics(self, totals_K: NDArray[np.float64]) -> dict[str, float]:
        """Accuracy over words, and for IOB2 tags micro span F1."""
        right, total, shared, found, wanted = totals_K.tolist()
        scores = {"accuracy": right / max(1.0, total)}
        if any(label.startswith(("B-", "I-")) for label in self.labels):
            scores["span_f1"] = 2 * shared / max(1.0, found + wanted)
        return scores

    def prediction_file(self, predicted: Sequence[NDArray[np.int64]], examples: Sequence[Encoded]) -> tuple[str, str]:
        """A tag a line, a blank line behind every sentence; words that were cut away have tag ``O`` or the first."""
        missing = "O" if "O" in self.labels else self.labels[0]
        return "tsv", "".join(
            "".join(f"{self.labels[i] if i >= 0 else missing}\n" for i in tags) + "\n" for tags in predicted
        )


def _kept(example: Encoded) -> NDArray[np.int64]:
    assert example.words is not None
    kept: NDArray[np.int64] = example.words[example.words >= 0]
    return kept
