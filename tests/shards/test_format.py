"""shards/format.py, read.py and write.py: what is written is what is read, or a ShardError."""

from __future__ import annotations

import gc
import itertools
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.errors import LanguageError, RunError, ShardError, VocabularyError
from interlingua.shards.format import Shard, Unit, encode_shard, fingerprint
from interlingua.shards.read import ShardSet
from interlingua.shards.write import _batches, write_shards
from interlingua.text.documents import Document
from interlingua.text.pairs import Parallel
from interlingua.vocab.words import WordStarts


def units_of(folder: Path) -> list[tuple[str, tuple[int, ...], tuple[bool, ...], int]]:
    """Everything in a folder of shards, by way of the public reader."""
    shards = ShardSet(folder)
    found = []
    for lang in shards.languages:
        for number in range(shards.count(lang)):
            at = shards.unit(lang, number)
            assert at.language == at.shard.language(at.unit) == shards.languages.index(lang)
            tokens, starts = at.shard.tokens(at.unit), at.shard.starts(at.unit)
            found.append((lang, tuple(tokens.tolist()), tuple(starts.tolist()), at.shard.characters(at.unit)))
    return found


def document(text: str, lang: str = "en") -> Document:
    return Document(text, lang, "made up", 1)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("batch", [640, 1 << 17])
def test_every_text_is_there_once(tmp_path, parallel_items, hf_tokenizer, monkeypatch, batch):
    """Train and held-out units are the tokens that tokenizers gives for each text alone, however many at a time."""
    monkeypatch.setattr("interlingua.shards.write._BATCH", batch)
    write_shards(tmp_path, parallel_items, hf_tokenizer, sorted(parallel_items[0].texts), held_out=0.1, block=80)
    backend = hf_tokenizer.backend_tokenizer
    word_starts = WordStarts(backend)
    expected = []
    for item in parallel_items:
        for lang, text in item.texts.items():
            ids = backend.encode(text, add_special_tokens=False).ids
            starts = word_starts([ids], None, lang)[0]
            expected.append((lang, tuple(ids[:126]), tuple(starts.tolist()[:126]), len(text)))
    found = units_of(tmp_path / "train") + units_of(tmp_path / "held-out")
    whole = [unit for unit in expected if len(unit[1]) < 126]
    assert len(whole) > 1500
    assert sorted(u[:3] for u in found) == sorted(u[:3] for u in expected)
    assert set(whole) <= set(found)


def test_tokens_decode_to_the_text(shard_folder, tiny_texts, hf_tokenizer):
    """Decoded by transformers, the Finnish units are the Finnish verses."""
    decoded = {
        hf_tokenizer.decode(tokens)
        for split in ("train", "held-out")
        for lang, tokens, _, _ in units_of(shard_folder / split)
        if lang == "fi"
    }
    assert decoded == {" ".join(text.split()) for text in tiny_texts["fi"]}


def test_groups_are_intact(shard_folder, tiny_parallel, hf_tokenizer):
    """The translations of each English unit are the eleven other texts of its verse, all in the same split."""
    by_text = {" ".join(texts["en"].split()): texts for texts in tiny_parallel.values()}
    seen = 0
    for split in ("train", "held-out"):
        shards = ShardSet(shard_folder / split)
        assert shards.count("en", "linked") == shards.count("en")
        for number in range(shards.count("en", "linked")):
            at = shards.unit("en", number, "linked")
            verse = by_text[hf_tokenizer.decode(at.shard.tokens(at.unit))]
            others = shards.translations(at)
            assert sorted(shards.languages[o.language] for o in others) == sorted(set(verse) - {"en"})
            for other in others:
                lang = shards.languages[other.language]
                text = " ".join(verse[lang].split())
                assert text.startswith(hf_tokenizer.decode(other.shard.tokens(other.unit))[:20])
            seen += 1
    assert seen == len(tiny_parallel)


