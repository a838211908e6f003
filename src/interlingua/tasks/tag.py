"""A label a word: part of speech, and named entities in IOB2.

Readers (two columns, CoNLL, CoNLL-U, each also .zst or .gz), the loss over ``AutoModelForTokenClassification`` on the
first token of every word, accuracy and span F1. Words that were cut away at the longest length are counted as wrong,
never left out of the score.

Span F1 follows conlleval (Tjong Kim Sang and De Meulder 2003): an entity counts if its first word, last word and type
are right; an ``I-`` that follows nothing of its type begins an entity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import nn

from interlingua.batch import Batch
from interlingua.errors import DataError, LabelError, nearest
from interlingua.languages import canonical
from interlingua.models.attention import encode, encode_at
from interlingua.models.head import token_logits
from interlingua.objectives.base import IGNORED, Loss, TokenTargets, at_least_float32
from interlingua.shards.stream import Layout
from interlingua.tasks.base import Encoded, batch_of, prediction_batches
from interlingua.text.lines import ReadReport, numbered_lines
from interlingua.vocab.words import align_words

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Tag", "TaggedSentence", "entity_spans", "read_tagged_sentences"]

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


def _word_and_tag(line: str, where: str) -> tuple[str, str] | None:
    cells = line.split("\t") if "\t" in line else line.split(" ")
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
        path: two or more columns (word first, tag last), or CoNLL-U (form and UPOS).
        lang: language of the file.

    Raises:
        DataError: missing or empty file, a line without a tag.
    """
    path, tag = Path(path), canonical(lang)
    return list(_sentences(path, tag))


def _sentences(path: Path, lang: str) -> Iterator[TaggedSentence]:
    words: list[str] = []
    tags: list[str] = []
    begin, found = 1, False
    for number, line in numbered_lines(path, ReadReport()):
        comment = line.startswith("#") and "\t" not in line
        if not line.strip() or (comment and not words) or line.startswith("-DOCSTART-"):
            if words:
                yield TaggedSentence(tuple(words), tuple(tags), lang, f"{path}, line {begin}")
                words, tags = [], []
            continue
        if (pair := _word_and_tag(line, f"{path}, line {number}")) is None:
            continue
        if not words:
            begin, found = number, True
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


class Tag:
    """Tagging over a fixed list of tags.

    Args:
        labels: the tags; their order is the classifier's.
        name: shown in tables.
        metric: ``accuracy`` or ``span_f1``.
        separator: what stands between words; ``""`` writes unspaced languages as they are written.
    """

    layout = Layout("single")
    splittable = True
    networks: Mapping[str, nn.Module] = {}
    per_token = True

    def __init__(
        self, labels: Sequence[str], *, name: str = "tag", metric: str = "accuracy", separator: str = " "
    ) -> None:
        self.labels = tuple(labels)
        self.name = name
        self.metric = metric
        self.separator = separator

    def encode(
        self, examples: Sequence[TaggedSentence], tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> tuple[list[Encoded], int]:
        """Tokenise sentences; also return how many words have no token (cut away, or without a visible character).

        Raises:
            LabelError: a tag that is not in ``labels``.
        """
        known = {label: i for i, label in enumerate(self.labels)}
        encoded, lost = [], 0
        for example in examples:
            for tag in example.tags:
                if tag not in known:
                    raise LabelError(
                        f"tag {tag!r}{nearest(tag, known)}",
                        expected=f"a tag seen in training: {', '.join(self.labels)}",
                        where=example.where,
                        next_step="map it to one of these in the file, or add it to the training sentences",
                    )
            aligned = align_words(example.words, tokenizer, max_length, separator=self.separator)
            first = np.array(aligned.first_token_of_word, dtype=np.int64)
            gold = np.array([known[tag] for tag in example.tags], dtype=np.int64)
            labels = np.full(len(aligned.ids), IGNORED, dtype=np.int64)
            labels[first[first >= 0]] = gold[first >= 0]
            lost += int((first < 0).sum())
            ids = np.array(aligned.ids, dtype=np.int64)
            encoded.append(Encoded(ids, example.lang, labels, words=first, gold=gold))
        return encoded, lost

    def batch(self, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> Batch:
        """Pack sentences with their labels."""
        return batch_of(examples, tokenizer, per_token=True)

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

    def predict(
        self,
        model: PreTrainedModel,
        examples: Sequence[Encoded],
        tokenizer: PreTrainedTokenizerBase,
        *,
        shift: NDArray[np.float32] | None = None,
    ) -> list[NDArray[np.int64]]:
        """Tag indices a word, ``CUT_AWAY`` for words without a token.

        Args:
            model: a token classifier.
            examples: tokenised sentences.
            tokenizer: its tokenizer.
            shift: vector [D] added to every state before the head (a language's mean shift).
        """
        out: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)] * len(examples)
        with torch.inference_mode():
            for indices, chosen in prediction_batches(examples, tokenizer):
                batch = self.batch(chosen, tokenizer).to(model.device)
                states_BLD = encode(model, batch)
                for i, example in zip(indices, chosen, strict=True):
                    assert example.words is not None
                    segment = int(np.flatnonzero(indices == i)[0]) + 1
                    states_ND = states_BLD[batch.segments_BL == segment]
                    if shift is not None:
                        states_ND = states_ND + torch.from_numpy(shift).to(states_ND)
                    tags_N = token_logits(model, states_ND).argmax(dim=-1).cpu().numpy()
                    kept = example.words >= 0
                    out[i] = np.where(kept, tags_N[np.where(kept, example.words, 0)], CUT_AWAY)
        return out

    def score(self, predicted: Sequence[NDArray[np.int64]], examples: Sequence[Encoded]) -> dict[str, float]:
        """Accuracy over words, and for IOB2 tags micro span F1."""
        right = total = 0
        shared = found = wanted = 0
        spans = any(label.startswith(("B-", "I-")) for label in self.labels)
        for tags, example in zip(predicted, examples, strict=True):
            assert example.gold is not None
            right += int((tags == example.gold).sum())
            total += len(tags)
            if spans:
                gold_spans = entity_spans([self.labels[i] for i in example.gold])
                own_spans = entity_spans([self.labels[i] if i >= 0 else "O" for i in tags])
                shared += len(gold_spans & own_spans)
                found += len(own_spans)
                wanted += len(gold_spans)
        scores = {"accuracy": right / max(1, total)}
        if spans:
            scores["span_f1"] = 2 * shared / max(1, found + wanted)
        return scores
