"""Studies of a finished encoder on a tiny masked LM; answers that are known, stages, and what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from tests.fixtures_cli import run as cli
from tests.fixtures_studies import run_twice

from interlingua.errors import DataError, LanguageError, RecipeError, RunError
from interlingua.languages import language
from interlingua.models.encoder import load
from interlingua.probe import precision_at_1, projection
from interlingua.scores import Score, append_scores, read_scores
from interlingua.studies import STUDIES, verdicts, write_pages
from interlingua.studies.alignment import AlignmentRecipe
from interlingua.studies.families import FamiliesRecipe
from interlingua.studies.overlap import OverlapRecipe
from interlingua.studies.probing import Probing, Source, kind_of, parallel_texts
from interlingua.studies.retrieval import RetrievalRecipe
from interlingua.studies.senses import SensesRecipe
from interlingua.studies.shift import ShiftRecipe
from interlingua.studies.words import WordsRecipe

OTHERS = ("de", "fr", "es", "fi", "hu", "ru")


@pytest.fixture(autouse=True)
def files(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the studies look for the test's files."""
    for module, name, file in (
        ("alignment", "GOLD", "gold.tsv"),
        ("retrieval", "FLORES", "flores.tsv"),
        ("words", "MUSE", "muse.tsv"),
    ):
        module = f"interlingua.studies.{module}.{name}"
        monkeypatch.setattr(module, Source(file, "a table", "the tests"))
    monkeypatch.setattr("interlingua.studies.shift.BUNDLED", data / "topics.tsv")
    monkeypatch.setattr("interlingua.studies.words.BIBLE", "bible.{}.tsv")


def measured(name: str, recipe: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Score]:
    """Run a study; run it again without a model, which changes nothing; write its page, also half done."""
    study = STUDIES[name]
    scores = run_twice(name, recipe, folder, monkeypatch)
    assert not (folder / "states").exists()
    kind = [s for s in scores if s.task == "checkpoint"]
    begun = ".".join(next(s.task for s in scores if s not in kind).split(".")[:2])
    half = tmp_folder(folder, [*kind, *(s for s in scores if s.task.startswith(begun))])
    assert study.claims[0].text in write_pages(study, half)[1].read_text(encoding="utf-8")
    with pytest.raises(DataError, match="nothing measured"):
        write_pages(study, tmp_folder(half, kind))
    return scores


def tmp_folder(beside: Path, rows: list[Score]) -> Path:
    """A study's folder with some rows."""
    folder = beside.with_name(f"{beside.name}-part")
    append_scores(folder / "scores.jsonl", rows)
    return folder


