"""Vectors of the tokens of several languages in one space, from text in each of them alone.

In: a vocabulary and texts of some languages, no translation among them needed. Out: a vector a token, and for each
token the nearest ones of other languages: what a network may begin with (``model.vectors``), and what may stand in a
hidden token's place (``knn``, Dufter and Schuetze 2020, arXiv 2005.00396, section 3.4). Decisions: every language's
vectors are learned apart, brought to the first language's by VecMap (:mod:`interlingua.probe.mapping`), and then turned
as its dictionary says, so that any number of languages come into the first one's space. Price: a token that several
languages have gets the mean of its vectors; a language whose space has another shape ends anywhere, and only the
agreement tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import LanguageError
from interlingua.probe.mapping import centred_unit, map_unsupervised
from interlingua.probe.neighbours import nearest, unit
from interlingua.probe.static import static_vectors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["TokenVectors", "token_vectors"]


@dataclass(frozen=True)
class TokenVectors:
    """Tokens of some languages in one space.

    Attributes:
        languages: the first is the one whose space it is.
        vectors: [V, D] of length 1, float32; NaN for tokens that do not occur, and for special ones.
        occurs: [V, G], whether token v occurs in language g.
        tokens: read in each language; the training saw them ``epochs`` times.
        agreement: of each language but the first with the first: mean cosine of tokens to what is taken for their
            translations.
    """

    languages: tuple[str, ...]
    vectors: NDArray[np.float32]
    occurs: NDArray[np.bool_]
    tokens: dict[str, int]
    agreement: dict[str, float]

    def neighbours(self, k: int) -> NDArray[np.int32]:
        """The nearest tokens of other languages, [V, k], as :func:`~interlingua.objectives.cross_lingual_neighbours`.

        Tokens that languages have in common have none.
        """
        import torch

        from interlingua.objectives.replacing import cross_lingual_neighbours

        vectors = torch.from_numpy(np.nan_to_num(self.vectors))
        return cross_lingual_neighbours(vectors, torch.from_numpy(self.occurs), k)


def token_vectors(
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[tuple[str, str]],
    *,
    width: int,
    how: str = "skipgram",
    window: int = 5,
    epochs: int = 10,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> TokenVectors:
    """Learn a vector for every token of every language, and bring them together.

    Args:
        tokenizer: the vocabulary.
        texts: (language, text) in any order; the first language is the one whose space all come into.
        width: of the vectors; of ``model.vectors`` the width of the token table.
        how: ``cbow``, ``skipgram`` or ``glove``.
        window: tokens to either side that are context.
        epochs: passes over the text.
        seed: of everything random.
        say: told in a line what was found of a language.

    Raises:
        LanguageError: texts in fewer than two languages.
        DataError: a language with fewer tokens than the width.
        RecipeError: no such vectors, or a width, window or number of passes below 1.
        MissingExtraError: gensim is not installed.
    """
    sentences: dict[str, list[list[str]]] = {}
    for lang, text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        sentences.setdefault(lang, []).append([str(one) for one in ids])
    if len(sentences) < 2:
        raise LanguageError(f"texts in {', '.join(sentences) or 'no language'}", expected="two languages or more")
    special = set(tokenizer.all_special_ids)
    total_VD = np.zeros((len(tokenizer), width), dtype=np.float32)
    vectors_VD = np.full_like(total_VD, np.nan)
    occurs_VG = np.zeros((len(tokenizer), len(sentences)), dtype=bool)
    agreement: dict[str, float] = {}
    first_ND: NDArray[np.float32] | None = None
    for place, (lang, own) in enumerate(sentences.items()):
        # Each language draws other numbers: with the same ones, like text would have like vectors by that alone.
        names, vectors_ND = static_vectors(how, own, width=width, window=window, epochs=epochs, seed=seed + place)
        kept = [row for row, name in enumerate(names) if int(name) not in special]
        ids_N = np.array([int(names[row]) for row in kept])
        vectors_ND = vectors_ND[kept]
        if first_ND is None:
            first_ND = vectors_ND
            own_ND = centred_unit(first_ND)
            say(f"{lang}: vectors of {len(ids_N):,} tokens")
        else:
            own_ND, agreement[lang] = _brought(vectors_ND, first_ND, seed)
            say(f"{lang}: vectors of {len(ids_N):,} tokens, agreement {agreement[lang]:.3f}")
        total_VD[ids_N] += own_ND
        occurs_VG[ids_N, place] = True
    found_V = occurs_VG.any(axis=1)
    vectors_VD[found_V] = unit(total_VD[found_V])
    return TokenVectors(
        tuple(sentences),
        vectors_VD,
        occurs_VG,
        {lang: sum(map(len, own)) for lang, own in sentences.items()},
        agreement,
    )


def _brought(
    own_ND: NDArray[np.float32], first_MD: NDArray[np.float32], seed: int
) -> tuple[NDArray[np.float32], float]:
    """A language's vectors in the first one's space: turned so that mutual neighbours of VecMap's space meet."""
    mapped = map_unsupervised(own_ND, first_MD, seed=seed)
    there_N = nearest(mapped.source, mapped.target, 1).index[:, 0]
    back_M = nearest(mapped.target, mapped.source, 1).index[:, 0]
    mutual = np.flatnonzero(back_M[there_N] == np.arange(len(there_N)))
    own_ND, first_MD = centred_unit(own_ND), centred_unit(first_MD)
    left_DD, _, right_DD = np.linalg.svd(own_ND[mutual].T @ first_MD[there_N[mutual]])
    return own_ND @ (left_DD @ right_DD), mapped.agreement
