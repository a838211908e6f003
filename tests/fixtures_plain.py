"""A process in which interlingua cannot be imported: what our folders give to plain libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

__all__ = ["Plain", "plain"]

#: Runs one program a line, and answers with what it printed: the libraries are imported once for all of them.
SERVER = """
import contextlib, io, json, sys, traceback
sys.modules["interlingua"] = None  # importing it would raise
for line in sys.stdin:
    asked, printed, failure = json.loads(line), io.StringIO(), ""
    sys.argv = ["-c", *asked["words"]]
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(asked["code"], "plain", "exec"), {"__name__": "__main__"})
    except BaseException:
        failure = traceback.format_exc()
    sys.stdout.write(json.dumps({"printed": printed.getvalue(), "failure": failure}) + "\\n")
    sys.stdout.flush()
"""


class Plain:
    """Programs run one after the other in a process without us."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def __call__(self, code: str, *words: str) -> list[Any]:
        """What a program printed, a JSON value a line; ``words`` are its command line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"code": code, "words": words}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert not answer["failure"], answer["failure"]
        return [json.loads(line) for line in answer["printed"].splitlines()]


@pytest.fixture(scope="session")
def plain() -> Iterator[Plain]:
    """The process, started once."""
    server = Plain()
    yield server
    assert server.process.stdin is not None
    assert server.process.stdout is not None
    server.process.stdin.close()
    server.process.wait(30)
    server.process.stdout.close()
