"""studies/: verdicts against numbers worked out by hand, the runner on a few seconds of real text."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal

import numpy as np
import pytest
import scipy.stats
from tests.fixtures_cli import run as cli

from interlingua.errors import DataError, RunError
from interlingua.pretrain import pretrain
from interlingua.pretrain_check import check_pretrain
from interlingua.recipe import DataRecipe
from interlingua.scores import Score, append_scores, read_scores
from interlingua.studies import STUDIES, Claim, Evidence, verdict, verdicts, write_overview, write_pages
from interlingua.studies.arms import Arm, TimedArms, arm_recipe, run_arms
from interlingua.studies.base import pooled_deviation, seed_values
from interlingua.studies.objectives import ARMS, CLAIMS, SCALES, SETUP
from interlingua.studies.pages import claims_section

TINY = ("train.threads=1", "model.hidden=32", "model.feed_forward=64")
CLAIM = Claim("a beats b", "3 : 1", "somebody", {"a": 1, "b": -1}, "accuracy")


def test_pooled_deviation():
    """The root of the mean variance, weighted by degrees of freedom, as numpy computes it."""
    rows = {"a": [1.0, 2.0, 4.0], "b": [3.0, 3.5], "c": [7.0]}
    values = {arm: dict(enumerate(row)) for arm, row in rows.items()}
    expected = math.sqrt((2 * np.var(rows["a"], ddof=1) + np.var(rows["b"], ddof=1)) / 3)
    assert pooled_deviation(values) == (pytest.approx(expected), 3)
    assert math.isnan(pooled_deviation({"c": {0: 7.0}})[0])


@pytest.mark.parametrize(
    ("b", "margin", "expected"),
    [
        (0.1, 0.0, "agrees"),
        (0.49, 0.0, "open"),
        (0.9, 0.0, "differs"),
        (0.51, -0.2, "agrees"),
        (0.71, -0.1, "differs"),
        (0.45, 0.0, "open"),
    ],
)
def test_verdicts(b, margin, expected):
    """Two seeds at +-.01: the interval is that of scipy's t-test, .061 either side; other arms change nothing."""
    values = {"a": {0: 0.51, 1: 0.49}, "b": {0: b + 0.01, 1: b - 0.01}, "constant": {0: 0.2, 1: 0.2, 2: 0.2}}
    claim = Claim(**{**vars(CLAIM), "margin": margin})
    found = verdict(claim, Evidence(values, "accuracy"))
    assert found.ours == pytest.approx(0.5 - b)
    test = scipy.stats.ttest_ind([0.51, 0.49], [b + 0.01, b - 0.01]).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((test.low, test.high))
    assert found.verdict == expected


def test_what_was_not_measured_is_not_compared():
    """An arm is missing; or there is one seed and so no noise to compare with."""
    assert verdict(CLAIM, Evidence({"a": {0: 1.0}}, "accuracy")).verdict == "not comparable"
    assert verdict(CLAIM, Evidence({"a": {0: 1.0}, "b": {0: 0.0}}, "accuracy")).verdict == "open"


def test_a_bootstrap_over_languages():
    """The interval of a mean of paired differences reaches 1.96 standard errors (numpy's) either side."""
    chance = np.random.default_rng(0)
    level, gain = chance.normal(size=60), chance.normal(0.1, 0.2, size=60)
    values = {"a": dict(enumerate(level + gain)), "b": dict(enumerate(level))}
    found = verdict(CLAIM, Evidence(values, "accuracy", "languages"))
    error = gain.std(ddof=1) / math.sqrt(60)
    assert found.ours == pytest.approx(gain.mean())
    assert (found.low, found.high) == pytest.approx(
        (gain.mean() - 1.96 * error, gain.mean() + 1.96 * error), abs=0.3 * error
    )
    assert found.verdict == "agrees"
    backwards = Claim(**{**vars(CLAIM), "terms": {"a": -1, "b": 1}})
    assert verdict(backwards, Evidence(values, "accuracy", "languages")).verdict == "differs"


def test_languages_that_only_one_arm_has_are_left_out():
    """The difference is over the languages of both; with fewer than five the claim stays open."""
    values = {"a": {"de": 1.0, "fi": 1.0, "sw": 9.0}, "b": {"de": 0.5, "fi": 0.5}}
    found = verdict(CLAIM, Evidence(values, "accuracy", "languages"))
    assert (found.ours, found.verdict) == (0.5, "open")
    assert math.isnan(found.low)


