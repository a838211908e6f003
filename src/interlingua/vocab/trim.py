"""A vocabulary without the entries that some texts never use.

In: a tokenizer, and the ids that occur in the texts. Out: a tokenizer that segments these texts as before, with ids
that count from 0 without gaps, and the old id of every new one, by which the rows of a token table are taken over.
Decisions: special tokens and bytes stay, and so do single characters of what is kept; only vocabularies whose entries
need no others are cut (Unigram, WordPiece), since the merges of BPE hang together. Price: in other texts, pieces that
are gone are spelt by smaller ones, and characters that never occurred are unknown.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import VocabularyError
from interlingua.vocab.words import fast_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["trim"]

_BYTE = re.compile("<0x[0-9A-F]{2}>")


def trim(
    tokenizer: PreTrainedTokenizerBase, used: Collection[int]
) -> tuple[PreTrainedTokenizerBase, NDArray[np.int64]]:
    """Keep what is used.

    Args:
        tokenizer: a fast tokenizer with a Unigram or WordPiece vocabulary.
        used: ids that occur.

    Returns:
        The smaller tokenizer, and the old ids in the order of the new ones, int64 [V].

    Raises:
        VocabularyError: another kind of vocabulary.
    """
    from tokenizers import Tokenizer

    state: dict[str, Any] = json.loads(fast_tokenizer(tokenizer).to_str())
    model = state["model"]
    if model["type"] not in {"Unigram", "WordPiece"}:
        raise VocabularyError(
            f"a vocabulary of kind {model['type']!r}",
            expected="Unigram or WordPiece: entries that need no others",
            next_step="keep it whole: model.vocabulary=whole",
        )
    entries = [piece for piece, _ in model["vocab"]] if model["type"] == "Unigram" else list(model["vocab"])
    old_ids = {piece: i for i, piece in enumerate(entries)} if model["type"] == "Unigram" else model["vocab"]
    tokens = old_ids | {added["content"]: added["id"] for added in state["added_tokens"]}
    wanted = {token for token, i in tokens.items() if i in used} | {a["content"] for a in state["added_tokens"]}
    if model["type"] == "Unigram":
        wanted.add(entries[model["unk_id"]])
    else:
        wanted.add(model["unk_token"])
    if model.get("byte_fallback"):
        wanted |= {token for token in old_ids if _BYTE.fullmatch(token)}
    characters = {character for token in wanted for character in token}
    wanted |= {token for token in old_ids if token.removeprefix("##") in characters}
    kept = np.array(sorted({tokens[token] for token in wanted}), dtype=np.int64)
    new_ids = {int(old): new for new, old in enumerate(kept)}

    if model["type"] == "Unigram":
        model["unk_id"] = new_ids[model["unk_id"]]
        # In these vocabularies added tokens may stand behind the pieces: then they are no pieces.
        model["vocab"] = [model["vocab"][old] for old in kept.tolist() if old < len(entries)]
    else:
        model["vocab"] = {token: new_ids[i] for token, i in old_ids.items() if token in wanted}
    for added in state["added_tokens"]:
        added["id"] = new_ids[added["id"]]
    _renumber(state.get("post_processor"), new_ids)
    smaller = copy.deepcopy(tokenizer)
    smaller._tokenizer = Tokenizer.from_str(json.dumps(state))
    return smaller, kept


def _renumber(processor: dict[str, Any] | None, new_ids: dict[int, int]) -> None:
    """Ids of special tokens, as they stand in the step that puts them around a text."""
    if processor is None:
        return
    for inner in processor.get("processors", ()):
        _renumber(inner, new_ids)
    for special in processor.get("special_tokens", {}).values():
        special["ids"] = [new_ids[i] for i in special["ids"]]
    for name in ("cls", "sep"):
        if name in processor:
            token, old = processor[name]
            processor[name] = [token, new_ids[old]]
