"""studies/arms.py, measures.py: arms at equal tokens on a few seconds of real text, measures against answers known."""

from __future__ import annotations

import numpy as np
import pytest

from interlingua.scores import read_scores
from interlingua.studies import measures
from interlingua.studies.arms import Arm, Setup, TokenArms, run_arms
from interlingua.studies.measures import Trained, bits, classified, cost, pairs, retrieval
from interlingua.tasks.texts import TextExample
from interlingua.tour.bible import BibleSplit

TINY = ("train.threads=1", "model.hidden=32", "model.feed_forward=64")
ARMS = [
    Arm("shared", "one network"),
    Arm("separate", "separate embeddings", changes=("model.separate_embeddings=true",)),
    Arm("apart", "a network a language", apart=True),
]


class Told(Trained):
    """Vectors that stand in the texts."""

    def states(self, lang, texts, layers=None):
        rows = np.array([[float(cell) for cell in text.split()] for text in texts], dtype=np.float32)
        return np.stack([rows] * (1 if layers is None else len(layers)))

    @property
    def encoders(self):
        raise AssertionError("no network is needed")

    @property
    def found(self):
        held = self.split.test_verses
        return {lang: self.states(lang, [held[verse][lang] for verse in held]) for lang in self.languages}


def _told(split: BibleSplit, languages=("en", "de")) -> Told:
    return Told({}, None, split, languages)


def test_equal_tokens(tmp_path):
    """Networks that share all, nothing but layers, and nothing: the same tokens within a tenth, and measured alike."""
    scale = TokenArms(tokens=41_000, seeds=(3,), languages=("en", "de"), changes=TINY)
    said: list[str] = []
    run_arms(ARMS, tmp_path, scale, Setup((cost, retrieval, classified, bits)), say=said.append)
    scores = read_scores(tmp_path / "scores.jsonl")
    tokens = {s.model: s.value for s in scores if s.metric == "tokens"}
    assert list(tokens) == [arm.name for arm in ARMS]
    assert max(tokens.values()) < 1.1 * min(tokens.values())
    assert max(tokens.values()) == pytest.approx(scale.tokens, rel=0.1)
    kinds = {(s.model, s.task, s.language) for s in scores}
    for arm in ARMS:
        assert {(arm.name, "bits", lang) for lang in ("en", "de")} <= kinds
        assert {(arm.name, f"bible part{how}", "de") for how in ("", " centred")} <= kinds
        assert {(arm.name, f"retrieval{how}", "de") for how in ("", " centred")} <= kinds
    assert {path.name for path in (tmp_path / "arms").iterdir()} == {
        "shared-3", "separate-3", "apart-en-1003", "apart-de-2003",
    }  # fmt: skip
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not (tmp_path / "speeds.json").exists()
    said.clear()
    run_arms(ARMS, tmp_path, scale, Setup((cost, retrieval)), say=said.append)
    assert said == []


def test_a_language_is_read_by_its_own_parts(tmp_path):
    """The folder with a language's own parts where there is one; otherwise the whole."""
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "config.json").write_text("{}", encoding="utf-8")
    trained = Trained({"en": tmp_path, "de": tmp_path}, None, BibleSplit(["en", "de"]), ["en", "de"])
    assert trained.checkpoint("en") == tmp_path
    assert trained.checkpoint("de") == tmp_path / "de"


def test_languages_beside_each_other():
    """German is English moved away: a classifier taught in English fails there until the means are taken off."""
    chance = np.random.default_rng(0)
    split = BibleSplit(["en", "de"])
    for number in range(120):
        label = ("law", "wisdom", "letters")[number % 3]
        place = 4 * np.eye(3)[number % 3] + chance.normal(size=3) / 8
        texts = {"en": " ".join(map(str, place)), "de": " ".join(map(str, np.add(place, [50, 3, 0])))}
        if number < 60:
            split.teach.append(TextExample(texts["en"], "en", label, where=f"Gen.1.{number}"))
        else:
            split.test.extend(TextExample(text, lang, label, where="") for lang, text in texts.items())
            split.test_verses[f"Gen.2.{number}"] = texts
    found = {(task, lang): value for task, lang, _, value, _ in classified(_told(split))}
    assert found["bible part", "en"] == 1
    assert found["bible part", "de"] == pytest.approx(1 / 3)
    assert found["bible part centred", "de"] == 1
    ranked = {task: value for task, _, _, value, _ in retrieval(_told(split))}
    assert ranked["retrieval"] < 0.2
    assert ranked["retrieval centred"] == 1


def _chapters(book: str, chapters: int, verses: int) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(len(book))
    found = {}
    for chapter in range(chapters):
        about = chance.normal(size=8)
        for verse in range(verses):
            found[f"{book}.{chapter}.{verse}"] = about + chance.normal(size=8) / 20
    return found


def test_pairs_within_and_across(monkeypatch):
    """Verses of a chapter are alike: English is told apart; French, whose places are shuffled, within itself only."""
    monkeypatch.setattr(measures, "_PAIRS", 300)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    split = BibleSplit(["en", "fr"])
    for verse, place in _chapters("Gen", 30, 10).items():
        split.teach.append(TextExample(" ".join(map(str, place)), "en", "law", where=verse))
    for verse, place in _chapters("Exod", 30, 10).items():
        split.test_verses[verse] = {"en": " ".join(map(str, place)), "fr": " ".join(map(str, place @ turn + 9))}
    found = {(task, lang): value for task, lang, _, value, _ in pairs(_told(split, ("en", "fr")))}
    assert found["pairs within", "en"] > 0.95
    assert found["pairs within", "fr"] > 0.8
    assert found["pairs across", "fr"] == pytest.approx(0.5, abs=0.15)
    gold = [right for _, _, right in measures._neighbours(split.test_verses, ["en", "fr"])]
    assert 0.4 < np.mean(gold) < 0.6
