"""The first stage: read, clean, identify, judge, store.

A piece of the plan flows in; rows of the texts that are good so far, and the hashes by which copies are found, flow
out into the piece's own folder. Each step is one of datatrove's. Decision: what travels between them is a `Block` of
some thousand texts, where datatrove's own steps pass single documents, since all the work is done on arrays; a
dropped text stays in its block with the reason until it is counted. Price: datatrove's other filters and readers
cannot be put between these.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep
from loguru import logger

from interlingua.languages import canonical
from interlingua.prepare.clean import Cleaner
from interlingua.prepare.clock import clocked
from interlingua.prepare.identify import alike, identifier
from interlingua.prepare.letters import Letters
from interlingua.prepare.plan import load_pieces
from interlingua.prepare.quality import Judge
from interlingua.prepare.reading import ReadCounts, Text, blocks, read_part
from interlingua.prepare.store import PieceWriter, piece_folder, save_json
from interlingua.recipe_corpus import CorpusRecipe
from interlingua.text.documents import UNDETERMINED

__all__ = ["Block", "CleanTexts", "IdentifyLanguages", "JudgeTexts", "ReadTexts", "StoreTexts", "first_stage"]

# datatrove reports every task on stderr; on a cluster that is the job's log, here it would hide our own report.
if "SLURM_JOB_ID" not in os.environ:
    logger.disable("datatrove")


@dataclass(slots=True)
class Block:
    """Some texts.

    Attributes:
        texts: all of them, in input order.
        looked: those that were judged.
        letters: the letters of ``looked``.
    """

    texts: list[Text]
    looked: list[Text] = field(default_factory=list)
    letters: Letters | None = None

    @property
    def kept(self) -> list[Text]:
        """Texts that no step has dropped."""
        return [text for text in self.texts if not text.dropped]


class _Step(PipelineStep):  # type: ignore[misc]  # datatrove has no types
    """A step of the first stage."""

    type = "interlingua"

    def __init__(self, recipe: CorpusRecipe, folder: Path) -> None:
        super().__init__()
        self.recipe = recipe
        self.folder = folder


class ReadTexts(_Step):
    """Read a piece of the plan."""

    name = "read"

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Block]:
        """Yield blocks; write what reading met when all is read."""
        counts = ReadCounts()
        found = blocks(self._texts(rank, counts))
        while True:
            with clocked(self, "block"):
                block = next(found, None)
            if block is None:
                break
            yield Block(block)
        save_json(piece_folder(self.folder, rank) / "input.json", asdict(counts))

    def _texts(self, rank: int, counts: ReadCounts) -> Iterator[Text]:
        units = 0
        for number, part in enumerate(load_pieces(self.folder)[rank]):
            first = units
            for text in read_part(part, self.recipe, counts):
                if text.unit >= 0:
                    text.unit += first
                    units = text.unit + 1
                if text.document:
                    text.document = f"{rank}.{number}.{text.document}"
                yield text


class CleanTexts(_Step):
    """Repair characters; what has none left is dropped."""

    name = "clean"

    def run(self, data: Iterator[Block], rank: int = 0, world_size: int = 1) -> Iterator[Block]:
        """Clean every text of every block."""
        clean = Cleaner(self.recipe.clean)
        for block in data:
            with clocked(self, "block"):
                for text in block.texts:
                    text.text = clean(text.text)
                    if not text.text:
                        text.dropped = "empty"
            yield block


class IdentifyLanguages(_Step):
    """Find the language of texts that claim none, and check the claims of the others."""

    name = "identify"

    def run(self, data: Iterator[Block], rank: int = 0, world_size: int = 1) -> Iterator[Block]:
        """Set the language of every text, or drop it as ``language`` or ``unwanted``."""
        wanted = {canonical(tag) for tag in self.recipe.languages}
        for block in data:
            with clocked(self, "block"):
                self._identify(block)
                for text in block.kept:
                    if wanted and text.lang not in wanted:
                        text.dropped = "unwanted"
            yield block

    def _identify(self, block: Block) -> None:
        recipe = self.recipe.identify
        trusted = recipe.declared == "trust"
        asked = [text for text in block.kept if text.lang == UNDETERMINED or not trusted]
        if not asked:
            return
        model = identifier()
        chances = model.probabilities([text.text for text in asked], sample=recipe.sample)
        best, most = chances.argmax(axis=1), chances.max(axis=1)
        for text, place, chance in zip(asked, best.tolist(), most.tolist(), strict=True):
            found = model.tags[place]
            if text.lang != UNDETERMINED:
                if chance >= recipe.contradiction and model.knows(text.lang) and not alike(found, text.lang):
                    text.dropped = "language"
            elif found != UNDETERMINED and chance >= recipe.floor:
                text.lang = found
            elif recipe.below == "drop":
                text.dropped = "language"


class JudgeTexts(_Step):
    """Drop what does not look like text."""

    name = "judge"

    def run(self, data: Iterator[Block], rank: int = 0, world_size: int = 1) -> Iterator[Block]:
        """Judge the texts that are left."""
        judge = Judge(self.recipe.quality)
        for block in data:
            with clocked(self, "block"):
                block.looked = block.kept
                texts = [text.text for text in block.looked]
                block.letters = Letters(texts)
                reasons = judge(texts, [text.lang for text in block.looked], block.letters)
                for text, reason in zip(block.looked, reasons, strict=True):
                    text.dropped = reason
            yield block


class StoreTexts(_Step):
    """Write rows and hashes of what is left, and the count of the rest."""

    name = "store"

    def run(self, data: Iterator[Block], rank: int = 0, world_size: int = 1) -> Iterator[Block]:
        """Store every block; nothing is passed on."""
        writer = PieceWriter(self.recipe, self.folder, rank)
        for block in data:
            with clocked(self, "block"):
                writer.add(block.texts, block.looked, block.letters)
        writer.close()
        yield from ()


def first_stage(recipe: CorpusRecipe, folder: Path) -> list[_Step]:
    """The steps in their order."""
    return [kind(recipe, folder) for kind in (ReadTexts, CleanTexts, IdentifyLanguages, JudgeTexts, StoreTexts)]
