"""objectives/masking.py and units.py: realised rates and lengths, whole units, and what may never be hidden."""

from __future__ import annotations

import hashlib
import itertools
import math
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interlingua.batch import Batch, rows_from_texts
from interlingua.objectives.masking import Masking, RateSchedule
from interlingua.objectives.phrases import PhraseLexicon
from interlingua.objectives.units import (
    Maskable,
    Phrases,
    Spans,
    Tokens,
    Words,
    geometric_lengths,
    inverse_frequency,
    ngram_lengths,
)
from interlingua.text.words import words
from interlingua.vocab.train import train_vocabulary
from interlingua.vocab.words import WordStarts

MASK, VOCABULARY = 4, np.arange(5, 1000)
SPECIALS = np.array([0, 1, 2, 3, 4])
UNITS = [Tokens(), Words(), Spans(ngram_lengths(3), together=False), Spans(geometric_lengths())]
SENTENCES = {
    "th": ["วันนี้อากาศดีมากเราจึงไปเดินเล่นที่สวนสาธารณะ", "ฉันชอบอ่านหนังสือภาษาไทยก่อนนอนทุกคืน"],
    "zh": ["今天天气很好，我们去公园散步。", "他在大学学习计算机科学和语言学。"],
    "ja": ["今日は天気がとても良いので公園を散歩します。", "彼女は東京の大学で言語学を勉強しています。"],
    "ar": ["ذهب الولد إلى المدرسة في الصباح الباكر.", "اللغة العربية من أكثر اللغات انتشارا في العالم."],
    "hi": ["आज मौसम बहुत अच्छा है इसलिए हम बगीचे में गए।", "वह विश्वविद्यालय में भाषाविज्ञान पढ़ती है।"],
}


def made_up(texts: int, tokens: int, seed: int = 0, mean_word: float = 2.0, highest: int = 999) -> Batch:
    """Texts of equal length with words of geometric length."""
    generator = np.random.default_rng(seed)
    rows = [np.array([1, *generator.integers(5, highest + 1, size=tokens), 2]) for _ in range(texts)]
    starts = [np.array([True, *(generator.random(tokens) < 1 / mean_word), True]) for _ in range(texts)]
    return rows_from_texts(rows, pad_id=0, row_length=tokens + 2, special_ids=SPECIALS, word_starts=starts)


@pytest.fixture(scope="module")
def pairs_lexicon(number_tokenizer):
    """All pairs of 40 of the first 60 ids: three texts in ten made of these begin one at a given token."""
    names = [f"w{i}" for i in range(5, 45)]
    return PhraseLexicon([(f"{a} {b}", None) for a in names for b in names], number_tokenizer)


@pytest.fixture
def unit(request, pairs_lexicon):
    """A unit by its name."""
    return {
        "token": Tokens(),
        "word": Words(),
        "ngram": Spans(ngram_lengths(3), together=False),
        "span": Spans(geometric_lengths()),
        "phrase": Phrases(pairs_lexicon),
    }[request.param]


every_unit = pytest.mark.parametrize("unit", ["token", "word", "ngram", "span", "phrase"], indirect=True)


@every_unit
@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_realised_rate(unit, rate):
    """Over 1 M maskable tokens the share of hidden ones is within half a point of the asked rate."""
    policy = Masking(MASK, VOCABULARY, rate=rate, unit=unit)
    hidden = maskable = 0
    for t in range(10):
        batch = made_up(1000, 100, seed=t, highest=64)
        hidden += policy.apply(batch, np.random.default_rng(t)).count
        maskable += int((~batch.special_BL).sum())
    assert maskable == 1_000_000
    assert abs(hidden / maskable - rate) < 0.005


@every_unit
def test_tiny_batches_keep_the_rate_on_average(unit):
    """Batches of 7 maskable tokens: the mean over 10,000 draws is the rate (five standard errors)."""
    policy = Masking(MASK, VOCABULARY, rate=0.15, unit=unit)
    batch = made_up(1, 7, seed=3, mean_word=1.7)
    counts = [policy.choose(batch, np.random.default_rng(t)).sum() for t in range(10_000)]
    assert abs(np.mean(counts) - 0.15 * 7) < 5 * np.std(counts) / len(counts) ** 0.5


