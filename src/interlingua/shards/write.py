"""From documents and translation groups to shards.

In: documents of any languages, translation groups, and a vocabulary. Out: a folder of shard files with a manifest.
Decisions: the input is cut into blocks of a fixed number of texts, one block makes one shard in a worker process, and
a shard counts as finished when its ``.done`` file (counts and checksum) stands beside it; running the same command
again goes on after the last finished block. The manifest is written last. Held-out texts are chosen by a hash of the
text (of the whole group, for translations, and of a document's first text), so the split of single texts does not
depend on order. Price: a re-run reads the input again up to where it stopped (reading is cheap, tokenising is not),
and a document that goes over the end of a block becomes two.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import hashlib
import io
import itertools
import json
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from interlingua.errors import LanguageError, RunError, ShardError, VocabularyError
from interlingua.run import atomic_write
from interlingua.shards.format import VERSION, Shard, Unit, encode_shard, fingerprint
from interlingua.shards.read import COUNTS, MANIFEST
from interlingua.text.documents import Document
from interlingua.text.pairs import Parallel

__all__ = ["WriteReport", "write_shards"]

# Characters tokenised at once. The arrays of word starts then stay in the processor's cache, and their memory is used
# again for the next batch instead of going back to the system: with whole blocks they take two to three times as long.
_BATCH = 1 << 17


@dataclass
class WriteReport:
    """What was written.

    Attributes:
        shards: files, by split.
        units: units, by split.
        tokens: tokens, by split.
        split_documents: documents longer than a unit, split at word starts.
        cut_tokens: tokens that translations lost because a side was longer than a unit.
        empty: texts without a single token.
        resumed: shards found finished by an earlier, interrupted run.
    """

    shards: dict[str, int] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    split_documents: int = 0
    cut_tokens: int = 0
    empty: int = 0
    resumed: int = 0


@dataclass(frozen=True)
class _Settings:
    out: str
    tokenizer: str
    languages: tuple[str, ...]
    unit_tokens: int
    held_out: float
    vocabulary: str


def is_held_out(texts: Iterable[str], share: float) -> bool:
    digest = hashlib.blake2b("\n".join(texts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the collector of cycles.

    A block makes tens of thousands of objects and no cycle, and each full collection walks everything that the process
    holds: a sixth of the time where torch is imported.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _split(tokens: np.ndarray, starts: np.ndarray, limit: int) -> list[slice]:
    """Pieces of at most ``limit`` tokens that end at a word start where there is one in their last half."""
    pieces, at = [], 0
    while len(tokens) - at > limit:
        candidates = starts[at + limit // 2 + 1 : at + limit + 1].nonzero()[0]
        end = at + limit // 2 + 1 + int(candidates[-1]) if len(candidates) else at + limit
        pieces.append(slice(at, end))
        at = end
    return [*pieces, slice(at, len(tokens))]


def _batches(texts: Sequence[str]) -> list[slice]:
    """Cut texts into batches of about ``_BATCH`` characters, of 64 texts at least for the tokenizer's threads."""
    counted = np.minimum([len(text) for text in texts], _BATCH // 64)
    cuts = np.flatnonzero(np.diff((np.cumsum(counted) - counted) // _BATCH)) + 1
    return [slice(first, last) for first, last in itertools.pairwise([0, *cuts.tolist(), len(texts)])]


class _Worker:
    """Tokenises blocks and writes their shards; one a process."""

    def __init__(self, settings: _Settings) -> None:
        from tokenizers import Tokenizer

        from interlingua.vocab.words import WordStarts

        self.settings = settings
        self.tokenizer = Tokenizer.from_str(settings.tokenizer)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.word_starts = WordStarts(self.tokenizer)
        self.index = {lang: i for i, lang in enumerate(settings.languages)}

    def tokens(self, texts: Sequence[str], lang: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Token ids and word starts of each text, in order."""
        for batch in _batches(texts):
            encoded = self.tokenizer.encode_batch_fast(texts[batch], add_special_tokens=False)
            ids_list = [encoding.ids for encoding in encoded]
            lengths = np.fromiter(map(len, ids_list), dtype=np.int64, count=len(ids_list))
            ids = np.fromiter(itertools.chain.from_iterable(ids_list), dtype=np.int64, count=int(lengths.sum()))
            starts = self.word_starts.of_rows(ids, lengths, lang)
            for first, last in itertools.pairwise([0, *np.cumsum(lengths).tolist()]):
                yield ids[first:last], starts[first:last]

    def units(self, block: Sequence[Document | Parallel]) -> tuple[dict[str, list[Unit]], dict[str, int]]:
        """Units of a block by split, and counts of what was split, cut or empty."""
        by_language: dict[str, list[tuple[str, int, bool, bool]]] = {}
        held = False
        last: dict[str, int] = {}  # the number of a language's last text
        for number, item in enumerate(block):
            texts = item.texts if isinstance(item, Parallel) else {item.lang: item.text}
            if not item.continues or number == 0:
                # The texts of a document go to one split, that of the first of them.
                held = is_held_out(texts.values(), self.settings.held_out)
            for lang, text in texts.items():
                follows = item.continues and last.get(lang) == number - 1
                by_language.setdefault(lang, []).append((text, number if len(texts) > 1 else -1, follows, held))
                last[lang] = number
        counts = {"split_documents": 0, "cut_tokens": 0, "empty": 0}
        out: dict[str, list[Unit]] = {"train": [], "held-out": []}
        limit = self.settings.unit_tokens
        # A language at a time, so that word starts are found for many texts at once; the order of units inside a
        # language stays that of the input.
        for lang in sorted(by_language):
            rows = by_language[lang]
            tokens = self.tokens([text for text, *_ in rows], lang)
            document, whole = 0, False
            for (text, group, follows, held), (ids, starts) in zip(rows, tokens, strict=True):
                # What is missing between two texts parts them.
                document += not (follows and whole)
                whole = len(ids) > 0 and (len(ids) <= limit or group < 0)
                if not len(ids):
                    counts["empty"] += 1
                    continue
                pieces = [slice(0, len(ids))]
                if len(ids) > limit:
                    if group >= 0:
                        counts["cut_tokens"] += len(ids) - limit
                        pieces = [slice(0, limit)]
                    else:
                        counts["split_documents"] += 1
                        pieces = _split(ids, starts, limit)
                for piece in pieces:
                    share = (piece.stop - piece.start) / len(ids)
                    characters = max(1, round(len(text) * share))
                    unit = Unit(ids[piece], starts[piece], self.index[lang], characters, group, document)
                    out["held-out" if held else "train"].append(unit)
        return out, counts

    @_uncollected()
    def write(self, number: int, block: Sequence[Document | Parallel]) -> dict[str, Any]:
        """Write the block's shards and their completion marker; return the marker's content."""
        out, counts = self.units(block)
        done: dict[str, Any] = {"counts": counts, "shards": {}}
        size = self.tokenizer.get_vocab_size()
        for split, units in out.items():
            if not units:
                continue
            raw = encode_shard(units, len(self.settings.languages), size)
            name = f"{number:06d}.shard"
            atomic_write(Path(self.settings.out) / split / name, raw)
            per_language: dict[str, list[int]] = {}
            for unit in units:
                entry = per_language.setdefault(self.settings.languages[unit.language], [0, 0, 0])
                entry[0] += 1
                entry[1] += len(unit.tokens)
                entry[2] += unit.characters
            done["shards"][split] = {
                "file": name,
                "sha256": hashlib.sha256(raw).hexdigest(),
                "units": len(units),
                "tokens": sum(tokens for _, tokens, _ in per_language.values()),
                "per_language": per_language,
            }
        atomic_write(Path(self.settings.out) / f"{number:06d}.done", json.dumps(done))
        return done


_worker: _Worker | None = None


def _start_worker(settings: _Settings) -> None:
    global _worker
    _worker = _Worker(settings)


def _write_block(number: int, block: Sequence[Document | Parallel]) -> dict[str, Any]:
    assert _worker is not None  # set by the pool's initialiser
    return _worker.write(number, block)


def _blocks(items: Iterable[Document | Parallel], size: int) -> Iterator[list[Document | Parallel]]:
    iterator = iter(items)
    while block := list(itertools.islice(iterator, size)):
        yield block


def _claim(out: Path, settings: _Settings, block: int) -> None:
    """Refuse to continue a folder that was begun with other settings."""
    own = {k: v for k, v in asdict(settings).items() if k not in {"tokenizer", "out"}}
    claim = json.dumps({**own, "block": block, "version": VERSION})
    path = out / "settings.json"
    if path.exists() and path.read_text(encoding="utf-8") != claim:
        raise RunError(
            f"{str(out)!r} holds shards that were begun with other settings, another vocabulary or an older format",
            expected="an empty folder, or the same settings to go on",
            where=str(path),
            next_step="choose another folder, or remove this one",
        )
    atomic_write(path, claim)


def _manifest(out: Path, split: str, done: Sequence[dict[str, Any]], settings: _Settings) -> None:
    shards = [d["shards"][split] for d in done if split in d["shards"]]
    per_language = {lang: {"units": 0, "tokens": 0, "characters": 0} for lang in settings.languages}
    for shard in shards:
        for lang, (units, tokens, characters) in shard["per_language"].items():
            entry = per_language[lang]
            entry["units"] += units
            entry["tokens"] += tokens
            entry["characters"] += characters
    # What "unit j of language l" is found by, so that a reader need not open every file.
    counts = [Shard(out / split / shard["file"]).counts for shard in shards]
    packed = io.BytesIO()
    np.save(packed, np.array(counts, dtype=np.uint32).reshape(-1, len(settings.languages), 3), allow_pickle=False)
    atomic_write(out / split / COUNTS, packed.getvalue())
    manifest = {
        "format": "interlingua-shards",
        "version": VERSION,
        "split": split,
        "vocabulary": settings.vocabulary,
        "unit_tokens": settings.unit_tokens,
        "languages": list(settings.languages),
        "units": sum(s["units"] for s in shards),
        "tokens": sum(s["tokens"] for s in shards),
        "per_language": per_language,
        "counts": hashlib.sha256(packed.getvalue()).hexdigest(),
        "shards": [{k: s[k] for k in ("file", "sha256", "units", "tokens")} for s in shards],
    }
    atomic_write(out / split / MANIFEST, json.dumps(manifest, indent=1))


def write_shards(
    out: Path,
    items: Iterable[Document | Parallel],
    tokenizer: Any,
    languages: Sequence[str],
    *,
    unit_tokens: int = 126,
    held_out: float = 0.01,
    workers: int = 1,
    block: int = 20_000,
) -> WriteReport:
    """Write ``out/train`` and ``out/held-out``.

    Args:
        out: folder; a run that was interrupted is continued, one with other settings refused.
        items: documents and translation groups, in a reproducible order.
        tokenizer: a ``transformers`` fast tokenizer or a ``tokenizers.Tokenizer``.
        languages: canonical tags in the order that becomes the language index; no text may be in another.
        unit_tokens: longest unit; longer documents are split at word starts, longer sides of translations cut.
        held_out: share of texts (or groups) kept aside.
        workers: processes.
        block: texts a shard.

    Raises:
        LanguageError: a text in a language not listed, or a listed one without text.
        ShardError: nothing at all to write.
        SaveError: disk full; finished shards stay and are used by the next run.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    settings = _Settings(str(out), backend.to_str(), tuple(languages), unit_tokens, held_out, fingerprint(backend))
    if unit_tokens < 2:
        raise VocabularyError(f"unit_tokens = {unit_tokens}", expected="at least 2", where="data.unit_tokens")
    for leftover in [*out.glob(".*.tmp"), *out.glob("*/.*.tmp")]:
        leftover.unlink()  # what a killed writer was writing
    atomic_write(out / ".writing", "")
    _claim(out, settings, block)
    report = WriteReport()
    done: list[dict[str, Any]] = []

    def pending() -> Iterator[tuple[int, list[Document | Parallel]]]:
        known = set(languages)
        for number, rows in enumerate(_blocks(items, block)):
            for item in rows:
                for lang in item.texts if isinstance(item, Parallel) else (item.lang,):
                    if lang not in known:
                        raise LanguageError(
                            f"a text in {lang!r}",
                            expected=f"one of {', '.join(languages)}",
                            where="languages of the shards",
                        )
            yield number, rows

    def finished(number: int) -> dict[str, Any] | None:
        marker = out / f"{number:06d}.done"
        if not marker.exists():
            return None
        entry: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
        if all((out / split / s["file"]).exists() for split, s in entry["shards"].items()):
            report.resumed += 1
            return entry
        return None

    if workers <= 1:
        worker: _Worker | None = None
        for number, rows in pending():
            entry = finished(number)
            if entry is None:
                worker = worker or _Worker(settings)
                entry = worker.write(number, rows)
            done.append(entry)
    else:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(settings,)
        ) as pool:
            # A bounded queue in order: memory stays flat however long the input is.
            waiting: deque[concurrent.futures.Future[dict[str, Any]] | dict[str, Any]] = deque()
            for number, rows in pending():
                entry = finished(number)
                waiting.append(entry if entry is not None else pool.submit(_write_block, number, rows))
                if len(waiting) > 2 * workers:
                    first = waiting.popleft()
                    done.append(first if isinstance(first, dict) else first.result())
            done += [w if isinstance(w, dict) else w.result() for w in waiting]

    for key in ("split_documents", "cut_tokens", "empty"):
        setattr(report, key, sum(d["counts"][key] for d in done))
    seen = {lang for d in done for s in d["shards"].values() for lang in s["per_language"]}
    if not seen:
        raise ShardError("no text to write", expected="at least one document", where=str(out))
    if missing := [lang for lang in languages if lang not in seen]:
        raise LanguageError(
            f"no text in {', '.join(map(repr, missing))}",
            expected="at least one text in every language",
            next_step="add a source in that language, or take it out",
        )
    for split in ("train", "held-out"):
        shards = [d["shards"][split] for d in done if split in d["shards"]]
        report.shards[split] = len(shards)
        report.units[split] = sum(s["units"] for s in shards)
        report.tokens[split] = sum(s["tokens"] for s in shards)
        if shards:
            _manifest(out, split, done, settings)
    (out / ".writing").unlink(missing_ok=True)
    return report
