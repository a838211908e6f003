"""Exact match and F1 of answers: what counts as the same answer, by language.

In: a predicted answer and the reference answers. Out: exact match and token F1, the best over the references. Three
rules, each the data sets' own:

- ``squad``: Rajpurkar et al. 2016 (arXiv 1606.05250): lower case, no ASCII punctuation, no English articles, tokens
  split at white space. XTREME scores XQuAD and TyDi QA with it in every language.
- ``mlqa``: Lewis et al. 2020 (arXiv 1910.07475): no punctuation of any script, the articles of the language, and in
  Chinese a token an ideograph. Defined for English, Spanish, Hindi, Vietnamese, German, Arabic and Chinese.
- ``character``: as ``mlqa`` without articles, and a token is a character, as DRCD and JaQuAD count.

Decision: ``auto`` takes ``mlqa`` where it is defined, ``character`` for other languages written without spaces, and
``squad`` for the rest. Price: figures under different rules do not compare; the rule is part of a task's settings.
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Literal

from interlingua.errors import RecipeError
from interlingua.languages import language

__all__ = ["Rule", "answer_scores", "answer_tokens", "rule_for"]

Rule = Literal["auto", "squad", "mlqa", "character"]

_ENGLISH = r"\b(a|an|the)\b"
#: Articles by language, as MLQA's definition lists them; Hindi and Chinese have none.
_ARTICLES = {
    "en": _ENGLISH,
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\sال^|ال",
    "hi": "",
    "zh": "",
}
_IDEOGRAPHS = re.compile(r"([\u4e00-\u9fa5])")
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)


@cache
def _punctuation() -> dict[int, None]:
    """All punctuation of Unicode, and ASCII's symbols, as a table for ``str.translate``."""
    marks = (i for i in range(sys.maxunicode) if unicodedata.category(chr(i)).startswith("P"))
    return dict.fromkeys([*marks, *map(ord, string.punctuation)])


def rule_for(lang: str, rule: Rule = "auto") -> Rule:
    """The rule that answers in a language are scored by.

    Args:
        lang: canonical tag of the answers' language.
        rule: the one asked for.

    Raises:
        RecipeError: ``mlqa`` for a language that it is not defined for.
    """
    plain = lang.partition("-")[0]
    if rule == "mlqa" and plain not in _ARTICLES:
        raise RecipeError(
            f"task.rule = 'mlqa' for answers in {lang!r}",
            expected=f"one of {', '.join(_ARTICLES)}: the rule lists their articles",
            where="task.rule",
            next_step="task.rule=auto chooses a rule for each language",
        )
    if rule != "auto":
        return rule
    if lang in _ARTICLES:
        return "mlqa"
    return "squad" if language(lang).spaced else "character"


def answer_tokens(text: str, lang: str, rule: Rule) -> list[str]:
    """An answer as the tokens that are compared.

    Args:
        text: the answer.
        lang: canonical tag.
        rule: a settled rule, not ``auto``.
    """
    if rule == "squad":
        return re.sub(_ENGLISH, " ", text.lower().translate(_ASCII_PUNCTUATION)).split()
    text = text.lower().translate(_punctuation())
    if rule == "character":
        return list("".join(text.split()))
    plain = lang.partition("-")[0]
    if _ARTICLES[plain]:
        text = re.sub(_ARTICLES[plain], " ", text)
    elif plain == "zh":
        text = _IDEOGRAPHS.sub(r" \1 ", text)
    return text.split()


def answer_scores(predicted: str, references: Sequence[str], lang: str, rule: Rule = "auto") -> tuple[float, float]:
    """Exact match and F1 of an answer, each the best over the references.

    Args:
        predicted: the answer; empty for "no answer".
        references: right answers; none for a question without an answer.
        lang: canonical tag of the answers' language.
        rule: see the module.

    Returns:
        Exact match (0 or 1) and F1 (0 to 1).
    """
    settled = rule_for(lang, rule)
    own = answer_tokens(predicted, lang, settled)
    if not references:  # SQuAD 2.0: right is to say nothing
        return float(not own), float(not own)
    pairs = [_compare(own, answer_tokens(reference, lang, settled)) for reference in references]
    return max(em for em, _ in pairs), max(f1 for _, f1 in pairs)


def _compare(own: list[str], theirs: list[str]) -> tuple[float, float]:
    shared = sum((Counter(own) & Counter(theirs)).values())
    # Two answers of articles alone match exactly and share no token: F1 is 0, as the official scripts have it.
    return float(own == theirs), 2 * shared / (len(own) + len(theirs)) if shared else 0.0
