"""Tuning by bottleneck adapters: a task's, alone or behind those of languages (MAD-X).

In: a network with a fresh head, and a recipe's ``adapter`` or ``madx``. Out: the network with a new task adapter, with
``madx`` behind frozen adapters of languages; the folder of what was learnt, and the same network from it again.

    seed-N/                    configuration and tokenizer of the whole network
           adapter.*           the task's adapter
           head.safetensors    what is new with the task, by the names that transformers has
           routing.json        what becomes of a language without an adapter (madx)
           languages/LANG/     adapters of languages (madx); one that is added here is used from then on

Decisions: the encoder stays as it is; every token goes through the adapter of its own language, and a language without
one stops the run or goes without, as the recipe says; the folder holds copies, so that it can be moved. Price: every
seed has a copy of every language's adapter.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from interlingua.errors import CheckpointError, LanguageError, RecipeError
from interlingua.models.adapter_folder import Placed, put_adapter, read_adapter, write_adapter
from interlingua.models.adapters import TASK, Form, add_adapter, layers_of, route
from interlingua.recipe_transfer import TuneRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Example

__all__ = [
    "ADAPTER_METHODS",
    "HEAD",
    "Bottlenecks",
    "adapted_by",
    "check_languages",
    "language_adapters",
    "opened",
    "write_bottlenecks",
]

#: Methods whose folder is described above.
ADAPTER_METHODS = ("adapter", "madx")
HEAD = "head.safetensors"
_ROUTING = "routing.json"


@dataclass(frozen=True)
class Bottlenecks:
    """The adapters of a network.

    Attributes:
        task: the task's.
        base: name and fingerprint of the encoder.
        head: names of the parameters that are new with the task.
        languages: adapters of languages (madx); None where the method uses none.
        missing: what becomes of a language without one.
    """

    task: Placed
    base: Mapping[str, str]
    head: tuple[str, ...]
    languages: Mapping[str, Placed] | None = None
    missing: Literal["error", "none"] = "error"

    def check(self, examples: Iterable[Example]) -> list[str]:
        """What is to be said of examples' languages, see :func:`check_languages`."""
        return [] if self.languages is None else check_languages(self.languages, self.missing, examples)


def check_languages(known: Collection[str], missing: str, examples: Iterable[Example]) -> list[str]:
    """A line on examples in languages without an adapter, if there are any.

    Raises:
        LanguageError: there are, and the recipe wants none.
    """
    counts = Counter(tag for example in examples for tag in example.lang.split("/"))
    lacking = ", ".join(f"{tag} ({n:,} examples)" for tag, n in sorted(counts.items()) if tag not in known)
    if lacking and missing == "error":
        raise LanguageError(
            f"no language adapter for {lacking}",
            expected=f"languages with one: {', '.join(known) or 'none'}",
            where="tune.language_adapters",
            next_step="train one (adapt.encoder in a pretrain recipe), or set tune.without_adapter=none",
        )
    return [f"without a language adapter: {lacking}"] if lacking else []


def adapted_by(
    model: PreTrainedModel, recipe: TuneRecipe, below: int, head: Collection[str], encoder: Encoder
) -> Bottlenecks:
    """Put new adapters into a network with a head, in place; they and the head learn.

    Args:
        model: the network.
        recipe: method, reduction, language adapters.
        below: so many lowest layers get no task adapter.
        head: names of the modules that are new with the task.
        encoder: what the network is made from.

    Raises:
        RecipeError: a class that takes no adapters, nothing to put them into, or ``madx`` without language adapters.
        CheckpointError: language adapters that do not fit.
    """
    from interlingua.models.checkpoint import fingerprint

    layers = tuple(range(len(layers_of(model)))[below:])
    if not layers:
        raise RecipeError(f"tune.method = {recipe.method!r} with tune.freeze = {recipe.freeze!r}",
                          expected="layers that are not frozen", where="tune.freeze")  # fmt: skip
    base = {"name": encoder.name, "fingerprint": fingerprint(encoder.model)}
    if recipe.method == "madx" and not recipe.language_adapters:
        raise RecipeError(
            "tune.method = 'madx' without language adapters",
            expected="tune.language_adapters: {en: FOLDER, ...}, the source's and those of the test languages",
            where="tune.language_adapters",
            next_step="tune.method=adapter needs none",
        )
    names = tuple(n for n, _ in model.named_parameters() if n.startswith(tuple(f"{module}." for module in head)))
    learns = {n for n in names if model.get_parameter(n).requires_grad}
    languages = _put_languages(model, recipe.language_adapters, base) if recipe.method == "madx" else None
    model.requires_grad_(False)
    form = Form(layers, recipe.reduction)
    task = Placed(add_adapter(model, TASK, form), form)
    for name in learns:
        model.get_parameter(name).requires_grad_(True)
    return _routed(model, Bottlenecks(task, base, names, languages, recipe.without_adapter))


def _put_languages(model: PreTrainedModel, folders: Mapping[str, Path], base: Mapping[str, str]) -> dict[str, Placed]:
    return {
        tag: put_adapter(model, read_adapter(folder, base=base, language=tag), tag) for tag, folder in folders.items()
    }


def _routed(model: PreTrainedModel, adapters: Bottlenecks) -> Bottlenecks:
    if adapters.languages is not None:
        route(model, languages=tuple(adapters.languages), missing=adapters.missing)
    return adapters


def write_bottlenecks(folder: Path, model: PreTrainedModel, adapters: Bottlenecks) -> None:
    """Write what was learnt, with copies of the languages' adapters, into an existing folder."""
    from safetensors.torch import save_file

    write_adapter(folder, adapters.task, model, base=adapters.base)
    parameters = dict(model.named_parameters())
    save_file({name: parameters[name].detach().cpu().contiguous() for name in adapters.head}, folder / HEAD)
    if adapters.languages is not None:
        (folder / _ROUTING).write_text(json.dumps({"without_adapter": adapters.missing}), encoding="utf-8")
        for tag, placed in adapters.languages.items():
            write_adapter(folder / "languages" / tag, placed, model, base=adapters.base, language=tag)


def language_adapters(folder: Path) -> dict[str, str]:
    """A hash of every language's adapter in a folder: whoever adds or changes one changes what its network computes."""
    files = {path.parent.name: path for path in sorted(folder.glob("languages/*/*.safetensors"))}
    return {tag: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for tag, path in files.items()}


def opened(model: PreTrainedModel, folder: Path, base: Mapping[str, str]) -> Bottlenecks:
    """Put what a folder holds into a network with a fresh head, in place.

    Raises:
        CheckpointError: files are missing, damaged, or do not fit the network.
    """
    import torch
    from safetensors.torch import load_file

    saved = read_adapter(folder, base=base)
    parameters = dict(model.named_parameters())
    head = load_file(folder / HEAD)
    with torch.no_grad():
        for name, tensor in head.items():
            if name not in parameters or parameters[name].shape != tensor.shape:
                raise CheckpointError(f"tensor {name!r} of shape {tuple(tensor.shape)}",
                                      expected="the head of this network", where=str(folder / HEAD))  # fmt: skip
            parameters[name].copy_(tensor)
    languages = None
    missing: Literal["error", "none"] = "error"
    if (folder / _ROUTING).is_file():
        missing = json.loads((folder / _ROUTING).read_text(encoding="utf-8"))["without_adapter"]
        folders = {path.name: path for path in sorted((folder / "languages").iterdir())}
        languages = _put_languages(model, folders, base)
    task = put_adapter(model, saved, TASK)
    model.requires_grad_(False)
    return _routed(model, Bottlenecks(task, base, tuple(head), languages, missing))
