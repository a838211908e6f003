"""Sentence retrieval: readers of three layouts, P@1 and prediction files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError, LanguageError, RecipeError
from interlingua.models.encoder import Encoder
from interlingua.probe import retrieve
from interlingua.tasks import SentenceSet, read_sentence_sets, retrieve_sentences
from interlingua.tasks.retrieve import write_tatoeba
from interlingua.text.lines import ReadReport


@pytest.fixture(scope="module")
def encoder(hf_tokenizer: Any) -> Encoder:
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer))
    return Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, prefix="query: ", max_length=100)


def written(folder: Path, text: str) -> Path:
    file = folder / "sentences.tsv"
    file.write_text(text, encoding="utf-8")
    return file


TATOEBA = "lang\tid\ttext\tenglish\ndeu\t0\tHallo\tHello\ndeu\t1\tJa\tYes\nfra\t0\tNon\tNo\nfra\t1\t \tBlank\n"
FLORES = "lang\tid\ttext\neng_Latn\t0\tHello\neng_Latn\t1\tYes\ndeu_Latn\t1\tJa\ndeu_Latn\t0\tHallo\ndeu_Latn\t9\tX\n"
COLUMNS = "id\ten\tde\n0\tHello\tHallo\n1\tYes\tJa\n2\tNo\t\n"


def test_own_english_side(tmp_path: Path) -> None:
    """Tatoeba's layout by hand: tags made canonical, a blank side counted, a language left with one pair."""
    report = ReadReport()
    sets = read_sentence_sets(written(tmp_path, TATOEBA), report=report)
    assert sets == [
        SentenceSet("de", ["0", "1"], ["Hallo", "Ja"], ["Hello", "Yes"]),
        SentenceSet("fr", ["0"], ["Non"], ["No"]),
    ]
    assert (report.rows, report.blank) == (3, 1)


@pytest.mark.parametrize(("text", "unmatched"), [(FLORES, 1), (COLUMNS, 0)])
def test_joined_by_id(tmp_path: Path, text: str, unmatched: int) -> None:
    """FLORES' layout and a column a language: order of the language's rows, ids without a translation counted."""
    (one,) = read_sentence_sets(written(tmp_path, text))
    assert dict(zip(one.texts, one.sources, strict=True)) == {"Hallo": "Hello", "Ja": "Yes"}
    assert (one.language, one.unmatched) == ("de", unmatched)


def test_chosen_languages_and_limit(tmp_path: Path) -> None:
    """Tags of any spelling; the first pairs; a language that is not there is named with its neighbour."""
    file = written(tmp_path, TATOEBA)
    (one,) = read_sentence_sets(file, languages=["ger"], limit=1)
    assert (one.language, one.texts) == ("de", ["Hallo"])
    with pytest.raises(LanguageError, match="no sentences in 'it'"):
        read_sentence_sets(file, languages=["it"])


def test_two_codes_of_one_language_stay_apart(tmp_path: Path) -> None:
    """Tatoeba has ``dtp`` and, by its old code ``kzj``, another set of the same language."""
    text = "lang\tid\ttext\tenglish\ndtp\t0\ta\tb\nkzj\t0\tc\td\n"
    sets = read_sentence_sets(written(tmp_path, text))
    assert [(one.language, one.texts) for one in sets] == [("dtp", ["a"]), ("kzj", ["c"])]
    assert [one.texts for one in read_sentence_sets(tmp_path / "sentences.tsv", languages=["kzj"])] == [["c"]]