def test_independent_samples_are_drawn_anew_by_themselves():
    """Blocks of two language pairs: ours is the difference of the tables' means, with scipy's error of a difference."""
    chance = np.random.default_rng(0)
    left, right = chance.normal(0.6, 0.1, size=40), chance.normal(0.5, 0.1, size=15)
    values = {"a": dict(enumerate(left)), "b": dict(enumerate(right))}
    found = verdict(CLAIM, Evidence(values, "AER", "blocks", paired=False))
    assert found.ours == pytest.approx(left.mean() - right.mean())
    apart = scipy.stats.ttest_ind(left, right, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((apart.low, apart.high), abs=0.15 * (apart.high - apart.low))
    few = Evidence({**values, "b": dict(enumerate(right[:4]))}, "AER", "blocks", paired=False)
    assert verdict(CLAIM, few).verdict == "open"
    # A sample of four: standard errors by numpy, Student's t with three degrees of freedom.
    half = scipy.stats.t.ppf(0.975, 3) * math.sqrt(left.var(ddof=1) / 40 + right[:4].var(ddof=1) / 4)
    assert verdict(CLAIM, few).high - verdict(CLAIM, few).ours == pytest.approx(half)


def test_a_draw_from_chance_is_no_mean():
    """40 draws, four of which reach the value: the middle 95 % of the differences holds 0, their mean would not."""
    dealt = {draw: 0.9 if draw < 4 else 0.1 for draw in range(40)}
    values = {"a": dict.fromkeys(range(40), 0.8), "b": dealt}
    assert verdict(CLAIM, Evidence(values, "V-measure", "draws")).verdict == "open"
    assert verdict(CLAIM, Evidence(values, "V-measure", "languages")).verdict == "agrees"


def test_numbers_with_an_interval_of_their_own():
    """A correlation's verdict is its interval's; of two of them the ends that are furthest apart."""
    found = {"a": (0.5, 0.2, 0.7), "b": (0.1, -0.1, 0.3)}
    alone = verdict(Claim(**{**vars(CLAIM), "terms": {"a": 1, "zero": -1}}),
                    Evidence({}, "r", "languages", intervals={**found, "zero": (0.0, 0.0, 0.0)}))  # fmt: skip
    assert (alone.ours, alone.low, alone.high, alone.verdict) == (0.5, 0.2, 0.7, "agrees")
    both = verdict(CLAIM, Evidence({}, "r", "languages", intervals=found))
    assert (both.ours, both.low, both.high) == pytest.approx((0.4, -0.1, 0.8))
    assert both.verdict == "open"
    assert verdict(CLAIM, Evidence({}, "r", "languages", intervals={"a": found["a"]})).verdict == "not comparable"


def test_claims_about_another_kind_of_model():
    """Ours is shown, and not compared."""
    values = {"a": {i: 0.5 + i / 8 for i in range(9)}, "b": dict.fromkeys(range(9), 0.0)}
    claim = Claim(**{**vars(CLAIM), "about": "masked LM"})
    other = verdict(claim, Evidence(values, "accuracy", "languages", "sentence encoder"))
    assert (other.ours, other.verdict, other.here) == (1.0, "not comparable", "agrees")
    (table,) = claims_section([other]).items
    assert table.rows[0][-1] == "not comparable (agrees)"
    assert verdict(claim, Evidence({"a": values["a"]}, "accuracy", "languages", "sentence encoder")).here is None
    assert verdict(claim, Evidence(values, "accuracy", "languages", "masked LM")).verdict == "agrees"


def test_seed_values():
    """Means over the languages asked for, seed by seed."""
    rows = [("a", "de", 0, 0.2), ("a", "fi", 0, 0.4), ("a", "de", 1, 0.6), ("a", "en", 1, 1.0), ("b", "de", 0, 0.1)]
    scores = [Score(m, "t", lang, "test", "accuracy", v, 10, seed) for m, lang, seed, v in rows]
    found = seed_values(scores, "t", "accuracy", ["de", "fi"])
    assert found == {"a": {0: pytest.approx(0.3), 1: 0.6}, "b": {0: 0.1}}


def test_claims_name_arms():
    """Every claim of the objectives compares arms there are."""
    names = {arm.name for arm in ARMS}
    assert len(names) == len(ARMS)
    for claim in CLAIMS:
        assert set(claim.terms) <= names


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_claims_compare(study):
    """Every claim of every study weighs arms against each other, names a source, and stands once."""
    assert len({claim.text for claim in study.claims}) == len(study.claims)
    for claim in study.claims:
        assert sum(claim.terms.values()) == 0
        assert claim.published
        assert claim.source


@pytest.mark.parametrize(
    ("name", "general"),
    [
        ("alignment", ""),
        ("families", ""),
        ("overlap", ""),
        ("shift", ""),
        ("words", ""),
        ("retrieval", "published for"),
    ],
)
def test_claims_published_of_masked_models_say_so(name, general):
    """Those that were published of others too say of which in their text."""
    for claim in STUDIES[name].claims:
        assert claim.about == ("" if general and general in claim.text else "masked LM")


def _shifted(lang, before, after):
    return [Score(model, "topics.pooled.0", lang, "test", "accuracy", value, 100, 0)
            for model, value in (("m", before), ("m+shift", after))]  # fmt: skip


@pytest.mark.parametrize(("drop", "loses", "small"), [(0.02, False, "agrees"), (0.05, True, "differs")])
def test_a_loss_is_larger_than_its_error(drop, loses, small):
    """At 80 % of 100 sentences the standard error is .04; drops are changes as gains are.

    Where every language does the same, a share of them is open.
    """
    kind = Score("m", "checkpoint", "und", "-", "masked_lm", 1.0, 1)
    drops = {lang: drop + (i - 2) / 1000 for i, lang in enumerate(("de", "fr", "es", "fi", "hu"))}
    scores = [kind, *(row for lang, own in drops.items() for row in _shifted(lang, 0.8, 0.8 - own))]
    found = [one for one in verdicts(STUDIES["shift"], scores) if one.claim.metric == "pooled"]
    assert [one.verdict for one in found] == ["differs", "open", small]
    assert found[1].ours == pytest.approx(-0.95 if loses else 0.05)
    assert found[2].ours == pytest.approx(-drop)


def test_no_error_is_not_halved():
    """Seven languages whose error is halved and more, and six that centring leaves without one."""
    rows = [Score("m", "checkpoint", "und", "-", "masked_lm", 1.0, 1)]
    for place in range(13):
        centred, projected = (0.8, 0.944 + place / 500) if place < 7 else (1.0, 0.99)
        for model, value in (("m+centred", centred), ("m+projected", projected)):
            rows.append(Score(model, f"retrieval.l{place}.layer12", f"l{place}", "test", "p1", value, 300))
    found = next(one for one in verdicts(STUDIES["retrieval"], rows)
                 if one.claim.metric == "errors" and "layer 12" in one.claim.text)  # fmt: skip
    assert (found.ours, found.verdict) == (pytest.approx(0.05), "agrees")


def test_every_arm_is_a_recipe(tmp_path):
    """Every arm passes the check that a recipe passes before it runs, at both scales."""
    path = tmp_path / "a.tsv"
    path.write_text("id\tdocument\ten\tde\n1\ta\tone\teins\n2\ta\ttwo\tzwei\n", encoding="utf-8")
    for scale in SCALES.values():
        for arm in ARMS:
            recipe = arm_recipe(arm, tmp_path, scale, SETUP, steps=1, seed=0)
            check_pretrain(recipe.model_copy(update={"data": DataRecipe(parallel=(path,))}))


def test_a_study_runs_and_resumes(tmp_path, monkeypatch):
    """Two arms for a moment on two languages of the bundled text: scores of every kind, and nothing is done twice."""
    monkeypatch.setattr("interlingua.studies.arms.ROUNDS", 1)
    scale = TimedArms(seconds=0.1, seeds=(0,), languages=("en", "de"), changes=TINY)
    arms = [Arm("token-15", "tokens"), Arm("sop", "order", ({"type": "sop"},))]
    said: list[str] = []
    run_arms(arms, tmp_path, scale, SETUP, say=said.append)
    scores = read_scores(tmp_path / "scores.jsonl")
    kinds = {(s.model, s.task, s.language) for s in scores}
    for arm in arms:
        assert {(arm.name, "bits", lang) for lang in ("en", "de")} <= kinds
        assert {(arm.name, "bible part", lang) for lang in ("en", "de")} <= kinds
        assert (arm.name, "retrieval", "de") in kinds
    bits = [s.value for s in scores if s.task == "bits"]
    assert all(1 < value < 8 for value in bits)  # between a good compressor and raw bytes
    before = (tmp_path / "scores.jsonl").read_bytes()
    assert not list(tmp_path.rglob("*.safetensors"))
    speeds = json.loads((tmp_path / "speeds.json").read_text(encoding="utf-8"))
    assert set(speeds) == {"token-15", "sop"}
    said.clear()
    run_arms(arms, tmp_path, scale, SETUP, say=said.append)
    assert said == []
    assert (tmp_path / "scores.jsonl").read_bytes() == before
    page, text = write_pages(STUDIES["objectives"], tmp_path)
    assert "single tokens, 15 %" in text.read_text(encoding="utf-8")
    assert "not comparable" in page.read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "arms")


