"""Do the mean vectors of languages cluster by family, and can languages be told apart?

In: parallel sentences of many languages. Out: by layer the V-measure of the means' clusters against families and
against families dealt out at random, how well a linear classifier names the language, raw and centred, and a map.
Decision: chance is what verdicts on V-measure are held against, since that number grows with the number of clusters.
Price: nothing is said about other choices of languages.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import RecipeError
from interlingua.recipe_base import Positive
from interlingua.report.page import Cell, Section, Table
from interlingua.scores import Score
from interlingua.studies.base import Claim, Evidence, Say, Values, unit_values
from interlingua.studies.probing import (
    MASKED,
    ProbeRecipe,
    Probing,
    Source,
    kind_of,
    name_of,
    parallel_texts,
)

__all__ = ["FamiliesRecipe", "FamiliesStudy"]

MANY = "mul"
_DRAWS, _FOLDS = 200, 5
#: Language identity from every layer of mBERT.
_IDENTITY = 0.96


class FamiliesRecipe(ProbeRecipe):
    """What the study of families looks at."""

    texts: str = "package:sib200.tsv.zst"
    """Table with lang, id and text, below `root` or in the package."""
    split: str = "test"
    """Only rows of this part, where the table has parts."""
    limit: Positive = 100
    """Sentences a language."""
    kept: Positive = 40
    """Sentences a language that the classifier of languages sees; the others are what languages are centred by."""
    named: tuple[int, ...] = (0, 4, 8, 12)
    """Layers of which languages are named by a classifier; those that the model has."""


_WU = "Wu and Dredze 2019"
_LIBOVICKY = "Libovický et al. 2020"
CLAIMS = (
    Claim("Language means cluster by family in layer 8", "above chance; no table of values found", _LIBOVICKY,
          {"layer8": 1, "layer8 shuffled": -1}, "v_measure", about=MASKED),
    Claim("Language means cluster by family in the last layer", "above chance; no table of values found", _LIBOVICKY,
          {"layer12": 1, "layer12 shuffled": -1}, "v_measure", about=MASKED),
    *(Claim(f"A classifier names the language from layer {layer} as well, within two points",
            "about 96 %, from every layer", _WU, {f"layer{layer}": 1, "mBERT": -1}, "identity", margin=-0.02,
            about=MASKED)
      for layer in (0, 4, 8, 12)),
    *(Claim(f"With each language centred, languages can be told less well in layer {layer}",
            "falls; with aligned static vectors from 99.5 to 2.3 %", _LIBOVICKY,
            {f"layer{layer}": 1, f"layer{layer} centred": -1}, "identity", about=MASKED)
      for layer in (8, 12)),
)  # fmt: skip


class FamiliesStudy:
    """Language means, families, identity."""

    name: ClassVar = "families"
    title: ClassVar = "Families of languages"
    question: ClassVar = "Do the mean vectors of languages cluster by family, and can languages be told apart?"
    scales: ClassVar = {
        "small": FamiliesRecipe(),
        "full": FamiliesRecipe(
            model="mbert", texts="retrieval/flores200.devtest.tsv.zst", split="", limit=1012, kept=200
        ),
    }
    claims: ClassVar = CLAIMS

    def run(self, folder: Path, recipe: FamiliesRecipe, *, say: Say) -> None:
        """Measure the layers that are not measured yet."""
        source = Source(recipe.texts, "a table with lang, id and text", "FLORES-200 (NLLB Team 2022)")
        texts = parallel_texts(source.file(recipe.root), limit=recipe.limit, split=recipe.split)
        if not recipe.kept < min(map(len, texts.values())):
            raise RecipeError(f"kept = {recipe.kept} of {min(map(len, texts.values()))} sentences",
                              expected="fewer, so that some are left to centre by", where="kept")  # fmt: skip
        probing = Probing(folder, recipe.model, say)
        if not probing.has("families"):
            states = {lang: probing.states(lang, own) for lang, own in texts.items()}
            depth = len(next(iter(states.values())))
            last = {lang: own[-1] for lang, own in states.items()}
            probing.stage("map", _mapped, last, recipe.model)
            for layer in recipe.named:
                if layer < depth:
                    own = {lang: one[layer] for lang, one in states.items()}
                    probing.stage(f"identity.layer{layer}", _named, own, recipe.kept, layer, recipe.model)
            probing.stage("families", _clustered, states, recipe.model)
            probing.forget_states()

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """V-measure against chance, draw by draw; language identity, fold by fold."""
        clustered = [s for s in scores if s.metric == "v_measure"]
        dealt = unit_values([s for s in clustered if s.seed is not None], lambda s: f"layer{s.layer} shuffled",
                            lambda s: s.seed)  # fmt: skip
        values = dict(dealt)
        for s in clustered:
            if s.seed is None:
                values[f"layer{s.layer}"] = dict.fromkeys(range(_DRAWS), s.value)
        named = dict(_identity(scores))
        named["mBERT"] = {f"fold{fold}": _IDENTITY for fold in range(_FOLDS)}
        kind = kind_of(scores)
        return {
            "v_measure": Evidence(values, "V-measure", "draws", kind),
            "identity": Evidence(named, "the share of sentences whose language is named", "folds of sentences", kind),
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """Layers in a table and a curve, and the map."""
        from interlingua.report.figures import language_map
        from interlingua.report.plots import layer_curves

        found = {s.task: s for s in scores if s.metric == "v_measure" and s.seed is None}
        layers = {layer: s.value for s in found.values() if (layer := s.layer) is not None}
        dealt: dict[int, list[float]] = {}
        for s in scores:
            if s.metric == "v_measure" and s.seed is not None and (layer := s.layer) is not None:
                dealt.setdefault(layer, []).append(s.value)
        chance = {layer: statistics.fmean(own) for layer, own in dealt.items()}
        named = {arm: statistics.fmean(by.values()) for arm, by in _identity(scores).items()}
        rows: list[list[Cell]] = [
            [layer, value, chance[layer], float(np.quantile(dealt[layer], 0.975)),
             named.get(f"layer{layer}"), named.get(f"layer{layer} centred")]
            for layer, value in layers.items()
        ]  # fmt: skip
        points: dict[str, dict[str, float]] = {}
        for s in scores:
            if s.task == "map":
                points.setdefault(s.language, {})[s.metric] = s.value
        count = len(points)
        each = next(s.n for s in scores if s.task == "map")
        text = (
            f"{name_of(scores)}, {count} languages, {each} parallel sentences each. Clusters: means by cosine, average "
            "linkage, as many clusters as families; chance: the families dealt out at random, mean and 97.5 % quantile "
            f"of {_DRAWS} draws. Language: share of sentences whose language a logistic regression names, mean over "
            f"{_FOLDS} folds; centred: each language's mean over other sentences taken off."
        )
        curves = [layer_curves(
            {"V-measure": layers, "chance": chance}, "V-measure", title="Families in the clusters of language means",
            caption="Against families, and against families dealt out at random.",
        )] if layers else []  # fmt: skip
        drawn = language_map(
            {lang: (own["x"], own["y"]) for lang, own in points.items()},
            caption="First two principal components of the language means in the last layer, coloured by family.",
        )
        columns = ["layer", "V-measure", "chance", "chance, 97.5 %", "language named", "named, centred"]
        return [
            Section(
                "Clusters and identity by layer",
                [f"Command: interlingua study run {self.name}", text],
                [*curves, Table("Layers, 0 the embeddings", "", columns, rows), drawn],
            )
        ]


def _identity(scores: Sequence[Score]) -> Values:
    return unit_values(
        [s for s in scores if s.metric == "language_accuracy"],
        lambda s: f"layer{s.layer}" + (" centred" if s.model.endswith("+centred") else ""),
        lambda s: s.split,
    )


def _mapped(last: Mapping[str, NDArray[np.float32]], model: str) -> Iterator[Score]:
    from interlingua.probe.geometry import language_map, language_means

    for lang, point in language_map(language_means(last)).items():
        for metric, value in zip("xy", point, strict=True):
            yield Score(model, "map", lang, "test", metric, value, len(last[lang]))


def _named(vectors: Mapping[str, NDArray[np.float32]], kept: int, layer: int, model: str) -> Iterator[Score]:
    """Identity in every fold, raw and centred."""
    from interlingua.probe.profile import language_identity

    raw = {lang: own[:kept] for lang, own in vectors.items()}
    # Means of other sentences: with its own ones taken off, a linear classifier would have nothing left to learn from.
    without = {lang: own[:kept] - own[kept:].mean(axis=0) for lang, own in vectors.items()}
    for name, chosen in ((model, raw), (f"{model}+centred", without)):
        for fold in range(_FOLDS):
            # Every fifth sentence is held out; turned by one, it is the next.
            value, _, n = language_identity({lang: np.roll(own, fold, axis=0) for lang, own in chosen.items()})
            yield Score(name, f"identity.layer{layer}", MANY, f"fold{fold}", "language_accuracy", value, n)


def _clustered(states: Mapping[str, NDArray[np.float32]], model: str) -> Iterator[Score]:
    from interlingua.probe.geometry import family_of, family_v_measure, mean_distances, shuffled_v_measure

    families = [family_of(lang) for lang in states]
    for layer in range(len(next(iter(states.values())))):
        task, count = f"families.layer{layer}", len(families)
        distances = mean_distances(np.stack([own[layer].mean(axis=0) for own in states.values()]))
        yield Score(model, task, MANY, "test", "v_measure", family_v_measure(distances, families), count)
        for draw in range(_DRAWS):
            value = shuffled_v_measure(distances, families, times=1, seed=draw)
            yield Score(f"{model}+shuffled", task, MANY, "test", "v_measure", value, count, draw)
