"""Studies of taught models on a tiny masked LM: what they write, resume, and conclude, against numbers set by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fixtures_cli import run as cli
from tests.fixtures_studies import run_twice

from interlingua.errors import DataError
from interlingua.evaluate.cache import ScoreCache
from interlingua.recipe_suite import SuiteRecipe
from interlingua.scores import Score, append_scores
from interlingua.studies import STUDIES, verdicts, write_pages
from interlingua.studies.across import NLI, AcrossRecipe
from interlingua.studies.freezing import TASKS, FreezingRecipe
from interlingua.studies.probing import Probing, kind_of
from interlingua.studies.questions import OTHERS, XQUAD, QuestionsRecipe
from interlingua.studies.suites import BLOCKS, block_means, plain, run_entries
from interlingua.studies.symbols import SymbolsRecipe
from interlingua.studies.tables import shown

NEW = ("across", "freezing", "qa", "symbols")
KIND = Score("m", "checkpoint", "und", "-", "masked_lm", 1.0, 1)


def _write(path: Path, rows: list[str]) -> None:
    """A file where a study looks for it; readers know by its first bytes that it is not packed."""
    import zstandard

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.ZstdCompressor().compress(("\n".join(rows) + "\n").encode()))


@pytest.fixture(scope="session")
def taught_data(tiny_texts: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the four studies, where the documentation says they lie."""
    root, texts = tmp_path_factory.mktemp("data"), tiny_texts["en"]
    letters = ["ACGT" * 5, "TTGA" * 5]
    for name, column in (("dna_splice", "sequence"), ("music_composer", "notes")):
        _write(root / f"xdisc/{name}.tsv.zst", [f"split\tlabel\t{column}"] + [
            f"{part}\t{'EI' if i % 2 else 'N'}\t{(' ' if column == 'notes' else '').join(letters[i % 2])}"
            for part in ("train", "test") for i in range(8)
        ])  # fmt: skip
    _write(root / "xdisc/protein_secondary_structure.tsv.zst", ["split\tsequence\tlabels\tmask"] + [
        f"{part}\tMKLMKL\tHCCHCC\t111110" for part in ("train", "test") for _ in range(6)
    ])  # fmt: skip
    tags = [line for text in texts[:6] for line in (*(f"{w}\t{'X' if len(w) > 3 else 'Y'}" for w in text.split()), "")]
    spans = [
        line
        for text in texts[:6]
        for line in (*(f"{w}\t{'O' if i else 'B-PER'}" for i, w in enumerate(text.split())), "")
    ]
    for name, rows in (("ner", spans), ("pos", tags)):
        own = TASKS[name]  # type: ignore[index]
        for lang, part in ((own.source, "train"), *((lang, "test") for lang in (own.source, *own.tested))):
            _write(root / own.file(lang, part).path, rows)
    pairs = ["label\tpremise\thypothesis"] + [
        f"{('contradiction', 'entailment', 'neutral')[i % 3]}\t{text}\t{text}" for i, text in enumerate(texts[:24])
    ]
    for name in ("indonli.id.train", "indonli.id.test", *(f"xnli.{lang}.test" for lang in NLI)):
        _write(root / f"nli/{name}.tsv.zst", pairs)
    questions = [
        json.dumps({"id": str(i), "title": f"article {i // 4}", "context": text, "question": text.split()[0],
                    "answers": [{"text": text.split()[1], "answer_start": text.index(text.split()[1])}]})
        for i, text in enumerate(texts[:24])
    ]  # fmt: skip
    for name in (*(f"xquad.{lang}" for lang in XQUAD), "squad_v10.en.train", "jaquad.ja.train",
                 *(Path(source.path).name.removesuffix(".jsonl.zst") for source in OTHERS.values())):  # fmt: skip
        _write(root / f"qa/{name}.jsonl.zst", questions)
    return root


def measured(name: str, recipe: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Score]:
    """Run a study; run it again without a model, which changes nothing; its weights are gone, its page whole."""
    study = STUDIES[name]
    scores = run_twice(name, recipe, folder, monkeypatch)
    assert not list(folder.rglob("*.safetensors"))
    assert kind_of(scores) == "masked LM"
    half = folder.with_name(f"{folder.name}-part")
    first = next(s.task for s in scores if s.task != "checkpoint")
    append_scores(half / "scores.jsonl", [s for s in scores if s.task in ("checkpoint", first)])
    assert study.claims[0].text in write_pages(study, half)[1].read_text(encoding="utf-8")
    return scores


