"""Adapters on the disk.

In: the modules of an adapter and the encoder it was made for. Out: a folder with two files, and the same back again.

    adapter.json          form, the norm that ends a layer (null: none does), the encoder's name and fingerprint, and
                          for a language its tag
    adapter.safetensors   layers.N.down.weight [D/r, D], layers.N.down.bias, layers.N.up.weight [D, D/r],
                          layers.N.up.bias for every layer N that has one; invertible.F.* and invertible.G.* alike

What is computed with them stands in :mod:`interlingua.models.adapters`. Decision: no library opens bottleneck adapters
beside transformers 5, so the files hold plain tensors under names that say their place, which a page of torch can use.
Price: a format of our own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import CheckpointError
from interlingua.models.adapters import Form, adapter_parameters, add_adapter
from interlingua.models.architectures import architecture

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

__all__ = ["FACTS", "Placed", "SavedAdapter", "put_adapter", "read_adapter", "write_adapter"]

FACTS = "adapter.json"
_TENSORS = "adapter.safetensors"


@dataclass(frozen=True)
class SavedAdapter:
    """An adapter as a folder holds it.

    Attributes:
        folder: where it lies.
        form: its layers and widths.
        base: name and fingerprint of the encoder it was made for.
        language: tag, or None of a task's.
        tensors: by their names.
    """

    folder: Path
    form: Form
    base: Mapping[str, str]
    language: str | None
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Placed:
    """An adapter in a network.

    Attributes:
        modules: as :func:`~interlingua.models.adapters.add_adapter` gave them.
        form: its layers and widths.
    """

    modules: Mapping[str, nn.Module]
    form: Form


def write_adapter(
    folder: Path,
    placed: Placed,
    model: PreTrainedModel,
    *,
    base: Mapping[str, str],
    language: str | None = None,
) -> None:
    """Write an adapter into a folder.

    Args:
        folder: where to; made if it is not there.
        placed: the adapter.
        model: the network that it is in.
        base: ``name`` and ``fingerprint`` of the encoder.
        language: whose it is; None: a task's.
    """
    from safetensors.torch import save_file

    facts = {
        "kind": "language" if language else "task",
        "language": language,
        "base": dict(base),
        "width": model.config.hidden_size,
        "norm": architecture(model).layer_end or None,
        **asdict(placed.form),
    }
    tensors = {name: p.detach().cpu().contiguous() for name, p in adapter_parameters(placed.modules).items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / _TENSORS)
    (folder / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def read_adapter(folder: Path, *, base: Mapping[str, str], language: str | None = None) -> SavedAdapter:
    """Read what :func:`write_adapter` wrote.

    Args:
        folder: of the adapter.
        base: ``name`` and ``fingerprint`` of the encoder that it is wanted for.
        language: whose it is to be; None: a task's.

    Raises:
        CheckpointError: no such folder, a damaged one, one for another encoder, or another language's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / FACTS
    if not path.is_file():
        raise CheckpointError(
            f"no adapter in {str(folder)!r}",
            expected=f"a folder with {FACTS} and {_TENSORS}",
            where=str(path),
            next_step="check the path; language adapters are written to RUN/adapters/LANG by `interlingua pretrain` "
            "with adapt.encoder",
        )
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form = Form(tuple(facts["layers"]), facts["reduction"], facts["activation"], facts["invertible"])
        made_for, own = facts["base"], facts["language"]
        tensors = load_file(folder / _TENSORS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"an adapter that cannot be opened: {error}", expected=f"{FACTS} and {_TENSORS}, whole",
                              where=str(folder), next_step="fetch or train it again") from error  # fmt: skip
    if made_for["fingerprint"] != base["fingerprint"]:
        raise CheckpointError(
            f"an adapter that was made for another encoder than {base['name']!r} (fingerprint {base['fingerprint']})",
            expected=f"{made_for['name']!r} with fingerprint {made_for['fingerprint']}",
            where=str(path),
            next_step="give the encoder that it was made for, or train one for this encoder",
        )
    if own != language:
        raise CheckpointError(
            f"an adapter of {own or 'a task'}", expected=f"one of {language or 'a task'}", where=str(path),
            next_step="adapters of languages and of tasks are not interchangeable",
        )  # fmt: skip
    return SavedAdapter(folder, form, made_for, own, tensors)


def put_adapter(model: PreTrainedModel, saved: SavedAdapter, name: str) -> Placed:
    """Put a saved adapter into a network, in place.

    Raises:
        CheckpointError: tensors are missing, are too many, or have other shapes.
    """
    import torch

    added = add_adapter(model, name, saved.form)
    parameters = adapter_parameters(added)
    if odd := sorted(parameters.keys() ^ saved.tensors.keys()):
        what = "missing" if odd[0] in parameters else "which belongs nowhere"
        raise CheckpointError(f"tensor {odd[0]!r}, {what}", expected=f"the {len(parameters)} tensors of its form",
                              where=str(saved.folder))  # fmt: skip
    with torch.no_grad():
        for key, parameter in parameters.items():
            tensor = saved.tensors[key]
            if tensor.shape != parameter.shape:
                raise CheckpointError(f"tensor {key!r} of shape {tuple(tensor.shape)}",
                                      expected=f"{tuple(parameter.shape)}", where=str(saved.folder))  # fmt: skip
            parameter.copy_(tensor)
    return Placed(added, saved.form)
