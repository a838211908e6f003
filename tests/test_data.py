"""What ships inside the package, and the paths that mean it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlingua.data import resolve
from interlingua.errors import DataError
from interlingua.text.pairs import read_parallel


def test_corpora_are_found() -> None:
    """A bundled corpus by its name, readable; any other path is left as it is."""
    assert len(list(read_parallel(resolve("package:general.tsv.zst")))) > 100
    assert resolve("some/file.tsv") == Path("some/file.tsv")


@pytest.mark.parametrize("name", ["generl.tsv.zst", "languages.tsv", "SOURCES.md", "recipes/topics.yaml", ""])
def test_other_files_of_the_package_are_no_corpora(name: str) -> None:
    """The message names what can be read in their place: files of SOURCES.md with texts, patterns or senses."""
    with pytest.raises(DataError) as caught:
        resolve(f"package:{name}")
    assert caught.value.where == f"package:{name}"
    listed = caught.value.expected.partition("one of ")[2].split(", ")
    assert listed == [
        "package:bible.tsv.zst",
        "package:general.tsv.zst",
        "package:sib200.tsv.zst",
        "package:topics.patterns.yaml",
        "package:two.senses.tsv",
    ]
