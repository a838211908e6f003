"""How many texts were read, kept and dropped, and why, in every language.

Single texts flow in; a document that can be added to others flows out. Decision: a text is either kept or dropped for
one reason, so read = kept + the sum of dropped in every group, which the end of a build checks. Price: a text with
two faults is counted with the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Counts"]

_SHOWN = 160


class Counts:
    """Counts by group: a language, or for pairs two joined by a hyphen.

    Args:
        samples: dropped texts kept for each reason.
    """

    def __init__(self, samples: int) -> None:
        self._most = samples
        self._groups: dict[str, dict[str, Any]] = {}
        self._samples: dict[str, list[dict[str, str]]] = {}

    def _group(self, name: str) -> dict[str, Any]:
        if name not in self._groups:
            self._groups[name] = {"read": 0, "kept": 0, "characters": 0, "bytes": 0, "dropped": {}}
        return self._groups[name]

    def read(self, group: str) -> None:
        """Count a text that came in."""
        self._group(group)["read"] += 1

    def keep(self, group: str, characters: int, size: int) -> None:
        """Count a text that stays, of so many characters and bytes."""
        counts = self._group(group)
        counts["kept"] += 1
        counts["characters"] += characters
        counts["bytes"] += size

    def drop(self, group: str, reason: str, text: str, source: str) -> None:
        """Count a text that goes."""
        dropped = self._group(group)["dropped"]
        dropped[reason] = dropped.get(reason, 0) + 1
        shown = self._samples.setdefault(reason, [])
        if len(shown) < self._most:
            shown.append({"group": group, "text": text[:_SHOWN], "source": source})

    def take_back(self, group: str, reason: str, text: str, source: str) -> None:
        """Drop a text that was counted as kept."""
        counts = self._group(group)
        counts["kept"] -= 1
        counts["characters"] -= len(text)
        counts["bytes"] -= len(text.encode())
        self.drop(group, reason, text, source)

    def add(self, document: Mapping[str, Any]) -> None:
        """Add what another one has counted later in the input."""
        for name, other in document["groups"].items():
            counts = self._group(name)
            for key in ("read", "kept", "characters", "bytes"):
                counts[key] += other[key]
            for reason, count in other["dropped"].items():
                counts["dropped"][reason] = counts["dropped"].get(reason, 0) + count
        for reason, shown in document["samples"].items():
            own = self._samples.setdefault(reason, [])
            own.extend(shown[: max(0, self._most - len(own))])

    def document(self) -> dict[str, Any]:
        """All counts, for JSON and for `add`."""
        return {"groups": dict(sorted(self._groups.items())), "samples": dict(sorted(self._samples.items()))}
