"""Training of one shared vocabulary for many languages.

Texts a language flow in; a `tokenizers.Tokenizer` with special tokens and post-processor flows out, and a folder that
``transformers.AutoTokenizer`` opens.

Decision: languages are drawn with ``p^S`` *before* training, up to a fixed number of characters, and the sample is
prepared as one array of code points: normalised, rare characters cut out (they become bytes), and texts of scripts
without spaces cut into words. Only the sample is cut; the finished tokenizer needs no segmenter. Price: the sample is
held in memory about six times over, and pieces that cross a word boundary of Chinese, Japanese or Thai are never
learned. White space is collapsed to single spaces, so decoding restores words, not layout.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import VocabularyError
from interlingua.languages import canonical, language, smoothed
from interlingua.text.words import code_points, word_start_codes

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "BYTE_TOKENS",
    "SENTINEL",
    "Kind",
    "MemoryEstimate",
    "memory_estimate",
    "sample_texts",
    "save_vocabulary",
    "special_tokens",
    "train_vocabulary",
]

Kind = Literal["bpe", "wordpiece", "unigram", "byte-bpe"]

BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""The tokens of byte fallback, in SentencePiece's spelling."""

SENTINEL = "<extra_id_{}>"
"""What T5 calls the token that stands for the n-th hidden span."""

_SENTENCEPIECE_SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
_BERT_SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")

# A private-use character: the training pre-tokenizer splits at it and drops it. Normalised text never holds it, since
# rare characters are cut out of the sample and this one is cut out by name.
_CUT = "\ue000"
# Closes the copies of words that seed the unigram trainer (see `_unigram_seeds`): a Nushu letter, never in real text.
_CLOSE = "\U0001b170"
_SPACE_CODE, _CUT_CODE = ord(" "), ord(_CUT)

# Longest input word of WordPiece in characters. BERT's 100 turns long unspaced runs (Thai, Burmese) into [UNK].
_LONGEST_WORDPIECE_INPUT = 400

