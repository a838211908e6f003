"""What a task is to the rest: labelled examples in, batches, a loss, predictions and a metric out.

In: examples of any language, tokenised once. Out: :class:`TaskStream` (batch t of a shuffled epoch) for the loop and
length-sorted batches for prediction. Decision: a task is an :class:`~interlingua.objectives.Objective` like any
other, so tuning is the same loop as pretraining; if the lower layers of the network are frozen, their states are
computed once per example and the loop runs the upper layers only. Price: those states stay in memory (4 bytes x width
a token).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from interlingua.batch import Batch, rows_from_texts
from interlingua.models.attention import lower_states
from interlingua.models.encoder import length_sorted_batches
from interlingua.objectives.base import IGNORED
from interlingua.shards.sampling import keyed_generator
from interlingua.shards.stream import Layout

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Encoded", "TaskStream", "add_frozen_states", "batch_of", "prediction_batches"]


@dataclass(frozen=True)
class Encoded:
    """A tokenised example.

    Attributes:
        tokens: ids with specials, int64 [n].
        lang: canonical tag.
        labels: class index, int64 [1], or one a token with -100 where there is none, int64 [n].
        gold: tag tasks: tag index of every word, also of those cut away.
        types: token types, int64 [n], or None.
        words: tag tasks: place of of the first token of each word, -1 for words cut away.
        states: states of the frozen lower layers [n, D], if computed.
        states_layer: how many layers they have behind them.
    """

    tokens: NDArray[Any]
    lang: str
    labels: NDArray[Any]
    types: NDArray[Any] | None = None
    words: NDArray[Any] | None = None
    gold: NDArray[Any] | None = None
    states: NDArray[Any] | None = None
    states_layer: int = 0


def batch_of(examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase, *, per_token: bool) -> Batch:
    """Pack examples; segment ``i + 1`` is example ``i``."""
    longest = max(len(e.tokens) for e in examples)
    languages = sorted({e.lang for e in examples})
    batch = rows_from_texts(
        [e.tokens for e in examples],
        pad_id=tokenizer.pad_token_id,
        row_length=max(longest, min(128, sum(len(e.tokens) for e in examples))),
        special_ids=np.array(tokenizer.all_special_ids),
        languages=[languages.index(e.lang) for e in examples],
        types=None if examples[0].types is None else [e.types for e in examples if e.types is not None],
        states=None if examples[0].states is None else [e.states for e in examples if e.states is not None],
        states_layer=examples[0].states_layer,
    )
    if not per_token:
        return replace(batch, labels=torch.from_numpy(np.concatenate([e.labels for e in examples])))
    labels_BL = torch.full(batch.tokens_BL.shape, IGNORED, dtype=torch.long)
    for i, example in enumerate(examples):
        # A segment's tokens stand together and in order, so a boolean choice keeps them aligned.
        labels_BL[batch.segments_BL == i + 1] = torch.from_numpy(example.labels)
    return replace(batch, labels=labels_BL)


class TaskStream:
    """Batch t of a training set, shuffled anew each epoch by a key of (seed, epoch).

    Args:
        examples: tokenised training examples.
        tokenizer: gives the special ids.
        batch_size: examples a batch.
        seed: of the shuffling.
        per_token: whether labels are one a token.
    """

    def __init__(
        self,
        examples: Sequence[Encoded],
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int,
        seed: int,
        per_token: bool,
    ) -> None:
        self.examples = examples
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.seed = seed
        self.per_token = per_token
        self.steps_an_epoch = -(-len(examples) // batch_size)

    def batch(self, t: int, layout: Layout | None = None) -> Batch:
        """Batch ``t``; epochs follow one another, the last batch of each may be smaller."""
        epoch, step = divmod(t, self.steps_an_epoch)
        order = keyed_generator(self.seed, epoch, 7).permutation(len(self.examples))
        chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
        return batch_of([self.examples[i] for i in chosen], self.tokenizer, per_token=self.per_token)


def prediction_batches(
    examples: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase, *, batch_tokens: int = 2048
) -> list[tuple[NDArray[Any], list[Encoded]]]:
    """Examples of about the same length together: (indices, examples) a batch."""
    order = np.argsort([len(e.tokens) for e in examples], kind="stable")
    found, start = [], 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and len(examples[order[stop]].tokens) * (stop + 1 - start) <= batch_tokens:
            stop += 1
        chosen = order[start:stop]
        found.append((chosen, [examples[i] for i in chosen]))
        start = stop
    return found


def add_frozen_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Encoded],
    layers: int,
    *,
    batch_tokens: int = 2048,
) -> list[Encoded]:
    """The same examples with the states of the network's lowest ``layers`` layers."""
    out: list[Encoded | None] = [None] * len(examples)
    with torch.inference_mode():
        for indices, batch in length_sorted_batches([e.tokens for e in examples], tokenizer, batch_tokens=batch_tokens):
            if examples[indices[0]].types is not None:
                types = [examples[i].types for i in indices]
                types_BL = torch.zeros_like(batch.tokens_BL)
                for row, value in enumerate(types):
                    assert value is not None
                    types_BL[row, : len(value)] = torch.from_numpy(value)
                batch = replace(batch, types_BL=types_BL)
            states_BLD = lower_states(model, batch.to(model.device), layers).float().cpu().numpy()
            for row, i in enumerate(indices):
                states = states_BLD[row, : len(examples[i].tokens)].copy()
                out[i] = replace(examples[i], states=states, states_layer=layers)
    return [e for e in out if e is not None]
