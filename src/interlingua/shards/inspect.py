"""Shards made readable: what a batch holds, word for word, and what a mask would hide in it.

In: a stream over shards, an objective and a tokenizer. Out: rows of texts, each text cut into pieces of one language
that are shown or hidden together. Decision: pieces are decoded by the tokenizer itself, each as what it adds to the
text before it, so that spaces and byte fallback come out as they would in the whole text. Price: time quadratic in the
length of a text, which for rows to look at does not matter; a character spelled in bytes of which only some are hidden
shows as replacement characters.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interlingua.errors import DataError, RecipeError, ShardError
from interlingua.shards.format import fingerprint
from interlingua.shards.read import MANIFEST

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from interlingua.batch import Batch
    from interlingua.objectives.base import Objective, Targets
    from interlingua.shards.stream import Stream

__all__ = ["Piece", "ShownRow", "ShownText", "find_vocabulary", "inspect_rows", "split_folder"]


@dataclass(frozen=True)
class Piece:
    """A stretch of a text.

    Attributes:
        text: as it stands in the shard.
        language: canonical tag.
        hidden: ``""`` if the model sees it and is not asked; ``mask``, ``random`` or ``kept`` if it is to be
            predicted, by what the model sees in its place.
        replacement: for ``random``: what the model sees.
        side: 1 for the second of two texts that are told apart by token types, else 0.
    """

    text: str
    language: str
    hidden: str = ""
    replacement: str = ""
    side: int = 0


@dataclass(frozen=True)
class ShownText:
    """A segment of a row.

    Attributes:
        number: of the segment in the batch, from 1.
        tokens: its tokens, special ones included.
        pieces: its text; special tokens are left out.
        translations: numbers of the segments that translate it.
        in_order: of two texts: whether the second follows the first; None where that is not asked.
    """

    number: int
    tokens: int
    pieces: tuple[Piece, ...]
    translations: tuple[int, ...] = ()
    in_order: bool | None = None


@dataclass(frozen=True)
class ShownRow:
    """A packed row.

    Attributes:
        used: tokens that are not padding.
        length: tokens of the row.
        texts: its segments, in order.
    """

    used: int
    length: int
    texts: tuple[ShownText, ...]


def split_folder(folder: Path, split: str) -> Path:
    """The folder of a split, from it, from the folder of all splits, or from a run folder.

    Raises:
        ShardError: none of them.
    """
    candidates = [folder / split, folder / "shards" / split, *([folder] if folder.name == split else [])]
    for candidate in candidates:
        if (candidate / MANIFEST).is_file():
            return candidate
    raise ShardError(
        f"no {split!r} shards in {str(folder)!r}",
        expected=f"a folder written by `interlingua shards write`, or a run folder, with {split}/{MANIFEST} in it",
        where=str(folder),
        next_step="if writing was interrupted, run the same command again: it goes on where it stopped",
    )


def find_vocabulary(folder: Path, mark: str) -> PreTrainedTokenizerBase:
    """The tokenizer that shards were written with, from the folders around them.

    Args:
        folder: of a split.
        mark: fingerprint in its manifest.

    Raises:
        ShardError: none around has this fingerprint.
    """
    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.recipe import PretrainRecipe
    from interlingua.recipe_file import load_recipe

    candidates = []
    for place in (folder.parent, folder.parent.parent):
        candidates.append(place / "vocab")
        # Other runs than pretraining have recipes too, which name no vocabulary.
        with contextlib.suppress(RecipeError):
            if (saved := place / "recipe.yaml").is_file() and (path := load_recipe(saved, PretrainRecipe).vocab.path):
                candidates.append(path)
    for candidate in candidates:
        if (candidate / "tokenizer.json").is_file():
            tokenizer = open_tokenizer(candidate)
            if fingerprint(tokenizer.backend_tokenizer) == mark:
                return tokenizer
    raise ShardError(
        f"no vocabulary {mark!r} near {str(folder)!r}",
        expected="the one the shards were written with",
        where=", ".join(str(candidate) for candidate in candidates),
        next_step="name its folder with --vocab",
    )


def inspect_rows(
    stream: Stream, objective: Objective, tokenizer: PreTrainedTokenizerBase, *, rows: int, step: int = 0, seed: int = 0
) -> list[ShownRow]:
    """The first rows of a batch as the model will meet them.

    Args:
        stream: over the shards.
        objective: lays the batch out and hides tokens.
        tokenizer: of the shards.
        rows: how many at most.
        step: which batch.
        seed: of the run; batch and masks are those of the run's step.

    Raises:
        DataError: no rows asked for.
        ShardError: the objective needs translations and there are none.
    """
    from interlingua.shards.sampling import keyed_generator

    if rows < 1:
        raise DataError(f"rows = {rows!r}", expected="at least 1", where="rows")
    batch = stream.batch(step, objective.layout)
    targets = objective.prepare(batch, keyed_generator(seed, step, 5, 0))
    return [_row(batch, targets, r, stream.languages, tokenizer) for r in range(min(rows, batch.rows))]


def _row(batch: Batch, targets: Targets, r: int, languages: Sequence[str], tokenizer: Any) -> ShownRow:
    segments_L = batch.segments_BL[r].numpy()
    links = batch.links_P2.numpy()
    texts = []
    for number in dict.fromkeys(segments_L[segments_L > 0].tolist()):
        places = np.flatnonzero(segments_L == number)
        partners = [int(b if a == number else a) for a, b in links if number in (a, b)]
        pieces = _pieces(batch, targets, r, places, languages, tokenizer)
        in_order = None
        if batch.labels is not None and batch.labels.dim() == 1:
            in_order = not int(batch.labels[number - 1])
        texts.append(ShownText(number, len(places), tuple(pieces), tuple(sorted(partners)), in_order))
    return ShownRow(int((segments_L > 0).sum()), len(segments_L), tuple(texts))


def _pieces(
    batch: Batch, targets: Targets, r: int, places: np.ndarray, languages: Sequence[str], tokenizer: Any
) -> list[Piece]:
    places = places[~batch.special_BL[r].numpy()[places]]
    ids = batch.tokens_BL[r].numpy()[places]
    # Only objectives that predict tokens have these; others (ranking) show the text as it is.
    shown_BL, labels_BL = getattr(targets, "tokens_BL", batch.tokens_BL), getattr(targets, "labels_BL", None)
    seen = shown_BL[r].numpy()[places]
    asked = np.zeros(len(ids), dtype=bool) if labels_BL is None else labels_BL[r].numpy()[places] >= 0
    spoken = batch.languages_BL[r].numpy()[places]
    sides = np.zeros_like(spoken) if batch.types_BL is None else batch.types_BL[r].numpy()[places]
    kinds = [_how(bool(a), int(i), int(s), tokenizer.mask_token_id) for a, i, s in zip(asked, ids, seen, strict=True)]
    # Masked neighbours read as one gap; what is replaced at random is shown token by token, beside what replaces it.
    states = [
        (int(language), int(side), how, number if how == "random" else -1)
        for number, (language, side, how) in enumerate(zip(spoken, sides, kinds, strict=True))
    ]
    pieces, begin = [], 0
    for end in range(1, len(ids) + 1):
        if end < len(ids) and states[end] == states[begin]:
            continue
        language, side, how, _ = states[begin]
        # Each side of a joined pair is a text of its own.
        first = int(np.flatnonzero((spoken == language) & (sides == side))[0])
        before = tokenizer.decode(ids[first:begin]) if begin > first else ""
        whole = tokenizer.decode(ids[first:end])
        text = whole[_common(before, whole) :]
        replacement = tokenizer.decode(seen[begin:end]).strip() if how == "random" else ""
        pieces.append(Piece(text, languages[language], how, replacement, side))
        begin = end
    return pieces


def _common(before: str, whole: str) -> int:
    """Length of the common beginning."""
    return next(
        (i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), min(len(before), len(whole))
    )


def _how(asked: bool, token: int, seen: int, mask: int) -> str:
    if not asked:
        return ""
    if seen == mask:
        return "mask"
    return "kept" if seen == token else "random"
