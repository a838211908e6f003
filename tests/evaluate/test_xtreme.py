"""The full-scale XTREME recipe on a folder in the layout of the downloads, each file a few lines long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.evaluate.suite import run_suite
from interlingua.models.checkpoint import save_checkpoint
from interlingua.recipe_file import load_recipe
from interlingua.recipe_suite import SuiteRecipe
from interlingua.recipe_transfer import LabelledFile, TaskRecipe
from interlingua.transfer.finetune import read_examples

TEXTS = ("The first.", "A second one.", "Third and last.")
LABELS = ("contradiction", "entailment", "neutral")
XNLI = [
    "language",
    "gold_label",
    "sentence1_binary_parse",
    "sentence2_binary_parse",
    "sentence1_parse",
    "sentence2_parse",
    "sentence1",
    "sentence2",
    "promptID",
    "pairID",
    "genre",
    "label1",
    "label2",
    "label3",
    "label4",
    "label5",
    "sentence1_tokenized",
    "sentence2_tokenized",
    "match",
]


def squad(folder: Path, *, ids: str) -> str:
    """A SQuAD document of a question a text."""
    qas = [
        {"context": text, "qas": [{"id": ids.format(i), "question": "Which?",
                                   "answers": [{"text": text[2:5], "answer_start": 2}]}]}
        for i, text in enumerate(TEXTS)
    ]  # fmt: skip
    return json.dumps({"version": "1.1", "data": [{"title": "x", "paragraphs": qas}]})


def write_downloads(root: Path, recipe: SuiteRecipe) -> None:
    """Every file that the recipe names, as its publisher writes it."""

    def put(path: Path, text: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")

    def xnli(langs: tuple[str, ...]) -> str:
        lines = ["\t".join(XNLI)]
        for lang in langs:
            for text, label in zip(TEXTS, LABELS, strict=True):
                row = {"language": lang, "gold_label": label, "sentence1": '"So', "sentence2": text}
                lines.append("\t".join(row.get(name, "x") for name in XNLI))
        return "\n".join(lines) + "\n"

    multinli = zip(TEXTS, ("contradictory", "entailment", "neutral"), strict=True)
    put(Path("XNLI-MT-1.0/multinli/multinli.train.en.tsv"),
        "premise\thypo\tlabel\n" + "".join(f"x\t{text}\t{label}\n" for text, label in multinli))  # fmt: skip
    put(Path("XNLI-1.0/xnli.dev.tsv"), xnli(("en", "sw")))
    put(Path("XNLI-1.0/xnli.test.tsv"), xnli(("ar", "en", "sw")))
    for entry in recipe.entries:
        if entry.task is None:
            continue
        for file in (*entry.task.train, *entry.task.dev, *entry.task.test):
            if file.path.parts[0] == "x-final":
                rows = "".join(f"{i}\t{text}\t{text}\t{i % 2}\n" for i, text in enumerate(TEXTS))
                put(file.path, f"id\tsentence1\tsentence2\tlabel\n{rows}")
            elif entry.name == "pos":
                words = "".join(f"{i + 1}\t{w}\t_\t{'NOUN' if i else 'DET'}\t_\t_\t0\t_\t_\t_\n"
                                for i, w in enumerate(TEXTS[0].split()))  # fmt: skip
                put(file.path, f"# text = {TEXTS[0]}\n1-2\tboth\t_\t_\t_\t_\t_\t_\t_\t_\n{words}\n")
            elif entry.name == "ner":
                code = file.path.name.partition("-")[0]
                put(file.path, f"{code}:Ann\tB-PER\n{code}::\tO\n{code}:Rome\tB-LOC\n\n{code}:x\tO\n\n")
            elif entry.task.type == "span":
                ids = "english--{}-0" if file.path.name == "tydiqa-goldp-v1.1-train.json" else "q{}"
                put(file.path, squad(root, ids=ids))
    for number, lang in enumerate(["ara", "cmn", "swh"]):
        side = "".join(f"{text} {number}\n" for text in TEXTS)
        put(Path(f"LASER/data/tatoeba/v1/tatoeba.{lang}-eng.{lang}"), side)
        put(Path(f"LASER/data/tatoeba/v1/tatoeba.{lang}-eng.eng"), "\n".join(TEXTS) + "\n")


def test_every_entry_runs_on_files_as_they_are_downloaded(hf_tokenizer: Any, tmp_path: Path) -> None:
    """All eight entries are taught and scored in all their languages; Tatoeba in those of its files that are there."""
    recipe = load_recipe("xtreme-mbert", SuiteRecipe)
    write_downloads(tmp_path / "download", recipe)
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    model = save_checkpoint(tmp_path / "encoder", AutoModel.from_config(config), hf_tokenizer)
    found = [e.retrieve for e in recipe.entries if e.retrieve]
    assert found[0].layer == 7
    quick = {"epochs": 1, "threads": 1, "max_length": 40}
    entries = [
        entry.model_copy(update={
            "tune": (entry.tune or recipe.tune).model_copy(update=quick),
            "task": entry.task.model_copy(update={"stride": 4, "max_question": 8}) if entry.task else None,
            "retrieve": entry.retrieve.model_copy(update={"layer": 1, "languages": ("ar", "zh", "sw")})
            if entry.retrieve else None,
        })
        for entry in recipe.entries
    ]  # fmt: skip
    result = run_suite(
        recipe.model_copy(update={"model": str(model), "root": tmp_path / "download", "entries": tuple(entries)}),
        tmp_path / "run",
    )
    languages: dict[str, set[str]] = {}
    for score in result.scores:
        languages.setdefault(score.task, set()).add(score.language)
    counts = {name: len(tags) for name, tags in languages.items()}
    assert counts == {"xnli": 3, "pawsx": 7, "pos": 33, "ner": 40, "xquad": 11, "mlqa": 7, "tydiqa": 9, "tatoeba": 3}


def test_words_of_wikiann_lose_their_language_and_no_others(tmp_path: Path) -> None:
    """``de::`` is a colon; a file where a word has no code keeps all as they are."""
    task = TaskRecipe(type="tag", tags="iob2")
    coded, plain = tmp_path / "coded.tsv", tmp_path / "plain.tsv"
    coded.write_text("de:Ulm\tB-LOC\nde::\tO\n\nde:x\tO\n", encoding="utf-8")
    plain.write_text("de:Ulm\tB-LOC\n:\tO\n", encoding="utf-8")
    sentences = read_examples(task, [LabelledFile(path=coded, lang="de"), LabelledFile(path=plain, lang="de")])
    assert [one.words for one in sentences] == [("Ulm", ":"), ("x",), ("de:Ulm", ":")]


@pytest.mark.parametrize("mapping", [{"old": "new"}, None])
def test_columns_and_labels_of_a_file_under_other_names(tmp_path: Path, mapping: dict[str, str] | None) -> None:
    """Text, label, language and split from columns that the file calls otherwise; labels mapped in the recipe."""
    file = tmp_path / "x.tsv"
    file.write_text("s\tgold\tlanguage\tpart\nhello\told\teng\ta\nhallo\tnew\tdeu\tb\n", encoding="utf-8")
    columns = {"text": "s", "label": "gold", "lang": "language", "split": "part"}
    tree = {"path": file, "columns": columns, "split": "a", "mapping": mapping}
    rows = read_examples(TaskRecipe(), [LabelledFile.model_validate(tree)])
    assert [(row.text, row.lang, row.label) for row in rows] == [("hello", "en", "new" if mapping else "old")]
