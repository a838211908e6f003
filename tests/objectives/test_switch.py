"""objectives/switch.py: which words are replaced, by what, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from interlingua.errors import DataError, RecipeError
from interlingua.objectives.switch import CodeSwitching, LexiconEntry
from interlingua.shards.read import ShardSet
from interlingua.shards.stream import Layout, Stream, Text
from interlingua.text.lexicons import read_lexicon
from interlingua.vocab.words import WordStarts

LANGUAGES = ["en", "de", "ja"]
ENTRIES = [
    LexiconEntry("god", "en", "Gott", "de"),
    LexiconEntry("god", "en", "神", "ja"),
    LexiconEntry("earth", "en", "Erde", "de"),
    LexiconEntry("water", "en", "agua", "es"),
]


def text_of(words: str, tokenizer, lang: str) -> Text:
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    starts = WordStarts(tokenizer.backend_tokenizer)([ids], None, lang)[0]
    return Text(np.array(ids), np.array(starts), np.full(len(ids), LANGUAGES.index(lang)))


def test_every_known_word_at_rate_one(hf_tokenizer):
    """At rate 1 each word with an entry is replaced by one of its translations, in its case; others stay."""
    switch = CodeSwitching(ENTRIES, hf_tokenizer, LANGUAGES, rate=1.0)
    seen = set()
    for seed in range(30):
        out = switch(text_of("God made the earth and water", hf_tokenizer, "en"), np.random.default_rng(seed))
        seen.add(hf_tokenizer.decode(out.tokens))
        assert len(out.tokens) == len(out.starts) == len(out.languages)
        by_language = {i: hf_tokenizer.decode(out.tokens[out.languages == i]).split() for i in range(3)}
        assert by_language[0] == ["made", "the", "and", "water"]
    assert seen == {"Gott made the Erde and water", "神 made the Erde and water"}


def test_the_other_way_and_back(hf_tokenizer):
    """A lexicon is used in both directions, also out of a script without spaces."""
    switch = CodeSwitching(ENTRIES, hf_tokenizer, LANGUAGES, rate=1.0)
    out = switch(text_of("Gott schuf die Erde", hf_tokenizer, "de"), np.random.default_rng(0))
    assert hf_tokenizer.decode(out.tokens).lower() == "god schuf die earth"
    assert out.languages.tolist().count(0) > 0


def test_rate(hf_tokenizer):
    """Of 20,000 known words about the asked share is replaced; at 0 nothing is."""
    source = text_of(" ".join(["god"] * 20_000), hf_tokenizer, "en")
    out = CodeSwitching(ENTRIES[:1], hf_tokenizer, LANGUAGES, rate=0.3)(source, np.random.default_rng(0))
    assert hf_tokenizer.decode(out.tokens).split().count("Gott") / 20_000 == pytest.approx(0.3, abs=0.01)
    same = CodeSwitching(ENTRIES, hf_tokenizer, LANGUAGES, rate=0.0)(source, np.random.default_rng(0))
    assert (same.tokens == source.tokens).all()
    assert (same.starts == source.starts).all()


def test_in_the_stream(shard_folder, hf_tokenizer):
    """Batches of a switched layout are pure in (seed, t), hold tokens of other languages, and differ in nothing else
    than words: turning the rate to 0 gives the batch without the transform."""
    shards = ShardSet(shard_folder / "train")
    entries = [LexiconEntry("god", "en", "Gott", "de"), LexiconEntry("and", "en", "und", "de")]
    options = {"seed": 5, "batch_tokens": 2000, "row_length": 128, "weights": {"en": 1.0}}

    def batch(rate: float):
        switch = CodeSwitching(entries, hf_tokenizer, shards.languages, rate=rate)
        return Stream(shards, hf_tokenizer, **options).batch(3, Layout("single", transform=switch))

    plain = Stream(shards, hf_tokenizer, **options).batch(3)
    assert (batch(0.0).tokens_BL == plain.tokens_BL).all()
    one, two = batch(0.8), batch(0.8)
    assert (one.tokens_BL == two.tokens_BL).all()
    german = (one.languages_BL == shards.languages.index("de")) & (one.segments_BL > 0)
    assert set(hf_tokenizer.decode(one.tokens_BL[german]).lower().split()) <= {"gott", "und"}
    assert german.sum() > 20


def test_nothing_to_switch(hf_tokenizer):
    """A lexicon of other languages than those drawn is refused."""
    with pytest.raises(RecipeError, match="no lexicon entry"):
        CodeSwitching([LexiconEntry("water", "en", "agua", "es")], hf_tokenizer, LANGUAGES, rate=0.5)


def test_lexicon_files(tmp_path):
    """MUSE's spaces and tabs are both read; a line of one column names file and line."""
    file = tmp_path / "en-de.txt"
    file.write_text("cat Katze\nice cream\tEis\n\ncat Kater\n", encoding="utf-8")
    assert list(read_lexicon(file)) == [("cat", "Katze"), ("ice cream", "Eis"), ("cat", "Kater")]
    file.write_text("cat Katze\ndog\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"en-de.txt, line 2"):
        list(read_lexicon(file))