def test_80_10_10():
    """Of the hidden tokens 80 % show the mask, 10 % stay (plus chance hits), 10 % are others, within half a point."""
    batch = made_up(2000, 100)
    targets = Masking(MASK, VOCABULARY).apply(batch, np.random.default_rng(0))
    chosen = targets.labels_BL != -100
    shown, original = targets.tokens_BL[chosen], batch.tokens_BL[chosen]
    masked, kept = (shown == MASK).float().mean(), (shown == original).float().mean()
    other = 1 - masked - kept
    assert abs(masked - 0.8) < 0.005
    assert abs(kept - (0.1 + 0.1 / len(VOCABULARY))) < 0.005
    assert abs(other - 0.1) < 0.005


@pytest.mark.parametrize(("mask", "random"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.5)])
def test_any_split(mask, random):
    """Other splits are realised as asked, within a point."""
    batch = made_up(500, 100)
    targets = Masking(MASK, VOCABULARY, mask=mask, random=random).apply(batch, np.random.default_rng(0))
    chosen = targets.labels_BL != -100
    shown, original = targets.tokens_BL[chosen], batch.tokens_BL[chosen]
    assert abs((shown == MASK).float().mean() - mask) < 0.015
    assert abs(((shown != MASK) & (shown != original)).float().mean() - random) < 0.015


def test_random_tokens_spread_over_the_vocabulary():
    """Replacements are uniform over the allowed ids (chi-square below its 99.99 % bound for 99 degrees: 161)."""
    allowed = np.arange(5, 105)
    batch = made_up(1000, 100)
    targets = Masking(MASK, allowed, mask=0.0, random=1.0).apply(batch, np.random.default_rng(0))
    shown = targets.tokens_BL[targets.labels_BL != -100].numpy()
    counts = np.bincount(shown, minlength=105)[5:]
    assert counts.sum() == len(shown)  # nothing outside the allowed ids
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 161


def encoded(tokenizer, texts: list[str], lang: str) -> tuple[Batch, list[list[tuple[int, int]]]]:
    """Return real texts as a packed batch, with word starts as the shards store them, and each token's characters."""
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    starts = WordStarts(tokenizer)([e.ids for e in encodings], None, lang)
    batch = rows_from_texts(
        [np.array([1, *e.ids, 2]) for e in encodings],
        word_starts=[np.array([True, *s, True]) for s in starts],
        pad_id=0,
        row_length=256,
        special_ids=SPECIALS,
    )
    seen = []
    for text, encoding in zip(texts, encodings, strict=True):
        # A token's span may open with the space before the word; a token of nothing but space is no word's.
        visible = [token not in ("▁", "Ġ") for token in encoding.tokens]
        spans = zip(visible, encoding.offsets, strict=True)
        seen.append([(a + len(text[a:b]) - len(text[a:b].lstrip()), b) if v else (b, b) for v, (a, b) in spans])
    return batch, seen


@pytest.fixture(scope="module", params=["bpe", "unigram", "byte-bpe"])
def tokenizer(request, tiny_texts):
    """A vocabulary that has seen the letters of all six languages, but of four of them no word: none is unknown."""
    letters = {lang: [" ".join(sorted(set("".join(own))))] * 4 for lang, own in SENTENCES.items() if lang != "ja"}
    texts = {lang: own[:60] for lang, own in tiny_texts.items()} | letters
    return train_vocabulary(texts, kind=request.param, size=2500, exponent=0.0)


@pytest.mark.parametrize("lang", ["zh", "ja", "th", "de", "ar", "hi"])
def test_whole_words_stay_whole(lang, tokenizer, tiny_texts):
    """Real text: the tokens over one word of text.words are hidden all or none, and some words have several tokens."""
    texts = [*SENTENCES.get(lang, ()), *tiny_texts.get(lang, [])[:25]]
    texts = [" ".join(unicodedata.normalize("NFKC", text).split()) for text in texts]
    batch, spans_seen = encoded(tokenizer, texts, lang)
    policy = Masking(MASK, np.arange(300, 1000), rate=0.3, unit=Words())
    several = 0
    for seed in range(5):
        chosen_BL = policy.choose(batch, np.random.default_rng(seed))
        for number, text in enumerate(texts):
            hidden = chosen_BL[batch.segments_BL.numpy() == number + 1][1:-1]
            spans, at = [], 0
            for word in words(text, lang):
                begin = text.index(word, at)
                at = begin + len(word)
                spans.append((begin, at))
            for begin, end in spans:
                inside = [h for h, (a, b) in zip(hidden, spans_seen[number], strict=True) if begin <= a < b <= end]
                several += len(inside) > 1
                assert len(set(inside)) <= 1, (text[begin:end], inside)
    assert several > 20


