"""Scores that are not kept yet, computed; the others, read.

In: models of one task, a seed each, labelled examples by language, and what was kept. Out: rows of Scores in the order
of the languages. Decisions: models that lack the same languages are scored together, so that the frozen layers they
share run once and each is opened once; what a model predicted in a language is kept as soon as it is there, so an
interruption costs one language. Price: with ``shift`` the source's examples are run again for its mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlingua.evaluate.cache import ScoreCache, Scored, digest_of, key_of
from interlingua.evaluate.run import Predicted, evaluate

if TYPE_CHECKING:
    from interlingua.scores import Score
    from interlingua.tasks import Example
    from interlingua.transfer.tune import Tuned

__all__ = ["Kept", "Subject", "score_missing"]


@dataclass(frozen=True)
class Subject:
    """A model that is scored, which need not be open.

    Attributes:
        seed: of its tuning.
        follows_from: what its scores follow from beside the examples: weights, task, lengths, names.
        open: opens it.
    """

    seed: int
    follows_from: Mapping[str, Any]
    open: Callable[[], Tuned]


@dataclass(frozen=True)
class Kept:
    """All scores that were asked for.

    Attributes:
        scores: rows.
        computed: tests (model, language, shifted or not) that were run.
        read: tests that were kept.
    """

    scores: list[Score]
    computed: int
    read: int


def score_missing(
    subjects: Sequence[Subject],
    groups: Mapping[str, Sequence[Example]],
    cache: ScoreCache,
    *,
    model: str,
    max_length: int,
    shift_to: str | None = None,
    on_predicted: Callable[[Predicted], None] = lambda predicted: None,
    on_language: Callable[[str, int, int], None] | None = None,
) -> Kept:
    """Score models in the languages in which they have not been.

    Args:
        subjects: the models.
        groups: language -> examples.
        cache: what is kept.
        model: name in the rows.
        max_length: longest example in tokens.
        shift_to: score also with every language's mean moved onto this one's.
        on_predicted: called with what each model predicted where it was run.
        on_language: called as (language, done, all) before each language is run.
    """
    digests = {lang: digest_of(rows) for lang, rows in groups.items()}
    shifts = {model: None} if shift_to is None else {model: None, f"{model}+shift": ["means", digests[shift_to]]}

    def key(subject: Subject, lang: str, name: str) -> str:
        return key_of(
            **subject.follows_from,
            seed=subject.seed,
            examples=digests[lang],
            max_length=max_length,
            model=model,
            shift=shifts[name],
        )

    tests = [(subject.seed, lang, name) for lang in groups for subject in subjects for name in shifts]
    keys = {(subject.seed, *rest): key(subject, *rest) for subject in subjects for _, *rest in tests}
    found = {test: kept for test in tests if (kept := cache.get(keys[test])) is not None}
    read = len(found)

    def keep(predicted: Predicted) -> None:
        test = (predicted.tuned.seed, predicted.language, predicted.model)
        if test in keys and test not in found:
            task = {"kind": predicted.tuned.task.kind, **predicted.tuned.task.settings()}
            found[test] = Scored(predicted.scores(), task, digests[predicted.language], predicted.counts)
            on_predicted(predicted)  # before it is kept: what is kept is not predicted again
            cache.put(keys[test], found[test])

    together: dict[tuple[str, ...], list[Subject]] = {}
    for subject in subjects:
        lacking = tuple(lang for lang in groups if any((subject.seed, lang, name) not in found for name in shifts))
        together.setdefault(lacking, []).append(subject)
    for languages, lacking_them in together.items():
        if languages:
            source = (shift_to,) if shift_to is not None else ()
            evaluate(
                [subject.open() for subject in lacking_them],
                [example for lang in dict.fromkeys((*source, *languages)) for example in groups[lang]],
                max_length=max_length,
                shift=shift_to is not None,
                source=shift_to or "",
                model=model,
                on_predicted=keep,
                on_language=on_language,
            )
    return Kept([score for test in tests for score in found[test].scores], len(found) - read, read)
