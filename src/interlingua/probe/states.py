"""Sentence vectors from any layer, streamed.

In: an encoder and texts. Out: mean-pooled states of the layers asked for. Decision: a block of texts is tokenised and
run sorted by length, and only pooled vectors leave it, so memory is one block, or texts x layers x width where all are
wanted at once, never tokens. Price: lengths are sorted within a block only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from interlingua.errors import DataError, RecipeError, nearest
from interlingua.models.attention import POOLINGS, hidden_states, pool_segments
from interlingua.models.encoder import Encoder, length_sorted_batches
from interlingua.models.precision import for_inference, inference_dtype

__all__ = [
    "TextVectors",
    "check_finite",
    "cut_texts",
    "layer_numbers",
    "sentence_states",
    "state_blocks",
    "text_vectors",
]

Array = TypeVar("Array", bound=NDArray[Any])


def layer_numbers(encoder: Encoder, layers: Sequence[int] | None) -> list[int]:
    """Layers counted from 0, the embeddings.

    Args:
        encoder: any encoder.
        layers: numbers, negative ones from the top; all layers if None.

    Raises:
        RecipeError: a layer the network does not have.
    """
    count = encoder.model.config.num_hidden_layers + 1
    for layer in layers or ():
        if not -count <= layer < count:
            raise RecipeError(f"layer {layer}", expected=f"0 (embeddings) to {count - 1}", where="layers")
    return [layer % count for layer in (range(count) if layers is None else layers)]


def check_finite(states: Array, whose: str) -> Array:
    """The same states.

    Raises:
        DataError: one that is NaN or infinite.
    """
    if not np.isfinite(states).all():
        raise DataError(f"states of {whose} that are not finite", expected="finite numbers",
                        next_step="check the model: its weights, or its precision")  # fmt: skip
    return states


def state_blocks(
    encoder: Encoder,
    texts: Iterable[str],
    *,
    layers: Sequence[int] | None = None,
    poolings: Sequence[str] = ("mean",),
    block: int = 1024,
    batch_tokens: int = 2048,
    dtype: torch.dtype | None = None,
    progress: Callable[[int], Any] | None = None,
    full: Callable[[int], Any] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Pooled states by layer, block by block, for texts without end: memory is that of one block.

    Args:
        encoder: any encoder.
        texts: any iterable, read as it is needed.
        layers: layer numbers (0: embeddings; negative from the top); all if None.
        poolings: of :data:`interlingua.models.POOLINGS`.
        block: texts that are tokenised, sorted by length and returned together.
        batch_tokens: tokens a forward pass.
        dtype: what the network computes in; float32 or bfloat16, whichever is faster here, if None.
        progress: called with the number of texts done since the last call.
        full: called with the number of a block's texts that are as long as the encoder takes; longer ones were cut.

    Yields:
        float32 [poolings x layers, block, D], all layers of the first pooling first, texts in the order of ``texts``;
        the last block may be shorter.

    Raises:
        RecipeError: a layer the network does not have, or an unknown pooling.
    """
    for how in poolings:
        if how not in POOLINGS:
            raise RecipeError(f"pooling {how!r}{nearest(how, POOLINGS)}", expected=f"one of {', '.join(POOLINGS)}",
                              where="poolings")  # fmt: skip
    wanted = layer_numbers(encoder, layers)
    pooled = list(itertools.product(poolings, wanted))
    model = for_inference(encoder.model, dtype or inference_dtype(encoder.model))
    waiting = iter(texts)
    while some := list(itertools.islice(waiting, block)):
        out = np.zeros((len(pooled), len(some), model.config.hidden_size), dtype=np.float32)
        token_lists = encoder.tokenize(some)
        if full:
            full(sum(len(tokens) >= encoder.max_length for tokens in token_lists))
        rows = length_sorted_batches(token_lists, encoder.tokenizer, batch_tokens=batch_tokens)
        # Not around the yield: whoever reads the blocks would run in inference mode as well.
        with torch.inference_mode():
            for indices, batch in rows:
                batch = batch.to(model.device)
                states = hidden_states(model, batch)
                for row, (how, layer) in enumerate(pooled):
                    out[row, indices] = pool_segments(states[layer].float(), batch, how=how).cpu().numpy()
                if progress:
                    progress(len(indices))
        yield out


def sentence_states(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    layers: Sequence[int] | None = None,
    batch_tokens: int = 2048,
    progress: Callable[[int], Any] | None = None,
) -> NDArray[np.float32]:
    """Mean-pooled states by layer.

    Args:
        encoder: any encoder.
        texts: N texts.
        layers: layer numbers (0: embeddings; negative from the top); the last one if None.
        batch_tokens: tokens a forward pass.
        progress: called with the number of texts done since the last call.

    Returns:
        float32 [layers, N, D].

    Raises:
        RecipeError: a layer the network does not have.
    """
    wanted = layer_numbers(encoder, [-1] if layers is None else layers)
    out = np.zeros((len(wanted), len(texts), encoder.model.config.hidden_size), dtype=np.float32)
    done = 0
    for states in state_blocks(encoder, texts, layers=wanted, batch_tokens=batch_tokens, progress=progress):
        out[:, done : done + states.shape[1]] = states
        done += states.shape[1]
    return out


@dataclass(frozen=True)
class TextVectors:
    """Vectors of different texts.

    Attributes:
        vectors: [U, D], one a text, not scaled to length 1, so that means can be taken off.
        place: text -> row.
    """

    vectors: NDArray[np.float32]
    place: dict[str, int]

    def of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [N, D], a row a text; equal texts have equal rows."""
        return self.vectors[[self.place[text] for text in texts]]


def text_vectors(
    encoder: Encoder,
    texts: Iterable[str],
    *,
    layer: int | None = None,
    progress: Callable[[int], Any] | None = None,
) -> TextVectors:
    """Vectors of texts, each different text run once.

    Args:
        encoder: any encoder.
        texts: in any order, with any repetitions; memory is that of the different ones and their vectors.
        layer: which layer's states; None for the encoder's own sentence vectors.
        progress: called with the number of texts done since the last call.
    """
    place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    if layer is None:
        return TextVectors(encoder.encode(place, normalize=False, progress=progress), place)
    return TextVectors(sentence_states(encoder, list(place), layers=[layer], progress=progress)[0], place)


def cut_texts(encoder: Encoder, texts: Iterable[str]) -> set[str]:
    """Those of the texts that are longer than the encoder reads, and of which it sees the beginning only."""
    longer = replace(encoder, max_length=encoder.max_length + 1)
    waiting, found = iter(texts), set[str]()
    while some := list(itertools.islice(waiting, 4096)):
        sizes = map(len, longer.tokenize(some))
        found |= {text for text, size in zip(some, sizes, strict=True) if size > encoder.max_length}
    return found
