"""objectives/phrases.py against a plain search over words, and on real text."""

from __future__ import annotations

import numpy as np
import pytest

from interlingua.batch import Batch, rows_from_texts
from interlingua.errors import DataError, LanguageError, RecipeError
from interlingua.objectives.masking import Masking
from interlingua.objectives.phrases import PhraseLexicon, read_phrases
from interlingua.objectives.units import Maskable, Phrases, Words
from interlingua.vocab.words import WordStarts

LANGUAGES = ["de", "en", "ja", "zh"]


def by_hand(text: Maskable, phrases: dict[int | None, set[tuple[int, ...]]]) -> list[int]:
    """Number of each token's unit: from left to right the longest phrase that begins at a word and ends with one."""
    found: list[int] = []
    at = number = 0
    size = len(text)
    word, run = text.word_N.tolist(), text.run_N.tolist()
    while at < size:
        ends = [e for e in range(at + 1, size + 1) if run[e - 1] == run[at] and (e == size or word[e] != word[e - 1])]
        known = phrases[None] | phrases.get(int(text.languages_N[at]), set())
        matches = [e for e in ends if tuple(text.tokens_N[at:e].tolist()) in known]
        end = max(matches) if matches else min(ends)
        found += [number] * (end - at)
        number, at = number + 1, end
    return found


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_plain_search(seed, number_tokenizer):
    """Random phrases of one to five tokens, some of one language only, some of others' beginnings: the same units."""
    generator = np.random.default_rng(seed)
    phrases: dict[int | None, set[tuple[int, ...]]] = {None: set(), 0: set(), 1: set()}
    for language in phrases:
        for _ in range(60):
            phrases[language].add(tuple(generator.integers(5, 12, size=generator.integers(1, 6)).tolist()))
    listed = [
        (" ".join(f"w{i}" for i in ids), None if language is None else LANGUAGES[language])
        for language, own in phrases.items()
        for ids in own
    ]
    lexicon = PhraseLexicon(listed, number_tokenizer, LANGUAGES)
    texts = [np.array([1, *generator.integers(5, 13, size=40), 2]) for _ in range(30)]
    batch = rows_from_texts(
        texts,
        word_starts=[np.array([True, *(generator.random(40) < 0.6), True]) for _ in texts],
        languages=generator.integers(0, 3, size=30).tolist(),
        pad_id=0,
        row_length=100,
        special_ids=np.arange(5),
    )
    text = Maskable.of(batch)
    ours = lexicon.phrases(text)
    assert ours.tolist() == by_hand(text, phrases)
    assert 2 * (ours.max() + 1) < len(text) * 1.6  # phrases were found


def test_no_tokens_at_all(number_tokenizer):
    """A batch of nothing but specials has no units."""
    lexicon = PhraseLexicon([("w5 w6", None)], number_tokenizer)
    batch = rows_from_texts([np.array([1, 2])], pad_id=0, row_length=4, special_ids=np.arange(5))
    assert len(lexicon.phrases(Maskable.of(batch))) == 0
    assert Masking(4, np.arange(5, 9), unit=Phrases(lexicon)).apply(batch, np.random.default_rng(0)).count == 0


def real(tokenizer, text: str, lang: str) -> Batch:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    starts = WordStarts(tokenizer.backend_tokenizer)([ids], None, lang)[0]
    return rows_from_texts(
        [np.array(ids)],
        word_starts=[np.array(starts)],
        languages=[LANGUAGES.index(lang)],
        pad_id=0,
        row_length=len(ids),
        special_ids=np.array(tokenizer.all_special_ids),
    )


@pytest.mark.parametrize(
    ("lang", "phrase", "text"),
    [
        ("en", "Kingdom of Heaven", "Kingdom of Heaven is at hand, the Kingdom of Heaven, a kingdom."),
        ("zh", "耶稣基督", "耶稣基督的家谱：他是耶稣基督。"),
        ("de", "Sohn Davids", "des Sohnes Davids, Joseph, Sohn Davids, und der Sohn Davidsons"),
    ],
)
def test_phrases_of_real_text(lang, phrase, text, hf_tokenizer):
    """At each place where the phrase stands between word bounds its tokens are one unit; elsewhere words are."""
    batch = real(hf_tokenizer, text, lang)
    units = PhraseLexicon([(phrase, lang)], hf_tokenizer, LANGUAGES).phrases(Maskable.of(batch))
    words = Maskable.of(batch).word_N
    tokens = batch.tokens_BL[0].numpy()
    several = [tokens[units == u] for u in range(units.max() + 1) if len(set(words[units == u])) > 1]
    assert [hf_tokenizer.decode(ids).strip() for ids in several] == [phrase] * (1 if lang == "de" else 2)
    other = PhraseLexicon([(phrase, "ja")], hf_tokenizer, LANGUAGES).phrases(Maskable.of(batch))
    assert (other == words).all()  # another language's phrase is not looked for


def test_hidden_as_a_whole(hf_tokenizer):
    """Phrases are hidden all or none, and replaced in one way; without phrases in the text, words are chosen."""
    text = "the Kingdom of Heaven and the Kingdom of Heaven"
    batch = real(hf_tokenizer, text, "en")
    unit = Phrases(PhraseLexicon([("Kingdom of Heaven", None)], hf_tokenizer, LANGUAGES))
    numbers = unit.lexicon.phrases(Maskable.of(batch))
    policy = Masking(hf_tokenizer.mask_token_id, np.arange(300, 900), 0.5, unit, mask=0.5, random=0.5)
    for seed in range(50):
        targets = policy.apply(batch, np.random.default_rng(seed))
        hidden = targets.labels_BL[0].numpy() != -100
        masked = targets.tokens_BL[0].numpy() == hf_tokenizer.mask_token_id
        for number in range(numbers.max() + 1):
            assert len(set(hidden[numbers == number])) == 1
            assert len(set(masked[numbers == number])) == 1
    plain = Phrases(PhraseLexicon([("no such phrase", None)], hf_tokenizer, LANGUAGES))
    one, two = (unit.pick(Maskable.of(batch), 5, np.random.default_rng(0)) for unit in (plain, Words()))
    assert (one == two).all()


def test_reading(tmp_path):
    """Lines with and without a language; blank lines are counted; empty files and unknown tags refused."""
    path = tmp_path / "phrases.txt"
    path.write_text("New York\n\nde\tSohn Davids\nzho\t耶稣基督\n", encoding="utf-8")
    assert list(read_phrases(path)) == [("New York", None), ("Sohn Davids", "de"), ("耶稣基督", "zh")]
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"phrases\.txt"):
        list(read_phrases(path))
    path.write_text("xx-not-a-language\tword\n", encoding="utf-8")
    with pytest.raises(LanguageError):
        list(read_phrases(path))


def test_no_phrase_left(hf_tokenizer, number_tokenizer):
    """Phrases of other languages, or of unknown tokens alone: RecipeError."""
    for phrases, tokenizer in (([("Sohn Davids", "de")], hf_tokenizer), ([("unheard of", None)], number_tokenizer)):
        with pytest.raises(RecipeError, match="no phrase"):
            PhraseLexicon(phrases, tokenizer, ["en"])
