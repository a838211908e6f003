"""Adapters that grow: past steps keep their scores, and a run taken up again is the run that was not stopped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.transfer.test_methods import saved_encoder

from interlingua.errors import RecipeError
from interlingua.evaluate import evaluate
from interlingua.models.checkpoint import fingerprint
from interlingua.models.encoder import Encoder
from interlingua.recipe_continual import ContinualRecipe, RetainRecipe
from interlingua.recipe_transfer import LabelledFile, TaskRecipe, TuneRecipe
from interlingua.scores import Score
from interlingua.transfer import open_tuned, read_examples
from interlingua.transfer.continual import continual
from interlingua.transfer.forgetting import forgetting, score_matrix

TUNE = TuneRecipe(method="adapter", epochs=2, batch_size=8, lr=1e-2, threads=1, freeze=1, reduction=4)
LANGS = ("en", "de", "es")
GROW = RetainRecipe(grow=True)


@pytest.fixture
def encoder(hf_tokenizer: Any, tmp_path: Path) -> Encoder:
    return saved_encoder("bert", hf_tokenizer, tmp_path / "base", prefix="query: ")


@pytest.fixture
def tasks(tiny_texts: dict[str, list[str]], tmp_path: Path) -> tuple[TaskRecipe, ...]:
    """Short texts against long ones in three languages; words with a capital letter against others in English."""
    found = []
    for lang in LANGS:
        rows = "".join(f"{t[:12]}\tshort\n{t} {t}\tlong\n" for t in tiny_texts[lang][:12])
        (tmp_path / f"{lang}.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
        found.append(LabelledFile(path=tmp_path / f"{lang}.tsv", lang=lang))
    lines = ("".join(f"{w}\t{'X' if w[0].isupper() else 'y'}\n" for w in t.split()[:8]) for t in tiny_texts["en"][:16])
    (tmp_path / "tags.tsv").write_text("\n".join(lines), encoding="utf-8")
    tags = (LabelledFile(path=tmp_path / "tags.tsv", lang="en"),)
    return (
        TaskRecipe(name="topics", train=tuple(found), test=tuple(found)),
        TaskRecipe(type="tag", name="words", train=tags, test=tags),
    )


def stream(tasks: tuple[TaskRecipe, ...], **more: Any) -> ContinualRecipe:
    steps = [{"task": "topics", "langs": ["en"]}, {"task": "words"}, {"task": "topics", "langs": ["de"]}]
    return ContinualRecipe(tasks=tasks, **({"tune": TUNE, "retain": GROW, "steps": steps} | more))


def values(scores: list[Score]) -> dict[tuple[str, str, str], float]:
    return {(s.model, s.split, s.metric): s.value for s in scores}


def test_nothing_is_forgotten(encoder: Encoder, tasks: tuple[TaskRecipe, ...], tmp_path: Path) -> None:
    """Every metric of a taught step is the same ever after, to the last bit; without `grow` it is not so here."""
    before = fingerprint(encoder.model)
    plan, scores = continual(stream(tasks), tmp_path / "run", encoder=encoder)
    found = values(scores)
    for number, name in enumerate(plan.names, 1):
        metrics = {metric for model, split, metric in found if split == name}
        for metric in metrics:
            assert len({found[f"after-{k}", name, metric] for k in range(number, 4)}) == 1
    matrix = score_matrix(scores, plan.names, plan.metrics)
    assert forgetting(matrix).forgetting == 0.0
    assert forgetting(matrix).backward_transfer == 0.0
    assert not np.array_equal(matrix[0], matrix[-1]), "something was learnt"
    assert fingerprint(encoder.model) == before


def test_the_folder_scores_every_language_with_its_own_adapter(
    encoder: Encoder, tasks: tuple[TaskRecipe, ...], tmp_path: Path
) -> None:
    """Rows of evaluate against the stream's own after the last step; a language that was not taught is named."""
    plan, scores = continual(stream(tasks), tmp_path / "run", encoder=encoder)
    tuned = open_tuned(tmp_path / "run" / "topics" / "seed-0")
    examples = read_examples(tasks[0], tasks[0].test)
    assert tuned.notes(examples) == ["not taught, scored with the adapter of topics/de: es"]
    ours = {(s.language, s.metric): s.value for s in evaluate([tuned], examples)}
    for (model, split, metric), value in values(scores).items():
        if model == "after-3" and split.startswith("topics"):
            assert ours[split.removeprefix("topics/"), metric] == value
    assert tuned.grown is not None
    assert tuned.grown.of_language("es") is tuned.grown.steps[-1]
    first, last = (load_file(tmp_path / "run/topics/seed-0/steps" / n / "adapter.safetensors") for n in "12")
    assert any(not torch.equal(value, last[name]) for name, value in first.items())
    top = load_file(tmp_path / "run" / "topics" / "seed-0" / "adapter.safetensors")
    assert all(torch.equal(value, top[name]) for name, value in last.items()), "the last one lies on top"
    assert plan.names == ["topics/en", "words/en", "topics/de"]


