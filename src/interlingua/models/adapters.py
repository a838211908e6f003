"""Adapters of languages and tasks in a network, and the way of every token through them.

In: a network of ``transformers`` whose weights stay as they are. Out: the same network with small modules
(:mod:`interlingua.models.bottleneck`) hooked in. With N the norm that ends a layer (the identity in classes whose
layers end in a plain sum) and z what goes into it, the layer's output N(z) becomes, for the language's adapter first
and the task's behind it (MAD-X, Pfeiffer et al. 2020, arXiv 2005.00052)

    z <- z + up(activation(down(N(z))))        and at the end N(z)

and the embeddings pass through a coupling, whose inverse stands before the output table. Decisions: every token goes
through the adapter of its own language, which the batch says, so rows may mix languages; new adapters change nothing.
Price: a language present in a batch costs two indexings a layer; classes whose layers share weights, or have no single
end, take no adapters.

Shape suffixes: E width of the embeddings, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from interlingua.errors import LanguageError, RecipeError
from interlingua.models.architectures import ARCHITECTURES, architecture
from interlingua.models.bottleneck import Bottleneck, Coupling
from interlingua.models.pooling import added_layer
from interlingua.models.separate import spoken, spoken_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "TASK",
    "Form",
    "Routing",
    "adapter_parameters",
    "add_adapter",
    "before_output",
    "embeddings_of",
    "has_adapters",
    "layers_of",
    "route",
]

#: The name of the adapter that all languages share; those of languages go by their tags.
TASK = "task"


@dataclass(frozen=True)
class Form:
    """What an adapter looks like.

    Attributes:
        layers: numbers of the layers that have one, lowest first.
        reduction: the width divided by that of the bottleneck.
        activation: between the two maps.
        invertible: whether there is a coupling at the embeddings too.
    """

    layers: tuple[int, ...]
    reduction: int = 16
    activation: Literal["relu", "gelu"] = "relu"
    invertible: bool = False


@dataclass
class Routing:
    """How tokens find the adapter of their language; one for a whole network.

    Attributes:
        languages: names of the languages by index, for batches that do not say them.
        missing: what becomes of a language without an adapter: an error, or none is used.
    """

    languages: tuple[str, ...] = ()
    missing: Literal["error", "none"] = "error"


class _Place(nn.Module):
    """The adapters at the end of a layer (bottlenecks), or at the embeddings (couplings)."""

    def __init__(self, routing: Routing) -> None:
        super().__init__()
        self.routing = routing
        self.languages = nn.ModuleDict()
        self.task: nn.Module | None = None

    def _each(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """What is added to the states, one change after the other."""
        if len(self.languages):
            yield lambda states: self._routed(states, torch.zeros_like(states), "forward")
        if self.task is not None:
            yield self.task

    def after_norm(self, norm: nn.Module, args: Any, output: Tensor) -> Tensor:
        """Hook of the norm that ends a layer."""
        summed = args[0]
        for change in self._each():
            summed = summed + change(output)
            output = norm.forward(summed)
        return output

    def after_layer(self, layer: nn.Module, args: Any, output: Any) -> Any:
        """Hook of a layer that ends in a plain sum."""
        states = output[0] if isinstance(output, tuple) else output
        for change in self._each():
            states = states + change(states)
        return (states, *output[1:]) if isinstance(output, tuple) else states

    def after_embeddings(self, embeddings: nn.Module, args: Any, output: Tensor) -> Tensor:
        """Hook of the embeddings."""
        return self._routed(output, output, "forward") if len(self.languages) else output

    def inverse(self, states: Tensor) -> Tensor:
        """Back from the embeddings' couplings."""
        return self._routed(states, states, "inverse") if len(self.languages) else states

    def _routed(self, states: Tensor, otherwise: Tensor, how: str) -> Tensor:
        """What the adapters make of their languages' tokens; ``otherwise`` where there is none."""
        now = spoken()
        if now is None:
            raise LanguageError(
                "a network with language adapters, run on texts without a language",
                expected="batches that say the language of every token, as tasks lay them out",
            )
        names = now.names or self.routing.languages
        out = otherwise
        for index in now.present:
            adapter = self._adapter_of(names[index])
            if adapter is None:
                continue
            run = getattr(adapter, how)
            if len(now.present) == 1:
                return run(states)  # type: ignore[no-any-return]
            own = now.languages == index
            out = out.index_put((own,), run(states[own]).to(out.dtype))
        return out

    def _adapter_of(self, language: str) -> nn.Module | None:
        if language in self.languages:
            return self.languages[language]
        if self.routing.missing == "error":
            raise LanguageError(
                f"no language adapter for {language!r}",
                expected=f"one of {', '.join(self.languages)}",
                where="tune.language_adapters",
                next_step="train one (adapt.encoder in a pretrain recipe), or set tune.without_adapter=none",
            )
        return None


