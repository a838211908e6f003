"""Tuning by bottleneck adapters: a task's, alone or behind those of languages (MAD-X).

In: a network with a fresh head, and a recipe's ``adapter`` or ``madx``. Out: the network with a new task adapter, with
``madx`` behind frozen adapters of languages; the folder of what was learnt, and the same network from it again.

    seed-N/                    configuration and tokenizer of the whole network
           adapter.*           the task's adapter
           head.safetensors    what is new with the task, by the names that transformers has
           languages/LANG/     adapters of languages (madx); one that is added here is used from then on

Decisions: the encoder stays as it is; every token goes through the adapter of its own language, and a language without
one stops the run or goes without, as the recipe says; the folder holds copies, so that it can be moved. Price: every
seed has a copy of every language's adapter.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from interlingua.errors import CheckpointError, LanguageError, RecipeError
from interlingua.models.adapter_folder import SavedAdapter, put_adapter, read_adapter, write_adapter
from interlingua.models.adapters import TASK, Form, add_adapter, layers_of, route
from interlingua.recipe_transfer import TuneRecipe

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Example

__all__ = ["ADAPTER_METHODS", "HEAD", "Bottlenecks", "adapted_by", "check_languages", "opened", "write_bottlenecks"]

#: Methods whose folder is described above.
ADAPTER_METHODS = ("adapter", "madx")
HEAD = "head.safetensors"
_ROUTING = "routing.json"


@dataclass(frozen=True)
class Bottlenecks:
    """The adapters of a network.

    Attributes:
        task: modules of the task's adapter.
        form: its layers and widths.
        base: name and fingerprint of the encoder.
        head: names of the parameters that are new with the task.
        languages: adapters of languages (madx); None where the method uses none.
        missing: what becomes of a language without one.
    """

    task: Mapping[str, nn.Module]
    form: Form
    base: Mapping[str, str]
    head: tuple[str, ...]
    languages: Mapping[str, SavedAdapter] | None = None
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
    languages = None
    if recipe.method == "madx":
        if not recipe.language_adapters:
            raise RecipeError(
                "tune.method = 'madx' without language adapters",
                expected="tune.language_adapters: {en: FOLDER, ...}, the source's and those of the test languages",
                where="tune.language_adapters",
                next_step="tune.method=adapter needs none",
            )
        languages = {
            tag: read_adapter(folder, base=base, language=tag) for tag, folder in recipe.language_adapters.items()
        }
    names = tuple(n for n, _ in model.named_parameters() if n.startswith(tuple(f"{module}." for module in head)))
    learns = {n for n in names if model.get_parameter(n).requires_grad}
    _put_languages(model, languages)
    model.requires_grad_(False)
    form = Form(layers, recipe.reduction)
    added = add_adapter(model, TASK, form)
    for name in learns:
        model.get_parameter(name).requires_grad_(True)
    found = Bottlenecks(added, form, base, names, languages, recipe.without_adapter)
    _route(model, found)
    return found


def _put_languages(model: PreTrainedModel, languages: Mapping[str, SavedAdapter] | None) -> None:
    for tag, saved in (languages or {}).items():
        put_adapter(model, saved, tag)


def _route(model: PreTrainedModel, adapters: Bottlenecks) -> None:
    if adapters.languages is not None:
        route(model, languages=tuple(adapters.languages), missing=adapters.missing)


def write_bottlenecks(folder: Path, model: PreTrainedModel, adapters: Bottlenecks) -> None:
    """Write what was learnt, with copies of the languages' adapters, into an existing folder."""
    from safetensors.torch import save_file

    write_adapter(folder, adapters.task, adapters.form, model, base=adapters.base)
    parameters = dict(model.named_parameters())
    save_file({name: parameters[name].detach().cpu().contiguous() for name in adapters.head}, folder / HEAD)
    if adapters.languages is not None:
        (folder / _ROUTING).write_text(json.dumps({"without_adapter": adapters.missing}), encoding="utf-8")
        for tag, saved in adapters.languages.items():
            shutil.copytree(saved.folder, folder / "languages" / tag)


def opened(model: PreTrainedModel, folder: Path, base: Mapping[str, str]) -> Bottlenecks:
    """Put what a folder holds into a network with a fresh head, in place.

    Raises:
        CheckpointError: files are missing, damaged, or do not fit the network.
    """
    import torch
    from safetensors.torch import load_file

    saved = read_adapter(folder, base=base)
    languages = None
    missing: Literal["error", "none"] = "error"
    if (folder / _ROUTING).is_file():
        missing = json.loads((folder / _ROUTING).read_text(encoding="utf-8"))["without_adapter"]
        languages = {
            path.name: read_adapter(path, base=base, language=path.name)
            for path in sorted((folder / "languages").iterdir())
        }
    parameters = dict(model.named_parameters())
    head = load_file(folder / HEAD)
    with torch.no_grad():
        for name, tensor in head.items():
            if name not in parameters or parameters[name].shape != tensor.shape:
                raise CheckpointError(f"tensor {name!r} of shape {tuple(tensor.shape)}",
                                      expected="the head of this network", where=str(folder / HEAD))  # fmt: skip
            parameters[name].copy_(tensor)
    _put_languages(model, languages)
    model.requires_grad_(False)
    found = Bottlenecks(put_adapter(model, saved, TASK), saved.form, base, tuple(head))
    found = replace(found, languages=languages, missing=missing)
    _route(model, found)
    return found
