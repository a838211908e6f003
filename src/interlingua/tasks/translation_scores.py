"""BLEU and chrF of translations, by sacreBLEU, with the signature that says how they were computed.

In: translations and references. Out: numbers that papers give, each with sacreBLEU's own signature, without which a
BLEU cannot be compared with another (Post 2018, arXiv 1804.08771). Decisions: no metric code of our own; the tokenizer
follows the target language; where the one that is usual for it is not installed, or the language writes no spaces,
characters are the tokens, and the signature says so. Price: an extra.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interlingua.errors import DataError, LanguageError, MissingExtraError
from interlingua.languages import canonical, language
from interlingua.scores import Score

__all__ = ["Measured", "bleu_tokenizer", "require_sacrebleu", "score_translations"]

#: Names of sacreBLEU's tokenizers by language, and the module that each needs.
OWN = {"zh": ("zh", None), "ja": ("ja-mecab", "MeCab"), "ko": ("ko-mecab", "mecab_ko")}


@dataclass(frozen=True)
class Measured:
    """One number.

    Attributes:
        score: the row.
        signature: sacreBLEU's.
    """

    score: Score
    signature: str


def require_sacrebleu() -> None:
    """Raise `MissingExtraError` unless sacrebleu is installed."""
    if importlib.util.find_spec("sacrebleu") is None:
        raise MissingExtraError(
            "sacrebleu is not installed", expected="it measures translations",
            next_step="pip install 'interlingua[translate]'",
        )  # fmt: skip


def bleu_tokenizer(tag: str) -> str:
    """The name of sacreBLEU's tokenizer for a language."""
    try:
        spoken = language(tag)
    except LanguageError:  # an invented one
        return "13a"
    name, module = OWN.get(spoken.code.partition("-")[0], (None, None))
    if name is not None and (module is None or importlib.util.find_spec(module) is not None):
        return name
    return "13a" if spoken.spaced else "char"


def score_translations(
    translations: Sequence[str],
    references: Sequence[Sequence[str]],
    tag: str,
    *,
    model: str,
    task: str = "translate",
    split: str = "test",
) -> list[Measured]:
    """BLEU, chrF and chrF++ of a whole test set.

    Args:
        translations: one a line of the test set; empty ones count.
        references: of each reference translation its lines.
        tag: language of the translations.
        model: whose they are.
        task: name in the rows.
        split: name in the rows.

    Raises:
        DataError: another number of references than translations, or none at all.
        MissingExtraError: sacrebleu is not installed.
    """
    require_sacrebleu()
    from sacrebleu.metrics import BLEU, CHRF

    uneven = [len(lines) for lines in references if len(lines) != len(translations)]
    if not translations or not references or uneven:
        raise DataError(
            f"{len(translations):,} translations for {[len(lines) for lines in references]!r} references",
            expected="a reference for every translation, and at least one",
        )
    metrics: list[tuple[str, Any]] = [
        ("bleu", BLEU(tokenize=bleu_tokenizer(tag))),
        ("chrf", CHRF()),
        ("chrf++", CHRF(word_order=2)),
    ]
    found = []
    for name, metric in metrics:
        value = float(metric.corpus_score(list(translations), [list(lines) for lines in references]).score)
        row = Score(model, task, canonical(tag), split, name, value, len(translations))
        found.append(Measured(row, str(metric.get_signature())))
    return found