def test_a_stopped_arm_is_not_scored(tmp_path, monkeypatch):
    """SIGTERM in the middle: an error, no scores, and the arm is there to go on with."""
    monkeypatch.setattr("interlingua.studies.arms.ROUNDS", 1)
    scale = TimedArms(seconds=0.1, seeds=(0,), languages=("en", "de"), changes=TINY)

    def stopping(recipe, out, **more):
        if out.parent.name == "arms":
            more["on_step"] = lambda _: os.kill(os.getpid(), signal.SIGTERM)
        return pretrain(recipe, out, **more)

    monkeypatch.setattr("interlingua.studies.arms.pretrain", stopping)
    with pytest.raises(RunError, match="stopped at step 1"):
        run_arms([Arm("token-15", "tokens")], tmp_path, scale, SETUP, say=lambda text: None)
    assert not (tmp_path / "scores.jsonl").exists()
    assert list((tmp_path / "arms" / "token-15-0" / "checkpoints").glob("step-*"))


def test_one_page_of_all(tmp_path):
    """Studies that were run stand on it with their verdicts, others do not; without any there is no page."""
    with pytest.raises(DataError, match="no study was run"):
        write_overview(STUDIES, tmp_path)
    file = tmp_path / "objectives" / "scores.jsonl"
    for arm, value in (("span-15", 0.6), ("token-15", 0.5)):
        append_scores(file, [Score(arm, "bible part", "de", "held-out", "accuracy", value + seed / 100, 600, seed)
                             for seed in (0, 1)])  # fmt: skip
    page, text = write_overview(STUDIES, tmp_path)
    words = text.read_text(encoding="utf-8")
    assert "| objectives |" in words
    assert "| families |" not in words
    found = [one.verdict for one in verdicts(STUDIES["objectives"], read_scores(file))]
    assert f"not comparable {found.count('not comparable')}" in words
    assert "Objectives at equal cost: Published, and ours" in page.read_text(encoding="utf-8")
    listed = cli("study", "list", "--out", tmp_path).stdout
    assert "agrees 1" in listed
    assert listed.count("not run") == len(STUDIES) - 1
    assert cli("study", "report", "--out", tmp_path).exit_code == 0