def test_alignment(tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence links with itself without an error in every layer, and not so with itself backwards."""
    recipe = AlignmentRecipe(model=str(tiny_model), root=data, pairs=("en-fr", "ro-en"))
    scores = measured("alignment", recipe, tmp_path, monkeypatch)
    assert kind_of(scores) == "masked LM"
    own = {s.task: s for s in scores if s.metric == "aer" and s.task.endswith("argmax") and s.split == "block0"}
    assert {s.n for s in own.values()} == {25}
    rest = {s.n for s in scores if s.metric == "aer" and s.split == "block1"}
    assert rest == {60 - 25}  # the last ten sentences are measured in the last block
    assert {s.split for s in scores if s.metric == "aer"} == {"block0", "block1"}
    for layer in range(13):
        assert own[f"links.en-fr.layer{layer}.argmax"].value == 0
        assert own[f"links.ro-en.layer{layer}.argmax"].value > 0


def test_families(tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means and their map from states of the plain encoder; copies of English lie where English lies."""
    monkeypatch.setattr("interlingua.studies.families._DRAWS", 20)
    recipe = FamiliesRecipe(
        model=str(tiny_model), root=data, texts="flores.tsv", split="", limit=40, kept=10, named=(0, 12)
    )
    scores = measured("families", recipe, tmp_path, monkeypatch)
    points = {(s.language, s.metric): s.value for s in scores if s.task == "map"}
    for copy in ("de", "fr"):
        assert points[copy, "x"] == pytest.approx(points["en", "x"], abs=1e-5)
    layers = [s for s in scores if s.metric == "v_measure" and s.seed is None]
    assert len(layers) == 13
    assert all(0 <= s.value <= 1 and s.n == 12 for s in layers)
    identity = {
        (s.model.partition("+")[2], s.task, s.split): s.value for s in scores if s.metric == "language_accuracy"
    }
    assert len(identity) == 2 * 2 * 5
    assert all(0 <= value <= 1 for value in identity.values())
    found = {one.claim.text: one.verdict for one in verdicts(STUDIES["families"], scores)}
    assert {layer for layer in (0, 4, 8, 12) for text, word in found.items()
            if f"names the language from layer {layer} " in text and word != "not comparable"} == {0, 12}  # fmt: skip


def test_languages_are_centred_by_other_sentences(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    """None would be left; said before a model is opened."""
    recipe = FamiliesRecipe(model="nothing", root=data, texts="flores.tsv", split="", limit=20, kept=20)
    with pytest.raises(RecipeError, match="kept = 20 of 20 sentences"):
        STUDIES["families"].run(tmp_path, recipe, say=lambda text: None)


def test_a_projection_is_found_only_where_there_is_one() -> None:
    """Pairs that differ by a map are brought together by it; of pairs that agree already nothing is lost."""
    chance = np.random.default_rng(0)
    target = chance.normal(size=(300, 8)).astype(np.float32)
    blind = np.eye(8, dtype=np.float32)
    blind[0, 0] = -3.0
    noise = 0.3 * chance.normal(size=(300, 8)).astype(np.float32)
    for source, gain in ((target @ blind + noise, 0.1), (target + noise, -0.02)):
        before = precision_at_1(target[200:], source[200:])[0]
        after = precision_at_1(target[200:], source[200:] @ projection(source[:200], target[:200]))[0]
        assert after - before >= gain


def test_retrieval(tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is always found, by every method; other languages are found as the plain vectors say."""
    recipe = RetrievalRecipe(model=str(tiny_model), root=data, languages=OTHERS, limit=100)
    scores = measured("retrieval", recipe, tmp_path, monkeypatch)
    p1 = {
        (s.language, s.model.partition("+")[2], s.task.rpartition(".")[2]): s.value for s in scores if s.metric == "p1"
    }
    for layer in (8, 12):
        for how in ("", "centred", "lir", "lsar"):
            assert p1["de", how, f"layer{layer}"] == 1
    encoder = load(str(tiny_model))
    texts = parallel_texts(data / "flores.tsv", languages=["en", "fi"], limit=50)
    left, right = (encoder.encode(own) for own in texts.values())
    near = left @ right.T
    there, back = near.argmax(axis=1) == np.arange(50), near.argmax(axis=0) == np.arange(50)
    assert p1["fi", "", "layer12"] == pytest.approx((there.mean() + back.mean()) / 2)
    assert {one.verdict for one in verdicts(STUDIES["retrieval"], scores)} <= {"agrees", "differs", "open"}


def test_words(tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words of a copy are their own translations, in every layer."""
    recipe = WordsRecipe(model=str(tiny_model), root=data, languages=("de", "fr", "es"), verses=60)
    scores = measured("words", recipe, tmp_path, monkeypatch)
    ranks = {
        (s.language, s.task.rpartition(".")[2]): s.value for s in scores if s.metric == "mrr" and "+" not in s.model
    }
    assert len(ranks) == 3 * 7
    for (lang, _), value in ranks.items():
        # Words that only ever stand side by side have vectors which rounding may tell apart either way.
        assert value > (0.99 if lang in ("de", "fr") else 0)


def test_shift(tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of English is where English is, so moving it changes nothing; taught models are taken as they are."""
    recipe = ShiftRecipe(model=str(tiny_model), root=data, seeds=(0,), steered=("de", "fi"), layers=(0, 12))
    scores = measured("shift", recipe, tmp_path / "a", monkeypatch)
    evidence = STUDIES["shift"].evidence(scores)
    for metric, count in (("pooled", 11), ("steered", 2)):
        arms = evidence[metric].values
        assert len(arms["as it is"]) == count
        assert arms["moved"]["de"] == arms["as it is"]["de"]
    assert (tmp_path / "a" / "tuned" / "seed-0").is_dir()
    with pytest.raises(LanguageError, match="no test sentences in sw"):
        STUDIES["shift"].run(tmp_path / "b", recipe.model_copy(update={"steered": ("sw",)}), say=lambda text: None)
    again = recipe.model_copy(update={"tuned": tmp_path / "a" / "tuned"})
    STUDIES["shift"].run(tmp_path / "b", again, say=lambda text: None)
    assert not (tmp_path / "b" / "tuned").exists()
    assert read_scores(tmp_path / "b" / "scores.jsonl") == scores


def test_overlap(tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies share everything; correlations are scipy's, with what was taught in English and with no other score."""
    texts = parallel_texts(data / "flores.tsv")
    chance = np.random.default_rng(0)
    reached = {lang: float(chance.uniform()) for lang in texts}
    rows = [Score(model, task, lang, "test", metric, value + add, 9, seed)
            for lang, value in reached.items()
            for model, task, metric, add, seed in (
                (str(tiny_model), "topics.pooled.0", "accuracy", 0.1, 0),
                (str(tiny_model), "topics.pooled.0", "accuracy", -0.1, 1),
                (f"{tiny_model}+shift", "topics.pooled.0", "accuracy", 0.5, 0),
                (str(tiny_model), "topics.pooled.0", "macro_f1", 0.5, 0),
                ("another/en", "ner", "span_f1", 0.5, 0),
            )]  # fmt: skip
    append_scores(tmp_path / "shift" / "scores.jsonl", rows)
    suite = tmp_path / "suite.jsonl"
    append_scores(suite, [Score(f"{tiny_model}/en", task, lang, "test", "accuracy", value**2, 9, 0)
                          for lang, value in reached.items() for task in ("topics", "pos")])  # fmt: skip
    recipe = OverlapRecipe(model=str(tiny_model), root=data, texts="flores.tsv", split="")
    for name, files, power in (("a", (), 1), ("b", (suite, tmp_path / "shift" / "scores.jsonl"), 2)):
        chosen = recipe.model_copy(update={"scores": files})
        scores = measured("overlap", chosen, tmp_path / name, monkeypatch)
        shares = {s.language: s.value for s in scores if s.metric == "types_in_source"}
        assert shares["de"] == shares["fr"] == 1
        found = STUDIES["overlap"].evidence(scores)["pearson"].intervals
        assert {arm.partition(" ")[0] for arm in found} == ({"topics", "no"} | ({"pos"} if files else set()))
        sides = [(shares[lang], reached[lang] ** power) for lang in shares]
        value, low, high = found["topics types_in_source"]
        assert value == pytest.approx(scipy.stats.pearsonr(*zip(*sides, strict=True)).statistic)
        assert low < value < high
        latin = [lang for lang in shares if language(lang).script == "Latn"]
        assert 5 <= len(latin) < len(shares)
        words = (tmp_path / name / "report.md").read_text(encoding="utf-8")
        within = scipy.stats.pearsonr(*zip(*((shares[lang], reached[lang] ** power) for lang in latin), strict=True))
        assert f"({value:+.2f}, {len(shares)} languages); within Latin script they" in words
        assert f"({within.statistic:+.2f}, {len(latin)} languages)" in words
    with pytest.raises(DataError, match="no scores in"):
        STUDIES["overlap"].run(tmp_path / "far" / "c", recipe, say=lambda text: None)
    with pytest.raises(DataError, match="no score of 'other'"):
        STUDIES["overlap"].run(tmp_path / "c", recipe.model_copy(update={"model": "other"}), say=lambda text: None)


def test_senses(tiny_model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sense in a sentence of its own, said many times, parts wholly; one sentence for both senses does not."""
    monkeypatch.setattr("interlingua.studies.senses._DRAWS", 100)
    apart = {"shore": "they sat on the bank of the river", "money": "his money is in the bank of the city"}
    rows = [f"en\tbank\t{sense}\t{text}" for sense, text in apart.items() for _ in range(6)]
    both = ["er sah das Schloß des Königs", "und brach das Schloß auf"]
    rows += [f"de\tSchloß\t{sense}\t{text}" for sense in ("castle", "lock") for text in both * 3]
    (tmp_path / "senses.tsv").write_text("\n".join(["lang\tword\tsense\ttext", *rows]) + "\n", encoding="utf-8")
    recipe = SensesRecipe(model=str(tiny_model), root=tmp_path, texts="senses.tsv")
    scores = measured("senses", recipe, tmp_path / "run", monkeypatch)
    whole = [s for s in scores if s.metric == "silhouette" and s.seed is None and "layer" in s.task]
    assert len(whole) == 2 * 13
    for s in whole:
        assert s.value == pytest.approx(1, abs=1e-4) if s.language == "en" else s.value <= 0
    dealt = [s for s in scores if s.model.endswith("+shuffled")]
    assert len(dealt) == 2 * 2 * 2 * 100
    cosines = [s for s in scores if s.metric == "cosine"]
    assert len(cosines) == 2 * 12 * 11 / 2
    found = [one.verdict for one in verdicts(STUDIES["senses"], scores)]
    assert found == ["agrees"] * 3 + ["open"] * 3 + ["not comparable"] * 3


def test_a_stage_that_failed_is_measured_again(tiny_model: Path, tmp_path: Path) -> None:
    """Rows of a stage are there whole or not at all; those of other stages stay, and the model's kind with them."""
    row = Score("m", "first.layer1", "de", "test", "p1", 0.5, 10)
    said: list[str] = []
    probing = Probing(tmp_path, str(tiny_model), said.append)
    probing.stage("first", lambda: [row])

    def failing(count: int) -> Any:
        yield replace(row, task="second", n=probing.encoder.max_length)
        raise RunError(f"power cut after {count}")

    with pytest.raises(RunError, match="power cut after 1"):
        probing.stage("second", failing, 1)
    after = Probing(tmp_path, str(tiny_model), said.append)
    assert after.has("first")
    assert not after.has("second")
    assert not after.has("fir")
    assert kind_of(after.scores) == "masked LM"
    after.stage("first", failing, 2)
    assert [line.partition(":")[0] for line in said] == ["first"]


def test_states_are_those_of_the_texts(tiny_model: Path, tmp_path: Path) -> None:
    """A study that goes on with other data finds no states of them, and those of the same texts again."""
    probing = Probing(tmp_path, str(tiny_model), lambda text: None)
    first = probing.states("de", ["eins", "zwei"])
    other = probing.states("de", ["drei", "vier", "und"])
    assert (first.shape[1], other.shape[1]) == (2, 3)
    del probing.encoder
    probing.model = "nothing"
    assert np.array_equal(probing.states("de", ["eins", "zwei"]), first)


def test_a_folder_of_an_earlier_version_goes_on(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    """Its recipe lacks a key that has its default; of another study's folder or another value it is told so."""
    words = [f"model={tiny_model}", f"root={data}", "pairs=[en-fr]", "limit=30"]
    assert cli("study", "run", "alignment", *words, "--out", tmp_path).exit_code == 0
    saved = tmp_path / "recipe.yaml"
    whole = saved.read_text(encoding="utf-8")
    assert whole.startswith("kind: study\nname: alignment\nmodel: ")
    saved.write_text(whole.replace("limit: 30\n", ""), encoding="utf-8")
    assert cli("study", "run", "alignment", *words[:3], "--out", tmp_path).exit_code == 0
    assert "limit: 0" in saved.read_text(encoding="utf-8")
    assert "limit = 0, now limit = 30" in cli("study", "run", "alignment", *words, "--out", tmp_path).stderr
    other = cli("study", "run", "senses", f"model={tiny_model}", "--out", tmp_path)
    assert "another recipe" in other.stderr


def test_missing_data(tiny_model: Path, tmp_path: Path) -> None:
    """The message says which file, what it is and where it comes from; before a model is opened."""
    result = cli("study", "run", "retrieval", "root=nowhere", "model=nothing", "--out", tmp_path)
    assert result.exit_code == 1
    for words in ("no file 'flores.tsv' in 'nowhere'", "a table, from the tests", "root=FOLDER"):
        assert words in result.stderr


def test_parallel_texts(tmp_path: Path) -> None:
    """Texts that all languages have, in the first one's order; tags of other tables are the package's own."""
    path = tmp_path / "t.tsv"
    rows = ["eng_Latn\t1\ta\tx", "eng_Latn\t2\tb\tx", "eng_Latn\t3\tc\ty", "deu_Latn\t3\tC\ty", "deu_Latn\t2\tB\tx"]
    path.write_text("\n".join(["lang\tid\ttext\tsplit", *rows]) + "\n", encoding="utf-8")
    assert parallel_texts(path) == {"en": ["b", "c"], "de": ["B", "C"]}
    assert parallel_texts(path, split="x") == {"en": ["b"], "de": ["B"]}
    assert parallel_texts(path, languages=["de"], limit=1) == {"de": ["C"]}
    with pytest.raises(LanguageError, match="no text in fi"):
        parallel_texts(path, languages=["de", "fi"])
    path.write_text("lang\tid\ttext\nen\t1\ta\nde\t2\tb\n", encoding="utf-8")
    with pytest.raises(DataError, match="no id that all"):
        parallel_texts(path)