@every_unit
def test_same_seed_same_masks(unit):
    """Equal keys give equal masks, other keys other masks."""
    batch, policy = made_up(50, 60), Masking(MASK, VOCABULARY, unit=unit)
    one, two, other = (policy.apply(batch, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one.tokens_BL == two.tokens_BL).all()
    assert (one.labels_BL == two.labels_BL).all()
    assert (one.labels_BL != other.labels_BL).any()


@pytest.mark.parametrize(
    ("unit", "digest"),
    [
        ("token", "2ddbb8639a53e577"),
        ("word", "dd0f0d25fa90957b"),
        ("ngram", "84334658190311e3"),
        ("span", "ce1f11110c56397c"),
        ("phrase", "2584af853a581369"),
    ],
    indirect=["unit"],
)
def test_same_masks_on_every_machine(unit, digest):
    """Masks and replacements of a Philox key are those they were where this test was written."""
    batch = made_up_by_philox()
    targets = Masking(MASK, VOCABULARY, unit=unit).apply(batch, np.random.Generator(np.random.Philox(key=[3, 14])))
    found = np.stack([targets.tokens_BL.numpy(), targets.labels_BL.numpy()]).astype("<i8")
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == digest


def made_up_by_philox() -> Batch:
    """Texts that do not depend on numpy's default generator."""
    generator = np.random.Generator(np.random.Philox(key=[1, 2]))
    rows = [np.array([1, *generator.integers(5, 65, size=60), 2]) for _ in range(40)]
    starts = [np.array([True, *(generator.random(60) < 0.5), True]) for _ in range(40)]
    return rows_from_texts(rows, pad_id=0, row_length=128, special_ids=SPECIALS, word_starts=starts)


def test_frequency_weights():
    """Which tokens are chosen, against numpy's weighted draws without putting back; words weigh their tokens' mean."""
    counts = np.array([0] * 5 + [1, 4, 16, 100, 400, 2500, 10_000, 40_000])
    weights = inverse_frequency(counts)
    np.testing.assert_allclose(weights[5:], [1, 1 / 2, 1 / 4, 1 / 10, 1 / 20, 1 / 50, 1 / 100, 1 / 200])
    batch = rows_from_texts([np.arange(5, 13)], pad_id=0, row_length=8, special_ids=SPECIALS)
    draws, generator = 6000, np.random.default_rng(0)
    policy = Masking(MASK, VOCABULARY, rate=3 / 8, unit=Tokens(weights))
    ours = sum(policy.choose(batch, generator)[0].astype(int) for _ in range(draws))
    shares = counts[5:] ** -0.5 / (counts[5:] ** -0.5).sum()
    theirs = np.zeros(8)
    for _ in range(draws):
        theirs[generator.choice(8, size=3, replace=False, p=shares)] += 1
    assert ours.sum() == 3 * draws
    spread = np.sqrt(theirs * (1 - theirs / draws) + 1)
    assert (np.abs(ours - theirs) < 5 * math.sqrt(2) * spread).all()
    # Two words of two tokens: (1, 1/4) and (1/20, 1/200) on average; one of them is hidden.
    pair = rows_from_texts(
        [np.array([5, 7, 9, 12])],
        word_starts=[np.array([True, False, True, False])],
        pad_id=0,
        row_length=4,
        special_ids=SPECIALS,
    )
    policy = Masking(MASK, VOCABULARY, rate=0.5, unit=Words(weights))
    first = sum(policy.choose(pair, generator)[0, 0] for _ in range(draws)) / draws
    expected = (1 + 1 / 4) / (1 + 1 / 4 + 1 / 20 + 1 / 200)
    assert abs(first - expected) < 5 * math.sqrt(expected * (1 - expected) / draws)


@pytest.mark.parametrize(
    ("unit", "shares"),
    [
        (Spans(geometric_lengths()), [0.2 * 0.8**n / (1 - 0.8**10) for n in range(10)]),
        (Spans(geometric_lengths(0.5, 4)), [0.5 / 0.9375, 0.25 / 0.9375, 0.125 / 0.9375, 0.0625 / 0.9375]),
        (Spans(ngram_lengths(3), together=False), [6 / 11, 3 / 11, 2 / 11]),
    ],
)
def test_span_lengths(unit, shares):
    """Lengths in words follow the stated distribution (chi-square), and every span is whole words of one text."""
    policy, lengths = Masking(MASK, VOCABULARY, unit=unit), []
    for t in range(6):
        batch = made_up(400, 100, seed=t)
        text = Maskable.of(batch)
        unit_N = policy.units(batch, np.random.default_rng(t)).reshape(-1)[text.positions_N]
        for number in range(unit_N.max() + 1):
            own = np.flatnonzero(unit_N == number)
            assert (np.diff(own) == 1).all()
            assert len(set(text.run_N[own])) == 1
            inside = text.word_N[own]
            assert (np.isin(text.word_N, inside) == (unit_N == number)).all()
            lengths.append(len(set(inside)))
    counts = np.bincount(lengths, minlength=len(shares) + 1)[1:]
    assert len(counts) == len(shares)
    assert len(lengths) > 4000
    assert stats.chisquare(counts, np.array(shares) * len(lengths)).pvalue > 0.001


def test_mean_of_spanbert():
    """Joshi et al. 2020 (section 3.1) state a mean of 3.8 words for p = 0.2 and at most 10."""
    assert round(float(geometric_lengths() @ np.arange(1, 11)), 1) == 3.8


@pytest.mark.parametrize("rate", [0.5, 0.9])
def test_crowded_spans_still_meet_the_rate(rate):
    """Where spans hardly fit any more, shorter ones fill the count."""
    batch = made_up(100, 12, mean_word=1.5)
    hidden = [Masking(MASK, VOCABULARY, rate=rate, unit=Spans(geometric_lengths())).choose(batch, g).sum()
              for g in map(np.random.default_rng, range(10))]  # fmt: skip
    assert abs(np.mean(hidden) / 1200 - rate) < 0.005


def test_a_span_is_replaced_as_a_whole():
    """All tokens of a span are masked, or all random, or all kept; n-grams are not, and nor are words."""
    batch = made_up(300, 100)
    for unit in (Spans(geometric_lengths()), Spans(ngram_lengths(3), together=False), Words()):
        policy, generator = Masking(MASK, VOCABULARY, unit=unit, mask=0.5, random=0.25), np.random.default_rng(0)
        units_BL = policy.units(batch, generator)
        targets = policy.corrupt(batch, units_BL, generator)
        shown, before = targets.tokens_BL.numpy(), batch.tokens_BL.numpy()
        kinds = np.where(shown == MASK, 0, np.where(shown == before, 1, 2))
        mixed = [len(set(kinds[units_BL == number])) > 1 for number in np.unique(units_BL[units_BL >= 0])[:400]]
        # A random token may by chance be the one that stood there.
        assert np.mean(mixed) < 0.01 if unit.together else np.mean(mixed) > 0.1
        masked = (kinds[units_BL >= 0] == 0).mean()
        assert abs(masked - 0.5) < 0.05


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("steps", {0: 0.3, 0.25: 0.3, 0.499: 0.3, 0.5: 0.15, 0.89: 0.15, 0.9: 0.05, 1: 0.05}),
        ("linear", {0: 0.3, 0.25: 0.225, 0.5: 0.15, 0.7: 0.1, 0.9: 0.05, 1: 0.05}),
        ("cosine", {0: 0.3, 0.25: 0.225, 0.5: 0.15, 0.6: 0.15 - 0.1 * (1 - math.sqrt(0.5)) / 2, 0.9: 0.05, 1: 0.05}),
    ],
)
def test_rate_schedules(kind, expected):
    """mmBERT's 30, 15, 5 % in three ways, worked out by hand."""
    schedule = RateSchedule([(0, 0.3), (0.5, 0.15), (0.9, 0.05)], kind)
    for progress, rate in expected.items():
        assert schedule(progress) == pytest.approx(rate, abs=1e-12)


