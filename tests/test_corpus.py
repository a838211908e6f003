"""corpus.py: the sample for the vocabulary has the shares it says, is uniform inside a language, and stays small."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interlingua import corpus
from interlingua.corpus import corpus_languages, sample_corpus
from interlingua.recipe import DataRecipe
from interlingua.text.documents import Document

WIDTH = 50
Made = Callable[[dict[str, int]], DataRecipe]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Let the corpus be so many texts by language: numbered, of equal length, a language after the other."""

    def use(counts: dict[str, int]) -> DataRecipe:
        def items(*_: object) -> Iterator[Document]:
            for lang, count in counts.items():
                yield from (Document(f"{number:0{WIDTH}d}", lang, "made", number) for number in range(count))

        monkeypatch.setattr(corpus, "corpus_items", items)
        return DataRecipe()

    return use


@pytest.mark.parametrize("exponent", [0.0, 0.3, 0.7, 1.0])
def test_shares_are_those_of_the_formula(made: Made, exponent: float) -> None:
    """Texts kept by language against n^S / sum n^S by hand; what is smaller than its share is there whole."""
    counts = {"en": 20_000, "de": 5_000, "fi": 1_000, "sw": 20}
    sample = sample_corpus(made(counts), characters=3_000 * WIDTH, exponent=exponent, seed=1)
    assert sample.counts == counts
    assert sample.characters == {lang: count * WIDTH for lang, count in counts.items()}
    total = sum(count**exponent for count in counts.values())
    for lang, count in counts.items():
        share = 3_000 * count**exponent / total
        kept = sample.texts[lang]
        assert len(set(kept)) == len(kept) == (count if share >= count else pytest.approx(share, abs=4 * share**0.5))


def test_every_text_has_the_same_chance(made: Made) -> None:
    """Over 400 seeds the four quarters of a language are kept equally often, within four standard deviations."""
    counts = {"en": 400, "de": 100}
    data = made(counts)
    kept: Counter[tuple[str, int]] = Counter()
    for seed in range(400):
        sample = sample_corpus(data, characters=50 * WIDTH, exponent=0.5, seed=seed)
        kept.update((lang, int(text) * 4 // counts[lang]) for lang, texts in sample.texts.items() for text in texts)
    for lang in counts:
        quarters = [kept[lang, quarter] for quarter in range(4)]
        mean = sum(quarters) / 4
        assert quarters == pytest.approx([mean] * 4, abs=4 * mean**0.5)


def test_memory_is_that_of_the_sample(made: Made) -> None:
    """A corpus of 20 MB of text objects and a sample of a fortieth: the peak stays far below the corpus."""
    data = made({"en": 160_000, "de": 40_000})
    tracemalloc.start()
    sample = sample_corpus(data, characters=5_000 * WIDTH, exponent=0.7, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(map(len, sample.texts.values())) == pytest.approx(5_000, abs=300)
    assert peak < 4_000_000  # 1.25 * 5,000 texts of 99 bytes, each in a pair with its number


def test_a_language_of_one_text_stays(made: Made) -> None:
    """However small its share is."""
    sample = sample_corpus(made({"en": 5_000, "sw": 1, "de": 5_000}), characters=500, exponent=1.0, seed=0)
    assert sample.texts["sw"] == ["0" * WIDTH]


def test_the_seed_decides(made: Made) -> None:
    """Two calls, one sample; another seed, another one."""
    data = made({"en": 500, "de": 500})
    first, again, other = (
        sample_corpus(data, characters=100 * WIDTH, exponent=0.7, seed=seed).texts for seed in (3, 3, 4)
    )
    assert first == again != other


def test_languages_are_those_with_text(tmp_path: Path) -> None:
    """Rows' own tags, the sides of pairs, the columns that are not empty; canonical and sorted."""
    rows = "".join(f'{{"text": "a", "lang": "{lang}"}}\n' for lang in ("swa", "de", "sw"))
    (tmp_path / "a.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / "b.tsv").write_text("x\ty\n", encoding="utf-8")
    (tmp_path / "c.tsv").write_text("id\ten\tfi\tja\n1\tx\t\ty\n", encoding="utf-8")
    data = DataRecipe.model_validate(
        {
            "texts": [{"path": tmp_path / "a.jsonl"}],
            "pairs": [{"path": tmp_path / "b.tsv", "source_lang": "fr", "target_lang": "eng"}],
            "parallel": [tmp_path / "c.tsv"],
        }
    )
    assert corpus_languages(data) == ["de", "en", "fr", "ja", "sw"]
