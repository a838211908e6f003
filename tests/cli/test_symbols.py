"""``probe symbols``: what it writes is what finetune's own readers read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fixtures_cli import run

from interlingua.recipe_transfer import LabelledFile, TaskRecipe
from interlingua.transfer.finetune import read_examples


def test_classes_and_tags(tiny_run: Path, tmp_path: Path) -> None:
    table = tmp_path / "s.tsv"
    table.write_text(
        "split\tlabel\tss\tsequence\ntrain\tEI\tHHC\tACC\ntrain\tN\tCCC\tCCA\ntest\tN\tCHC\tCAC\n", encoding="utf-8"
    )
    document = json.loads(run("probe", "symbols", tiny_run, table, "--out", tmp_path / "c", "--json").stdout)
    words = document["words"]
    assert (document["task"], document["parts"]) == ("classify", {"train": 2, "test": 1})
    found = read_examples(TaskRecipe(type="classify"), [LabelledFile(path=tmp_path / "c" / "train.tsv", lang="en")])
    assert [(one.text, one.label) for one in found] == [
        (" ".join(words[s] for s in "ACC"), "EI"), (" ".join(words[s] for s in "CCA"), "N")
    ]  # fmt: skip
    assert (tmp_path / "c" / "symbols.tsv").read_text(encoding="utf-8") == f"A\t{words['A']}\nC\t{words['C']}\n"
    result = run("probe", "symbols", tiny_run, table, "--labels", "ss", "--out", tmp_path / "t")
    assert "task.type=tag" in result.stdout
    (one,) = read_examples(TaskRecipe(type="tag"), [LabelledFile(path=tmp_path / "t" / "test.tsv", lang="en")])
    assert (one.words, one.tags) == (tuple(words[s] for s in "CAC"), ("C", "H", "C"))


def test_sequences_without_a_symbol_are_counted(tiny_run: Path, tmp_path: Path) -> None:
    table = tmp_path / "s.tsv"
    table.write_text("label\tsequence\tmask\nN\tACC\t011\nN\tCA\t00\n", encoding="utf-8")
    words = ["probe", "symbols", tiny_run, table, "--mask", "mask", "--out"]
    assert "1 sequences left out: their mask leaves no symbol" in run(*words, tmp_path / "a").stdout
    document = json.loads(run(*words, tmp_path / "b", "--json").stdout)
    assert (document["parts"], document["masked"]) == ({"all": 1}, 1)


@pytest.mark.parametrize("part", ["symbols", "a/b", "..", "two words"])
def test_parts_that_are_no_names_of_files(part: str, tiny_run: Path, tmp_path: Path) -> None:
    table = tmp_path / "s.tsv"
    table.write_text(f"split\tlabel\tsequence\ntrain\tN\tAC\n{part}\tN\tCA\n", encoding="utf-8")
    result = run("probe", "symbols", tiny_run, table, "--out", tmp_path / "new")
    assert result.exit_code == 1
    assert f"a part (split) called '{part}'" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("more", "text"), [(["--label", "kind"], "no column 'kind'"), (["--out", "there"], "is there already")]
)
def test_what_is_refused(
    more: list[str], text: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "s.tsv").write_text("label\tsequence\nN\tAC\n", encoding="utf-8")
    result = run("probe", "symbols", tiny_run, "s.tsv", *(more if "--out" in more else [*more, "--out", "new"]))
    assert result.exit_code == 1
    assert text in result.stderr
    assert not (tmp_path / "new").exists()