def test_the_rate_follows_the_schedule():
    """The count of hidden tokens is the schedule's share of the maskable ones."""
    batch, policy = made_up(100, 100), Masking(MASK, VOCABULARY, RateSchedule([(0, 0.4), (1, 0.15)], "linear"))
    for progress, rate in ((0.0, 0.4), (0.5, 0.275), (1.0, 0.15)):
        assert policy.apply(batch, np.random.default_rng(0), progress).count == round(rate * 10_000)
    assert policy.apply(batch, np.random.default_rng(0)).count == 1500  # held-out: as at the end


SCRIPTS = {
    "Latin": "az", "Greek": "αω", "Cyrillic": "ая", "Armenian": "աֆ", "Hebrew": "את", "Arabic": "بي",
    "Devanagari": "कह", "Bengali": "কন", "Gurmukhi": "ਕਨ", "Gujarati": "કન", "Tamil": "கங", "Telugu": "కన",
    "Kannada": "ಕನ", "Malayalam": "കന", "Thai": "กฮ", "Myanmar": "ကဏ", "Georgian": "აჰ", "Ethiopic": "ሀሆ",
    "Khmer": "កឍ", "Hangul": "가깋", "Hiragana": "あん", "Han": "一倀",
}  # fmt: skip


@st.composite
def script_texts(draw):
    """One to four texts of random letters of a script, with spaces."""
    first, last = SCRIPTS[draw(st.sampled_from(sorted(SCRIPTS)))]
    word = st.text(st.characters(min_codepoint=ord(first), max_codepoint=ord(last)), min_size=1, max_size=8)
    return draw(st.lists(st.lists(word, min_size=1, max_size=12).map(" ".join), min_size=1, max_size=4))


