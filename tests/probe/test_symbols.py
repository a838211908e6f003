"""Symbols as words: the tokenizer itself gives each back as one token; files against rows set by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from interlingua.errors import DataError, VocabularyError
from interlingua.probe.symbols import SymbolSequence, read_sequences, symbol_words
from interlingua.text.lines import ReadReport


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "byte_bpe"])
def test_each_symbol_is_one_token_of_its_own(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Any = request.getfixturevalue(f"{kind}_tokenizer")
    words = symbol_words(tokenizer, "ACGTACGT", seed=1)
    assert list(words) == ["A", "C", "G", "T"]
    text = "TTAGACCA"
    ids = tokenizer.encode(" ".join(["x", *(words[symbol] for symbol in text)]), add_special_tokens=False).ids[-8:]
    assert [ids.index(one) for one in ids] == [text.index(symbol) for symbol in text]
    assert symbol_words(tokenizer, {"T", "G", "C", "A"}, seed=1) == words
    assert symbol_words(tokenizer, "ACGT", seed=2) != words


def test_a_vocabulary_without_words() -> None:
    letters = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate("abcdefg")}, unk_token="a"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    with pytest.raises(VocabularyError, match="0 whole words in the vocabulary for 2 symbols"):
        symbol_words(letters, "AC")


def test_forms_of_the_file(tmp_path: Path) -> None:
    # Characters or words as symbols; a label of all or of each; masked ones left out; FASTA over two lines.
    def read(name: str, text: str, **more: Any) -> list[SymbolSequence]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return list(read_sequences(tmp_path / name, **more))

    assert read("a.tsv", "split\tlabel\tsequence\ntrain\tEI\tACGT\ntest\tN\tCC\n") == [
        SymbolSequence(tuple("ACGT"), ("EI",), "train"), SymbolSequence(("C", "C"), ("N",), "test")
    ]  # fmt: skip
    assert read("b.tsv", "label\tnotes\nbach\t60_1 R_2 60_1 61_1\n", sequence="notes") == [
        SymbolSequence(("60_1", "R_2", "60_1", "61_1"), ("bach",))
    ]
    # One note alone is a word too, where any other sequence has several.
    assert [one.symbols for one in read("b.tsv", "label\tsequence\nx\t69_0.5\ny\t60_1 R_2\n")] == [
        ("69_0.5",), ("60_1", "R_2")
    ]  # fmt: skip
    table, report = "sequence\tss\tmask\nMKL\tCHH\t011\nAA\tCC\t00\n", ReadReport()
    assert read("c.tsv", table, labels="ss", mask="mask", report=report) == [SymbolSequence(("K", "L"), ("H", "H"))]
    assert (report.rows, report.missing) == (1, 1)
    assert read("c.tsv", table, label="ss", mask="mask") == [SymbolSequence(("K", "L"), ("CHH",))]
    assert read("d.fasta", ">one nucleus\nMK\nLA\n>two membrane\nGG\n") == [
        SymbolSequence(tuple("MKLA"), ("nucleus",)), SymbolSequence(("G", "G"), ("membrane",))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "more", "match"),
    [
        ("a.tsv", "label\tseq\nN\tAC\n", {}, "no column 'sequence'"),
        ("a.tsv", "label\tsequence\nN\tAC\n", {"labels": "tags"}, "no column 'tags'"),
        ("a.tsv", "label\tsequence\nN\t \n", {}, "without symbols or label"),
        ("a.tsv", "label\tsequence\n\tAC\n", {}, "without symbols or label"),
        ("a.tsv", "label\tsequence\nABC\tAC\n", {"labels": "label"}, "labels of 3 for 2 symbols"),
        ("a.tsv", "label\tsequence\tmask\nN\tAC\t1\n", {"mask": "mask"}, "mask of 1 for 2 symbols"),
        ("a.tsv", "label\tsequence\tmask\nN\tAC\t\nN\tAC\t11\n", {"mask": "mask"}, "mask of 0 for 2 symbols"),
        ("a.tsv", "label\tsequence\tmask\nN\tAC\t00\n", {"mask": "mask"}, "no sequence"),
        ("a.tsv", "", {}, "empty file"),
        ("a.fa", "ACGT\n", {}, "line 'ACGT'"),
        ("a.fa", ">one\nACGT\n", {}, "without symbols or label"),
        ("a.fa", ">one N\nACGT\n", {"labels": "x"}, "with FASTA"),
    ],
)
def test_what_is_refused(name: str, text: str, more: dict[str, str], match: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=match):
        list(read_sequences(tmp_path / name, **more))
