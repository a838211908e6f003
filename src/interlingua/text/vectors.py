"""Reader of word vectors in word2vec's text format, which fastText, GloVe and MUSE write too.

A line a word and its numbers flow in, parted by spaces, perhaps below a line ``words width``; the words that are wanted
and a matrix flow out. Decision: lines are read one by one and only wanted words are kept, the first where a word comes
twice (with ``lowercase``: the more frequent spelling), so memory is that of what is asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.text.lines import ReadReport, nfc, numbered_lines

__all__ = ["read_vectors"]


def read_vectors(
    path: str | Path, wanted: Collection[str], *, lowercase: bool = False, report: ReadReport | None = None
) -> tuple[list[str], NDArray[np.float32]]:
    """Vectors of words, also from ``.gz`` or ``.zst``.

    Args:
        path: word2vec's text format, with or without its first line.
        wanted: the words to keep.
        lowercase: compare lower-cased words of the file.
        report: counts what was read.

    Returns:
        The words found, in the file's order, and their vectors [N, D].

    Raises:
        DataError: missing or damaged file, a line of another width, something that is no finite number, or none of the
            words.
    """
    path, counts = Path(path), report or ReadReport()
    found: dict[str, NDArray[np.float32]] = {}
    width = 0
    for number, line in numbered_lines(path, counts):
        cells = line.rstrip(" ").split(" ")
        if number == 1 and len(cells) == 2 and all(cell.isdigit() for cell in cells):
            width = int(cells[1])
            continue
        width = width or len(cells) - 1
        if len(cells) <= width or width < 1:
            raise DataError(
                f"{len(cells) - 1} numbers in {line[:60]!r}",
                expected=f"a word and {width or 'its'} numbers",
                where=f"{path}, line {number}",
            )
        counts.rows += 1
        # A word may have spaces inside; the numbers are the last cells.
        word = nfc(" ".join(cells[:-width]))
        word = word.lower() if lowercase else word
        if word not in wanted or word in found:
            continue
        try:
            vector = np.array(cells[-width:], dtype=np.float32)
        except ValueError:
            vector = np.full(1, np.nan, dtype=np.float32)
        if not np.isfinite(vector).all():
            raise DataError(f"{line[:60]!r}", expected="finite numbers", where=f"{path}, line {number}")
        found[word] = vector
    counts.finish(path)
    if not found:
        raise DataError(f"none of {len(wanted):,} words in {path.name!r}", expected="vectors of the lexicon's words",
                        where=str(path))  # fmt: skip
    return list(found), np.stack(list(found.values()))