@given(texts=script_texts(), unit=st.sampled_from(UNITS), seed=st.integers(0, 99), rate=st.floats(0.05, 0.9))
@settings(max_examples=150, deadline=None)
def test_targets_give_the_text_back(bpe_tokenizer, texts, unit, seed, rate):
    """In 22 scripts: labels put back where tokens were hidden decode to the text."""
    encodings = bpe_tokenizer.encode_batch(texts, add_special_tokens=False)
    batch, _ = encoded(bpe_tokenizer, texts, "en")
    targets = Masking(MASK, np.arange(300, 1000), rate, unit).apply(batch, np.random.default_rng(seed))
    restored = np.where(targets.labels_BL == -100, targets.tokens_BL, targets.labels_BL)
    for number, encoding in enumerate(encodings, start=1):
        own = restored[batch.segments_BL.numpy() == number][1:-1]
        assert bpe_tokenizer.decode(own.tolist()) == bpe_tokenizer.decode(encoding.ids)
        assert own.tolist() == encoding.ids


@st.composite
def layouts(draw):
    """Random texts with random word starts, packed or not; ids below 5 are special and may stand anywhere."""
    texts = draw(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=20), min_size=1, max_size=12))
    starts = [draw(st.lists(st.booleans(), min_size=len(t), max_size=len(t))) for t in texts]
    return rows_from_texts(
        [np.array(t) for t in texts],
        word_starts=[np.array(s) for s in starts],
        pad_id=0,
        row_length=draw(st.integers(20, 50)),
        special_ids=SPECIALS,
        pack=draw(st.booleans()),
    )


@given(batch=layouts(), unit=st.sampled_from(UNITS), rate=st.floats(0.01, 0.99), seed=st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_any_layout(batch, unit, rate, seed):
    """Specials and padding untouched and unlabelled; labels put back give the input; words whole, by a plain loop."""
    before = batch.tokens_BL.clone()
    targets = Masking(MASK, VOCABULARY, rate=rate, unit=unit).apply(batch, np.random.default_rng(seed))
    assert (batch.tokens_BL == before).all()  # the batch itself is not written to
    chosen = (targets.labels_BL != -100).numpy()
    special = batch.special_BL.numpy()
    assert not (chosen & special).any()
    assert (targets.tokens_BL.numpy()[special] == before.numpy()[special]).all()
    assert not np.isin(targets.tokens_BL.numpy()[chosen], [0, 1, 2, 3]).any()
    assert (np.where(chosen, targets.labels_BL, targets.tokens_BL) == before.numpy()).all()
    assert targets.count == chosen.sum()
    maskable = int((~special).sum())
    if unit == Tokens():
        assert abs(targets.count - rate * maskable) < 1
        return
    for row in range(batch.rows):
        words_of_row: list[list[bool]] = []
        previous = None
        for place in range(batch.tokens_BL.shape[1]):
            if special[row, place]:
                previous = None
                continue
            segment = int(batch.segments_BL[row, place])
            if previous != segment or batch.word_starts_BL[row, place]:
                words_of_row.append([])
            words_of_row[-1].append(bool(chosen[row, place]))
            previous = segment
        assert all(len(set(word)) == 1 for word in words_of_row)
        assert list(itertools.chain(*words_of_row)) == chosen[row][~special[row]].tolist()


def test_words_end_with_their_text():
    """A word whose tokens stand at the end of one packed text never takes the first token of the next with it."""
    batch = rows_from_texts(
        [np.array([10, 11]), np.array([12, 13])],
        word_starts=[np.array([True, False]), np.array([False, False])],
        pad_id=0,
        row_length=4,
        special_ids=SPECIALS,
    )
    assert batch.rows == 1
    seen = {
        tuple(Masking(MASK, VOCABULARY, rate=0.5, unit=Words()).choose(batch, np.random.default_rng(s))[0].tolist())
        for s in range(40)
    }
    assert seen == {(True, True, False, False), (False, False, True, True)}
