"""A language and its fake copy: written for pretraining, and measured after it.

In: texts of a language. Out: a vocabulary, a parallel file and a recipe that ``pretrain`` runs; and of its run, the two
sides whose multilinguality is measured. Decision: what may differ between the languages (order of words, texts, special
tokens, positions) is chosen here or in the recipe, one switch each, so that each can be changed alone (Dufter and
Schuetze 2020, arXiv 2005.00396). Price: words, not subwords, are put in reverse order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, VocabularyError
from interlingua.probe.multilinguality import Side
from interlingua.run import atomic_write
from interlingua.text.fake import fake_tag, fake_text

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = ["FakeCorpus", "fake_sides", "write_fake"]

#: Key of the tokenizer's configuration: whether fake words stand in reverse order.
_ORDER = "interlingua_reverse"


@dataclass(frozen=True)
class FakeCorpus:
    """What was written.

    Attributes:
        text: multi-parallel file of both languages.
        vocab: folder of the doubled vocabulary.
        texts: how many the real language has.
        tokens: in these.
        unknown: how many of them the vocabulary does not know; both languages share that token.
    """

    text: Path
    vocab: Path
    texts: int
    tokens: int
    unknown: int


def write_fake(
    texts: Iterable[str], lang: str, folder: Path, *, size: int = 2048, reverse: bool = False, apart: bool = False
) -> FakeCorpus:
    """Write a language and its fake copy: ``text.tsv`` and ``vocab/``.

    Args:
        texts: of the language, one a line of the file.
        lang: its tag.
        folder: where to.
        size: tokens of the real language; the vocabulary has twice as many.
        reverse: the fake language has its words in reverse order ("inv-order").
        apart: the first half of the texts is in the real language only, the second in the fake one ("no-parallel").

    Raises:
        DataError: no text, or a character that has no fake one.
        VocabularyError: too little text for a vocabulary of this size.
        SaveError: the folder cannot be written.
    """
    from interlingua.vocab.fake import doubled
    from interlingua.vocab.train import save_vocabulary, train_vocabulary

    lines = [line for text in texts if (line := " ".join(text.split()))]
    half = len(lines) // 2
    if not lines or (apart and not half):
        raise DataError(
            f"{len(lines)} texts", expected="texts of a language, two at least to share them out", where=lang
        )
    fakes = [fake_text(line, reverse=reverse, where=f"text {i}: {line[:60]}") for i, line in enumerate(lines, start=1)]
    real = train_vocabulary({lang: lines}, kind="wordpiece", size=size)
    pairs = [
        ("" if apart and i >= half else line, "" if apart and i < half else fake)
        for i, (line, fake) in enumerate(zip(lines, fakes, strict=True))
    ]
    rows = ["\t".join(["id", lang, fake_tag(lang)]), *(f"{i}\t{one}\t{two}" for i, (one, two) in enumerate(pairs))]
    atomic_write(folder / "text.tsv", "\n".join(rows) + "\n")
    save_vocabulary(doubled(real), folder / "vocab")
    config = folder / "vocab" / "tokenizer_config.json"
    # Every checkpoint has a copy of this file, so that whoever measures a network knows what it was taught.
    atomic_write(config, json.dumps(json.loads(config.read_text(encoding="utf-8")) | {_ORDER: reverse}, indent=2))
    unknown: int = real.token_to_id("[UNK]")  # type: ignore[assignment]  # WordPiece always has it
    spoken = [one for one, _ in pairs if one]
    ids: list[list[int]] = [encoding.ids for encoding in real.encode_batch_fast(spoken, add_special_tokens=False)]
    return FakeCorpus(
        folder / "text.tsv",
        folder / "vocab",
        len(spoken),
        sum(map(len, ids)),
        sum(own.count(unknown) for own in ids),
    )


def fake_sides(checkpoint: Path | str, texts: Sequence[str], lang: str) -> tuple[Side, Side]:
    """The two languages of a network that was pretrained on a language and its fake copy.

    Where a language has parts of its own, its side is the network with these.

    Args:
        checkpoint: of ``pretrain``, or its run folder.
        texts: sentences that it has not seen; the fake ones are written as those it was taught, in reverse order if so.
        lang: tag of the real language.

    Raises:
        VocabularyError: not a doubled vocabulary.
        DataError: a text without tokens, or longer than the network takes.
        ModelUnavailableError: no checkpoint there.
    """
    from interlingua.models.encoder import load, resolve

    folder = resolve(str(checkpoint))
    fake = fake_tag(lang)
    real = load(folder)
    other = load(folder / fake) if (folder / fake).is_dir() else real
    tokenizer = real.tokenizer
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    size = len(names) // 2
    special = np.array(sorted(set(tokenizer.all_special_ids)))
    expected = [fake_text(name.removeprefix("##")) for i, name in enumerate(names[:size]) if i not in special]
    found = [name.removeprefix("##") for i, name in enumerate(names[size:]) if i not in special]
    if expected != found:
        raise VocabularyError(
            f"a vocabulary of {len(names):,} tokens whose second half is no fake copy of the first",
            expected="the vocabulary of `interlingua probe fake`",
            where=str(folder),
        )
    reverse = bool(tokenizer.init_kwargs.get(_ORDER))
    sides = [_ids(real, texts), _ids(real, [fake_text(text, reverse=reverse) for text in texts])]
    tokens = np.setdiff1d(np.arange(size), special)
    marked = getattr(real.model.config, "interlingua_languages", None) or [lang, lang]
    types = [marked.index(lang), marked.index(fake) if fake in marked else 0]
    return Side(real, sides[0], tokens, types[0]), Side(other, sides[1], tokens + size, types[1])


def _ids(encoder: Encoder, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Ids of texts without special tokens."""
    found = [
        np.array(ids, dtype=np.int64) for ids in encoder.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    ]
    room = encoder.max_length - 2
    for text, ids in zip(texts, found, strict=True):
        if not 0 < len(ids) <= room:
            raise DataError(f"a text of {len(ids)} tokens", expected=f"1 to {room}, for which the network has room",
                            where=text[:60], next_step="leave it out")  # fmt: skip
    return found
