"""Vectors of words in their sentences, from every layer.

In: texts and where their words stand in them. Out: for each word the mean of its subwords' states, a block of texts at
a time. Decision: tokens are matched with words by their offsets, so a text is shown to the network as it is written,
prefix included, and a token that runs over two words (as unspaced scripts have them) counts for both. Price: such words
share what they have in common with their neighbour.

A word that was cut off at the longest length, or that the tokenizer leaves nothing of, has no vector; these are
counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interlingua.models.attention import hidden_states
from interlingua.models.encoder import Encoder, length_sorted_batches
from interlingua.models.precision import for_inference, inference_dtype
from interlingua.probe.states import check_finite, layer_numbers
from interlingua.text.words import word_starts, words
from interlingua.vocab.words import fast_tokenizer

__all__ = ["WordStates", "WordedText", "joined_words", "segmented", "word_state_blocks"]

Ints = NDArray[np.int64]

#: Tokens of a space alone; by offsets some tokenizers give them the letter that follows.
_BLANKS = ("▁", "Ġ")


@dataclass(frozen=True)
class WordedText:
    """A text and its words.

    Attributes:
        text: as the network is to see it.
        spans: (first, last) character of each word, in order, none over another.
    """

    text: str
    spans: tuple[tuple[int, int], ...]

    @property
    def words(self) -> list[str]:
        """The words."""
        return [self.text[first:last] for first, last in self.spans]


def joined_words(given: Sequence[str], separator: str = " ") -> WordedText:
    """A text of words that somebody else cut."""
    ends = list(itertools.accumulate(len(word) + len(separator) for word in given))
    spans = tuple(
        (end - len(separator) - len(word), end - len(separator)) for word, end in zip(given, ends, strict=True)
    )
    return WordedText(separator.join(given), spans)


def segmented(text: str, lang: str) -> WordedText:
    """A text with the words that :mod:`interlingua.text.words` finds in it."""
    starts = np.flatnonzero(word_starts(text, lang)).tolist()
    return WordedText(
        text, tuple((start, start + len(word)) for start, word in zip(starts, words(text, lang), strict=True))
    )


@dataclass(frozen=True)
class WordStates:
    """Vectors of the words of a block of texts.

    Attributes:
        states: [layers, W, D], only words that have tokens, in order.
        text: which text of the block each is of, [W].
        word: which word of that text, [W].
        texts: how many texts the block has.
        missing: words without a token, or cut off.
    """

    states: NDArray[np.float32]
    text: Ints
    word: Ints
    texts: int
    missing: int


def word_state_blocks(
    encoder: Encoder,
    texts: Iterable[WordedText],
    *,
    layers: Sequence[int] | None = None,
    block: int = 128,
    batch_tokens: int = 2048,
    progress: Callable[[int], Any] | None = None,
) -> Iterator[WordStates]:
    """Vectors of words by layer, block by block: memory is that of one block.

    Args:
        encoder: any encoder with a fast tokenizer.
        texts: any iterable, read as it is needed.
        layers: layer numbers (0: embeddings; negative from the top); all if None.
        block: texts that are tokenised, sorted by length and returned together.
        batch_tokens: tokens a forward pass.
        progress: called with the number of texts done since the last call.

    Raises:
        RecipeError: a layer the network does not have.
        VocabularyError: not a fast tokenizer.
        DataError: states that are not finite.
    """
    wanted = layer_numbers(encoder, layers)
    fast = fast_tokenizer(encoder.tokenizer)
    blanks = [number for number in map(fast.token_to_id, _BLANKS) if number is not None]
    model = for_inference(encoder.model, inference_dtype(encoder.model))
    waiting = iter(texts)
    while some := list(itertools.islice(waiting, block)):
        encodings = encoder.tokenizer(
            [encoder.prefix + one.text for one in some], truncation=True, max_length=encoder.max_length
        ).encodings
        ids = [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]
        firsts = np.cumsum([0, *(len(one.spans) for one in some)])
        pairs = [
            _tokens_of_words(encoding, one, len(encoder.prefix), np.isin(own, blanks))
            for encoding, one, own in zip(encodings, some, ids, strict=True)
        ]
        sums_LWD = np.zeros((len(wanted), firsts[-1], model.config.hidden_size), dtype=np.float32)
        for indices, batch in length_sorted_batches(ids, encoder.tokenizer, batch_tokens=batch_tokens):
            width = batch.tokens_BL.shape[1]
            tokens_T = torch.from_numpy(np.concatenate([row * width + pairs[i][0] for row, i in enumerate(indices)]))
            slots = np.concatenate([firsts[i] + pairs[i][1] for i in indices])
            own, places_T = np.unique(slots, return_inverse=True)
            batch = batch.to(model.device)
            with torch.inference_mode():
                states = hidden_states(model, batch)
                for row, layer in enumerate(wanted):
                    states_BLD = states[layer]
                    tokens_TD = states_BLD.flatten(0, 1)[tokens_T.to(states_BLD.device)].float()
                    sums_WD = tokens_TD.new_zeros(len(own), tokens_TD.shape[1])
                    sums_WD.index_add_(0, torch.from_numpy(places_T).to(sums_WD.device), tokens_TD)
                    sums_LWD[row, own] = sums_WD.cpu().numpy()
            if progress:
                progress(len(indices))
        counts_W = np.bincount(
            np.concatenate([firsts[i] + words_T for i, (_, words_T) in enumerate(pairs)]), minlength=firsts[-1]
        )
        there = np.flatnonzero(counts_W)
        text_W = np.repeat(np.arange(len(some)), np.diff(firsts))[there]
        yield WordStates(
            check_finite(np.asarray(sums_LWD[:, there] / counts_W[there, None], dtype=np.float32), "words"),
            text_W,
            there - firsts[text_W],
            len(some),
            int((counts_W == 0).sum()),
        )


def _tokens_of_words(encoding: Any, one: WordedText, shift: int, blank: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Places of tokens and of the words that they are of, [T] each."""
    spans = np.array(one.spans, dtype=np.int64).reshape(-1, 2) + shift
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    usable = (np.array(encoding.special_tokens_mask) == 0) & ~blank & (offsets[:, 1] > offsets[:, 0])
    tokens = np.flatnonzero(usable)
    first = np.searchsorted(spans[:, 1], offsets[tokens, 0], side="right")
    count = np.maximum(0, np.searchsorted(spans[:, 0], offsets[tokens, 1], side="left") - first)
    # A token over several words stands once for each.
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(tokens, count), np.repeat(first, count) + within
