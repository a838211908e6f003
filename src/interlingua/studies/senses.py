"""Do vectors of one word part by its senses, where static vectors cannot?

In: sentences with a word of two senses, in English, German and Chinese. Out: by layer the silhouette of the senses and
how often the nearest occurrence has the same one; the same with the senses dealt out at random among the sentences; the
cosines of all pairs in the layer that parts best. Decision: the best layer is chosen anew for every draw, so that
choosing wins nothing against chance. Price: one word a language, which says what can be and not how often it is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from interlingua.report.page import Cell, Figure, Section, Table
from interlingua.scores import Score
from interlingua.studies.base import Claim, Evidence, Say, unit_values
from interlingua.studies.probing import ProbeRecipe, Probing, Source, kind_of, name_of

if TYPE_CHECKING:
    from interlingua.probe.senses import SenseLayer, WordSenses

__all__ = ["SensesRecipe", "SensesStudy"]

WORDS = (("en", "bank"), ("de", "Schloß"), ("zh", "东西"))
METRICS = {"silhouette": "silhouette", "nearest_same": "share of nearest occurrences of the same sense"}
_DRAWS = 200
_PAIR = " : "


class SensesRecipe(ProbeRecipe):
    """What the study of senses looks at."""

    texts: str = "package:two.senses.tsv"
    """Table with lang, word, sense and text, below `root` or in the package."""


_SAID = "vectors in context separate by sense (apple, the fruit and the company); no figure found"
_SOURCE = "commonly said; no paper with a figure found"


def _claims() -> Iterator[Claim]:
    for lang, word in WORDS:
        key = f"{lang} {word}"
        for metric, text in (
            ("silhouette", "vectors of its two senses part in the best layer"),
            ("nearest_same", "the nearest occurrence has the same sense in the best layer"),
        ):
            yield Claim(f"{key}: {text}", _SAID, _SOURCE, {f"{key} best": 1, f"{key} best dealt": -1}, metric)
        yield Claim(f"{key}: vectors of its two senses part in the last layer", _SAID, _SOURCE,
                    {f"{key} last": 1, f"{key} last dealt": -1}, "silhouette")  # fmt: skip


class SensesStudy:
    """One word in real sentences, by layer."""

    name: ClassVar = "senses"
    title: ClassVar = "Senses of a word"
    question: ClassVar = "Do vectors of one word in many sentences part by its senses, which static vectors cannot?"
    scales: ClassVar = {"small": SensesRecipe(), "full": SensesRecipe(model="mbert")}
    claims: ClassVar = tuple(_claims())

    def run(self, folder: Path, recipe: SensesRecipe, *, say: Say) -> None:
        """Measure all words, from one pass each."""
        source = Source(recipe.texts, "a table with lang, word, sense and text", "your own labels; docs/probes.md")
        file = source.file(recipe.root)
        probing = Probing(folder, recipe.model, say)
        probing.stage("senses", _measured, probing, file)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Best and last layer beside the same with senses dealt out, draw by draw."""
        found = {}
        for metric, what in METRICS.items():
            drawn = [s for s in scores if s.metric == metric and s.seed is not None]
            values = dict(unit_values(drawn, _dealt_arm, lambda s: s.seed))
            for key, layers in _layers(scores, metric).items():
                last = max(layers)
                for arm, value in (("best", max(layers[layer] for layer in layers if layer)), ("last", layers[last])):
                    values[f"{key} {arm}"] = dict.fromkeys(range(_DRAWS), value)
            found[metric] = Evidence(values, what, "draws", kind_of(scores))
        return found

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """Layers in a curve and a table, and the cosines of every pair."""
        from interlingua.report.plots import layer_curves

        apart, nearest = (_layers(scores, metric) for metric in METRICS)
        static = {(_word(s), s.metric): s.value for s in scores if s.task.endswith(".static")}
        chance = {_word(s): s.value for s in scores if s.metric == "nearest_same_chance"}
        counts = {_word(s): s.n for s in scores if s.metric == "silhouette" and s.seed is None}
        columns = ["layer", *(f"{key}, {name}" for key in apart for name in ("silhouette", "nearest"))]
        rows: list[list[Cell]] = [["static", *(static.get((key, metric)) for key in apart for metric in METRICS)]]
        for layer in next(iter(apart.values())):
            rows.append([layer, *(by[key][layer] for key in apart for by in (apart, nearest))])
        rows.append(["by chance", *(value for key in apart for value in (None, chance.get(key)))])
        text = (
            f"{name_of(scores)}, {', '.join(f'{key} in {count} sentences' for key, count in counts.items())}; a vector "
            "is the mean of the word's subwords' states. Silhouette, by cosine distance (Rousseeuw 1987): 1 apart, 0 "
            "not told apart, below 0 mixed up. Nearest: share of occurrences whose nearest other one has the same "
            "sense; where another sense is as near, it counts. Static: the embedding table's vector of the word; like "
            "those of CBOW or GloVe it is the same in every sentence, so nothing parts, by construction. Layer 0 knows "
            "the place in the sentence and, where a subword reaches across the word's ends, the neighbours in it; it "
            "is not among the layers of which the best is chosen. Draws from chance: the senses dealt out anew "
            f"among the sentences, {_DRAWS} times, the best layer chosen anew in each."
        )
        curve = layer_curves(apart | {"static": dict.fromkeys(next(iter(apart.values())), 0.0)}, "silhouette",
                             title="Senses apart, by layer", caption="Above 0 the senses part.")  # fmt: skip
        table = Table("Silhouette and nearest occurrence by layer", "", columns, rows,
                      ["left", *["right"] * (len(columns) - 1)])  # type: ignore[list-item]  # fmt: skip
        command = f"Command: interlingua study run {self.name}"
        found = [Section("Layers", [command, text, _summary(apart, scores)], [curve, table])]
        if drawn := _maps(scores):
            about = (
                "Cosines of all pairs of occurrences in the layer that parts best, numbered as in the file; those of "
                "one sense stand together. A map of static vectors would have the same cosine, 1, in every cell."
            )
            found.append(Section("Cosines", [about], drawn))
        return found


