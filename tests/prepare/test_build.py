"""Whole builds: what comes out, the same bytes on other workers and after kill -9, and what is refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.fixtures_corpora import corpus_bytes, kept_rows, kept_texts, rows_of, write_lines

from interlingua.corpus import corpus_items
from interlingua.data import resolve
from interlingua.errors import DataError, RunError
from interlingua.prepare import build_corpus
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_corpus import CorpusRecipe
from interlingua.recipe_file import load_recipe, to_yaml
from interlingua.shards.read import ShardSet
from interlingua.text.pairs import read_parallel


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> CorpusRecipe:
    """Real sentences in thirteen languages, with copies, near copies, damage and rubbish put among them."""
    folder = tmp_path_factory.mktemp("mixed")
    rows = list(read_parallel(resolve("package:general.tsv.zst")))
    chance = random.Random(0)
    texts = [text for row in rows for text in row.texts.values() if len(text) > 40]
    texts += chance.sample(texts, 200) + [f"{text}!" for text in chance.sample(texts, 100)]
    texts += ["=====", "   ", "ok", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Lorem ipsum dolor sit amet, and so on."] * 20
    texts += [text.encode().decode("latin-1") for text in chance.sample(texts, 40)]
    chance.shuffle(texts)
    write_lines(folder / "a.jsonl", texts[::2])
    (folder / "b.txt").write_text("".join(f"{' '.join(text.split())}\n" for text in texts[1::2]), encoding="utf-8")
    return load_recipe(
        {"kind": "corpus", "task_mb": 0.3,
         "sources": [{"path": folder / "a.jsonl"}, {"path": folder / "b.txt"}, {"path": "package:general.tsv.zst"}],
         "pairs": True},
        CorpusRecipe,
    )  # fmt: skip


@pytest.fixture(scope="module")
def quiet(mixed: CorpusRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as one worker builds it, undisturbed."""
    out = tmp_path_factory.mktemp("quiet") / "out"
    build_corpus(mixed, out)
    return out


def test_nothing_is_lost(quiet: Path) -> None:
    # Oracle: the lines of the files themselves.
    found = json.loads((quiet / "statistics.json").read_text())
    for lang, row in found["texts"].items():
        assert row["read"] == row["kept"] + sum(row["dropped"].values())
        kept = kept_texts(quiet, lang)
        assert (row["kept"], row["characters"]) == (len(kept), sum(map(len, kept)))
        assert row["bytes"] == sum(len(text.encode()) for text in kept)
    for pair, row in found["pairs"].items():
        lines = [line for file in sorted((quiet / "pairs" / pair).glob("*")) for line in rows_of(file)]
        assert row["kept"] == len(lines)
        assert all(line.count("\t") == 1 for line in lines)
        assert row["read"] == row["kept"] + sum(row["dropped"].values())
    reasons = {reason for row in found["texts"].values() for reason in row["dropped"]}
    assert {"copy", "near-copy", "language", "boilerplate"} <= reasons
    assert set(found["samples"]) >= reasons
    assert found["input"]["blank"] >= 20


def test_languages_are_found(quiet: Path) -> None:
    # Oracle: the table says of each sentence in which language it is; 97 of 100 are found where they belong.
    truth = {
        text: lang for row in read_parallel(resolve("package:general.tsv.zst")) for lang, text in row.texts.items()
    }
    kept = [
        (row["lang"], truth.get(row["text"]))
        for lang in ("de", "ru", "ja", "sw", "my")
        for row in kept_rows(quiet, lang)
    ]
    known = [lang == true for lang, true in kept if true]
    assert len(known) > 500
    assert sum(known) / len(known) > 0.97


def test_two_workers_write_the_same_bytes(mixed: CorpusRecipe, quiet: Path, tmp_path: Path) -> None:
    build_corpus(mixed, tmp_path / "out", workers=2)
    assert corpus_bytes(tmp_path / "out") == corpus_bytes(quiet)


def test_killed_and_started_again_writes_the_same_bytes(mixed: CorpusRecipe, quiet: Path, tmp_path: Path) -> None:
    # kill -9 of the whole process group as soon as the first tasks are done, three times, then a run to the end.
    out, recipe = tmp_path / "out", tmp_path / "recipe.yaml"
    recipe.write_text(to_yaml(mixed), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "interlingua.cli",
        "corpus",
        "build",
        str(recipe),
        "--out",
        str(out),
        "--workers",
        "2",
    ]
    for stage, wanted in (("prepare", 1), ("copies", 1), ("write", 2)):
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        marks = out / "logs" / stage / "completions"
        while process.poll() is None and (not marks.is_dir() or len(list(marks.iterdir())) < wanted):
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (out / "statistics.json").exists()
    # What a task was writing when it was killed must not be taken for finished.
    for folder in (out / "work" / "pieces").iterdir():
        (folder / ".rows-0.zst.1.tmp").write_bytes(b"half")
    subprocess.run(command, check=True, capture_output=True)
    assert corpus_bytes(out) == corpus_bytes(quiet)
    assert not (out / "work").exists()


