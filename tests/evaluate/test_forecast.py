"""Forecasts against invented truths, plain formulas, scikit-learn, and the layout of SumEval."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from scipy.stats import binom
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, WhiteKernel
from sklearn.linear_model import RidgeCV
from tests.fixtures_cli import run

from interlingua.errors import DataError, LanguageError
from interlingua.evaluate.forecast import Facts, Forecaster, read_facts, read_grid, read_mixes
from interlingua.evaluate.forecast.intervals import fewest, grouped_quantile, quantile
from interlingua.evaluate.forecast.kinship import Kin, fit_kin
from interlingua.evaluate.forecast.mixes import fit_mixes
from interlingua.evaluate.forecast.sumeval import forecast_folder
from interlingua.scores import Score, append_scores

LANGUAGES = ["de", "nl", "sv", "da", "fr", "es", "it", "ro", "ru", "bg", "pl", "cs"]
NEW = ["pt", "uk"]
BRANCH = {"de": 0, "nl": 0, "sv": 0, "da": 0, "fr": 1, "es": 1, "it": 1, "ro": 1, "pt": 1, "ru": 2, "bg": 2, "pl": 2,
          "cs": 2, "uk": 2}  # fmt: skip


def write(path: Path, rows: Any) -> Path:
    text = json.dumps(rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.compress(text) if path.suffix == ".zst" else text)
    return path


def truth(mix: dict[str, int], lang: str) -> float:
    """An additive law: the branch's level, and what logs of the own and of the whole size add."""
    own = math.log1p(mix.get(lang, 0)) / math.log(5001)
    return 0.4 + 0.1 * BRANCH[lang] + 0.08 * own + 0.02 * math.log1p(sum(mix.values()))


def mixes(count: int, seed: int = 0) -> list[dict[str, int]]:
    generator = np.random.default_rng(seed)
    return [{lang: int(generator.choice([0, 100, 5000])) for lang in LANGUAGES} for _ in range(count)]


def rows(count: int, *, noise: float = 0.0, seed: int = 0) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed + 1)
    return [
        {"train_config": mix, "eval_results": {x: truth(mix, x) + noise * generator.normal() for x in LANGUAGES}}
        for mix in mixes(count, seed)
    ]


@pytest.fixture(scope="module")
def forecaster(tmp_path_factory: pytest.TempPathFactory) -> Forecaster:
    file = write(tmp_path_factory.mktemp("scores") / "made.json.zst", rows(60, noise=0.002))
    return Forecaster(read_grid([file]), read_facts())


def test_additive_truth_is_recovered_after_new_mixes(forecaster: Forecaster) -> None:
    # Mixes of another seed; oracle: the law itself, to within two deviations of the noise put on the scores.
    asked = mixes(20, seed=7)
    cells = forecaster.predict(asked, LANGUAGES)
    wanted = np.array([[truth(mix, lang) for lang in LANGUAGES] for mix in asked])
    assert np.abs(cells.value - wanted).mean() < 0.004
    assert ((cells.low <= wanted) & (wanted <= cells.high)).mean() > 0.9


def test_additive_truth_is_recovered_in_new_languages(forecaster: Forecaster) -> None:
    # Portuguese and Ukrainian lie on the levels of their branches, which the grid's mean misses by up to 0.1.
    asked = mixes(20, seed=7)
    cells = forecaster.predict(asked, NEW)
    wanted = np.array([[truth(mix, lang) for lang in NEW] for mix in asked])
    assert np.abs(cells.value - wanted).mean() < 0.03
    assert ((cells.low <= wanted) & (wanted <= cells.high)).all()


