"""shards/stream.py: batch t is a pure function of (seed, t), and holds what the shards hold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from interlingua.batch import Batch
from interlingua.errors import LanguageError, RecipeError, ShardError
from interlingua.shards.read import ShardSet
from interlingua.shards.stream import Layout, PhasedStream, Stream
from interlingua.shards.write import write_shards
from interlingua.text.documents import Document
from interlingua.text.pairs import Parallel

LAYOUTS = [Layout("single"), Layout("running"), Layout("joined"), Layout("apart"), Layout("apart", languages=4)]


@pytest.fixture
def stream(shard_folder, hf_tokenizer):
    def make(**changes) -> Stream:
        options = {"seed": 5, "batch_tokens": 2000, "row_length": 128} | changes
        return Stream(ShardSet(shard_folder / "train"), hf_tokenizer, **options)

    return make


def same(one: Batch, two: Batch) -> bool:
    pairs = zip(vars(one).values(), vars(two).values(), strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def texts_of(batch: Batch) -> list[list[int]]:
    return [batch.tokens_BL[batch.segments_BL == s].tolist() for s in range(1, batch.segments + 1)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_batch_is_pure(stream, layout):
    """Asked in any order and of fresh objects, batch t is the same; other seeds and other t give others."""
    forward = [stream().batch(t, layout) for t in range(5)]
    one = stream()
    for t in (4, 1, 3, 1, 0, 2):
        assert same(one.batch(t, layout), forward[t])
    assert not any(same(a, b) for a, b in itertools.combinations(forward, 2))
    assert not same(stream(seed=6).batch(0, layout), forward[0])


def test_every_text_comes_once_an_epoch(stream, shard_folder, hf_tokenizer):
    """English alone, as many batches as hold its units once: the texts seen are the units of the shards, each once."""
    source = stream(weights={"en": 1.0}, batch_tokens=300)
    shards = ShardSet(shard_folder / "train")
    units = [
        tuple(at.shard.tokens(at.unit).tolist()) for at in (shards.unit("en", i) for i in range(shards.count("en")))
    ]
    seen = []
    for t in range(-(-len(units) // source.draws(Layout()))):
        seen += [tuple(text[1:-1]) for text in texts_of(source.batch(t))]
    assert sorted(seen[: len(units)]) == sorted(units)


def test_shares_of_languages(stream, shard_folder):
    """Languages come by p^S (S = 0: equally) or by the weights given, within three standard deviations."""
    for options, wanted in (
        ({"exponent": 0.0}, dict.fromkeys(ShardSet(shard_folder / "train").languages, 1 / 12)),
        ({"weights": {"en": 3, "fi": 1}}, {"en": 0.75, "fi": 0.25}),
    ):
        source = stream(**options)
        count = source.draws(Layout())
        for t in range(30):
            source.batch(t)
        total = sum(source.drawn.values())
        assert total == 30 * count
        for lang, drawn in source.drawn.items():
            assert abs(drawn - wanted.get(lang, 0) * total) <= 3 * (total * 0.25) ** 0.5 + 1


def test_single_layout(stream, hf_tokenizer):
    """Each segment is begin + tokens + end in one language, positions count from 0, starts are the shard's."""
    batch = stream().batch(0)
    for number, text in enumerate(texts_of(batch), start=1):
        own = batch.segments_BL == number
        assert (text[0], text[-1]) == (hf_tokenizer.cls_token_id, hf_tokenizer.sep_token_id)
        assert batch.positions_BL[own].tolist() == list(range(len(text)))
        assert len(set(batch.languages_BL[own].tolist())) == 1
        assert batch.special_BL[own].tolist() == [i in hf_tokenizer.all_special_ids for i in text]
        assert batch.word_starts_BL[own][[0, -1]].all()
    assert len(batch.links_P2) == 0
    assert batch.special_BL[batch.segments_BL == 0].all()
    assert (batch.tokens_BL[batch.segments_BL == 0] == hf_tokenizer.pad_token_id).all()


