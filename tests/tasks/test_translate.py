"""tasks/translate.py, translation_scores.py, translation_texts.py: nothing is lost, scores are sacreBLEU's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import sacrebleu
from tests.fixtures_translate import encoder_folder, translator, unigram  # noqa: F401

from interlingua.errors import DataError, LanguageError, MissingExtraError, RecipeError
from interlingua.models.translator import add_languages
from interlingua.recipe import PairSource, TextSource
from interlingua.recipe_translate import TranslateDataRecipe
from interlingua.tasks import translation_scores
from interlingua.tasks.translate import Translator
from interlingua.tasks.translation_scores import bleu_tokenizer, score_translations
from interlingua.tasks.translation_texts import Encoding, read_texts


@pytest.fixture(scope="module")
def small(encoder_folder):  # noqa: F811
    model, tokenizer = translator(encoder_folder, layers=1)
    return Translator("small", model, tokenizer)


def test_as_many_come_out_as_go_in(small, tiny_texts):
    """80 texts of all lengths, blank ones among them: each as if it were translated alone, blank for blank."""
    texts = ["", *tiny_texts["de"][:40], "  ", *(text[:9] for text in tiny_texts["fi"][:38]), "\t"]
    found = small.translate(texts, "en", longest=20, batch_tokens=300)
    assert len(found.texts) == len(texts) == 81
    assert found.empty == 3
    assert {0, 41, 80} <= {i for i, text in enumerate(found.texts) if not text}
    for i in (0, 1, 7, 41, 55, 80):
        assert small.translate([texts[i]], "en", longest=20).texts == [found.texts[i]]
    room = 20 - 2
    lengths = [len(small.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts if text.strip()]
    assert found.cut == sum(length > room for length in lengths) > 0
    assert small.translate(["", " "], "en").texts == ["", ""]
    assert small.translate([], "en").texts == []


def test_beam_of_one_is_the_default(small, tiny_texts):
    texts = tiny_texts["de"][:12]
    assert small.translate(texts, "fi", beam=1, longest=16) == small.translate(texts, "fi", longest=16)


def test_targets_stay_inside_the_positions(small):
    """A translation that never ends is as long as the network's 130 positions, and counted."""
    found = small.translate(["ein Haus " * 200], "de", longest=100_000)
    assert found.cut == 1
    assert len(found.texts) == 1


def test_languages(small):
    assert small.languages == ["de", "en", "fi"]
    with pytest.raises(RecipeError, match="'hu'"):
        small.translate(["a"], "hun")
    with pytest.raises(LanguageError):
        small.translate(["a"], "Klingonisch")


def test_scores_are_sacrebleus(tmp_path, tiny_texts):
    """Values and signatures against sacreBLEU's command line, with two references; and against its functions."""
    references = [tiny_texts["de"], [text.replace("und", "und auch") for text in tiny_texts["de"]]]
    translations = [" ".join(text.split()[:-2]) for text in tiny_texts["de"]]
    translations[3] = ""
    found = score_translations(translations, references, "deu", model="m")
    files = []
    for number, lines in enumerate([*references, translations]):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", *map(str, files[:2]), "-i", str(files[2]), "-w", "10", "-m"]
    done = subprocess.run([*command, "bleu", "chrf"], capture_output=True, text=True, check=True)
    more = subprocess.run([*command, "chrf", "--chrf-word-order", "2"], capture_output=True, text=True, check=True)
    theirs = [*json.loads(done.stdout), json.loads(more.stdout)]
    for ours, one in zip(found, theirs, strict=True):
        assert ours.score.value == pytest.approx(one["score"], abs=1e-8)
        assert ours.signature == one["signature"]
        assert (ours.score.language, ours.score.n, ours.score.model) == ("de", 150, "m")
    assert [one.score.metric for one in found] == ["bleu", "chrf", "chrf++"]
    assert found[0].score.value == sacrebleu.corpus_bleu(translations, references).score
    assert score_translations(tiny_texts["de"], [tiny_texts["de"]], "de", model="m")[0].score.value > 99.99


def test_tokenizer_by_language(monkeypatch):
    """Chinese its own; Japanese and Korean theirs where installed; without spaces characters; the signature says so."""
    assert [bleu_tokenizer(tag) for tag in ("de", "zho_Hant", "th", "x-unknown")] == ["13a", "zh", "char", "13a"]
    monkeypatch.setattr(
        translation_scores.importlib.util, "find_spec", lambda name: None if "ecab" in name.lower() else 1
    )
    assert (bleu_tokenizer("ja"), bleu_tokenizer("ko")) == ("char", "13a")
    monkeypatch.setattr(translation_scores.importlib.util, "find_spec", lambda name: 1)
    assert (bleu_tokenizer("ja"), bleu_tokenizer("ko")) == ("ja-mecab", "ko-mecab")
    monkeypatch.undo()
    assert "tok:zh|" in score_translations(["你好 世界"], [["你好世界"]], "zh", model="m")[0].signature