def test_baselines_are_the_plain_formulas(forecaster: Forecaster) -> None:
    # Oracle: means and RidgeCV written out here, on folds made here in the same way.
    grid = forecaster.grid
    sizes = np.array([[mix[lang] for lang in grid.sources] for mix in grid.mixes], dtype=float)
    folds = np.random.default_rng(0).permutation(60) % 5
    ridge, mean = np.empty((2, *grid.values.shape))
    for fold in range(5):
        inside = folds == fold
        mean[inside] = grid.values[~inside].mean(axis=0)
        for place in range(grid.values.shape[1]):
            fitted = RidgeCV(np.logspace(-2, 4, 19)).fit(np.log1p(sizes[~inside]), grid.values[~inside, place])
            ridge[inside, place] = fitted.predict(np.log1p(sizes[inside]))
    found = forecaster.left_out_mixes()
    assert found.baselines["mean of the language"] == pytest.approx(100 * np.abs(mean - grid.values).mean())
    assert found.baselines["ridge on log sizes"] == pytest.approx(100 * np.abs(ridge - grid.values).mean())
    assert found.error < found.baselines["ridge on log sizes"]
    errors = []
    for place, lang in enumerate(grid.languages):
        zero_shot = sizes[:, grid.sources.index(lang)] == 0
        others = np.delete(grid.values, place, axis=1).mean(axis=1)
        errors.append(np.abs(others - grid.values[:, place])[zero_shot].mean())
    carried = forecaster.left_out_languages()
    assert carried.baselines["mean of the configuration"] == pytest.approx(100 * np.mean(errors))
    assert carried.error < carried.baselines["mean of the configuration"] / 2
    assert carried.cells == int((sizes == 0).sum())


def test_a_process_of_one_language_is_scikit_learns() -> None:
    # The prediction and its deviation against scikit-learn's regressor with the same kernel on the same features.
    generator = np.random.default_rng(3)
    sizes = generator.choice([0.0, 100.0, 5000.0], size=(150, 2))
    values = np.log1p(sizes) @ np.array([[0.02], [0.01]]) + 0.01 * generator.normal(size=(150, 1))
    model = fit_mixes(sizes, values, sources=("de", "fr"), languages=("de",))
    one = model.processes[0]
    logs = np.log1p(sizes)
    whole = np.log1p(sizes.sum(axis=1, keepdims=True))
    features = np.hstack([logs, whole - whole.mean()]) / logs.max() * one.stretch
    oracle = GaussianProcessRegressor(one.process.kernel_, optimizer=None, normalize_y=True).fit(features, values[:, 0])
    mean, deviation = oracle.predict(features, return_std=True)
    found = model.predict(sizes)
    assert found[0][:, 0] == pytest.approx(mean)
    assert found[1][:, 0] == pytest.approx(deviation)
    untaught = model.predict(sizes, untaught=True)[0][:, 0]
    assert untaught == pytest.approx(model.predict(sizes * [0, 1])[0][:, 0])


def test_kin_left_out_is_fitting_without() -> None:
    # The closed form against a prediction from the others, one by one; and the mean of a prediction against
    # scikit-learn's process with a wide prior on the mean.
    generator = np.random.default_rng(0)
    features = generator.normal(size=(14, 2))
    kernels = np.stack([features @ features.T, np.eye(14)])
    values = features @ np.array([[1.0], [2.0]]) + 0.1 * generator.normal(size=(14, 1)) + 5
    kin = Kin(np.array([0.8, 0.1]), 0.05, 1.3)
    forecast, deviation = kin.left_out(kernels, values)
    for place in range(14):
        order = [*(i for i in range(14) if i != place), place]
        value, spread = kin.predict(kernels[:, order][:, :, order], values[order[:-1]])
        assert forecast[place] == pytest.approx(value[0])
        assert deviation[place] == pytest.approx(spread[0])
    kernel = ConstantKernel(0.8) * DotProduct(1e-6) + ConstantKernel(1e6) + WhiteKernel(0.15)
    oracle = GaussianProcessRegressor(kernel, optimizer=None).fit(features[:13], values[:13, 0])
    assert kin.predict(kernels, values[:13])[0][0, 0] == pytest.approx(oracle.predict(features[13:])[0], abs=1e-3)