def test_a_finished_build_is_left_alone(quiet: Path, mixed: CorpusRecipe) -> None:
    before = {file: file.stat().st_mtime_ns for file in quiet.rglob("*") if file.is_file()}
    assert build_corpus(mixed, quiet).statistics == json.loads((quiet / "statistics.json").read_text())
    after = {file: file.stat().st_mtime_ns for file in quiet.rglob("*") if file.is_file()}
    assert {file for file in after if before.get(file) != after[file]} <= {quiet / ".lock"}


def test_another_recipe_or_other_input_is_refused(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.jsonl", ["A sentence that is long enough to be kept."], lang="en")
    recipe = CorpusRecipe(sources=[{"path": source}])
    build_corpus(recipe, tmp_path / "out")
    build_corpus(
        recipe.model_copy(update={"slurm": recipe.slurm.model_copy(update={"time": "1:00"})}), tmp_path / "out"
    )
    with pytest.raises(RunError, match="another recipe"):
        build_corpus(recipe.model_copy(update={"samples": 9}), tmp_path / "out")
    write_lines(source, ["A sentence that is long enough to be kept.", "And one more of the kind."], lang="en")
    with pytest.raises(RunError, match="input has changed"):
        build_corpus(recipe, tmp_path / "out")


def test_nothing_left_says_why(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.jsonl", ["=====", "!!"], lang="en")
    with pytest.raises(DataError, match="no text is left of 2") as caught:
        build_corpus(CorpusRecipe(sources=[{"path": source}]), tmp_path / "out")
    assert "2 short" in str(caught.value)


def test_declared_languages(tmp_path: Path) -> None:
    # A German text that claims to be English goes; trusted, it stays; a language the model does not know stays.
    german = "Die Leute aus dem Dorf gingen am Morgen hinunter an den Fluss, um zu fischen."
    maori = "Kei te haere ngā tāngata o te kāinga ki te awa i te ata ki te hī ika."
    source = write_lines(tmp_path / "a.jsonl", [german], lang="en")
    other = write_lines(tmp_path / "b.jsonl", [maori], lang="mi")
    sources = [{"path": source}, {"path": other}]
    checked = build_corpus(CorpusRecipe(sources=sources), tmp_path / "checked").statistics
    assert checked is not None
    assert checked["texts"]["en"]["dropped"] == {"language": 1}
    assert kept_texts(tmp_path / "checked", "mi") == [maori]
    trusted = CorpusRecipe(sources=sources, identify={"declared": "trust"}, languages=["en"])
    found = build_corpus(trusted, tmp_path / "trusted").statistics
    assert found is not None
    assert found["texts"]["mi"]["dropped"] == {"unwanted": 1}
    assert kept_texts(tmp_path / "trusted", "en") == [german]


def test_texts_without_a_language_can_stay(tmp_path: Path) -> None:
    english = "The people of the village went down to the river in the morning to catch some fish."
    source = write_lines(tmp_path / "a.jsonl", ["Zxqv wrtk plmn bvcx qwzx jhgf dsaq.", english])
    build_corpus(CorpusRecipe(sources=[{"path": source}], identify={"below": "und", "floor": 0.95}), tmp_path / "out")
    assert len(kept_texts(tmp_path / "out", "und")) == 1
    assert len(kept_texts(tmp_path / "out", "en")) == 1


def test_the_result_is_read_by_a_pretraining_recipe(quiet: Path) -> None:
    # data.yaml as the section `data`; every kept text comes back, documents in their order.
    items = list(corpus_items(load_recipe(quiet / "data.yaml", PretrainRecipe).data))
    texts = [item for item in items if hasattr(item, "lang")]
    found = json.loads((quiet / "statistics.json").read_text())
    assert len(texts) == sum(row["kept"] for lang, row in found["texts"].items() if lang != "und")
    assert len(items) - len(texts) == sum(row["kept"] for row in found["pairs"].values())


def test_parts_of_a_document_stay_together(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "The first part of the first text.\nThe second part of the first text.\n\nAnother text all by itself.\n",
        encoding="utf-8",
    )
    build_corpus(
        CorpusRecipe(sources=[{"path": tmp_path / "a.txt", "lang": "en", "paragraphs": True}]), tmp_path / "out"
    )
    assert [row.get("document") for row in kept_rows(tmp_path / "out", "en")] == ["0.0.1", "0.0.1", None]


def test_shards_at_the_end(tmp_path: Path, wordpiece_tokenizer, tiny_texts) -> None:
    from transformers import PreTrainedTokenizerFast

    names = {
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    PreTrainedTokenizerFast(tokenizer_object=wordpiece_tokenizer, **names).save_pretrained(tmp_path / "vocab")
    source = write_lines(tmp_path / "a.jsonl", tiny_texts["de"], lang="de")
    recipe = CorpusRecipe(sources=[{"path": source}], vocab=tmp_path / "vocab", held_out=0.1)
    build_corpus(recipe, tmp_path / "out")
    units = sum(ShardSet(tmp_path / "out" / "shards" / split).manifest["units"] for split in ("train", "held-out"))
    assert units >= len(kept_texts(tmp_path / "out", "de"))