def test_a_folder_of_lasers_files(tmp_path: Path) -> None:
    """A language and its English side a line; sides of other lengths, and a source that is not English, are refused."""
    for code, own, english in [("deu", "eins\n\nzwei\n", "one\nx\ntwo\n"), ("cmn", "一\n", "one\n")]:
        (tmp_path / f"tatoeba.{code}-eng.{code}").write_text(own, encoding="utf-8")
        (tmp_path / f"tatoeba.{code}-eng.eng").write_text(english, encoding="utf-8")
    report = ReadReport()
    sets = {one.language: one for one in read_sentence_sets(tmp_path, report=report)}
    assert set(sets) == {"de", "zh"}
    assert (sets["de"].texts, sets["de"].sources) == (["eins", "zwei"], ["one", "two"])
    assert (report.rows, report.blank) == (3, 1)
    with pytest.raises(DataError, match="source 'de'"):
        read_sentence_sets(tmp_path, source="de")
    (tmp_path / "tatoeba.cmn-eng.eng").write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(DataError, match="1 and 2 lines"):
        read_sentence_sets(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="0 files"):
        read_sentence_sets(tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("lang\ttext\nde\ta\n", DataError, "without id"),
        ("lang\tid\ttext\tenglish\nde\t0\ta\tb\nde\t0\tc\td\n", DataError, "the id '0' twice in 'de'"),
        ("lang\tid\ttext\nen\t0\ta\nde\t1\tb\n", DataError, "no sentence of 'de' has an id of 'en'"),
        ("lang\tid\ttext\nfr\t0\ta\nde\t0\tb\n", LanguageError, "no text in 'en'"),
        ("lang\tid\ttext\tenglish\nde\t0\t \tb\n", DataError, "no text"),
        ("lang\tid\ttext\nzzzz\t0\ta\n", LanguageError, "zzzz"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    """Missing column, an id twice, no common ids, no source, nothing but blanks, an unknown tag."""
    with pytest.raises(error, match=message):
        read_sentence_sets(written(tmp_path, text))
    with pytest.raises(LanguageError, match="with a column 'english'"):
        read_sentence_sets(written(tmp_path, TATOEBA), source="de")


def test_hits_equal_sklearn_over_the_encoders_vectors(encoder: Encoder, tiny_texts: dict[str, list[str]]) -> None:
    """Every place found, both ways and centred, against scikit-learn's brute force on the encoder's own vectors."""
    own, english = tiny_texts["de"][:30], tiny_texts["en"][:30]
    one = SentenceSet("de", [str(i) for i in range(30)], own, english)
    results = retrieve_sentences(encoder, [one], centre=True)
    assert [r.model for r in results] == ["tiny", "tiny+centred"]
    raw = [encoder.encode(texts, normalize=False).astype(np.float64) for texts in (english, own)]
    for result, sides in zip(results, (raw, [side - side.mean(axis=0) for side in raw]), strict=True):
        places = []
        for query, index in (sides, sides[::-1]):
            model = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(index)
            places.append(model.kneighbors(query, return_distance=False)[:, 0])
        assert np.array_equal(result.from_source, places[0])
        assert np.array_equal(result.to_source, places[1])
        values = {s.metric: (s.value, s.n) for s in result.scores("t")}
        rates = [float((place == np.arange(30)).mean()) for place in places]
        assert values == {
            "p1_from_source": (rates[0], 30), "p1_to_source": (rates[1], 30), "p1": (sum(rates) / 2, 30)
        }  # fmt: skip


def test_the_probe_finds_the_same(encoder: Encoder, tiny_parallel: dict[str, dict[str, str]]) -> None:
    """``interlingua.probe.retrieve`` over the same sentences and layer gives the same figures."""
    texts = {lang: {name: row[lang] for name, row in list(tiny_parallel.items())[:25]} for lang in ("en", "ru")}
    one = SentenceSet("ru", list(texts["ru"]), list(texts["ru"].values()), list(texts["en"].values()))
    ours = {s.metric: s.value for s in retrieve_sentences(encoder, [one], layer=-1)[0].scores("t")}
    assert ours == {s.metric: s.value for one in retrieve(encoder, texts) for s in one.scores()}


def test_repeated_sentences_find_the_first(encoder: Encoder) -> None:
    """Copies on both sides: of each group the first place is found, so the others miss; none is left out."""
    english = ["one two three", "the sea", "one two three", "a long road", "the sea", "one two three"]
    one = SentenceSet("de", list("abcdef"), english, english)
    for scoring in ("cosine", "ratio", "csls"):
        (result,) = retrieve_sentences(encoder, [one], scorings=[scoring], k=1)
        assert result.from_source.tolist() == result.to_source.tolist() == [0, 1, 0, 3, 1, 0]
        assert {s.value for s in result.scores("t")} == {3 / 6}


def test_one_sentence_and_other_scorings(encoder: Encoder) -> None:
    """A language with a single pair is scored; names tell what was done; a wrong scoring is refused."""
    one = SentenceSet("de", ["0"], ["Hallo"], ["Hello"])
    results = retrieve_sentences(encoder, [one], scorings=["cosine", "csls", "ratio"], centre=True)
    assert [r.model for r in results] == [
        "tiny", "tiny+csls", "tiny+ratio", "tiny+centred", "tiny+csls+centred", "tiny+ratio+centred"
    ]  # fmt: skip
    assert {s.value for r in results for s in r.scores("t")} == {1.0}
    run: list[int] = []
    with pytest.raises(RecipeError, match="scoring 'cos'"):
        retrieve_sentences(encoder, [one], scorings=["cosine", "cos"], progress=run.append)
    assert run == []


def test_prediction_files(encoder: Encoder, tmp_path: Path) -> None:
    """XTREME's order: its preprocessing sorts the English sentences, so line n is the n-th of them in sorted order."""
    english = ["the sea", "a long road", "Bread"]
    one = SentenceSet("de", ["0", "1", "2"], ["Das Meer", "Eine lange Straße", "Brot"], english)
    (result,) = retrieve_sentences(encoder, [one])
    (file,) = write_tatoeba(tmp_path, [result])
    assert file == tmp_path / "tatoeba" / "test-de.tsv"
    found = dict(zip(english, result.from_source.tolist(), strict=True))
    assert file.read_text().splitlines() == [str(found[text]) for text in sorted(english)]
