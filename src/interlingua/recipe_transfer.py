"""The recipe of teaching a task: which examples, which model, how it is tuned.

Decision: one flat section a concern (the task and its files, the tuning), with keys that some types of task alone use
marked by the type's name; what is measured where (suites) has a recipe of its own. Price: a key of another type of
task is accepted and does nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from interlingua.languages import canonical
from interlingua.recipe_base import Positive, Recipe, Share

__all__ = ["FinetuneRecipe", "LabelledFile", "TaskRecipe", "TuneRecipe"]


class LabelledFile(Recipe):
    """Labelled examples of one language, or of many if the file has a `lang` column."""

    path: Path
    """csv, tsv[.zst], jsonl[.zst] (classify, cloze, score, choice); two-column or CoNLL-U files [.zst] (tag); SQuAD's
    .json, or .jsonl with a question a line [.zst] (span)."""
    lang: str | None = None
    """Language tag, unless the rows have their own."""
    lang_pair: str | None = None
    """Language of the second texts (classify) or of the passages (span), where it is another."""
    path_pair: Path | None = None
    """A parallel file whose second sides stand in for this one's: second texts row by row (classify), passages and
    answers by id (span). Its language is lang_pair."""
    columns: dict[Literal["text", "text_pair", "label", "question", "context", "lang", "lang_pair", "split"], str] = (
        Field(default_factory=dict)
    )
    """This file's own names of columns, {text: sentence1, label: gold_label} or {question:
    question_translated}; the task's otherwise."""
    split: str | None = None
    """Only rows whose `split` column says so."""
    languages: tuple[str, ...] = ()
    """Only examples in these languages, of a file with several; none named: all."""
    limit: Annotated[int, Field(ge=0)] = 0
    """So many examples at most, evenly spread over the file; 0: all."""

    @field_validator("languages")
    @classmethod
    def _canonical_languages(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical(tag) for tag in tags)

    mapping: Path | dict[str, str] | None = None
    """classify, cloze, tag: other names for this file's labels, {old: new} or a file with a line `old<TAB>new` each;
    before those of the task."""

    @field_validator("lang", "lang_pair")
    @classmethod
    def _canonical(cls, tag: str | None) -> str | None:
        return canonical(tag) if tag else None


class TaskRecipe(Recipe):
    """A task with its files."""

    type: Literal["classify", "cloze", "score", "choice", "tag", "span"] = "classify"
    """classify: one or two texts, one label. cloze: the same, asked of a masked language model's own head. score: one
    or two texts, a number. choice: a text, and which of some others goes with it. tag: a label a word. span: a
    question, and its answer in a passage."""
    name: str = "task"
    """Shown in tables."""
    train: tuple[LabelledFile, ...] = ()
    """What is taught, in the source language(s)."""
    dev: tuple[LabelledFile, ...] = ()
    """For choosing the epoch; source language only, unless target development data is really at hand."""
    test: tuple[LabelledFile, ...] = ()
    """What is scored, per language."""
    shots: Annotated[int, Field(ge=0)] | None = None
    """Teach with so many examples of every class and language, drawn anew for each seed; none: with all; 0: teach
    nothing (cloze)."""
    text: str = "text"
    """classify, cloze, score, choice: column of the text."""
    text_pair: str | None = None
    """classify, cloze, score: column of the second text, if there are two."""
    label: str = "label"
    """classify, cloze, score, choice: column of the label, the number, or the number of the right choice from 0."""
    choices: tuple[str, ...] = ()
    """choice: columns of the choices."""
    question: str | None = None
    """choice: column of a question, which is put behind the text."""
    patterns: Path | None = None
    """cloze: YAML file with a pattern and the words of every label, by language, as package:topics.patterns.yaml."""
    calibrate: bool = False
    """cloze: take off each label's score what texts without content give it in the same pattern."""
    tags: Literal["iob2", "pos"] = "pos"
    """tag: entity spans (IOB2, span F1) or one tag a word (accuracy)."""
    rule: Literal["auto", "squad", "mlqa", "character"] = "auto"
    """span: what counts as the same answer. squad: as SQuAD's script (and XTREME's for XQuAD); mlqa: as MLQA's, with
    the language's articles; character: F1 over characters; auto: mlqa for its seven languages, character for others
    written without spaces, squad for the rest."""
    stride: Positive = 128
    """span: tokens that two neighbouring windows of a passage share."""
    max_question: Positive = 64
    """span: longest question in tokens; what is cut is counted."""
    max_answer: Positive = 30
    """span: longest answer in tokens."""
    no_answer: bool = False
    """span: passages may hold no answer (SQuAD 2.0), and saying so is a possible prediction."""
    bad_answers: Literal["stop", "repair", "drop"] = "stop"
    """span: an answer that is not where the file says. stop: refuse the file; repair: move it to the nearest place
    where its text stands; drop: leave it out. Both are counted."""
    mapping: Path | dict[str, str] | None = None
    """classify, cloze, tag: other names for the labels of all files, {old: new} or a file with a line `old<TAB>new`
    each; entities by their type."""
    unseen_labels: Literal["stop", "wrong"] = "stop"
    """classify, cloze, tag: a label of the test files that training never saw. stop: refuse it; wrong: name it, and
    count its examples (or words) as predicted wrong."""
    metric: Literal["accuracy", "macro_f1", "span_f1", "f1", "em", "pearson", "spearman"] | None = None
    """Main metric; by default accuracy, span_f1 for iob2, f1 for span, and pearson for score."""


