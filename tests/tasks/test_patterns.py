"""Pattern files: what is refused, and what stands where the mask is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from interlingua.errors import DataError, LabelError, RecipeError, VocabularyError
from interlingua.tasks.patterns import Patterns, Wording, read_patterns

EN = "en: {sport: [sports], money: [money]}"


def word_tokenizer(*words: str, mask: str | None = "[MASK]") -> PreTrainedTokenizerFast:
    """A tokenizer of whole words and their ``##`` parts, whose every id can be read off."""
    vocabulary = ["[PAD]", "[UNK]", "[MASK]", *words]
    model = models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", **({"mask_token": mask} if mask else {})
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose every token is a byte, as byte-level BPE's are where it learnt nothing longer."""
    vocabulary = ["[PAD]", "[UNK]", "[MASK]", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]"
    )  # fmt: skip


WORDS = word_tokenizer("it", "is", "sports", "mon", "##ey", "cash", ".", "we", "run", "N", "/", "A", "a")
PATTERN = "{text} it is {mask}."


def patterns(pattern: str = PATTERN, **words: tuple[str, ...]) -> Patterns:
    own = words or {"money": ("money", "cash"), "sport": ("sports",)}
    return Patterns(patterns={"en": pattern}, verbalisers={"en": own})


def names(ids: Any) -> list[str]:
    return WORDS.convert_ids_to_tokens(list(ids))


def test_words_of_several_tokens_get_as_many_masks() -> None:
    """Ids and inputs against what is read off a vocabulary of ten words."""
    wording, split, lost = Wording.of(patterns(), "en", WORDS)
    assert (split, lost) == (["money"], [])
    assert [[names(word) for word in label] for label in wording.ids] == [[["mon", "##ey"], ["cash"]], [["sports"]]]
    assert list(wording.sizes) == [1, 2]
    ((filled,), cut) = wording.fill([("we run", "")], WORDS, max_length=20)
    one, two = ["we", "run", "it", "is", "[MASK]", "."], ["we", "run", "it", "is", "[MASK]", "[MASK]", "."]
    assert names(filled.tokens) == one + two
    assert filled.ends.tolist() == [6, 13]
    assert filled.masks.tolist() == [4, 10, 11]
    assert cut == 0


def test_the_text_is_cut_and_never_the_pattern() -> None:
    """A text of thirty words, one that just fits, and a mask token that the text brings along."""
    wording, *_ = Wording.of(patterns(), "en", WORDS)
    filled, cut = wording.fill([("we run " * 15, ""), ("we run", ""), ("we [MASK] run", "")], WORDS, max_length=8)
    assert cut == 1
    assert names(filled[0].tokens[: filled[0].ends[0]]) == ["we", "run", "we", "it", "is", "[MASK]", "."]
    assert names(filled[0].tokens[filled[0].ends[0] :]) == ["we", "run", "we", "it", "is", "[MASK]", "[MASK]", "."]
    assert names(filled[2].tokens[: filled[2].ends[0]]) == ["we", "[MASK]", "run", "it", "is", "[MASK]", "."]
    assert filled[2].masks.tolist()[0] == 5
    with pytest.raises(RecipeError, match=r"of 5 tokens(?s:.*)expected: *at least 6"):
        wording.fill([("we", "")], WORDS, max_length=4)


def test_of_a_pair_the_longer_text_is_cut() -> None:
    """Ten words and two in a window with room for six."""
    wording, *_ = Wording.of(patterns("{text} is {mask} {text_pair}"), "en", WORDS)
    ((filled,), _) = wording.fill([("we " * 10, "run run")], WORDS, max_length=9)
    assert names(filled.tokens[filled.ends[0] :]) == ["we", "we", "we", "we", "is", "[MASK]", "[MASK]", "run", "run"]


