"""Languages of many texts at once, against py3langid's own answers one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from interlingua.data import resolve
from interlingua.errors import LanguageError
from interlingua.languages import canonical
from interlingua.prepare.identify import alike, identifier
from interlingua.text.pairs import read_parallel

LIBRARY = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def agreeing(texts: list[str]) -> int:
    """How many texts were compared: all in languages that our table has."""
    model = identifier()
    compared = 0
    found = model.probabilities(texts, sample=100_000)
    for row, text in zip(found, texts, strict=True):
        lang, confidence = LIBRARY.classify(text)
        try:
            tag = "und" if lang == "zxx" else canonical(lang)
        except LanguageError:
            continue  # the language table does not know it: its probability is that of "und"
        assert row[model.tags.index(tag)] == pytest.approx(confidence, abs=1e-3)
        compared += 1
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-4)
    return compared


def test_real_texts_get_the_probability_of_the_library() -> None:
    # Oracle: LanguageIdentifier.classify with norm_probs, text by text, in thirteen languages and five scripts.
    rows = list(read_parallel(resolve("package:general.tsv.zst")))[:40]
    texts = [text for row in rows for text in row.texts.values()]
    assert agreeing(texts) > 0.95 * len(texts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=300), min_size=1, max_size=40))
def test_any_texts_get_the_probability_of_the_library(texts: list[str]) -> None:
    # The same oracle on arbitrary text: empty, upper case, lone marks, unassigned characters.
    model = identifier()
    found = model.probabilities(texts, sample=100_000)
    for row, text in zip(found, texts, strict=True):
        # Some of the library's columns share one of ours, so ours is never below.
        assert row.max() >= LIBRARY.classify(text)[1] - 1e-3


def test_a_text_does_not_depend_on_its_neighbours() -> None:
    # Each text alone against the same text in a batch.
    rows = list(read_parallel(resolve("package:general.tsv.zst")))[:10]
    texts = [text for row in rows for text in row.texts.values()]
    model = identifier()
    together = model.probabilities(texts)
    alone = np.concatenate([model.probabilities([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_long_texts_are_judged_by_three_parts() -> None:
    # A text whose middle is in another language is seen to be mixed; its beginning alone is not.
    model = identifier()
    english = "The people of the village went down to the river in the morning. " * 30
    german = "Die Leute aus dem Dorf gingen am Morgen hinunter an den Fluss, um zu fischen. " * 30
    tags = model.tags
    row = model.probabilities([english + german + english], sample=300)[0]
    assert row[tags.index("en")] < model.probabilities([english], sample=300)[0][tags.index("en")]
    assert tags[int(row.argmax())] in ("en", "de")


def test_nothing_gives_an_even_matrix() -> None:
    # No text, and a text without features.
    model = identifier()
    assert model.probabilities([]).shape == (0, len(model.tags))
    assert model.probabilities([""])[0].max() < 0.2


def test_near_languages_are_alike() -> None:
    assert alike("id", "ms")
    assert alike("zh-Hant", "zh")
    assert alike("hr", "sr")
    assert not alike("de", "nl")