def test_weights_have_no_better_neighbour() -> None:
    # Oracle: the restricted likelihood and the prior written out by scipy's normal density; no step improves it.
    from scipy.stats import multivariate_normal

    generator = np.random.default_rng(1)
    features = generator.normal(size=(12, 1))
    kernels = np.stack([features @ features.T])
    values = features + 0.3 * generator.normal(size=(12, 1))
    kin = fit_kin(kernels, values)
    contrasts = np.linalg.svd(np.ones((1, 12)))[2][1:]

    def posterior(logs: Any) -> float:
        weight, noise = np.exp(logs)
        covariance = contrasts @ (weight * kernels[0] + noise * np.eye(12)) @ contrasts.T
        density = multivariate_normal(cov=covariance).logpdf(contrasts @ values[:, 0] / kin.scale)
        return float(density - 0.5 * np.sum((logs + 1.5) ** 2) / 4)

    best = np.log([kin.weights[0], kin.noise])
    for step in ([0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05]):
        assert posterior(best + step) < posterior(best)


def test_intervals_cover_exchangeable_groups() -> None:
    # 400 draws of 20 groups with a level of their own; a new group's value lies inside as often as promised, to
    # within the binomial's 99.9 %.
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        levels = generator.standard_t(3, size=21)
        groups = [np.abs(level + 0.3 * generator.normal(size=generator.integers(1, 30))) for level in levels]
        inside += generator.choice(groups[20]) <= grouped_quantile(groups[:20])
    # Whole groups make steps of 1/21: the promise is at least 0.9 and at most a step more.
    assert binom.ppf(0.0005, 400, 0.9) <= inside <= binom.ppf(0.9995, 400, 0.9 + 1 / 21)
    assert quantile(np.arange(1.0, 20.0)) == 18.0  # the 18th of 19, split conformal's ceil(0.9 * 20)
    assert fewest() == 9


def test_too_few_languages_have_no_interval(tmp_path: Path) -> None:
    # Eight groups leave 1/9 of the weight at infinity: more than one in ten.
    with pytest.raises(DataError, match="8 languages to learn an interval from"):
        grouped_quantile([np.ones(3)] * 8)
    kept = [{**row, "eval_results": {x: row["eval_results"][x] for x in LANGUAGES[:5]}} for row in rows(20)]
    small = Forecaster(read_grid([write(tmp_path / "few.json", kept)]), read_facts())
    with pytest.raises(DataError, match="languages to learn an interval from"):
        small.predict(mixes(2), ["pt"])


def test_a_language_without_facts_gets_a_wider_interval(forecaster: Forecaster) -> None:
    # An invented language is similar to none: named, forecast near the mean, with a wider interval than a known one.
    facts = read_facts()
    assert facts.unknown(["pt", "qaa"]) == {"qaa": ["cc100", "family"]}
    cells = forecaster.predict(mixes(3), ["pt", "qaa"])
    width = (cells.high - cells.low).mean(axis=0)
    assert width[1] > width[0]


