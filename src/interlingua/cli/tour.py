"""``interlingua tour``: the main job, start to end.

No words need flow in; a table, a report, and three classified sentences flow out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlingua.cli.console import JSON, Answer, Debug, Verb, show

if TYPE_CHECKING:
    from interlingua.tour import TourResult

__all__ = ["add_to"]

#: Stages and their rough seconds on two cores: what the time left is reckoned with until the stages have spoken.
_PLAN = {
    "load e5-small": 6,
    "teach in English": 129,
    "score every language": 204,
    "controls": 50,
    "report": 3,
}
_SCRATCH_PLAN = {
    "vocabulary and shards": 27,
    "pretrain": 250,
    "retrieval": 10,
    "teach bible part": 118,
    "teach topics": 29,
    "report": 2,
}
#: Classified where nobody types any: sports in Swahili, science in Japanese, travel in Spanish.
_SENTENCES = (
    "Timu ya taifa ilishinda mechi ya fainali kwa mabao mawili dhidi ya moja.",
    "研究者たちは、新しい望遠鏡で遠い銀河を観測したと発表した。",
    "Reserve el hotel con tiempo, porque en verano llegan muchos turistas a la isla.",
)
#: For the encoder that has read the Bible only: law in Japanese, wisdom in German, a letter in Spanish.
_VERSES = (
    "主はモーセに言われた、「イスラエルの人々に言いなさい、祭壇に供え物をささげよ」。",
    "Ein weiser Sohn erfreut den Vater, aber ein törichter Sohn ist seiner Mutter Gram.",
    "Hermanos, os ruego por la gracia de nuestro Señor Jesucristo que seáis todos de una misma fe.",
)

_READING = "accuracy: mean over seeds, with its standard deviation (spread); gap: to English; then the controls."


def tour(
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Pretrain a small encoder first, from text that ships here.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; runs/tour, or runs/tour-from-scratch.", show_default=False)
    ] = None,
    languages: Annotated[
        str, typer.Option(metavar="all|N|TAG,TAG", help="Languages scored: all, that many beside English, or these.")
    ] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="Models taught; scores are mean and spread over them.")] = 3,
    text: Annotated[
        list[str] | None, typer.Option(help="A sentence to classify at the end, in any language; repeatable.")
    ] = None,
    prompt: Annotated[
        bool, typer.Option("--prompt/--no-prompt", help="On a terminal, ask for three sentences at the end.")
    ] = True,
    as_json: JSON = False,
    debug: Debug = False,
) -> Answer:
    """The main job: taught in English, scored in every language.

    Ends with a table, a report (RUN/report.html), and three sentences of yours classified in whatever language.

    Example:
    interlingua tour
    interlingua tour --languages 30
    interlingua tour --languages de,sw,hi --seeds 1 --text "Wo ist der Bahnhof?"
    """
    from interlingua.cli.progress import Stages
    from interlingua.tour import run_scratch_tour, run_tour

    run, plan, given = (run_scratch_tour, _SCRATCH_PLAN, _VERSES) if from_scratch else (run_tour, _PLAN, _SENTENCES)
    folder = out or Path("runs") / ("tour-from-scratch" if from_scratch else "tour")
    sentences = tuple(text or given)
    with Stages(plan) as stages:
        result = run(
            folder,
            languages=_languages(languages, scratch=from_scratch),
            seeds=tuple(range(seeds)),
            sentences=sentences,
            say=stages.say,
            stage=stages.stage,
        )
    shown = _table(result)
    if prompt and not text and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        show(shown)
        shown, sentences = [], _ask() or sentences
    classes = result.classify(sentences)
    document = {
        "report": result.report,
        "rows": result.rows,
        "lines": result.lines,
        "sentences": [{"text": t, "label": c, "probability": p} for t, (c, p) in zip(sentences, classes, strict=True)],
        "seconds": result.seconds,
    }
    return Answer(document, [*shown, *_classified(sentences, classes), f"report: {result.report}"])


def _languages(word: str, *, scratch: bool) -> list[str] | None:
    """The tags meant by ``--languages``; a number means so many, evenly spread over the alphabet of tags."""
    from interlingua.data import read_packed

    if word == "all":
        return None
    if not word.isdigit():
        return [tag.strip() for tag in word.split(",") if tag.strip()]
    text = read_packed("bible.tsv.zst" if scratch else "sib200.tsv.zst")
    tags = (
        text.partition("\n")[0].split("\t")[1:] if scratch else [row.split("\t", 1)[0] for row in text.splitlines()[1:]]
    )
    others = sorted(set(tags) - {"en"})
    count = min(int(word), len(others))
    if count < 1:
        raise typer.BadParameter(f"--languages {word!r}: expected all, a number from 1 on, or tags")
    return [others[place * len(others) // count] for place in range(count)]


def _table(result: TourResult) -> list[Any]:
    from interlingua.cli.tables import score_table

    return [score_table(result.rows, metric="accuracy", source="en"), _READING, *result.lines, ""]


def _ask() -> tuple[str, ...]:
    """Three sentences from the keyboard; fewer if a line is left empty."""
    typer.echo("Type up to three sentences in any language (an empty line ends).")
    sentences = []
    for number in (1, 2, 3):
        try:
            sentence = input(f"  {number}: ").strip()
        except EOFError:
            break
        if not sentence:
            break
        sentences.append(sentence)
    return tuple(sentences)


def _classified(sentences: Sequence[str], classes: Sequence[tuple[str, float]]) -> list[str]:
    width = max((len(label) for label, _ in classes), default=0)
    return [f"  {p:4.0%}  {label:<{width}}  {t}" for t, (label, p) in zip(sentences, classes, strict=True)]


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("tour", cls=Verb)(tour)
