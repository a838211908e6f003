"""Exact match and F1 of answers against the official scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlingua.errors import RecipeError
from interlingua.tasks.answers import answer_scores, answer_tokens, rule_for

DATA = Path(__file__).parents[1] / "data"


def official(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def test_mlqa_rule_equals_the_official_script() -> None:
    """Values that facebookresearch/MLQA's mlqa_evaluation_v1.py gives to answers in its seven languages."""
    for case in official("mlqa_official.jsonl"):
        em, f1 = answer_scores(case["predicted"], case["references"], case["lang"])
        assert (em, f1) == (case["em"], pytest.approx(case["f1"], abs=1e-12)), case


def test_squad_rule_equals_the_official_script() -> None:
    """Values that SQuAD's evaluate-v1.1.py gives to random answers with articles, case, marks and other scripts."""
    for case in official("squad_official.jsonl"):
        em, f1 = answer_scores(case["predicted"], case["references"], "ru", "squad")
        assert (em, f1) == (case["em"], pytest.approx(case["f1"], abs=1e-12)), case


def test_characters_are_counted_where_words_are_not_written() -> None:
    """Japanese by hand: 4 of 5 and 4 of 4 characters are shared; spaces and punctuation count nothing."""
    assert answer_scores("手塚 治虫。", ["手塚治虫"], "ja") == (1.0, 1.0)
    assert answer_scores("手塚治虫氏", ["手塚治虫"], "ja") == (0.0, pytest.approx(2 * 4 / 9))


def test_no_answer() -> None:
    """A question without an answer: right is to say nothing."""
    assert answer_scores("", [], "en") == (1.0, 1.0)
    assert answer_scores("Hastings", [], "en") == (0.0, 0.0)
    assert answer_scores("", ["Hastings"], "en") == (0.0, 0.0)


def test_rules_by_language() -> None:
    """MLQA's seven languages, unspaced ones, the rest; and a rule that a language does not have."""
    assert {lang: rule_for(lang) for lang in ("zh", "ar", "ja", "zh-Hant", "th", "ru", "sw")} == {
        "zh": "mlqa", "ar": "mlqa", "ja": "character", "zh-Hant": "character", "th": "character", "ru": "squad",
        "sw": "squad",
    }  # fmt: skip
    assert answer_tokens("Das Haus", "de-AT", "mlqa") == ["haus"]
    with pytest.raises(RecipeError, match=r"'mlqa' for answers in 'ja'(?s:.*)auto"):
        rule_for("ja", "mlqa")