def test_held_out_share(tmp_path, hf_tokenizer):
    """Of 2,000 texts the asked tenth is held out (five standard deviations), whatever their order."""
    texts = [document(f"text number {i}") for i in range(2000)]
    for name, order in (("a", texts), ("b", texts[::-1])):
        report = write_shards(tmp_path / name, order, hf_tokenizer, ["en"], held_out=0.1)
        assert abs(report.units["held-out"] - 200) < 5 * 180**0.5
    held = [{unit[1] for unit in units_of(tmp_path / name / "held-out")} for name in ("a", "b")]
    assert held[0] == held[1]


def test_any_number_of_workers_gives_the_same_bytes(tmp_path, parallel_items, hf_tokenizer):
    """One process and two write the same files to the last byte."""
    languages = sorted(parallel_items[0].texts)
    items = [*parallel_items[:40], *(document(t) for t in parallel_items[0].texts.values())]
    reports = [
        write_shards(tmp_path / str(n), items, hf_tokenizer, languages, workers=n, block=9, held_out=0.2)
        for n in (1, 2)
    ]
    assert reports[0] == reports[1]
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")


def test_resume_after_a_killed_writer(tmp_path, parallel_items, hf_tokenizer):
    """Input that breaks off at any block: refused to readers, finished by the same call, and equal to one go."""
    languages = sorted(parallel_items[0].texts)
    options = {"block": 20, "held_out": 0.2}
    write_shards(tmp_path / "whole", parallel_items, hf_tokenizer, languages, **options)

    def breaks_off(after: int):
        yield from parallel_items[:after]
        raise KeyboardInterrupt

    for after in (30, 75):
        with pytest.raises(KeyboardInterrupt):
            write_shards(tmp_path / "cut", breaks_off(after), hf_tokenizer, languages, **options)
        with pytest.raises(ShardError, match="writing did not end"):
            ShardSet(tmp_path / "cut" / "train")
    # A writer killed between a shard and its marker, and one killed within a file.
    (tmp_path / "cut" / "000002.done").unlink()
    (tmp_path / "cut" / "train" / ".000003.shard.99.tmp").write_bytes(b"half")
    report = write_shards(tmp_path / "cut", parallel_items, hf_tokenizer, languages, **options)
    assert report.resumed == 2
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")


def test_another_vocabulary_is_refused(shard_folder, tmp_path, parallel_items, hf_tokenizer, byte_bpe_tokenizer):
    """Reading with, or writing on with, another vocabulary or other settings."""
    assert ShardSet(shard_folder / "train", vocabulary=fingerprint(hf_tokenizer.backend_tokenizer)).languages
    with pytest.raises(ShardError, match="vocabulary"):
        ShardSet(shard_folder / "train", vocabulary=fingerprint(byte_bpe_tokenizer))
    folder = shutil.copytree(shard_folder, tmp_path / "copy")
    languages = sorted(parallel_items[0].texts)
    with pytest.raises(RunError, match="another vocabulary"):
        write_shards(folder, parallel_items, byte_bpe_tokenizer, languages, held_out=0.1, block=25)
    with pytest.raises(RunError, match="other settings"):
        write_shards(folder, parallel_items, hf_tokenizer, languages, held_out=0.2, block=25)


def damaged(shard_folder, tmp_path, name="000002.shard"):
    folder = shutil.copytree(shard_folder / "train", tmp_path / "train")
    return folder, folder / name


def test_truncated_empty_and_missing_shards(shard_folder, tmp_path):
    """Cut short, empty, or gone: ShardError that names the file."""
    folder, file = damaged(shard_folder, tmp_path)
    whole = file.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 64, 63, 7, 0):
        file.write_bytes(whole[:size])
        with pytest.raises(ShardError, match=r"000002\.shard"):
            ShardSet(folder)
    file.write_bytes(whole + b"\0")
    with pytest.raises(ShardError, match=r"000002\.shard"):
        ShardSet(folder)
    file.unlink()
    with pytest.raises(ShardError, match=r"000002\.shard"):
        ShardSet(folder)


