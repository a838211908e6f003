"""Words and tokens: which token begins a word, for any fast tokenizer.

Token ids flow in; boolean arrays flow out, True where a token starts a word in the sense of `interlingua.text.words`.
Whole-word masking, tagging and the vocabulary report all ask here.

Decision: the tokens' own text is concatenated and the word rule runs over it, so that one code path serves WordPiece
(``##``), Metaspace (``▁``), byte-level BPE (``Ġ``), ``</w>`` suffixes and byte fallback, about ten million tokens a
second, without offsets. Price: the tokens' text is the *normalised* text. For languages without spaces, whose model
looks at the characters around, the words are therefore taken from the original text by offsets where both are given.

A token starts a word when its first visible character does. Special tokens and tokens of white space never do, nor do
the later bytes of a character that is spelled in bytes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import VocabularyError
from interlingua.languages import language
from interlingua.text.segment import SEPARATOR
from interlingua.text.words import code_points, is_east_asian, is_space, word_start_codes

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["AlignedWords", "WordStarts", "align_words", "fast_tokenizer", "token_bytes", "word_start_tokens"]

Offsets = Sequence[tuple[int, int]]

_SPACE = 0x20
_END = np.frombuffer(SEPARATOR.encode(), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class AlignedWords:
    """A sentence of given words as token ids.

    Attributes:
        ids: token ids, special tokens included.
        first_token_of_word: for each word the place in ``ids`` of its first token; -1 where truncation, or a word
            without any token, left none.
    """

    ids: list[int]
    first_token_of_word: list[int]


def fast_tokenizer(tokenizer: Any) -> Tokenizer:
    """Return the `tokenizers.Tokenizer` inside a transformers tokenizer, or the argument itself."""
    from tokenizers import Tokenizer

    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(inner, Tokenizer):
        raise VocabularyError(
            f"tokenizer of type {type(tokenizer).__name__!r}",
            expected="a tokenizers.Tokenizer, or a transformers tokenizer built on one (is_fast)",
            next_step="convert it: AutoTokenizer.from_pretrained(folder, use_fast=True)",
        )
    return inner


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """The text of every token of a vocabulary, as UTF-8 bytes with real spaces.

    Attributes:
        data: the bytes of all tokens, one after the other, [bytes].
        first: place of each token's first byte in ``data``, [V + 1].
        special: True for special tokens, which have no text, [V].
        blank: True for tokens of nothing but spaces, [V].
        glued: True for tokens that continue the one before (``##``), [V].
        pieces_lack_spaces: WordPiece, whose tokens do not say whether a space stood before them.
    """

    data: NDArray[np.uint8]
    first: NDArray[np.int64]
    special: NDArray[np.bool_]
    blank: NDArray[np.bool_]
    glued: NDArray[np.bool_]
    pieces_lack_spaces: bool


def token_bytes(tokenizer: Any) -> TokenBytes:
    """Spell out every token of a vocabulary.

    Args:
        tokenizer: a `tokenizers.Tokenizer` or a transformers tokenizer built on one.

    Raises:
        VocabularyError: not a fast tokenizer.
    """
    inner = fast_tokenizer(tokenizer)
    state = json.loads(inner.to_str())
    model = state["model"]
    prefix = model.get("continuing_subword_prefix") or ""
    lack_spaces = model["type"] in ("WordPiece", "WordLevel") or bool(prefix)
    suffix = model.get("end_of_word_suffix") or ""
    level = _byte_level_alphabet() if _mentions(state, "ByteLevel") else None
    falls_back = bool(model.get("byte_fallback"))
    # Only tokens that are special to the tokenizer are without text; other added tokens are words of the user.
    special_ids = {added["id"] for added in state["added_tokens"] if added["special"]}
    plain_ids = {added["id"] for added in state["added_tokens"] if not added["special"]}
    size = max(inner.get_vocab(with_added_tokens=True).values()) + 1
    spelled: list[bytes] = []
    glued = np.zeros(size, dtype=np.bool_)
    for number in range(size):
        token = inner.id_to_token(number)
        if token is None or number in special_ids:
            spelled.append(b"")
        elif number in plain_ids:
            spelled.append(token.encode())
        elif level is not None:
            # Characters outside the alphabet cannot be produced by the encoder.
            spelled.append(bytes(level[character] for character in token if character in level))
        elif falls_back and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            spelled.append(bytes([int(token[3:5], 16)]))
        else:
            glued[number] = bool(prefix) and token.startswith(prefix)
            text = token.removeprefix(prefix) if prefix else token
            if suffix and text.endswith(suffix):
                text = text.removesuffix(suffix) + " "
            spelled.append(text.replace("▁", " ").encode())
    special = np.zeros(size, dtype=np.bool_)
    special[[number for number in special_ids if number < size]] = True
    unknown = _unknown_id(inner, model)
    if unknown is not None and unknown < size:
        # An unknown token stands for letters we no longer see, not for nothing.
        special[unknown] = False
        spelled[unknown] = b"A"
    first = np.zeros(size + 1, dtype=np.int64)
    np.cumsum([len(text) for text in spelled], out=first[1:])
    data = np.frombuffer(b"".join(spelled), dtype=np.uint8)
    blank = np.array([bool(text) and not text.strip() for text in spelled], dtype=np.bool_)
    return TokenBytes(data, first, special, blank, glued, lack_spaces)


def _mentions(state: dict[str, Any], kind: str) -> bool:
    return f'"type": "{kind}"' in json.dumps([state["pre_tokenizer"], state["decoder"]])


def _unknown_id(inner: Tokenizer, model: dict[str, Any]) -> int | None:
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    name = model.get("unk_token")
    return inner.token_to_id(name) if name else None


def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's mapping of printable characters to bytes (Radford et al. 2019, ``bytes_to_unicode``)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    return alphabet | {chr(256 + place): byte for place, byte in enumerate(others)}


class WordStarts:
    """Finds the tokens that start words; build it once a tokenizer, call it once a batch.

    Args:
        tokenizer: a `tokenizers.Tokenizer` or a transformers tokenizer built on one.

    Raises:
        VocabularyError: not a fast tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokens = token_bytes(tokenizer)
        # All tokens three times over, as each can be written: as it is, after a space, after a `SEPARATOR`.
        data, at = self._tokens.data, self._tokens.first[:-1]
        ways = [data, np.insert(data, at, _SPACE), np.insert(data, np.repeat(at, len(SEPARATOR)), 0)]
        self._ways = np.concatenate(ways)
        self._way_first = np.array([0, len(ways[0]), len(ways[0]) + len(ways[1])])
        self._before = np.array([0, 1, len(SEPARATOR)])
        self._characters, self._visible = _characters(self._tokens)

    def __call__(
        self,
        ids_list: Sequence[Sequence[int]],
        texts: Sequence[str] | None,
        lang: str,
        offsets: Sequence[Offsets] | None = None,
    ) -> list[NDArray[np.bool_]]:
        """Find the word starts of a batch of one language.

        The fast path (spaced languages, or no ``texts`` or ``offsets``) reads the tokens' own text; the general path
        (languages without spaces) takes the words of the original text through offsets. They can disagree where the
        tokenizer's normaliser moved a boundary (full-width punctuation folded to ASCII, a ligature undone, characters
        dropped), at unknown tokens, which the fast path takes for letters, and, for WordPiece without offsets, at an
        apostrophe or hyphen with spaces around it, which then counts as inside a word. With offsets WordPiece sees
        the spaces.

        Args:
            ids_list: token ids of each text, special tokens allowed.
            texts: the texts, or None.
            lang: language tag of all of them.
            offsets: (first, last) character in the text of each token, as tokenizers report, or None.

        Returns:
            One boolean array a text, [number of its tokens].

        Raises:
            LanguageError: the tag is unknown.
            VocabularyError: an id outside the vocabulary, or lists of different length.
        """
        if texts is not None and len(texts) != len(ids_list):
            raise VocabularyError(f"{len(texts)} texts for {len(ids_list)} rows of ids", expected="one text a row")
        if offsets is not None and [len(row) for row in offsets] != [len(row) for row in ids_list]:
            raise VocabularyError("offsets and ids of different length", expected="one (first, last) a token")
        lengths = np.fromiter(map(len, ids_list), dtype=np.int64, count=len(ids_list))
        ids = np.fromiter(itertools.chain.from_iterable(ids_list), dtype=np.int64, count=int(lengths.sum()))
        spans = None
        if offsets is not None:
            spans = np.array([span for row in offsets for span in row], dtype=np.int64).reshape(-1, 2)
        if texts is not None and spans is not None and not language(lang).spaced:
            self._check(ids)
            starts = self._by_offsets(ids, lengths, texts, lang, spans)
        else:
            starts = self.of_rows(ids, lengths, lang, spans)
        ends = np.cumsum(lengths).tolist()
        return [starts[first:last] for first, last in itertools.pairwise([0, *ends])]

    def _check(self, ids: NDArray[np.int64]) -> None:
        if len(ids) and not (ids.min() >= 0 and ids.max() < len(self._tokens.special)):
            wrong = ids.max() if ids.max() >= len(self._tokens.special) else ids.min()
            raise VocabularyError(f"token id {int(wrong)!r}", expected=f"0 to {len(self._tokens.special) - 1}")

    def _by_offsets(
        self,
        ids: NDArray[np.int64],
        lengths: NDArray[np.int64],
        texts: Sequence[str],
        lang: str,
        spans: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        codes, firsts = code_points(texts)
        starts = word_start_codes(codes, lang)
        base = np.repeat(firsts, lengths)
        first, last = spans[:, 0] + base, spans[:, 1] + base
        # A token's span may open with the space it took in: the first visible character is what counts.
        visible = np.append(np.flatnonzero(~is_space(codes)), len(codes) - 1)
        seen = visible[np.searchsorted(visible[:-1], first)]
        found: NDArray[np.bool_] = starts[seen] & (seen < last) & ~self._tokens.special[ids] & ~self._tokens.blank[ids]
        # The bytes of one character share its span; the first of them is the start.
        order = np.flatnonzero(found)
        found[order[1:][seen[order[1:]] == seen[order[:-1]]]] = False
        return found

    def of_rows(
        self, ids: NDArray[np.int64], lengths: NDArray[np.int64], lang: str, spans: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_]:
        """Find the word starts of rows laid end to end, by the tokens' own text.

        Args:
            ids: token ids of all rows, [N].
            lengths: tokens of each row, [number of rows].
            lang: language tag of all of them.
            spans: (first, last) character of each token in its text, or None, [N, 2].

        Returns:
            True where a token starts a word, [N].

        Raises:
            LanguageError: the tag is unknown.
            VocabularyError: an id outside the vocabulary.
        """
        self._check(ids)
        tokens = self._tokens
        row_first = np.zeros(len(ids), dtype=np.bool_)
        row_first[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
        # A special token parts words as the end of a text does, and so does the beginning of a row.
        apart = row_first | tokens.special[ids]
        way = np.where(apart, 2, self._space_before(ids, row_first, spans))
        before = self._before[way]
        width = tokens.first[ids + 1] - tokens.first[ids] + before
        ends = np.cumsum(width)
        source = np.repeat(self._way_first[way] + tokens.first[ids] + before * ids - ends + width, width)
        source += np.arange(len(source))
        codes = _decode(np.append(self._ways[source], _END))
        characters, visible = self._characters[ids], self._visible[ids]
        seen = np.cumsum(characters + before) - characters + visible
        result: NDArray[np.bool_] = word_start_codes(codes, lang)[seen] & (visible < characters)
        return result

    def _space_before(
        self, ids: NDArray[np.int64], row_first: NDArray[np.bool_], spans: NDArray[np.int64] | None
    ) -> NDArray[np.bool_]:
        """WordPiece only: whether a space stood before each token, [N]."""
        tokens = self._tokens
        if not tokens.pieces_lack_spaces:
            return np.zeros(len(ids), dtype=np.bool_)
        open_ = ~tokens.glued[ids] & ~row_first
        if spans is not None:
            open_[1:] &= spans[1:, 0] > spans[:-1, 1]
            return open_
        # BERT parts punctuation and ideographs from letters, spaced or not; without offsets no space is the better
        # guess.
        mark = self._is_isolated[ids]
        open_[1:] &= ~(mark[1:] | mark[:-1])
        return open_

    @cached_property
    def _is_isolated(self) -> NDArray[np.bool_]:
        tokens = self._tokens
        bounds = zip(tokens.first[:-1].tolist(), tokens.first[1:].tolist(), strict=True)
        texts = [tokens.data[first:last].tobytes().decode("utf-8", "replace") for first, last in bounds]
        heads = np.array([ord(text[0]) if text else 0x41 for text in texts], dtype=np.uint32)
        letters = np.array([chr(head).isalnum() for head in heads.tolist()], dtype=np.bool_)
        isolated: NDArray[np.bool_] = ~letters | is_east_asian(heads)
        return isolated


def _characters(tokens: TokenBytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count what a token adds to a text.

    Returns:
        Characters that begin in each token, and the number of those before the first visible one (all of them where
        none is, or where the token opens in the middle of a character), [V] each.
    """
    begins = (tokens.data & 0xC0) != 0x80
    until = np.concatenate([[0], np.cumsum(begins)])
    characters = until[tokens.first[1:]] - until[tokens.first[:-1]]
    # A zero byte before each token, so that none completes the character that the one before it leaves open.
    codes = _decode(np.insert(tokens.data, tokens.first[:-1], 0))
    firsts = until[tokens.first[:-1]] + np.arange(1, len(characters) + 1)
    visible = np.append(np.flatnonzero(~is_space(codes)), len(codes))
    before = visible[np.searchsorted(visible, firsts)] - firsts
    opens = np.append(begins, True)[tokens.first[:-1]]
    return characters, np.where(opens, np.minimum(before, characters), characters)


def _decode(buffer: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Decode UTF-8 leniently, into one code point for every byte that begins a character.

    Bytes that are not UTF-8 (a character cut by truncation) give a letter, since that is what they mostly were.
    """
    try:
        return np.frombuffer(buffer.tobytes().decode().encode("utf-32-le"), dtype="<u4")
    except UnicodeDecodeError:
        pass
    place = np.flatnonzero((buffer & 0xC0) != 0x80)
    lead = buffer[place].astype(np.uint32)
    padded = np.append(buffer, np.zeros(3, dtype=np.uint8)).astype(np.uint32)
    second, third, fourth = (padded[place + step] & 0x3F for step in (1, 2, 3))
    codes = lead.copy()
    two, three, four = (lead >= 0xC0) & (lead < 0xE0), (lead >= 0xE0) & (lead < 0xF0), lead >= 0xF0
    codes[two] = ((lead & 0x1F) << 6 | second)[two]
    codes[three] = ((lead & 0x0F) << 12 | second << 6 | third)[three]
    codes[four] = ((lead & 0x07) << 18 | second << 12 | third << 6 | fourth)[four]
    length = np.diff(np.append(place, len(buffer)))
    wanted = np.where(four, 4, np.where(three, 3, np.where(two, 2, 1)))
    codes[(length != wanted) | (codes >= 0x110000)] = ord("A")
    return codes


def word_start_tokens(
    tokenizer: Any, encodings: Sequence[Any], texts: Sequence[str], lang: str
) -> list[NDArray[np.bool_]]:
    """Find the word starts of `tokenizers.Encoding` objects; `WordStarts` is the same for repeated calls.

    Args:
        tokenizer: what made the encodings.
        encodings: from ``Tokenizer.encode_batch(texts)``.
        texts: the texts.
        lang: language tag of all of them.
    """
    return WordStarts(tokenizer)([e.ids for e in encodings], texts, lang, [e.offsets for e in encodings])


def align_words(words: Sequence[str], tokenizer: Any, max_length: int, *, separator: str = " ") -> AlignedWords:
    """Encode a sentence of given words, for tagging.

    Args:
        words: the words, as the labelled data cut them.
        tokenizer: a `tokenizers.Tokenizer` or a transformers tokenizer built on one.
        max_length: longest row, special tokens included.
        separator: stands between words: a space, as transformers' ``is_split_into_words`` has it, or ``""`` to
            show a model of an unspaced language the text as it is written.

    Returns:
        Ids, and for each word its first token with a visible character. With an empty ``separator`` a token may run
        over a word's beginning; then that word has no token of its own and gets -1.

    Raises:
        VocabularyError: ``max_length`` has no room beside the special tokens.
    """
    inner = fast_tokenizer(tokenizer)
    added = inner.num_special_tokens_to_add(False)
    if max_length <= added:
        raise VocabularyError(
            f"max_length {max_length!r}", expected=f"at least {added + 1}: the special tokens and one token"
        )
    # transformers leaves the truncation and padding of its last call switched on in the tokenizer it shares with us.
    inner.no_truncation()
    inner.no_padding()
    text = separator.join(words)
    encoding = inner.encode(text, add_special_tokens=False)
    encoding.truncate(max_length - added)
    encoding = inner.post_process(encoding)
    lengths = np.array([len(word) + len(separator) for word in words], dtype=np.int64)
    first_characters = (np.cumsum(lengths) - lengths).tolist()
    word_at = {
        first + len(word) - len(word.lstrip()): number
        for number, (first, word) in enumerate(zip(first_characters, words, strict=True))
        if word.strip()
    }
    firsts = [-1] * len(words)
    spans = zip(encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True)
    for place, (token, (first, last), special) in enumerate(spans):
        if special or token in ("▁", "Ġ"):
            continue
        # A span may open with the space that the token swallowed.
        seen = first + len(text[first:last]) - len(text[first:last].lstrip())
        number = word_at.get(seen)
        if number is not None and seen < last and firsts[number] < 0:
            firsts[number] = place
    return AlignedWords(list(encoding.ids), firsts)