def layers_of(model: PreTrainedModel) -> list[Any]:
    """The layers of a network that take adapters, lowest first; not one that was added for mean pooling.

    Raises:
        RecipeError: a class whose layers take none.
    """
    kind = architecture(model)
    if kind.layer_end is None:
        able = ", ".join(family for family, entry in ARCHITECTURES.items() if entry.layer_end is not None)
        raise RecipeError(f"adapters in a {kind.family}", expected=f"one of {able}", where="tune.method",
                          next_step="tune.method=lora, which every class with linear maps bears")  # fmt: skip
    layers = [module for modules in kind.stack(model.base_model)[1] for module in modules]
    if len({id(p) for layer in layers for p in layer.parameters()}) < sum(len(list(x.parameters())) for x in layers):
        raise RecipeError("adapters in a network whose layers share weights", expected="layers of their own",
                          where="tune.method")  # fmt: skip
    return layers[:-1] if added_layer(model) else layers


def _place(module: nn.Module) -> _Place | None:
    found = getattr(module, "adapters", None)
    return found if isinstance(found, _Place) else None


def embeddings_of(model: PreTrainedModel) -> Any:
    """The module whose output are the embeddings."""
    return architecture(model).stack(model.base_model)[0][0]


def _places(model: PreTrainedModel) -> Iterator[_Place]:
    for module in model.modules():
        if isinstance(module, _Place):
            yield module


def has_adapters(model: nn.Module) -> bool:
    """Whether a network has any."""
    return any(isinstance(module, _Place) for module in model.modules())


def route(model: PreTrainedModel, *, languages: Sequence[str] = (), missing: Literal["error", "none"]) -> None:
    """Say how tokens find their adapters, in place; see :class:`Routing`."""
    for place in _places(model):
        place.routing.languages, place.routing.missing = tuple(languages), missing


def add_adapter(model: PreTrainedModel, name: str, form: Form) -> dict[str, nn.Module]:
    """Put a new adapter into a network, in place.

    Args:
        model: any network of a class that takes adapters, with or without a head.
        name: a language's tag, or :data:`TASK`.
        form: its layers and widths.

    Returns:
        The modules that were added, by the names that their tensors have in a file.

    Raises:
        RecipeError: a class, or a layer, that takes none.
    """
    layers = layers_of(model)
    if beyond := [number for number in form.layers if not 0 <= number < len(layers)]:
        raise RecipeError(f"an adapter in layer {beyond[0]}", expected=f"layers 0 to {len(layers) - 1}",
                          where="adapter.json, layers")  # fmt: skip
    known = next(_places(model), None)
    routing = known.routing if known else Routing()
    added: dict[str, nn.Module] = {}
    for number in form.layers:
        place = _place(layers[number])
        if place is None:
            layers[number].adapters = place = _Place(routing)
            _hook(model, layers[number], place)
        bottleneck = Bottleneck(model.config.hidden_size, form.reduction, form.activation)
        added[f"layers.{number}"] = _into(place, name, bottleneck, model)
    if form.invertible:
        added["invertible"] = _add_coupling(model, name, form, routing)
    return added


def _hook(model: PreTrainedModel, layer: nn.Module, place: _Place) -> None:
    end = architecture(model).layer_end
    # Bound methods of a module, not closures: a copy of the network gets hooks of its own.
    if end:
        layer.get_submodule(end).register_forward_hook(place.after_norm)
    else:
        layer.register_forward_hook(place.after_layer)


def _into(place: _Place, name: str, adapter: nn.Module, model: PreTrainedModel) -> nn.Module:
    adapter = adapter.to(model.device, model.dtype)
    if name == TASK:
        place.task = adapter
    else:
        place.languages[name] = adapter
    return adapter


def _add_coupling(model: PreTrainedModel, name: str, form: Form, routing: Routing) -> nn.Module:
    embeddings = embeddings_of(model)
    place = _place(embeddings)
    width = model.get_input_embeddings().weight.shape[1]
    if architecture(model).family == "deberta-v2" and width != model.config.hidden_size:
        raise RecipeError("an invertible adapter where embeddings leave their module in another width",
                          expected="adapt.invertible=false", where="adapt.invertible")  # fmt: skip
    if place is None:
        embeddings.adapters = place = _Place(routing)
        embeddings.register_forward_hook(place.after_embeddings)
    return _into(place, name, Coupling(width, form.reduction, form.activation), model)


def adapter_parameters(added: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """Parameters of an adapter by the names they have in a file: ``layers.0.down.weight``, ``invertible.F.up.bias``."""
    return {f"{place}.{name}": p for place, module in added.items() for name, p in module.named_parameters()}


def before_output(model: PreTrainedModel, states_NE: Tensor, languages_N: Tensor) -> Tensor:
    """What the output table is multiplied with: the states, taken back through the coupling of their language."""
    place = _place(embeddings_of(model))
    if place is None:
        return states_NE
    with spoken_in(languages_N):
        return place.inverse(states_NE)