# A letter sequence with its marks and digits, or one other character; a leading space belongs to it.
_WORD_OR_MARK = r" ?[\p{L}\p{M}\p{N}]+| ?[^\s\p{L}\p{M}\p{N}]"


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What a vocabulary costs.

    Attributes:
        parameters: weights of the input embedding table.
        embedding_bytes: the table in 32-bit floats.
        training_bytes: table, gradient and Adam's two moments in 32-bit floats.
        sample_bytes: predicted peak memory of training the vocabulary itself.
    """

    parameters: int
    embedding_bytes: int
    training_bytes: int
    sample_bytes: int

    def __str__(self) -> str:
        """One line for a report."""
        mega = [f"{value / 1e6:,.0f} MB" for value in (self.embedding_bytes, self.training_bytes, self.sample_bytes)]
        return (
            f"{self.parameters:,} embedding weights: {mega[0]}, {mega[1]} with gradient and Adam states; "
            f"training the vocabulary takes up to {mega[2]}"
        )


# Peak bytes a sampled character, measured with tokenizers 0.23 on 9 M characters of 13 languages (19, 22, 25 and 68)
# and rounded up; the suffix array of the unigram trainer is what is dear.
_PEAK_BYTES_A_CHARACTER = {"bpe": 30, "wordpiece": 35, "byte-bpe": 40, "unigram": 100}


def memory_estimate(
    size: int, hidden: int, *, kind: Kind = "bpe", sample_characters: int = 20_000_000
) -> MemoryEstimate:
    """Predict the memory of a vocabulary of ``size`` tokens in a model of width ``hidden``."""
    parameters = size * hidden
    return MemoryEstimate(
        parameters, 4 * parameters, 16 * parameters, 150_000_000 + _PEAK_BYTES_A_CHARACTER[kind] * sample_characters
    )


def train_vocabulary(
    texts: Mapping[str, Sequence[str]],
    *,
    kind: Kind = "bpe",
    size: int,
    exponent: float = 0.7,
    cap: float = 1.0,
    sample_characters: int = 20_000_000,
    min_frequency: int = 2,
    character_coverage: float = 0.9995,
    max_token_characters: int = 16,
    byte_fallback: bool = True,
    lowercase: bool = False,
    normalization: Literal["NFKC", "NFC"] = "NFKC",
    seed: int = 0,
    languages: Sequence[str] = (),
    sizes: Mapping[str, float] | None = None,
) -> Tokenizer:
    """Train one vocabulary on texts of several languages.

    Args:
        texts: language tag -> its texts.
        kind: ``bpe`` and ``unigram`` work on characters with U+2581 for the space (SentencePiece's convention),
            ``byte-bpe`` on UTF-8 bytes, ``wordpiece`` as BERT.
        size: tokens in all, special and byte tokens included.
        exponent: S of ``p^S`` over languages.
        cap: largest share of one language.
        sample_characters: how much text the trainer sees at most.
        min_frequency: pairs rarer than this are not merged (not for ``unigram``).
        character_coverage: share of each language's characters that get a token of their own; the rarest are left
            to byte fallback or the unknown token. ``byte-bpe`` covers all.
        max_token_characters: longest token of ``bpe``, ``byte-bpe`` (in units of three bytes) and ``unigram``.
        byte_fallback: add 256 byte tokens to ``bpe`` and ``unigram``, so that nothing is unknown.
        lowercase: lower all text.
        normalization: Unicode form; NFKC folds full-width forms, ligatures and the like.
        seed: of the sample. The same seed gives the same vocabulary to the last byte, except for ``unigram``: the
            trainer of `tokenizers` adds floats in the order of a hash table, so that a few of its rarest pieces
            and the last digits of the scores differ between runs.
        languages: languages that get a special token of their own, ``<de>``.
        sizes: characters a language, where ``texts`` are a sample of more; counted in ``texts`` if not given.

    Raises:
        VocabularyError: ``size`` is too small for special tokens and characters, or larger than the text allows.
        LanguageError: an unknown language, or one with no text.
    """
    from tokenizers import Tokenizer

    specials = (*special_tokens(kind), *(f"<{canonical(tag)}>" for tag in languages))
    falls_back = byte_fallback and kind in ("bpe", "unigram")
    reserved = len(specials) + (256 if falls_back or kind == "byte-bpe" else 0)
    if size <= reserved:
        raise VocabularyError(
            f"size {size!r}, of which special and byte tokens take {reserved}",
            expected=f"at least {reserved + 1}, and room for the characters of the languages",
            where="train_vocabulary(size=...)",
        )
    sample = sample_texts(
        texts,
        exponent=exponent,
        cap=cap,
        characters=sample_characters,
        coverage=1.0 if kind == "byte-bpe" else character_coverage,
        normalization=normalization,
        lowercase=lowercase,
        # WordPiece marks continuation inside a word (##), so a cut word would only learn pieces that never apply.
        cut_unspaced=kind != "wordpiece",
        seed=seed,
        sizes=sizes,
    )
    learned = size - (256 if falls_back else 0)
    if kind != "wordpiece":
        # As the finished tokenizer's normaliser does: the first word looks like all others.
        sample = [" " + text for text in sample]
    if kind == "unigram":
        sample += _unigram_seeds(sample, min_frequency)
    tokenizer = Tokenizer(_model(kind))
    tokenizer.pre_tokenizer = _pre_tokenizer(kind, training=True)
    if kind == "wordpiece":
        tokenizer.normalizer = _bert_normalizer(lowercase)
    first = specials
    if kind == "wordpiece":
        first = (*specials, *_continuing_characters(tokenizer, sample, specials))
    tokenizer.train_from_iterator(
        sample, _trainer(kind, learned, first, min_frequency, max_token_characters), length=len(sample)
    )
    if kind == "wordpiece":
        tokenizer = _without_added(tokenizer, first[len(specials) :])
    if kind == "unigram":
        tokenizer = _without_seeds(tokenizer, learned)
    reached = tokenizer.get_vocab_size() + (256 if falls_back else 0)
    if reached != size:
        raise VocabularyError(
            f"size {size!r} asked, size {reached} reached",
            expected=f"a size that {sum(map(len, sample)):,} characters of {len(texts)} languages can fill and hold",
            where="train_vocabulary(size=...)",
            next_step="give more text, ask for fewer tokens, or lower min_frequency"
            if reached < size
            else "ask for more tokens or lower character_coverage: the characters alone need more",
        )
    return _finished(tokenizer, kind, specials, falls_back, lowercase, normalization)


def special_tokens(kind: Kind) -> tuple[str, ...]:
    """Return padding, begin, end, unknown and mask, in the order of their ids 0 to 4."""
    if kind not in ("bpe", "wordpiece", "unigram", "byte-bpe"):
        raise VocabularyError(
            f"kind {kind!r}", expected="'bpe', 'wordpiece', 'unigram' or 'byte-bpe'", where="train_vocabulary(kind=...)"
        )
    return _BERT_SPECIALS if kind == "wordpiece" else _SENTENCEPIECE_SPECIALS


def sample_texts(
    texts: Mapping[str, Sequence[str]],
    *,
    exponent: float,
    cap: float = 1.0,
    characters: int,
    coverage: float,
    normalization: Literal["NFKC", "NFC"],
    lowercase: bool,
    cut_unspaced: bool,
    seed: int,
    sizes: Mapping[str, float] | None = None,
) -> list[str]:
    """Draw and prepare the trainer's sample; languages with less text than their share are repeated.

    Returns:
        Texts in which U+E000 marks places where no token may cross: rare characters, word boundaries of unspaced
        scripts.
    """
    sizes = sizes or {lang: float(sum(map(len, own))) for lang, own in texts.items()}
    shares = smoothed(sizes, exponent, cap=cap)
    budget = min(float(characters), sum(sizes.values()))
    prepared: list[NDArray[np.uint32]] = []
    for place, (lang, own) in enumerate(texts.items()):
        rng = np.random.default_rng([seed, place])
        drawn = list(_draw(own, shares[lang] * budget, rng))
        normal = [" ".join(unicodedata.normalize(normalization, text).split()) for text in drawn]
        codes = _codes([text.lower() for text in normal] if lowercase else normal, lang, cut_unspaced)
        prepared.append(codes)
    allowed = _covered(prepared, coverage)
    sample: list[str] = []
    for codes in prepared:
        kept = np.where(allowed[codes], codes, np.uint32(_CUT_CODE))
        sample.extend(text for text in kept.astype("<u4").tobytes().decode("utf-32-le").split("\0") if text)
    return sample


def _draw(own: Sequence[str], budget: float, rng: np.random.Generator) -> Iterator[str]:
    taken = 0
    while taken < budget:
        for number in rng.permutation(len(own)).tolist():
            yield own[number]
            taken += len(own[number])
            if taken >= budget:
                return


def _codes(texts: Sequence[str], lang: str, cut_unspaced: bool) -> NDArray[np.uint32]:
    """Return the texts' code points, each text between zeros, with cuts before the words of unspaced scripts."""
    clean = [text.encode("utf-8", "replace").decode("utf-8").replace(_CUT, "").replace(_CLOSE, "") for text in texts]
    codes, _ = code_points(clean)
    if not cut_unspaced or language(lang).spaced:
        return codes
    starts = np.flatnonzero(word_start_codes(codes, lang))
    # No cut after a space or at a text's beginning: there the token begins anyway, together with its space.
    starts = starts[(codes[starts - 1] != _SPACE_CODE) & (codes[starts - 1] != 0)]
    return np.insert(codes, starts, np.uint32(_CUT_CODE))


def _covered(prepared: Sequence[NDArray[np.uint32]], coverage: float) -> NDArray[np.bool_]:
    """Return which code points are, in some language, among the most frequent ones that make up ``coverage`` of it.

    Language by language, because Chinese is a small share of a mixture's characters and has most of the rare ones:
    over the whole mixture, 1 in 100 of its characters would be spelled in bytes.
    """
    allowed = np.zeros(0x110000, dtype=np.bool_)
    for codes in prepared:
        counts = np.bincount(codes, minlength=len(allowed))
        counts[[0, _CUT_CODE]] = 0
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        before = np.cumsum(counts[order]) - counts[order]
        allowed[order[before < coverage * counts.sum()]] = True
    allowed[[0, _SPACE_CODE]] = True
    return allowed


def _unigram_seeds(sample: Sequence[str], min_frequency: int) -> list[str]:
    """Return every repeated word once more, followed by `_CLOSE`.

    The trainer of `tokenizers` takes its candidates from substrings that occur twice among *distinct* words, so that a
    frequent word that is part of no other word ("God", most Vietnamese syllables) is never even a candidate.
    The closed copy is the second occurrence.
    """
    marks = {chr(code) for code in np.flatnonzero(_characters(sample)).tolist()}
    marks = {mark for mark in marks if unicodedata.category(mark)[0] not in "LMN"}
    word = re.compile(f" ?[^{re.escape(''.join(sorted(marks | {' ', _CUT})))}]+")
    counts: Counter[str] = Counter()
    for text in sample:
        counts.update(word.findall(text))
    seeds = [found + _CLOSE for found, count in counts.items() if count >= max(2, min_frequency)]
    return [_CUT.join(seeds[first : first + 1000]) for first in range(0, len(seeds), 1000)]


def _characters(sample: Sequence[str]) -> NDArray[np.bool_]:
    present = np.zeros(0x110000, dtype=np.bool_)
    for text in sample:
        present[np.frombuffer(text.encode("utf-32-le"), dtype="<u4")] = True
    return present


def _without_seeds(tokenizer: Tokenizer, size: int) -> Tokenizer:
    """Drop pieces that hold `_CLOSE`, then the least likely pieces of two or more characters down to ``size``."""
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.to_str())
    pieces = [(piece, score) for piece, score in state["model"]["vocab"] if _CLOSE not in piece]
    specials = len(state["added_tokens"])
    spare = len(pieces) - size
    longer = [number for number, (piece, _) in enumerate(pieces) if number >= specials and len(piece) > 1]
    longer.sort(key=lambda number: (pieces[number][1], pieces[number][0]))
    dropped = set(longer[: max(spare, 0)])
    state["model"]["vocab"] = [piece for number, piece in enumerate(pieces) if number not in dropped]
    return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))


