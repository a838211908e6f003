"""One language made another, token by token, by a vector: what a masked LM says of states that are moved.

In: a network with a masked LM's head, sentences of a language and of another. Out: at each layer l and for each alpha
the tokens that the network names where x became

    x + alpha (mean_l(tokens of the target) - mean_l(tokens of the source))

(Liu et al. 2020, arXiv 2010.10041, "unsupervised token translation"; nothing is hidden from the network), and how good
a translation they are: share of tokens of the target language, BLEU of single words against the translations of the
sentences, and how often a word that is one token becomes a translation of a lexicon. Decision: a token is the target's
if it is more frequent in the target's text than in the source's; the share of the references is given, since no
translation need exceed it. Price: words of several tokens count for the share and BLEU alone, and word order stays the
source's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from interlingua.errors import DataError, RecipeError
from interlingua.languages import canonical
from interlingua.models.attention import encode
from interlingua.models.encoder import length_sorted_batches
from interlingua.models.head import masked_logits
from interlingua.models.steering import layer_means, steerable_layers, steered
from interlingua.scores import Score
from interlingua.tasks.translation_scores import bleu_tokenizer, require_sacrebleu

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.batch import Batch

__all__ = ["SteeredTokens", "TokenTranslation", "translate_tokens"]

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class SteeredTokens:
    """What is said at one layer for one alpha.

    Attributes:
        layer: after which the states were moved; 0: the embeddings.
        alpha: how far.
        share: of the tokens that are more frequent in the target's text.
        bleu1: BLEU of single words against the references, 0 to 100, with its brevity penalty.
        p1: share of the occurrences of lexicon words that became one of their translations; None without such words.
        texts: the sentences that were named.
    """

    layer: int
    alpha: float
    share: float
    bleu1: float
    p1: float | None
    texts: list[str]


@dataclass(frozen=True)
class TokenTranslation:
    """All layers and alphas.

    Attributes:
        source: tag.
        target: tag.
        sentences: how many were moved.
        words: occurrences of lexicon words in them that are one token and have a translation that is one.
        reference_share: the share of the references' own tokens.
        steered: by layer, then alpha, as they were asked for.
        signature: sacreBLEU's.
    """

    source: str
    target: str
    sentences: int
    words: int
    reference_share: float
    steered: list[SteeredTokens]
    signature: str

    def scores(self, model: str) -> list[Score]:
        """As rows, alpha and layer in the task's name."""
        rows = []
        for one in self.steered:
            task = f"steering.layer{one.layer}.alpha{one.alpha:g}"
            values = {"target_share": (one.share, self.sentences), "bleu1": (one.bleu1, self.sentences)}
            if one.p1 is not None:
                values["p1"] = (one.p1, self.words)
            rows += [Score(model, task, self.target, "test", metric, value, n) for metric, (value, n) in values.items()]
        return rows


