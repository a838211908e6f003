"""``interlingua translate``: train, run and score as a user calls them."""

from __future__ import annotations

import json

import pytest
import sacrebleu
from tests.fixtures_cli import VERSES, one_thread, run  # noqa: F401
from tests.fixtures_translate import encoder_folder, unigram  # noqa: F401

RECIPE = """\
kind: translate
name: tiny
data: {{parallel: [{verses}], languages: [en, de], held_out: 10, directions: forward}}
model: {{encoder: {encoder}, decoder_layers: 1, dropout: 0.0}}
train: {{steps: 6, batch_tokens: 300, row_length: 40, threads: 1, device: cpu, save_every: 6, evaluate_every: 3}}
"""


@pytest.fixture(scope="module")
def trained(encoder_folder, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("translate")
    (folder / "tiny.yaml").write_text(RECIPE.format(verses=VERSES, encoder=encoder_folder), encoding="utf-8")
    result = run("translate", "train", folder / "tiny.yaml", "--out", folder / "run", "--json")
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


def test_train(trained):
    """The document against the recipe: all pairs but those held out, cut ones counted; a second call finds it done."""
    folder, document = trained
    assert document["pairs"] == 140
    assert document["cut"] > 0
    assert document["languages"] == ["de"]
    assert document["step"] == 6
    assert document["held_out"].keys() == {"de"}
    again = run("translate", "train", folder / "tiny.yaml", "--out", folder / "run")
    assert again.exit_code == 0
    assert "checkpoint:" in again.stdout
    assert f"interlingua translate score {folder / 'run'} --pairs" in again.stdout


def test_run_keeps_every_line(trained):
    """Lines out are lines in, blank ones blank; with --out they are the file's."""
    folder, _ = trained
    file = folder / "in.txt"
    file.write_text("Abraham begat Isaac.\n\n\n" + "Jesus " * 60 + "\n", encoding="utf-8")
    words = ("translate", "run", folder / "run", file, "--to", "de", "--longest", "20")
    shown = run(*words)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.split("\n")
    assert len(lines) == 5
    assert lines[1] == lines[2] == lines[4] == ""
    assert "1 sources cut" in shown.stderr
    assert "2 empty" in shown.stderr
    written = run(*words, "--out", folder / "out.txt")
    assert written.exit_code == 0
    assert (folder / "out.txt").read_text(encoding="utf-8") == shown.stdout
    document = json.loads(run(*words, "--beam", "2", "--json").stdout)
    assert len(document["translations"]) == 4


def test_score(trained):
    """A model's and a file's translations, and the copy: sacreBLEU's numbers and signatures, rows in a file."""
    folder, _ = trained
    pairs = folder / "run/held-out/en-de.tsv"
    rows = [line.split("\t") for line in pairs.read_text(encoding="utf-8").splitlines()[1:]]
    scored = run("translate", "score", folder / "run", "--pairs", pairs, "--to", "de", "--longest", "30",
                 "--translations", folder / "h.txt", "--out", folder / "scores.jsonl", "--json")  # fmt: skip
    assert scored.exit_code == 0, scored.output
    document = json.loads(scored.stdout)
    hypotheses = (folder / "h.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert len(hypotheses) == len(rows) == 10
    for lines, own in ((hypotheses, document[:3]), ([row[0] for row in rows], document[3:])):
        assert own[0]["score"]["value"] == sacrebleu.corpus_bleu(lines, [[row[1] for row in rows]]).score
        assert own[0]["signature"].startswith("nrefs:1|case:mixed|")
        assert {one["score"]["n"] for one in own} == {10}
    assert {one["score"]["model"] for one in document} == {str(folder / "run"), "copy"}
    assert len((folder / "scores.jsonl").read_text().splitlines()) == 6
    (folder / "ref.txt").write_text("".join(f"{row[1]}\n" for row in rows), encoding="utf-8")
    of_file = run("translate", "score", folder / "h.txt", "--refs", folder / "ref.txt", "--to", "de", "--json")
    assert json.loads(of_file.stdout)[0]["score"]["value"] == document[0]["score"]["value"]
    table = run("translate", "score", folder / "h.txt", "--refs", folder / "ref.txt", "--to", "de").stdout
    assert document[0]["signature"] in table


def test_bad_inputs(trained, encoder_folder, tmp_path):  # noqa: F811
    """Each says what was found and ends with 1, or with 2 where the words of the command are wrong."""
    folder, _ = trained
    (tmp_path / "two.txt").write_text("a\nb\n", encoding="utf-8")
    (tmp_path / "one.txt").write_text("a\n", encoding="utf-8")
    two, one = tmp_path / "two.txt", tmp_path / "one.txt"
    model = folder / "run"
    for words, code, said in (
        (("run", model, two, "--to", "fi"), 1, "'fi'"),
        (("run", encoder_folder, two, "--to", "de"), 1, "architecture 'bert'"),
        (("run", model, tmp_path / "none.txt", "--to", "de"), 1, "no such file"),
        (("score", two, "--refs", one, "--to", "de"), 1, "2 translations for [1]"),
        (("score", model, "--sources", two, "--refs", one, "--to", "de"), 1, "has 2 lines"),
        (("score", model, "--to", "de"), 2, "--pairs"),
        (("score", model, "--refs", one, "--to", "de"), 2, "--sources"),
    ):
        result = run("translate", *words)
        assert (result.exit_code, said in " ".join(result.output.split())) == (code, True), result.output