def _continuing_characters(tokenizer: Tokenizer, sample: Sequence[str], specials: Sequence[str]) -> list[str]:
    """Return the tokens ``##x`` of single characters, sorted.

    The trainer numbers them in the order of a hash table, which changes from run to run and breaks ties between equally
    frequent merges differently. Found by a training without merges and given as if they were special tokens, they
    keep one order.
    """
    tokenizer.train_from_iterator(sample, _trainer("wordpiece", len(specials), specials, 1, 1), length=len(sample))
    return sorted(token for token in tokenizer.get_vocab() if len(token) == 3 and token.startswith("##"))


def _without_added(tokenizer: Tokenizer, tokens: Sequence[str]) -> Tokenizer:
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.to_str())
    plain = set(tokens)
    state["added_tokens"] = [added for added in state["added_tokens"] if added["content"] not in plain]
    return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))


def _model(kind: Kind) -> Any:
    from tokenizers import models

    if kind == "wordpiece":
        return models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=_LONGEST_WORDPIECE_INPUT)
    if kind == "unigram":
        return models.Unigram()
    return models.BPE(unk_token=None if kind == "byte-bpe" else "<unk>", fuse_unk=False)


def _trainer(kind: Kind, size: int, specials: Sequence[str], min_frequency: int, longest: int) -> Any:
    from tokenizers import pre_tokenizers, trainers

    common: dict[str, Any] = {"vocab_size": size, "special_tokens": list(specials), "show_progress": False}
    if kind == "wordpiece":
        return trainers.WordPieceTrainer(min_frequency=min_frequency, **common)
    if kind == "unigram":
        # A tenth more, since pieces of the seeds are thrown away afterwards.
        common["vocab_size"] = size + size // 10
        # One round of EM a pruning step instead of two: same fertility on 13 languages, a fifth less time.
        return trainers.UnigramTrainer(unk_token="<unk>", max_piece_length=longest, n_sub_iterations=1, **common)
    if kind == "byte-bpe":
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        return trainers.BpeTrainer(
            min_frequency=min_frequency, initial_alphabet=alphabet, max_token_length=3 * longest, **common
        )
    return trainers.BpeTrainer(min_frequency=min_frequency, max_token_length=longest, **common)


