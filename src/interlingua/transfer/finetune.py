"""A task taught in its source language(s).

In: a checkpoint and labelled examples. Out: one tuned model a seed, each a folder that plain
``AutoModelForSequenceClassification`` / ``AutoModelForTokenClassification`` opens. Decisions: tuning is the pretraining
loop over a task's batches; frozen lower layers are run once per example, not once per epoch; sentence encoders keep
their mean pooling (by one added layer, see :mod:`interlingua.models.pooling`) and their text prefix (in the
tokenizer's template), so that nothing of ours is needed to use the result.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlingua.errors import LabelError, RecipeError
from interlingua.recipe import FinetuneRecipe, LabelledFile, TaskRecipe, TrainRecipe, TuneRecipe
from interlingua.recipe_file import to_yaml
from interlingua.run import Run, atomic_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.models.encoder import Encoder
    from interlingua.tasks.base import Encoded
    from interlingua.tasks.classify import Classify, TextExample
    from interlingua.tasks.tag import Tag, TaggedSentence
    from interlingua.train.loop import Progress

    AnyTask = Classify | Tag
    AnyExample = TextExample | TaggedSentence

__all__ = ["Tuned", "build_task", "finetune", "freeze", "new_head", "read_examples", "task_tokenizer", "tune_once"]


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
        folder: where it was saved, if it was.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    task: AnyTask
    seed: int
    frozen_layers: int
    selection: str
    folder: Path | None = None


@dataclass
class _Best:
    score: float = -1.0
    epoch: int = 0
    weights: dict[str, Any] = field(default_factory=dict)


def read_examples(recipe: TaskRecipe, files: Sequence[LabelledFile]) -> list[AnyExample]:
    """All examples of some files of a task.

    Raises:
        DataError: missing, empty or uneven files.
        RecipeError: a tag file without a language.
    """
    from interlingua.data import resolve
    from interlingua.tasks import read_tagged_sentences, read_text_examples

    examples: list[AnyExample] = []
    for file in files:
        path = resolve(file.path)
        if recipe.type == "tag":
            if not file.lang:
                raise RecipeError(f"a tagged file without a language: {str(file.path)!r}", where="task",
                                  expected="lang: beside path:")  # fmt: skip
            examples += read_tagged_sentences(path, lang=file.lang)
        else:
            examples += read_text_examples(
                path,
                lang=file.lang,
                split=file.split,
                text=recipe.text,
                text_pair=recipe.text_pair,
                label=recipe.label,
            )
    return examples


def build_task(recipe: TaskRecipe, train: Sequence[AnyExample]) -> AnyTask:
    """The task over the labels of its training examples.

    Raises:
        LabelError: fewer than two labels.
    """
    from interlingua.tasks import Classify, Tag, TaggedSentence

    labels = {t for e in train for t in (e.tags if isinstance(e, TaggedSentence) else (e.label,))}
    if len(labels) < 2:
        raise LabelError(
            f"{len(labels)} label(s) in the training examples: {sorted(labels)}",
            expected="at least two",
            where="task.train",
            next_step="check task.label, the name of the label column",
        )
    if recipe.type == "tag":
        metric = recipe.metric or ("span_f1" if recipe.tags == "iob2" else "accuracy")
        return Tag(sorted(labels), name=recipe.name, metric=metric)
    return Classify(sorted(labels), name=recipe.name, metric=recipe.metric or "accuracy")


def _with_prefix(tokenizer: PreTrainedTokenizerBase, prefix: str) -> PreTrainedTokenizerBase:
    """A tokenizer whose template puts the prefix's tokens before every text by itself."""
    from tokenizers.processors import TemplateProcessing

    if not prefix:
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    pieces = tokenizer.tokenize(prefix.strip())
    first, last = tokenizer.cls_token, tokenizer.sep_token
    # One named entry stands for all tokens of the prefix; a template cannot spell tokens such as ":" itself.
    entries = [(t, tokenizer.convert_tokens_to_ids(t)) for t in (first, last)]
    named = {"id": "[PREFIX]", "ids": tokenizer.convert_tokens_to_ids(pieces), "tokens": pieces}
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} [PREFIX] $A {last}",
        pair=f"{first} [PREFIX] $A {last} {last} $B {last}",
        special_tokens=[*entries, named],
    )
    return tokenizer


