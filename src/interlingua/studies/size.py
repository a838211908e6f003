"""How much text does an encoder need before it aligns words better than static vectors do?

In: a sixteenth, a quarter and all of the bundled Bible in two languages, and a dictionary. Out: mean reciprocal rank of
translations by the encoder's vectors and by static ones trained on the same text, and on the way of the encoder with
all text its loss and the same rank. Decisions: the words asked, and the verses they are read in, are those of the
smallest text, so that all sizes answer the same questions; a turn learns from every other source word of the
dictionary and the rest are asked; an encoder takes the same number of steps whatever the text, so that small text is
read more often. Price: frequent words alone are asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError
from interlingua.probe.static import plain_words, static_vectors
from interlingua.probe.words import WordVectors, translate_words, word_vectors
from interlingua.recipe_base import Positive
from interlingua.report.page import Figure, Section
from interlingua.scores import Score, append_scores, read_scores
from interlingua.studies.arms import Arm, Setup, TokenArms, part_of_verses, run_arms
from interlingua.studies.base import Claim, Evidence, Say, seed_values
from interlingua.studies.measures import Row, Trained, bits_of_chapters, cost, retrieval
from interlingua.studies.tables import Column, arms_table, number_of, seeds_of, spoken
from interlingua.studies.words import MUSE
from interlingua.text.lexicons import LexiconEntry, read_lexicon_parts
from interlingua.tour.bible import Verses, split_bible

__all__ = ["SizeRecipe", "SizeStudy", "Vocabulary"]

Vectors = NDArray[np.float32]

SHARES = {"1/16": 1 / 16, "1/4": 1 / 4, "1": 1.0}
STATIC = {"cbow": "CBOW", "skipgram": "skip-gram"}
#: What is done to vectors of two languages, if anything.
TURNED, MAPPED = "turned", "mapped"


class SizeRecipe(TokenArms):
    """How large the study of sizes is run."""

    tokens: Positive = 3_000_000
    languages: tuple[str, str] = ("en", "es")
    marks: Positive = 8
    """Checkpoints at which the encoder with all text is measured."""
    width: Positive = 100
    """Of static vectors."""
    epochs: Positive = 20
    """Passes of static vectors over the text."""
    mapped: Positive = 800
    """Words a side that static vectors are mapped with."""
    root: Path = Path("data")
    """Folder with the data that do not ship with the package; docs/study.md lists them."""


SCALES = {
    "small": SizeRecipe(),
    "full": SizeRecipe(
        tokens=1_000_000_000,
        seeds=(0, 1, 2, 3, 4),
        marks=40,
        width=300,
        mapped=4000,
        changes=("model.hidden=256", "model.layers=6", "model.feed_forward=1024", "train.batch_tokens=32768",
                 "train.lr=1e-3", "train.embedding_lr=null"),
    ),
}  # fmt: skip

_LIU = "Liu et al. 2020 (arXiv 2010.10938), read off bars"
_SMALL = "de es ar el fr, 200k sentences a language: static .21 .36 .16 .48 .37, mBERT .12 .24 .07 .27 .27"
_LARGE = "de es ar el fr, 1,000k sentences a language: mBERT .42 .65 .41 .90 .65, static .21 .36 .16 .48 .37"
CLAIMS = (
    Claim("With a sixteenth of the text the best static vectors translate words better than the encoder", _SMALL, _LIU,
          {"static 1/16": 1, "encoder 1/16": -1}, "mrr"),
    Claim("With all text the encoder translates words better than the best static vectors", _LARGE, _LIU,
          {"encoder 1": 1, "static 1": -1}, "mrr"),
    Claim("More text, a sixteenth to all, helps the encoder more than static vectors",
          "de es ar el fr, mBERT with 200k and 1,000k sentences: .12 .24 .07 .27 .27 to .42 .65 .41 .90 .65", _LIU,
          {"encoder 1": 1, "encoder 1/16": -1, "static 1": -1, "static 1/16": 1}, "mrr"),
    Claim("The encoder comes to translate words late: its rank rises more in the second half of training",
          "the loss stays at about 5.4 for two days on eight GPUs before it falls; the run that never falls does not "
          "align", "Liu et al. 2020 (arXiv 2010.10938), figure of the loss", {"second half": 1, "first half": -1},
          "rise"),
)  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """The words that are asked of all sizes.

    Attributes:
        verses: where an encoder reads them.
        entries: the dictionary; every other source word teaches, the rest are asked.
        languages: the source first.
    """

    verses: Verses
    entries: Sequence[LexiconEntry]
    languages: Sequence[str]

    @cached_property
    def words(self) -> dict[str, list[str]]:
        """Language -> words of the dictionary that stand in the verses."""
        sides = zip(*((entry.source.lower(), entry.target.lower()) for entry in self.entries), strict=True)
        return {lang: sorted(set(side) & set(_plain(self.verses, lang))) for lang, side in
                zip(self.languages, sides, strict=True)}  # fmt: skip

    def rows(self, sides: Sequence[WordVectors], ways: Sequence[str] = ("", TURNED)) -> Iterator[Row]:
        """Mean reciprocal ranks, as the vectors are and turned onto each other."""
        for way in ways:
            (found,) = translate_words(
                sides[0], sides[1], self.entries, model="", scorings=["cosine"], align=way == TURNED
            )
            yield _task(way), self.languages[1], "mrr", found.metrics["mrr"], len(found.ranks)

    def encoded(self, trained: Trained) -> list[Row]:
        """A measure of an encoder."""
        sides = []
        for lang in self.languages:
            texts = [(lang, own[lang]) for own in self.verses.values() if lang in own]
            wanted = {lang: self.words[lang]}
            sides.append(word_vectors(trained.encoders[lang], texts, wanted, layers=[-1])[lang])
        return list(self.rows(sides))

    def static(self, way: str, verses: Verses, recipe: SizeRecipe, seed: int) -> list[Row]:
        """Rows of static vectors trained on some text: on both languages together, and on each for itself."""
        from interlingua.probe.mapping import map_unsupervised

        texts = {lang: [plain_words(own[lang], lang) for own in verses.values() if lang in own]
                 for lang in self.languages}  # fmt: skip

        def vectors(sentences: Sequence[Sequence[str]], place: int) -> tuple[list[str], Vectors]:
            return static_vectors(way, sentences, width=recipe.width, epochs=recipe.epochs, seed=1000 * place + seed)

        # Together, words that are spelt alike are one word, as tokens are of the encoder.
        joint = vectors([sentence for own in texts.values() for sentence in own], 0)
        rows = list(self.rows(self._sides([joint, joint]), ("",)))
        alone = [vectors(own, place) for place, own in enumerate(texts.values())]
        rows += self.rows(self._sides(alone), (TURNED,))
        try:
            mapped = map_unsupervised(alone[0][1], alone[1][1], first=recipe.mapped, most=recipe.mapped, seed=seed)
        except DataError:  # fewer words than a map needs; the others stand without it
            return rows
        return [*rows, *self.rows(self._sides([(alone[0][0], mapped.source), (alone[1][0], mapped.target)]), (MAPPED,))]

    def _sides(self, spaces: Sequence[tuple[list[str], Vectors]]) -> list[WordVectors]:
        """The words that are asked, of each language."""
        found = []
        for lang, (names, vectors_VD) in zip(self.languages, spaces, strict=True):
            place = {name: row for row, name in enumerate(names)}
            own = [word for word in self.words[lang] if word in place]
            counts = np.ones(len(own), dtype=np.int64)
            found.append(WordVectors(tuple(own), counts, vectors_VD[None, [place[word] for word in own]]))
        return found


def _plain(verses: Verses, lang: str) -> Iterator[str]:
    for texts in verses.values():
        yield from plain_words(texts.get(lang, ""), lang)


def _task(way: str) -> str:
    return f"words {way}".strip()


def _halves(entries: Sequence[LexiconEntry]) -> list[LexiconEntry]:
    """The dictionary with every other source word to learn from."""
    order = {word: place for place, word in enumerate(dict.fromkeys(entry.source.lower() for entry in entries))}
    return [LexiconEntry(entry.source, entry.target, ("test", "train")[order[entry.source.lower()] % 2])
            for entry in entries]  # fmt: skip


ARMS = tuple(
    Arm(f"encoder {label}", f"encoder, {label} of the text", share=share, followed=share == 1)
    for label, share in SHARES.items()
)
STATIC_ARMS = tuple(
    Arm(f"{way} {label}", f"{name}, {label} of the text") for way, name in STATIC.items() for label in SHARES
)


class SizeStudy:
    """Static vectors and encoders by the size of the text."""

    name: ClassVar = "size"
    title: ClassVar = "How much text an encoder needs"
    question: ClassVar = "With how much text, and when, does an encoder align words better than static vectors?"
    scales: ClassVar = SCALES
    claims: ClassVar = CLAIMS

    def run(self, folder: Path, recipe: SizeRecipe, *, say: Say) -> None:
        """Train and measure what is missing."""
        source, target = recipe.languages
        entries = read_lexicon_parts(MUSE.file(recipe.root), source_lang=source, target_lang=target)
        verses = split_bible().pretrain
        asked = Vocabulary(part_of_verses(verses, min(SHARES.values())), _halves(list(entries)), recipe.languages)
        file = folder / "scores.jsonl"
        done = {(s.model, s.seed) for s in read_scores(file)} if file.exists() else set()
        for seed in recipe.seeds:
            for way in STATIC:
                for label, share in SHARES.items():
                    if (f"{way} {label}", seed) in done:
                        continue
                    rows = asked.static(way, part_of_verses(verses, share), recipe, seed)
                    append_scores(file, [Score(f"{way} {label}", task, lang, "test", metric, value, n, seed)
                                         for task, lang, metric, value, n in rows])  # fmt: skip
                    say(f"{way} {label}-{seed}: " + ", ".join(f"{task} {value:.3f}" for task, _, _, value, _ in rows))
        setup = Setup((cost, asked.encoded, retrieval, bits_of_chapters), along=(asked.encoded,), marks=recipe.marks)
        run_arms(ARMS, folder, recipe, setup, say=say)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """MRR of the best static vectors and of the encoder, without a dictionary, and when the encoder's rose."""
        languages = _languages(scores)
        by_way = {way: seed_values(scores, _task(way), "mrr", languages) for way in ("", MAPPED)}
        values = dict(by_way[""])
        for label in SHARES:
            best: dict[int, float] = {}
            for found in by_way.values():
                for way in STATIC:
                    for seed, value in found.get(f"{way} {label}", {}).items():
                        best[seed] = max(value, best.get(seed, 0.0))
            values[f"static {label}"] = best
        curves = {seed: sorted(by.items()) for seed, by in _curves(scores, "words", "mrr").items()}
        rise: dict[str, dict[int, float]] = {"first half": {}, "second half": {}}
        for seed, curve in curves.items():
            end = values["encoder 1"][seed]
            steps = number_of(scores, "steps")["encoder 1"]
            # Half of the steps, or the checkpoint nearest to them; the first one measured stands behind some training.
            (start, first), (middle, half) = curve[0], min(curve, key=lambda point: abs(point[0] - steps / 2))
            rise["first half"][seed] = (half - first) / (middle - start) * steps / 2
            rise["second half"][seed] = (end - half) / (steps - middle) * steps / 2
        return {
            "mrr": Evidence(values, "MRR"),
            "rise": Evidence(rise, "the rise of MRR in half of the steps, at the pace between checkpoints"),
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """A row an arm, and the encoder on its way."""
        languages = _languages(scores)
        columns: dict[str, Column] = {
            "MRR": (seed_values(scores, "words", "mrr", languages), 3),
            "MRR turned": (seed_values(scores, _task(TURNED), "mrr", languages), 3),
            "MRR mapped": (seed_values(scores, _task(MAPPED), "mrr", languages), 3),
            "P@1 centred": (seed_values(scores, "retrieval centred", "p1", languages), 3),
            "bits": (seed_values(scores, "bits", "bits_per_character", ["en", *languages]), 2),
            "tokens": number_of(scores, "tokens"),
        }
        asked = next((s.n for s in scores if s.metric == "mrr"), 0)
        method = (
            f"{spoken(['en', *languages])}: verses of the bundled Bible, a part of them or all. {asked:,} English "
            "words, every other one of MUSE that stands in the smallest part; mean reciprocal rank of a translation "
            "by cosine. Static vectors are trained on the same text; the encoder by "
            f"masked LM on both, the same number of tokens whatever the text. {seeds_of(scores)} seeds; mean \u00b1 "
            "standard deviation. MRR: trained on both languages together; words spelt alike are one word. Turned: by "
            "Procrustes on the other words of MUSE, static vectors trained on each language for itself. Mapped: "
            "these, without a dictionary (Artetxe et al. 2018). The claims are about vectors that know no dictionary, "
            "the best static ones of those trained together and those mapped."
        )
        table = arms_table("Arms, mean \u00b1 deviation over seeds", (*STATIC_ARMS, *ARMS), columns)
        sections = [Section("What was compared", [f"Command: interlingua study run {self.name} root=data", method],
                            [table] if table else [])]  # fmt: skip
        figures = [
            _figure(curves, measure, title)
            for task, metric, measure, title in (
                ("loss", "loss", "loss, nats a token", "Loss on the way"),
                ("words", "mrr", "MRR", "Words translated on the way"),
            )
            if (curves := _curves(scores, task, metric))
        ]
        if figures:
            sections.append(Section("The encoder with all text on its way", [], figures))
        return sections


def _languages(scores: Sequence[Score]) -> list[str]:
    return [*dict.fromkeys(s.language for s in scores if s.metric == "mrr")]


def _curves(scores: Sequence[Score], task: str, metric: str) -> dict[int, dict[int, float]]:
    """Seed -> step -> what was measured of the encoder with all text on its way."""
    found: dict[int, dict[int, float]] = {}
    for s in scores:
        name, _, step = s.task.partition(".step")
        if name == task and s.metric == metric and step and s.seed is not None:
            found.setdefault(s.seed, {})[int(step)] = s.value
    return found


def _figure(curves: Mapping[int, Mapping[int, float]], measure: str, title: str) -> Figure:
    from interlingua.report.plots import training_curve

    steps = sorted({step for by in curves.values() for step in by})
    rows = {f"seed {seed}": [by.get(step) for step in steps] for seed, by in curves.items()}
    return training_curve(steps, rows, measure=measure, axis="step", title=title, caption="A line a seed.")