def test_the_command(tmp_path):
    """The list; a page from measured scores; names, settings and folders that are not there."""
    assert "objectives" in cli("study", "list").stdout
    unknown = cli("study", "run", "families", "modle=x", "--out", tmp_path / "x")
    assert unknown.exit_code == 1
    assert "did you mean 'model'" in unknown.stderr
    wrong = cli("study", "run", "objectivs")
    assert wrong.exit_code == 1
    assert "objectives" in wrong.stderr
    empty = cli("study", "report", "objectives", "--out", tmp_path)
    assert empty.exit_code == 1
    assert "study run" in empty.stderr
    for arm, value in (("span-15", 0.6), ("token-15", 0.5)):
        rows = [
            Score(arm, "bible part", lang, "held-out", "accuracy", value + seed / 100, 600, seed)
            for lang in ("en", "de")
            for seed in (0, 1)
        ]
        append_scores(tmp_path / "scores.jsonl", rows)
        append_scores(tmp_path / "one" / "scores.jsonl", [row for row in rows if row.seed == 0])
    words = cli("study", "report", "objectives", "--out", tmp_path / "one").stdout
    assert "+0.100, no interval" in words
    assert "nan" not in words
    shown = cli("study", "report", "objectives", "--out", tmp_path)
    assert shown.exit_code == 0, shown.output
    row = next(line for line in shown.stdout.splitlines() if "Spans are better" in line)
    assert "+0.100" in row
    assert row.rstrip(" |").endswith("agrees")
