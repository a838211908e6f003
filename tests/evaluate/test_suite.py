"""Suites: taught once, scored once, added to; XTREME's score and layout; both sides in one language or in two."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError, LabelError, LanguageError, RecipeError, RunError
from interlingua.evaluate import evaluate, read_scores
from interlingua.evaluate.cache import ScoreCache
from interlingua.evaluate.suite import run_suite
from interlingua.evaluate.summary import Cell, cells_of, differences, suite_score, task_score, within_across
from interlingua.models.checkpoint import save_checkpoint
from interlingua.recipe_suite import SuiteEntry, SuiteRecipe
from interlingua.scores import Score
from interlingua.transfer.finetune import open_tuned, read_examples

LANGS = ("en", "de", "ja")
#: By name, `interlingua.evaluate` is the function.
missing_module = importlib.import_module("interlingua.evaluate.missing")


@pytest.fixture(scope="module")
def encoder(hf_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    return save_checkpoint(tmp_path_factory.mktemp("encoder") / "tiny", AutoModel.from_config(config), hf_tokenizer)


@pytest.fixture(scope="module")
def data(tiny_texts: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, tags and questions in three languages, parallel by row and id."""
    folder = tmp_path_factory.mktemp("data")
    for lang in LANGS:
        texts = tiny_texts[lang][:24]
        pairs, sentences, questions = ["label\ta\tb"], [], []
        for i, text in enumerate(texts):
            other = text if i % 2 else texts[i - 1]
            pairs.append(f"{'same' if i % 2 else 'other'}\t{text[:20]}\t{other[:20]}")
            sentences.append("".join(f"{word}\t{'X' if len(word) > 3 else 'Y'}\n" for word in text.split()[:4]))
            answer = {"text": text[2:6].strip(), "answer_start": text.index(text[2:6].strip())}
            questions.append(json.dumps({"id": str(i), "question": text[:5], "context": text, "answers": [answer]}))
        for name, lines in (("nli", pairs), ("pos", sentences), ("qa", questions)):
            ending = "jsonl" if name == "qa" else "tsv"
            (folder / f"{name}.{lang}.{ending}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    both = "".join(f"{lang}\t{i}\t{t}\n" for lang in LANGS for i, t in enumerate(tiny_texts[lang][:12]))
    (folder / "parallel.tsv").write_text("lang\tid\ttext\n" + both, encoding="utf-8")
    return folder


def recipe(encoder: Path, data: Path, *, langs: tuple[str, ...] = LANGS, **changes: Any) -> SuiteRecipe:
    def files(kind: str, *tags: str) -> list[dict[str, str]]:
        return [{"path": f"{kind}.{lang}.{'jsonl' if kind == 'qa' else 'tsv'}", "lang": lang} for lang in tags]

    tree = {
        "model": str(encoder), "root": str(data), "seeds": [0, 1],
        "tune": {"epochs": 1, "batch_size": 8, "threads": 1, "freeze": "all", "max_length": 60},
        "entries": [
            {"name": "pairs", "across": True, "limit": 10,
             "task": {"text": "a", "text_pair": "b", "train": files("nli", "en"), "test": files("nli", *langs)}},
            {"name": "pos", "task": {"type": "tag", "train": files("pos", "en"), "test": files("pos", *langs)}},
            {"name": "squad", "sources": {"en": ["en"], "both": ["en", "de"]},
             "task": {"type": "span", "stride": 8, "max_question": 10, "train": files("qa", "en", "de"),
                      "test": files("qa", *langs)}},
            {"name": "more", "taught_by": "squad",
             "task": {"type": "span", "rule": "character", "test": files("qa", "ja")}},
            {"name": "found", "retrieve": {"path": "parallel.tsv", "languages": list(langs[1:])}},
        ],
    }  # fmt: skip
    return SuiteRecipe.model_validate(tree | changes)


@pytest.fixture(scope="module")
def first(encoder: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite over two of the three languages."""
    out = tmp_path_factory.mktemp("suite") / "run"
    run_suite(recipe(encoder, data, langs=("en", "de")), out)
    return out


def test_predictions_in_xtremes_layout_give_the_scores(first: Path, data: Path) -> None:
    """Accuracy, tag accuracy, exact match and P@1 counted from the files by hand."""
    rows_of_scores = read_scores(first / "scores.jsonl")
    scores = {(s.task, s.model.rpartition("/")[2], s.language, s.seed, s.metric): s for s in rows_of_scores}
    folder = first / "predictions" / "en" / "seed-1"
    labels = (folder / "pairs" / "test-de.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in (data / "nli.de.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    gold = [rows[i * 24 // 10][0] for i in range(10)]
    row = scores["pairs", "en", "de", 1, "accuracy"]
    assert row.value == pytest.approx(np.mean([a == b for a, b in zip(labels, gold, strict=True)]))
    assert row.n == 10
    tags = (folder / "pos" / "test-de.tsv").read_text().split()
    wanted = [line.split("\t")[1] for line in (data / "pos.de.tsv").read_text(encoding="utf-8").splitlines() if line]
    assert scores["pos", "en", "de", 1, "accuracy"].value == pytest.approx(np.mean(np.array(tags) == np.array(wanted)))
    answers = json.loads((first / "predictions/both/seed-0/squad/test-en.json").read_text(encoding="utf-8"))
    assert sorted(answers, key=int) == [str(i) for i in range(24)]
    found = [int(n) for n in (first / "predictions/retrieval/found/test-de.tsv").read_text().split()]
    lines = [line.split("\t") for line in (data / "parallel.tsv").read_text(encoding="utf-8").splitlines()]
    english = [text for lang, _, text in lines if lang == "en"]
    order = sorted(range(12), key=lambda i: english[i])
    p1 = np.mean([place == i for place, i in zip(found, order, strict=True)])
    assert next(s.value for s in rows_of_scores if s.metric == "p1_from_source") == pytest.approx(p1)


def test_a_language_that_is_added_is_all_that_is_computed(
    first: Path, encoder: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run again: nothing is computed; with Japanese: its tests alone, and the old rows are the same."""
    before = {(s.task, s.model, s.language, s.seed, s.metric): s.value for s in read_scores(first / "scores.jsonl")}
    again = run_suite(recipe(encoder, data, langs=("en", "de")), first)
    assert (again.computed, again.kept) == (0, 8 + 4 + 8 + 4 + 1)
    seen: list[str] = []
    real = missing_module.evaluate

    def noted(tuned: Any, examples: Any, **more: Any) -> Any:
        seen.extend({e.lang for e in examples})
        return real(tuned, examples, **more)

    monkeypatch.setattr(missing_module, "evaluate", noted)
    more = run_suite(recipe(encoder, data), first)
    # pairs: ja, ja with each other in both ways; pos, squad (two models): ja; of two seeds; retrieval once.
    assert more.computed == 2 * (5 + 1 + 2) + 1
    assert all("ja" in lang for lang in seen)
    after = {(s.task, s.model, s.language, s.seed, s.metric): s.value for s in read_scores(first / "scores.jsonl")}
    assert {key: after[key] for key in before} == before
    assert {lang for _, _, lang, _, _ in after} >= {"ja", "en/ja", "ja/en"}


def test_models_that_another_recipe_taught_are_refused(encoder: Path, data: Path, tmp_path: Path) -> None:
    """Another tuning, other training files of the same language; moved data and another metric are no matter."""
    train = {"path": "nli.en.tsv", "lang": "en"}

    def run(root: Path = data, file: dict[str, Any] = train, **entry: Any) -> Any:
        task = {"text": "a", "text_pair": "b", "train": [file], "test": [{"path": "nli.de.tsv", "lang": "de"}]}
        entries = [{"name": "pairs", **entry, "task": task | entry.get("task", {})}]
        return run_suite(recipe(encoder, data, seeds=[0], root=str(root), entries=entries), tmp_path / "run")

    run()
    with pytest.raises(RunError, match=r"another recipe: tune.epochs = 1, now tune.epochs = 7"):
        run(tune={"epochs": 7, "batch_size": 8, "threads": 1, "freeze": "all", "max_length": 60})
    with pytest.raises(RunError, match=r"limit = 0, now task.train.0.limit = 16"):
        run(file=train | {"limit": 16})
    moved = shutil.copytree(data, tmp_path / "moved")
    for _ in range(2):
        found = run(root=moved)
        assert (found.computed, found.kept) == (0, 1)
    assert run(task={"metric": "macro_f1"}).computed == 1


def test_an_interrupted_suite_goes_on(
    encoder: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Path
) -> None:
    """Stopped behind the third test: what is kept has its predictions, and the end is that of a run without a stop."""
    calls = 0
    put = ScoreCache.put

    def failing(*words: Any) -> None:
        nonlocal calls
        put(*words)
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    plan = recipe(encoder, data, langs=("en", "de"))
    monkeypatch.setattr(ScoreCache, "put", failing)
    with pytest.raises(KeyboardInterrupt):
        run_suite(plan, tmp_path / "run")
    monkeypatch.setattr(ScoreCache, "put", put)
    result = run_suite(plan, tmp_path / "run")
    assert result.kept == 3
    files = {path.relative_to(first) for path in (first / "predictions").rglob("test-*") if "ja" not in path.name}
    assert {path.relative_to(tmp_path / "run") for path in (tmp_path / "run/predictions").rglob("test-*")} >= files
    whole = {(s.task, s.model, s.language, s.seed, s.metric): s.value for s in read_scores(first / "scores.jsonl")}
    for s in read_scores(tmp_path / "run" / "scores.jsonl"):
        assert whole[s.task, s.model, s.language, s.seed, s.metric] == pytest.approx(s.value)


def test_shifted_means_are_added_to_what_is_kept(first: Path, encoder: Path, data: Path, tmp_path: Path) -> None:
    """As `evaluate` has them for all languages at once; the unshifted rows are not computed again."""
    plan = recipe(encoder, data, langs=("en", "de")).model_copy(update={"shift": True})
    copy = shutil.copytree(first, tmp_path / "run")
    result = run_suite(plan, copy, entries=["pos"])
    assert (result.computed, result.kept) == (4, 4)
    assert run_suite(plan, copy, entries=["pos"], languages=["en"]).computed == 0
    tuned = open_tuned(first / "tuned" / "pos" / "en" / "seed-1")
    task = plan.entries[1].task
    assert task is not None
    files = [file.model_copy(update={"path": data / file.path}) for file in task.test]
    wanted = evaluate([tuned], read_examples(task, files), max_length=60, shift=True, source="en")
    own = {(s.model.partition("+")[2], s.language, s.metric): s.value for s in result.scores if s.seed == 1}
    assert own == {(s.model.partition("+")[2], s.language, s.metric): s.value for s in wanted}


def test_retrieval_in_some_of_its_languages(first: Path, encoder: Path, data: Path, tmp_path: Path) -> None:
    """Languages asked for that its file or its recipe lacks are left out of it, whatever the other entries have."""
    plan = recipe(encoder, data)
    found = run_suite(plan, tmp_path / "run", entries=["pos", "found"], languages=["en", "de"])
    assert {s.language for s in found.scores if s.task == "found"} == {"de"}
    assert {s.language for s in found.scores if s.task == "pos"} == {"en", "de"}
    only = run_suite(plan, tmp_path / "run", entries=["pos", "found"], languages=["en"])
    assert {s.task for s in only.scores} == {"pos"}


def test_two_runs_are_compared_on_the_same_examples(first: Path, encoder: Path, data: Path) -> None:
    """A run against itself: no difference anywhere, with all entries that have one source, or sources by name."""
    found = differences(first, first, recipe(encoder, data).entries, draws=50)
    assert {(d.value, d.p) for d in found.values()} == {(0.0, 1.0)}
    assert {("pairs", "de", "en"), ("squad", "de", "both")} <= set(found)
    with pytest.raises(DataError, match="no entry and language with the same examples"):
        differences(first, encoder, recipe(encoder, data).entries)


def test_what_a_suite_scored_by_another_rule_before_is_not_compared(
    first: Path, encoder: Path, data: Path, tmp_path: Path
) -> None:
    """A rule is changed in a run folder: its difference to the run before is that of the rows of scores."""
    copy = shutil.copytree(first, tmp_path / "run")
    plan = recipe(encoder, data, langs=("en", "de"))
    more = plan.entries[3]
    assert more.task is not None
    ruled = more.model_copy(update={"task": more.task.model_copy(update={"rule": "squad"})})
    entries = tuple(ruled if entry is more else entry for entry in plan.entries)
    assert run_suite(plan.model_copy(update={"entries": entries}), copy, entries=["more"]).computed == 4
    means = [cells_of(read_scores(run / "scores.jsonl"), task="more", metric="f1") for run in (copy, first)]
    found = differences(copy, first, entries, draws=50)
    for source in ("en", "both"):
        now, was = (cells[f"{encoder}/{source}"]["ja"].mean for cells in means)
        assert found["more", "ja", source].value == pytest.approx(now - was)


def test_labels_that_were_never_taught(encoder: Path, data: Path, tmp_path: Path) -> None:
    """They stop a suite before it teaches anything; or they are named, and no example is lost."""
    (tmp_path / "odd.tsv").write_text("label\ta\tb\nodd\tx\ty\nsame\tx\tx\nother\tx\ty\n", encoding="utf-8")
    task = {"text": "a", "text_pair": "b", "train": [{"path": "nli.en.tsv", "lang": "en"}],
            "test": [{"path": str(tmp_path / "odd.tsv"), "lang": "de"}]}  # fmt: skip
    with pytest.raises(LabelError, match=r"label 'odd', 1 example in de(?s:.*)odd.tsv, line 2"):
        run_suite(recipe(encoder, data, entries=[{"name": "pairs", "task": task}]), tmp_path / "run")
    assert not (tmp_path / "run" / "tuned").exists()
    said: list[str] = []
    wrong = recipe(encoder, data, seeds=[0], entries=[{"name": "pairs", "task": task | {"unseen_labels": "wrong"}}])
    scores = run_suite(wrong, tmp_path / "wrong", say=said.append).scores
    assert "pairs: label 'odd' was never taught: 1 example in de counted as wrong" in said
    found = (tmp_path / "wrong/predictions/en/seed-0/pairs/test-de.tsv").read_text().split()
    right = np.mean([a == b for a, b in zip(found, ("odd", "same", "other"), strict=True)])
    assert [(s.value, s.n) for s in scores if s.metric == "accuracy"] == [(pytest.approx(right), 3)]


def test_what_is_wrong_with_the_last_entry_is_found_before_the_first_is_taught(
    encoder: Path, data: Path, tmp_path: Path
) -> None:
    """A language that a table of many lacks, a file that is not there: of teaching, of tests, of retrieval."""
    (tmp_path / "many.tsv").write_text("label\ta\tlang\nx\tone\ten\ny\ttwo\ten\n", encoding="utf-8")
    good, pos, *_, found = recipe(encoder, data).model_dump(mode="json", exclude_defaults=True)["entries"]
    test = [{"path": "nli.en.tsv", "lang": "en"}]
    many = {"path": str(tmp_path / "many.tsv"), "languages": ["sw"]}
    bad = [
        ({"name": "last", "task": {"text": "a", "train": [many], "test": test}}, "no example in sw"),
        (pos | {"task": pos["task"] | {"train": [{"path": "nowhere.tsv", "lang": "en"}]}}, "nowhere.tsv"),
        (pos | {"task": pos["task"] | {"test": [{"path": "nowhere.tsv", "lang": "en"}]}}, "nowhere.tsv"),
        (found | {"retrieve": found["retrieve"] | {"path": "nowhere.tsv"}}, "nowhere.tsv"),
    ]
    for place, (entry, message) in enumerate(bad):
        with pytest.raises((DataError, LanguageError), match=message):
            run_suite(recipe(encoder, data, entries=[good, entry]), tmp_path / str(place))
        assert not (tmp_path / str(place) / "tuned").exists()


def test_what_does_not_fit_is_refused(first: Path, encoder: Path, data: Path, tmp_path: Path) -> None:
    """Another encoder in the same folder; an entry or a language that is not there; a source without a file."""
    plan = recipe(encoder, data)
    with pytest.raises(RunError, match="another recipe: model"):
        run_suite(plan.model_copy(update={"model": "other"}), first)
    with pytest.raises(RecipeError, match="'par'; did you mean 'pairs'"):
        run_suite(plan, first, entries=["par"])
    with pytest.raises(LanguageError, match="no entry has fr"):
        run_suite(plan, first, entries=["pos"], languages=["fr"])
    with pytest.raises(RecipeError, match="without entries"):
        run_suite(SuiteRecipe(), tmp_path / "x")
    squad = plan.entries[2].model_copy(update={"sources": {"ja": ("ja",)}})
    with pytest.raises(RecipeError, match=r"source 'ja' with ja(?s:.*)de, en"):
        run_suite(plan.model_copy(update={"entries": (squad,)}), tmp_path / "y")
    bad = [
        ({"name": "a"}, "neither of task and retrieve"),
        ({"name": "a", "task": {"train": [{"path": "x"}]}}, "no test files"),
        ({"name": "a", "task": {"test": [{"path": "x"}]}}, "neither training files nor taught_by"),
        (
            {"name": "a", "taught_by": "b", "tune": {}, "task": {"test": [{"path": "x"}]}},
            r"by 'b', whose tune holds(?s:.*)leave it out",
        ),
        (
            {"name": "a", "taught_by": "b", "task": {"type": "span", "stride": 64, "test": [{"path": "x"}]}},
            r"whose task\.stride holds",
        ),
    ]
    for tree, message in bad:
        with pytest.raises(ValueError, match=message):
            SuiteEntry.model_validate(tree)
    with pytest.raises(ValueError, match="taught by 'b', which teaches nothing"):
        SuiteRecipe.model_validate({"entries": [{"name": "a", "taught_by": "b", "task": {"test": [{"path": "x"}]}}]})


def test_averages_as_xtreme_takes_them() -> None:
    """By hand: languages first, then (EM + F1) / 2, then tasks; two-language cells and shifted rows do not count."""

    def row(task: str, lang: str, metric: str, value: float, model: str = "m/en", seed: int = 0) -> Score:
        return Score(model, task, lang, "test", metric, value, 10, seed)

    rows = [
        row("qa", "en", "em", 0.6), row("qa", "en", "f1", 0.8), row("qa", "de", "em", 0.2), row("qa", "de", "f1", 0.4),
        row("qa", "en/de", "f1", 0.0), row("qa", "en", "f1", 0.0, "m/en+shift"),
        row("nli", "en", "accuracy", 0.9), row("nli", "en", "accuracy", 0.7, seed=1),
        row("ret", "de", "p1", 0.3, "m"),
    ]  # fmt: skip
    test = {"test": [{"path": "x"}], "train": [{"path": "x"}]}
    entries = [
        SuiteEntry.model_validate({"name": "qa", "task": {"type": "span", **test}}),
        SuiteEntry.model_validate({"name": "nli", "task": test}),
        SuiteEntry.model_validate({"name": "ret", "retrieve": {"path": "x"}}),
    ]
    assert task_score(rows, entries[0], "m/en") == pytest.approx((0.4 + 0.6) / 2)
    assert suite_score(rows, entries, "m") == (pytest.approx((0.5 + 0.8 + 0.3) / 3), 3)
    cells = cells_of(rows, task="nli", metric="accuracy")["m/en"]
    assert cells["en"] == Cell(pytest.approx(0.8), pytest.approx(0.1 * 2**0.5), 10, 2)


def test_within_and_across_by_hand() -> None:
    """across(l): mean over the cells with exactly one side in l."""
    values = {"en": 0.9, "de": 0.7, "ja": 0.5, "en/de": 0.6, "de/en": 0.4, "en/ja": 0.2, "ja/en": 0.4}
    found = within_across({lang: Cell(value, 0.0, 1, 1) for lang, value in values.items()})
    assert found is not None
    assert found.across == pytest.approx({"en": 0.4, "de": 0.5, "ja": 0.3})
    assert found.gap == pytest.approx(0.7 - 0.4)
    assert within_across({"en": Cell(0.9, 0.0, 1, 1)}) is None
