"""A network in which only the adapters of languages learn (MAD-X, Pfeiffer et al. 2020, arXiv 2005.00052).

In: the folder of an encoder, and languages. Out: its masked language model with an adapter a language, and afterwards a
folder a language. Decisions: an encoder whose checkpoint has no LM head gets a fresh one that learns with the adapters,
over its own token table, which stays as it is; adapters of several languages can learn in one run, since no token goes
through two of them. Price: such a head is shared by the languages of a run, and is thrown away with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interlingua.models.adapter_folder import Placed, write_adapter
from interlingua.models.adapters import Form, add_adapter, layers_of, route
from interlingua.models.checkpoint import fingerprint, open_checkpoint
from interlingua.run import atomic_folder

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

__all__ = ["LanguageAdapters", "with_language_adapters"]


@dataclass(frozen=True)
class LanguageAdapters:
    """The adapters of languages in a network.

    Attributes:
        model: a masked language model; what learns of it is the adapters, and a head that is new.
        languages: the adapters, by tag.
        base: name and fingerprint of the encoder.
        new_head: whether the LM head is new.
    """

    model: PreTrainedModel
    languages: dict[str, Placed]
    base: dict[str, str]
    new_head: bool

    def write(self, folder: Path) -> dict[str, Path]:
        """Write ``FOLDER/LANG`` for every language; these folders."""
        found = {}
        for lang, placed in self.languages.items():
            with atomic_folder(folder / lang) as temporary:
                write_adapter(temporary, placed, self.model, base=self.base, language=lang)
            found[lang] = folder / lang
        return found


def with_language_adapters(
    folder: Path,
    name: str,
    languages: Sequence[str],
    *,
    adapted: Collection[str],
    reduction: int,
    invertible: bool,
    seed: int,
    counts: NDArray[np.int64],
) -> LanguageAdapters:
    """Open an encoder and put new adapters into it.

    Args:
        folder: of the encoder.
        name: what it was asked for by.
        languages: canonical tags, in stream order.
        adapted: those that get an adapter; texts of others go without.
        reduction: the width divided by that of the bottlenecks.
        invertible: whether there are couplings at the embeddings.
        seed: of what is new.
        counts: occurrences of each token id, [V]: where a new head begins.

    Raises:
        CheckpointError: no encoder, or one without a masked language model in ``transformers``.
        RecipeError: a class that takes no adapters.
    """
    import torch
    from transformers import AutoModelForMaskedLM

    from interlingua.models.build import set_output_prior

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, _ = open_checkpoint(folder, AutoModelForMaskedLM)
        base = {"name": name, "fingerprint": fingerprint(model)}
        new = _new_parameters(model, _saved_names(folder))
        form = Form(tuple(range(len(layers_of(model)))), reduction, invertible=invertible)
        model.requires_grad_(False)
        placed = {lang: Placed(add_adapter(model, lang, form), form) for lang in languages if lang in adapted}
    for parameter in new:
        parameter.requires_grad_(True)
    if new:
        set_output_prior(model, np.pad(counts, (0, model.config.vocab_size - len(counts))))
    route(model, languages=languages, missing="none")
    return LanguageAdapters(model, placed, base, bool(new))


def _saved_names(folder: Path) -> set[str]:
    from safetensors import safe_open

    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            names.update(opened.keys())
    return names


def _new_parameters(model: PreTrainedModel, saved: set[str]) -> list[nn.Parameter]:
    """Parameters of the head that are neither saved nor the encoder's own (a tied table)."""
    own = {id(p) for p in model.base_model.parameters()}
    head = [(name, p) for name, p in model.named_parameters() if id(p) not in own]
    # One name may stand for several: a decoder's bias is saved under the name of the head's.
    return [] if any(name in saved for name, _ in head) else [p for _, p in head]
