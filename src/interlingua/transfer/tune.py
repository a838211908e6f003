"""A task taught once: one encoder, one set of examples, one seed.

In: an encoder, a task, examples. Out: a tuned network. Decisions: tuning is the pretraining loop over a task's batches;
frozen lower layers are run once per example, not once per epoch, as long as their states fit into memory; long runs
save as they go and are taken up again at the step they had reached, which on CPUs gives the same network bit for bit.
Price: a folder of the network's size while such a run goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import RecipeError, RunError
from interlingua.models.dropout import set_dropout
from interlingua.recipe import TrainRecipe
from interlingua.recipe_transfer import TuneRecipe
from interlingua.run import Run, atomic_write
from interlingua.transfer.freezing import share_frozen
from interlingua.transfer.fresh import check_fresh, renewed
from interlingua.transfer.heads import body_and_head, new_head, parameter_groups
from interlingua.transfer.methods import Adapted, adapt, check_method, merged, rate_of
from interlingua.transfer.regularise import Anchor, add_mixout, remove_mixout

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Encoded, Example, Task
    from interlingua.train.loop import Progress
    from interlingua.train.step import BatchSource, Objectives
    from interlingua.transfer.grow import Grown

__all__ = [
    "Best",
    "Tuned",
    "count_learnt",
    "fits_in_memory",
    "forget_checkpoints",
    "pretrained_brakes",
    "train_epochs",
    "tune_once",
]

#: Memory that the states of frozen layers may take; with more, these layers run anew every step.
FROZEN_STATES_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Tuned:
    """A tuned model.

    Attributes:
        model: the network with its head.
        tokenizer: its tokenizer (a text prefix is part of its template).
        task: labels and metric.
        seed: of head, order and dropout.
        frozen_layers: lowest layers that are those of the checkpoint.
        selection: how the epoch was chosen, in words.
        trained_parameters: how many numbers were learnt.
        folder: where it was saved, if it was.
        adapted: the weights that were added to the network, where it was tuned by a method that adds some.
        grown: what every step of a stream left, where each has an adapter of its own.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    task: Task
    seed: int
    frozen_layers: int
    selection: str
    trained_parameters: int = 0
    folder: Path | None = None
    adapted: Adapted | None = None
    grown: Grown | None = None

    def notes(self, examples: Sequence[Example]) -> list[str]:
        """What is to be said of the languages of examples that are scored.

        Raises:
            LanguageError: one without an adapter, which the model is not to do without.
        """
        adapters = self.adapted.bottlenecks if self.adapted else None
        lines = adapters.check(examples) if adapters else []
        return lines + (self.grown.notes(list(dict.fromkeys(e.lang for e in examples))) if self.grown else [])


@dataclass
class Best:
    """The best epoch so far, kept on disk too where the run can be taken up again."""

    score: float = -1.0
    epoch: int = 0
    weights: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write it, in place of the one before."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.weights, folder / f"epoch-{self.epoch}.safetensors")
        atomic_write(folder / "best.json", json.dumps({"score": self.score, "epoch": self.epoch}))
        for old in folder.glob("epoch-*.safetensors"):
            if old.name != f"epoch-{self.epoch}.safetensors":
                old.unlink()

    @classmethod
    def load(cls, folder: Path) -> Best:
        """Read what :meth:`save` wrote, if anything."""
        from safetensors.torch import load_file

        if not (folder / "best.json").is_file():
            return cls()
        facts = json.loads((folder / "best.json").read_text(encoding="utf-8"))
        return cls(facts["score"], facts["epoch"], load_file(folder / f"epoch-{facts['epoch']}.safetensors"))


