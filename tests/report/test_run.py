"""The report of a run folder: what is in the files is on the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from interlingua.errors import DataError
from interlingua.probe.profile import LayerLikeness
from interlingua.report.run import report_run
from interlingua.scores import Score, append_scores


class Words(HTMLParser):
    """All text of a page, and its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.text = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._inside = tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._inside == "h2" and data.strip():
            self.headings.append(data.strip())


def read(page: Path) -> Words:
    parser = Words()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def metrics(run: Path) -> None:
    rows = [
        {
            "step": step,
            "loss": {"mlm": 9.0 / step},
            "tokens_per_second": 1000.0 * step,
            "padding": 0.1,
            **({"held_out": {"mlm": {"en": 2.0, "sw": 4.0}}, "bits_per_character": {"mlm": {"en": 1.5, "sw": 2.5}}}
               if step % 2 == 0 else {}),
        }
        for step in range(1, 5)
    ]  # fmt: skip
    run.mkdir(exist_ok=True)
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def task_scores(run: Path) -> None:
    values = {("tuned", "en"): 0.9, ("tuned", "sw"): 0.7, ("tuned+shift", "en"): 0.9, ("tuned+shift", "sw"): 0.8,
              ("majority", "en"): 0.2, ("majority", "sw"): 0.2}  # fmt: skip
    append_scores(
        run / "scores.jsonl",
        [Score(m, "topics", lang, "test", "accuracy", v, 204, 0) for (m, lang), v in values.items()],
    )


def test_pretraining(tmp_path: Path) -> None:
    # Hand-computed: the median of 1, 2, 3, 4 thousand tokens a second; the mean of 2 and 4 nats.
    metrics(tmp_path / "run")
    page = read(report_run(tmp_path / "run"))
    assert page.headings == ["Training"]
    assert "2,500" in page.text
    assert "mlm 3.000" in page.text


def test_layers(tmp_path: Path) -> None:
    # A section a probe; hand-computed means over languages by layer, alphas and ways apart, single directions left out.
    run = tmp_path / "run"
    run.mkdir()
    values = {("e5", 0, "de"): 0.1, ("e5", 0, "sw"): 0.2, ("e5", 6, "de"): 0.8, ("e5", 6, "sw"): 0.4,
              ("e5+centred", 6, "de"): 0.9}  # fmt: skip
    rows = [Score(model, f"retrieval.layer{layer}", lang, "test", metric, value, 9)
            for (model, layer, lang), value in values.items() for metric in ("p1", "p1_from_source")]  # fmt: skip
    rows += [Score("e5", f"steering.layer1.alpha{alpha}", "de", "test", "bleu1", 10.25 + alpha, 9) for alpha in (0, 2)]
    rows.append(Score("e5", "geometry.layer6", "mul", "test", "v_measure", 0.75, 9))
    rows += [Score("e5", "geometry.layer6", lang, "test", "anisotropy", value, 9)
             for lang, value in (("mul", 0.125), ("de", 0.5), ("sw", 0.25))]  # fmt: skip
    append_scores(run / "scores.jsonl", rows)
    page = read(report_run(run))
    # Two models beside each other: the row of `probe geometry --other` as it is written.
    likeness = LayerLikeness(3, 6, 0.5, 0.25, 9).scores("e5~e6")
    assert [score.layer for score in likeness] == [3, 3]
    assert page.headings == ["By layer: retrieval", "By layer: steering", "By layer: geometry"]
    for text in (
        "0.150",
        "0.600",
        "0.900",
        "Means over up to 2 languages",
        "e5, alpha2",
        "12.25",
        "v measure",
        "0.750",
        "languages together",
        "0.125",
        "0.375",
    ):
        assert text in page.text
    assert "from source" not in page.text


def test_passages_and_bitexts(tmp_path: Path) -> None:
    # Nothing was taught: no language is called the source, and every metric has its column.
    run = tmp_path / "run"
    run.mkdir()
    values = {"mrr@10": 0.625, "ndcg@10": 0.5, "recall@100": 0.875}
    rows = [Score(model, "passages", lang, "test", metric, value / (2 if lang == "de" else 1), 40)
            for model in ("e5", "e5+centred") for lang in ("ru", "de") for metric, value in values.items()]  # fmt: skip
    # Only centred vectors were searched; static vectors of words have no layer.
    rows += [Score("e5+centred", "verses", "fr", "test", "p1", 0.75, 12),
             *(Score("cbow", "words.en-de", "de", "test", metric, 0.25, 12) for metric in ("mrr", "p1"))]  # fmt: skip
    rows += [Score("e5", "bitext", "fr", "test", metric, value, 90)
             for metric, value in (("precision", 0.5), ("recall", 0.25), ("f1", 0.375))]  # fmt: skip
    append_scores(run / "scores.jsonl", rows)
    page = read(report_run(run))
    assert page.headings == ["passages: e5", "Finding translations: e5+centred", "words.en-de: cbow", "bitext: e5"]
    for text in ("mean mrr@10 0.469 over 2 languages", "ndcg@10", "0.875", "mrr@10, centred", "0.375", "precision"):
        assert text in page.text
    assert "taught in" not in page.text
    assert "gap to" not in page.text


def test_scores_and_retrieval(tmp_path: Path) -> None:
    # A section a question, and hand-computed means over the languages that are not the source.
    run = tmp_path / "run"
    run.mkdir()
    task_scores(run)
    rows = [Score("e5", "retrieval", lang, "test", m, 0.5, 20) for lang in ("sw", "de") for m in
            ("p1", "p1_from_source", "p1_to_source")]  # fmt: skip
    append_scores(run / "scores.jsonl", rows)
    page = read(report_run(run, tmp_path / "page.html"))
    assert page.headings == ["topics: taught in English", "topics: language means shifted", "Finding translations: e5"]
    assert "mean accuracy 0.700 outside English" in page.text
    assert "P@1 0.500 over 2 languages" in page.text
    assert "Kiswahili" in page.text


def test_the_source_is_that_of_the_recipe(tmp_path: Path) -> None:
    # A task taught in Swahili: its recipe says so.
    task_scores(tmp_path)
    recipe = 'kind: finetune\nname: t\ntask: {train: [{path: x.tsv, lang: sw}], metric: null}\n'  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    assert read(report_run(tmp_path)).headings[0] == "topics: taught in Swahili"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    # Nothing measured, nothing written.
    with pytest.raises(DataError, match="nothing measured"):
        report_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_last_line_is_passed_over(tmp_path: Path) -> None:
    # A run that is going on: the page is that of the four whole rows, letter for letter, and says nothing of the rest.
    metrics(tmp_path)
    whole = report_run(tmp_path).read_text(encoding="utf-8")
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write('{"step": 5, "loss": {"ü'.encode()[:-1])  # cut inside a character
    assert report_run(tmp_path).read_text(encoding="utf-8") == whole


def test_other_unreadable_lines_are_counted(tmp_path: Path) -> None:
    # One is no JSON, one no object, one of no step; the last is half written and not among them.
    metrics(tmp_path)
    file = tmp_path / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(["nonsense", lines[0], "12", '{"lr": 1}', *lines[1:], '{"st']), encoding="utf-8")
    page = read(report_run(tmp_path))
    assert "3 unreadable line(s)" in page.text
    assert "mlm 3.000" in page.text


def test_a_log_without_a_step_is_refused(tmp_path: Path) -> None:
    # Killed while its first line was written.
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "lo', encoding="utf-8")
    with pytest.raises(DataError, match="no step"):
        report_run(tmp_path)
