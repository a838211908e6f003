"""Ways to tune: which weights of a network learn, and in what they are saved.

In: a network with a fresh head, and a recipe's ``method``. Out: :class:`Adapted`: the network made ready (some weights
switched off, some added), the tokenizer it is taught with, and for methods of ``peft`` the ``PeftModel`` around it.

    full     everything that ``freeze`` leaves
    bitfit   biases (Ben Zaken et al. 2022, arXiv 2106.10199)
    lora     low-rank updates of every matrix in the layers (Hu et al. 2022, arXiv 2106.09685)
    ia3      scales of keys, values and the feed-forward blocks (Liu et al. 2022, arXiv 2205.05638)
    prompt   vectors among the embeddings (Lester et al. 2021, arXiv 2104.08691)
    prefix   keys and values in every layer (Li and Liang 2021, arXiv 2101.00190)
    adapter  a bottleneck behind every layer; madx: behind those of languages (:mod:`interlingua.transfer.bottlenecks`)

Decisions: a new head always learns and is always saved; ``freeze`` keeps its meaning (no low-rank updates, scales,
biases or adapters below it); the network itself runs in our batches and ``peft`` only holds the added weights, so that
its folder opens in plain ``peft``. Price: a class that ``peft`` cannot wrap cannot be tuned so.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import MissingExtraError, RecipeError
from interlingua.models.architectures import architecture
from interlingua.recipe_transfer import TuneRecipe
from interlingua.transfer.bottlenecks import ADAPTER_METHODS, Bottlenecks, adapted_by, write_bottlenecks
from interlingua.transfer.freezing import freeze
from interlingua.transfer.heads import has_pretrained_head

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Task

__all__ = [
    "PEFT_METHODS",
    "Adapted",
    "adapt",
    "attach",
    "check_method",
    "head_modules",
    "merged",
    "rate_of",
    "write_added",
]

#: Methods whose folder is peft's.
PEFT_METHODS = ("lora", "ia3", "prompt", "prefix")
#: Methods after which there is a plain network: those that learn its own weights, and those whose updates merge.
MERGED = ("full", "bitfit", "lora", "ia3")
#: Methods that do not go with a masked LM's own head: ``peft`` has no virtual tokens for it, and what couplings of
#: languages do to the embeddings is not undone before its output table while a task is taught.
NOT_MASKED = ("prompt", "prefix", "madx")
#: Peak learning rate by method, where the recipe has none. The fewer weights learn, the higher.
RATES = {
    "full": 5e-5, "bitfit": 5e-4, "lora": 5e-4, "ia3": 5e-3, "prompt": 1e-2, "prefix": 1e-2,
    "adapter": 5e-4, "madx": 5e-4,
}  # fmt: skip
#: What ia3 scales in a layer, by family: keys, values, and what goes into the feed-forward block's last matrix.
_IA3 = {
    **dict.fromkeys(("bert", "xlm-roberta", "electra"), ("attention.self.key", "attention.self.value", "output.dense")),
    "deberta-v2": ("attention.self.key_proj", "attention.self.value_proj", "output.dense"),
    "distilbert": ("attention.k_lin", "attention.v_lin", "ffn.lin2"),
    "eurobert": ("self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj"),
}
_TASK_TYPES = {
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForTokenClassification": "TOKEN_CLS",
    "AutoModelForQuestionAnswering": "QUESTION_ANS",
}


def rate_of(recipe: TuneRecipe) -> float:
    """Peak learning rate of the network: the recipe's, or else the method's own."""
    return recipe.lr or RATES[recipe.method]


@dataclass(frozen=True)
class Adapted:
    """A network ready to learn by some method.

    Attributes:
        model: the network with its head.
        tokenizer: what it is taught with: the task's, with a prompt before every text where the method has one.
        own_tokenizer: the task's, which is saved.
        method: name.
        frozen_layers: lowest layers that are those of the checkpoint.
        peft: the ``PeftModel`` that holds the added weights, or None.
        bottlenecks: the adapters, where there are some.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    own_tokenizer: PreTrainedTokenizerBase
    method: str
    frozen_layers: int
    peft: Any = None
    bottlenecks: Bottlenecks | None = None

    @property
    def alone(self) -> bool:
        """Whether a folder holds the added weights alone, without those of the encoder."""
        return self.peft is not None or self.bottlenecks is not None


