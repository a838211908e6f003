"""Clozes, numbers and choices where the other types go: suites, comparisons of runs, several tasks on one body."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from tests.fixtures_models import tiny_config
from tests.transfer.test_bottlenecks import language_folders
from tests.transfer.test_methods import saved_encoder
from transformers import AutoModelForMaskedLM

from interlingua.errors import LanguageError
from interlingua.evaluate import evaluate
from interlingua.evaluate.suite import run_suite
from interlingua.evaluate.summary import differences, suite_score
from interlingua.models.checkpoint import save_checkpoint
from interlingua.recipe_continual import ContinualRecipe
from interlingua.recipe_multitask import MultitaskRecipe
from interlingua.recipe_suite import SuiteRecipe
from interlingua.recipe_transfer import LabelledFile
from interlingua.tasks import Cloze
from interlingua.transfer.continual import continual
from interlingua.transfer.finetune import open_tuned, read_examples
from interlingua.transfer.multitask import multitask

LANGS = ("en", "de")
PATTERNS = {
    "patterns": {"en": "{text} {mask}."},
    "verbalisers": {"en": {"a": ["God", "king"], "b": ["water", "the people"]}},
}
TUNE = {"epochs": 1, "batch_size": 8, "threads": 1, "freeze": "none", "max_length": 60, "lr": 1e-3}


@pytest.fixture(scope="module")
def folder(hf_tokenizer: Any, tiny_texts: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model, and files of the three types."""
    folder = tmp_path_factory.mktemp("types")
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    save_checkpoint(folder / "model", AutoModelForMaskedLM.from_config(config), hf_tokenizer)
    (folder / "patterns.yaml").write_text(json.dumps(PATTERNS), encoding="utf-8")
    for lang in LANGS:
        texts = tiny_texts[lang][:16]
        rows = {
            "cloze": ["text\tlabel", *(f"{text}\t{'ab'[i % 2]}" for i, text in enumerate(texts))],
            "score": ["text\tlabel", *(f"{text[: 5 * i]}x\t{i / 4}" for i, text in enumerate(texts))],
            "choice": ["text\tc1\tc2\tlabel", *(f"{text}\t{text}\tz\t{i % 2}" for i, text in enumerate(texts))],
        }
        for name, lines in rows.items():
            (folder / f"{name}.{lang}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def task(folder: Path, kind: str, **changes: Any) -> dict[str, Any]:
    """A task's section; relative files in suites are under their root."""
    own = {"cloze": {"patterns": str(folder / "patterns.yaml")}, "choice": {"choices": ["c1", "c2"]}}.get(kind, {})
    test = [{"path": str(folder / f"{kind}.{lang}.tsv"), "lang": lang} for lang in LANGS]
    return {"type": kind, "name": kind, "train": test[:1], "test": test, **own, **changes}


def suite(folder: Path, **tune: Any) -> SuiteRecipe:
    entries = [{"name": kind, "task": task(folder, kind)} for kind in ("cloze", "score", "choice")]
    entries.append({"name": "asked", "task": task(folder, "cloze", shots=0, train=[], calibrate=True)})
    tree = {"model": str(folder / "model"), "seeds": [0, 1], "tune": TUNE | tune, "entries": entries}
    return SuiteRecipe.model_validate(tree)


def test_a_suite_of_all_three(folder: Path, tmp_path: Path) -> None:
    """Scores against their prediction files; kept the second time; differences between two runs."""
    found = run_suite(suite(folder), tmp_path / "one")
    assert (found.computed, found.kept) == (16, 0)
    assert found.selection["asked"].startswith("nothing taught")
    values = {(s.task, s.language, s.metric): s.value for s in found.scores if s.seed == 0}
    predicted = (tmp_path / "one/predictions/en/seed-0/score/test-de.tsv").read_text().split()
    assert values["score", "de", "pearson"] == pytest.approx(
        pearsonr(np.array(predicted, dtype=float), np.arange(16) / 4).statistic, abs=1e-6
    )
    for name, source, gold in (("cloze", "en", "ab"), ("asked", "nothing", "ab"), ("choice", "en", "01")):
        lines = (tmp_path / f"one/predictions/{source}/seed-0/{name}/test-de.tsv").read_text().split()
        right = np.mean([line == gold[i % 2] for i, line in enumerate(lines)])
        assert values[name, "de", "accuracy"] == pytest.approx(right)
    again = run_suite(suite(folder), tmp_path / "one")
    assert (again.computed, again.kept) == (0, 16)
    assert again.scores == found.scores, "also the seeds of networks that are the same, since nothing was taught"
    run_suite(suite(folder, lr=2e-3), tmp_path / "two")
    tested = differences(tmp_path / "one", tmp_path / "two", found.recipe.entries, draws=50)
    assert {name for name, _, _ in tested} == {"cloze", "score", "choice", "asked"}
    assert tested["asked", "de", "nothing"].value == 0
    assert tested["score", "de", "en"].value == pytest.approx(
        np.mean([s.value for s in found.scores if (s.task, s.language, s.metric) == ("score", "de", "pearson")])
        - _mean(tmp_path / "two" / "scores.jsonl")
    )
    score = suite_score(found.scores, found.recipe.entries, str(folder / "model"))
    assert score is not None
    assert score[1] == 4


def _mean(file: Path) -> float:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    own = [r["value"] for r in rows if (r["task"], r["language"], r["metric"]) == ("score", "de", "pearson")]
    return float(np.mean(own))


def test_an_adapter_that_is_added_changes_what_is_scored(
    folder: Path, hf_tokenizer: Any, tmp_path: Path
) -> None:  # fmt: skip
    """German without an adapter, and again after one was put beside the model's others; then nothing is new."""
    encoder = saved_encoder("bert", hf_tokenizer, tmp_path / "base")
    folders = language_folders(encoder, tmp_path / "languages", "en", "de")
    tune = TUNE | {"method": "madx", "language_adapters": {"en": str(folders["en"])}, "without_adapter": "none"}
    plan = SuiteRecipe.model_validate(
        {"model": encoder.name, "tune": tune, "entries": [{"name": "score", "task": task(folder, "score")}]}
    )
    strict = plan.tune.model_copy(update={"without_adapter": "error"})
    with pytest.raises(LanguageError, match=r"no language adapter for de \(16 examples\)"):
        run_suite(plan.model_copy(update={"tune": strict}), tmp_path / "strict")
    assert not (tmp_path / "strict" / "tuned").exists(), "said before anything is taught"
    before = run_suite(plan, tmp_path / "run").scores
    shutil.copytree(folders["de"], tmp_path / "run/tuned/score/en/seed-0/languages/de")
    found = run_suite(plan, tmp_path / "run")
    for lang in LANGS:
        was, now = ([s.value for s in rows if s.language == lang] for rows in (before, found.scores))
        assert (was == now) == (lang == "en")
    assert run_suite(plan, tmp_path / "run").computed == 0


def test_a_stream_scores_clozes_as_they_are_calibrated(folder: Path, tmp_path: Path) -> None:
    """Rows after the last step against those of the folder, which are not those without calibration."""
    tree = {"model": str(folder / "model"), "tune": TUNE | {"lr": 1e-5}, "steps": [{"langs": ["en"]}],
            "tasks": [task(folder, "cloze", calibrate=True)]}  # fmt: skip
    _, scores = continual(ContinualRecipe.model_validate(tree), tmp_path / "run")
    tuned = open_tuned(tmp_path / "run" / "cloze" / "seed-0")
    file = LabelledFile(path=folder / "cloze.en.tsv", lang="en")
    examples = read_examples(ContinualRecipe.model_validate(tree).tasks[0], [file])
    plain = Cloze(**{**tuned.task.settings(), "priors": {}})
    ours = [s.value for s in scores if s.model == "after-1"]
    with_it, without = ([s.value for s in evaluate([one], examples)] for one in (tuned, replace(tuned, task=plain)))
    assert ours == with_it
    assert ours != without, "the test wants a calibration that matters"


def test_all_three_on_one_body(folder: Path, tmp_path: Path) -> None:
    """One body after a run, also in the table that the masked LM's head goes by; each opens as what it is."""
    tree = {
        "model": str(folder / "model"), "tune": TUNE,
        "tasks": [task(folder, "cloze", calibrate=True), task(folder, "score"), task(folder, "choice")],
    }  # fmt: skip
    found = multitask(MultitaskRecipe.model_validate(tree), tmp_path / "run")
    (cloze,), (score,), (choice,) = found.values()
    again = open_tuned(tmp_path / "run" / "cloze" / "seed-0")
    assert set(again.task.settings()["priors"]) == {"en"}
    before = again.model
    table = cloze.model.get_input_embeddings().weight
    assert cloze.model.get_output_embeddings().weight is table
    assert before.get_output_embeddings().weight is before.get_input_embeddings().weight
    for one in (score, choice):
        assert torch.equal(one.model.get_input_embeddings().weight, table)
