"""Texts translated by an encoder-decoder.

In: a translator and texts. Out: as many texts, in the order given. Decisions: texts of about the same length run
together; an empty text stays empty and is not shown to the network; what is cut because it is longer than the network
reads is counted. Price: every text of a batch waits for its longest translation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interlingua.models.seq2seq import generated
from interlingua.models.translator import frame, language_ids, longest_side, open_translator, start_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Translated", "Translator", "load_translator"]


@dataclass(frozen=True)
class Translated:
    """What came of some texts.

    Attributes:
        texts: one a text given.
        cut: sources of which only the beginning was read.
        unfinished: translations that ended because they were as long as allowed.
        empty: sources without a word.
    """

    texts: list[str]
    cut: int
    unfinished: int
    empty: int


@dataclass(frozen=True)
class Translator:
    """A network that translates.

    Attributes:
        name: what it was asked for by.
        model: an encoder-decoder in evaluation mode.
        tokenizer: its tokenizer, with a token for every language.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    _longest: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_longest", longest_side(self.model))

    @property
    def languages(self) -> list[str]:
        """Languages that it writes."""
        return list(language_ids(self.tokenizer))

    def translate(
        self,
        texts: Sequence[str],
        language: str,
        *,
        beam: int = 1,
        length_penalty: float = 1.0,
        longest: int = 128,
        batch_tokens: int = 2048,
        progress: Callable[[int], None] | None = None,
    ) -> Translated:
        """Translate texts.

        Args:
            texts: in any of the languages that the network reads.
            language: to be written.
            beam: hypotheses kept; 1 takes the likeliest token each time.
            length_penalty: beam: scores are divided by length to this power, so more makes longer translations.
            longest: tokens of a translation at most, and of a source that are read, as far as the network's positions
                go.
            batch_tokens: source tokens run together, padding included; with a beam so many times fewer.
            progress: told how many texts are done.

        Raises:
            RecipeError: a language that the network does not write.
        """
        start = start_id(self.tokenizer, language)
        first, last = frame(self.tokenizer)
        longest = min(longest, self._longest - 1)
        out = [""] * len(texts)
        shown = [i for i, text in enumerate(texts) if text.strip()]
        ids = self.tokenizer([texts[i] for i in shown], add_special_tokens=False)["input_ids"] if shown else []
        room = longest - len(first) - 1
        cut = sum(len(row) > room for row in ids)
        sources = [[*first, *row[:room], last] for row in ids]
        unfinished = done = 0
        for chosen in _batches([len(source) for source in sources], max(1, batch_tokens // beam)):
            rows = generated(
                self.model,
                [sources[i] for i in chosen],
                [start] * len(chosen),
                longest=longest,
                beam=beam,
                length_penalty=length_penalty,
            )
            unfinished += sum(len(row) >= longest for row in rows)
            for i, text in zip(chosen, self.tokenizer.batch_decode(rows, skip_special_tokens=True), strict=True):
                out[shown[i]] = " ".join(text.split())
            done += len(chosen)
            if progress:
                progress(done + len(texts) - len(shown))
        return Translated(out, cut, unfinished, len(texts) - len(shown))


def _batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Indices of texts of about the same length, the longest first: what fails for memory does at once."""
    order = np.argsort(lengths, kind="stable")[::-1].tolist()
    found: list[list[int]] = []
    for i in order:
        if found and lengths[found[-1][0]] * (len(found[-1]) + 1) <= tokens:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def load_translator(name: str | Path, *, device: str = "auto") -> Translator:
    """Open a translator by folder (also a run folder), or hub id.

    Raises:
        CheckpointError: a network without a decoder, or damaged.
        ModelUnavailableError: not there.
        RecipeError: it has no token for any language.
    """
    import torch

    from interlingua.models.encoder import resolve

    model, tokenizer = open_translator(resolve(name))
    cuda = torch.cuda.is_available() if device == "auto" else False
    model.to("cuda" if cuda else "cpu" if device == "auto" else device)
    return Translator(str(name), model, tokenizer)