@pytest.mark.parametrize("restart", [True, False])
def test_joined_layout(stream, hf_tokenizer, tiny_parallel, restart):
    """A pair is begin a end b end, English first, of one verse, positions restart (or not), languages marked."""
    source = stream(row_length=256)
    batch = source.batch(1, Layout("joined", restart_positions=restart))
    end = hf_tokenizer.sep_token_id
    verses = {" ".join(texts["en"].split()): texts for texts in tiny_parallel.values()}
    for number, text in enumerate(texts_of(batch), start=1):
        own = batch.segments_BL == number
        middle = text.index(end) + 1
        assert text[-1] == end
        languages = batch.languages_BL[own].tolist()
        first, second = source.languages[languages[0]], source.languages[languages[-1]]
        assert first == "en" != second
        assert languages == [languages[0]] * middle + [languages[-1]] * (len(text) - middle)
        verse = verses[hf_tokenizer.decode(text[1 : middle - 1])]
        assert " ".join(verse[second].split()).startswith(hf_tokenizer.decode(text[middle:-1])[:15])
        begin = 0 if restart else middle
        positions = [*range(middle), *range(begin, begin + len(text) - middle)]
        assert batch.positions_BL[own].tolist() == positions


@pytest.mark.parametrize("wanted", [2, 3, 12])
def test_apart_layout(stream, hf_tokenizer, tiny_parallel, wanted):
    """Linked segments are translations of one another, all pairs of them are listed, and no others exist."""
    source = stream(row_length=256)
    tokens_of = hf_tokenizer.backend_tokenizer.encode
    verse_of = {
        tuple(tokens_of(text, add_special_tokens=False).ids[:126]): name
        for name, texts in tiny_parallel.items()
        for text in texts.values()
    }
    for t in range(4):
        batch = source.batch(t, Layout("apart", languages=wanted))
        names = [verse_of[tuple(text[1:-1])] for text in texts_of(batch)]
        expected = {
            (i, j) for i, j in itertools.combinations(range(1, batch.segments + 1), 2) if names[i - 1] == names[j - 1]
        }
        assert {tuple(sorted(link)) for link in batch.links_P2.tolist()} == expected
        # No text stands in a batch twice: the second would be a wrong candidate for the first one's translations.
        assert len(set(map(tuple, texts_of(batch)))) == batch.segments


def test_no_pivot_draws_any_two_languages(stream):
    """Without a pivot most pairs are without English."""
    source = stream(pivot=None)
    batch = source.batch(0, Layout("joined"))
    pairs = {tuple(sorted(set(batch.languages_BL[batch.segments_BL == s].tolist()))) for s in range(1, batch.segments)}
    english = source.languages.index("en")
    assert sum(english not in pair for pair in pairs) > len(pairs) / 2


def test_languages_left_out_are_not_drawn(stream):
    """Weights for three languages: no text of another one comes, not even as a partner; the pivot only if weighted."""
    for weights in ({"en": 1, "fi": 1, "ja": 2}, {"fi": 1, "ja": 1}):
        for layout in LAYOUTS:
            source = stream(weights=weights)
            source.batch(0, layout)
            assert {lang for lang, n in source.drawn.items() if n} <= set(weights)


def test_one_language_of_parallel_text(stream):
    """Weights for English alone: its texts come singly; only who asks for translations is refused."""
    source = stream(weights={"en": 1.0})
    assert source.batch(0).segments > 0
    with pytest.raises(ShardError, match="no translations of the languages drawn"):
        source.batch(0, Layout("joined"))


def test_rows_are_well_filled(stream):
    """Padding is under 10 % on real lengths, the number of tokens is near what was asked, nothing is over-long."""
    source = stream(batch_tokens=4000, row_length=256)
    for layout in LAYOUTS:
        batches = [source.batch(t, layout) for t in range(8)]
        tokens = sum(b.tokens for b in batches)
        assert 1 - tokens / sum(b.tokens_BL.numel() for b in batches) < 0.10
        assert abs(tokens / 8 - 4000) < 0.2 * 4000
        assert all(b.tokens_BL.shape[1] <= 256 for b in batches)


def test_cut_tokens_are_counted(stream):
    """Rows shorter than texts: each text is cut to the row, and what was cut is counted by hand."""
    wide, narrow = stream(row_length=512, weights={"my": 1}), stream(row_length=32, weights={"my": 1})
    long_texts = texts_of(wide.batch(0))
    batch = narrow.batch(0)
    short_texts = texts_of(batch)
    pairs = zip(long_texts, short_texts, strict=False)  # the narrow batch has more draws, the first are the same
    for whole, cut in pairs:
        assert cut == (whole if len(whole) <= 32 else [*whole[:31], whole[-1]])
    assert narrow.cut_tokens > 0
    assert wide.cut_tokens == 0


