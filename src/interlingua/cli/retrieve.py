"""``interlingua retrieve``: sentences, bitexts and passages found by their vectors."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb, group
from interlingua.cli.sentences import say_cut, word_list

if TYPE_CHECKING:
    from interlingua.scores import Score
    from interlingua.tasks.mine import Bitext, Candidates
    from interlingua.tasks.passages import PassageSet

__all__ = ["app"]

app = group("Find translations, pairs and passages by vectors, and score what is found.")

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name, hub id, checkpoint or run folder; `interlingua doctor` lists.")
]
Languages = Annotated[str, typer.Option(metavar="TAG,...", help="Only these languages; all by default.")]
Layer = Annotated[int | None, typer.Option(help="Layer, 0 the embeddings, -1 the last; the last by default.")]
Neighbours = Annotated[
    int | None, typer.Option(min=1, help="Neighbours a margin looks at; csls 10, distance and ratio 4 by default.")
]
Task = Annotated[str, typer.Option(metavar="NAME", help="Name of the task in the rows.")]
Out = Annotated[Path | None, typer.Option("--out", help="Add the rows to this scores.jsonl.")]


@app.command(cls=Verb)
def sentences(
    model: Model,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="TSV: lang, id, text[, english]; or id and a column a language."),
    ],
    source: Annotated[str, typer.Option(help="Language searched from and to.")] = "en",
    languages: Languages = "",
    scoring: Annotated[
        str, typer.Option(metavar="NAME,...", help="cosine, csls, distance, ratio; several are all measured.")
    ] = "cosine",
    neighbours: Neighbours = None,
    centre: Annotated[bool, typer.Option("--centre", help="Also with each language's mean vector taken off.")] = False,
    layer: Layer = None,
    limit: Annotated[int, typer.Option(min=0, help="Pairs a language at most, the file's first; 0: all.")] = 0,
    predictions: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write DIR/tatoeba/test-xx.tsv, as XTREME reads them.")
    ] = None,
    task: Task = "sentences",
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Find each sentence's translation: P@1, both ways.

    Example:
    interlingua retrieve sentences e5-small package:general.tsv.zst --languages de,sw --limit 200
    interlingua retrieve sentences e5-small package:general.tsv.zst --scoring cosine,csls,ratio --centre --limit 100
    """
    from interlingua.cli.tables import language_names, number, table
    from interlingua.data import resolve
    from interlingua.languages import canonical
    from interlingua.models.encoder import load
    from interlingua.scores import append_scores
    from interlingua.tasks.retrieve import read_sentence_sets, retrieve_sentences, write_tatoeba
    from interlingua.text.lines import ReadReport

    scorings = word_list(scoring)
    if not scorings:
        raise typer.BadParameter("--scoring names nothing")
    if predictions is not None and (len(scorings) > 1 or centre):
        raise typer.BadParameter("--predictions takes one way of scoring: a single --scoring, no --centre")
    reports = [ReadReport() for _ in files]
    wanted = word_list(languages)
    sets = [
        one
        for file, report in zip(files, reports, strict=True)
        for one in read_sentence_sets(resolve(file), source=source, languages=wanted, limit=limit, report=report)
    ]
    _each_once((one.language for one in sets), "files")
    total = len({text for one in sets for text in (*one.texts, *one.sources)})
    with _encoding(total) as (say, encoded):
        blank, alone = sum(report.blank for report in reports), sum(one.unmatched for one in sets)
        say(f"{sum(len(one.ids) for one in sets):,} pairs in {len(sets)} languages, {total:,} different texts;"
            f" {blank} blank, {alone} without a translation")  # fmt: skip
        encoder = load(model)
        say_cut(encoder, (text for one in sets for text in (*one.texts, *one.sources)), say)
        found = retrieve_sentences(
            encoder, sets, scorings=scorings, k=neighbours, centre=centre, layer=layer, progress=encoded
        )
    scores = [score for one in found for score in one.scores(task)]
    lines: list[object] = []
    if predictions is not None:
        written = write_tatoeba(predictions, found)
        lines.append(f"predictions: {len(written)} files in {predictions / 'tatoeba'}")
    if out is not None:
        append_scores(out, scores)
    tag = canonical(source)
    for name in dict.fromkeys(one.model for one in found):
        own = sorted((_values(one.scores(task)) for one in found if one.model == name), key=lambda v: -v["p1"])
        rows = [
            (language_names(v["language"])[0], v["language"], *(number(v[m]) for m in _P1), v["n"],
             language_names(v["language"])[1])
            for v in own
        ]  # fmt: skip
        rows.append((f"mean of {len(own)}", "", *(number(statistics.fmean(v[m] for v in own)) for m in _P1), "", ""))
        columns = ["language", "tag", f"from {tag}", f"to {tag}", "P@1", "pairs", ""]
        lines += [f"{name}:", table(columns, rows, left=2, spare=[5])]
    return Answer(scores, lines)


