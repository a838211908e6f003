"""What the doctor says, against the project's own requirements."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from interlingua import doctor

ROOT = Path(__file__).parent.parent

versions = st.tuples(st.integers(0, 6), st.integers(0, 30), st.integers(0, 5)).map(lambda v: ".".join(map(str, v)))


@pytest.fixture(scope="module")
def project() -> dict[str, list[str] | dict[str, list[str]]]:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        return dict(tomllib.load(stream)["project"])


def test_ranges_are_those_of_the_project(project: dict[str, list[str]]) -> None:
    # pyproject.toml, read by packaging, against the doctor's table.
    wanted = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    assert {name: SpecifierSet(text) for name, text in doctor.RANGES.items()} == {n: wanted[n] for n in doctor.RANGES}


def test_extras_are_those_of_the_project(project: dict[str, dict[str, list[str]]]) -> None:
    # pyproject.toml against the doctor's table; dev and docs are not for users.
    extras = {name: Requirement(lines[0]).name for name, lines in project["optional-dependencies"].items()}
    assert {name: package for name, (package, _) in doctor.EXTRAS.items()} == {
        name: package for name, package in extras.items() if name not in ("dev", "docs")
    }


@given(version=versions, local=st.sampled_from(["", "+cpu"]), wanted=st.sampled_from(sorted(doctor.RANGES.values())))
def test_ranges_are_understood(version: str, local: str, wanted: str) -> None:
    # Oracle: packaging's specifiers.
    assert doctor._inside(version + local, wanted) == (version in SpecifierSet(wanted))


def test_every_area_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # An empty cache and no hub: models are told with a way out, and nothing that is needed is missing here.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("INTERLINGUA_CACHE", str(tmp_path / "none"))
    findings = doctor.examine()
    assert {f.area for f in findings} == {"versions", "machine", "models", "extras", "fonts"}
    assert [f.name for f in findings if f.needed and not f.ok] == []
    mbert = next(f for f in findings if f.name == "mbert")
    assert not mbert.ok
    assert "HF_HUB_OFFLINE=1" in mbert.found
    assert mbert.fix


def test_a_missing_package_is_told_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    # A package nobody has: not ok, needed, and the install line names it.
    monkeypatch.setattr(doctor, "RANGES", {"no-such-package-here": ">=1.0"})
    finding = list(doctor._versions())[-1]
    assert (finding.ok, finding.needed) == (False, True)
    assert finding.fix == "pip install 'no-such-package-here>=1.0'"
