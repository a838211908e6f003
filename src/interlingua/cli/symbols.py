"""``interlingua probe symbols``: sequences that are no language, written in words of a vocabulary."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb
from interlingua.cli.probe import Vocabulary

__all__ = ["add_to"]

_MAPPING = "symbols"


def add_to(app: typer.Typer) -> None:
    """Hang the verb into its group."""
    app.command(cls=Verb)(symbols)


def symbols(
    tokenizer: Vocabulary,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Sequences: a .tsv with a header, or FASTA (>name label).")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the labelled files; it must not be there.")],
    sequence: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the sequence.")] = "sequence",
    label: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the label of a sequence.")] = "label",
    labels: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of labels that are a character a symbol, instead.")
    ] = None,
    mask: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of digits; symbols with a 0 are left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the words that are drawn.")] = 0,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Write DNA, proteins or notes as words.

    Each symbol becomes a word of the vocabulary, drawn at random; the files are for finetune, a part (split) each.

    Example:
    interlingua probe symbols e5-small splice.tsv --out data/splice
    interlingua probe symbols e5-small proteins.tsv --labels labels --mask mask --out data/proteins
    """
    from interlingua.cli.tables import table
    from interlingua.cli.vocab import named_tokenizer
    from interlingua.errors import DataError, RunError
    from interlingua.probe.symbols import labelled_parts, read_sequences, symbol_words
    from interlingua.run import atomic_folder
    from interlingua.text.lines import ReadReport

    if out.exists():
        raise RunError(f"{str(out)!r} is there already", expected="a new folder", where="--out")
    report = ReadReport()
    found = list(read_sequences(file, sequence=sequence, label=label, labels=labels, mask=mask, report=report))
    # A part becomes a file's name, beside the mapping's.
    if unfit := sorted({one.split for one in found if not re.fullmatch(r"[\w-]*", one.split) or one.split == _MAPPING}):
        raise DataError(f"a part (split) called {', '.join(map(repr, unfit))}", where=str(file),
                        expected=f"a plain word (letters, digits, _ and -), and not {_MAPPING!r}, the mapping's name",
                        next_step="rename it in the column 'split'")  # fmt: skip
    words = symbol_words(named_tokenizer(tokenizer), (symbol for one in found for symbol in one.symbols), seed=seed)
    parts = labelled_parts(found, words, tags=bool(labels))
    with atomic_folder(out) as folder:
        for part, rows in parts.items():
            (folder / f"{part}.tsv").write_text("".join(rows), encoding="utf-8")
        mapping = "".join(f"{symbol}\t{word}\n" for symbol, word in words.items())
        (folder / f"{_MAPPING}.tsv").write_text(mapping, encoding="utf-8")
    counts = {part: len(rows) - 1 for part, rows in parts.items()}
    document = {"folder": out, "task": "tag" if labels else "classify", "parts": counts, "masked": report.missing,
                "words": words}  # fmt: skip
    common = Counter(symbol for one in found for symbol in one.symbols).most_common(8)
    return Answer(
        document,
        [*([f"{report.missing:,} sequences left out: their mask leaves no symbol"] if mask else []),
         f"{out}: {', '.join(f'{part}.tsv {count:,}' for part, count in counts.items())} sequences of"
         f" {len(words)} symbols, for task.type={document['task']}; the most frequent:",
         table(["symbol", "times", "word"], [(symbol, f"{times:,}", words[symbol]) for symbol, times in common])],
    )  # fmt: skip
