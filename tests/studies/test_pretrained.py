"""Studies of small encoders: each run on a few chapters, its evidence against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from transformers import BertConfig, BertForMaskedLM

from interlingua.errors import DataError
from interlingua.pretrain_check import check_pretrain
from interlingua.recipe import DataRecipe
from interlingua.scores import Score, read_scores
from interlingua.studies import STUDIES, depth, measures, parallel, sampling, sharing, size, verdicts, write_pages
from interlingua.studies.arms import arm_recipe, part_of_verses
from interlingua.studies.depth import DepthRecipe, parameters, width
from interlingua.studies.measures import Trained
from interlingua.studies.parallel import ParallelRecipe
from interlingua.studies.probing import Source
from interlingua.studies.sampling import SamplingRecipe, sizes, thinned
from interlingua.studies.sharing import SharingRecipe, joined, likeness
from interlingua.studies.size import SizeRecipe, Vocabulary
from interlingua.text.lexicons import LexiconEntry
from interlingua.tour.bible import BibleSplit, split_bible

CHANGES = ("train.threads=1", "model.hidden=32", "model.feed_forward=64", "train.batch_tokens=512")
TINY = {"tokens": 1, "seeds": (0, 1), "languages": ("en", "es"), "changes": CHANGES}


@pytest.fixture(scope="session")
def whole() -> BibleSplit:
    return split_bible()


@pytest.fixture
def few(whole, monkeypatch) -> BibleSplit:
    """Sixty chapters to pretrain on, and as many as have ten verses of each part to teach and to test."""

    def cut(verses, chapters):
        names = list(dict.fromkeys(verse.rsplit(".", 1)[0] for verse in verses))
        kept = set(random.Random(1).sample(names, min(chapters, len(names))))
        return {verse: texts for verse, texts in verses.items() if verse.rsplit(".", 1)[0] in kept}

    test = [own[at] for lang in whole.languages if (own := [e for e in whole.test if e.lang == lang])
            for at in range(0, len(own), 10)]  # fmt: skip
    split = dataclasses.replace(
        whole, pretrain=cut(whole.pretrain, 60), teach_verses=cut(whole.teach_verses, 8), teach=whole.teach[::10],
        test=test, test_verses=cut(whole.test_verses, 12),
    )  # fmt: skip
    for module in ("arms", "size"):
        monkeypatch.setattr(f"interlingua.studies.{module}.split_bible", lambda: split)
    monkeypatch.setattr(measures, "CANDIDATES", 40)
    monkeypatch.setattr(measures, "_PAIRS", 100)
    return split


@pytest.fixture
def root(few, monkeypatch, tmp_path):
    """A dictionary in which every word means itself, and German, and Spanish, know those of the English text."""
    words = sorted({word.lower() for texts in few.pretrain.values() for word in texts["en"].split() if word.isalpha()})
    rows = [f"en-es\t{place}\t{word}\t{word}" for place, word in enumerate(words)]
    spanish = sorted({word.lower() for texts in few.pretrain.values() for word in texts.get("es", "").split()
                      if word.isalpha()})  # fmt: skip
    rows += [f"en-es\t{place}\tthe\t{word}" for place, word in enumerate(spanish)]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "muse.tsv").write_text("\n".join(["pair\tsrc_rank\tsrc\ttgt", *rows]) + "\n", encoding="utf-8")
    for module in (parallel, size):
        monkeypatch.setattr(module, "MUSE", Source("muse.tsv", "a table", "the tests"))
    return folder


def _recipe(name, root):
    return {
        "parallel": lambda: ParallelRecipe(**TINY, root=root),
        "depth": lambda: DepthRecipe(**{**TINY, "changes": ("train.threads=1", "train.batch_tokens=512")},
                                     parameters=40_000, vocabulary=600),
        "sharing": lambda: SharingRecipe(**TINY),
        "sampling": lambda: SamplingRecipe(**{**TINY, "languages": ("en", "fi")}),
        "size": lambda: SizeRecipe(**TINY, marks=4, width=16, epochs=1, mapped=60, root=root),
    }[name]()  # fmt: skip


@pytest.mark.parametrize("name", ["parallel", "depth", "sharing", "sampling", "size"])
def test_a_study_runs(name, root, tmp_path):
    """Every arm is measured, every claim compared, a second run does nothing, and the page has a row an arm."""
    study, recipe, folder = STUDIES[name], _recipe(name, root), tmp_path / name
    said: list[str] = []
    study.run(folder, recipe, say=said.append)
    found = verdicts(study, read_scores(folder / "scores.jsonl"))
    assert all(one.ours is not None and np.isfinite([one.low, one.high]).all() for one in found)
    before = (folder / "scores.jsonl").read_bytes()
    said.clear()
    study.run(folder, recipe, say=said.append)
    assert said == []
    assert (folder / "scores.jsonl").read_bytes() == before
    assert not list(folder.rglob("*.safetensors"))
    text = write_pages(study, folder)[1].read_text(encoding="utf-8")
    arms = {s.model for s in read_scores(folder / "scores.jsonl")}
    rows = text.partition("\n## Published")[0].count("\n| ")
    assert rows >= len(arms)
    assert all(claim.text in text for claim in study.claims)


@pytest.mark.parametrize(("name", "module"), [("parallel", parallel), ("sampling", sampling), ("depth", depth),
                                              ("sharing", sharing), ("size", size)])  # fmt: skip
def test_every_arm_is_a_recipe(name, module, tmp_path):
    """Every arm passes the check that a recipe passes before it runs, at both scales; claims name arms there are."""
    path = tmp_path / "a.tsv"
    path.write_text("id\tdocument\ten\tde\n1\ta\tone\teins\n2\ta\ttwo\tzwei\n", encoding="utf-8")
    for scale in STUDIES[name].scales.values():
        arms = module._arms(scale) if hasattr(module, "_arms") else module.ARMS
        assert len({arm.name for arm in arms}) == len(arms)
        for arm in arms:
            recipe = arm_recipe(arm, tmp_path, scale, size.Setup(()), steps=10, seed=0)
            check_pretrain(recipe.model_copy(update={"data": DataRecipe(parallel=(path,))}))


@pytest.mark.parametrize("name", ["parallel", "size"])
def test_dictionaries_that_are_not_there(name, tmp_path):
    """Named before anything is trained."""
    recipe = STUDIES[name].scales["small"].model_copy(update={"root": tmp_path})
    with pytest.raises(DataError, match=r"no file 'dict/muse_full\.tsv\.zst'"):
        STUDIES[name].run(tmp_path / "out", recipe, say=lambda text: None)
    assert not (tmp_path / "out").exists()


def test_sizes_of_networks():
    """Parameters as transformers counts them; of the widths, none comes nearer to the wanted number."""
    for layers, hidden in ((1, 24), (3, 16)):
        config = BertConfig(vocab_size=500, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=2,
                            intermediate_size=4 * hidden, max_position_embeddings=128, type_vocab_size=1)  # fmt: skip
        assert parameters(layers, hidden, 500) == sum(p.numel() for p in BertForMaskedLM(config).parameters())
    for scale in STUDIES["depth"].scales.values():
        for layers in scale.layers:
            found = parameters(layers, width(layers, scale.parameters, scale.vocabulary), scale.vocabulary)
            assert found == pytest.approx(scale.parameters, rel=0.08)


def _rows(arm, task, metric, values, languages=("en", "es")):
    return [Score(arm, task, lang, "held-out", metric, value, 100, seed)
            for seed in (0, 1) for lang, value in zip(languages, values, strict=True)]  # fmt: skip


def test_gaps():
    """English less the others; and pairs of one language less pairs of two."""
    rows = []
    for arm, there in (("layers-1", 0.2), ("layers-12", 0.4)):
        rows += _rows(arm, "bible part centred", "accuracy", (0.6, there)) + _rows(
            arm, "retrieval", "p1", (0.1,), ("es",)
        )
    found = STUDIES["depth"].evidence(rows)
    assert found["gap"].values["layers-1"] == pytest.approx({0: 0.4, 1: 0.4})
    assert found["gap"].values["layers-12"] == pytest.approx({0: 0.2, 1: 0.2})
    rows = _rows("mlm", "retrieval", "p1", (0.1,), ("es",)) + _rows("mlm", "pairs within", "accuracy", (0.8, 0.7))
    rows += _rows("mlm", "pairs across", "accuracy", (0.55,), ("es",)) + _rows(
        "mlm", "bible part", "accuracy", (0.6, 0.5)
    )
    found = STUDIES["parallel"].evidence(rows)
    assert found["lost across"].values["mlm"] == pytest.approx({0: 0.15, 1: 0.15})
    assert found["others beyond English"].values["mlm"] == pytest.approx({0: -0.1, 1: -0.1})


def test_the_best_static_vectors_and_the_rise():
    """The best of those that know no dictionary, seed by seed; half of 80 steps is the checkpoint of step 40.

    From step 20 to 40 it rises by .2, so by .4 in 40 steps.
    """
    rows = _rows("cbow 1", "words", "mrr", (0.1,), ("es",)) + _rows(
        "skipgram 1", "words mapped", "mrr", (0.2,), ("es",)
    )
    rows += _rows("skipgram 1", "words turned", "mrr", (0.9,), ("es",)) + _rows(
        "encoder 1", "words", "mrr", (0.8,), ("es",)
    )
    rows += _rows("encoder 1", "cost", "steps", (80.0,), ("und",))
    for step, value in ((20, 0.1), (40, 0.3), (60, 0.5)):
        rows += _rows("encoder 1", f"words.step{step}", "mrr", (value,), ("es",))
    found = STUDIES["size"].evidence(rows)
    assert found["mrr"].values["static 1"] == {0: 0.2, 1: 0.2}
    assert found["rise"].values["first half"] == pytest.approx({0: 0.4, 1: 0.4})
    assert found["rise"].values["second half"] == pytest.approx({0: 0.5, 1: 0.5})


def test_as_unequal_as_cc100(whole):
    """Verses in the proportions of the table; of a language with fewer than its share, all."""
    found = thinned(whole, ("en", "de", "sw"))
    counts = {lang: sum(lang in texts for texts in found.values()) for lang in ("en", "de", "sw")}
    assert counts["en"] == sum("en" in texts for texts in whole.pretrain.values())
    assert counts["de"] / len(whole.pretrain) == pytest.approx(66.6 / 300.8, abs=1e-3)
    assert counts["sw"] / len(whole.pretrain) == pytest.approx(1.6 / 300.8, abs=1e-4)
    assert sizes()["sw"] == pytest.approx(1.6)
    little = thinned(whole, ("sw", "my"))
    assert sum("my" in texts for texts in little.values()) == sum("my" in texts for texts in whole.pretrain.values())


def test_parts_of_the_text(whole):
    """Whole chapters; a sixteenth is part of a quarter."""
    sixteenth, quarter = (part_of_verses(whole.pretrain, share) for share in (1 / 16, 1 / 4))
    assert set(sixteenth) < set(quarter) < set(whole.pretrain)
    assert len(quarter) == pytest.approx(len(whole.pretrain) / 4, rel=0.1)
    chapter = next(iter(sixteenth)).rsplit(".", 1)[0]
    assert sum(verse.startswith(f"{chapter}.") for verse in sixteenth) == sum(
        verse.startswith(f"{chapter}.") for verse in whole.pretrain
    )
    assert part_of_verses(whole.pretrain, 1.0) == whole.pretrain


class _Turned(Trained):
    """Spanish is English turned and moved."""

    _turn = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]

    def states(self, lang, texts, layers=None):
        rows = np.array([np.random.default_rng(int(text)).normal(size=6) for text in texts], dtype=np.float32)
        rows = rows if lang == "en" else np.asarray(rows @ self._turn * 3 + 5, dtype=np.float32)
        return np.stack([rows] * (1 if layers is None else len(layers)))

    @property
    def candidates(self):
        return [str(number) for number in range(40)]

    @property
    def found(self):
        return {lang: self.states(lang, self.candidates) for lang in self.languages}


def test_what_a_turn_finds():
    """All translations by the turn that was made, hardly one by a turn from wrong pairs; CKA does not see a turn."""
    split = BibleSplit(["en", "es"])
    split.teach_verses.update({str(n): {"en": str(n), "es": str(n)} for n in range(100, 200)})
    trained = _Turned({}, None, split, ("en", "es"))
    found = {task: value for task, _, _, value, _ in joined(trained)}
    assert found["joined"] == 1
    assert found["joined, wrong pairs"] < 0.3
    alike = {task: value for task, _, _, value, _ in likeness(trained)}
    assert alike["likeness.layer0"] == pytest.approx(1, abs=1e-4)
    assert alike["likeness, wrong pairs.layer0"] < 0.6


def test_words_that_are_asked():
    """Those of the dictionary that stand in the verses; every other source word teaches, with all its translations."""
    entries = size._halves(
        [LexiconEntry(a, b) for a, b in (("God", "dios"), ("God", "señor"), ("son", "hijo"), ("x", "y"))]
    )
    assert [entry.part for entry in entries] == ["test", "test", "train", "test"]
    verses = {"Gen.1.1": {"en": "God has a son.", "es": "Dios tiene un hijo."}, "Gen.1.2": {"en": "God."}}
    assert Vocabulary(verses, entries, ("en", "es")).words == {"en": ["god", "son"], "es": ["dios", "hijo"]}
