"""Studies as pages: one a study, and one of all that were run.

In: the folders of studies. Out: ``report.html`` and ``report.md``. Decision: pages are made from ``scores.jsonl``
and the recipe beside it, so they can be made again at any time, also of a study that is half done. Price: what is to
stand on a page must be a score.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from interlingua.errors import DataError
from interlingua.report.markdown import to_markdown
from interlingua.report.page import Cell, Section, Table, write_report
from interlingua.run import atomic_write
from interlingua.scores import Score, read_scores
from interlingua.studies.base import CHECKPOINT, Study, Verdict, verdicts

__all__ = ["claims_section", "counted", "measured", "write_overview", "write_pages"]

SCORES = "scores.jsonl"
#: What YAML writes behind a plain value.
_END = "...\n"


def counted(found: Iterable[Verdict]) -> str:
    """How many claims have which verdict, in words."""
    counts = Counter(one.verdict for one in found)
    return ", ".join(f"{word} {count}" for word, count in counts.most_common())


def _word(found: Verdict) -> str:
    """The verdict, and what the measured model says where that is none."""
    return found.verdict if found.here in (None, found.verdict) else f"{found.verdict} ({found.here})"


def _ours(found: Verdict) -> str | None:
    if found.ours is None:
        return None
    if math.isnan(found.low):
        return f"{found.ours:+.3f}, no interval"
    return f"{found.ours:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _explained(found: Sequence[Verdict]) -> list[str]:
    """What `ours` is, for each kind of evidence that was used."""
    spans = {
        "seeds": "and its 95 % interval by Student's t, from the deviation between seeds of the arms compared. A claim "
        "agrees or differs where the interval lies on one side of the margin; elsewhere it is open.",
        "draws": "and the middle 95 % of the differences to draws from chance. A claim agrees or differs where these "
        "lie on one side of the margin; elsewhere it is open.",
    }
    sums: dict[tuple[str, bool], list[str]] = {}
    for one in found:
        sums.setdefault((one.evidence.units, one.evidence.paired), []).append(one.evidence.what)
    lines = []
    for (units, paired), whats in sums.items():
        way = "a paired bootstrap" if paired else "a bootstrap of each side by itself"
        span = spans.get(
            units,
            f"and the 95 % interval of {way} over {units}. A claim agrees or differs where the interval "
            "lies on one side of the margin; elsewhere it is open.",
        )
        lines.append(f"Ours is the difference ({'; '.join(dict.fromkeys(whats))}), {span}")
    abouts = {one.claim.about for one in found} - {""}
    lines += [
        f"Claims about a {about} are not comparable where the model is none; what it says itself stands in brackets."
        for about in sorted(abouts)
    ]
    return lines


def claims_section(found: Sequence[Verdict]) -> Section:
    """Every claim beside ours."""
    several = len({one.evidence.what for one in found}) > 1
    columns = ["claim", "published", "source", *(["difference in"] if several else []), "ours", "verdict"]
    rows: list[list[Cell]] = [
        [one.claim.text, one.claim.published, one.claim.source, *([one.evidence.what] if several else []), _ours(one),
         _word(one)]
        for one in found
    ]  # fmt: skip
    return Section("Published, and ours", _explained(found), [Table("Claims and verdicts", "", columns, rows)])


def measured(folder: Path) -> list[Score]:
    """What stands in a study's folder; nothing where it was not run, or no stage of it is done."""
    rows = read_scores(folder / SCORES) if (folder / SCORES).is_file() else []
    return rows if any(row.task != CHECKPOINT for row in rows) else []


def _measured(study: Study, folder: Path) -> list[Score]:
    if not (rows := measured(folder)):
        raise DataError(
            f"nothing measured in {str(folder)!r}",
            expected=f"{SCORES} of the study",
            where=str(folder),
            next_step=f"interlingua study run {study.name}",
        )
    return rows


def _settings(folder: Path) -> list[str]:
    """The recipe as words of a command line; where the data lie is nobody's business."""
    path = folder / "recipe.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    words = [
        f"{key}={yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix(_END).strip()}"
        for key, value in tree.items()
        if key not in ("kind", "name", "root") and value is not None
    ]
    return [f"Recipe: {' '.join(words)}"] if words else []


def _sections(study: Study, scores: Sequence[Score], folder: Path) -> list[Section]:
    first, *others = study.sections(scores)
    first = replace(first, paragraphs=[*first.paragraphs, *_settings(folder)])
    return [first, *others, claims_section(verdicts(study, scores))]


def _write(folder: Path, title: str, lead: str, sections: Sequence[Section]) -> tuple[Path, Path]:
    page = write_report(folder / "report.html", title, lead, {}, sections)
    atomic_write(folder / "report.md", to_markdown(title, lead, sections))
    return page, folder / "report.md"


def write_pages(study: Study, folder: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.md`` of a study that was run; return their paths.

    Raises:
        DataError: nothing was measured yet.
    """
    return _write(folder, study.title, study.question, _sections(study, _measured(study, folder), folder))


def write_overview(studies: Mapping[str, Study], folder: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.md`` of all studies that were run in ``folder/NAME``; return their paths.

    Raises:
        DataError: none was.
    """
    run = {study: scores for name, study in studies.items() if (scores := measured(folder / name))}
    if not run:
        raise DataError(
            f"no study was run in {str(folder)!r}",
            expected=f"NAME/{SCORES} of a study",
            where=str(folder),
            next_step="interlingua study list; interlingua study run NAME",
        )
    found = {study: verdicts(study, scores) for study, scores in run.items()}
    rows: list[list[Cell]] = [[study.name, study.question, len(found[study]), counted(found[study])] for study in run]
    columns = ["study", "question", "claims", "verdicts"]
    sections = [Section("All studies", (), [Table("Studies that were run", "", columns, rows)])]
    for study, scores in run.items():
        first, *others = _sections(study, scores, folder / study.name)
        sections.append(Section(study.title, [study.question, *first.paragraphs], first.items))
        sections += [Section(f"{study.title}: {one.heading}", one.paragraphs, one.items) for one in others]
    lead = f"{sum(map(len, found.values()))} published claims: " + counted(v for own in found.values() for v in own)
    return _write(folder, "Studies", f"{lead}.", sections)
