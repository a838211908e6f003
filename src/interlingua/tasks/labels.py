"""Labels of several sources brought together.

In: examples whose labels were named by different people, and a mapping. Out: the same examples under common labels,
and in words which labels some languages do not have. Decision: a mapping is a file of two columns ``old<TAB>new``; for
tags in IOB2 it may name the entity types alone, and ``O`` makes them no entity. Price: one label cannot become two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import DataError
from interlingua.tasks.base import some
from interlingua.tasks.tag import TaggedSentence
from interlingua.tasks.texts import TextExample
from interlingua.text.lines import ReadReport, numbered_lines

if TYPE_CHECKING:
    from interlingua.tasks.base import Example

__all__ = ["label_differences", "mapped", "read_mapping"]


def read_mapping(path: Path) -> dict[str, str]:
    """Read a mapping of labels.

    Raises:
        DataError: missing file, a line without two columns, a label that is mapped twice.
    """
    found: dict[str, str] = {}
    for number, line in numbered_lines(path, ReadReport()):
        if not line.strip():
            continue
        old, tab, new = line.partition("\t")
        if not (tab and old.strip() and new.strip()) or found.get(old.strip(), new.strip()) != new.strip():
            raise DataError(
                f"line {line[:60]!r}", expected="old<TAB>new, every old label once", where=f"{path}, line {number}"
            )
        found[old.strip()] = new.strip()
    return found


def mapped(examples: Sequence[Any], mapping: Mapping[str, str]) -> list[Any]:
    """Examples under the labels of a mapping; labels that it does not name, and other examples, stay as they are."""
    return [_mapped(example, mapping) for example in examples]


def _mapped(example: Any, mapping: Mapping[str, str]) -> Any:
    if isinstance(example, TextExample):
        return replace(example, label=mapping.get(example.label, example.label))
    if isinstance(example, TaggedSentence):
        return replace(example, tags=tuple(_tag(tag, mapping) for tag in example.tags))
    return example


def _tag(tag: str, mapping: Mapping[str, str]) -> str:
    if tag in mapping:
        return mapping[tag]
    place, _, kind = tag.partition("-")
    if place in {"B", "I"} and kind in mapping:
        return "O" if mapping[kind] == "O" else f"{place}-{mapping[kind]}"
    return tag


def _labels(example: Example) -> Iterable[str]:
    """Labels of an example; of entities their types, once each."""
    if isinstance(example, TaggedSentence):
        return [tag.removeprefix("B-") for tag in example.tags if not tag.startswith("I-")]
    return example.labels


def label_differences(examples: Sequence[Any], *, key: str = "task.mapping") -> list[str]:
    """What is to be said of labels that only some languages have: a line a label, and how to merge them.

    Args:
        examples: of one task, in any languages.
        key: what the recipe calls the mapping.
    """
    counts: dict[str, Counter[str]] = {}
    for example in examples:
        counts.setdefault(example.lang, Counter()).update(_labels(example))
    lines = []
    for label in sorted({label for counted in counts.values() for label in counted}):
        missing = [lang for lang, counted in counts.items() if label not in counted]
        if missing:
            there = [f"{counted[label]:,} in {lang}" for lang, counted in counts.items() if label in counted]
            lines.append(f"label {label!r}: {some(there)}; none in {some(missing)}")
    return [*lines, f"{key}: FILE with lines old<TAB>new merges labels"] if lines else []
