"""Shards as they are shown, against plain decoding."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.fixtures_cli import VERSES, run

from interlingua.errors import DataError, ShardError
from interlingua.models.checkpoint import open_tokenizer
from interlingua.objectives.build import build_mixture
from interlingua.recipe_objectives import ContrastRecipe, MLMRecipe, TLMRecipe
from interlingua.shards.inspect import find_vocabulary, inspect_rows, split_folder
from interlingua.shards.read import ShardSet
from interlingua.shards.stream import Stream
from interlingua.shards.write import write_shards
from interlingua.text.documents import Document

RECIPES = {"mlm": MLMRecipe(rate=0.3), "tlm": TLMRecipe(rate=0.3, unit="word"), "contrast": ContrastRecipe()}


@pytest.mark.parametrize("name", RECIPES)
def test_pieces_are_the_decoded_texts(tiny_run: Path, name: str) -> None:
    # Oracle: the tokenizer decodes each side of each segment in one go; and the verses themselves hold the text.
    tokenizer = open_tokenizer(tiny_run / "vocab")
    stream = Stream(ShardSet(tiny_run / "shards" / "train"), tokenizer, seed=0, batch_tokens=600, row_length=128)
    objective = build_mixture([RECIPES[name]], tokenizer, how="sum", seed=0).objectives[0]
    batch = stream.batch(3, objective.layout)
    rows = inspect_rows(stream, objective, tokenizer, rows=100, step=3)
    assert len(rows) == batch.rows
    shown = {text.number: text for row in rows for text in row.texts}
    assert sorted(shown) == list(range(1, batch.segments + 1))
    file = re.sub(r"\s+", "", VERSES.read_text(encoding="utf-8")).lower()
    cut = 0
    for number, text in shown.items():
        inside = (batch.segments_BL == number) & ~batch.special_BL
        for language in {piece.language for piece in text.pieces}:
            own = inside & (batch.languages_BL == stream.languages.index(language))
            whole = tokenizer.decode(batch.tokens_BL[own].tolist())
            assert re.sub(r"\s+", "", whole).lower() in file or "\ufffd" in whole
            joined = "".join(piece.text for piece in text.pieces if piece.language == language)
            # A character in bytes of which only some are hidden cannot be shown in pieces.
            cut += "\ufffd" in joined
            assert joined == whole or "\ufffd" in joined
    assert cut <= 0.2 * len(shown)
    links = {(int(a), int(b)) for a, b in batch.links_P2}
    assert {(n, t) for n, text in shown.items() for t in text.translations} == links | {(b, a) for a, b in links}


def test_hidden_pieces_are_those_of_the_objective(tiny_run: Path) -> None:
    # Hidden tokens counted over pieces (decoded one by one) against the labels of the same step.
    from interlingua.shards.sampling import keyed_generator

    tokenizer = open_tokenizer(tiny_run / "vocab")
    stream = Stream(ShardSet(tiny_run / "shards" / "train"), tokenizer, seed=7, batch_tokens=2000, row_length=128)
    objective = build_mixture([MLMRecipe(rate=0.4)], tokenizer, how="sum", seed=7).objectives[0]
    targets = objective.prepare(stream.batch(2), keyed_generator(7, 2, 5, 0))
    rows = inspect_rows(stream, objective, tokenizer, rows=1000, step=2, seed=7)
    pieces = [piece for row in rows for text in row.texts for piece in text.pieces]
    assert targets.labels_BL is not None
    asked = targets.labels_BL.numpy() >= 0
    seen = targets.tokens_BL.numpy()[asked]
    gold = targets.labels_BL.numpy()[asked]
    # Random replacements are shown token by token, so that pieces of that kind can be counted.
    assert sum(piece.hidden == "random" for piece in pieces) == int(
        ((seen != gold) & (seen != tokenizer.mask_token_id)).sum()
    )
    assert {piece.hidden for piece in pieces} == {"", "mask", "random", "kept"}
    assert np.isclose(asked.sum() / (~stream.batch(2).special_BL.numpy()).sum(), 0.4, atol=0.01)


def test_plain_marks(tiny_run: Path) -> None:
    # Without a terminal: brackets, as the help says, and none for an objective that hides nothing.
    result = run(
        "shards", "inspect", tiny_run, "--rows", 3, "--row-length", 96, "--objective", "{type: mlm, rate: 0.5}"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.count("row ") == 3
    assert re.search(r"\[[^\]>=]+\]", result.stdout)
    assert "\x1b" not in result.stdout
    result = run("shards", "inspect", tiny_run, "--rows", 2, "--objective", "contrast")
    assert "(translates " in result.stdout


def test_rows_as_json(tiny_run: Path) -> None:
    # The texts of a row use its tokens up.
    document = json.loads(run("shards", "inspect", tiny_run, "--rows", 2, "--objective", "tlm", "--json").stdout)
    assert len(document) == 2
    assert all(sum(text["tokens"] for text in row["texts"]) == row["used"] <= row["length"] for row in document)


def test_the_manifest(tiny_run: Path) -> None:
    # The file itself against the document; the table names every language.
    result = run("shards", "inspect", tiny_run / "shards", "--json")
    manifest = json.loads((tiny_run / "shards" / "train" / "manifest.json").read_text(encoding="utf-8"))
    assert json.loads(result.stdout) == manifest
    table = run("shards", "inspect", tiny_run / "shards" / "train").stdout
    assert all(f" {lang} " in table for lang in manifest["languages"])


def test_written_shards_find_their_vocabulary(tmp_path: Path, recipe_file: Path) -> None:
    # Written by the verb, read by the other one; a second writing finds all done.
    for _ in range(2):
        result = run("shards", "write", recipe_file, "--out", tmp_path / "shards", "--json")
        assert result.exit_code == 0, result.output
        assert set(json.loads(result.stdout)["splits"]) == {"train", "held-out"}
    folder = split_folder(tmp_path / "shards", "held-out")
    mark = ShardSet(folder).manifest["vocabulary"]
    assert len(find_vocabulary(folder, mark)) == 3000
    with pytest.raises(ShardError, match="no vocabulary"):
        find_vocabulary(folder, "0" * 16)


def test_nothing_there_is_told(tmp_path: Path, tiny_run: Path) -> None:
    # No shards; and no rows asked of the library.
    result = run("shards", "inspect", tmp_path)
    assert result.exit_code == 1
    assert "no 'train' shards" in result.stderr
    tokenizer = open_tokenizer(tiny_run / "vocab")
    stream = Stream(ShardSet(tiny_run / "shards" / "train"), tokenizer, seed=0, batch_tokens=600, row_length=128)
    objective = build_mixture([MLMRecipe()], tokenizer, how="sum", seed=0).objectives[0]
    with pytest.raises(DataError, match="rows = 0"):
        inspect_rows(stream, objective, tokenizer, rows=0)


def test_two_texts_and_their_order(tmp_path: Path, tiny_run: Path) -> None:
    """Parts of one document side by side, with what is asked of them; an objective that rows cannot show is refused."""
    tokenizer = open_tokenizer(tiny_run / "vocab")
    texts = [f"verse {i} of the chapter" for i in range(20)]
    documents = [Document(text, "en", "made up", i, continues=i > 0) for i, text in enumerate(texts)]
    write_shards(tmp_path, documents, tokenizer, ["en"], held_out=0.0)
    result = run("shards", "inspect", tmp_path, "--rows", 2, "--objective", "sop", "--vocab", tiny_run / "vocab")
    assert result.exit_code == 0, result.output
    plain = re.sub(r"\[([^]>=]*)[^]]*\]", r"\1", result.stdout)
    found = re.findall(r"verse (\d+) of the chapter \|\s+verse (\d+) of the chapter\s+\((not )?in order\)", plain)
    assert len(found) > 5
    for first, second, wrong in found:
        assert int(second) - int(first) == (-1 if wrong else 1)
    refused = run("shards", "inspect", tmp_path, "--rows", 2, "--objective", "denoise", "--vocab", tiny_run / "vocab")
    assert refused.exit_code == 1
    assert "rows cannot show" in refused.stderr
    unknown = run("shards", "inspect", tmp_path, "--rows", 2, "--objective", "mlmm", "--vocab", tiny_run / "vocab")
    assert unknown.exit_code == 1
    assert "'mlmm'" in unknown.stderr