def test_facts_from_a_file(tmp_path: Path) -> None:
    # The linear kernel of a column against numpy's; a cell left empty is similar to itself alone.
    file = tmp_path / "facts.tsv"
    file.write_text("language\torder\nde\t1\nfr\t3\npt_BR\t\n", encoding="utf-8")
    kernels = read_facts(file).kernels(["de", "fr", "pt"])
    assert len(kernels) == 5
    assert kernels[-1] == pytest.approx(np.array([[1.0, -1, 0], [-1, 1, 0], [0, 0, 1]]))
    assert Facts().kernels(["de", "sv", "ja"])[0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    for text in ("tag\torder\nde\t1\n", "language\torder\nde\tmuch\n", "language\torder\nde\n"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="line"):
            read_facts(file)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[{", "not JSON"),
        ("[]", "list of 0"),
        ('[{"train_config": {}}]', "row 1"),
        ('[{"train_config": {"de": -1}, "eval_results": {"de": 0.5}}]', "-1 examples"),
        ('[{"train_config": {"de": 1}, "eval_results": {"de": "x"}}]', "score 'x'"),
        ('[{"train_config": {}, "eval_results": {"de": 0.5}}, {"train_config": {}, "eval_results": {"de": 55}}]',
         "scores from 0.5 to 55"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=error):
        read_grid([file])


def test_an_unknown_language_in_a_mix(tmp_path: Path, forecaster: Forecaster) -> None:
    bad = write(tmp_path / "bad.json", [{"train_config": {"xx-yy-zz": 1}, "eval_results": {"de": 0.5}}])
    with pytest.raises(LanguageError, match="row 1"):
        read_mixes(bad)
    with pytest.raises(DataError, match="a mix with ja"):
        forecaster.predict([{"ja": 100}], ["de"])


def test_sumeval_folder_keeps_names_layout_and_order(tmp_path: Path) -> None:
    # Answers against the questions: the same files, rows, codes (`no` stays `no`) and mixes; every x a share, inside
    # its interval; and a test file without its training file.
    write(tmp_path / "in/train/T_M.json.zst", rows(30, noise=0.002))
    asked = [{"train_config": mix, "eval_results": {"pt": "x", "no": "x"}} for mix in mixes(4, seed=9)]
    known = [{"train_config": mix, "eval_results": {"fr": "x", "de": "x"}} for mix in mixes(3, seed=9)]
    write(tmp_path / "in/test_release/T_M_surprise_langs_diff_configs.json.zst", asked)
    write(tmp_path / "in/test_release/T_M.json.zst", known)
    (report,) = forecast_folder(tmp_path / "in", tmp_path / "out", read_facts())
    assert [one.asked for one in report.left_out] == ["new mixes", "new languages and mixes"]
    for name, questions in (("T_M.json.zst", known), ("T_M_surprise_langs_diff_configs.json.zst", asked)):
        answers, ends = (
            json.loads(zstandard.decompress((tmp_path / "out" / part).read_bytes()))
            for part in (name, f"intervals/{name}")
        )
        assert [row["train_config"] for row in answers] == [row["train_config"] for row in questions]
        for question, answer, interval in zip(questions, answers, ends, strict=True):
            assert list(answer["eval_results"]) == list(question["eval_results"])
            for code, value in answer["eval_results"].items():
                low, high = interval["eval_results"][code]
                assert 0 <= low <= value <= high <= 1
    write(tmp_path / "in/test_release/U.json.zst", known)
    with pytest.raises(DataError, match="no training file"):
        forecast_folder(tmp_path / "in", tmp_path / "out", read_facts())


def test_the_verb_on_our_own_scores(tmp_path: Path) -> None:
    # Two models over twelve languages, on the branches' levels; Portuguese comes out among the Romance ones.
    file = tmp_path / "scores.jsonl"
    scores = [
        Score(model, "topics", lang, "test", "accuracy", 0.5 + bonus + 0.1 * BRANCH[lang] + 0.001 * i, 100, seed)
        for model, bonus in (("a", 0.0), ("b", 0.1))
        for i, lang in enumerate(LANGUAGES)
        for seed in (0, 1)
    ]
    append_scores(file, [*scores, Score("a", "topics", "en", "test", "accuracy", 0.9, 100, 0)])
    result = run("forecast", file, "--for", "pt,qaa", "--json")
    assert result.exit_code == 1  # nobody knows qaa
    result = run("forecast", file, "--for", "pt", "--json")
    found = json.loads(result.stdout)
    assert found["languages"] == ["pt"]
    assert [row[0] for row in found["value"]] == pytest.approx([0.6, 0.7], abs=0.02)
    assert found["left_out"][0]["error"] < found["left_out"][0]["baselines"]["mean of the configuration"] / 2
    shown = run("forecast", file, "--for", "pt").stdout
    assert "Portuguese" in shown
    assert "new languages" in shown
    assert run("forecast", file, "--for", "de").exit_code == 1
    assert run("forecast").exit_code == 2
