"""How far up does a word's translation stand among the words of another language, by layer and language?

In: the same verses of the Bible in many languages, and dictionaries. Out: mean reciprocal rank by layer; a word's
vector is the mean over its occurrences. Decision: languages are the units, and the embeddings, which know no context,
stand for static vectors. Price: these were trained with the network, which Word2Vec's and GloVe's are not.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

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
)

if TYPE_CHECKING:
    from interlingua.probe.words import WordVectors

__all__ = ["WordsRecipe", "WordsStudy"]

MUSE = Source(
    "dict/muse_full.tsv.zst", "MUSE's full dictionaries as a table with pair, src_rank, src, tgt",
    "github.com/facebookresearch/MUSE",
)  # fmt: skip
BIBLE = "bible/bible.{}.tsv.zst"
PIVOT = "en"
#: Mean reciprocal ranks read off bars, to one or two hundredths: Google's mBERT, and the best of four static sets.
MBERT = {"de": 0.50, "es": 0.69, "fr": 0.69}
STATIC = {"de": 0.21, "es": 0.36, "fr": 0.37}
LAYERS = tuple(range(13))


class WordsRecipe(ProbeRecipe):
    """What the study of words looks at."""

    languages: tuple[str, ...] = (
        "de", "nl", "sv", "fr", "es", "pt", "ru", "pl", "cs", "uk", "ja", "ko", "zh", "vi", "th", "tl",
    )  # fmt: skip
    """Languages whose words are found from English."""
    verses: Positive = 1000
    """Verses, drawn from those that all languages have."""
    asked: Positive = 6500
    """Source words of each dictionary that are asked, the most frequent first; those that are in the verses count."""
    layers: tuple[int, ...] = (0, 2, 4, 6, 8, 10, 12)
    """Layers, 0 the embeddings; those that the model has."""


_LIU = "Liu et al. 2020 (arXiv 2010.10938), read off bars"
CLAIMS = (
    Claim("Vectors in context (layer 8) translate words better than vectors without (embeddings)",
          "mBERT .50 .69 .69 (de es fr), the best static vectors .21 .36 .37", _LIU,
          {"layer8": 1, "layer0": -1}, "mrr", about=MASKED),
    Claim("A layer in the middle (6) translates words better than the last",
          "lower layers align, upper ones predict", "Muller et al. 2021", {"layer6": 1, "layer12": -1}, "mrr",
          about=MASKED),
)  # fmt: skip


class WordsStudy:
    """Words translated by their mean vectors."""

    name: ClassVar = "words"
    title: ClassVar = "Words and their translations by layer"
    question: ClassVar = "How far up does a word's translation stand among the words of another language?"
    scales: ClassVar = {"small": WordsRecipe(), "full": WordsRecipe(model="mbert", verses=7000, layers=LAYERS)}
    claims: ClassVar = CLAIMS

    def run(self, folder: Path, recipe: WordsRecipe, *, say: Say) -> None:
        """Translate into the languages that are missing."""
        work = _Words(Probing(folder, recipe.model, say), recipe)
        for lang in recipe.languages:
            work.probing.stage(f"words.{PIVOT}-{lang}", work.translated, lang)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Reciprocal ranks by cosine, language by language."""
        return {"mrr": Evidence(_values(scores, ""), "MRR", "languages", kind_of(scores))}

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """A row a language, and the curve of the means."""
        from interlingua.report.plots import layer_curves

        plain, scaled = _values(scores, ""), _values(scores, "+csls")
        layers = [int(arm.removeprefix("layer")) for arm in plain]
        languages = list(next(iter(plain.values())))
        asked = {s.language: s.n for s in scores if s.metric == "mrr"}
        rows: list[list[Cell]] = [
            [lang, asked[lang], *(plain[arm].get(lang) for arm in plain),
             max(by.get(lang, 0.0) for by in scaled.values()), MBERT.get(lang), STATIC.get(lang)]
            for lang in languages
        ]  # fmt: skip
        means = {
            name: {n: statistics.fmean(by[f"layer{n}"].values()) for n in layers}
            for name, by in (("cosine", plain), ("CSLS", scaled))
        }
        rows.append(["mean", None, *means["cosine"].values(), max(means["CSLS"].values()), None, None])
        columns = ["into", "words", *(f"layer {n}" for n in layers), "CSLS, best layer", "mBERT", "static"]
        text = (
            f"{name_of(scores)}: words of the same verses in English and {len(languages)} languages, each the mean of "
            "its occurrences; mean reciprocal rank of a MUSE translation by cosine among the dictionary's words of the "
            "other language that stand in the verses. Published: mBERT and the best of four static sets on other text, "
            "among other candidates, so that only their order is comparable."
        )
        curve = layer_curves(means, "MRR", title="Words translated by layer",
                             caption=f"Mean over {len(languages)} languages.")  # fmt: skip
        return [
            Section(
                "Languages and layers",
                [f"Command: interlingua study run {self.name} root=data", text],
                [curve, Table("Mean reciprocal rank, 0 the embeddings", "", columns, rows,
                              ["left", *["right"] * (len(columns) - 1)])],  # type: ignore[list-item]
            )
        ]  # fmt: skip