def adapt(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: Task, recipe: TuneRecipe, encoder: Encoder
) -> Adapted:
    """Make a network with a fresh head ready for a method, in place.

    Args:
        model: the network.
        tokenizer: the task's.
        task: what is taught.
        recipe: method, and what is frozen.
        encoder: what the network is made from.

    Raises:
        RecipeError: a method that the class does not bear.
        MissingExtraError: ``peft`` is not installed.
    """
    below = freeze(model, recipe.freeze)
    if recipe.method == "full":
        return Adapted(model, tokenizer, tokenizer, recipe.method, below)
    head = {id(p) for name in head_modules(model) for p in model.get_submodule(name).parameters()}
    if recipe.method == "bitfit":
        for name, parameter in model.named_parameters():
            inside = parameter.requires_grad and not name.startswith(tuple(pooling_modules(model)))
            learns = id(parameter) in head or (inside and name.endswith("bias"))
            parameter.requires_grad_(learns)
        return Adapted(model, tokenizer, tokenizer, recipe.method, below)
    if recipe.method in NOT_MASKED and has_pretrained_head(model):
        raise RecipeError(
            f"tune.method = {recipe.method!r} for a {type(model).__name__}",
            expected=f"one of {', '.join(method for method in RATES if method not in NOT_MASKED)}",
            where="tune.method",
        )
    if recipe.method in ADAPTER_METHODS:
        new = [*head_modules(model), *pooling_modules(model)]
        for name in pooling_modules(model):
            model.get_submodule(name).requires_grad_(False)
        adapters = adapted_by(model, recipe, below, new, encoder)
        # The states of frozen layers can be kept only where no adapter of a language stands in them.
        frozen = 0 if adapters.languages else below
        return Adapted(model, tokenizer, tokenizer, recipe.method, frozen, bottlenecks=adapters)
    config = _CONFIGS[recipe.method](model, recipe, below)
    config.task_type = _TASK_TYPES.get(task.auto)
    config.modules_to_save = [*head_modules(model), *pooling_modules(model)] or None
    config.base_model_name_or_path = model.config.name_or_path
    return _wrapped(model, tokenizer, config, recipe.method, below if recipe.method in {"lora", "ia3"} else 0)


def attach(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str, method: str) -> Adapted:
    """Put the weights that a folder of ``peft`` holds onto a network with a head, in place."""
    from peft import PeftModel

    with _quiet():
        wrapped = PeftModel.from_pretrained(model, folder)
    return _adapted(wrapped, tokenizer, method, 0)


def _wrapped(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: Any, method: str, below: int
) -> Adapted:
    from peft import get_peft_model

    pooling = pooling_modules(model)
    with _quiet():
        wrapped = get_peft_model(model, config)
    for name in pooling:  # saved, since the encoder alone does not have it, but there is nothing to learn in it
        wrapped.get_base_model().get_submodule(name).requires_grad_(False)
    return _adapted(wrapped, tokenizer, method, below)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without peft's use of names that transformers is about to give up: no concern of ours or the user's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


def _adapted(wrapped: Any, tokenizer: PreTrainedTokenizerBase, method: str, below: int) -> Adapted:
    from interlingua.models.prompts import with_prefix_states, with_virtual_tokens

    model, own = wrapped.get_base_model(), tokenizer
    if method == "prompt":
        tokenizer = with_virtual_tokens(model, own, wrapped.prompt_encoder["default"].embedding)
    elif method == "prefix":
        with_prefix_states(model, wrapped.prompt_encoder["default"].embedding)
    return Adapted(model, tokenizer, own, method, below, wrapped)


def write_added(folder: Path, adapted: Adapted) -> None:
    """Write the added weights, with tokenizer and configuration of the whole network beside."""
    if adapted.bottlenecks is not None:
        write_bottlenecks(folder, adapted.model, adapted.bottlenecks)
    else:
        adapted.peft.save_pretrained(folder)
    adapted.model.config.save_pretrained(folder)
    adapted.own_tokenizer.save_pretrained(folder)


def merged(adapted: Adapted) -> PreTrainedModel:
    """The network with its updates added to its own weights, as plain ``transformers`` has it (lora, ia3)."""
    if adapted.peft is None:
        return adapted.model
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    # peft's own merge_and_unload knows no heads of several modules.
    model = adapted.model
    for name, module in list(model.named_modules()):
        parent, _, own = name.rpartition(".")
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)  # into a copy: frozen weights are shared with the encoder
            model.get_submodule(parent)._modules[own] = module.get_base_layer()
        elif isinstance(module, ModulesToSaveWrapper):
            model.get_submodule(parent)._modules[own] = module.modules_to_save["default"]
    return model.requires_grad_(True)


def pooling_modules(model: PreTrainedModel) -> list[str]:
    """Name of the layer that was added to an encoder for mean pooling, if one was."""
    from interlingua.models.pooling import added_layer

    return [f"{model.base_model_prefix}.{name}" for name in [added_layer(model)] if name]


