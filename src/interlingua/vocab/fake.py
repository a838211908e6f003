"""A vocabulary that cuts a fake language as it cuts the real one.

In: a WordPiece vocabulary. Out: one of twice the size, in which token v of the fake language stands V places behind
token v of the real one; no token is in both (Dufter and Schuetze 2020, arXiv 2005.00396). Decision: the doubled
vocabulary is an ordinary tokenizer file. Price: WordPiece alone, without lower-casing: other kinds cut words where
letters end, and fake letters are letters to nobody but us.
"""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

from interlingua.errors import VocabularyError
from interlingua.text.fake import SHIFT, fake_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["doubled"]


def doubled(tokenizer: Tokenizer) -> Tokenizer:
    """The vocabulary with a fake copy of every token but the special ones.

    Args:
        tokenizer: of ``train_vocabulary(..., kind="wordpiece")``.

    Returns:
        Of a text's fake copy it gives the ids of the text, each plus the size of ``tokenizer``; special tokens are
        shared, and their places in the second half belong to tokens ``[unused-N]`` that no text has.

    Raises:
        VocabularyError: not WordPiece, or one that folds case.
    """
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    state = json.loads(tokenizer.to_str())
    model = state["model"]
    if model["type"] != "WordPiece" or _folds_case(state):
        raise VocabularyError(
            f"a vocabulary of kind {model['type']}{', which folds case' if _folds_case(state) else ''}",
            expected="WordPiece that keeps case",
            where="the vocabulary to double",
            next_step="train one with kind wordpiece and lowercase false",
        )
    size = tokenizer.get_vocab_size()
    special = {added["content"] for added in state["added_tokens"]}
    prefix = model["continuing_subword_prefix"]
    fakes = {}
    for token, number in tokenizer.get_vocab().items():
        if token in special:
            fakes[f"[unused-{number}]"] = size + number
        elif token.startswith(prefix) and token != prefix:
            fakes[prefix + fake_text(token[len(prefix) :])] = size + number
        else:
            fakes[fake_text(token)] = size + number
    model["vocab"] |= dict(sorted(fakes.items(), key=lambda item: item[1]))
    both: Tokenizer = Tokenizer.from_str(json.dumps(state, ensure_ascii=False))
    # BERT's pre-tokenizer cuts at marks; a fake mark is none to it.
    both.pre_tokenizer = pre_tokenizers.Sequence(
        [both.pre_tokenizer, pre_tokenizers.Split(Regex(_fake_marks()), "isolated")]
    )
    return both


def _folds_case(state: dict[str, Any]) -> bool:
    steps = (state["normalizer"] or {}).get("normalizers", [state["normalizer"] or {}])
    return any(step.get("lowercase") or step.get("type") == "Lowercase" for step in steps)


def _fake_marks() -> str:
    """A class of all fake marks and ideographs, at which BERT's pre-tokenizer cuts real text."""
    cuts = [code for code in range(0x21, 0x20000) if _cuts(code)]
    runs: list[list[int]] = []
    for code in cuts:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "[" + "".join(rf"\x{{{first + SHIFT:X}}}-\x{{{last + SHIFT:X}}}" for first, last in runs) + "]"


def _cuts(code: int) -> bool:
    ascii_mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    ideograph = 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF
    return ascii_mark or ideograph or unicodedata.category(chr(code)).startswith("P")