def test_a_task_that_no_step_taught(encoder: Encoder, tasks: tuple[TaskRecipe, ...], tmp_path: Path) -> None:
    """Scored as it began, and said so."""
    _, scores = continual(stream(tasks, steps=[{"task": "topics", "langs": ["en"]}]), tmp_path / "run", encoder=encoder)
    assert {s.split for s in scores} == {"topics/en"}
    tuned = open_tuned(tmp_path / "run" / "words" / "seed-0")
    examples = read_examples(tasks[1], tasks[1].test)
    assert tuned.notes(examples) == ["not taught, scored as the stream began, with nothing taught: en"]
    assert evaluate([tuned], examples)


def test_taken_up_again(encoder: Encoder, tasks: tuple[TaskRecipe, ...], tmp_path: Path) -> None:
    """Cut off inside the third step: all scores and all tensors are those of the run that was not stopped."""

    def cut(seed: int, number: int, progress: Any) -> None:
        if number == 3 and progress.step == 4:
            raise KeyboardInterrupt

    recipe = stream(tasks, tune=TUNE.model_copy(update={"save_every": 2}))
    with pytest.raises(KeyboardInterrupt):
        continual(recipe, tmp_path / "cut", encoder=encoder, on_step=cut)
    assert (tmp_path / "cut" / "training" / "seed-0" / "after-2").is_dir()
    again, whole = (continual(recipe, tmp_path / name, encoder=encoder)[1] for name in ("cut", "whole"))
    assert values(again) == values(whole)
    files = sorted((tmp_path / "whole").rglob("*.safetensors"))
    assert len(files) == 2 * (1 + 2 + 1 + 1), "adapter and head: the last and each step's, of two tasks"
    for file in files:
        ours = load_file(tmp_path / "cut" / file.relative_to(tmp_path / "whole"))
        assert all(torch.equal(value, ours[name]) for name, value in load_file(file).items())
    shutil.rmtree(tmp_path / "cut" / "training")
    assert values(continual(recipe, tmp_path / "cut", encoder=encoder)[1]) == values(whole), "finished before"


def test_refused(encoder: Encoder, tasks: tuple[TaskRecipe, ...], tmp_path: Path) -> None:
    """Another method, or another brake beside; adapters in a stream without growing."""
    for changes, message in (
        ({"tune": TUNE.model_copy(update={"method": "full"})}, r"'full'(?s:.*)one of adapter"),
        ({"retain": RetainRecipe(grow=True, replay=5)}, r"retain.replay with retain.grow"),
        ({"retain": RetainRecipe(grow=True, ewc=5)}, r"retain.ewc with retain.grow"),
        ({"retain": RetainRecipe()}, r"'adapter' for heads(?s:.*)full, bitfit"),
    ):
        with pytest.raises(RecipeError, match=message):
            continual(stream(tasks, **changes), tmp_path / "run", encoder=encoder)
    calibrated = (tasks[0].model_copy(update={"calibrate": True}), tasks[1])
    with pytest.raises(RecipeError, match=r"task.calibrate with retain.grow"):
        continual(stream(calibrated), tmp_path / "run", encoder=encoder)