def test_any_flipped_bit_is_found(shard_folder, tmp_path):
    """Every bit of the header and 200 random bits of the body, flipped one at a time: ShardError each time."""
    folder, file = damaged(shard_folder, tmp_path)
    whole = file.read_bytes()
    for other in folder.glob("*.shard"):
        if other != file:
            other.unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"] = [s for s in manifest["shards"] if s["file"] == file.name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    ShardSet(folder)
    body = np.random.default_rng(0).integers(64 * 8, len(whole) * 8, size=200).tolist()
    for bit in [*range(64 * 8), *body]:
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        file.write_bytes(broken)
        with pytest.raises(ShardError):
            ShardSet(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "interlingua-shards", "version": 1}', '{"format": "other"}']
)
def test_damaged_manifest(shard_folder, tmp_path, text):
    """A manifest that is cut, of another format, or without its keys: ShardError that names it."""
    folder, _ = damaged(shard_folder, tmp_path)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ShardError, match="manifest"):
        ShardSet(folder)


def test_missing_manifest_and_folder(shard_folder, tmp_path):
    """No manifest beside shards, and no folder at all."""
    folder, _ = damaged(shard_folder, tmp_path)
    (folder / "manifest.json").unlink()
    with pytest.raises(ShardError, match="6 shards: writing did not end"):
        ShardSet(folder)
    with pytest.raises(ShardError, match="no manifest"):
        ShardSet(tmp_path / "nowhere")


def test_languages_must_fit_the_text(tmp_path, hf_tokenizer):
    """A text in a language not listed, a listed one without text, no text at all, units too short."""
    texts = [document("some words here")]
    with pytest.raises(LanguageError, match="a text in 'en'"):
        write_shards(tmp_path / "a", texts, hf_tokenizer, ["de"])
    with pytest.raises(LanguageError, match="no text in 'de'"):
        write_shards(tmp_path / "b", texts, hf_tokenizer, ["de", "en"])
    assert not (tmp_path / "b" / "train" / "manifest.json").exists()
    with pytest.raises(ShardError, match="no text to write"):
        write_shards(tmp_path / "c", [], hf_tokenizer, ["en"])
    with pytest.raises(VocabularyError, match="unit_tokens = 1"):
        write_shards(tmp_path / "d", texts, hf_tokenizer, ["en"], unit_tokens=1)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=400), st.sampled_from([64, 640, 2048]))