def test_what_cannot_be_streamed(stream, hf_tokenizer, tmp_path):
    """Rows too short; weights for a language without text; translations from shards without any."""
    with pytest.raises(RecipeError, match="row_length = 7"):
        stream(row_length=7)
    with pytest.raises(LanguageError, match="'sw'"):
        stream(weights={"en": 1, "sw": 1})
    write_shards(tmp_path, [Document("a few words", "en", "made up", 1)], hf_tokenizer, ["en"], held_out=0.0)
    alone = Stream(ShardSet(tmp_path / "train"), hf_tokenizer, seed=0, batch_tokens=50, row_length=16)
    assert alone.batch(3).segments > 0
    with pytest.raises(ShardError, match="no translations"):
        alone.batch(0, Layout("joined"))


def test_partners_outside_the_weights_when_there_are_no_others(hf_tokenizer, tmp_path):
    """Finnish and German are linked to English only: with weights for the two their partner is English."""
    items = [Parallel(f"{lang}{i}", {lang: f"{lang} text {i}", "en": f"english {i} {lang}"})
             for lang in ("de", "fi") for i in range(20)]  # fmt: skip
    write_shards(tmp_path, items, hf_tokenizer, ["de", "en", "fi"], held_out=0.0)
    shards = ShardSet(tmp_path / "train")
    source = Stream(shards, hf_tokenizer, seed=0, batch_tokens=200, row_length=64, weights={"de": 1, "fi": 1})
    batch = source.batch(0, Layout("joined"))
    english = source.languages.index("en")
    for s in range(1, batch.segments + 1):
        assert english in np.unique(batch.languages_BL[batch.segments_BL == s])


def test_running_rows_are_full_and_in_order(stream, shard_folder, hf_tokenizer):
    """Each row is one segment without padding: the opening special, then units in the order of the shards."""
    shards = ShardSet(shard_folder / "train")
    last = hf_tokenizer.eos_token_id
    units = {lang: [shards.unit(lang, i) for i in range(shards.count(lang))] for lang in shards.languages}
    texts = {lang: [tuple(at.shard.tokens(at.unit).tolist()) for at in rows] for lang, rows in units.items()}
    batch = stream().batch(2, Layout("running"))
    assert batch.tokens_BL.shape == (round(2000 / 128), 128)
    assert (batch.segments_BL == torch.arange(1, batch.rows + 1)[:, None]).all()
    for row, languages in zip(batch.tokens_BL.tolist(), batch.languages_BL, strict=True):
        assert row[0] == hf_tokenizer.bos_token_id
        own = texts[shards.languages[int(languages[0])]]
        pieces = " ".join(map(str, row[1:])).split(f" {last} ")
        first = next(i for i, t in enumerate(own) if " ".join(map(str, t)) == pieces[0])
        for k, piece in enumerate(pieces[:-1]):
            assert piece == " ".join(map(str, own[(first + k) % len(own)]))


def test_phases_take_over(stream):
    """Half of 10 steps English alone, then all languages alike: batches are those of the phase's own stream."""
    first, second = stream(only=["en"]), stream(exponent=0.0)
    phased = PhasedStream([first, second], [0, 0.5], steps=10)
    names = phased.languages
    for t in range(10):
        batch = phased.batch(t)
        assert same(batch, (stream(only=["en"]) if t < 5 else stream(exponent=0.0)).batch(t))
        seen = {names[int(i)] for i in batch.languages_BL[batch.segments_BL > 0].unique()}
        assert seen == {"en"} if t < 5 else len(seen) > len(names) / 2
    assert sum(phased.drawn.values()) == sum(first.drawn.values()) + sum(second.drawn.values())


@pytest.mark.parametrize("begins", [[0.1, 0.5], [0, 0], [0, 1.0], [0]])
def test_phases_out_of_order_are_refused(stream, begins):
    """Phases begin at 0 and rise, one a stream."""
    with pytest.raises(RecipeError, match="phases that begin at"):
        PhasedStream([stream(), stream()], begins, steps=10)


def test_unknown_language_of_a_phase(stream):
    """A phase's language that the shards lack is named, with the nearest."""
    with pytest.raises(LanguageError, match="'eng'"):
        stream(only=["eng"])


