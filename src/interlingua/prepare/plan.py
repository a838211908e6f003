"""The input of a build, cut into tasks.

A recipe's sources flow in; pieces, each a few parts of files, flow out. Decision: what a piece holds follows from the
names and sizes of the files and ``task_mb`` alone, never from workers or executors, so the names and bytes of all
that is written follow from the input. Unpacked ``.txt`` and ``.jsonl`` are cut at bytes, Parquet at row groups, small
files are put together. Price: an archive is one task, however large; give many of them.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from interlingua.data import PACKAGE, resolve
from interlingua.errors import DataError, RecipeError, RunError
from interlingua.recipe_corpus import CorpusRecipe, CorpusSource
from interlingua.run import atomic_write
from interlingua.text.lines import Span, check_file, file_kind

__all__ = ["FORMATS", "Part", "Plan", "claim_plan", "load_pieces", "make_plan"]

FORMATS = (".txt", ".jsonl", ".tsv", ".parquet", ".tmx", ".po", ".mo", ".warc", ".wet")
# What archives of text unpack to, roughly; it only decides into how many buckets hashes are put.
_UNPACKED = 4
#: Text whose hashes are looked at together, for copies and for near copies (which have more of them).
_EXACT_BYTES, _NEAR_BYTES = 256 << 20, 32 << 20
_MOST_BUCKETS = 4096
PLAN = "plan.json"


@dataclass(frozen=True)
class Part:
    """A file, or a part of one.

    Attributes:
        source: number of its source in the recipe.
        path: the file.
        span: see `read_documents`; None: the whole file.
    """

    source: int
    path: str
    span: Span | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        pieces: the input of each task.
        files: size of each file in bytes.
        exact_buckets: into how many tasks the search for copies is cut.
        near_buckets: the same for near copies.
    """

    pieces: tuple[tuple[Part, ...], ...]
    files: dict[str, int]
    exact_buckets: int
    near_buckets: int


def make_plan(recipe: CorpusRecipe) -> Plan:
    """Find the files and cut them.

    Raises:
        RecipeError: no source.
        DataError: a file that is missing, empty or of an unknown format.
    """
    if not recipe.sources:
        raise RecipeError("a corpus without sources", expected="sources: [{path: FILE}]", where="sources")
    limit = max(1, int(recipe.task_mb * 1e6))
    files: dict[str, int] = {}
    pieces: list[tuple[Part, ...]] = []
    small: list[Part] = []
    room = limit
    volume = 0
    for number, source in enumerate(recipe.sources):
        for path in _files(source):
            size = path.stat().st_size
            files[str(path)] = size
            volume += size * (_UNPACKED if path.suffix.lower() in (".gz", ".zst", ".parquet") else 1)
            spans = list(_spans(path, size, limit, cut=not source.paragraphs))
            if small and (size > room or len(spans) > 1):
                pieces.append(tuple(small))
                small, room = [], limit
            if len(spans) > 1:
                pieces.extend((Part(number, str(path), span),) for span in spans)
            else:
                small.append(Part(number, str(path)))
                room -= size
    if small:
        pieces.append(tuple(small))
    return Plan(tuple(pieces), files, _buckets(volume / _EXACT_BYTES), _buckets(volume / _NEAR_BYTES))


def _buckets(wanted: float) -> int:
    count = 1
    while count < wanted and count < _MOST_BUCKETS:
        count *= 2
    return count


def _files(source: CorpusSource) -> Iterator[Path]:
    text = str(source.path)
    path = resolve(source.path)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and file_kind(file) in FORMATS)
    elif glob.has_magic(text) and not text.startswith(PACKAGE) and not path.exists():
        names = glob.glob(text, recursive=True)  # noqa: PTH207  Path.glob takes no absolute patterns
        found = sorted(Path(name) for name in names if Path(name).is_file())
    else:
        check_file(path)
        found = [path]
    if not found:
        raise DataError(f"no file for {text!r}", expected=f"files of the formats {', '.join(FORMATS)}", where="sources")
    for file in found:
        check_file(file)
        if file_kind(file) not in FORMATS:
            raise DataError(
                f"cannot tell the format of {file.name!r} from its suffix {file_kind(file)!r}",
                expected=", ".join(FORMATS),
                where=str(file),
            )
        yield file


def _spans(path: Path, size: int, limit: int, *, cut: bool) -> Iterator[Span]:
    suffix = path.suffix.lower()
    if cut and suffix in (".txt", ".jsonl") and size > limit:
        count = -(-size // limit)
        for place in range(count):
            yield size * place // count, size * (place + 1) // count
    elif suffix == ".parquet" and size > limit:
        yield from _row_groups(path, limit)
    else:
        yield 0, size


def _row_groups(path: Path, limit: int) -> Iterator[Span]:
    from interlingua.text.documents import require_pyarrow

    require_pyarrow()
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.ParquetFile(path).metadata
    except pyarrow.ArrowException as error:
        raise DataError(f"cannot read {path.name!r}: {error}", expected="a Parquet file", where=str(path)) from error
    begin = held = 0
    for group in range(metadata.num_row_groups):
        held += metadata.row_group(group).total_byte_size
        if held >= limit or group + 1 == metadata.num_row_groups:
            yield begin, group + 1
            begin, held = group + 1, 0


def claim_plan(plan: Plan, folder: Path) -> None:
    """Write the plan, or compare it with the one of the build that is taken up again.

    Raises:
        RunError: the input is not what it was.
    """
    file = folder / PLAN
    now = json.loads(json.dumps(asdict(plan)))
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        if before != now:
            names = sorted({**before["files"], **now["files"]})
            other = [name for name in names if before["files"].get(name) != now["files"].get(name)]
            raise RunError(
                f"the input has changed since this build began: {other[:3] or 'other parts'}",
                expected="the same files, of the same sizes",
                where=str(file),
                next_step="choose another folder with --out, or remove this one",
            )
    else:
        atomic_write(file, json.dumps(now, indent=1, ensure_ascii=False))


def load_pieces(folder: Path) -> list[list[Part]]:
    """The pieces of the plan that a build's folder holds."""
    pieces = json.loads((folder / PLAN).read_text(encoding="utf-8"))["pieces"]
    return [
        [Part(part["source"], part["path"], tuple(part["span"]) if part["span"] else None) for part in piece]
        for piece in pieces
    ]
