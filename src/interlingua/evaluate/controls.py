"""What a score must beat before it means anything, on the same split.

- ``majority``: the most frequent training label everywhere;
- ``tfidf``: TF-IDF character n-grams (1-4) and logistic regression, trained on the source language: what shared
  spelling alone gives;
- ``random``: a network of the same kind and width with random weights, one layer, all of it taught with the same
  examples and epochs: what the examples alone give. One layer, because deep random networks do not get past the most
  frequent label on a few hundred examples and would be no opponent (see :data:`RANDOM`).

For tagging, ``majority`` tags every word with the most frequent tag and ``tfidf`` reads the n-grams of the word and
its two neighbours. Of choices ``majority`` takes the place that is most often right, and ``tfidf`` the one nearest to
the text. For numbers ``majority`` is the mean of the training scores, under the name ``mean``, and ``tfidf`` a ridge
regression, for two texts on the cosine of their n-grams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from interlingua.errors import RecipeError, nearest
from interlingua.recipe_transfer import TuneRecipe
from interlingua.scores import Score
from interlingua.tasks.base import Encoded
from interlingua.tasks.choice import Choice, ChoiceExample
from interlingua.tasks.classify import Classify
from interlingua.tasks.score import ScoredText, Scoring
from interlingua.tasks.tag import TaggedSentence
from interlingua.tasks.texts import TextExample

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.tasks import Example, Task
    from interlingua.train.loop import Progress

__all__ = ["CONTROLS", "check_controls", "control_scores"]

CONTROLS = ("majority", "tfidf", "random")
#: How the random network is taught where that differs from the model it stands beside. On SIB-200's English dev split
#: (e5-small's width, three epochs, one seed; the most frequent topic has .253) twelve layers on frozen embeddings stay
#: at .253 with 1e-4, 3e-4 and 5e-4, and with everything trained at 5e-4 and 1e-3; one layer with everything trained
#: reaches .424 with 5e-4 and .525 with 1e-3.
RANDOM = {"method": "full", "freeze": "none", "fresh": "none", "lr": 1e-3, "select": "last"}
RANDOM_LAYERS = 1


def check_controls(kinds: Sequence[str]) -> None:
    """Refuse a control that does not exist, before anything is measured.

    Raises:
        RecipeError: with the nearest name.
    """
    for kind in kinds:
        if kind not in CONTROLS:
            raise RecipeError(
                f"control {kind!r}{nearest(kind, CONTROLS)}", expected=f"one of {', '.join(CONTROLS)}", where="controls"
            )


def control_scores(
    task: Task,
    train_examples: Sequence[Example],
    examples: Sequence[Example],
    *,
    kinds: Sequence[str] = CONTROLS,
    encoder: Encoder | None = None,
    tune: TuneRecipe | None = None,
    seed: int = 0,
    split: str = "test",
    on_language: Callable[[str, int, int], None] | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> list[Score]:
    """Scores of the controls.

    Args:
        task: labels and metric.
        train_examples: what the task was taught with.
        examples: what is scored.
        kinds: which controls.
        encoder: for ``random``: the network whose class and width are used.
        tune: for ``random``: epochs, batch size and head as there; rates and layers as :data:`RANDOM` says.
        seed: of the random weights and the tuning.
        split: name of the part, for the rows.
        on_language: called before each language of ``random``.
        on_step: called after each step of ``random``'s tuning.
    """
    check_controls(kinds)
    if not train_examples:
        raise RecipeError("controls without training examples", expected="task.train files", where="controls")
    task = task.control()
    scores: list[Score] = []
    for kind in kinds:
        if kind == "random":
            scores += _random(task, train_examples, examples, encoder, tune, seed, split, on_language, on_step)
            continue
        predict = _predictor(kind, train_examples, seed)
        name = "mean" if kind == "majority" and isinstance(task, Scoring) else kind
        groups: dict[str, list[Example]] = {}
        for example in examples:
            groups.setdefault(example.lang, []).append(example)
        for lang, rows in groups.items():
            for metric, value in _score(task, predict(rows), rows).items():
                scores.append(Score(name, task.name, lang, split, metric, value, len(rows)))
    return scores


def _units(example: Example) -> list[tuple[str, str]]:
    """(text the control reads, label) for each thing that is classified."""
    if isinstance(example, TaggedSentence):
        words = ["", *example.words, ""]
        return [
            (f"{before}  {word} {word}  {after}", tag)
            for before, word, after, tag in zip(words, words[1:], words[2:], example.tags, strict=False)
        ]
    if not isinstance(example, TextExample):
        raise RecipeError(
            f"controls for examples such as {type(example).__name__}",
            expected="a task of type classify, cloze, score, choice or tag",
            where="controls",
        )
    text = example.text if example.text_pair is None else f"{example.text} \u241f {example.text_pair}"
    return [(text, example.label)]


def _predictor(kind: str, train_examples: Sequence[Example], seed: int) -> Callable[[Sequence[Example]], list[Any]]:
    if chosen := [e for e in train_examples if isinstance(e, ChoiceExample)]:
        return _place(chosen) if kind == "majority" else _nearest_choice()
    if scored := [e for e in train_examples if isinstance(e, ScoredText)]:
        return _mean(scored) if kind == "majority" else _ridge(scored)
    return _majority(train_examples) if kind == "majority" else _tfidf(train_examples, seed)


def _place(train_examples: Sequence[ChoiceExample]) -> Callable[[Sequence[Any]], list[int]]:
    most = Counter(e.right for e in train_examples).most_common(1)[0][0]
    return lambda rows: [most] * len(rows)


def _nearest_choice() -> Callable[[Sequence[Any]], list[int]]:
    read = _ngrams()
    return lambda rows: [int((read(e.choices) @ read([e.text]).T).toarray().argmax()) for e in rows]


def _ngrams() -> Callable[[Sequence[str]], Any]:
    """Texts to normalised counts of their character n-grams, also of those that no training text has."""
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(analyzer="char_wb", ngram_range=(1, 4), alternate_sign=False).transform  # type: ignore[no-any-return]


def _mean(train_examples: Sequence[ScoredText]) -> Callable[[Sequence[Any]], list[float]]:
    mean = float(np.mean([e.score for e in train_examples]))
    return lambda rows: [mean] * len(rows)


def _ridge(train_examples: Sequence[ScoredText]) -> Callable[[Sequence[Any]], list[float]]:
    from sklearn.linear_model import Ridge

    read = _ngrams()

    def features(rows: Sequence[ScoredText]) -> Any:
        first = read([e.text for e in rows])
        if train_examples[0].text_pair is None:
            return first
        # What two texts have in common, not what they are about.
        return np.asarray(first.multiply(read([e.text_pair or "" for e in rows])).sum(axis=1))

    model = Ridge().fit(features(train_examples), [e.score for e in train_examples])
    return lambda rows: [float(value) for value in model.predict(features(rows))]


def _majority(train_examples: Sequence[Example]) -> Callable[[Sequence[Example]], list[str]]:
    most = Counter(label for e in train_examples for _, label in _units(e)).most_common(1)[0][0]
    return lambda rows: [most for e in rows for _ in _units(e)]


def _tfidf(train_examples: Sequence[Example], seed: int) -> Callable[[Sequence[Example]], list[str]]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    units = [unit for e in train_examples for unit in _units(e)]
    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, min_df=2),
        LogisticRegression(C=10.0, max_iter=500, random_state=seed),
    )
    model.fit([text for text, _ in units], [label for _, label in units])
    return lambda rows: [str(label) for label in model.predict([text for e in rows for text, _ in _units(e)])]


def _score(task: Task, labels: Sequence[Any], rows: Sequence[Any]) -> dict[str, float]:
    nothing = np.zeros(0, dtype=np.int64)
    if isinstance(task, Choice):
        return task.score(labels, [Encoded(nothing, row.lang, np.array([row.right])) for row in rows])
    if isinstance(task, Scoring):
        return task.score(labels, [Encoded(nothing, row.lang, np.array([row.score])) for row in rows])
    predicted = np.array([task.label_index(label) for label in labels], dtype=np.int64)
    gold = np.array([task.label_index(label) for e in rows for _, label in _units(e)], dtype=np.int64)
    if isinstance(task, Classify):
        return task.score(
            predicted.tolist(), [Encoded(nothing, rows[0].lang, gold[i : i + 1]) for i in range(len(gold))]
        )
    ends = np.cumsum([len(_units(e)) for e in rows])
    cut = np.split(predicted, ends[:-1])
    wanted = np.split(gold, ends[:-1])
    encoded = [Encoded(nothing, e.lang, nothing, gold=g, example=e) for e, g in zip(rows, wanted, strict=True)]
    return task.score(cut, encoded)


def _random(
    task: Task,
    train_examples: Sequence[Example],
    examples: Sequence[Example],
    encoder: Encoder | None,
    tune: TuneRecipe | None,
    seed: int,
    split: str,
    on_language: Callable[[str, int, int], None] | None,
    on_step: Callable[[Progress], None] | None,
) -> list[Score]:
    from interlingua.models.build import reinitialised
    from interlingua.transfer.heads import task_tokenizer
    from interlingua.transfer.tune import tune_once

    if encoder is None:
        raise RecipeError("control 'random' without an encoder", expected="encoder=", where="control_scores")
    recipe = (tune or TuneRecipe()).model_copy(update=RANDOM)
    tokenizer = task_tokenizer(encoder, task)

    def encoded(rows: Sequence[Example]) -> list[Encoded]:
        return task.encode(rows, tokenizer, max_length=recipe.max_length)[0]

    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.lang, []).append(example)
    train, tests = encoded(train_examples), {lang: encoded(rows) for lang, rows in groups.items()}
    # Only entries that occur get a row: of 250,000 random vectors with gradient and moments most would serve nothing.
    used = np.unique(np.concatenate([np.arange(tokenizer.pad_token_id + 1), *(e.tokens for e in train),
                                     *(e.tokens for rows in tests.values() for e in rows)]))  # fmt: skip
    control = replace(
        encoder, model=reinitialised(encoder.model, layers=RANDOM_LAYERS, vocabulary=len(used), seed=seed)
    )

    def renumbered(rows: Sequence[Encoded]) -> list[Encoded]:
        return [replace(e, tokens=np.searchsorted(used, e.tokens)) for e in rows]

    tuned = tune_once(
        control, task, train_examples, recipe, seed=seed, on_step=on_step, cache={"train": renumbered(train)}
    )
    scores = []
    for done, (lang, rows) in enumerate(tests.items()):
        if on_language:
            on_language(lang, done, len(tests))
        own = renumbered(rows)
        predicted: Any = task.predict(tuned.model, own, tokenizer)
        for metric, value in task.score(predicted, own).items():
            scores.append(Score("random", task.name, lang, split, metric, value, len(own), seed))
    return scores