def tune_once(
    encoder: Encoder,
    task: Task,
    train_examples: Sequence[Example],
    recipe: TuneRecipe,
    *,
    seed: int,
    dev_examples: Sequence[Example] = (),
    on_step: Callable[[Progress], None] | None = None,
    cache: dict[str, list[Encoded]] | None = None,
    run: Run | None = None,
) -> Tuned:
    """Teach the task once.

    Args:
        encoder: where to start from; not changed.
        task: labels and metric.
        train_examples: what is taught.
        recipe: epochs, rates, freezing.
        seed: of head, order and dropout.
        dev_examples: for choosing the epoch, if the recipe asks for it.
        on_step: called after every step.
        cache: kept between seeds: the tokenised training examples (``train``), with the states of the frozen layers.
        run: where a long training saves what it needs to be taken up again (every ``recipe.save_every`` steps); its
            checkpoints are removed when it is done.
    """
    import torch

    from interlingua.models.architectures import architecture
    from interlingua.objectives.mix import Mixture
    from interlingua.tasks.base import TaskStream, add_frozen_states
    from interlingua.train.dist import pick_device

    if not train_examples:
        return _untaught(encoder, task, recipe, seed)
    if recipe.select != "last" and not dev_examples:
        raise RecipeError(f"tune.select = {recipe.select!r} without development examples", where="task.dev",
                          expected="task.dev files, or tune.select=last")  # fmt: skip
    check_method(recipe)
    check_fresh(recipe)
    encoder = renewed(encoder, recipe.fresh, seed=seed)
    model, tokenizer = new_head(encoder, task, seed=seed)
    model.to(pick_device(recipe.device))
    if recipe.dropout is not None:
        set_dropout(model, recipe.dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # added weights begin at random
        adapted = adapt(model, tokenizer, task, recipe, encoder)
    tokenizer, frozen = adapted.tokenizer, adapted.frozen_layers
    if adapted.bottlenecks:
        adapted.bottlenecks.check([*train_examples, *dev_examples])
    share_frozen(model, encoder.model)
    cache = {} if cache is None else cache
    if "train" not in cache:
        cache["train"], _ = task.encode(train_examples, tokenizer, max_length=recipe.max_length)
        if frozen and recipe.epochs > 1 and architecture(model).layered and fits_in_memory(cache["train"], model):
            cache["train"] = add_frozen_states(model.eval(), tokenizer, cache["train"], frozen)
    stream = TaskStream(task, cache["train"], tokenizer, batch_size=recipe.batch_size, seed=seed)
    brakes = pretrained_brakes(model, recipe)
    dev = task.encode(dev_examples, tokenizer, max_length=recipe.max_length)[0] if dev_examples else []
    best = train_epochs(
        [model],
        tokenizer,
        stream,
        Mixture([task, *brakes], [1.0, *(recipe.l2_sp for _ in brakes)], how="sum", seed=seed),
        recipe,
        groups=parameter_groups(model, recipe, rate_of(recipe)),
        learns={name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad},
        steps_an_epoch=stream.steps_an_epoch,
        judge=lambda: task.score(task.predict(model, dev, tokenizer), dev)[task.metric],
        seed=seed,
        on_step=on_step,
        run=run,
    )
    selection = f"last of {recipe.epochs} epochs, nothing selected"
    if best.epoch:
        which = "the source's" if recipe.select == "source-dev" else "the target languages'"
        selection = f"epoch {best.epoch} of {recipe.epochs}, best {task.metric} on {which} development examples"
    remove_mixout(model)
    learnt = count_learnt(model)
    if recipe.merge:
        model, tokenizer = merged(adapted), adapted.own_tokenizer
    layers = frozen if architecture(model).layered else 0
    task = task.settled(model.eval(), tokenizer)
    return Tuned(model, tokenizer, task, seed, layers, selection, learnt, adapted=None if recipe.merge else adapted)


def _untaught(encoder: Encoder, task: Task, recipe: TuneRecipe, seed: int) -> Tuned:
    """A task whose network was pretrained for it, as it is."""
    from interlingua.train.dist import pick_device

    if not task.pretrained_head:
        raise RecipeError(
            f"a task of type {task.kind!r} with no example to teach it",
            expected="task.train with examples, and task.shots of at least 1 or left out",
            where="task.shots",
            next_step="task.type=cloze asks a masked language model without teaching it",
        )
    model, tokenizer = new_head(encoder, task, seed=seed)
    share_frozen(model.requires_grad_(False), encoder.model)
    model.to(pick_device(recipe.device))
    task.encode([], tokenizer, max_length=recipe.max_length)
    return Tuned(model.eval(), tokenizer, task.settled(model, tokenizer), seed, 0, "nothing taught, nothing selected")


def train_epochs(
    models: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    source: BatchSource,
    objectives: Objectives,
    recipe: TuneRecipe,
    *,
    groups: list[tuple[list[tuple[str, nn.Parameter]], float]],
    learns: Mapping[str, nn.Parameter],
    steps_an_epoch: int,
    judge: Callable[[], float],
    seed: int,
    on_step: Callable[[Progress], None] | None = None,
    run: Run | None = None,
) -> Best:
    """Run the loop over some epochs, and leave the network as the recipe selects it.

    Args:
        models: the network that the loop is about, and others that learn with it.
        tokenizer: saved beside it in checkpoints.
        source: gives batch t.
        objectives: say what step t learns.
        recipe: rates, epochs, selection, saving.
        groups: named parameters with their peak rates.
        learns: parameters that are taken back to the best epoch, by a name.
        steps_an_epoch: after how many steps the network is judged.
        judge: its score, higher is better; asked only if the recipe selects.
        seed: of dropout.
        on_step: called after every step.
        run: where a training longer than ``recipe.save_every`` steps saves what it needs to be taken up again.

    Returns:
        The epoch that was kept; number 0 if nothing was selected.

    Raises:
        RunError: stopped by SIGTERM; what was learnt is saved.
    """
    import torch

    from interlingua.train.loop import train
    from interlingua.train.optim import build_optimizer

    steps = recipe.epochs * steps_an_epoch
    # A training of a few minutes is repeated sooner than its checkpoint is written and read.
    saved = run if steps > recipe.save_every else None
    best = Best.load(saved.folder / "best") if saved else Best()

    def step_done(progress: Progress) -> None:
        if on_step:
            on_step(progress)
        if recipe.select == "last" or progress.step % steps_an_epoch:
            return
        for model in models:
            model.eval()
        score = judge()
        if score > best.score:
            best.score, best.epoch = score, progress.step // steps_an_epoch
            best.weights = {name: parameter.detach().clone() for name, parameter in learns.items()}
            if saved:
                best.save(saved.folder / "best")
        for model in models:
            model.train()

    ended = train(
        models[0],
        tokenizer,
        source,
        objectives,
        TrainRecipe(
            steps=steps,
            lr=rate_of(recipe),
            warmup=recipe.warmup,
            weight_decay=recipe.weight_decay,
            device=recipe.device,
            threads=recipe.threads,
            save_every=recipe.save_every,
            precision="fp32" if models[0].device.type == "cpu" else "auto",
        ),
        seed=seed,
        optimizer=build_optimizer(groups, weight_decay=recipe.weight_decay, betas=(0.9, 0.999)),
        on_step=step_done,
        run=saved,
    )
    if ended.reason == "stopped":
        raise RunError(
            f"the tuning was stopped at step {ended.step:,} of {steps:,}",
            expected="a training to its end, before anything is saved as tuned or scored",
            where=str(saved.folder) if saved else "",
            next_step="the same command goes on from there",
        )
    with torch.no_grad():
        for name, weight in best.weights.items():
            learns[name].copy_(weight)
    return best


def count_learnt(model: PreTrainedModel) -> int:
    """How many numbers of a network learn."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def pretrained_brakes(model: PreTrainedModel, recipe: TuneRecipe) -> list[Anchor]:
    """What keeps the network near its pretrained weights: penalties to add to the loss, and mixout in place."""
    if not recipe.l2_sp and not recipe.mixout:
        return []
    body = set(body_and_head(model)[0])
    start = {n: p.detach().clone() for n, p in model.named_parameters() if n in body and p.requires_grad}
    if recipe.mixout:
        add_mixout(model, start, recipe.mixout)
    return [Anchor(start)] if recipe.l2_sp else []


def fits_in_memory(examples: Sequence[Encoded], model: PreTrainedModel) -> bool:
    """Whether the states of some examples, as frozen layers leave them, may be kept."""
    tokens = sum(len(e.tokens) for e in examples)
    return bool(tokens * model.config.hidden_size * 4 <= FROZEN_STATES_BYTES)


def forget_checkpoints(run: Run) -> None:
    """Remove what only a training that was cut off would need."""
    for folder in (run.checkpoints, run.folder / "best"):
        shutil.rmtree(folder, ignore_errors=True)
