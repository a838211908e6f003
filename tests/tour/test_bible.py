"""The bundled texts: nothing that is scored stands in what is learnt from."""

from __future__ import annotations

import pytest

from interlingua.data import read_packed, resolve
from interlingua.errors import LanguageError
from interlingua.languages import language
from interlingua.tasks import read_text_examples
from interlingua.tour.bible import PARTS, read_verses, split_bible
from interlingua.tour.shared import pick_languages


def test_thirteen_languages_of_six_scripts() -> None:
    """The bundled Bible's languages and scripts."""
    languages, verses = read_verses()
    assert len(languages) == 13
    assert len({language(lang).script for lang in languages}) >= 6
    assert len(verses) > 30_000


def test_chapters_are_in_one_set_only_in_every_language() -> None:
    """No chapter of a taught or tested verse, and no tested verse's text, stands in the pretraining text."""
    split = split_bible()
    chapter = {v.rsplit(".", 1)[0] for v in split.pretrain}
    taught = {e.where.rsplit(".", 1)[0] for e in split.teach}
    tested = {e.where.rsplit(".", 1)[0] for e in split.test}
    assert not chapter & taught
    assert not chapter & tested
    assert not taught & tested
    assert {e.lang for e in split.test} == set(split.languages)
    assert {e.label for e in split.teach} == set(PARTS)
    # Formulas recur word for word all over the Bible; whole chapters being held out, they are all there is.
    texts = {t for by_language in split.pretrain.values() for t in by_language.values()}
    repeated = [e for e in split.test if e.text in texts]
    assert len(repeated) / len(split.test) < 0.02


def test_the_general_text_holds_no_topic_sentence() -> None:
    """No SIB-200 sentence in the bundled general segments."""
    general = set(read_packed("general.tsv.zst").replace("\n", "\t").split("\t"))
    assert not general & {e.text for e in read_text_examples(resolve("package:sib200.tsv.zst"))}


def test_the_split_is_the_same_every_time() -> None:
    """Two calls, one result."""
    assert split_bible() == split_bible()


def test_languages_are_picked_by_any_tag() -> None:
    """ISO 639-3 with script; English always first, and never alone."""
    assert pick_languages(["de", "en", "sw"], ["swh_Latn", "eng"]) == ["en", "sw"]
    assert pick_languages(["de", "en", "sw"], None) == ["en", "de", "sw"]
    with pytest.raises(LanguageError, match=r"no language beside 'en'(?s:.*)de, sw"):
        pick_languages(["de", "en", "sw"], ["en"])
    with pytest.raises(LanguageError, match="no test sentences in 'th'"):
        pick_languages(["de", "en", "sw"], ["de", "th"])