def new_head(encoder: Encoder, task: AnyTask, *, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder's network with a fresh head for the task, in the class plain ``transformers`` has for it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    from interlingua.models.attention import architecture
    from interlingua.models.pooling import add_mean_layer
    from interlingua.tasks import Tag

    per_token = isinstance(task, Tag)
    auto = AutoModelForTokenClassification if per_token else AutoModelForSequenceClassification
    config = copy.deepcopy(encoder.model.config)
    config.num_labels = len(task.labels)
    config.id2label = dict(enumerate(task.labels))
    config.label2id = {label: i for i, label in enumerate(task.labels)}
    sentence_encoder = bool(encoder.prefix) or getattr(config, "interlingua_pooling", "") == "mean"
    if architecture(encoder.model).family == "modernbert" and not per_token:
        config.classifier_pooling = "mean"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = auto.from_config(config)
        body = encoder.model.base_model.state_dict()
        model.base_model.load_state_dict(body, strict=False)
        if sentence_encoder and not per_token and architecture(model).layered:
            add_mean_layer(model)
            _open_pooler(model)
    model.config.interlingua_prefix = ""
    return model, task_tokenizer(encoder, task)


def task_tokenizer(encoder: Encoder, task: AnyTask) -> PreTrainedTokenizerBase:
    """The tokenizer a task is taught with: for texts, one that puts the encoder's prefix before each by itself."""
    from interlingua.tasks import Tag

    return encoder.tokenizer if isinstance(task, Tag) else _with_prefix(encoder.tokenizer, encoder.prefix)


def _open_pooler(model: PreTrainedModel) -> None:
    """Start the head's tanh layer as nearly the identity: pooled states carry their meaning already."""
    import torch

    head = getattr(model.base_model, "pooler", None) or model.classifier
    with torch.no_grad():
        head.dense.weight.copy_(0.5 * torch.eye(model.config.hidden_size))
        head.dense.bias.zero_()


def freeze(model: PreTrainedModel, what: str | int) -> int:
    """Switch gradients off.

    Args:
        model: network with head.
        what: ``none``, ``embeddings``, a number of lowest layers (embeddings included), or ``all`` (but the head).

    Returns:
        How many lowest layers are frozen, embeddings counting none.

    Raises:
        RecipeError: more layers than there are, or layers that share weights with those above them.
    """
    from interlingua.models.architectures import architecture

    if what == "none":
        return 0
    embeddings, layers = architecture(model).stack(model.base_model)
    count = {"embeddings": 0, "all": len(layers)}.get(str(what), what)
    count = int(count)
    if not 0 <= count <= len(layers):
        raise RecipeError(f"freeze = {what!r}", expected=f"at most {len(layers)} layers", where="tune.freeze")
    frozen, above = (
        {id(p): p for modules in part for module in modules for p in module.parameters()}
        for part in (layers[:count], layers[count:])
    )
    if frozen.keys() & above.keys():
        raise RecipeError(
            f"freeze = {what!r} in a network whose layers share weights",
            expected=f"none, embeddings or all {len(layers)} layers, or as many as share among themselves",
            where="tune.freeze",
        )
    for parameter in frozen.values():
        parameter.requires_grad_(False)
    for module in embeddings:
        for parameter in module.parameters():
            parameter.requires_grad_(False)
    return count


def share_frozen(model: PreTrainedModel, reference: PreTrainedModel) -> None:
    """Let a tuned network use the tensors of the checkpoint wherever the two are equal.

    Three seeds of an encoder with a table of 250,000 entries then take the memory of little more than one.
    """
    import torch

    theirs = dict(reference.base_model.named_parameters())
    for name, parameter in model.base_model.named_parameters():
        other = theirs.get(name)
        if other is not None and not parameter.requires_grad and torch.equal(parameter, other):
            parameter.data = other.data


def tune_once(
    encoder: Encoder,
    task: AnyTask,
    train_examples: Sequence[AnyExample],
    recipe: TuneRecipe,
    *,
    seed: int,
    dev_examples: Sequence[AnyExample] = (),
    on_step: Callable[[Progress], None] | None = None,
    cache: dict[str, list[Encoded]] | None = None,
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
    """
    import torch

    from interlingua.models.attention import architecture
    from interlingua.objectives.mix import Mixture
    from interlingua.tasks.base import TaskStream, add_frozen_states
    from interlingua.train.dist import pick_device
    from interlingua.train.loop import train
    from interlingua.train.optim import build_optimizer

    if recipe.select != "last" and not dev_examples:
        raise RecipeError(f"tune.select = {recipe.select!r} without development examples", where="task.dev",
                          expected="task.dev files, or tune.select=last")  # fmt: skip
    model, tokenizer = new_head(encoder, task, seed=seed)
    model.to(pick_device(recipe.device))
    if recipe.dropout is not None:
        _set_dropout(model, recipe.dropout)
    frozen = freeze(model, recipe.freeze)
    share_frozen(model, encoder.model)
    cache = {} if cache is None else cache
    if "train" not in cache:
        cache["train"], _ = task.encode(train_examples, tokenizer, max_length=recipe.max_length)  # type: ignore[arg-type]
        if frozen and architecture(model).layered:
            cache["train"] = add_frozen_states(model.eval(), tokenizer, cache["train"], frozen)
    stream = TaskStream(cache["train"], tokenizer, batch_size=recipe.batch_size, seed=seed, per_token=task.per_token)
    steps = recipe.epochs * stream.steps_an_epoch
    base = {id(p) for p in model.base_model.parameters()}
    named = list(model.named_parameters())
    pooler = {n for n, _ in named if ".pooler." in n}
    body = [(n, p) for n, p in named if id(p) in base and n not in pooler]
    head = [(n, p) for n, p in named if id(p) not in base or n in pooler]
    optimizer = build_optimizer(
        [(body, recipe.lr), (head, recipe.head_lr or recipe.lr)],
        weight_decay=recipe.weight_decay,
        betas=(0.9, 0.999),
    )
    best = _Best()
    dev = task.encode(dev_examples, tokenizer, max_length=recipe.max_length)[0] if dev_examples else []  # type: ignore[arg-type]

    def step_done(progress: Progress) -> None:
        if on_step:
            on_step(progress)
        if recipe.select != "last" and progress.step % stream.steps_an_epoch == 0:
            model.eval()
            score = task.score(task.predict(model, dev, tokenizer), dev)[task.metric]  # type: ignore[arg-type]
            if score > best.score:
                best.score, best.epoch = score, progress.step // stream.steps_an_epoch
                best.weights = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
            model.train()

    train(
        model,
        tokenizer,
        stream,
        Mixture([task], [1.0], how="sum", seed=seed),
        TrainRecipe(
            steps=steps,
            lr=recipe.lr,
            warmup=recipe.warmup,
            weight_decay=recipe.weight_decay,
            device=recipe.device,
            threads=recipe.threads,
            precision="fp32" if model.device.type == "cpu" else "auto",
        ),
        seed=seed,
        optimizer=optimizer,
        on_step=step_done,
    )
    selection = f"last of {recipe.epochs} epochs, nothing selected"
    if best.weights:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in best.weights:
                    parameter.copy_(best.weights[name])
        which = "the source's" if recipe.select == "source-dev" else "the target languages'"
        selection = f"epoch {best.epoch} of {recipe.epochs}, best {task.metric} on {which} development examples"
    return Tuned(model.eval(), tokenizer, task, seed, frozen if architecture(model).layered else 0, selection)


def _set_dropout(model: PreTrainedModel, rate: float) -> None:
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name in ("attention_dropout", "dropout_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout", "mlp_dropout"):
        if hasattr(model.config, name):
            setattr(model.config, name, rate)


def finetune(
    recipe: FinetuneRecipe,
    out: Path | None = None,
    *,
    encoder: Encoder | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_step: Callable[[int, Progress], None] | None = None,
) -> list[Tuned]:
    """Run a tuning recipe: one model a seed, saved as ``OUT/seed-N``.

    A seed whose folder is there already is opened, not trained again.

    Args:
        recipe: task, model, tuning.
        out: run folder, ``runs/NAME`` by default.
        encoder: the recipe's model, if it is open already.
        say: told in a line what was done.
        on_step: called as (seed, progress) after every step.

    Raises:
        DataError, LabelError, RecipeError, RunError, ModelUnavailableError: as their names say.
    """
    from interlingua.models.encoder import load

    if not recipe.task.train:
        raise RecipeError("a task without training files", expected="task.train: [{path, lang}]", where="task.train")
    out = out or Path("runs") / recipe.name
    with Run(out, to_yaml(recipe), execution=("tune.device", "tune.threads")):
        train_examples = read_examples(recipe.task, recipe.task.train)
        dev_examples = read_examples(recipe.task, recipe.task.dev)
        if recipe.tune.select == "source-dev":
            sources = {e.lang for e in train_examples}
            dev_examples = [e for e in dev_examples if e.lang in sources]
        task = build_task(recipe.task, train_examples)
        languages = ", ".join(sorted({e.lang for e in train_examples}))
        say(f"task {task.name}: {len(train_examples):,} examples in {languages}, {len(task.labels)} labels")
        encoder = encoder or load(recipe.model)
        tuned: list[Tuned] = []
        cache: dict[str, list[Encoded]] = {}
        for seed in recipe.seeds:
            folder = out / f"seed-{seed}"
            if (folder / "config.json").exists():
                found = open_tuned(folder)
                freeze(found.model, recipe.tune.freeze)
                share_frozen(found.model, encoder.model)
                tuned.append(found)
                say(f"seed {seed}: found in {folder}")
                continue
            result = tune_once(
                encoder,
                task,
                train_examples,
                recipe.tune,
                seed=seed,
                dev_examples=dev_examples,
                on_step=(lambda p, seed=seed: on_step(seed, p)) if on_step else None,  # type: ignore[misc]
                cache=cache,
            )
            save_tuned(result, folder)
            tuned.append(Tuned(**{**result.__dict__, "folder": folder}))
            say(f"seed {seed}: {result.selection}")
    return tuned


def save_tuned(tuned: Tuned, folder: Path) -> None:
    """Save a tuned model; what the measuring verbs need beyond it goes to ``interlingua.json``."""
    from interlingua.models.checkpoint import write_checkpoint
    from interlingua.tasks import Tag

    with atomic_folder(folder) as temporary:
        write_checkpoint(temporary, tuned.model, tuned.tokenizer)
        facts = {
            "task": "tag" if isinstance(tuned.task, Tag) else "classify",
            "name": tuned.task.name,
            "metric": tuned.task.metric,
            "labels": list(tuned.task.labels),
            "seed": tuned.seed,
            "frozen_layers": tuned.frozen_layers,
            "selection": tuned.selection,
        }
        (temporary / "interlingua.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def open_tuned(folder: Path) -> Tuned:
    """Open what :func:`save_tuned` saved.

    Raises:
        CheckpointError: not such a folder.
    """
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    from interlingua.errors import CheckpointError
    from interlingua.models.checkpoint import open_checkpoint
    from interlingua.tasks import Classify, Tag

    path = folder / "interlingua.json"
    if not path.is_file():
        raise CheckpointError(
            f"{str(folder)!r} is not a tuned model",
            expected="a folder seed-N written by `interlingua finetune`",
            where=str(path),
        )
    facts = json.loads(path.read_text(encoding="utf-8"))
    per_token = facts["task"] == "tag"
    auto = AutoModelForTokenClassification if per_token else AutoModelForSequenceClassification
    model, tokenizer = open_checkpoint(folder, auto)
    task: AnyTask = (Tag if per_token else Classify)(facts["labels"], name=facts["name"], metric=facts["metric"])
    return Tuned(model, tokenizer, task, facts["seed"], facts["frozen_layers"], facts["selection"], folder)