def test_characters_of_several_tokens_are_cut_whole() -> None:
    """Three bytes a character, with the offsets that byte-level tokenizers give them; no room for part of one."""
    tokenizer = byte_tokenizer()
    found = Patterns(patterns={"en": "{text} {mask}."}, verbalisers={"en": {"a": ("x",), "b": ("y",)}})
    wording, *_ = Wording.of(found, "en", tokenizer)
    for room, kept in ((9, 3), (10, 3), (11, 3), (12, 4)):
        # Beside the text stand a space, the mask and the full stop.
        ((filled,), cut) = wording.fill([("日本語" * 3, "")], tokenizer, max_length=room + 3)
        text = tokenizer.decode(filled.tokens.tolist(), skip_special_tokens=True)
        assert (text, cut) == (("日本語" * 3)[:kept] + " .", 1)


def test_unknown_words_are_named_and_a_label_without_any_is_refused() -> None:
    """``golf`` cannot be spelt; nor can any word of a label."""
    _, split, lost = Wording.of(patterns(money=("money",), sport=("sports", "golf")), "en", WORDS)
    assert (split, lost) == (["money"], ["golf"])
    with pytest.raises(VocabularyError, match="no word of label 'sport' in 'en' is in the vocabulary: golf"):
        Wording.of(patterns(money=("money",), sport=("golf",)), "en", WORDS)


def test_a_word_that_runs_into_the_pattern_is_not_used() -> None:
    """``moncash`` is one token here, so that ``cash`` has none of its own behind ``mon``."""
    tokenizer = word_tokenizer("mon", "##ey", "cash", "moncash", "run", "monrun", "sports", "##sports", "a")
    found = Patterns(
        patterns={"en": "{text} mon{mask}"}, verbalisers={"en": {"money": ("cash", "ey"), "sport": ("sports",)}}
    )
    assert Wording.of(found, "en", tokenizer)[2] == ["cash"]


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    """An encoder's tokenizer that was never taught with masks."""
    with pytest.raises(VocabularyError, match="without a mask token"):
        Wording.of(patterns(), "en", word_tokenizer("sports", "money", mask=None))


def test_which_languages_pattern_is_used() -> None:
    """The language's own, its first side's, its base's, or the default."""
    found = Patterns(default="en", patterns={"en": "", "zh": "", "sw": ""})
    tags = ("zh-Hant", "sw/en", "de", "zh")
    assert [found.language(tag) for tag in tags] == ["zh", "sw", "en", "zh"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("patterns: {en: '{text} about'}\nverbalisers: {" + EN + "}", RecipeError, r"'{text} about'(?s:.*)patterns.en"),
        ("patterns: {en: '{mask} is {mask} {text}'}\nverbalisers: {" + EN + "}", RecipeError, "once each"),
        ("patterns: {en: '{text} {maks}'}\nverbalisers: {" + EN + "}", RecipeError, "once each"),
        ("patterns: {en: '{text} {mask}'}", RecipeError, "en without a pattern or without a verbaliser"),
        ("default: de\npatterns: {en: '{text} {mask}'}\nverbalisers: {" + EN + "}", RecipeError, "de without"),
        (
            "patterns: {en: '{text} {mask}', de: '{text} {mask}'}\nverbalisers: {" + EN + ", de: {sport: [Sport]}}",
            LabelError, r"words for sport(?s:.*)money, sport(?s:.*)verbalisers.de",
        ),
        ("patterns: {en: '{text} {mask}'}\nverbalisers: {en: {a: [x], b: [x]}}", LabelError, "labels 'a' and 'b'"),
        ("patterns: {en: '{text} {mask}'}\nverbalisers: {en: {a: [x], b: []}}", LabelError, "label 'b' with the words"),
        ("pattern: {en: '{text} {mask}'}", RecipeError, "unknown key 'pattern'; did you mean 'patterns'"),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    """Each with the place of what is wrong."""
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        read_patterns(path)


def test_the_bundled_file_is_whole() -> None:
    """Read and checked; no such file otherwise."""
    found = read_patterns("package:topics.patterns.yaml")
    assert len(found.patterns) == 25
    assert len(found.labels) == 7
    with pytest.raises(DataError, match="no pattern file"):
        read_patterns("nowhere.yaml")