def test_symbols(tiny_model: Path, taught_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row a discipline, arm and draw; draws have other words; what is taught knows no word but those."""
    recipe = SymbolsRecipe(model=str(tiny_model), root=taught_data, seeds=(0, 1), epochs=1, threads=1)
    scores = measured("symbols", recipe, tmp_path / "run", monkeypatch)
    rows = [s for s in plain(scores, "accuracy") if s.seed is not None]
    assert {s.task: s.value for s in scores if s.seed is None and s.model == "majority"} == {
        "splice.majority": 0.5, "composer.majority": 0.5, "protein.majority": pytest.approx(3 / 5),
    }  # fmt: skip
    assert {s.task for s in rows} == {
        f"{name}.{arm}.{seed}" for name in ("splice", "composer", "protein") for arm in recipe.arms for seed in (0, 1)
    }
    assert {s.n for s in rows if s.task.startswith("splice")} == {8}
    words = [
        (tmp_path / "run" / "drawn" / f"splice-{seed}" / "test.tsv").read_text(encoding="utf-8") for seed in (0, 1)
    ]
    assert words[0] != words[1]
    assert len({word for line in words[0].splitlines()[1:] for word in line.split("\t")[1].split()}) == 4
    values = STUDIES["symbols"].evidence(scores)["accuracy"].values
    assert set(values["splice none"]) == {0, 1}


def test_freezing(tiny_model: Path, taught_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task and arm in every language; the mean over languages leaves out the one that was taught."""
    recipe = FreezingRecipe(
        model=str(tiny_model), root=taught_data, seeds=(0,), taught=20, tested=4, epochs=1, threads=1
    )
    scores = measured("freezing", recipe, tmp_path / "run", monkeypatch)
    assert {s.task for s in plain(scores)} == {f"{n}.{a}" for n in recipe.tasks for a in ("0", "3", "6", "9", "all")}
    for name in recipe.tasks:
        own = TASKS[name]
        rows = [s for s in scores if s.task == f"{name}.3" and s.metric == own.metric]
        assert [s.language for s in rows] == list(dict.fromkeys((own.source, *own.tested)))
        found = STUDIES["freezing"].evidence(scores)[name].values[f"{name}.3"]
        assert found == {0: pytest.approx(np.mean([s.value for s in rows if s.language != own.source]))}


def test_across(tiny_model: Path, taught_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs of languages; where languages are copies of each other, nothing is lost between them."""
    recipe = AcrossRecipe(
        model=str(tiny_model), root=taught_data, pairs_tested=0, questions_tested=0, passes=1, threads=1
    )
    scores = measured("across", recipe, tmp_path / "run", monkeypatch)
    for name, langs in (("nli", NLI), ("questions", XQUAD)):
        cells = {s.language for s in plain(scores) if s.task == name}
        assert cells == {one if one == two else f"{one}/{two}" for one in langs for two in langs}
    values = STUDIES["across"].evidence(scores)["scores"].values
    assert values["nli within"] == pytest.approx(values["nli across"])
    assert values["questions within"] == pytest.approx(values["questions across"])
    assert len(values["nli within"]) == BLOCKS
    _write(tmp_path / "other" / "nli" / "xnli.ko.test.tsv.zst", ["label\tpremise\thypothesis", "neutral\ta\tb"])
    for file in taught_data.rglob("*.zst"):
        there = tmp_path / "other" / file.relative_to(taught_data)
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(file)
    with pytest.raises(DataError, match="24 and 1 rows"):
        STUDIES["across"].run(
            tmp_path / "b", recipe.model_copy(update={"root": tmp_path / "other"}), say=lambda text: None
        )


def test_questions(tiny_model: Path, taught_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both halves; no article is taught and tested; the first half is taken from a suite that was run."""
    recipe = QuestionsRecipe(model=str(tiny_model), root=taught_data, repeats=1, threads=1)
    scores = measured("qa", recipe, tmp_path / "run", monkeypatch)
    assert {s.model.rpartition("/")[2] for s in plain(scores) if s.task == "xquad"} == {"en", "ja", "both"}
    assert {s.model.rpartition("/")[2] for s in plain(scores) if s.task == "translated-others"} == {"en", "zh", "de"}
    rows = [json.loads(line) for line in (tmp_path / "run" / "drawn" / "xquad.de.jsonl").read_text().splitlines()]
    parts = {part: {row["title"] for row in rows if row["split"] == part} for part in ("train", "test")}
    assert len(parts["train"]) == len(parts["test"]) == 3
    assert not parts["train"] & parts["test"]
    taken = recipe.model_copy(update={"matrix": tmp_path / "run" / "suites" / "matrix"})
    again = measured("qa", taken, tmp_path / "again", monkeypatch)
    assert not (tmp_path / "again" / "suites" / "matrix").exists()
    assert STUDIES["qa"].evidence(again) == STUDIES["qa"].evidence(scores)
    nothing = recipe.model_copy(update={"model": "other", "matrix": taken.matrix})
    with pytest.raises(DataError, match="no rows of xquad or others with other"):
        STUDIES["qa"].run(tmp_path / "none", nothing, say=lambda text: None)


def _blocked(task: str, model: str, language: str, values: Iterator[float]) -> list[Score]:
    return [Score(model, task, language, f"block{i}", "f1", value, 10, 0) for i, value in enumerate(values)]


def test_claims_about_questions() -> None:
    """Chinese is the mean of three sets, block by block; its gain is compared with what is lost in English."""
    chance = np.random.default_rng(0)
    level = chance.uniform(0.4, 0.6, size=BLOCKS)
    gains = {"en": {"zh": 0.0, "en": 0.0}, "ja": {"zh": 0.1, "en": -0.2}}
    rows = [KIND]
    for source, by in gains.items():
        for task, lang, add in (("xquad", "zh", 0.0), ("others", "zh-Hant", 0.1), ("others", "zh", -0.1)):
            rows += _blocked(task, f"m/{source}", lang, level + add + by["zh"])
        rows += _blocked("xquad", f"m/{source}", "en", level + by["en"])
    found = verdicts(STUDIES["qa"], rows)
    assert found[0].ours == pytest.approx(0.1)
    assert found[1].ours == pytest.approx(0.3)
    assert [one.verdict for one in found[:3]] == ["agrees", "agrees", "not comparable"]
    plain_chinese = STUDIES["qa"].evidence(rows)["matrix"].values["en on Chinese"]
    assert plain_chinese["block7"] == pytest.approx(level[7])


def test_claims_about_both_sides() -> None:
    """Within .6, across .5 of three labels: kept is .1667 of .2667 above chance, less than mBERT's 65 %."""
    rows = [replace(KIND, value=0.0)]
    for one in NLI:
        for two in NLI:
            value = 0.6 if one == two else 0.4 if "en" in (one, two) else 0.6
            noise = 1e-4 if one == two else 2e-4
            values = (value + (-1) ** i * noise for i in range(BLOCKS))
            rows += _blocked("nli", "m/id", one if one == two else f"{one}/{two}", values)
    found = {one.claim.text: one for one in verdicts(STUDIES["across"], rows)}
    ours = [one.ours for text, one in found.items() if text.startswith("Inference")]
    kept = (0.545 - 1 / 3) / (0.657 - 1 / 3)
    assert ours == pytest.approx([0.1, (0.5 - 1 / 3) - kept * (0.6 - 1 / 3), 0.2])
    words = [one.verdict for text, one in found.items() if text.startswith("Inference")]
    assert words == ["agrees", "differs", "not comparable"]


def test_claims_about_freezing() -> None:
    """Three languages, two seeds a thousandth apart: half a point is a point at most, two are not."""
    rows = [KIND]
    for arm, value in (("0", 0.70), ("3", 0.695), ("6", 0.68), ("all", 0.60)):
        for lang, add in (("en", 0.2), ("de", 0.05), ("sw", -0.05)):
            rows += [Score("m/en", f"topics.{arm}", lang, "test", "accuracy",
                               value + add + (seed - 0.5) / 1000, 9, seed) for seed in (0, 1)]  # fmt: skip
    found = [one for one in verdicts(STUDIES["freezing"], rows) if one.claim.metric == "topics"]
    assert [one.ours for one in found] == pytest.approx([0.10, -0.005, -0.02, -0.02])
    assert [one.verdict for one in found] == ["agrees", "agrees", "differs", "differs"]


@pytest.mark.parametrize("name", NEW)
def test_what_is_missing_is_named(name: str, tmp_path: Path) -> None:
    """Before a model is opened."""
    result = cli("study", "run", name, f"root={tmp_path}", "model=nothing", "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "no file '" in result.stderr
    assert "put it there, or name the folder that has it with root=FOLDER" in result.stderr


def test_blocks_of_a_test_set(tiny_model: Path, taught_data: Path, tmp_path: Path) -> None:
    """Scores of blocks are those of their examples, and a mean over them, each of as many, is that of the whole."""
    suite = SuiteRecipe.model_validate({
        "model": str(tiny_model), "root": str(taught_data), "tune": {"epochs": 1, "threads": 1, "freeze": "all"},
        "entries": [{"name": "nli", "limit": BLOCKS, "task": {
            "text": "premise", "text_pair": "hypothesis",
            "train": [{"path": "nli/indonli.id.train.tsv.zst", "lang": "id"}],
            "test": [{"path": "nli/xnli.ko.test.tsv.zst", "lang": "ko"}]}}],
    })  # fmt: skip
    probing = Probing(tmp_path, str(tiny_model), lambda text: None)
    run_entries(probing, suite, blocks=True)
    (whole,) = plain(probing.scores, "accuracy")
    (kept,) = ScoreCache(tmp_path / "suites" / "suite" / "scored").all()
    by = block_means(probing.scores, lambda s: s.task)["nli"]
    right = kept.counts[:, : kept.counts.shape[1] // 3].sum(axis=1)
    assert [by[f"block{i}"] for i in range(BLOCKS)] == right.tolist()
    assert np.mean(list(by.values())) == pytest.approx(whole.value)


def test_cells() -> None:
    assert shown([]) is None
    assert shown([0.5]) == "0.500"
    assert shown([0.4, 0.6]) == "0.500 \u00b1 0.141"
