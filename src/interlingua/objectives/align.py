"""Word alignment: words that translate one another must have near vectors, on links that are given.

In: sentence pairs with links between their words. Out: InfoNCE over words, both directions: a word against all linked
words of the batch. With wrong candidates of the other side only it is the weak, with those of both sides the strong
alignment of Wu and Dredze 2020 (arXiv 2010.02537); Cao et al. 2020 (arXiv 2002.03518) pull linked words together
without wrong candidates.

Decisions: words that links hold together (one to many, many to many) are one phrase, whose vector is the mean of its
tokens, so that each phrase has exactly one partner. The pairs lie in memory as token ids, beside the shards, about two
kilobytes each. Price: what is aligned is no part of the shards and read again by every run, and a million pairs take
two gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from interlingua.batch import Batch
from interlingua.errors import DataError, LanguageError, nearest
from interlingua.languages import language, smoothed
from interlingua.models.attention import encode_at
from interlingua.objectives.base import IGNORED, Loss, Targets, at_least_float32
from interlingua.objectives.contrast import ranking_losses
from interlingua.objectives.ranks import own_rows, sum_over_ranks
from interlingua.shards.sampling import DrawPlan
from interlingua.shards.stream import Layout, Stream, Text
from interlingua.shards.write import is_held_out
from interlingua.text.alignments import AlignedPair
from interlingua.vocab.words import align_words

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["AlignedTexts", "WordAlignment", "aligned_phrases"]


def aligned_phrases(pair: AlignedPair) -> tuple[list[int], list[int]]:
    """The phrase each word stands in, on both sides: words that sure links hold together; -1 where there is none."""
    parent = list(range(len(pair.source) + len(pair.target)))

    def root(word: int) -> int:
        while parent[word] != word:
            parent[word] = parent[parent[word]]
            word = parent[word]
        return word

    linked = set()
    for i, j in pair.sure:
        j += len(pair.source)
        linked |= {i, j}
        parent[root(i)] = root(j)
    numbers: dict[int, int] = {}
    found = [numbers.setdefault(root(w), len(numbers)) if w in linked else -1 for w in range(len(parent))]
    return found[: len(pair.source)], found[len(pair.source) :]


@dataclass(frozen=True)
class _Side:
    tokens: np.ndarray  # without specials
    starts: np.ndarray
    phrases: np.ndarray  # of each token, -1 for none


class AlignedTexts:
    """Aligned pairs as batches of a stream: two segments a pair, each token labelled with its phrase.

    Labels count the batch's phrases from 0; both sides of a phrase have the same, other tokens -100. Phrases of which a
    side was cut away are left out.

    Args:
        pairs: what is aligned.
        tokenizer: of the shards.
        languages: canonical tags in stream order.
        exponent: S of p^S over language pairs.
        held_out: share of the pairs kept aside for the held-out stream.

    Raises:
        LanguageError: a pair in a language that the shards do not hold.
        DataError: no pair has a sure link.
    """

    def __init__(
        self,
        pairs: Iterable[AlignedPair],
        tokenizer: PreTrainedTokenizerBase,
        languages: Sequence[str],
        *,
        exponent: float = 0.7,
        held_out: float = 0.01,
    ) -> None:
        self.exponent = exponent
        self._pairs: dict[str, dict[str, list[tuple[_Side, _Side]]]] = {"train": {}, "held-out": {}}
        self._spoken: dict[str, tuple[int, int]] = {}
        self._plans: dict[tuple[str, int], DrawPlan] = {}
        index = {lang: i for i, lang in enumerate(languages)}
        for pair in pairs:
            for lang in (pair.source_lang, pair.target_lang):
                if lang not in index:
                    raise LanguageError(
                        f"an aligned pair in {lang!r}{nearest(lang, languages)}, which the shards do not hold",
                        expected=f"one of {', '.join(languages)}",
                        where=pair.where,
                    )
            if not pair.sure:
                continue
            name = f"{pair.source_lang}-{pair.target_lang}"
            numbers = aligned_phrases(pair)
            first = self._side(pair.source, numbers[0], pair.source_lang, tokenizer)
            second = self._side(pair.target, numbers[1], pair.target_lang, tokenizer)
            self._spoken[name] = (index[pair.source_lang], index[pair.target_lang])
            split = "held-out" if is_held_out((*pair.source, *pair.target), held_out) else "train"
            self._pairs[split].setdefault(name, []).append((first, second))
        if not self._pairs["train"]:
            raise DataError("no aligned pair with a sure link", expected="links such as 0-0", where="objectives.align")
        self._means = {
            split: {
                name: float(np.mean([len(a.tokens) + len(b.tokens) + 4 for a, b in rows])) for name, rows in of.items()
            }
            for split, of in self._pairs.items()
        }

    @staticmethod
    def _side(words: Sequence[str], phrases: Sequence[int], lang: str, tokenizer: PreTrainedTokenizerBase) -> _Side:
        # Words of an unspaced language stand side by side, as the network meets them elsewhere.
        aligned = align_words(words, tokenizer, 10**6, separator=" " if language(lang).spaced else "")
        ids = np.array(aligned.ids, dtype=np.int64)
        of_word = np.full(len(ids), -1, dtype=np.int64)
        first = [(place, word) for word, place in enumerate(aligned.first_token_of_word) if place >= 0]
        for number, (place, word) in enumerate(first, start=1):
            of_word[place : first[number][0] if number < len(first) else len(ids)] = phrases[word]
        starts = np.zeros(len(ids), dtype=bool)
        starts[[place for place, _ in first]] = True
        around = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
        inner = ~np.isin(ids, [i for i in around if i is not None])
        return _Side(ids[inner], starts[inner], of_word[inner])

    def has(self, split: str) -> bool:
        """Whether there are pairs of a split."""
        return bool(self._pairs.get(split))

    def batch(self, t: int, stream: Stream) -> Batch:
        """About ``batch_tokens`` tokens of pairs."""
        plan, pairs = self._plan(stream), self._pairs[stream.split]
        means = [self._means[stream.split][name] for name in plan.languages]
        count = max(1, round(stream.batch_tokens / float(np.average(means, weights=plan.sizes))))
        names, numbers = plan.draw(t * count, (t + 1) * count)
        texts, labels, phrases, room = [], [], 0, stream.row_length - 2
        for chosen, number in zip(names.tolist(), numbers.tolist(), strict=True):
            name = plan.languages[chosen]
            sides = pairs[name][number]
            # A phrase counts where something is left of both sides.
            kept = np.intersect1d(*(side.phrases[:room][side.phrases[:room] >= 0] for side in sides))
            for side, spoken in zip(sides, self._spoken[name], strict=True):
                text = Text(side.tokens, side.starts, np.full(len(side.tokens), spoken))
                texts.append(stream.framed(text, room, spoken))
                stream.drawn[stream.languages[spoken]] += 1
                own = side.phrases[:room]
                known = np.where(np.isin(own, kept), phrases + np.searchsorted(kept, own), IGNORED)
                labels.append(np.pad(known, 1, constant_values=IGNORED))
            phrases += len(kept)
        batch = stream.laid_out(texts, [(i, i + 1) for i in range(0, len(texts), 2)])
        # Tokens in the order of their segments are the labels one after the other.
        segments_N = batch.segments_BL.flatten()
        order_N = segments_N.argsort(stable=True)
        flat_N = torch.full_like(segments_N, IGNORED)
        flat_N[order_N[segments_N[order_N] > 0]] = torch.from_numpy(np.concatenate(labels))
        return replace(batch, labels=flat_N.view_as(batch.segments_BL))

    def _plan(self, stream: Stream) -> DrawPlan:
        key = (stream.split, stream.seed)
        if key not in self._plans:
            sizes = {name: len(rows) for name, rows in self._pairs[stream.split].items()}
            self._plans[key] = DrawPlan(sizes, smoothed(sizes, self.exponent), stream.seed + 3)
        return self._plans[key]


class WordAlignment:
    """Rank the translation of a word first among the words of the batch.

    Args:
        texts: the aligned pairs.
        temperature: T.
        negatives: ``"other"`` (weak) or ``"both"`` (strong).
    """

    name = "align"
    splittable = False
    networks: Mapping[str, nn.Module] = {}

    def __init__(self, texts: AlignedTexts, *, temperature: float = 0.1, negatives: str = "both") -> None:
        self.temperature = temperature
        self.negatives = negatives
        self.layout = Layout(source=texts)

    def prepare(self, batch: Batch, generator: np.random.Generator, progress: float = 1.0) -> Targets:
        """Nothing is hidden; one prediction a side of a phrase."""
        assert batch.labels is not None
        return Targets(2 * (int(batch.labels.max()) + 1 if (batch.labels >= 0).any() else 0))

    def rows(self, targets: Targets, batch: Batch, start: int, stop: int) -> Targets:
        """The whole only: see ``splittable``."""
        return targets

    def loss(self, model: PreTrainedModel, batch: Batch, targets: Targets) -> Loss:
        """Summed ranking loss over all phrases, both directions."""
        vectors_WD, languages_W = self.phrase_vectors(model, batch, targets.count)
        links_P2 = torch.arange(targets.count, device=vectors_WD.device).view(-1, 2)
        each = ranking_losses(
            at_least_float32(vectors_WD),
            links_P2,
            temperature=self.temperature,
            margin=0.0,
            negatives=self.negatives,
        )
        return Loss(each.sum(), len(each), each.detach(), languages_W[torch.cat([links_P2[:, 1], links_P2[:, 0]])])

    @staticmethod
    def phrase_vectors(model: PreTrainedModel, batch: Batch, count: int) -> tuple[Tensor, Tensor]:
        """Mean token states of phrases and their languages, [W, D] and [W]: first side, second side, and so on."""
        assert batch.labels is not None
        # A pair's segments have consecutive numbers, the first of them odd.
        phrase_BL = torch.where(batch.labels == IGNORED, -1, 2 * batch.labels + (batch.segments_BL + 1) % 2)
        of_N = phrase_BL[phrase_BL >= 0]
        sizes_W = torch.bincount(of_N, minlength=count).clamp(min=1)
        languages_W = torch.zeros(count, dtype=torch.long, device=of_N.device)
        languages_W[of_N] = batch.languages_BL[phrase_BL >= 0]
        rows = own_rows(batch)
        sums_WD = torch.zeros(count, model.config.hidden_size, dtype=model.dtype, device=model.device)
        if rows.start < rows.stop:
            mine_BL = phrase_BL[rows]
            states_ND = encode_at(model, batch.select_rows(rows.start, rows.stop), mine_BL >= 0)
            sums_WD = sums_WD.index_add(0, mine_BL[mine_BL >= 0], states_ND.to(sums_WD.dtype))
        sums_WD = sum_over_ranks(sums_WD)
        return sums_WD / sizes_W[:, None], languages_W