def _values(scores: Sequence[Score], ending: str) -> Mapping[str, Mapping[str, float]]:
    name = f"{name_of(scores)}{ending}"
    wanted = [s for s in scores if s.metric == "mrr" and s.model == name]
    return unit_values(wanted, lambda s: f"layer{s.layer}", lambda s: s.language)


class _Words:
    """Verses and dictionaries; English vectors are made once for all languages."""

    def __init__(self, probing: Probing, recipe: WordsRecipe) -> None:
        self.probing, self.recipe = probing, recipe
        self.dictionaries = MUSE.file(recipe.root)
        self.bibles = {
            lang: Source(BIBLE.format(lang), "verses as a table with verse_id and text",
                         "the project bible_databases, public domain").file(recipe.root)
            for lang in (PIVOT, *recipe.languages)
        }  # fmt: skip

    @cached_property
    def verses(self) -> dict[str, list[str]]:
        """Language -> the chosen verses."""
        from interlingua.text.documents import table_cells
        from interlingua.text.lines import ReadReport

        read = {
            lang: {cells[0]: cells[1] for _, cells in table_cells(path, ReadReport(), "raise")}
            for lang, path in self.bibles.items()
        }
        shared = [name for name in read[PIVOT] if name != "verse_id" and all(name in own for own in read.values())]
        chosen = random.Random(0).sample(shared, min(self.recipe.verses, len(shared)))
        return {lang: [own[name] for name in chosen] for lang, own in read.items()}

    @cached_property
    def layers(self) -> list[int]:
        """Layers that the model has."""
        depth = self.probing.encoder.model.config.num_hidden_layers
        return [layer for layer in self.recipe.layers if layer <= depth]

    def vectors(self, lang: str, wanted: set[str]) -> WordVectors:
        """Mean vectors of those of the wanted words that are in the verses."""
        from interlingua.probe.words import word_vectors

        texts = [(lang, text) for text in self.verses[lang]]
        # Sets come in another order each time; sorted words keep sums the same.
        return word_vectors(self.probing.encoder, texts, {lang: sorted(wanted)}, layers=self.layers)[lang]

    @cached_property
    def english(self) -> WordVectors:
        """English words of all dictionaries."""
        from interlingua.text.lexicons import read_lexicon_parts

        wanted: set[str] = set()
        for lang in self.recipe.languages:
            entries = read_lexicon_parts(self.dictionaries, source_lang=PIVOT, target_lang=lang)
            wanted |= {entry.source.lower() for entry in entries}
        return self.vectors(PIVOT, wanted)

    def translated(self, lang: str) -> Iterator[Score]:
        """Scores of English words translated into a language."""
        from interlingua.probe.words import translate_words
        from interlingua.text.lexicons import read_lexicon_parts

        entries = list(read_lexicon_parts(self.dictionaries, source_lang=PIVOT, target_lang=lang))
        asked = set(list(dict.fromkeys(entry.source for entry in entries))[: self.recipe.asked])
        entries = [entry for entry in entries if entry.source in asked]
        theirs = self.vectors(lang, {entry.target.lower() for entry in entries})
        for found in translate_words(self.english, theirs, entries, model=self.probing.model, layers=self.layers,
                                     every_part=True):  # fmt: skip
            yield from found.scores(PIVOT, lang)
