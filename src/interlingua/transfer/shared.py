"""Several heads on one body.

In: an encoder and tasks. Out: a network for each task, in the class that plain ``transformers`` has for it, whose
parameters below the head are one and the same tensors. Decisions: every network is whole, so each is saved, opened and
evaluated like one that was taught alone; what belongs to a head is what is new with the task (a pooler and the layer
added for mean pooling too). Price: the body stands on the disk once a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from interlingua.errors import RecipeError
from interlingua.models.dropout import set_dropout
from interlingua.recipe_transfer import TaskRecipe, TuneRecipe
from interlingua.transfer.freezing import share_frozen
from interlingua.transfer.heads import new_head
from interlingua.transfer.methods import Adapted, adapt, head_modules, pooling_modules
from interlingua.transfer.tune import Tuned, count_learnt, fits_in_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Encoded, Task
    from interlingua.transfer.grow import Grown

__all__ = ["Headed", "check_tasks", "check_tuning", "common_names", "new_heads", "opened_heads"]

#: Ways to tune that only choose among the network's own weights, which heads can share.
METHODS = ("full", "bitfit")


@dataclass(frozen=True)
class Headed:
    """A task with its network.

    Attributes:
        task: labels and metric.
        model: body and head; the body's parameters are those of the other tasks' networks.
        tokenizer: the task's.
        frozen_layers: lowest layers that are those of the checkpoint.
        adapted: the weights that were added to it, where there are some; they are no other task's.
    """

    task: Task
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    frozen_layers: int
    adapted: Adapted | None = None

    def tuned(self, seed: int, selection: str, grown: Grown | None = None) -> Tuned:
        """The network as one that was taught alone."""
        task = self.task.settled(self.model.eval(), self.tokenizer)
        return Tuned(
            self.model, self.tokenizer, task, seed, self.frozen_layers, selection, count_learnt(self.model),
            adapted=self.adapted, grown=grown,
        )  # fmt: skip

    def with_states(self, examples: Sequence[Encoded]) -> list[Encoded]:
        """Examples with the states of the frozen layers, where there are such and the states fit into memory."""
        from interlingua.models.architectures import architecture
        from interlingua.tasks.base import add_frozen_states

        kept = bool(self.frozen_layers) and architecture(self.model).layered and bool(examples)
        if not kept or not fits_in_memory(examples, self.model):
            return list(examples)
        return add_frozen_states(self.model.eval(), self.tokenizer, examples, self.frozen_layers)


def check_tasks(recipes: Sequence[TaskRecipe]) -> None:
    """Refuse tasks that have no files, or take few shots, or whose names cannot be those of folders.

    Raises:
        RecipeError: as said.
    """
    if not recipes:
        raise RecipeError("no tasks", expected="tasks: [{type, name, train, ...}]", where="tasks")
    names = [recipe.name for recipe in recipes]
    for place, (name, recipe) in enumerate(zip(names, recipes, strict=True)):
        where = f"tasks.{place}"
        if not name.replace("-", "").replace("_", "").isalnum() or name == "training" or names.index(name) != place:
            raise RecipeError(
                f"a task named {name!r}",
                expected="a name of letters, digits, - and _, for each task another, and not 'training'",
                where=f"{where}.name",
            )
        if not recipe.train:
            raise RecipeError("a task without training files", expected="train: [{path, lang}]", where=f"{where}.train")
        if recipe.shots is not None:
            raise RecipeError(f"shots = {recipe.shots} in one of several tasks", expected="no shots: all examples",
                              where=f"{where}.shots", next_step="limit: N of a file takes N of its rows")  # fmt: skip


def check_tuning(recipe: TuneRecipe, methods: Sequence[str] = METHODS) -> None:
    """Refuse ways to tune under which heads cannot share a body.

    Args:
        recipe: how every task is taught.
        methods: those that can be.

    Raises:
        RecipeError: as said.
    """
    if recipe.method not in methods:
        raise RecipeError(
            f"tune.method = {recipe.method!r} for heads that share a body",
            expected=f"one of {', '.join(methods)}",
            where="tune.method",
        )
    if recipe.fresh != "none":
        raise RecipeError(f"tune.fresh = {recipe.fresh!r} for heads that share a body", expected="tune.fresh=none",
                          where="tune.fresh")  # fmt: skip
    if recipe.mixout:
        raise RecipeError("mixout for heads that share a body", expected="tune.mixout=0", where="tune.mixout")


def new_heads(encoder: Encoder, tasks: Sequence[Task], recipe: TuneRecipe, *, seed: int) -> list[Headed]:
    """A network a task, all on one body, ready to be tuned.

    Args:
        encoder: where to start from; not changed.
        tasks: one head each.
        recipe: what is frozen, and dropout.
        seed: of the heads.
    """
    import torch

    found: list[Headed] = []
    for task in tasks:
        model, tokenizer = new_head(encoder, task, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # added weights begin at random
            found.append(_ready(model, tokenizer, task, recipe, encoder, found))
        share_frozen(model, encoder.model)
    return _as_deep(found)


def opened_heads(tuned: Sequence[Tuned], encoder: Encoder, recipe: TuneRecipe) -> list[Headed]:
    """Networks that were saved one by one, on one body again."""
    found: list[Headed] = []
    for one in tuned:
        found.append(_ready(one.model, one.tokenizer, one.task, recipe, encoder, found))
        share_frozen(one.model, encoder.model)
    return _as_deep(found)


def _as_deep(heads: Sequence[Headed]) -> list[Headed]:
    """States are kept as deep as all networks have them: a layer that one head added is no other's."""
    return [replace(headed, frozen_layers=min(one.frozen_layers for one in heads)) for headed in heads]


def _ready(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    recipe: TuneRecipe,
    encoder: Encoder,
    others: Sequence[Headed],
) -> Headed:
    from interlingua.train.dist import pick_device

    model.to(pick_device(recipe.device))
    if recipe.dropout is not None:
        set_dropout(model, recipe.dropout)
    adapted = adapt(model, tokenizer, task, recipe, encoder)
    if others and not adapted.alone:  # the body of a network with added weights is the encoder's anyway
        _share_body(others[0].model, model)
    return Headed(task, model, tokenizer, adapted.frozen_layers, adapted if adapted.alone else None)


def _body_names(model: PreTrainedModel) -> dict[str, str]:
    """Names of the body's parameters in the network -> in the body."""
    new = tuple(f"{name}." for name in (*head_modules(model), *pooling_modules(model)))
    inside = {id(p): name for name, p in model.base_model.named_parameters()}
    return {
        name: inside[id(p)]
        for name, p in model.named_parameters()
        if id(p) in inside and not name.startswith(new)
    }  # fmt: skip


def _share_body(reference: PreTrainedModel, model: PreTrainedModel) -> None:
    """Put the body's parameters of one network into another, in place."""
    theirs = {body: reference.get_parameter(name) for name, body in _body_names(reference).items()}
    for name, body in _body_names(model).items():
        module, _, own = name.rpartition(".")
        model.get_submodule(module)._parameters[own] = theirs[body]
    model.tie_weights()  # a head over the vocabulary goes by the table that is now the body's


def common_names(headed: Headed) -> dict[str, str]:
    """Names that mean the same in all networks of a body, by the network's own: ``body/NAME`` and ``TASK/NAME``."""
    body = _body_names(headed.model)
    return {
        name: f"body/{body[name]}" if name in body else f"{headed.task.name}/{name}"
        for name, _ in headed.model.named_parameters()
    }
