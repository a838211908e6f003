"""The recipe of a corpus: which files, what is kept, what counts as the same text.

Decision: everything that changes a byte of the result is here, and nothing that does not; executor and workers stand on
the command line, the settings of a Slurm queue in ``slurm``, which is not compared when a build is taken up again.
Price: cutting the input into tasks (``task_mb``) is part of the recipe, since file names follow from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from interlingua.languages import canonical
from interlingua.recipe_base import Positive, Recipe, Share

__all__ = [
    "CleanRecipe",
    "CorpusRecipe",
    "CorpusSource",
    "DuplicateRecipe",
    "IdentifyRecipe",
    "QualityRecipe",
    "SlurmRecipe",
]

_Limit = Literal[
    "min_characters", "max_characters", "min_letters", "min_script", "max_repetition", "max_run", "max_short_lines"
]
# A character says more here; and Latin names, a letter a sound, outweigh the characters around them.
_DENSE: dict[str, dict[_Limit, float]] = {
    **{script: {"min_characters": 8, "min_script": 0.25} for script in ("Hans", "Hant", "Jpan", "Kore")},
    **{script: {"min_characters": 8} for script in ("Thai", "Laoo", "Khmr", "Mymr")},
}


class CorpusSource(Recipe):
    """Files of one kind."""

    path: Path
    """A file, a folder, or a pattern such as crawl/*.wet.gz: txt, jsonl, tsv (also .gz, .zst), parquet, warc[.gz],
    wet[.gz], po, mo; tmx and other pairs with lang and target_lang."""
    lang: str | None = None
    """Language of texts that name none; po, mo, pairs: of the source side (po: en if not given)."""
    target_lang: str | None = None
    """Pairs: language of the other side; po, mo: of the translations, where the catalogue does not name it."""
    paragraphs: bool = False
    """txt: lines up to the next blank one are the parts of one document."""

    @field_validator("lang", "target_lang")
    @classmethod
    def _canonical(cls, tag: str | None) -> str | None:
        return canonical(tag) if tag else None


class CleanRecipe(Recipe):
    """Repair of the characters."""

    repair: bool = True
    """Undo wrong decoding (mojibake) with ftfy, in texts that look like it."""
    entities: bool = True
    """Turn HTML entities into characters."""
    join_lines: bool = False
    """Make one line of every text."""


class IdentifyRecipe(Recipe):
    """Language identification (py3langid's model)."""

    floor: Share = 0.5
    """Least probability of the language; a calibrated one, see the docs."""
    below: Literal["drop", "und"] = "drop"
    """Texts below the floor: dropped, or kept as language `und`."""
    declared: Literal["trust", "check"] = "check"
    """Texts whose language the row or recipe names: as it says, or dropped where another language is found with at
    least the probability `contradiction`. Languages that the model does not know are always trusted."""
    contradiction: Share = 0.9
    """See `declared`."""
    sample: Positive = 600
    """Longest part of a text that is looked at, in characters."""


class QualityRecipe(Recipe):
    """What a text must be like."""

    min_characters: Positive = 20
    """Shortest text."""
    max_characters: Positive = 1_000_000
    """Longest text."""
    min_letters: Share = 0.6
    """Least share of letters and their marks among all that is not white space."""
    min_script: Share = 0.5
    """Least share of the letters that are in a script of the language."""
    max_repetition: Share = 0.4
    """Largest share of five-token sequences that occurred before in the same text."""
    max_run: Share = 0.3
    """Largest share of characters that are the same as the one before."""
    max_short_lines: Share = 0.6
    """Texts of three lines or more: largest share of characters in short lines without an end mark (menus)."""
    phrases: tuple[str, ...] = ("lorem ipsum", "enable javascript", "javascript is disabled")
    """Texts that hold one of these are dropped as boilerplate (any case)."""
    scripts: dict[str, dict[_Limit, float]] = Field(default_factory=lambda: {**_DENSE})
    """Other limits for languages in a script (ISO 15924)."""


class DuplicateRecipe(Recipe):
    """What counts as the same text; of each group the first in input order stays, in each language by itself."""

    exact: bool = True
    """Drop copies, by a 128-bit hash."""
    near: bool = True
    """Drop near copies, by MinHash."""
    shingle: Positive = 5
    """Tokens a shingle: words, or characters in scripts without spaces; shorter texts have no near copies."""
    bands: Positive = 14
    """Bands of the signature; two texts are near copies where all hashes of a band agree ..."""
    rows: Positive = 8
    """... of so many hashes each: 14 x 8 finds half of the pairs with a Jaccard similarity of about 0.72."""


class SlurmRecipe(Recipe):
    """Where Slurm runs the stages; not part of what is built."""

    partition: str = "cpu"
    """Partition."""
    time: str = "08:00:00"
    """Limit of a job."""
    memory_gb: Positive = 4
    """Memory a task."""
    qos: str = ""
    """Quality of service, if the cluster asks for one."""
    setup: str = ""
    """Shell line that makes interlingua's environment active on a node."""
    jobs: Positive = 1000
    """Most tasks of an array; what is more shares a job."""


class CorpusRecipe(Recipe):
    """From raw files to a clean corpus by language."""

    kind: Literal["corpus"] = "corpus"
    """Which verb runs this recipe."""
    name: str = "corpus"
    """Name, for reports."""
    sources: tuple[CorpusSource, ...] = ()
    """What is read, in this order."""
    languages: tuple[str, ...] = ()
    """Languages kept; none named: all."""
    clean: CleanRecipe = CleanRecipe()
    identify: IdentifyRecipe = IdentifyRecipe()
    quality: QualityRecipe = QualityRecipe()
    duplicates: DuplicateRecipe = DuplicateRecipe()
    pairs: bool = False
    """Also write translation pairs, from catalogues, pairs and tables of parallel text."""
    pivot: str = "en"
    """Language on the first side of the pairs."""
    on_bad: Literal["raise", "count"] = "count"
    """A row that cannot be read: stop, or count it and go on."""
    task_mb: Annotated[float, Field(gt=0)] = 64.0
    """Input of a task. Uncompressed txt and jsonl and Parquet are cut, other files are read as a whole."""
    samples: Annotated[int, Field(ge=0)] = 3
    """Dropped texts shown for each reason."""
    vocab: Path | None = None
    """A vocabulary folder: token shards are written at the end."""
    unit_tokens: Positive = 126
    """Shards: longest unit, in tokens."""
    held_out: Share = 0.01
    """Shards: share of the texts kept aside."""
    slurm: SlurmRecipe = SlurmRecipe()

    @field_validator("languages")
    @classmethod
    def _canonical(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(canonical(tag) for tag in tags)

    @field_validator("pivot")
    @classmethod
    def _canonical_pivot(cls, tag: str) -> str:
        return canonical(tag)
