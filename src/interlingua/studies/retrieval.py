"""In which layer do sentences find their translations, and what do centring, projection and removal add?

In: parallel sentences of English and other languages. Out: by language and layer the share of sentences whose nearest
neighbour by cosine on the other side is their translation, mean of both ways. Decisions: half of the sentences are
searched, the other half is what a projection is learned from; a language's mean, and what tells languages apart, are
those of the sentences searched, without their pairing. Price: half as many candidates.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from interlingua.recipe_base import Positive
from interlingua.report.page import Cell, Section, Table
from interlingua.scores import Score
from interlingua.studies.base import Claim, Evidence, Say, unit_values
from interlingua.studies.probing import (
    MASKED,
    ProbeRecipe,
    Probing,
    Source,
    kind_of,
    name_of,
    parallel_texts,
)

__all__ = ["RetrievalRecipe", "RetrievalStudy"]

Vectors = NDArray[np.float32]

FLORES = Source(
    "retrieval/flores200.devtest.tsv.zst", "FLORES-200 devtest as a table with lang, id and text",
    "FLORES-200 (NLLB Team 2022), github.com/facebookresearch/flores",
)  # fmt: skip
PIVOT = "en"
#: Shares found by mBERT from English in layers 1 to 12, read off curves.
PIRES = {
    "de": (31, 40, 48, 58, 66, 71, 74, 76, 74, 72, 70, 65),
    "ru": (20, 26, 37, 49, 60, 66, 69, 71, 69, 64, 62, 58),
}


class RetrievalRecipe(ProbeRecipe):
    """What the study of retrieval looks at."""

    languages: tuple[str, ...] = (
        "de", "fr", "es", "ru", "lt", "hi", "ar", "so", "et", "ta", "tr", "ja", "zh", "id", "sw", "yo",
    )  # fmt: skip
    """Searched from and to English."""
    limit: Positive = 600
    """Sentences, half of which are searched."""
    projected: tuple[int, ...] = (8, 12)
    """Layers in which a projection and removals are tried; those that the model has."""


_PIRES = "Pires et al. 2019"
_LIBOVICKY = "Libovický et al. 2020"


def _claims() -> Iterator[Claim]:
    yield Claim("Layer 8 of 12 is better than the last, languages' means moved together",
                "en-de about 76 : 65 %, en-ru 71 : 58 %", f"{_PIRES}, read off curves",
                {"layer8 centred": 1, "layer12 centred": -1}, "p1", about=MASKED)  # fmt: skip
    yield Claim("Layer 8 of 12 is better than layer 1, languages' means moved together",
                "en-de about 76 : 31 %, en-ru 71 : 20 %", f"{_PIRES}, read off curves",
                {"layer8 centred": 1, "layer1 centred": -1}, "p1", about=MASKED)  # fmt: skip
    for layer in (8, 12):
        at = f"layer{layer}"
        yield Claim(f"Centring each language helps in layer {layer}", "\u201cdramatically\u201d; no table found",
                    _LIBOVICKY, {f"{at} centred": 1, at: -1}, "p1", about=MASKED)  # fmt: skip
        yield Claim(f"A projection learned from few pairs halves the error that centring leaves, layer {layer}",
                    "another 50 % of the error", _LIBOVICKY,
                    {f"{at} half the error": 1, f"{at} projected error": -1}, "errors", about=MASKED)  # fmt: skip
        yield Claim(f"Removing the subspace of language means helps in layer {layer} (LSAR; published for pretrained "
                    "multilingual language models)", "consistent gains in retrieval", "Xie et al. 2022",
                    {f"{at} lsar": 1, at: -1}, "p1")  # fmt: skip
        yield Claim(f"Removing each language's first direction helps in layer {layer} (LIR; published for weakly "
                    "aligned models)", "almost 100 % more MAP on LAReQA for weakly aligned models", "Yang et al. 2021",
                    {f"{at} lir": 1, at: -1}, "p1")  # fmt: skip


class RetrievalStudy:
    """Retrieval of translations by layer."""

    name: ClassVar = "retrieval"
    title: ClassVar = "Translations found by layer"
    question: ClassVar = "In which layer do sentences find their translations, and does taking language off help?"
    scales: ClassVar = {"small": RetrievalRecipe(), "full": RetrievalRecipe(model="mbert", limit=1012)}
    claims: ClassVar = tuple(_claims())

    def run(self, folder: Path, recipe: RetrievalRecipe, *, say: Say) -> None:
        """Search what is not searched yet, a language a stage; then removals, which look at all languages."""
        languages = (PIVOT, *recipe.languages)
        texts = parallel_texts(FLORES.file(recipe.root), languages=languages, limit=recipe.limit)
        probing = Probing(folder, recipe.model, say)
        for lang in recipe.languages:
            probing.stage(f"retrieval.{lang}", _searched, probing, texts, lang, recipe.projected)
        probing.stage("removal", _removed, probing, texts, recipe.projected)
        probing.forget_states()

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """P@1, language by language, and errors."""
        kind = kind_of(scores)
        values = unit_values([s for s in scores if s.metric == "p1"], _arm, lambda s: s.language)
        errors: dict[str, dict[str, float]] = {}
        for arm, by_language in values.items():
            at, _, how = arm.partition(" ")
            if how == "centred":
                # Where centring leaves no error, none can be halved: such languages could only speak against it.
                errors[f"{at} half the error"] = {
                    lang: (1 - value) / 2 for lang, value in by_language.items() if value < 1
                }
            elif how == "projected":
                errors[f"{at} projected error"] = {lang: 1 - value for lang, value in by_language.items()}
        return {
            "p1": Evidence(values, "P@1", "languages", kind),
            "errors": Evidence(errors, "errors, where centring leaves any", "languages", kind),
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """Means over languages by layer, languages in layer 8 and the last."""
        from interlingua.report.plots import layer_curves

        values = unit_values([s for s in scores if s.metric == "p1"], _arm, lambda s: s.language)
        means = {arm: statistics.fmean(by.values()) for arm, by in values.items()}
        layers = sorted({layer for s in scores if (layer := s.layer) is not None})
        hows = ["", "centred", "projected", "lir", "lsar"]
        names = ["as it is", "centred", "projected", "LIR", "LSAR"]
        rows: list[list[Cell]] = [
            [layer, *(means.get(f"layer{layer} {how}".strip()) for how in hows)] for layer in layers
        ]
        series = {
            name: {layer: means[arm] for layer in layers if (arm := f"layer{layer} {how}".strip()) in means}
            for name, how in zip(names[:2], hows[:2], strict=True)
        }
        languages = list(next(iter(values.values())))
        some = [layer for layer in layers if f"layer{layer} projected" in means]
        own: list[list[Cell]] = [
            [lang, *(values.get(f"layer{layer} {how}".strip(), {}).get(lang) for layer in some for how in hows)]
            for lang in languages
        ]
        count = next(s.n for s in scores if s.metric == "p1")
        text = (
            f"{name_of(scores)}, English and {len(languages)} languages, {count} sentences searched: P@1 by cosine, "
            "mean of both ways. Projection onto English: the identity and a ridge regression of what it leaves, "
            f"learned from {count} other pairs, both sides centred. LIR takes off each language's first singular "
            "direction, LSAR the subspace in which the languages' means differ. Published curves of mBERT: 5,000 "
            "pairs, means moved together, Euclidean distance."
        )
        beside = {f"{lang}, mBERT": dict(enumerate((share / 100 for share in shares), 1))
                  for lang, shares in PIRES.items()}  # fmt: skip
        beside |= {
            f"{lang}, here": {layer: values[f"layer{layer} centred"][lang] for layer in layers}
            for lang in PIRES
            if lang in languages
        }
        published = layer_curves(
            beside, "share found", title="Beside the published curves",
            caption="English to German and Russian, means moved together. mBERT among 5,000 sentences, read off the "
            f"curves of Pires et al. 2019; here {name_of(scores)} among {count}, centred, both ways.",
        )  # fmt: skip
        curve = layer_curves(series, "P@1", title="Translations found by layer",
                             caption=f"Mean over {len(languages)} languages.")  # fmt: skip
        return [
            Section(
                "Layers",
                [f"Command: interlingua study run {self.name} root=data", text],
                [curve, published, Table("Mean P@1 by layer, 0 the embeddings", "", ["layer", *names], rows)],
            ),
            Section(
                "Languages",
                [],
                [Table("P@1 by language", "", ["language", *(f"{n}: {name}" for n in some for name in names)], own)],
            ),
        ]


def _arm(score: Score) -> str:
    _, plus, how = score.model.partition("+")
    return f"layer{score.layer}" + (f" {how}" if plus else "")


def _score(model: str, layer: int, lang: str, left_ND: Vectors, right_ND: Vectors, *, task: str) -> Score:
    from interlingua.probe.alignment import precision_at_1

    value = statistics.fmean(precision_at_1(left_ND, right_ND))
    return Score(model, f"{task}.layer{layer}", lang, "test", "p1", value, len(left_ND))


def _searched(
    probing: Probing, texts: Mapping[str, Sequence[str]], lang: str, projected: Sequence[int]
) -> Iterator[Score]:
    from interlingua.probe.alignment import centred
    from interlingua.probe.projection import projection

    model, task = probing.model, f"retrieval.{lang}"
    ours, theirs = (probing.states(one, texts[one]) for one in (PIVOT, lang))
    half = ours.shape[1] // 2
    for layer, (left_ND, right_ND) in enumerate(zip(ours, theirs, strict=True)):
        left, right = left_ND[:half], right_ND[:half]
        yield _score(model, layer, lang, left, right, task=task)
        left, right = centred(left), centred(right)
        yield _score(f"{model}+centred", layer, lang, left, right, task=task)
        if layer in projected:
            learned = projection(centred(right_ND[half:]), centred(left_ND[half:]))
            yield _score(f"{model}+projected", layer, lang, left, right @ learned, task=task)


def _removed(probing: Probing, texts: Mapping[str, Sequence[str]], layers: Sequence[int]) -> Iterator[Score]:
    from interlingua.probe.removal import REMOVALS, removed

    states = {lang: probing.states(lang, own) for lang, own in texts.items()}
    half = states[PIVOT].shape[1] // 2
    for layer in layers:
        if layer < len(states[PIVOT]):
            for how in REMOVALS:
                vectors = removed({lang: own[layer, :half] for lang, own in states.items()}, how)
                for lang, own_ND in vectors.items():
                    if lang != PIVOT:
                        model = f"{probing.model}+{how}"
                        yield _score(model, layer, lang, vectors[PIVOT], own_ND, task=f"removal.{lang}")
