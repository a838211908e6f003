"""States moved from one language towards another, at one layer of a network.

In: a network of ``transformers`` and texts. Out: the mean state of their tokens at every layer, and the same network
run with a vector a language added to all its tokens' states at a layer (Liu et al. 2020, arXiv 2010.10041). Decisions:
means are taken where the vectors are added, at the end of a layer or of the embeddings, by the same hooks; every token
is moved by the vector of its own language, which the batch says, so rows may mix languages. Price: classes whose layers
share weights, or have no single end, cannot be steered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from interlingua.batch import Batch
from interlingua.errors import LanguageError, RecipeError
from interlingua.models.adapters import embeddings_of, layers_of
from interlingua.models.architectures import architecture
from interlingua.models.attention import encode
from interlingua.models.separate import spoken

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["layer_means", "steerable_layers", "steered"]


def _places(model: PreTrainedModel) -> list[nn.Module]:
    """The modules whose outputs are the states of each layer, the embeddings' first."""
    end = architecture(model).layer_end
    return [embeddings_of(model), *(layer.get_submodule(end) if end else layer for layer in layers_of(model))]


def steerable_layers(model: PreTrainedModel) -> int:
    """How many places there are: the embeddings (layer 0) and every layer.

    Raises:
        RecipeError: a class that cannot be steered.
    """
    return len(_places(model))


def layer_means(model: PreTrainedModel, batches: Iterable[Batch]) -> NDArray[np.float64]:
    """Mean state of all tokens, specials included, at the embeddings and every layer, [layers + 1, D].

    Raises:
        RecipeError: a class that cannot be steered.
    """
    places = _places(model)
    sums: list[Tensor | None] = [None] * len(places)
    count, kept_BL = 0, torch.zeros(0)

    def added(place: int) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output
            own = states[kept_BL].double().sum(dim=0)
            before = sums[place]
            sums[place] = own if before is None else before + own

        return hook

    handles = [module.register_forward_hook(added(place)) for place, module in enumerate(places)]
    try:
        with torch.inference_mode():
            for batch in batches:
                kept_BL = batch.segments_BL > 0
                count += int(kept_BL.sum())
                encode(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return np.stack([total.cpu().numpy() / count for total in sums if total is not None])


@contextlib.contextmanager
def steered(model: PreTrainedModel, layer: int, vectors: Mapping[str, NDArray[np.floating[Any]]]) -> Iterator[None]:
    """Add a vector to the states of every token while the block runs.

    Args:
        model: the network.
        layer: after which layer; 0: after the embeddings.
        vectors: [D] by language; tokens of other languages stay where they are.

    Raises:
        RecipeError: a class that cannot be steered, or a layer that it does not have.
        LanguageError: while it runs, on a batch that does not say its languages.
    """
    places = _places(model)
    if not 0 <= layer < len(places):
        raise RecipeError(f"layer {layer}", expected=f"0 (embeddings) to {len(places) - 1}", where="--steer")
    tensors = {lang: torch.from_numpy(np.asarray(vector)) for lang, vector in vectors.items()}

    def moved(module: nn.Module, args: Any, output: Any) -> Any:
        now = spoken()
        if now is None or not now.names:
            raise LanguageError("a network that is steered, run on texts without a language",
                                expected="batches that say the language of every token")  # fmt: skip
        states = output[0] if isinstance(output, tuple) else output
        out = states
        for index in now.present:
            vector = tensors.get(now.names[index])
            if vector is not None:
                own = (now.languages == index)[..., None]
                out = torch.where(own, states + vector.to(states), out)
        return (out, *output[1:]) if isinstance(output, tuple) else out

    handle = places[layer].register_forward_hook(moved)
    try:
        yield
    finally:
        handle.remove()
