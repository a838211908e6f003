"""``probe steer`` over a tiny real run."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from tests.fixtures_cli import run

from interlingua.scores import read_scores


def verses(path: Path, texts: dict[str, list[str]]) -> Path:
    rows = [f"{i}\t{en}\t{de}" for i, (en, de) in enumerate(zip(texts["en"], texts["de"], strict=True))]
    path.write_text("\n".join(["id\ten\tde", *rows]) + "\n", encoding="utf-8")
    return path


def test_tokens_of_another_language(tiny_run: Path, tiny_texts: dict[str, list[str]], tmp_path: Path) -> None:
    """Rows by layer and alpha in the file, the table, a sentence at each alpha, and a drawing."""
    file = verses(tmp_path / "v.tsv", tiny_texts)
    (tmp_path / "lexicon.txt").write_text("the der\nand und\n", encoding="utf-8")
    words = ["probe", "steer", tiny_run, "--parallel", file, "--target", "de", "--limit", "8", "--alphas", "0,1.5"]
    more = ["--lexicon", tmp_path / "lexicon.txt", "--layers", "0", "--figure", tmp_path / "f.svg"]
    document = json.loads(run(*words, *more, "--out", tmp_path / "s.jsonl", "--json").stdout)
    kept = read_scores(tmp_path / "s.jsonl")
    assert [(s.task, s.metric, s.value) for s in kept] == [(r["task"], r["metric"], r["value"]) for r in document]
    assert {s.task for s in kept} == {"steering.layer0.alpha0", "steering.layer0.alpha1.5"}
    assert {s.metric for s in kept} == {"target_share", "bleu1", "p1"}
    assert {s.language for s in kept} == {"de"}
    assert ElementTree.parse(tmp_path / "f.svg").getroot().tag.endswith("svg")
    result = run(*words)
    assert "8 sentences from en to de, no lexicon" in result.stdout
    assert "sacreBLEU: nrefs:1" in result.stdout
    assert tiny_texts["en"][0] in result.stdout
    assert "  alpha 1.5: " in result.stdout


def test_what_is_refused(tiny_run: Path, tiny_texts: dict[str, list[str]], tmp_path: Path) -> None:
    file = verses(tmp_path / "v.tsv", tiny_texts)
    words = ["probe", "steer", tiny_run, "--parallel", file, "--target", "de"]
    few = run(*words)
    assert few.exit_code == 1
    assert "150 rows in en and de, of which 200 are steered" in few.stderr
    assert "smaller --limit" in few.stderr
    far = run(*words, "--alphas", "one")
    assert far.exit_code == 2
    assert "expected numbers with commas between" in " ".join(far.stderr.split())
    headless = run("probe", "steer", "e5-small", "--parallel", file, "--target", "de", "--limit", "8")
    assert headless.exit_code == 1