_P1 = ("p1_from_source", "p1_to_source", "p1")


def _values(scores: Sequence[Score]) -> dict[str, Any]:
    return {**{s.metric: s.value for s in scores}, "language": scores[0].language, "n": scores[0].n}


@app.command(cls=Verb)
def bitext(
    model: Model,
    stems: Annotated[
        list[Path], typer.Argument(metavar="STEM...", help="bucc2018/de-en for bucc2018/de-en.PART.de, .en, .gold")
    ],
    tune: Annotated[str, typer.Option(metavar="PART", help="Part whose true pairs set the threshold.")] = "training",
    test: Annotated[str, typer.Option(metavar="PART", help="Part that is mined with it.")] = "test",
    threshold: Annotated[float | None, typer.Option(help="This threshold; no part is used to find one.")] = None,
    scoring: Annotated[
        Literal["cosine", "csls", "distance", "ratio"], typer.Option(help="What makes a pair good.")
    ] = "ratio",
    retrieval: Annotated[
        Literal["max", "forward", "backward", "intersection"], typer.Option(help="Which pairs are looked at.")
    ] = "max",
    neighbours: Neighbours = None,
    centre: Annotated[bool, typer.Option("--centre", help="Take each side's mean vector off first.")] = False,
    layer: Layer = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write DIR/bucc2018/test-xx.tsv, as XTREME reads them.")
    ] = None,
    task: Task = "bitext",
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Mine pairs of translations from two lists: precision, recall, F1.

    The threshold is the best one on the part with --tune; without true pairs in the --test part, the pairs alone.

    Example:
    interlingua retrieve bitext e5-small bucc2018/de-en bucc2018/fr-en --predictions predictions
    """
    from interlingua.cli.tables import number, table
    from interlingua.models.encoder import load
    from interlingua.scores import append_scores
    from interlingua.tasks.mine import best_threshold, mine, mining_scores, read_bitext, write_bucc
    from interlingua.tasks.retrieve import variant

    parts = [(stem, read_bitext(stem, tune) if threshold is None else None, read_bitext(stem, test)) for stem in stems]
    _each_once((stem.name for stem in stems), "pairs")
    total = sum(len({*b.sources.values(), *b.targets.values()}) for _, *pair in parts for b in pair if b is not None)
    scores: list[Score] = []
    rows, documents = [], []
    with _encoding(total) as (say, encoded):
        encoder = load(model)
        name = variant(encoder.name, scoring, centre=centre)

        def mined(text: Bitext) -> Candidates:
            return mine(encoder, text, scoring=scoring, retrieval=retrieval, k=neighbours, centre=centre, layer=layer,
                        progress=encoded)  # fmt: skip

        for stem, known, asked in parts:
            say(f"{stem.name}: {len(asked.sources):,} and {len(asked.targets):,} sentences")
            bound = threshold
            if known is not None:
                bound = best_threshold(mined(known), _gold(known, stem, tune))
            assert bound is not None
            found = mined(asked)
            pairs = found.above(bound)
            own = mining_scores(pairs, asked, model=name, part=test, task=task) if asked.gold else []
            scores += own
            values = {score.metric: score.value for score in own}
            if predictions is not None:
                write_bucc(predictions, asked.languages[0], pairs)
            rows.append((stem.name, number(bound, 4), len(pairs), found.repeated,
                         *(number(values.get(metric)) for metric in ("precision", "recall", "f1")),
                         len(asked.gold or ())))  # fmt: skip
            documents.append({"pair": stem.name, "threshold": bound, "pairs": len(pairs), "repeated": found.repeated,
                              "scores": own})  # fmt: skip
    if out is not None:
        append_scores(out, scores)
    columns = ["pair", "threshold", "pairs", "repeated", "precision", "recall", "F1", "true pairs"]
    return Answer(documents, [f"{name}, {retrieval}:", table(columns, rows)])


def _gold(known: Bitext, stem: Path, part: str) -> frozenset[tuple[str, str]]:
    from interlingua.errors import DataError

    if not known.gold:
        raise DataError(
            f"no true pairs at '{stem}.{part}.gold'",
            expected="id<TAB>id a line",
            next_step="name a part that has them with --tune, or give a --threshold",
        )
    return known.gold


@app.command(cls=Verb)
def passages(
    model: Model,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="LANG=FILE...",
            help="Questions with their paragraphs (SQuAD's JSON, JSON lines), or a folder in BEIR's layout.",
        ),
    ],
    within: Annotated[
        list[str] | None,
        typer.Option(
            "--passages",
            metavar="LANG=FILE",
            help="Search the paragraphs of this file, by question id; repeatable. By default each file's own.",
        ),
    ] = None,
    languages: Languages = "",
    centre: Annotated[bool, typer.Option("--centre", help="Also with the means of queries and passages off.")] = False,
    layer: Layer = None,
    task: Task = "passages",
    out: Out = None,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """Find the passage that answers a question: MRR@10, nDCG@10, recall.

    Example:
    interlingua retrieve passages e5-small de=xquad.de.jsonl ru=xquad.ru.jsonl
    interlingua retrieve passages e5-small de=xquad.de.jsonl ru=xquad.ru.jsonl --passages en=xquad.en.jsonl
    interlingua retrieve passages e5-small en=beir/scifact
    """
    from interlingua.cli.tables import language_names, number, table
    from interlingua.models.encoder import load
    from interlingua.scores import append_scores
    from interlingua.tasks.rank import rank_passages

    tasks = _passage_sets(files, within or [], word_list(languages), task)
    _each_once((f"{one.language} in {name}" for name, one in tasks), "files")
    total = sum(
        len(set(texts))
        for texts in ([text for _, one in tasks for text in one.passages.values()],
                      [one.queries[name] for _, one in tasks for name in one.judged()])
    )  # fmt: skip
    with _encoding(total) as (say, encoded):
        say(f"{sum(len(one.queries) for _, one in tasks):,} queries in {len(tasks)} sets, {total:,} different texts")
        found = rank_passages(load(model), [one for _, one in tasks], centre=centre, layer=layer, progress=encoded)
    each = 2 if centre else 1
    named = [(tasks[place // each][0], ranking) for place, ranking in enumerate(found)]
    scores = [score for name, ranking in named for score in ranking.scores(name)]
    if out is not None:
        append_scores(out, scores)
    lines: list[object] = []
    for key in dict.fromkeys((ranking.model, name) for name, ranking in named):
        own = [ranking for name, ranking in named if (ranking.model, name) == key]
        rows = [
            (language_names(r.language)[0], r.language, *(number(v) for v in r.metrics.values()), len(r.found),
             r.unjudged, r.cut)
            for r in sorted(own, key=lambda r: -r.metrics["mrr@10"])
        ]  # fmt: skip
        means = [number(statistics.fmean(r.metrics[m] for r in own)) for m in own[0].metrics]
        rows.append((f"mean of {len(own)}", "", *means, "", "", ""))
        names = [{"mrr@10": "MRR@10", "ndcg@10": "nDCG@10"}.get(m, m) for m in own[0].metrics]
        columns = ["language", "tag", *names, "queries", "unjudged", "cut"]
        lines += [f"{key[0]}, {key[1]}:", table(columns, rows, left=2)]
    return Answer(scores, lines)


def _passage_sets(
    files: Sequence[str], within: Sequence[str], wanted: Sequence[str], task: str
) -> list[tuple[str, PassageSet]]:
    """Name of the task and its set; with paragraphs of named languages, each a task of its own."""
    from interlingua.errors import LanguageError
    from interlingua.languages import canonical
    from interlingua.tasks.passages import question_passages, read_beir

    tags = {canonical(word) for word in wanted}
    searched = [_language_and_file(word) for word in within]
    sets: list[tuple[str, PassageSet]] = []
    for word in files:
        lang, file = _language_and_file(word)
        if file.is_dir():
            sets += [(task, one) for one in read_beir(file, language=lang)]
        elif not tags or canonical(lang) in tags:
            places: list[tuple[str, Path | None]] = [(f"{task}-{canonical(other)}", path) for other, path in searched]
            places = places or [(task, None)]
            sets += [(name, question_passages(file, language=lang, passages=path)) for name, path in places]
    chosen = [(name, one) for name, one in sets if not tags or one.language in tags]
    missing = tags - {one.language for _, one in chosen}
    if missing:
        raise LanguageError(
            f"no queries in {sorted(missing)!r}", expected="languages of the files", where="--languages"
        )
    return chosen


def _language_and_file(word: str) -> tuple[str, Path]:
    lang, equals, file = word.partition("=")
    if not equals:
        raise typer.BadParameter(f"{word!r}: expected LANG=FILE")
    return lang, Path(file)


def _each_once(names: Iterable[str], where: str) -> None:
    """Rows of one task and language would replace one another in the scores."""
    from interlingua.errors import DataError

    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{twice[0]!r} twice",
            expected="a language once in a task",
            where=where,
            next_step="run the files one after the other, each with a --task of its own",
        )


@contextmanager
def _encoding(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[int], None]]]:
    """Progress over the texts that are run: say a line, and tell how many more are done."""
    from interlingua.cli.progress import Stages

    with Stages({"encode": 1.0}) as stages:
        yield stages.say, stages.counter("encode", total)
