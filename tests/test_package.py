"""The package's surface: what `import interlingua` shows, and what it costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import interlingua

ROOT = Path(__file__).parent.parent


def in_a_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_all_is_what_is_visible() -> None:
    # Both lists against each other, and every name against getattr.
    assert dir(interlingua) == sorted(interlingua.__all__)
    assert [name for name in interlingua.__all__ if getattr(interlingua, name, None) is None] == []


def test_functions_are_not_hidden_by_their_modules() -> None:
    # Three public functions share a name with a module; whatever is imported first, the function is what one gets.
    code = (
        "import interlingua.pretrain, interlingua.evaluate, interlingua.languages, interlingua.transfer.finetune;"
        "from interlingua.pretrain import PretrainResult;"
        "import interlingua as i; print(*(type(getattr(i, n)).__name__ for n in "
        "('pretrain', 'evaluate', 'finetune', 'language', 'languages', 'errors')))"
    )
    kinds = in_a_new_process(code).split()
    assert kinds[:3] == ["function"] * 3
    assert kinds[4:] == ["module"] * 2


def test_unknown_names_are_attribute_errors() -> None:
    # Oracle: Python's own convention for modules.
    assert not hasattr(interlingua, "pretrian")


def test_version_is_that_of_the_project() -> None:
    # pyproject.toml against the attribute.
    with (ROOT / "pyproject.toml").open("rb") as stream:
        assert interlingua.__version__ == tomllib.load(stream)["project"]["version"]


def test_import_is_light() -> None:
    # The figures: under 0.3 s (the best of three, the machine is shared), and no torch.
    code = (
        "import sys, time; t = time.perf_counter(); import interlingua; t = time.perf_counter() - t;"
        "print(t, 'torch' in sys.modules, 'pydantic' in sys.modules)"
    )
    seconds, *loaded = zip(*(in_a_new_process(code).split() for _ in range(3)), strict=True)
    assert min(map(float, seconds)) < 0.3
    assert {name for column in loaded for name in column} == {"False"}