def head_modules(model: PreTrainedModel) -> list[str]:
    """Names of the modules that are new with the task: those outside the pretrained network, and poolers."""
    if has_pretrained_head(model):
        return []
    base = model.base_model
    names = [
        name for name, child in model.named_children() if child is not base and any(True for _ in child.parameters())
    ]
    inside = [name for name, _ in base.named_modules() if name == "pooler"]
    return names + [f"{model.base_model_prefix}.{name}" for name in inside]


def _matrices(model: PreTrainedModel, below: int) -> Iterator[tuple[str, str]]:
    """(full name, name in its layer) of every linear map in the layers above the frozen ones."""
    from torch import nn

    names = {id(module): name for name, module in model.named_modules()}
    new = (*head_modules(model), *pooling_modules(model))
    above = [module for modules in architecture(model).stack(model.base_model)[1][below:] for module in modules]
    for module in dict.fromkeys(above):  # layers may be one and the same
        for name, inner in module.named_modules():
            whole = names[id(inner)]
            if isinstance(inner, nn.Linear) and not whole.startswith(new):
                yield whole, name


def _lora(model: PreTrainedModel, recipe: TuneRecipe, below: int) -> Any:
    from peft import LoraConfig

    targets = [whole for whole, _ in _matrices(model, below)]
    if not targets:
        raise RecipeError(
            f"tune.method = 'lora' for a {architecture(model).family} with tune.freeze = {recipe.freeze!r}",
            expected="linear maps in layers that are not frozen",
            where="tune.freeze",
        )
    return LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=0.0, target_modules=targets)


def _ia3(model: PreTrainedModel, recipe: TuneRecipe, below: int) -> Any:
    from peft import IA3Config

    family = architecture(model).family
    if family not in _IA3:
        raise RecipeError(
            f"tune.method = 'ia3' for a {family}",
            expected=f"one of {', '.join(sorted(_IA3))}",
            where="tune.method",
            next_step="use tune.method=lora, which every class with linear maps bears",
        )
    *_, last = _IA3[family]
    chosen = [(whole, name) for whole, name in _matrices(model, below) if name in _IA3[family]]
    return IA3Config(
        target_modules=[whole for whole, _ in chosen],
        feedforward_modules=[whole for whole, name in chosen if name == last],
    )


def _prompt(model: PreTrainedModel, recipe: TuneRecipe, below: int) -> Any:
    from peft import PromptTuningConfig

    return PromptTuningConfig(**_virtual(model, recipe))


def _prefix(model: PreTrainedModel, recipe: TuneRecipe, below: int) -> Any:
    from peft import PrefixTuningConfig

    return PrefixTuningConfig(**_virtual(model, recipe))


def _virtual(model: PreTrainedModel, recipe: TuneRecipe) -> dict[str, Any]:
    positions = int(getattr(model.config, "max_position_embeddings", 0) or 0)
    if 0 < positions < recipe.max_length + recipe.prompt_tokens:
        raise RecipeError(
            f"{recipe.prompt_tokens} virtual tokens before texts of {recipe.max_length} in a network with {positions} "
            "positions",
            expected=f"tune.max_length of at most {positions - recipe.prompt_tokens}",
            where="tune.max_length",
        )
    table: nn.Embedding = model.get_input_embeddings()
    config = model.config
    return {
        "num_virtual_tokens": recipe.prompt_tokens,
        "token_dim": table.embedding_dim if recipe.method == "prompt" else config.hidden_size,
        "num_transformer_submodules": 1,
        "num_attention_heads": config.num_attention_heads,
        "num_layers": config.num_hidden_layers,
    }


_CONFIGS: dict[str, Callable[[PreTrainedModel, TuneRecipe, int], Any]] = {
    "lora": _lora, "ia3": _ia3, "prompt": _prompt, "prefix": _prefix,
}  # fmt: skip


def check_method(recipe: TuneRecipe) -> None:
    """Refuse what cannot be done, before anything is computed.

    Raises:
        MissingExtraError: ``peft`` is needed and not there.
        RecipeError: weights that are to be merged and cannot be.
    """
    import importlib.util

    method = recipe.method
    if recipe.merge and method not in MERGED:
        raise RecipeError(f"tune.merge for method {method!r}", expected="lora or ia3, which update the weights",
                          where="tune.merge", next_step="tune.merge=false")  # fmt: skip
    if method in PEFT_METHODS and importlib.util.find_spec("peft") is None:
        raise MissingExtraError(
            f"tune.method = {method!r} without the library peft", next_step="pip install 'interlingua[peft]'"
        )
