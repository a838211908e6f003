"""Adapters that grow: every step of a stream leaves one of its own, and none is changed again.

In: a network with a task adapter and a head, after a step was taught. Out: copies of both, by step; put back into the
network they make it the one that the step ended with. Decisions: a step begins with the adapter and head of the last
step of its task, so languages still gain from those before; a language is scored with the adapter of the last step that
taught it, any other with the last of all. Price: an adapter and a head a step on the disk, and a text's language must
be known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.transfer.bottlenecks import HEAD, Bottlenecks, write_bottlenecks

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

__all__ = ["Grown", "Learnt"]


@dataclass(frozen=True)
class Learnt:
    """What a step left.

    Attributes:
        name: of the step.
        langs: what it taught.
        tensors: adapter and head, by the network's names.
    """

    name: str
    langs: tuple[str, ...]
    tensors: Mapping[str, Tensor]


@dataclass
class Grown:
    """What every step of one task left, in order."""

    steps: list[Learnt] = field(default_factory=list)

    def keep(self, model: PreTrainedModel, name: str, langs: Collection[str]) -> None:
        """Add what a network has learnt now."""
        learnt = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        self.steps.append(Learnt(name, tuple(langs), learnt))

    @property
    def last(self) -> Learnt | None:
        """What the last step left, if there was one."""
        return self.steps[-1] if self.steps else None

    def named(self, name: str) -> Learnt | None:
        """What a step left, or if it was not taught the last one of all."""
        return next((step for step in self.steps if step.name == name), self.last)

    def of_language(self, lang: str) -> Learnt | None:
        """What the last step left that taught a language, or if none did the last one of all."""
        return next((step for step in reversed(self.steps) if lang in step.langs), self.last)

    def notes(self, langs: Collection[str]) -> list[str]:
        """A line on languages that no step taught."""
        taught = {lang for step in self.steps for lang in step.langs}
        others = ", ".join(lang for lang in langs if lang not in taught)
        by = f"with the adapter of {self.last.name}" if self.last else "as the stream began, with nothing taught"
        return [f"not taught, scored {by}: {others}"] if others else []

    @staticmethod
    def put(model: PreTrainedModel, step: Learnt | None) -> None:
        """Make a network (or a copy of it in another type) the one that a step ended with, in place."""
        import torch

        with torch.no_grad():
            for name, tensor in (step.tensors if step else {}).items():
                model.get_parameter(name).copy_(tensor)

    def write(self, folder: Path, model: PreTrainedModel, adapters: Bottlenecks) -> list[dict[str, Any]]:
        """Write ``steps/1``, ... as adapter folders, in order; what :meth:`read` wants beside them."""
        for number, step in enumerate(self.steps, 1):
            (folder / "steps" / str(number)).mkdir(parents=True)
            self.put(model, step)
            write_bottlenecks(folder / "steps" / str(number), model, adapters)
        return [{"name": step.name, "langs": list(step.langs)} for step in self.steps]

    @classmethod
    def read(
        cls, folder: Path, facts: Sequence[Mapping[str, Any]], model: PreTrainedModel, adapters: Bottlenecks
    ) -> Grown:
        """What :meth:`write` wrote, for a network with such adapters."""
        from safetensors.torch import load_file

        from interlingua.models.adapter_folder import read_adapter
        from interlingua.models.adapters import adapter_parameters

        names = {id(p): name for name, p in model.named_parameters()}
        places = {file: names[id(p)] for file, p in adapter_parameters(adapters.task.modules).items()}
        found = cls()
        for number, one in enumerate(facts, 1):
            own = folder / "steps" / str(number)
            tensors = {places[n]: t for n, t in read_adapter(own, base=adapters.base).tensors.items()}
            found.steps.append(Learnt(one["name"], tuple(one["langs"]), tensors | load_file(own / HEAD)))
        return found
