"""The study of steering on a few chapters, and its layers and differences by hand."""

from __future__ import annotations

import csv
import dataclasses
import random
from pathlib import Path

import pytest

from interlingua.pretrain_check import check_pretrain
from interlingua.recipe import DataRecipe
from interlingua.scores import Score, read_scores
from interlingua.studies import STUDIES, steering, verdicts, write_pages
from interlingua.studies.arms import Setup, arm_recipe
from interlingua.studies.probing import Source
from interlingua.studies.steering import ARMS, SteeringRecipe
from interlingua.text.fake import real_text
from interlingua.tour.bible import split_bible

CHANGES = ("train.threads=1", "model.hidden=32", "model.feed_forward=64", "model.layers=2", "train.batch_tokens=512")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixty chapters to pretrain on, twenty verses to move, and a dictionary of two words."""
    whole = split_bible()
    chapters = sorted({verse.rsplit(".", 1)[0] for verse in whole.pretrain})
    kept = set(random.Random(1).sample(chapters, 60))
    few = {verse: texts for verse, texts in whole.pretrain.items() if verse.rsplit(".", 1)[0] in kept}
    split = dataclasses.replace(whole, pretrain=few)
    monkeypatch.setattr("interlingua.studies.arms.split_bible", lambda: split)
    monkeypatch.setattr(steering, "MOVED", 20)
    monkeypatch.setattr(steering, "MUSE", Source("muse.tsv", "a table", "the tests"))
    rows = ["pair\tsrc_rank\tsrc\ttgt", "en-de\t1\tand\tund", "en-de\t2\tthe\tder"]
    (tmp_path / "muse.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def test_from_text_to_the_page(root: Path, tmp_path: Path) -> None:
    """Three networks, each moved to its own target at each layer and alpha; nothing is done twice."""
    out, study = tmp_path / "study", STUDIES["steering"]
    recipe = SteeringRecipe(root=root, tokens=1, seeds=(0,), changes=CHANGES)
    study.run(out, recipe, say=lambda text: None)
    scores = read_scores(out / "scores.jsonl")
    moved = [s for s in scores if s.task.startswith("steering.layer")]
    assert {(s.model, s.language) for s in moved} == {("copy", "en-x-fake"), ("mlm", "de"), ("tlm", "de")}
    assert {s.task for s in moved} == {f"steering.layer{n}.alpha{a}" for n in range(3) for a in range(5)}
    assert {s.metric for s in moved} == {"target_share", "bleu1", "p1"}
    reference = {s.model: s.value for s in scores if s.task == "steering.reference"}
    assert reference["copy"] == 1.0
    assert 0.5 < reference["mlm"] == reference["tlm"] < 1.0
    verses = {texts["en"] for texts in split_bible().test_verses.values()}
    for arm in ("copy", "mlm", "tlm"):
        with (out / "sentences" / f"{arm}-0.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        assert len(rows) == 3 * 5 * 5
        assert {(row[0], row[1]) for row in rows} == {(str(layer), str(a)) for layer in range(3) for a in range(5)}
        assert {row[2] for row in rows} <= verses
    before = (out / "scores.jsonl").read_bytes()
    study.run(out, recipe, say=lambda text: None)
    assert (out / "scores.jsonl").read_bytes() == before
    with (out / "bible.tsv").open(encoding="utf-8", newline="") as file:
        taught = next(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert real_text(taught["en-x-fake"]) == taught["en"].lower()
    write_pages(study, out)
    page = (out / "report.md").read_text(encoding="utf-8")
    assert "English and its copy, masked LM" in page
    assert "The table is of layer" in page


def test_every_arm_is_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("id\tdocument\ten\tde\ten-x-fake\n1\ta\tone\teins\tx\n2\ta\ttwo\tzwei\ty\n", encoding="utf-8")
    for recipe in STUDIES["steering"].scales.values():
        for arm in ARMS:
            own = arm_recipe(arm, tmp_path, recipe, Setup(()), steps=1, seed=0)
            assert set(own.data.weights) == {"en", "en-x-fake" if arm.name == "copy" else "de"}
            check_pretrain(own.model_copy(update={"data": DataRecipe(parallel=(path,))}))


def test_layer_and_claims_by_hand() -> None:
    """The layer is the one with the highest BLEU at alpha 1 on other verses; alphas are compared there."""

    def rows(seed: int, layer: int, shares: list[float], bleus: list[float]) -> list[Score]:
        task = f"steering.layer{layer}.alpha"
        return [Score("copy", f"{task}{alpha}", "en-x-fake", "held-out", metric, values[alpha], 9, seed)
                for metric, values in (("target_share", shares), ("bleu1", bleus)) for alpha in range(5)]  # fmt: skip

    scores = [
        row
        for seed in (0, 1)
        for row in [
            *(
                Score("copy", f"choosing.layer{layer}.alpha1", "en-x-fake", "held-out", "bleu1", bleu, 9, seed)
                for layer, bleu in ((0, 8.0), (1, 30.0))
            ),
            *rows(seed, 0, [0.9] * 5, [1, 90, 60, 60, 60]),
            *rows(seed, 1, [0, 0.5 + seed / 100, 0.9, 1, 1], [2, 40 + seed, 30, 20, 10]),
        ]
    ]
    evidence = STUDIES["steering"].evidence(scores)
    assert evidence["share"].values["copy 1"] == {0: 0.5, 1: 0.51}
    assert evidence["bleu"].values["copy 4"] == {0: 10, 1: 10}
    found = {one.claim.text: one for one in verdicts(STUDIES["steering"], scores)}
    own = [one for text, one in found.items() if text.startswith("English to its copy")]
    assert [one.verdict for one in own] == ["agrees"] * 4
    assert [one.ours for one in own] == [pytest.approx(v) for v in (0.505, 0.395, 38.5, 30.5)]
    assert all(one.verdict == "not comparable" for text, one in found.items() if text.startswith("English to German"))
