"""How multilingual a network is, where of every text and every token the counterpart is known.

In: token ids of sentences in a language and in its counterpart, and of single tokens. Out: at each layer, how often the
nearest neighbour of a sentence, and of a token alone, is its counterpart; the mean over both and the layers is the
multilinguality score of Dufter and Schuetze (2020, arXiv 2005.00396, and their code). Decision: ids come in, not text,
since a continuation piece alone is no text. Price: whoever asks must make them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.models.attention import hidden_states, pool_segments
from interlingua.models.encoder import Encoder, length_sorted_batches
from interlingua.models.precision import for_inference, inference_dtype
from interlingua.probe.neighbours import nearest, unit
from interlingua.probe.states import check_finite, layer_numbers
from interlingua.scores import Score
from interlingua.text.fake import fake_tag

__all__ = ["Multilinguality", "Side", "multilinguality"]

Ids = NDArray[np.int64]
#: Where the paper's code looks.
LAYERS = (0, 8)


@dataclass(frozen=True)
class Side:
    """One of the two languages.

    Attributes:
        encoder: the network as this language sees it.
        sentences: ids of each sentence, without special tokens.
        tokens: ids of the tokens that are translated, each shown alone.
        token_type: type of all tokens, where a language has one of its own.
    """

    encoder: Encoder
    sentences: Sequence[Ids]
    tokens: Ids
    token_type: int = 0

    def states(self, texts: Sequence[Ids], layers: Sequence[int], batch_tokens: int) -> NDArray[np.float32]:
        """Mean states of texts without their special tokens, [layers, N, D]."""
        tokenizer = self.encoder.tokenizer
        ends = (tokenizer.cls_token_id, tokenizer.bos_token_id), (tokenizer.sep_token_id, tokenizer.eos_token_id)
        first, last = ([next(number for number in end if number is not None)] for end in ends)
        model = for_inference(self.encoder.model, inference_dtype(self.encoder.model))
        out = np.zeros((len(layers), len(texts), model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for indices, batch in length_sorted_batches(
                [np.concatenate([first, ids, last]) for ids in texts],
                tokenizer,
                batch_tokens=batch_tokens,
            ):
                if self.token_type:
                    batch = replace(batch, types_BL=torch.full_like(batch.tokens_BL, self.token_type))
                batch = batch.to(model.device)
                states = hidden_states(model, batch)
                for row, layer in enumerate(layers):
                    pooled = pool_segments(states[layer].float(), batch, specials=False)
                    out[row, indices] = pooled.cpu().numpy()
        return check_finite(out, "texts")


@dataclass(frozen=True)
class Multilinguality:
    """What was found, by layer.

    Attributes:
        retrieval: share of sentences whose nearest neighbour in the other language is their counterpart, mean of both
            directions.
        translation: the same for tokens shown alone.
    """

    retrieval: dict[int, float]
    translation: dict[int, float]

    @property
    def score(self) -> float:
        """The multilinguality score: mean of both over the layers."""
        return float(np.mean([*self.retrieval.values(), *self.translation.values()]))

    def scores(self, model: str, lang: str, *, n: tuple[int, int], seed: int | None = None) -> list[Score]:
        """As rows: P@1 of both tasks by layer, and the score.

        Args:
            model: name in the rows.
            lang: tag of the real language.
            n: sentences and tokens.
            seed: of the pretraining.
        """
        fake = fake_tag(lang)
        rows = [
            Score(model, f"{task}.layer{layer}", fake, "counterparts", "p1", value, count, seed)
            for task, found, count in (("retrieval", self.retrieval, n[0]), ("translation", self.translation, n[1]))
            for layer, value in found.items()
        ]
        whole = Score(model, "multilinguality", fake, "counterparts", "multilinguality", self.score, sum(n), seed)
        return [*rows, whole]


def multilinguality(
    left: Side, right: Side, *, layers: Sequence[int] = LAYERS, batch_tokens: int = 8192
) -> Multilinguality:
    """Measure a network, or the two faces of one, on counterparts.

    Args:
        left: a language; sentence i and token i of the other side are the counterparts of its own.
        right: the other one.
        layers: where; 0: embeddings.
        batch_tokens: tokens a forward pass.

    Raises:
        DataError: sides of different length, none at all, or states that are not finite.
        RecipeError: a layer the network does not have.
    """
    if (len(left.sentences), len(left.tokens)) != (len(right.sentences), len(right.tokens)):
        raise DataError(
            f"{len(left.sentences)} and {len(right.sentences)} sentences,"
            f" {len(left.tokens)} and {len(right.tokens)} tokens",
            expected="a counterpart for each",
        )
    numbers = layer_numbers(left.encoder, layers)
    found = []
    for both in ((left.sentences, right.sentences), (list(left.tokens[:, None]), list(right.tokens[:, None]))):
        pair = [side.states(texts, numbers, batch_tokens) for side, texts in zip((left, right), both, strict=True)]
        found.append({layer: _matched(a, b) for layer, a, b in zip(layers, *pair, strict=True)})
    return Multilinguality(*found)


def _matched(left_ND: NDArray[np.float32], right_ND: NDArray[np.float32]) -> float:
    """Share of rows whose nearest neighbour by cosine is the same row of the other side, mean of both directions."""
    sides = unit(left_ND), unit(right_ND)
    own = np.arange(len(left_ND))
    ways = (nearest(*sides, 1).index[:, 0] == own, nearest(*sides[::-1], 1).index[:, 0] == own)
    return float(np.mean([way.mean() for way in ways]))
