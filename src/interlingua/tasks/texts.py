"""Labelled texts: rows of files, and their tokens.

In: csv, tsv or jsonl (each also .zst or .gz) with a text or two and a label a row. Out: examples, and these tokenised.
Decision: the two texts of a pair may be in different languages; the language of such an example is written ``sw/en``.
Price: a label is text until a task makes a class or a number of it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np

from interlingua.data import resolve
from interlingua.errors import DataError, nearest
from interlingua.languages import canonical
from interlingua.tasks.base import Encoded, second_side
from interlingua.text.lines import ReadReport, file_kind, numbered_lines

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from interlingua.recipe_transfer import LabelledFile, TaskRecipe

__all__ = [
    "TextExample",
    "Texts",
    "crossed",
    "encode_texts",
    "numbered_rows",
    "read_text_examples",
    "texts_of_file",
]


@dataclass(frozen=True)
class TextExample:
    """One or two texts with a label.

    Attributes:
        text: the (first) text.
        lang: canonical tag, or two (``sw/en``) where the second text is in another language.
        label: name of the class.
        text_pair: the second text, or None.
        where: file and line.
    """

    text: str
    lang: str
    label: str
    text_pair: str | None = None
    where: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its label."""
        return (self.label,)


def numbered_rows(path: Path, report: ReadReport) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a csv, tsv or jsonl file by the names of their columns, each with its line."""
    kind = file_kind(path)
    lines = numbered_lines(path, report)
    if kind == ".jsonl":
        for number, line in lines:
            if line.strip():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"not JSON: {line[:60]!r}", where=f"{path}, line {number}") from error
                yield number, {k: str(v) for k, v in row.items() if v is not None}
        return
    if kind not in {".csv", ".tsv"}:
        raise DataError(
            f"labelled file {path.name!r}", expected=".csv, .tsv or .jsonl (also .gz, .zst)", where=str(path)
        )
    header: list[str] | None = None
    for number, line in lines:
        cells = line.split("\t") if kind == ".tsv" else next(csv.reader([line]))
        if header is None:
            header = cells
        elif line.strip():
            if len(cells) != len(header):
                raise DataError(
                    f"{len(cells)} columns",
                    expected=f"{len(header)}: {', '.join(header)}",
                    where=f"{path}, line {number}",
                )
            yield number, dict(zip(header, cells, strict=True))


def read_text_examples(
    path: Path,
    *,
    lang: str | None = None,
    lang_pair: str | None = None,
    split: str | None = None,
    text: str = "text",
    text_pair: str | None = None,
    label: str = "label",
    columns: Mapping[str, str] = MappingProxyType({}),
) -> list[TextExample]:
    """Read a labelled file.

    Args:
        path: csv, tsv or jsonl with named columns.
        lang: language of all rows, unless they have a ``lang`` column.
        lang_pair: language of the second texts where it is another; a ``lang_pair`` column goes before it.
        split: keep only rows whose ``split`` column says so.
        text: column of the text.
        text_pair: column of the second text.
        label: column of the label.
        columns: what this file calls the columns ``lang``, ``lang_pair`` and ``split``.

    Raises:
        DataError: missing or empty file, a missing column, uneven rows, no row of the split.
    """
    path = Path(path)
    own = {name: columns.get(name, name) for name in ("lang", "lang_pair", "split")}
    examples = []
    for number, row in numbered_rows(path, ReadReport()):
        where = f"{path}, line {number}"
        for column in (text, label, *([text_pair] if text_pair else [])):
            if column not in row:
                raise DataError(
                    f"no column {column!r}{nearest(column, row)}", expected=f"one of {', '.join(row)}", where=where,
                    next_step="name the columns with task.text, task.text_pair, task.label",
                )  # fmt: skip
        if split is not None and row.get(own["split"], split) != split:
            continue
        tag = row.get(own["lang"]) or lang
        if not tag:
            raise DataError("a row without a language", expected="a `lang` column, or lang: in the recipe", where=where)
        pair = row[text_pair] if text_pair else None
        tags = [canonical(one) for one in (tag, (row.get(own["lang_pair"]) or lang_pair) if text_pair else None) if one]
        examples.append(TextExample(row[text], "/".join(dict.fromkeys(tags)), row[label], pair, where))
    if not examples:
        raise DataError(f"no example in {path.name!r}" + (f" with split {split!r}" if split else ""),
                        expected="at least one labelled row", where=str(path))  # fmt: skip
    return examples


def texts_of_file(recipe: TaskRecipe, file: LabelledFile) -> list[TextExample]:
    """Examples of a recipe's file: columns as the task says, languages as the file does.

    Raises:
        DataError: a parallel file with other rows.
    """
    named = {str(name): column for name, column in file.columns.items()}
    read = partial(
        read_text_examples,
        split=file.split,
        text=named.get("text", recipe.text),
        text_pair=named.get("text_pair", recipe.text_pair),
        label=named.get("label", recipe.label),
        columns=named,
    )
    if file.path_pair is None:
        return read(resolve(file.path), lang=file.lang, lang_pair=file.lang_pair)
    second = read(resolve(file.path_pair), lang=file.lang_pair or file.lang)
    return crossed(read(resolve(file.path), lang=file.lang), second)


def crossed(first: Sequence[TextExample], second: Sequence[TextExample]) -> list[TextExample]:
    """First texts of one file with second texts of another, row by row (Rajaee and Monz 2024, arXiv 2402.02099).

    Raises:
        DataError: files that are not parallel: another number of rows, another label, or texts without a second one.
    """
    if len(first) != len(second):
        raise DataError(f"{len(first)} and {len(second)} rows", expected="parallel files, row by row",
                        where=f"{first[0].where}; {second[0].where}")  # fmt: skip
    found = []
    for one, other in zip(first, second, strict=True):
        if one.label != other.label or other.text_pair is None:
            raise DataError(
                f"labels {one.label!r} and {other.label!r}, second text {other.text_pair!r}",
                expected="parallel files of pairs: the same label in the same row",
                where=f"{one.where}; {other.where}",
            )
        tags = dict.fromkeys((one.lang.partition("/")[0], other.lang.rpartition("/")[2]))
        found.append(replace(one, text_pair=other.text_pair, lang="/".join(tags)))
    return found


class Texts(Protocol):
    """One or two texts in a language."""

    @property
    def text(self) -> str:
        """The (first) text."""

    @property
    def text_pair(self) -> str | None:
        """The second text."""

    @property
    def lang(self) -> str:
        """Canonical tag, or two."""


def encode_texts(
    examples: Sequence[Texts], tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> tuple[list[Encoded], int]:
    """Tokenise texts or pairs of texts, without their labels; also return how many were cut at ``max_length``."""
    pairs = [e.text_pair for e in examples]
    with_pair = any(p is not None for p in pairs)
    out = tokenizer(
        [e.text for e in examples],
        [p or "" for p in pairs] if with_pair else None,
        truncation=True,
        max_length=max_length,
        return_overflowing_tokens=False,
    )
    types = out.get("token_type_ids")
    encoded = [
        Encoded(
            np.array(ids, dtype=np.int64),
            example.lang,
            np.zeros(0, dtype=np.int64),
            types=np.array(types[i], dtype=np.int64) if types is not None else None,
            second=second_side(out.sequence_ids(i)) if with_pair else None,
        )
        for i, (ids, example) in enumerate(zip(out["input_ids"], examples, strict=True))
    ]
    return encoded, sum(len(e.tokens) == max_length for e in encoded)
