"""Does a word's vector tell its senses apart?

In: sentences in which a word has a known sense, an encoder. Out: for each layer the cosines between all occurrences,
and how well they part by sense. Decision: the occurrence's own vector is measured (the mean of its subwords' states),
never the sentence's, and beside the layers stands what a static vector can do: the embedding table's vector of the
word as it is written, which knows nothing of the sentence. Price: all pairs of occurrences are held, so this is for
hundreds of sentences a word.

A static vector of a word (the table's, CBOW's, GloVe's) is the same in every sentence: its silhouette is 0 and no
neighbour is nearer than another, by construction. Only where the senses are written otherwise (Apple, apple) can it be
more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.probe.neighbours import unit
from interlingua.scores import Score
from interlingua.text.senses import SenseExample, occurrence

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = ["SenseLayer", "WordSenses", "parted", "sense_layer", "word_senses"]

_Placed = tuple[SenseExample, tuple[int, int]]
"""A sentence and where the word stands in it."""

# Equal vectors have cosines that differ in float32's last digits; what is nearer than this is the same place.
_SAME = 1e-5


@dataclass(frozen=True)
class SenseLayer:
    """How well one layer's vectors part by sense.

    Attributes:
        layer: 0 the embeddings; None for static vectors.
        cosines: between all occurrences, [N, N].
        silhouette: mean over occurrences, by cosine distance: from -1 to 1, 0 where senses are not told apart
            (Rousseeuw 1987).
        nearest_same: share of occurrences whose nearest other one has the same sense; equally near ones of another
            sense stand before.
        same: mean cosine of two occurrences of one sense.
        other: mean cosine of two occurrences of different senses.
    """

    layer: int | None
    cosines: NDArray[np.float32] = field(repr=False)
    silhouette: float
    nearest_same: float
    same: float
    other: float


@dataclass(frozen=True)
class WordSenses:
    """A word's senses by layer.

    Attributes:
        lang: canonical tag.
        word: the word.
        senses: of each occurrence, those of one sense beside each other, [N].
        texts: the sentences, in the same order.
        layers: static vectors first, then a layer each.
        without: sentences in which the word does not occur, left out.
        cut: occurrences behind the longest text that the encoder takes, left out.
    """

    lang: str
    word: str
    senses: tuple[str, ...]
    texts: tuple[str, ...]
    layers: tuple[SenseLayer, ...]
    without: int = 0
    cut: int = 0

    @property
    def chance(self) -> float:
        """Share of occurrences whose nearest has the same sense if any other one is as likely to be the nearest."""
        counts = Counter(self.senses)
        return sum(n * (n - 1) for n in counts.values()) / (len(self.senses) * (len(self.senses) - 1))

    @property
    def best(self) -> SenseLayer:
        """The layer with the highest silhouette."""
        return max(self.layers, key=lambda one: one.silhouette)

    def scores(self, model: str) -> list[Score]:
        """Rows ``senses.WORD.layerN``, and ``senses.WORD.static``."""
        rows = []
        for one in self.layers:
            task = f"senses.{self.word}." + ("static" if one.layer is None else f"layer{one.layer}")
            values = {
                "silhouette": one.silhouette,
                "nearest_same": one.nearest_same,
                "nearest_same_chance": self.chance,
                "cosine_same": one.same,
                "cosine_other": one.other,
            }
            rows += [
                Score(model, task, self.lang, "all", name, value, len(self.senses)) for name, value in values.items()
            ]
        return rows


def sense_layer(vectors_ND: NDArray[Any], senses: Sequence[str], *, layer: int | None = None) -> SenseLayer:
    """Measure how well vectors part by sense.

    Args:
        vectors_ND: a vector an occurrence.
        senses: names of their senses, [N].
        layer: which layer they are of.

    Raises:
        DataError: fewer than two senses, a sense with one occurrence only, or vectors that are not finite.
    """
    counts = Counter(senses)
    if len(counts) < 2:
        raise DataError(f"one sense, {', '.join(counts)!r}", expected="at least two")
    if single := [name for name, count in counts.items() if count == 1]:
        raise DataError(f"one occurrence of {', '.join(map(repr, single))}", expected="at least two of every sense")
    unit_ND = unit(vectors_ND)
    return parted(np.clip(unit_ND @ unit_ND.T, -1, 1), senses, layer=layer)


def parted(cosines_NN: NDArray[Any], senses: Sequence[str], *, layer: int | None = None) -> SenseLayer:
    """Measure how well occurrences part by sense whose cosines are known; every sense has two at least.

    Args:
        cosines_NN: between all occurrences.
        senses: names of their senses, [N].
        layer: which layer they are of.
    """
    from sklearn.metrics import silhouette_score

    distances_NN = np.where(cosines_NN > 1 - _SAME, 0, 1 - cosines_NN)
    np.fill_diagonal(distances_NN, 0)
    names = np.array(senses)
    alike_NN = names[:, None] == names[None]
    itself_NN = np.eye(len(names), dtype=bool)
    best_same_N = np.where(alike_NN & ~itself_NN, cosines_NN, -np.inf).max(axis=1)
    best_other_N = np.where(alike_NN, -np.inf, cosines_NN).max(axis=1)
    return SenseLayer(
        layer,
        np.asarray(cosines_NN, dtype=np.float32),
        float(silhouette_score(distances_NN, names, metric="precomputed")),
        float((best_same_N > best_other_N + _SAME).mean()),
        float(cosines_NN[alike_NN & ~itself_NN].mean()),
        float(cosines_NN[~alike_NN].mean()),
    )


def word_senses(
    encoder: Encoder,
    examples: Iterable[SenseExample],
    *,
    layers: Sequence[int] | None = None,
    batch_tokens: int = 2048,
    progress: Callable[[int], Any] | None = None,
    left_out: Callable[[str], Any] | None = None,
) -> list[WordSenses]:
    """Measure how well each word's senses part, all layers from one pass.

    A word without two senses of two occurrences each is left out, before anything is encoded where its sentences tell.

    Args:
        encoder: any encoder.
        examples: sentences of one or more words, in any order.
        layers: layer numbers; all if None.
        batch_tokens: tokens a forward pass.
        progress: called with the number of sentences done since the last call.
        left_out: called with what there is of a word that is left out.

    Returns:
        One a word and language that is not left out, in the order in which they come first.

    Raises:
        DataError: no word with two senses of two occurrences each is left, or states that are not finite.
        RecipeError: a layer the network does not have.
    """
    from interlingua.probe.states import layer_numbers

    numbers = layer_numbers(encoder, layers)
    groups: dict[tuple[str, str], dict[str, list[SenseExample]]] = {}
    for one in examples:
        groups.setdefault((one.lang, one.word), {}).setdefault(one.sense, []).append(one)
    lacking: list[str] = []

    def enough(word: str, lang: str, senses: Sequence[str], without: int, cut: int) -> bool:
        if lack := _lack(word, lang, senses, without, cut):
            lacking.append(lack)
            if left_out:
                left_out(lack)
        return not lack

    usable: dict[tuple[str, str], tuple[list[_Placed], int]] = {}
    for (lang, word), senses in groups.items():
        ordered = [one for own in senses.values() for one in own]
        spans = [occurrence(one.text, word, lang) for one in ordered]
        placed = [(one, span) for one, span in zip(ordered, spans, strict=True) if span is not None]
        without = len(ordered) - len(placed)
        fit = enough(word, lang, [one.sense for one, _ in placed], without, 0)
        if fit:
            usable[lang, word] = placed, without
        if progress and (passed_over := without if fit else len(ordered)):
            progress(passed_over)
    found = []
    for (lang, word), (placed, without) in usable.items():
        states_LND, kept = _states(encoder, placed, numbers, batch_tokens, progress)
        cut = len(placed) - len(kept)
        placed = [placed[i] for i in kept]
        names = [one.sense for one, _ in placed]
        # Only the tokenizer knows what lies behind the longest text.
        if not enough(word, lang, names, without, cut):
            continue
        static_ND = _table_vectors(encoder, [one.text[first:last] for one, (first, last) in placed])
        measured = [sense_layer(static_ND, names)]
        measured += [sense_layer(own, names, layer=n) for n, own in zip(numbers, states_LND, strict=True)]
        found.append(
            WordSenses(lang, word, tuple(names), tuple(one.text for one, _ in placed), tuple(measured), without, cut)
        )
    if not found:
        more = f"; and {len(lacking) - 1} more words alike" if len(lacking) > 1 else ""
        raise DataError(
            (lacking[0] if lacking else "no sentence") + more,
            expected="two senses or more, with two sentences or more each, in which the word stands as it is given",
            next_step="give more sentences; other forms of a word are words of their own",
        )
    return found


def _lack(word: str, lang: str, senses: Sequence[str], without: int, cut: int) -> str:
    """What there is of a word that is too little; nothing if it is enough."""
    counts = Counter(senses)
    if len(counts) >= 2 and min(counts.values()) >= 2:
        return ""
    there = ", ".join(f"{name} {count}" for name, count in counts.items()) or "no occurrence"
    return f"{there} of {word!r} in {lang!r}; {without} sentences lack it, {cut} have it behind the longest text"


def _states(
    encoder: Encoder,
    placed: Sequence[_Placed],
    numbers: Sequence[int],
    batch_tokens: int,
    progress: Callable[[int], Any] | None,
) -> tuple[NDArray[np.float32], list[int]]:
    """Vectors of occurrences, [layers, N, D], and which have one."""
    from interlingua.probe.wordstates import WordedText, word_state_blocks

    parts, kept, done = [], [], 0
    texts = (WordedText(one.text, (span,)) for one, span in placed)
    for block in word_state_blocks(encoder, texts, layers=numbers, batch_tokens=batch_tokens, progress=progress):
        parts.append(block.states)
        kept += (done + block.text).tolist()
        done += block.texts
    return np.concatenate(parts, axis=1), kept


def _table_vectors(encoder: Encoder, written: Sequence[str]) -> NDArray[np.float32]:
    """The embedding table's vectors of words, each the mean of its subwords', [N, D]."""
    table_VD = encoder.model.get_input_embeddings().weight.detach().float().cpu().numpy()
    ids = encoder.tokenizer(list(written), add_special_tokens=False)["input_ids"]
    return np.stack([table_VD[own].mean(axis=0) for own in ids])
