"""The last stages: the corpus itself, its statistics, and token shards.

Stored rows and the numbers of the copies flow in; ``texts/LANG/PIECE.jsonl.zst``, ``pairs/EN-XX/PIECE.tsv.zst``,
``statistics.json`` and ``data.yaml`` flow out. Decision: a row is passed on as it was stored, so nothing is parsed or
decided twice; statistics hold no time and no path of the build, so they are as reproducible as the texts. Price: a
file a language and piece, small ones where a language is rare.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from interlingua.errors import DataError
from interlingua.prepare.copies import Stage, dropped_rows
from interlingua.prepare.counts import Counts
from interlingua.prepare.plan import load_pieces
from interlingua.prepare.reading import ReadCounts
from interlingua.prepare.store import piece_folder, read_rows, save_json
from interlingua.recipe_corpus import CorpusRecipe
from interlingua.run import atomic_write
from interlingua.text.documents import UNDETERMINED

__all__ = ["Finish", "WriteCorpus"]

_EXAMPLES = 20


class WriteCorpus(Stage):
    """The rows of a piece that are no copies, by language."""

    name = "write"

    def __init__(self, recipe: CorpusRecipe, folder: Path) -> None:
        super().__init__(folder)
        self.recipe = recipe

    def work(self, piece: int, pieces: int) -> None:
        """Write a file for every group of the piece, and the counts."""
        import zstandard

        document = json.loads((piece_folder(self.folder, piece) / "piece.json").read_text(encoding="utf-8"))
        counts = Counts(self.recipe.samples)
        counts.add(document)
        reasons = dict.fromkeys(dropped_rows(self.folder, "join", piece).tolist(), "near-copy")
        reasons.update(dict.fromkeys(dropped_rows(self.folder, "copies", piece).tolist(), "copy"))
        groups: dict[str, tuple[Any, list[bytes]]] = {}
        number = 0
        for run in range(document["runs"]):
            lines: dict[str, list[str]] = {}
            for group, row in read_rows(self.folder, piece, run):
                if reason := reasons.get(number):
                    counts.take_back(group, reason, *_text_and_source(group, row))
                else:
                    lines.setdefault(group, []).append(f"{row}\n")
                number += 1
            for group, kept in lines.items():
                packer, packed = groups.setdefault(group, (zstandard.ZstdCompressor(level=3).compressobj(), []))
                packed.append(packer.compress("".join(kept).encode()))
        for group, (packer, packed) in groups.items():
            name = f"{group}/{piece:05d}.tsv.zst" if "/" in group else f"texts/{group}/{piece:05d}.jsonl.zst"
            atomic_write(self.folder / name, b"".join([*packed, packer.flush()]))
        save_json(piece_folder(self.folder, piece) / "written.json", counts.document())


def _text_and_source(group: str, row: str) -> tuple[str, str]:
    if "/" in group:
        return row, ""
    fields = json.loads(row)
    return fields["text"], fields["source"]


class Finish(Stage):
    """Statistics of the whole, the section of a recipe that reads it, and shards."""

    name = "finish"

    def __init__(self, recipe: CorpusRecipe, folder: Path) -> None:
        super().__init__(folder)
        self.recipe = recipe

    def work(self, rank: int, world_size: int) -> None:
        """Add up the counts of the pieces, in their order.

        Raises:
            DataError: nothing was kept, or the counts do not add up.
        """
        counts, met = Counts(self.recipe.samples), ReadCounts()
        for piece in range(len(load_pieces(self.folder))):
            folder = piece_folder(self.folder, piece)
            counts.add(json.loads((folder / "written.json").read_text(encoding="utf-8")))
            met.add(ReadCounts(**json.loads((folder / "input.json").read_text(encoding="utf-8"))), _EXAMPLES)
        document = statistics(counts, met)
        if not any(row["kept"] for row in document["texts"].values()):
            raise DataError(
                f"no text is left of {met.rows}",
                expected="at least one text that passes",
                where=str(self.folder),
                next_step=f"reasons: {_reasons(document) or 'nothing could be read'}; {(met.examples or [''])[0]}",
            )
        data = sources(self.folder, self.recipe.pivot)
        atomic_write(self.folder / "data.yaml", yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
        if self.recipe.vocab is not None:
            self._shards(data["data"])
        save_json(self.folder / "statistics.json", document)
        shutil.rmtree(self.folder / "work")

    def _shards(self, data: dict[str, Any]) -> None:
        from interlingua.corpus import corpus_items
        from interlingua.models.checkpoint import open_tokenizer
        from interlingua.recipe import DataRecipe
        from interlingua.shards.write import write_shards

        assert self.recipe.vocab is not None
        write_shards(
            self.folder / "shards",
            corpus_items(DataRecipe.model_validate({"texts": data["texts"]})),
            open_tokenizer(self.recipe.vocab),
            sorted({source["lang"] for source in data["texts"]}),
            unit_tokens=self.recipe.unit_tokens,
            held_out=self.recipe.held_out,
        )


def statistics(counts: Counts, met: ReadCounts) -> dict[str, Any]:
    """What is written to ``statistics.json``.

    Raises:
        DataError: a text was lost on the way; this is a fault of the program.
    """
    document = counts.document()
    for name, row in document["groups"].items():
        if row["read"] != row["kept"] + sum(row["dropped"].values()):
            raise DataError(
                f"{name}: {row['read']} read, but {row['kept']} kept and {sum(row['dropped'].values())} dropped",
                expected="every text kept or dropped for a reason",
                next_step="report this, with the recipe",
            )
    texts = {name: row for name, row in document["groups"].items() if not name.startswith("pairs/")}
    pairs = {name.removeprefix("pairs/"): row for name, row in document["groups"].items() if name.startswith("pairs/")}
    return {
        "texts": texts,
        "pairs": pairs,
        "input": {"rows": met.rows, "blank": met.blank, "missing": met.missing, "unreadable": met.bad,
                  "damaged_files": met.files, "examples": met.examples},
        "samples": document["samples"],
    }  # fmt: skip


def _reasons(document: dict[str, Any]) -> str:
    totals: dict[str, int] = {}
    for row in document["texts"].values():
        for reason, count in row["dropped"].items():
            totals[reason] = totals.get(reason, 0) + count
    return ", ".join(f"{count} {reason}" for reason, count in sorted(totals.items()))


def sources(folder: Path, pivot: str) -> dict[str, Any]:
    """The section ``data`` of a pretraining recipe that reads the corpus; texts without a language are left out."""
    texts = [
        {"path": str(file), "lang": file.parent.name}
        for file in sorted((folder / "texts").glob("*/*.jsonl.zst"))
        if file.parent.name != UNDETERMINED
    ]
    pairs = [
        {"path": str(file), "source_lang": pivot, "target_lang": file.parent.name.removeprefix(f"{pivot}-")}
        for file in sorted((folder / "pairs").glob("*/*.tsv.zst"))
    ]
    return {"data": {"texts": texts, **({"pairs": pairs} if pairs else {})}}