class TuneRecipe(Recipe):
    """How a task is taught."""

    method: Literal["full", "bitfit", "lora", "ia3", "prompt", "prefix", "adapter", "madx"] = "full"
    """What learns beside the head. full: all that freeze leaves; bitfit: biases; lora: low-rank updates of the matrices
    in the layers; ia3: scales of keys, values and feed-forward blocks; prompt: vectors before every text; prefix: keys
    and values before every text, in every layer; adapter: a bottleneck behind every layer; madx: the same behind the
    adapters of languages. lora, ia3, prompt and prefix write a folder of peft's."""
    reduction: Positive = 16
    """adapter, madx: the network's width divided by that of the bottleneck."""
    language_adapters: dict[str, Path] = Field(default_factory=dict)
    """madx: folder of the adapter of every language: the source's, used while teaching, and the test languages'."""
    without_adapter: Literal["error", "none"] = "error"
    """madx: what becomes of a language that has none. error: stop; none: it goes without, and is named."""
    rank: Positive = 8
    """lora: rank of the updates."""
    alpha: Positive = 16
    """lora: updates are scaled by alpha / rank."""
    prompt_tokens: Positive = 20
    """prompt, prefix: their length."""
    merge: bool = False
    """lora, ia3: add the updates to the weights and save a plain checkpoint."""
    epochs: Positive = 5
    """Passes over the training examples."""
    batch_size: Positive = 32
    """Examples a step."""
    lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the network; none: by the method (full 5e-5; bitfit, lora, adapter and madx 5e-4; ia3 5e-3;
    prompt and prefix 1e-2)."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Every layer learns at so many times the rate of the one above it."""
    head_lr: Annotated[float, Field(gt=0)] | None = 1e-3
    """Learning rate of the new head; none: the same as the network's."""
    warmup: Share = 0.1
    """Share of the steps over which the rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW's, on matrices only."""
    dropout: Share | None = 0.0
    """Dropout in the network while tuning; none: as the checkpoint says."""
    l2_sp: Annotated[float, Field(ge=0)] = 0.0
    """Strength of a penalty on leaving the pretrained weights (L2-SP)."""
    mixout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that a weight of a matrix is, for a step, the pretrained one."""
    freeze: Literal["none", "embeddings", "all"] | int = "embeddings"
    """Frozen part: none, embeddings, that many lowest layers (embeddings included), or all but the head."""
    fresh: Literal["none", "embeddings", "body", "all"] = "none"
    """Part that begins with random weights instead of the pretrained ones: none, embeddings, body (all but those), or
    all; a control that tells what pretraining is worth, for the method full without that part frozen."""
    max_length: Positive = 128
    """Longest example in tokens; what is cut is counted."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of the CPU; 0 measures."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    save_every: Positive = 200
    """Steps between checkpoints of a training that is longer than so many; one cut off goes on from the last."""
    select: Literal["last", "source-dev", "target-dev"] = "last"
    """Which epoch is kept: the last, or the best on the dev files of the source or of all languages."""

    @field_validator("language_adapters")
    @classmethod
    def _canonical_adapters(cls, folders: dict[str, Path]) -> dict[str, Path]:
        return {canonical(tag): folder for tag, folder in folders.items()}


class FinetuneRecipe(Recipe):
    """A task taught in its source language(s) and scored in every language there is."""

    kind: Literal["finetune"] = "finetune"
    """Which verb runs it."""
    name: str = "finetune"
    """Name of the run."""
    model: str = "e5-small"
    """Short name, hub id, checkpoint folder or run folder."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """One tuned model a seed; scores are given as mean and spread over them."""
    task: TaskRecipe = TaskRecipe()
    tune: TuneRecipe = TuneRecipe()
