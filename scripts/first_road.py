"""The results page docs/results/first-road.md, from real data beyond what ships in the package.

    python scripts/first_road.py DATA_FOLDER [--out runs/first-road] [--stages pretrain,vocab,pos,ner] [--tour runs/tour]
        [--write]

DATA_FOLDER holds text_LANG.jsonl.zst, pairs_en-LANG.tsv.zst, retrieval/, pos/ and ner/. Every stage leaves its run
folder and scores.jsonl and is resumed when called again; --write makes the page from what is there, with the topics of a tour.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import zstandard

from interlingua.evaluate import CONTROLS, control_scores, evaluate
from interlingua.languages import canonical, language
from interlingua.models.checkpoint import open_tokenizer
from interlingua.models.encoder import load, resolve
from interlingua.pretrain import pretrain
from interlingua.probe import retrieve
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_file import load_recipe
from interlingua.recipe_transfer import FinetuneRecipe, LabelledFile
from interlingua.scores import Score, append_scores, read_scores, summarise
from interlingua.tasks import TaggedSentence, read_tagged_sentences
from interlingua.transfer import finetune, read_examples
from interlingua.vocab.report import vocabulary_report

PAGE = Path(__file__).parent.parent / "docs" / "results" / "first-road.md"
LIMIT = 1000  # test sentences a language: enough for a standard error of 1.5 points at worst


def lines(path: Path) -> Iterator[str]:
    stream = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes()))
    return iter(stream.read().decode("utf-8").splitlines())


def say(text: str) -> None:
    print(text, flush=True)


def flores(data: Path) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for row in list(lines(data / "retrieval" / "flores200.devtest.tsv.zst"))[1:]:
        tag, number, text = row.split("\t")
        rows.setdefault(canonical(tag), {})[number] = text.strip()
    return rows


def pretraining(data: Path, out: Path) -> None:
    tags = sorted(p.name.removeprefix("text_").removesuffix(".jsonl.zst") for p in data.glob("text_*.jsonl.zst"))
    recipe = load_recipe(
        {
            "name": "first-road",
            "data": {
                "texts": [{"path": str(data / f"text_{tag}.jsonl.zst"), "lang": tag} for tag in tags],
                "pairs": [
                    {"path": str(data / f"pairs_en-{tag}.tsv.zst"), "source_lang": "en", "target_lang": tag}
                    for tag in tags
                    if tag != "en"
                ],
                "exponent": 0.5,
                "unit_tokens": 62,
            },
            "vocab": {"size": 32_000, "exponent": 0.5, "sample_characters": 20_000_000},
            "model": {"hidden": 256, "layers": 2, "feed_forward": 1024, "positions": 128},
            "objectives": [
                {"type": "contrast", "weight": 0.4},
                {"type": "tlm", "weight": 0.3},
                {"type": "mlm", "weight": 0.3},
            ],
            "train": {
                "steps": 1000, "batch_tokens": 6000, "row_length": 128, "lr": 0.001, "embedding_lr": 0.01,
                "evaluate_every": 500, "save_every": 100,
            },
        },
        PretrainRecipe,
    )  # fmt: skip
    result = pretrain(recipe, out / "pretrain", say=say, on_step=lambda p: p.step % 100 or say(f"{p.step} {p.losses}"))
    encoder = load(result.checkpoint)
    texts = flores(data)
    texts = {lang: texts[lang] for lang in texts if lang in result.languages}
    scores = []
    for centre in (False, True):
        for score in retrieve(encoder, texts, centre=centre, task="flores"):
            name = "first-road" + ("+centred" if centre else "")
            scores.append(Score(**{**score.__dict__, "model": name}))
    append_scores(out / "scores.jsonl", scores)


def vocabularies(data: Path, out: Path) -> None:
    texts = flores(data)
    own = set(open_languages(data))
    chosen = [lang for lang in texts if lang in own]
    parallel = {i: {lang: texts[lang][i] for lang in chosen} for i in texts["en"]}
    found = {}
    for name, folder in (("e5-small", resolve("e5-small")), ("own", out / "pretrain" / "vocab")):
        rows = vocabulary_report(
            open_tokenizer(folder), {lang: list(texts[lang].values()) for lang in chosen}, parallel
        )
        found[name] = [
            {
                "lang": r.lang, "fertility": r.fertility, "continued": r.continued_words, "unknown": r.unknown_rate,
                "bytes": r.byte_rate, "bits": r.bits_per_character, "parity": r.parity,
            }
            for r in rows
        ]  # fmt: skip
    (out / "vocab.json").write_text(json.dumps(found))


def open_languages(data: Path) -> list[str]:
    return [canonical(p.name.split("_")[1].split(".")[0]) for p in data.glob("text_*.jsonl.zst")]


def pos_files(data: Path) -> dict[str, Path]:
    """One test treebank a language: its own test part, else PUD, else development."""
    found: dict[str, Path] = {}
    for kind in ("test", "pud", "dev"):
        for path in sorted((data / "pos").glob("*.conllu2.zst")):
            tag, rest = path.name.split("_", 1)
            treebank, part = rest.split(".")[:2]
            fits = {"test": part == "test" and treebank not in {"pud", "gum"}, "pud": treebank == "pud",
                    "dev": part == "dev"}[kind]  # fmt: skip
            if fits:
                found.setdefault(canonical(tag), path)
    return found


def ner_files(data: Path) -> dict[str, Path]:
    return {canonical(p.name.split(".")[1]): p for p in sorted((data / "ner").glob("ner.*.test.tsv.zst"))}


def tagging(data: Path, out: Path, name: str) -> None:
    train = data / ("pos/en_ewt.train.conllu2.zst" if name == "pos" else "ner/ner.en.train.tsv.zst")
    recipe = load_recipe(
        {
            "kind": "finetune",
            "name": name,
            "model": "e5-small",
            "seeds": [0, 1, 2],
            "task": {"type": "tag", "name": name, "tags": "pos" if name == "pos" else "iob2",
                     "train": [{"path": str(train), "lang": "en"}]},
            "tune": {"epochs": 1, "batch_size": 32, "lr": 1e-4, "head_lr": 1e-3, "freeze": 8},
        },
        FinetuneRecipe,
    )  # fmt: skip
    tuned = finetune(
        recipe, out / name, say=say, on_step=lambda s, p: p.step % 100 or say(f"seed {s} {p.step} {p.losses}")
    )
    known = set(tuned[0].task.labels)
    examples: list[TaggedSentence] = []
    for lang, path in (pos_files(data) if name == "pos" else ner_files(data)).items():
        rows = read_tagged_sentences(path, lang=lang)
        usable = [r for r in rows if set(r.tags) <= known]
        if len(usable) < len(rows):
            say(f"{lang}: {len(rows) - len(usable)} sentences with tags that training never saw are left out")
        examples += usable[:LIMIT]
    file = out / "scores.jsonl"
    done = {s.model for s in read_scores(file) if s.task == name} if file.exists() else set()
    if "e5-small" not in done:
        append_scores(file, evaluate(tuned, examples, shift=True, model="e5-small", on_language=lambda *a: say(str(a))))
    english = read_examples(recipe.task, (LabelledFile(path=train, lang="en"),))
    kinds = [kind for kind in CONTROLS if kind not in done]
    append_scores(
        file,
        control_scores(tuned[0].task, english, examples, kinds=kinds, encoder=load("e5-small"), tune=recipe.tune),
    )


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |",
            *("| " + " | ".join(row) + " |" for row in rows), ""]  # fmt: skip


def task_table(scores: list[Score], task: str, metric: str) -> list[str]:
    own = [s for s in scores if s.task == task]
    rows = summarise(own, metric=metric, source="en", model="e5-small")
    shifted = {r.language: r.mean for r in summarise(own, metric=metric, source="en", model="e5-small+shift")}
    others = [r for r in rows if r.language != "en"]
    head = ["language", "n", metric, "spread", "gap to en", "mean shifted", "majority", "TF-IDF", "random weights"]
    body = [
        [language(r.language).name, str(r.n), f"{r.mean:.3f}", f"{r.spread:.3f}", f"{r.gap:.3f}",
         f"{shifted[r.language]:.3f}", *(f"{r.controls[c]:.3f}" for c in ("majority", "tfidf", "random"))]
        for r in rows
    ]  # fmt: skip
    mean = statistics.fmean(r.mean for r in others)
    moved = statistics.fmean(shifted[r.language] for r in others)
    return [f"English {next(r.mean for r in rows if r.language == 'en'):.3f}; mean over {len(others)} other languages "
            f"{mean:.3f}, with means shifted {moved:.3f}.", "", *table(head, body)]  # fmt: skip


def page(out: Path, tour: Path) -> None:
    scores = read_scores(out / "scores.jsonl")
    text = [
        "# The first road on real data", "",
        "Text, pairs and labels beyond what ships in the package. Commands:", "",
        "    python scripts/first_road.py DATA --out runs/first-road --write", "",
        "DATA holds documentation, message catalogues and public texts of 32 languages (`text_*`, `pairs_*`), "
        "FLORES-200 devtest, Universal Dependencies part-of-speech tags, and the NER collection of MasakhaNER 2.0.", "",
    ]  # fmt: skip
    if (out / "vocab.json").exists():
        found = json.loads((out / "vocab.json").read_text())
        text += [
            "## Vocabularies",
            "",
            "FLORES-200 devtest, 1,012 parallel sentences a language. e5-small: XLM-R's 250,002 pieces; own: 32,000 "
            "BPE trained on the text files with S = 0.5. Fertility: tokens a word. Parity: tokens relative to English.",
            "",
        ]
        own = {row["lang"]: row for row in found["own"]}
        text += table(
            ["language", "fertility e5 / own", "continued words", "bytes or unknown", "bits a character",
             "parity"],
            [[language(r["lang"]).name,
              *(f"{r[k]:.2f} / {own[r['lang']][k]:.2f}" for k in ("fertility", "continued")),
              f"{r['unknown'] + r['bytes']:.4f} / {own[r['lang']]['unknown'] + own[r['lang']]['bytes']:.4f}",
              *(f"{r[k]:.2f} / {own[r['lang']][k]:.2f}" for k in ("bits", "parity"))] for r in found["e5-small"]],
        )  # fmt: skip
    metrics = out / "pretrain" / "metrics.jsonl"
    if metrics.exists():
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
        last = [r for r in rows if "held_out" in r][-1]
        seconds = rows[-1]["time"] - rows[0]["time"]
        speed = statistics.median(r["tokens_per_second"] for r in rows)
        text += [
            "## Pretraining",
            "",
            f"BERT H256 L2, {rows[-1]['step']:,} steps, {seconds / 60:.0f} minutes of wall clock on two cores with "
            f"other work (median {speed:,.0f} tokens/s): translation ranking, translation LM, masked LM (4 : 3 : 3). "
            "Retrieval is P@1 among 1,012 FLORES sentences, which pretraining never saw.",
            "",
        ]
        bits = last["bits_per_character"].get("mlm", {})
        p1 = {(s.model, s.language): s.value for s in scores if s.task == "flores" and s.metric == "p1"}
        text += table(
            ["language", "held-out bits a character (MLM)", "P@1 with English", "centred"],
            [[language(lang).name, f"{bits.get(lang, float('nan')):.2f}",
              *(f"{p1[m, lang]:.3f}" if (m, lang) in p1 else "-" for m in ("first-road", "first-road+centred"))]
             for lang in sorted(bits, key=lambda tag: -p1.get(("first-road", tag), -1))],
        )  # fmt: skip
    for task, title, metric in (("pos", "Part of speech (UD)", "accuracy"), ("ner", "Named entities", "span_f1")):
        if any(s.task == task for s in scores):
            text += [
                f"## {title}, taught in English",
                "",
                f"e5-small, lowest 8 layers frozen, one epoch, 3 seeds, nothing selected, first {LIMIT:,} test "
                "sentences a language; spread is the standard deviation over seeds; words cut away count as wrong.",
                "",
                *(
                    [
                        "Chinese and Korean come with one character a word, and the Hungarian file has lost its accented "
                        "letters in the source.",
                        "",
                    ]
                    if task == "ner"
                    else []
                ),
                *task_table(scores, task, metric),
            ]
    if (tour / "scores.jsonl").exists():
        text += [
            "## Topics (SIB-200), taught in English",
            "",
            "The rows of `interlingua tour`, which [the tours](tour.md) describe.",
            "",
            *task_table(read_scores(tour / "scores.jsonl"), "topics", "accuracy"),
        ]
    PAGE.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/first-road"))
    parser.add_argument("--stages", default="pretrain,vocab,pos,ner")
    parser.add_argument("--tour", type=Path, default=Path("runs/tour"), help="run folder of `interlingua tour`")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for stage in filter(None, chosen.stages.split(",")):
        {
            "pretrain": pretraining,
            "vocab": vocabularies,
            "pos": lambda data, out: tagging(data, out, "pos"),
            "ner": lambda data, out: tagging(data, out, "ner"),
        }[stage](chosen.data, chosen.out)
    if chosen.write:
        page(chosen.out, chosen.tour)
