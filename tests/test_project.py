"""The files around the package agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        return dict(tomllib.load(stream)["project"])


def test_version_is_the_same_everywhere(project: dict[str, object]) -> None:
    # The newest entry of the changelog and the citation name the version of pyproject.toml.
    newest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert newest is not None
    assert newest.group(1) == citation["version"] == project["version"]


def test_licence_is_the_same_everywhere(project: dict[str, object]) -> None:
    # SPDX name in both places, and the text it stands for.
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == project["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_every_dependency_is_pinned(project: dict[str, object]) -> None:
    # Oracle: packaging's own name normalisation and version comparison.
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {}
    for line in lines:
        if line and not line.startswith("#"):
            pin = Requirement(line)
            pins[canonicalize_name(pin.name)] = next(iter(pin.specifier)).version
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    wanted = [
        *project["dependencies"],
        *(line for name, lines in extras.items() if name != "tensorboard" for line in lines),
    ]  # type: ignore[misc]
    for line in wanted:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), line


def test_every_page_of_the_documentation_is_in_its_contents() -> None:
    # A page outside the navigation is a page nobody finds.
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in navigation and not page.startswith("results/")] == []
