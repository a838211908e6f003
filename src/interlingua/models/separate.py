"""Parts of a network that languages do not share: a token table, or its special tokens alone, positions, lowest layers.

For the question of what must be shared for languages to meet (Wu et al. 2020, arXiv 1911.01464; K et al. 2020, arXiv
1912.07840; Dufter and Schuetze 2020, arXiv 2005.00396). In: a BERT or XLM-R, and fresh copies of its lowest parts. Out:
the same network, in which every token goes through the parts of its own language. Decisions: the network itself holds
the parts of one language, so that its checkpoint is a plain one; those of the others lie beside it, and are called by
hooks that ask which language a token is of. For each of them a plain checkpoint is written as well. Prices: a separate
layer is computed once a language present in the batch; where special tokens alone are separate, the output layer has
one set of them, whose members are never predicted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["LanguageParts", "Spoken", "language_parts", "spoken", "spoken_in"]


@dataclass(frozen=True)
class Spoken:
    """What a network is run on.

    Attributes:
        languages: index of every token's language, [B, L] or [N].
        names: tags by index, where the batch says them.
    """

    languages: Tensor
    names: tuple[str, ...] = ()

    @cached_property
    def present(self) -> list[int]:
        """Indices of the languages that there are."""
        found: list[int] = torch.unique(self.languages).tolist()
        return found


_spoken: ContextVar[Spoken | None] = ContextVar("spoken", default=None)


def spoken() -> Spoken | None:
    """The languages of the tokens that a network is run on now."""
    return _spoken.get()


@contextlib.contextmanager
def spoken_in(languages: Tensor, names: tuple[str, ...] = ()) -> Iterator[None]:
    """Every token that a network is run on while the block runs is of these languages, by index."""
    token = _spoken.set(Spoken(languages, names))
    try:
        yield
    finally:
        _spoken.reset(token)


class LanguageParts(nn.Module):
    """The parts of all languages but one.

    Args:
        model: the network; it keeps the parts of language ``own``, and gets hooks.
        others: networks of the same shape, one for each other language, whose parts are taken.
        languages: canonical tags, in stream order.
        own: index of the language whose parts the network itself holds.
        embeddings: token tables are separate; tied output layers then are as well.
        layers: so many lowest layers are separate.
        positions: tables of positions are separate.
        specials: ids of tokens whose vectors alone are separate; where whole tables are, theirs are among them.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        others: Sequence[PreTrainedModel],
        languages: Sequence[str],
        *,
        own: int,
        embeddings: bool = False,
        layers: int = 0,
        positions: bool = False,
        specials: Sequence[int] = (),
    ) -> None:
        super().__init__()
        specials = () if embeddings else specials
        self.languages = tuple(languages)
        self.own = own
        self.indices = [i for i in range(len(languages)) if i != own]
        table: Any = model.get_input_embeddings()
        self.tables = nn.ModuleList(other.get_input_embeddings() for other in others if embeddings)
        stacks = [other.base_model.encoder.layer[:layers] for other in others]
        self.layers = nn.ModuleList(nn.ModuleList(stack[depth] for stack in stacks) for depth in range(layers))
        places = [other.base_model.embeddings.position_embeddings for other in others if positions]
        self.positions = nn.ModuleList(places)
        self.register_buffer("special_ids", torch.tensor(list(specials), dtype=torch.long), persistent=False)
        vectors = [other.get_input_embeddings().weight[list(specials)] for other in others if specials]
        self.specials = nn.ParameterList(nn.Parameter(rows.detach().clone()) for rows in vectors)
        self.tied = bool(getattr(model.config, "tie_word_embeddings", True))
        if embeddings:
            table.register_forward_hook(self._separate(self.tables), with_kwargs=True)
        if specials:
            table.register_forward_hook(self._separate_specials)
        if positions:
            own_places = model.base_model.embeddings.position_embeddings
            own_places.register_forward_hook(self._separate(self.positions), with_kwargs=True)
        for layer, copies in zip(model.base_model.encoder.layer[:layers], self.layers, strict=True):
            layer.register_forward_hook(self._separate(copies), with_kwargs=True)
        # Not a submodule of the network: its checkpoint has the parts of one language.
        object.__setattr__(model, "language_parts", self)

    def _separate(self, copies: Any) -> Any:
        def replaced(_: nn.Module, args: Any, more: Any, output: Any) -> Any:
            now = spoken()
            if now is None:
                return output
            states = output[0] if isinstance(output, tuple) else output
            for index, copy in zip(self.indices, copies, strict=True):
                mine_BL1 = (now.languages == index)[..., None]
                if mine_BL1.any():
                    other = copy(*args, **more)
                    states = torch.where(mine_BL1, other[0] if isinstance(other, tuple) else other, states)
            return (states, *output[1:]) if isinstance(output, tuple) else states

        return replaced

    def _separate_specials(self, _: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        now = spoken()
        if now is None:
            return output
        ids: Tensor = self.special_ids  # type: ignore[assignment]
        places_BL = torch.searchsorted(ids, args[0]).clamp(max=len(ids) - 1)
        special_BL = ids[places_BL] == args[0]
        for index, vectors in zip(self.indices, self.specials, strict=True):
            mine_BL1 = (special_BL & (now.languages == index))[..., None]
            output = torch.where(mine_BL1, nn.functional.embedding(places_BL, vectors).to(output), output)
        return output

    def output_tables(self) -> dict[int, Tensor]:
        """The tied output tables [V, E] by language index; empty where all languages share one."""
        if not self.tied:
            return {}
        return {i: table.weight for i, table in zip(self.indices, self.tables, strict=False)}  # type: ignore[misc]

    @contextlib.contextmanager
    def speaking(self, model: PreTrainedModel, language: str) -> Iterator[None]:
        """The network holds the parts of a language while the block runs."""
        place = self.indices.index(self.languages.index(language))
        base: Any = model.base_model
        pairs = [(base.encoder.layer[depth], copies[place]) for depth, copies in enumerate(self.layers)]  # type: ignore[index]
        if len(self.tables):
            pairs.append((model.get_input_embeddings(), self.tables[place]))
        if len(self.positions):
            pairs.append((base.embeddings.position_embeddings, self.positions[place]))
        own = [a for one, _ in pairs for a in one.parameters()]
        theirs = [b for _, other in pairs for b in other.parameters()]
        table: Any = model.get_input_embeddings().weight

        def swap() -> None:
            for a, b in zip(own, theirs, strict=True):
                a.data, b.data = b.data, a.data
            if len(self.specials):
                rows = table.data[self.special_ids].clone()
                table.data[self.special_ids] = self.specials[place].data
                self.specials[place].data = rows

        swap()
        try:
            yield
        finally:
            swap()


def language_parts(model: PreTrainedModel) -> LanguageParts | None:
    """The separate parts of a network, if it has any."""
    return getattr(model, "language_parts", None)