@settings(deadline=None)
def test_batches_hold_every_text_in_order(lengths, size):
    """All texts once, in order; at least 64 in all batches but the last; of short ones no more than the size asks."""
    texts = ["x" * length for length in lengths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interlingua.shards.write._BATCH", size)
        batches = [texts[batch] for batch in _batches(texts)]
    assert list(itertools.chain(*batches)) == texts
    assert all(len(batch) >= 64 for batch in batches[:-1])
    if max(lengths) <= size // 64:
        assert all(sum(map(len, batch)) <= size + size // 64 for batch in batches)


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_is_left_as_it_was(tmp_path, hf_tokenizer, monkeypatch, collects):
    """On or off, after writing and after an error, by gc's own account; off meanwhile."""
    was, meanwhile = gc.isenabled(), []

    def fails(*_):
        meanwhile.append(gc.isenabled())
        raise MemoryError

    (gc.enable if collects else gc.disable)()
    try:
        write_shards(tmp_path / "a", [document("a few words")], hf_tokenizer, ["en"])
        assert gc.isenabled() == collects
        monkeypatch.setattr("interlingua.shards.write.encode_shard", fails)
        with pytest.raises(MemoryError):
            write_shards(tmp_path / "b", [document("a few words")], hf_tokenizer, ["en"])
        assert gc.isenabled() == collects
        assert meanwhile == [False]
    finally:
        (gc.enable if was else gc.disable)()


def test_empty_texts_are_counted(tmp_path, hf_tokenizer):
    """Texts without a token are counted, and take their group with them when only one side is left."""
    items = [
        document("   "),
        document("words"),
        Parallel("1", {"en": "a b", "de": " "}),
        Parallel("2", {"en": "c d", "de": "e f"}),
    ]
    report = write_shards(tmp_path / "out", items, hf_tokenizer, ["de", "en"], held_out=0.0)
    assert (report.empty, report.units["train"], report.units["held-out"]) == (2, 4, 0)
    shards = ShardSet(tmp_path / "out" / "train")
    assert (shards.count("en"), shards.count("en", "linked")) == (3, 1)


def test_long_documents_are_split_and_long_translations_cut(tmp_path, hf_tokenizer):
    """Pieces joined are the document's tokens, none longer than a unit, each begins a word; losses are counted."""
    text = " ".join(["Abraham was the father of Isaac and his brothers."] * 20)
    ids = hf_tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    items = [document(text), Parallel("1", {"en": text, "de": "kurz"})]
    report = write_shards(tmp_path / "out", items, hf_tokenizer, ["de", "en"], unit_tokens=30, held_out=0.0)
    units = [unit for unit in units_of(tmp_path / "out" / "train") if unit[0] == "en"]
    linked, *pieces = units  # linked units come first in a shard
    assert list(linked[1]) == ids[:30]
    assert report.cut_tokens == len(ids) - 30
    assert report.split_documents == 1
    assert list(itertools.chain(*(p[1] for p in pieces))) == ids
    assert all(len(p[1]) <= 30 and p[2][0] for p in pieces)
    assert sum(p[3] for p in pieces) == pytest.approx(len(text), abs=len(pieces))


@st.composite
def unit_lists(draw):
    """Random units: lengths 1-40, four languages, some in groups."""
    count = draw(st.integers(0, 25))
    units = []
    for i in range(count):
        length = draw(st.integers(1, 40))
        generator = np.random.default_rng([draw(st.integers(0, 1000)), i])
        units.append(
            Unit(
                generator.integers(0, 60_000, size=length),
                generator.random(length) < 0.5,
                draw(st.integers(0, 3)),
                draw(st.integers(0, 500)),
                draw(st.sampled_from([-1, -1, 3, 7, 8])),
            )
        )
    return units


@given(units=unit_lists(), size=st.sampled_from([60_000, 70_000]))
@settings(max_examples=80, deadline=None)
def test_encode_and_read_any_units(units, size, tmp_path_factory):
    """Random units written and read: same tokens, starts, languages, lengths, and the same groups."""
    path = tmp_path_factory.mktemp("one") / "x.shard"
    path.write_bytes(encode_shard(units, 4, size))
    shard = Shard(path)
    assert shard.header.token_bytes == (2 if size == 60_000 else 4)
    read = [
        (shard.language(i), tuple(shard.tokens(i)), tuple(shard.starts(i)), shard.characters(i))
        for i in range(shard.header.units)
    ]
    written = [(u.language, tuple(u.tokens), tuple(u.starts), u.characters) for u in units]
    assert sorted(read) == sorted(written)
    assert [unit[0] for unit in read] == sorted(u.language for u in units)
    sizes = {g: sum(u.group == g for u in units) for g in (3, 7, 8)}
    expected = sorted(
        sorted(unit for unit, u in zip(written, units, strict=True) if u.group == g) for g in sizes if sizes[g] > 1
    )
    groups = {tuple(shard.translations(i).tolist()) for i in range(shard.header.units)} - {()}
    assert sorted(sorted(read[i] for i in group) for group in groups) == expected
    assert shard.counts[:, 0].sum() == sum(map(len, expected))
    for first, count, linked in zip(shard.language_starts, shard.counts[:, 1], shard.counts[:, 0], strict=False):
        found = [len(shard.translations(i)) > 0 for i in range(first, first + count)]
        assert found == [True] * linked + [False] * (count - linked)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_units_that_go_on_with_the_one_before(runs):
    """Whatever documents there are, each of their units but the first is found once, and its document around it."""
    languages, expected, units = 3, {i: [] for i in range(3)}, []
    for number, (language, size) in enumerate(runs):
        units += [Unit(np.array([number, part]), np.ones(2, bool), language, 1, -1, number) for part in range(size)]
        expected[language] += [(number, part) for part in range(1, size)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.shard"
        path.write_bytes(encode_shard(units, languages, 1000))
        shard = Shard(path)
        for language in range(languages):
            count = int(shard.counts[language, 1] - shard.counts[language, 2])
            found = [shard.following(language, i) for i in range(count)]
            assert [tuple(shard.tokens(u).tolist()) for u in found] == expected[language]
            for unit in found:
                number, part = shard.tokens(unit).tolist()
                assert [tuple(shard.tokens(u).tolist()) for u in shard.document(unit)] == [
                    (number, p) for p in range(runs[number][1])
                ]
                assert unit - part == shard.document(unit).start


def test_documents_reach_the_shards(tmp_path, hf_tokenizer):
    """Parts of long texts, paragraphs of a file, verses of a chapter: all of a document in one split, in order."""
    long = document(" ".join(f"word{i}" for i in range(200)))
    lines = [Document(f"line {i}", "en", "x", i, continues=i not in {0, 7}) for i in range(20)]
    verses = [Parallel(str(i), {"en": f"verse {i}", "fi": f"jae {i}"}, continues=i > 0) for i in range(5)]
    write_shards(tmp_path, [long, *lines, document("alone"), *verses], hf_tokenizer, ["en", "fi"], unit_tokens=30,
                 held_out=0.3)  # fmt: skip
    found = []
    for split in ("train", "held-out"):
        shards = ShardSet(tmp_path / split)
        for lang in shards.languages:
            starts = {}
            for number in range(shards.count(lang)):
                at = shards.unit(lang, number)
                run = at.shard.document(at.unit)
                starts[run.start] = " | ".join(hf_tokenizer.decode(at.shard.tokens(u)) for u in run)
            found += starts.values()
    assert sorted(text.replace(" | ", " ") for text in found if text.startswith("word")) == [long.text]
    assert sum(text.startswith("word") for text in found) == 1
    rest = sorted(text for text in found if not text.startswith("word"))
    assert rest == sorted([
        "alone",
        " | ".join(f"jae {i}" for i in range(5)),
        " | ".join(f"verse {i}" for i in range(5)),
        " | ".join(f"line {i}" for i in range(7)),
        " | ".join(f"line {i}" for i in range(7, 20)),
    ])  # fmt: skip


def test_what_is_missing_parts_a_document(tmp_path, hf_tokenizer):
    """No unit goes on over an empty cell, a text without a token or translations, or a cut one."""
    long = " ".join(f"word{i}" for i in range(40))
    rows = [
        {"en": "one", "fi": "yksi"},
        {"en": "two", "fi": "kaksi"},
        {"en": "three"},
        {"en": "four", "fi": "neljä"},
        {"en": long, "fi": "viisi"},
        {"en": "six", "fi": "kuusi"},
        {"en": "seven", "fi": "\u200b"},
        {"en": "eight", "fi": "kahdeksan"},
    ]
    items = [Parallel(str(i), texts, continues=i > 0) for i, texts in enumerate(rows)]
    write_shards(tmp_path, items, hf_tokenizer, ["en", "fi"], unit_tokens=30, held_out=0.0)
    shards = ShardSet(tmp_path / "train")
    found = set()
    for lang in ("en", "fi"):
        for number in range(shards.count(lang, "following")):
            at = shards.unit(lang, number, "following")
            before, after = (hf_tokenizer.decode(at.shard.tokens(u)).split()[0] for u in (at.unit - 1, at.unit))
            found.add((before, after))
    seventh = {("kuusi", "kahdeksan")} & found  # only if the vocabulary has a token for a zero-width space
    assert not seventh
    assert {pair for pair in found if "\u200b" not in "".join(pair)} == {
        ("one", "two"), ("four", "word0"), ("six", "seven"), ("seven", "eight"),
        ("yksi", "kaksi"), ("neljä", "viisi"), ("viisi", "kuusi"),
    }  # fmt: skip


def test_a_folder_of_an_older_format_is_not_gone_on_with(tmp_path, hf_tokenizer):
    """What an older version began is refused, and says so."""
    write_shards(tmp_path, [document("a text")], hf_tokenizer, ["en"], held_out=0.0)
    settings = json.loads((tmp_path / "settings.json").read_text(encoding="utf-8"))
    del settings["version"]
    (tmp_path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(RunError, match="older format"):
        write_shards(tmp_path, [document("a text")], hf_tokenizer, ["en"], held_out=0.0)
