"""The study of a language and its copy, run whole on a few verses; its arms by what they change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.fixtures_cli import run as cli

from interlingua.errors import RecipeError
from interlingua.pretrain_check import check_pretrain
from interlingua.scores import Score, read_scores
from interlingua.studies import STUDIES, fake, verdicts
from interlingua.studies.fake import ARMS, SWITCHES, FakeRecipe
from interlingua.studies.probing import Source

#: Nothing is learned; the score looks at layer 8.
TINY = ("train.steps=1", "model.layers=8", "train.threads=1")


@pytest.fixture
def bibles(tiny_texts: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """150 verses are taught; of the other Bible only the Old Testament is looked at."""
    verses = tiny_texts["en"]
    for name, book, rows in (("nt", "Matt", verses), ("whole", "Gen", verses[:30])):
        lines = ["verse_id\ttext", *(f"{book}.1.{i}\t{text}" for i, text in enumerate(rows)), "Matt.9.1\tnever"]
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(fake, "TAUGHT", Source("nt.tsv", "verses", "a test"))
    monkeypatch.setattr(fake, "UNSEEN", Source("whole.tsv", "verses", "a test"))
    monkeypatch.setattr(fake, "SIZE", 300)
    monkeypatch.setattr(fake, "WIDTH", 16)
    return tmp_path


def test_a_study_from_text_to_its_page(bibles: Path, tmp_path: Path) -> None:
    """An arm of each kind; the score is the mean of its parts, tables have all arms; a second run does nothing."""
    small = FakeRecipe(root=bibles, passes=20, static=1, seeds=(0, 1), plain_seeds=(0,), sentences=20, changes=TINY,
                       switches=("inv-order", "knn-replace"))  # fmt: skip
    out, said = tmp_path / "study", list[str]()
    study = STUDIES["fake"]
    study.run(out, small, say=said.append)
    scores = read_scores(out / "scores.jsonl")
    assert {(s.model, s.seed) for s in scores} == {
        *((name, seed) for name in ("untrained", "vectors alone", "ours") for seed in (0, 1)),
        ("inv-order", 0), ("knn-replace", 0), ("plain", 0), ("original", 0),
    }  # fmt: skip
    own = {(s.task, s.metric, s.language): s.value for s in scores if (s.model, s.seed) == ("ours", 0)}
    parts = [
        own[f"{task}.layer{layer}", "p1", "en-x-fake"] for task in ("retrieval", "translation") for layer in (0, 8)
    ]
    assert own["multilinguality", "multilinguality", "en-x-fake"] == pytest.approx(np.mean(parts))
    assert study.evidence(scores)["score"].values["ours"][0] == pytest.approx(np.mean(parts))
    tables = [table for section in study.sections(scores) for table in section.items if hasattr(table, "rows")]
    assert [row[0].split(":")[0] for row in tables[0].rows] == ["original", "ours", "vectors alone", "untrained"]
    assert [row[0].split(":")[0] for row in tables[1].rows] == ["plain", "inv-order", "knn-replace"]
    assert not (out / "arms").exists()
    before, shown = (out / "scores.jsonl").read_bytes(), len(said)
    study.run(out, small, say=said.append)
    assert (out / "scores.jsonl").read_bytes() == before
    assert len(said) == shown


def test_every_arm_is_a_recipe_that_runs(bibles: Path, tmp_path: Path) -> None:
    """Tokens: the original's passes over the text; a tenth for the others, with those of their vectors."""
    for plain in ("short", "original"):
        recipe = FakeRecipe(root=bibles, passes=200, static=1, plain=plain)
        work = fake._Fake(tmp_path / "study", recipe, lambda text: None)
        assert ("plain" in work.planned) == (plain == "short")
        corpus = work.corpus("text")
        long = 200 * 2 * (corpus.tokens + 2 * corpus.texts)
        for name in work.planned:
            tree, static = work.plan(name, 0)
            check_pretrain(tree)
            steps = tree.train.steps * tree.train.batch_tokens + (static if ARMS[name].begins or ARMS[name].near else 0)
            share = 1 if name == "original" or (plain == "original" and name in SWITCHES) else 0.1
            if name not in {"untrained", "vectors alone"}:
                assert steps == pytest.approx(share * long, rel=0.05), name
            assert tree.model.dropout == (0.1 if share == 1 or name == "untrained" else 0.0)
    with pytest.raises(ValueError, match="static = 5 of passes = 50"):
        FakeRecipe(passes=50)
    with pytest.raises(RecipeError, match=r"switches order(?s:.*)inv-order"):
        STUDIES["fake"].run(tmp_path / "x", FakeRecipe(root=bibles, switches=("order",)), say=lambda text: None)


def test_what_is_claimed() -> None:
    """By hand: a tenth of the original's lead is enough for one claim and not for the other."""

    def rows(arm: str, *values: float) -> list[Score]:
        return [Score(arm, "multilinguality", "en-x-fake", "counterparts", "multilinguality", value, 10, seed)
                for seed, value in enumerate(values)]  # fmt: skip

    scores = [*rows("untrained", 0.0, 0.01), *rows("original", 0.6, 0.61), *rows("ours", 0.7, 0.71),
              *rows("plain", 0.3, 0.31), *rows("lang-pos", 0.1), *rows("inv-order", 0.29)]  # fmt: skip
    found = {one.claim.text: one for one in verdicts(STUDIES["fake"], scores)}
    meet = next(one for text, one in found.items() if text.startswith("Two languages"))
    assert (meet.ours, meet.verdict) == (pytest.approx(0.6), "agrees")
    ours = next(one for text, one in found.items() if text.startswith("A recipe"))
    assert (ours.ours, ours.verdict) == (pytest.approx(0.1), "agrees")
    assert found["Without common positions they meet less"].verdict == "agrees"
    assert found["In reverse order they do not meet"].verdict == "open"
    assert found["... and positions matter more than special tokens"].verdict == "not comparable"
    assert found["With other texts they meet less"].verdict == "not comparable"


def test_the_command_names_what_is_missing(tmp_path: Path) -> None:
    result = cli("study", "run", "fake", f"root={tmp_path}", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "bible.en-bbe.tsv.zst" in result.stderr
    assert "root=FOLDER" in result.stderr
