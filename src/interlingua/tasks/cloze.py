"""Classification as a cloze question to a masked language model, with few labels or none.

A text is put into a pattern, and the network's own head says how likely each label's words are at the mask (Schick and
Schütze 2021, arXiv 2001.07676; across languages Zhao and Schütze 2021, arXiv 2109.03630). The score of a word is the
mean of the log-probabilities of its tokens, each at its own mask, all masks read at once; that of a label the mean or
the highest of its words'; the loss is the cross-entropy of the scores. Calibrated scores are those less what a text
without content gives (Zhao et al. 2021, arXiv 2102.09690).

Decisions: examples, metrics and files are those of ``classify``, and the network is one that plain ``transformers``
opens by ``AutoModelForMaskedLM``. Words are compared over the whole vocabulary, since words with other numbers of
tokens stand at other masks. Price: logits of the whole vocabulary at every mask, and a word of several tokens is judged
as if its tokens did not know of each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from interlingua.batch import Batch
from interlingua.errors import LabelError, RecipeError, nearest
from interlingua.models.attention import encode_at
from interlingua.models.head import masked_logits
from interlingua.objectives.base import IGNORED, Loss, Targets, at_least_float32
from interlingua.tasks.base import UNSEEN, Encoded, lay_out, token_order
from interlingua.tasks.classify import Classify, ClassTask
from interlingua.tasks.patterns import Patterns, Wording, read_patterns
from interlingua.tasks.texts import TextExample, texts_of_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.recipe_transfer import LabelledFile, TaskRecipe

__all__ = ["Cloze"]

#: Texts without content, whose mean distribution a calibration takes off; a mask token is the third (Zhao et al.).
CONTENT_FREE = ("", "N/A")


class Cloze(ClassTask):
    """Text classification by a pretrained masked language model's own head.

    Args:
        labels: class names, in order.
        name: shown in tables.
        metric: ``accuracy`` or ``macro_f1``.
        unseen: ``stop`` or ``wrong``, as :class:`~interlingua.tasks.Task` has it.
        patterns: as :class:`~interlingua.tasks.patterns.Patterns` or its keys.
        calibrate: take off what texts without content score.
        wordings: language -> pattern and words as the tokenizer has them; made when the first text is tokenised.
        priors: language -> log-probabilities of the labels without content; measured when the network is taught.
    """

    kind: ClassVar[str] = "cloze"
    auto: ClassVar[str] = "AutoModelForMaskedLM"
    pretrained_head: ClassVar[bool] = True
    splittable = False  # the inputs of an example may stand in different rows

    def __init__(
        self,
        labels: Sequence[str],
        *,
        name: str = "cloze",
        metric: str = "accuracy",
        unseen: str = "stop",
        patterns: Patterns | Mapping[str, Any] | None = None,
        calibrate: bool = False,
        wordings: Mapping[str, Wording | Mapping[str, Any]] | None = None,
        priors: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__(labels, name=name, metric=metric, unseen=unseen)
        self.patterns = patterns if isinstance(patterns, Patterns) else Patterns.model_validate(patterns or {})
        self.calibrate = calibrate
        self.wordings = {
            lang: one if isinstance(one, Wording) else Wording(**one) for lang, one in (wordings or {}).items()
        }
        self.priors = dict(priors or {})
        self._plans: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    @classmethod
    def read(cls, recipe: TaskRecipe, file: LabelledFile) -> list[TextExample]:
        """Examples of a file, as ``classify`` reads them."""
        return texts_of_file(recipe, file)

    @classmethod
    def taught_with(cls, recipe: TaskRecipe, train: Sequence[TextExample]) -> Self:
        """The task over the labels of the pattern file.

        Raises:
            RecipeError: no pattern file, or pairs of texts and a pattern that shows one.
            LabelError: a training label that the verbalisers lack.
        """
        if recipe.patterns is None:
            raise RecipeError("a task of type cloze without patterns", expected="task.patterns: FILE",
                              where="task.patterns")  # fmt: skip
        patterns = read_patterns(recipe.patterns)
        for lang, pattern in patterns.patterns.items():
            if ("{text_pair}" in pattern) != (recipe.text_pair is not None):
                raise RecipeError(
                    f"pattern {pattern!r} with task.text_pair = {recipe.text_pair!r}",
                    expected="{text_pair} in every pattern where the task has two texts, and in none where it has one",
                    where=f"{recipe.patterns}, patterns.{lang}",
                )
        for example in train:
            if example.label not in patterns.labels:
                raise LabelError(
                    f"label {example.label!r} without words{nearest(example.label, patterns.labels)}",
                    expected=f"a label of the verbalisers: {', '.join(patterns.labels)}",
                    where=f"{example.where}; {recipe.patterns}",
                    next_step="give it words in every language, or map it to another label (task.mapping: FILE)",
                )
        return cls(patterns.labels, name=recipe.name, metric=cls.main_metric(recipe), unseen=recipe.unseen_labels,
                   patterns=patterns, calibrate=recipe.calibrate)  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """What its constructor wants."""
        return super().settings() | {
            "unseen": self.unseen,
            "patterns": self.patterns.model_dump(mode="json"),
            "calibrate": self.calibrate,
            "wordings": {lang: asdict(one) for lang, one in self.wordings.items()},
            "priors": self.priors,
        }

    def config(self) -> dict[str, Any]:
        """Nothing: the network's configuration stays as it was pretrained."""
        return {}

    def notes(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """Which languages have a pattern, which words have several tokens, and which are not used."""
        patterns = self.patterns
        lines = [f"patterns in {', '.join(patterns.patterns)}; {patterns.default}'s for all other languages"]
        for lang in patterns.patterns:
            self.wordings[lang], split, lost = Wording.of(patterns, lang, tokenizer)
            if split:
                lines.append(f"{lang}: {len(split)} words of several tokens: {', '.join(split)}")
            if lost:
                lines.append(f"{lang}: {len(lost)} words not in the vocabulary, not used: {', '.join(lost)}")
        return lines

    def control(self) -> Classify:
        """The same labels with a fresh head: masks mean nothing to a network with random weights."""
        return Classify(self.labels, name=self.name, metric=self.metric, unseen=self.unseen)

    def encode(
        self, examples: Sequence[TextExample], tokenizer: PreTrainedTokenizerBase, *, max_length: int
    ) -> tuple[list[Encoded], int]:
        """Put texts into the pattern of their language; also return how many were cut, the pattern never being.

        Raises:
            LabelError: a label without words, unless such examples are wrong.
            RecipeError: a pattern longer than ``max_length``.
            VocabularyError: no mask token, or a label without a word in the vocabulary.
        """
        if not self.wordings:
            self.notes(tokenizer)
        self.check_labels(examples)
        groups: dict[str, list[int]] = {}
        for i, example in enumerate(examples):
            groups.setdefault(self.patterns.language(example.lang), []).append(i)
        found: dict[int, Encoded] = {}
        cut = 0
        for lang, own in groups.items():
            texts = [(examples[i].text, examples[i].text_pair or "") for i in own]
            filled, count = self.wordings[lang].fill(texts, tokenizer, max_length=max_length)
            cut += count
            for i, one in zip(own, filled, strict=True):
                label = np.array([self.label_index(examples[i].label)], dtype=np.int64)
                found[i] = Encoded(one.tokens, examples[i].lang, label, words=one.masks, ends=one.ends)
        return [found[i] for i in range(len(examples))], cut

    def batch(self, examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase) -> Batch:
        """Pack inputs; at every mask stand class and language of its example, int64 [B, L]."""
        batch = lay_out(examples, tokenizer)
        values, places, begin = [], [], 0
        for example in examples:
            assert example.words is not None
            values += [self._value(example)] * len(example.words)
            places.append(example.words + begin)
            begin += len(example.tokens)
        labels_N = torch.full((batch.tokens_BL.numel(),), IGNORED)
        labels_N[token_order(batch)[0][np.concatenate(places)]] = torch.tensor(values)
        return replace(batch, labels=labels_N.view_as(batch.tokens_BL))

    def _value(self, example: Encoded) -> int:
        """Class and language as one number; a label without words is one class more."""
        lang = list(self.wordings).index(self.patterns.language(example.lang))
        label = int(example.labels[0])
        return lang * (len(self.labels) + 1) + (len(self.labels) if label == UNSEEN else label)

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """One prediction an example."""
        return Targets(len(self._examples(batch)[2]))

    def _examples(self, batch: Batch) -> tuple[Tensor, Tensor, list[int]]:
        """Where masks are; class and language of each, input after input; and the first mask of every example."""
        assert batch.labels is not None
        chosen_BL = batch.labels != IGNORED
        order_N = torch.argsort(batch.segments_BL[chosen_BL], stable=True)
        values_N = batch.labels[chosen_BL][order_N]
        sizes = [sum(one.sizes) for one in self.wordings.values()]
        langs, firsts, at = (values_N // (len(self.labels) + 1)).tolist(), [], 0
        while at < len(langs):
            firsts.append(at)
            at += sizes[langs[at]]
        return order_N, values_N, firsts

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Summed cross-entropy over examples of their labels' scores."""
        assert batch.labels is not None
        order_N, values_N, firsts = self._examples(batch)
        chosen_BL = batch.labels != IGNORED
        logits_NU = self.logits(model, encode_at(model, batch, chosen_BL)[order_N])
        values_S = values_N[firsts]
        classes_S, langs_S = values_S % (len(self.labels) + 1), values_S // (len(self.labels) + 1)
        scores_SC = logits_NU.new_zeros(len(firsts), len(self.labels))
        langs = list(self.wordings)
        for number in sorted(set(langs_S.tolist())):
            own_K = (langs_S == number).nonzero()[:, 0]
            size = sum(self.wordings[langs[number]].sizes)
            rows_KM = torch.tensor(firsts, device=own_K.device)[own_K, None] + torch.arange(size, device=own_K.device)
            scores_SC = scores_SC.index_put((own_K,), self._scores(logits_NU[rows_KM], langs[number]))
        each_S = F.cross_entropy(scores_SC, classes_S, reduction="none")
        return Loss(each_S.sum(), len(each_S), each_S.detach(), batch.languages_BL[chosen_BL][order_N][firsts])

    def head_states(
        self, model: PreTrainedModel, batch: Batch, examples: Sequence[Encoded]
    ) -> tuple[Tensor, list[int]]:
        """States of the masks."""
        assert batch.labels is not None
        order_N = self._examples(batch)[0]
        states_KD = encode_at(model, batch, batch.labels != IGNORED)[order_N]
        return states_KD, [sum(self.wordings[self.patterns.language(e.lang)].sizes) for e in examples]

    def logits(self, model: PreTrainedModel, states_KD: Tensor) -> Tensor:
        """Log-probabilities of all words' tokens, [K, U]."""
        log_p_KV = at_least_float32(masked_logits(model, states_KD)).log_softmax(dim=-1)
        return log_p_KV[:, torch.tensor(self._used, device=log_p_KV.device)]

    @cached_property
    def _used(self) -> list[int]:
        """Ids of all tokens of all words, rising."""
        return sorted({i for one in self.wordings.values() for label in one.ids for word in label for i in word})

    def _scores(self, log_p_KMU: Tensor, lang: str) -> Tensor:
        """Scores of the labels [K, C] from log-probabilities at the masks of examples in one pattern."""
        if lang not in self._plans:
            with torch.inference_mode(False):  # whoever predicts first, the plan serves teaching too
                self._plans[lang] = self._plan(lang)
        place_CWT, *shares = (part.to(log_p_KMU.device) for part in self._plans[lang])
        share_CWT, weight_CW = (part.to(log_p_KMU) for part in shares)
        of_words_KCW = (log_p_KMU.flatten(1)[:, place_CWT] * share_CWT).sum(dim=-1)
        if self.patterns.words == "max":
            return of_words_KCW.masked_fill(weight_CW == 0, -torch.inf).amax(dim=-1)
        return (of_words_KCW * weight_CW).sum(dim=-1)

    def _plan(self, lang: str) -> tuple[Tensor, Tensor, Tensor]:
        """Of each label's words' tokens: place among the log-probabilities [M * U], share in its word, and of the words
        their share in the label; [C, W, T], [C, W, T], [C, W], with shares of 0 where there are fewer.
        """
        wording = self.wordings[lang]
        column = {token: i for i, token in enumerate(self._used)}
        first_row = dict(zip(wording.sizes, np.cumsum([0, *wording.sizes]).tolist(), strict=False))
        shape = (len(wording.ids), max(len(words) for words in wording.ids), max(wording.sizes))
        place_CWT, share_CWT = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.double)
        weight_CW = torch.zeros(shape[:2], dtype=torch.double)
        for c, words in enumerate(wording.ids):
            for w, ids in enumerate(words):
                rows = [first_row[len(ids)] + t for t in range(len(ids))]
                place_CWT[c, w, : len(ids)] = torch.tensor(
                    [row * len(column) + column[i] for row, i in zip(rows, ids, strict=True)]
                )
                share_CWT[c, w, : len(ids)] = 1 / len(ids)
                weight_CW[c, w] = 1 / len(words)
        return place_CWT, share_CWT, weight_CW

    def decide(self, logits_KC: Tensor, example: Encoded) -> int:
        """Index of the class with the highest score."""
        lang = self.patterns.language(example.lang)
        scores_C = self._scores(logits_KC[None], lang)[0]
        if lang in self.priors:
            scores_C = scores_C - torch.tensor(self.priors[lang]).to(scores_C)
        return int(scores_C.argmax())

    def settled(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Self:
        """The task with what the labels score without content, where it is to be calibrated."""
        if not self.calibrate:
            return self
        priors = {}
        for lang in self.wordings:
            texts = [TextExample(text, lang, self.labels[0], text) for text in (*CONTENT_FREE, tokenizer.mask_token)]
            encoded, _ = self.encode(texts, tokenizer, max_length=int(1e6))
            shares = []
            for _, states_KD, counts in self.states(model.eval(), encoded, tokenizer):
                with torch.inference_mode():
                    each = torch.split(self.logits(model, states_KD), counts)
                    shares.append(self._scores(torch.stack(each), lang).softmax(dim=-1))
            priors[lang] = torch.cat(shares).mean(dim=0).log().tolist()
        return type(self)(**{**self.settings(), "priors": priors})