def _pre_tokenizer(kind: Kind, *, training: bool) -> Any:
    from tokenizers import Regex, pre_tokenizers

    cut = [pre_tokenizers.Split(_CUT, "removed")] if training else []
    if kind == "wordpiece":
        return pre_tokenizers.Sequence([*cut, pre_tokenizers.BertPreTokenizer()])
    words = pre_tokenizers.Split(Regex(_WORD_OR_MARK), "isolated")
    if kind == "byte-bpe":
        return pre_tokenizers.Sequence([*cut, words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return pre_tokenizers.Sequence([*cut, words, pre_tokenizers.Metaspace(prepend_scheme="never", split=True)])


def _bert_normalizer(lowercase: bool) -> Any:
    from tokenizers import normalizers

    # clean_text would drop U+E000 (a control-like character to it) while training, so white space is left to the
    # pre-tokenizer and only the spacing of ideographs is taken from BERT.
    return normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=lowercase
    )


def _finished(
    tokenizer: Tokenizer,
    kind: Kind,
    specials: Sequence[str],
    falls_back: bool,
    lowercase: bool,
    normalization: Literal["NFKC", "NFC"],
) -> Tokenizer:
    """Put byte tokens into the model, and the normaliser, pre-tokenizer, decoder and template around it."""
    from tokenizers import Regex, Tokenizer, decoders, normalizers, processors

    if falls_back:
        state = json.loads(tokenizer.to_str())
        _add_byte_tokens(state, kind, specials)
        tokenizer = Tokenizer.from_str(json.dumps(state, ensure_ascii=False))
    form = normalizers.NFKC() if normalization == "NFKC" else normalizers.NFC()
    spaces = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    if kind == "wordpiece":
        steps = [form, *spaces, _bert_normalizer(lowercase)]
    else:
        steps = [form, *([normalizers.Lowercase()] if lowercase else []), *spaces]
        # The prefix spaces of ByteLevel and Metaspace would come before every split that begins at character 0: all
        # of "1", "⁄" and "4" where NFKC makes them of one "¼".
        steps += [normalizers.Prepend(" ")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = _pre_tokenizer(kind, training=False)
    if kind == "wordpiece":
        tokenizer.decoder = decoders.WordPiece(prefix="##")
    elif kind == "byte-bpe":
        tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    else:
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    begin, end = specials[1], specials[2]
    pair = f"{begin} $A {end} $B:1 {end}:1" if kind == "wordpiece" else f"{begin} $A {end} {end} $B {end}"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", pair=pair, special_tokens=[(begin, 1), (end, 2)]
    )
    return tokenizer


def _add_byte_tokens(state: dict[str, Any], kind: Kind, specials: Sequence[str]) -> None:
    """Insert the 256 byte tokens behind the special ones, in the tokenizer's JSON ``state``."""
    model = state["model"]
    model["byte_fallback"] = True
    first = len(specials)
    if kind == "unigram":
        # Worse than every piece, so that the letters "<0x41>" in a text are never read as one byte token.
        lowest = min(score for _, score in model["vocab"]) - 10.0
        model["vocab"][first:first] = [[token, lowest] for token in BYTE_TOKENS]
        return
    model["unk_token"] = "<unk>"
    model["vocab"] = {
        token: number if number < first else number + len(BYTE_TOKENS) for token, number in model["vocab"].items()
    } | {token: first + byte for byte, token in enumerate(BYTE_TOKENS)}


def save_vocabulary(tokenizer: Tokenizer, folder: str | Path, *, max_length: int = 512, sentinels: int = 0) -> Path:
    """Write a folder that ``transformers.AutoTokenizer.from_pretrained`` opens.

    Args:
        tokenizer: from `train_vocabulary`.
        folder: made if it does not exist.
        max_length: becomes ``model_max_length``.
        sentinels: special tokens ``<extra_id_0>``, ... to add behind all others, as T5 has them.

    Raises:
        VocabularyError: the tokenizer lacks one of the special tokens.
    """
    from transformers import PreTrainedTokenizerFast

    folder = Path(folder)
    names = next((s for s in (_SENTENCEPIECE_SPECIALS, _BERT_SPECIALS) if tokenizer.token_to_id(s[4]) is not None), ())
    missing = [name for name in names if tokenizer.token_to_id(name) is None]
    if missing or not names:
        raise VocabularyError(
            f"special tokens {missing or [*_SENTENCEPIECE_SPECIALS]!r} are not in the vocabulary",
            expected=f"{_SENTENCEPIECE_SPECIALS!r} or {_BERT_SPECIALS!r}",
            where=str(folder),
        )
    pad, begin, end, unknown, mask = names
    folder.mkdir(parents=True, exist_ok=True)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        pad_token=pad,
        unk_token=unknown,
        cls_token=begin,
        sep_token=end,
        mask_token=mask,
        bos_token=begin,
        eos_token=end,
        extra_special_tokens=[SENTINEL.format(number) for number in range(sentinels)],
    )
    wrapped.save_pretrained(str(folder))
    return folder