def test_cap_holds_in_what_is_drawn(stream):
    """Natural shares with a cap: no language has more of the draws than the cap says."""
    languages, _ = stream(exponent=1.0, cap=1 / 12).plan(Layout()).draw(0, 20_000)
    assert np.bincount(languages).max() / 20_000 == pytest.approx(1 / 12, abs=0.001)


CHAPTER = [f"Chapter {c} verse {v} says {c * 100 + v}" for c in range(30) for v in range(6)]


@pytest.fixture
def ordered(tmp_path, hf_tokenizer):
    """Thirty documents of six texts over three shards, and what a text's tokens say: its chapter and verse."""
    documents = [Document(text, "en", "made up", i, continues=i % 6 > 0) for i, text in enumerate(CHAPTER)]
    write_shards(tmp_path, documents, hf_tokenizer, ["en"], held_out=0.0, block=66)
    where = {
        tuple(hf_tokenizer(text, add_special_tokens=False)["input_ids"]): divmod(i, 6) for i, text in enumerate(CHAPTER)
    }

    def pairs(t: int, wrong: str):
        stream = Stream(ShardSet(tmp_path / "train"), hf_tokenizer, seed=5, batch_tokens=2000, row_length=128)
        batch = stream.batch(t, Layout("ordered", wrong=wrong))
        for number, text in enumerate(texts_of(batch)):
            types = batch.types_BL[batch.segments_BL == number + 1].tolist()
            cut = types.index(1)
            assert types == [0] * cut + [1] * (len(text) - cut)
            yield where[tuple(text[1 : cut - 1])], where[tuple(text[cut:-1])], int(batch.labels[number])

    return pairs


def test_texts_that_follow_one_another(ordered):
    """What is labelled 0 are consecutive texts of a document; every such pair comes once an epoch."""
    right, labels = [], []
    for t in range(30):
        for (chapter, verse), (other, second), label in ordered(t, "swapped"):
            assert chapter == other
            assert second - verse == (-1 if label else 1)
            right.append((chapter, min(verse, second)))
            labels.append(label)
    epoch = 30 * 5
    assert len(set(right[:epoch])) == epoch
    assert abs(np.mean(labels) - 0.5) < 4 * 0.5 / len(labels) ** 0.5


@pytest.mark.parametrize("wrong", ["other", "same", "either"])
def test_wrong_second_texts(ordered, wrong):
    """They come from another document, from elsewhere in this one, or from both about as often."""
    found = [pair for t in range(30) for pair in ordered(t, wrong)]
    for (chapter, verse), (other, second), label in found:
        assert label or (other, second) == (chapter, verse + 1)
    same_one = [other == chapter for (chapter, _), (other, _), label in found if label]
    assert not any(label and other == chapter and second - verse in {0, 1}
                   for (chapter, verse), (other, second), label in found)  # fmt: skip
    assert 0.4 < len(same_one) / len(found) < 0.6
    low, high = {"other": (0, 0), "same": (1, 1), "either": (0.4, 0.6)}[wrong]
    assert low <= np.mean(same_one) <= high


def test_documents_of_one_text_have_no_order(stream):
    """The verses of the tiny shards are documents of their own."""
    with pytest.raises(ShardError, match="no documents of more than one text"):
        stream().batch(0, Layout("ordered"))


def test_a_language_of_one_document(tmp_path, hf_tokenizer):
    """Wrong second texts cannot come from another: they come from this one, and a document of two is swapped."""
    for name, count in (("six", 6), ("two", 2)):
        documents = [Document(text, "en", "made up", i, continues=i > 0) for i, text in enumerate(CHAPTER[:count])]
        write_shards(tmp_path / name, documents, hf_tokenizer, ["en"], held_out=0.0)
        shards = ShardSet(tmp_path / name / "train")
        batch = Stream(shards, hf_tokenizer, seed=5, batch_tokens=4000, row_length=128).batch(
            0, Layout("ordered", wrong="other")
        )
        units = [tuple(hf_tokenizer(text, add_special_tokens=False)["input_ids"]) for text in CHAPTER]
        gaps = set()
        for number, text in enumerate(texts_of(batch)):
            cut = batch.types_BL[batch.segments_BL == number + 1].tolist().index(1)
            gap = units.index(tuple(text[cut:-1])) - units.index(tuple(text[1 : cut - 1]))
            assert (gap == 1) == (int(batch.labels[number]) == 0)
            gaps.add(gap)
        assert gaps == ({1, -1} if count == 2 else {-4, -3, -2, -1, 1, 2, 3, 4, 5})