def test_uneven_or_missing(monkeypatch):
    with pytest.raises(DataError, match=r"2 translations for \[1\]"):
        score_translations(["a", "b"], [["a"]], "de", model="m")
    with pytest.raises(DataError, match="0 translations"):
        score_translations([], [[]], "de", model="m")
    monkeypatch.setattr(translation_scores.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"interlingua\[translate\]"):
        score_translations(["a"], [["a"]], "de", model="m")


def write(path, rows):
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_pairs_and_held_out_rows(tmp_path):
    """Both directions, limit, held-out rows spread over the file and absent from training, blank rows counted."""
    rows = [(f"v{i}", f"english {i}", f"deutsch {i}", f"suomi {i}" if i % 2 else "") for i in range(20)]
    file = write(tmp_path / "p.tsv", [("id", "en", "de", "fi"), *rows])
    found = read_texts(
        TranslateDataRecipe(parallel=(str(file),), languages=("en", "fi"), held_out=3, directions="forward"),
        alone=False,
    )
    assert len(found.pairs) == 7
    assert len(found.dev) == 3
    assert found.blank == 10
    assert not {p.source for p in found.pairs} & {p.source for p in found.dev}
    assert (found.languages, found.read, found.texts) == (["fi"], ["en"], {})
    pairs = write(tmp_path / "q.tsv", [("a", "b"), ("c", " "), ("d", "e")])
    source = PairSource(path=pairs, source_lang="en", target_lang="de")
    found = read_texts(TranslateDataRecipe(pairs=(source,), limit=1), alone=True)
    assert [(p.source, p.target, p.target_lang) for p in found.pairs] == [("a", "b", "de"), ("b", "a", "en")]
    assert found.texts == {"en": ["a"], "de": ["b"]}
    found = read_texts(TranslateDataRecipe(pairs=(source,)), alone=False)
    assert (len(found.pairs), found.blank) == (4, 1)
    with pytest.raises(DataError, match="no row"):
        read_texts(TranslateDataRecipe(parallel=(str(file),), languages=("hu", "sw")), alone=False)
    text = tmp_path / "t.jsonl"
    text.write_text('{"text": "x"}\n', encoding="utf-8")
    with pytest.raises(LanguageError):
        read_texts(TranslateDataRecipe(texts=(TextSource(path=text),)), alone=True)


def test_sides_of_different_length_are_refused(tmp_path):
    """Two Moses files: the counts of both, and where the shorter one ends."""
    for name, count in (("en", 3), ("de", 2)):
        (tmp_path / name).write_text("".join(f"line {i}\n" for i in range(count)), encoding="utf-8")
    source = PairSource(path=tmp_path / "en", target_path=tmp_path / "de", source_lang="en", target_lang="de")
    with pytest.raises(DataError, match=r"3 lines.*2 lines"):
        read_texts(TranslateDataRecipe(pairs=(source,)), alone=False)


def test_what_is_cut_is_counted(small, tiny_parallel):
    """Against the tokenizer itself; nothing is dropped."""
    from interlingua.text.pairs import Pair

    pairs = [Pair(row["en"], row["de"], "en", "de", "f", i) for i, row in enumerate(tiny_parallel.values())]
    encoding = Encoding(small.tokenizer, ["de", "en"], longest=24)
    rows = encoding.pairs(pairs)
    lengths = [
        len(ids) for p in pairs for ids in small.tokenizer([p.source, p.target], add_special_tokens=False)["input_ids"]
    ]
    assert len(rows) == len(pairs)
    assert encoding.cut == sum(length > 22 for length in lengths)
    assert [len(side) for row in rows for side in row.ids] == [min(length, 22) for length in lengths]
    assert rows[0].languages == (1, 0)
    before = encoding.cut
    singles = encoding.texts("de", [p.target for p in pairs])
    assert encoding.cut - before == sum(length > 22 for length in lengths[1::2])
    assert all(len(row.starts) == len(row.ids[0]) for row in singles)


def test_a_decoder_needs_an_end(byte_bpe_tokenizer, encoder_folder):  # noqa: F811
    """A vocabulary that puts nothing behind a text is refused."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from interlingua.errors import VocabularyError
    from interlingua.models.translator import pair_encoders

    model, _ = pair_encoders(encoder_folder, encoder_folder, seed=0)
    bare = Tokenizer.from_str(byte_bpe_tokenizer.to_str())
    bare.post_processor = None
    with pytest.raises(VocabularyError, match="behind every text"):
        add_languages(model, PreTrainedTokenizerFast(tokenizer_object=bare), ["de"])
