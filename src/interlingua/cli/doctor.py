"""``interlingua doctor``: what is here, what is missing, and the line that mends it."""

from __future__ import annotations

import itertools
from typing import Any

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb

__all__ = ["add_to"]


def doctor(as_json: JSON = False, debug: Debug = False) -> Answer:
    """Say what is here, what is missing, and how to mend it.

    Versions, cores and memory, which named models can be had and from where, extras, fonts.

    Ends with 1 if something that everything depends on is missing or out of range.

    Example:
    interlingua doctor
    """
    from interlingua.doctor import examine

    findings = examine()
    broken = [finding for finding in findings if finding.needed and not finding.ok]
    shown: list[Any] = []
    width = max(len(finding.name) for finding in findings)
    for area, inside in itertools.groupby(findings, key=lambda finding: finding.area):
        shown.append(area)
        for finding in inside:
            mark = "ok" if finding.ok else "!!" if finding.needed else "--"
            fix = f"   ->  {finding.fix}" if finding.fix and not finding.ok else ""
            shown.append(f"  {mark}  {finding.name:<{width}}  {finding.found}{fix}")
    shown.append("all that is needed is here" if not broken else f"{len(broken)} thing(s) to mend, marked !!")
    return Answer({"ok": not broken, "findings": findings}, shown, status=1 if broken else 0)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor", cls=Verb)(doctor)