def _word(score: Score) -> str:
    return f"{score.language} {score.task.partition('.')[2].rpartition('.')[0]}"


def _dealt_arm(score: Score) -> str:
    return f"{_word(score)} {score.task.rpartition('.')[2]} dealt"


def _layers(scores: Sequence[Score], metric: str) -> dict[str, dict[int, float]]:
    """Word -> layer -> value, 0 the embeddings."""
    found: dict[str, dict[int, float]] = {}
    for s in scores:
        layer = s.layer
        if s.metric == metric and s.seed is None and layer is not None:
            found.setdefault(_word(s), {})[layer] = s.value
    return found


def _summary(apart: Mapping[str, Mapping[int, float]], scores: Sequence[Score]) -> str:
    """The best layer of each word, and how often chance does as well."""
    said = []
    for key, layers in apart.items():
        best = max((layer for layer in layers if layer), key=lambda layer: layers[layer])
        dealt = [s.value for s in scores if _word(s) == key and s.metric == "silhouette"
                 and s.seed is not None and s.task.endswith(".best")]  # fmt: skip
        reached = sum(value >= layers[best] for value in dealt)
        above = "" if layers[best] > 0 else ", so its senses do not part in any"
        said.append(
            f"{key}: best in layer {best}, silhouette {layers[best]:.3f}{above}; "
            f"{reached} of {len(dealt)} draws reach that."
        )
    return " ".join(said)


def _maps(scores: Sequence[Score]) -> list[Figure]:
    """A heat map a word, of the layer whose cosines were kept."""
    from interlingua.report.plots import heatmap

    cells: dict[str, dict[tuple[str, str], float]] = {}
    layers: dict[str, int | None] = {}
    for s in scores:
        if s.metric == "cosine":
            one, _, other = s.split.partition(_PAIR)
            cells.setdefault(_word(s), {}).update({(one, other): s.value, (other, one): s.value})
            layers[_word(s)] = s.layer
    found = []
    for key, own in cells.items():
        names = list(dict.fromkeys(name for pair in own for name in pair))
        # A vector with itself has the cosine 1, which would take the colours from the others.
        matrix = [[own.get((one, other)) for other in names] for one in names]
        found.append(heatmap(matrix, names, names, measure="cosine", languages=False,
                             title=f"{key}, layer {layers[key]}"))  # fmt: skip
    return found


def _measured(probing: Probing, file: Path) -> Iterator[Score]:
    """Layers of every word, the same by chance, and the cosines of the best layer."""
    from interlingua.probe.senses import word_senses
    from interlingua.text.senses import read_senses

    for one in word_senses(probing.encoder, read_senses(file)):
        yield from one.scores(probing.model)
        layers = [own for own in one.layers if own.layer]
        yield from _dealt(one, layers, probing.model)
        best = max(layers, key=lambda own: own.silhouette)
        names = [f"{sense} {one.senses[: i + 1].count(sense)}" for i, sense in enumerate(one.senses)]
        for i, name in enumerate(names):
            for j in range(i):
                yield Score(probing.model, f"senses.{one.word}.layer{best.layer}", one.lang, f"{names[j]}{_PAIR}{name}",
                            "cosine", float(best.cosines[i, j]), 2)  # fmt: skip


def _dealt(one: WordSenses, layers: Sequence[SenseLayer], model: str) -> Iterator[Score]:
    """The best layer and the last one with the senses dealt out at random."""
    from interlingua.probe.senses import parted

    for draw in range(_DRAWS):
        senses = random.Random(draw).sample(one.senses, len(one.senses))
        drawn = [parted(own.cosines, senses, layer=own.layer) for own in layers]
        for metric in METRICS:
            values = [getattr(own, metric) for own in drawn]
            for where, value in (("best", max(values)), ("last", values[-1])):
                yield Score(f"{model}+shuffled", f"senses.{one.word}.{where}", one.lang, "all", metric, value,
                            len(senses), draw)  # fmt: skip