def _normalised(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The text in the letters that the vocabulary has for it: what the network says can have no others."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer.normalize_str(text).replace("\u2581", " ").strip() if normalizer is not None else text


def translate_tokens(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    source: Sequence[str],
    references: Sequence[str],
    *,
    languages: tuple[str, str],
    texts: Mapping[str, Sequence[str]],
    layers: Sequence[int] = (),
    alphas: Sequence[float] = (0.0, 1.0, 2.0, 3.0, 4.0),
    lexicon: Iterable[tuple[str, str]] = (),
    max_length: int = 128,
    batch_tokens: int = 8192,
    progress: Callable[[int], None] | None = None,
) -> TokenTranslation:
    """Move sentences towards another language and read what the network says.

    Args:
        model: of class ``AutoModelForMaskedLM``.
        tokenizer: its own; a fast one.
        source: sentences.
        references: their translations; they are compared as the tokenizer writes text, in lower case if it does.
        languages: tags of source and target.
        texts: by these tags, what means and frequencies are taken of; they need not be translations of each other, and
            should not be the sentences themselves.
        layers: where, 0 being the embeddings, negative from the top; all if none are named.
        alphas: how far.
        lexicon: words of the source and their translations.
        max_length: longest sentence in tokens; longer ones are cut.
        batch_tokens: tokens a forward pass.
        progress: called with 1 for each layer and alpha.

    Raises:
        DataError: no sentence, not as many references, no text of a language, or means that are not finite.
        RecipeError: a network without a masked LM's head, that cannot be steered, or without a layer that was named.
        MissingExtraError: sacrebleu is not installed.
    """
    require_sacrebleu()
    from sacrebleu.metrics import BLEU

    first, second = (canonical(tag) for tag in languages)
    if model.get_output_embeddings() is None:
        raise RecipeError(f"{type(model).__name__} names no tokens", expected="a masked LM, with its head",
                          next_step="give a checkpoint of `interlingua pretrain` with the objective mlm")  # fmt: skip
    if not source or len(source) != len(references):
        raise DataError(f"{len(source)} sentences and {len(references)} references", expected="one for each")
    if lacking := [tag for tag in (first, second) if not texts.get(tag)]:
        raise DataError(f"no text in {', '.join(lacking)}", expected="texts whose mean states are taken")
    count = steerable_layers(model)
    if beyond := [layer for layer in layers if not -count <= layer < count]:
        raise RecipeError(f"layer {beyond[0]}", expected=f"0 (embeddings) to {count - 1}", where="layers")
    chosen = [layer % count for layer in layers] or list(range(count))
    if not alphas:
        raise RecipeError("no alpha", expected="at least one number", where="alphas")

    def tokens_of(some: Sequence[str]) -> list[Ids]:
        rows = tokenizer(list(some), truncation=True, max_length=max_length)["input_ids"]
        return [np.array(ids, dtype=np.int64) for ids in rows]

    own = {tag: tokens_of(texts[tag]) for tag in (first, second)}
    special = np.array(sorted(set(tokenizer.all_special_ids)))
    targets_V = _targets([own[first], own[second]], len(tokenizer), special)
    sentences = _sentences(tokenizer, source, max_length)
    words = _words(tokenizer, sentences, lexicon)
    means = {tag: layer_means(model, _batches(own[tag], tokenizer, model, batch_tokens)) for tag in (first, second)}
    for tag, mean in means.items():
        if not np.isfinite(mean).all():
            raise DataError(f"mean states of {tag} that are not finite", expected="numbers",
                            next_step="the weights are broken: take an earlier checkpoint")  # fmt: skip
    references = [_normalised(tokenizer, text) for text in references]
    bleu = BLEU(max_ngram_order=1, tokenize=bleu_tokenizer(second))
    found = []
    for layer in chosen:
        for alpha in alphas:
            vector = alpha * (means[second][layer] - means[first][layer])
            with steered(model, layer, {first: vector}):
                said = _said(model, tokenizer, sentences, first, batch_tokens)
            lines = [tokenizer.decode(ids, skip_special_tokens=True) for ids in said]
            hits = [said[i][at] in good for (i, at), good in words.items()]
            found.append(
                SteeredTokens(
                    layer,
                    float(alpha),
                    _share(said, targets_V, special),
                    float(bleu.corpus_score(lines, [list(references)]).score),
                    float(np.mean(hits)) if hits else None,
                    lines,
                )
            )
            if progress:
                progress(1)
    share = _share(tokens_of(references), targets_V, special)
    return TokenTranslation(first, second, len(source), len(words), share, found, str(bleu.get_signature()))


def _targets(sides: Sequence[Sequence[Ids]], vocabulary: int, special: Ids) -> NDArray[np.bool_]:
    """Whether a token is relatively more frequent in the second side's text than in the first's, [V]."""
    rates = []
    for side in sides:
        counts = np.bincount(np.concatenate(side), minlength=vocabulary).astype(np.float64)
        counts[special] = 0
        rates.append(counts / max(1.0, counts.sum()))
    found: NDArray[np.bool_] = rates[1] > rates[0]
    return found


def _share(said: Sequence[Ids], targets_V: NDArray[np.bool_], special: Ids) -> float:
    every = np.concatenate(said)
    return float(targets_V[every[~np.isin(every, special)]].mean()) if len(every) else float("nan")


@dataclass(frozen=True)
class _Sentence:
    """A sentence as tokens.

    Attributes:
        ids: with the special tokens around them.
        own: places that are the sentence's.
        words: place among these -> word that is one token, in lower case.
    """

    ids: Ids
    own: Ids
    words: dict[int, str]


def _sentences(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> list[_Sentence]:
    rows = tokenizer(list(texts), truncation=True, max_length=max_length, return_offsets_mapping=True,
                     return_special_tokens_mask=True)  # fmt: skip
    found = []
    for i, text in enumerate(texts):
        own = np.flatnonzero(~np.array(rows["special_tokens_mask"][i], dtype=bool))
        numbers = [rows.word_ids(i)[at] for at in own]
        spans = [rows["offset_mapping"][i][at] for at in own]
        words = {
            place: text[begin:end].strip().lower()
            for place, (number, (begin, end)) in enumerate(zip(numbers, spans, strict=True))
            if numbers.count(number) == 1
        }
        found.append(_Sentence(np.array(rows["input_ids"][i], dtype=np.int64), own, words))
    return found


def _words(
    tokenizer: PreTrainedTokenizerBase, sentences: Sequence[_Sentence], lexicon: Iterable[tuple[str, str]]
) -> dict[tuple[int, int], set[int]]:
    """(sentence, place) of words that are one token -> the tokens that are translations of theirs."""
    good: dict[str, set[int]] = {}
    for word, translation in lexicon:
        for spelling in {translation, translation.capitalize()}:
            ids: Any = tokenizer(spelling, add_special_tokens=False)["input_ids"]
            if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
                good.setdefault(word.lower(), set()).add(ids[0])
    return {
        (i, place): good[word]
        for i, sentence in enumerate(sentences)
        for place, word in sentence.words.items()
        if word in good
    }


def _batches(
    encoded: Sequence[Ids], tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, batch_tokens: int
) -> Iterator[Batch]:
    for _, batch in length_sorted_batches(encoded, tokenizer, batch_tokens=batch_tokens):
        yield batch.to(model.device)


def _said(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[_Sentence],
    lang: str,
    batch_tokens: int,
) -> list[Ids]:
    """The most probable token at every place of every sentence."""
    out: dict[int, Ids] = {}
    encoded = [sentence.ids for sentence in sentences]
    with torch.inference_mode():
        for indices, batch in length_sorted_batches(encoded, tokenizer, batch_tokens=batch_tokens):
            states = encode(model, replace(batch, language_names=(lang,)).to(model.device))
            for row, index in enumerate(indices):
                inner = states[row, torch.from_numpy(sentences[index].own).to(states.device)]
                out[int(index)] = masked_logits(model, inner).argmax(dim=-1).cpu().numpy()
    return [out[i] for i in range(len(sentences))]
