"""Corpus preparation: our stages beside plain datatrove steps doing the same, and memory as the input grows.

In: the texts of a corpus recipe as one jsonl file. Out: MB of raw text a second of processor time, for the whole
build and for its stages, what both sides kept, and peak memory. The other side is datatrove's own reader, ftfy
formatter, exact and MinHash deduplication and writer, with py3langid asked text by text in its filter and words cut
at spaces (its multilingual tokenizers need tensorflow). Decisions: a side is one process with one worker, and
processor time is counted, since machines are shared; ours judges quality as well, which datatrove's side leaves out.
Price: waiting for a disk is in neither figure.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlingua.errors import MissingExtraError, RunError
from interlingua.recipe_corpus import CorpusRecipe

__all__ = ["CorpusRun", "compare_corpus", "grown_corpus", "write_input"]

FLOOR = 0.5
# Steps so that a text joined with a later one of its file is met with another partner in every round.
_STRIDE = 7919


@dataclass(frozen=True)
class CorpusRun:
    """What one run of one side came to.

    Attributes:
        side: ``ours`` or ``datatrove``.
        megabytes: raw text, in UTF-8.
        seconds: processor time.
        kept: texts.
        peak_mb: largest resident memory.
        stages: processor seconds of our steps.
    """

    side: str
    megabytes: float
    seconds: float
    kept: int
    peak_mb: float
    stages: dict[str, float]

    @property
    def speed(self) -> float:
        """MB a second of one core."""
        return self.megabytes / self.seconds


def write_input(recipe: CorpusRecipe, path: Path, megabytes: float) -> float:
    """Write texts of a recipe's sources to a jsonl file, spread over the whole of each source.

    Where there is less than ``megabytes``, texts are joined with others of their file, with new partners in every
    round, so that copies stay as rare as they are.

    Returns:
        MB of text written.
    """
    files = _texts(recipe)
    whole = sum(len(text.encode()) for texts in files for text in texts) / 1e6
    share = min(1.0, megabytes / whole)
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for text in _rounds(files, share):
            if written >= megabytes * 1e6 and share == 1.0:
                break
            written += len(text.encode())
            file.write(json.dumps({"text": text, "id": str(written)}, ensure_ascii=False) + "\n")
    return written / 1e6


def _texts(recipe: CorpusRecipe) -> list[list[str]]:
    from interlingua.prepare.plan import make_plan
    from interlingua.prepare.reading import ReadCounts, read_part

    parts = [part for piece in make_plan(recipe).pieces for part in piece]
    by_group: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        for text in read_part(part, recipe, ReadCounts()):
            by_group.setdefault((part.path, text.lang), []).append(text.text)
    return list(by_group.values())


def _rounds(files: Sequence[Sequence[str]], share: float) -> Iterator[str]:
    if share < 1.0:
        for texts in files:
            yield from (texts[int(place / share)] for place in range(int(len(texts) * share)))
        return
    for turn in range(1_000_000):
        for texts in files:
            for place, text in enumerate(texts):
                yield f"{text} {texts[(place + turn * _STRIDE) % len(texts)]}" if turn else text


def compare_corpus(
    path: Path, megabytes: float, folder: Path, *, repeats: int, say: Callable[[str], None]
) -> list[CorpusRun]:
    """Run both sides on a file of `write_input`, in turn.

    Raises:
        MissingExtraError: datatrove's deduplication needs orjson and xxhash.
        RunError: a side failed.
    """
    try:
        import orjson  # noqa: F401
        import xxhash  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"{error.name} is not installed, which datatrove's side needs",
            next_step="pip install orjson 'xxhash<4'",
        ) from error
    found = []
    for repeat in range(repeats):
        for side in ("ours", "datatrove"):
            run = _measure(side, path, megabytes, folder / f"{side}-{repeat}")
            say(f"{side}: {run.speed:.2f} MB/s a core, {run.kept:,} kept, {run.peak_mb:,.0f} MB")
            found.append(run)
    return found


def grown_corpus(
    recipe: CorpusRecipe, sizes: Sequence[float], folder: Path, *, say: Callable[[str], None]
) -> list[CorpusRun]:
    """Build ever larger inputs with one worker, for the memory."""
    found = []
    for size in sizes:
        path = folder / f"{size:g}.jsonl"
        megabytes = write_input(recipe, path, size)
        run = _measure("ours", path, megabytes, folder / f"grown-{size:g}")
        say(f"{megabytes:,.0f} MB: {run.peak_mb:,.0f} MB of memory, {run.speed:.2f} MB/s a core")
        path.unlink()
        found.append(run)
    return found


def _measure(side: str, path: Path, megabytes: float, folder: Path) -> CorpusRun:
    command = [sys.executable, "-m", "interlingua.bench.corpus", side, str(path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"{side} ended with {done.returncode}", where=" ".join(command), next_step=done.stderr[-500:])
    return CorpusRun(side=side, megabytes=megabytes, **json.loads(done.stdout.splitlines()[-1]))


def ours(path: Path, folder: Path) -> tuple[int, dict[str, float]]:
    """Build; texts kept, and seconds of each step."""
    from interlingua.prepare import build_corpus

    recipe = CorpusRecipe.model_validate({"sources": [{"path": path}], "identify": {"floor": FLOOR}})
    found = build_corpus(recipe, folder).statistics or {}
    stages = {}
    for stage in ("prepare", "copies", "near-copies", "join", "write", "finish"):
        for step in json.loads((folder / "logs" / stage / "stats.json").read_text(encoding="utf-8")):
            stages[step["name"].removeprefix("interlingua: ")] = step["time_stats"]["total"]
    return sum(row["kept"] for row in found["texts"].values()), stages


def datatrove(path: Path, folder: Path) -> tuple[int, dict[str, float]]:
    """The same with datatrove's own steps; texts kept."""
    from datatrove.data import Document
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline import dedup
    from datatrove.pipeline.filters import LambdaFilter
    from datatrove.pipeline.formatters import FTFYFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter
    from datatrove.utils.word_tokenizers import WordTokenizer
    from loguru import logger
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    logger.disable("datatrove")
    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    class Spaces(WordTokenizer):  # type: ignore[misc]
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    def content(document: Document) -> str:
        return str(document.text)

    content.__annotations__["return"] = str  # datatrove looks at it, and a string would not do

    def at(name: str) -> str:
        return str(folder / name)

    def writer(name: str) -> Any:
        return JsonlWriter(at(name), compression=None)

    exact, near = dedup.ExactDedupConfig(content_getter=content), dedup.MinhashConfig()
    buckets = near.num_buckets
    stages: list[tuple[list[Any], int]] = [
        (
            [
                JsonlReader(str(path.parent), glob_pattern=path.name),
                FTFYFormatter(normalization="NFC"),
                LambdaFilter(lambda document: model.classify(document.text)[1] >= FLOOR),
                writer("clean"),
            ],
            1,
        ),
        ([JsonlReader(at("clean")), dedup.ExactDedupSignature(at("exact-keys"), exact)], 1),
        ([dedup.ExactFindDedups(at("exact-keys"), at("copies"), exact)], 1),
        ([JsonlReader(at("clean")), dedup.ExactDedupFilter(at("copies"), exact), writer("exact")], 1),
        ([JsonlReader(at("exact")), dedup.MinhashDedupSignature(at("sig"), near, language=Spaces())], 1),
        ([dedup.MinhashDedupBuckets(at("sig"), at("buckets"), config=near)], buckets),
        ([dedup.MinhashDedupCluster(at("buckets"), at("remove"), config=near)], 1),
        ([JsonlReader(at("exact")), dedup.MinhashDedupFilter(at("remove")), writer("kept")], 1),
    ]  # fmt: skip
    for number, (steps, tasks) in enumerate(stages):
        LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=at(f"logs/{number}")).run()
    return sum(file.read_bytes().count(b"\n") for file in (folder / "kept").glob("*.jsonl")), {}


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would count what the process that started this one held, too.
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the side that the command line names and print a line of JSON."""
    side, path, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    begin = time.process_time()
    kept, stages = {"ours": ours, "datatrove": datatrove}[side](path, folder)
    row = {
        "seconds": time.process_time() - begin,
        "kept": kept,
        "peak_mb": _peak_mb(),
        "stages": stages,
    }
    sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
