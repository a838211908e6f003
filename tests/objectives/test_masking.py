"""objectives/masking.py: realised rates, whole words in real text, and what may never be hidden."""

from __future__ import annotations

import itertools
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlingua.batch import Batch, rows_from_texts
from interlingua.objectives.masking import Masking
from interlingua.text.words import words
from interlingua.vocab.train import train_vocabulary
from interlingua.vocab.words import WordStarts

MASK, VOCABULARY = 4, np.arange(5, 1000)
SPECIALS = np.array([0, 1, 2, 3, 4])
SENTENCES = {
    "th": ["วันนี้อากาศดีมากเราจึงไปเดินเล่นที่สวนสาธารณะ", "ฉันชอบอ่านหนังสือภาษาไทยก่อนนอนทุกคืน"],
    "zh": ["今天天气很好，我们去公园散步。", "他在大学学习计算机科学和语言学。"],
    "ja": ["今日は天気がとても良いので公園を散歩します。", "彼女は東京の大学で言語学を勉強しています。"],
    "ar": ["ذهب الولد إلى المدرسة في الصباح الباكر.", "اللغة العربية من أكثر اللغات انتشارا في العالم."],
    "hi": ["आज मौसम बहुत अच्छा है इसलिए हम बगीचे में गए।", "वह विश्वविद्यालय में भाषाविज्ञान पढ़ती है।"],
}


def made_up(texts: int, tokens: int, seed: int = 0, mean_word: float = 2.0) -> Batch:
    """Texts of equal length with words of geometric length."""
    generator = np.random.default_rng(seed)
    rows = [np.array([1, *generator.integers(5, 1000, size=tokens), 2]) for _ in range(texts)]
    starts = [np.array([True, *(generator.random(tokens) < 1 / mean_word), True]) for _ in range(texts)]
    return rows_from_texts(rows, pad_id=0, row_length=tokens + 2, special_ids=SPECIALS, word_starts=starts)


@pytest.mark.parametrize("unit", ["token", "word"])
@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_realised_rate(unit, rate):
    """Over 1 M maskable tokens the share of hidden ones is within half a point of the asked rate."""
    policy = Masking(MASK, VOCABULARY, rate=rate, unit=unit)
    hidden = maskable = 0
    for t in range(10):
        batch = made_up(1000, 100, seed=t)
        hidden += policy.apply(batch, np.random.default_rng(t)).count
        maskable += int((~batch.special_BL).sum())
    assert maskable == 1_000_000
    assert abs(hidden / maskable - rate) < 0.005


@pytest.mark.parametrize("unit", ["token", "word"])
def test_tiny_batches_keep_the_rate_on_average(unit):
    """Batches of 7 maskable tokens: the mean over 20,000 draws is the rate (five standard errors)."""
    policy = Masking(MASK, VOCABULARY, rate=0.15, unit=unit)
    batch = made_up(1, 7, seed=3, mean_word=1.7)
    counts = [policy.choose(batch, np.random.default_rng(t)).sum() for t in range(20_000)]
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
    policy = Masking(MASK, np.arange(300, 1000), rate=0.3, unit="word")
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


def test_same_seed_same_masks():
    """Equal keys give equal masks, other keys other masks."""
    batch, policy = made_up(50, 60), Masking(MASK, VOCABULARY, unit="word")
    one, two, other = (policy.apply(batch, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one.tokens_BL == two.tokens_BL).all()
    assert (one.labels_BL == two.labels_BL).all()
    assert (one.labels_BL != other.labels_BL).any()


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


@given(batch=layouts(), unit=st.sampled_from(["token", "word"]), rate=st.floats(0.01, 0.99), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None)
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
    if unit == "token":
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
        tuple(Masking(MASK, VOCABULARY, rate=0.5, unit="word").choose(batch, np.random.default_rng(s))[0].tolist())
        for s in range(40)
    }
    assert seen == {(True, True, False, False), (False, False, True, True)}
