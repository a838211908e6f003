"""Which language a text is in, with a probability, for thousands of texts at a time.

Texts flow in; a matrix of probabilities flows out. The model is py3langid's (its wheel holds the weights: naive Bayes
over byte n-grams, 141 languages), opened through its own loader. Decision: its automaton is walked by numpy over many
texts at once instead of byte by byte in Python, which is what makes identification cheaper than reading; a state of
the automaton depends on the last few bytes only, so one long string may be cut into stripes that are walked side by
side. The numbers are the library's own (a test compares them). Price: a matrix of texts x languages in memory, and
longer texts are judged by their beginning, middle and end.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np

from interlingua.errors import LanguageError, MissingExtraError
from interlingua.languages import canonical

__all__ = ["Identifier", "alike", "identifier"]

# A byte that UTF-8 never has; the automaton goes back to its root on it.
_STOP = b"\xff"
_STRIPES = 4096
# Codes of the model that are not languages ("zxx": no linguistic content).
_NO_LANGUAGE = "zxx"
# The model is sure of one and often wrong within these; its claim contradicts nobody who says the other.
_ALIKE = (
    {"id", "ms"}, {"bs", "hr", "sr"}, {"da", "nb", "nn", "no"}, {"xh", "zu"}, {"ar", "ary", "arz"},
    {"zh", "wuu", "yue"}, {"gl", "pt"}, {"fa", "prs", "tg"}, {"el", "grc"},
)  # fmt: skip


class Identifier:
    """py3langid's model, for batches.

    Attributes:
        tags: BCP-47 tag of each column; ``und`` for text without a language, and for the model's few languages that
            `interlingua.languages` does not know.
    """

    def __init__(self) -> None:
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier
        except ImportError as error:
            raise MissingExtraError(
                "py3langid is not installed",
                expected="the extra 'corpus'",
                next_step="pip install 'interlingua[corpus]'",
            ) from error
        model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self._next = np.asarray(model.tk_nextmove, dtype=np.uint32)
        self._base = np.asarray(model.tk_row, dtype=np.uint32) << 8
        self._feature = np.asarray(model.tk_output, dtype=np.int32)
        self._features = len(model.nb_ptc)
        self._weights = np.asarray(model.nb_ptc, dtype=np.float32)
        self._prior = np.asarray(model.nb_pc, dtype=np.float32)
        self._order = self._longest()
        names = [_tag(code) for code in model.nb_classes]
        self.tags: tuple[str, ...] = tuple(dict.fromkeys(names))
        # Some tags have several columns in the model: scripts of one language, and what has no tag.
        self._first = [names.index(tag) for tag in self.tags]
        self._again = [(place, self.tags.index(name)) for place, name in enumerate(names) if names.index(name) < place]

    def knows(self, tag: str) -> bool:
        """Whether the model has the language of a tag, in whatever script."""
        return tag.partition("-")[0] in self.tags

    def _longest(self) -> int:
        """Bytes of the longest n-gram: so many steps from the root reach every state there is."""
        table = self._next.reshape(-1, 256)
        seen = np.zeros(len(self._base), dtype=bool)
        front, steps = np.array([0]), 0
        while True:
            seen[front] = True
            reached = np.zeros(len(self._base), dtype=bool)
            reached[table[self._base[front] >> 8]] = True
            front = np.flatnonzero(reached & ~seen)
            if not len(front):
                return steps
            steps += 1

    def probabilities(self, texts: Sequence[str], *, sample: int = 600) -> np.ndarray:
        """Probability of every language for every text.

        Args:
            texts: any texts; a text without any n-gram of the model gets the same probability everywhere.
            sample: longest part of a text that is looked at, in characters: a third each of its beginning, its middle
                and its end.

        Returns:
            float32 [texts, tags]; rows add up to 1.
        """
        if not texts:
            return np.zeros((0, len(self.tags)), dtype=np.float32)
        found = np.empty((len(texts), len(self.tags)), dtype=np.float32)
        most = 2**32 // self._features - 1  # so that text and feature fit into one uint32
        for first in range(0, len(texts), most):
            part = [_encoded(_sampled(text, sample)) for text in texts[first : first + most]]
            scores = self._scores(part)
            folded = scores[:, self._first]
            for place, column in self._again:
                folded[:, column] += scores[:, place]
            found[first : first + most] = folded
        return found

    def _scores(self, texts: list[bytes]) -> np.ndarray:
        from scipy.sparse import csr_matrix

        sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        features = self._feature[self._walk(_STOP.join(texts) + _STOP)]
        rows = np.repeat(np.arange(len(texts), dtype=np.uint32), sizes + 1)
        there = features >= 0
        keys = rows[there] * np.uint32(self._features) + features[there].astype(np.uint32)
        keys.sort()
        first = np.flatnonzero(np.diff(keys, prepend=np.uint32(0)) != 0) if len(keys) else np.zeros(0, dtype=np.int64)
        if len(keys) and (not len(first) or first[0] != 0):
            first = np.concatenate(([0], first))
        counts = np.diff(first, append=len(keys)).astype(np.float32)
        row, column = np.divmod(keys[first], np.uint32(self._features))
        starts = np.searchsorted(row, np.arange(len(texts) + 1, dtype=np.uint32))
        visits = csr_matrix(
            (np.log1p(counts), column.astype(np.int32), starts.astype(np.int32)), (len(texts), self._features)
        )
        scores = np.asarray(visits @ self._weights) + self._prior
        scores[starts[1:] == starts[:-1]] = 0.0
        # The library's own temperature: the softmax of n bytes of naive Bayes at sqrt(n) is calibrated over lengths.
        scores /= np.sqrt(np.maximum(sizes, 1), dtype=np.float32)[:, None]
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def _walk(self, data: bytes) -> np.ndarray:
        """State of the automaton after each byte."""
        stripes = min(_STRIPES, max(1, len(data) // 64))
        length = -(-len(data) // stripes)
        warm = self._order
        padded = np.frombuffer(_STOP * warm + data + _STOP * (stripes * length - len(data)), dtype=np.uint8)
        # Column s holds stripe s and, before it, the bytes that decide in which state the stripe begins.
        columns = np.ascontiguousarray(
            np.lib.stride_tricks.as_strided(padded, (stripes, warm + length), (length, 1)).T
        ).astype(np.uint32)
        state = np.zeros(stripes, dtype=np.uint32)
        states = np.empty((length, stripes), dtype=np.uint32)
        for step in range(warm + length):
            state = self._next[self._base[state] + columns[step]]
            if step >= warm:
                states[step - warm] = state
        return states.T.reshape(-1)[: len(data)]


def _tag(code: str) -> str:
    if code == _NO_LANGUAGE:
        return "und"
    try:
        return canonical(code)
    except LanguageError:
        return "und"


def _sampled(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    third = size // 3
    middle = (len(text) - third) // 2
    return f"{text[:third]} {text[middle : middle + third]} {text[-third:]}"


def _encoded(text: str) -> bytes:
    if text.isupper():
        text = text.lower()
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return text.encode("utf-8", errors="surrogatepass")


def alike(first: str, second: str) -> bool:
    """Whether two tags are of one language, or of two that a text of a few words can belong to alike."""
    one, other = first.partition("-")[0], second.partition("-")[0]
    return one == other or any(one in group and other in group for group in _ALIKE)


@cache
def identifier() -> Identifier:
    """The model, opened once a process (about a second)."""
    return Identifier()
