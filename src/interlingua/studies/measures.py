"""What studies of arms measure of an encoder that was pretrained a moment ago.

In: checkpoints by language (one for all, or one of each language's own parts) and the verses of whole chapters that
pretraining did not see. Out: rows of task, language, metric, value and number. Decision: a measure is a function of
:class:`Trained`, so that a study is a list of them; languages are read by their own checkpoints, so that encoders with
separate parts, and networks that have nothing in common, are measured as others are. Retrieval and classification are
made twice, as the vectors are and with each language's mean taken off: without a parallel signal small encoders keep
languages in places of their own, and a classifier taught in one of them finds nothing in the others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interlingua.tour.bible import BibleSplit, Verses, write_verses

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder
    from interlingua.recipe import PretrainRecipe

__all__ = [
    "CENTRED", "Measure", "Row", "Trained", "bits", "bits_of_chapters", "classified", "cost", "pairs", "retrieval",
    "words",
]  # fmt: skip

#: Task, language, metric, value, number.
Row = tuple[str, str, str, float, int]
States = NDArray[np.float32]

CENTRED = "centred"
CANDIDATES = 500
_TAUGHT = 2000
_PAIRS = 1000


@dataclass(frozen=True)
class Trained:
    """An arm's networks, and what they are measured on.

    Attributes:
        folders: language -> checkpoint.
        recipe: of the network, or of the first of them.
        split: the verses.
        languages: English first.
        steps: how long it was trained.
        tokens: how many it saw.
    """

    folders: Mapping[str, Path]
    recipe: PretrainRecipe
    split: BibleSplit
    languages: Sequence[str]
    steps: int = 0
    tokens: float = 0.0

    def checkpoint(self, lang: str) -> Path:
        """The folder with a language's own parts, where it has any."""
        own = self.folders[lang] / lang
        return own if (own / "config.json").is_file() else self.folders[lang]

    @cached_property
    def encoders(self) -> dict[str, Encoder]:
        """Language -> the encoder that reads it."""
        from interlingua.models.encoder import load
        from interlingua.train.dist import pick_device

        opened = {path: load(path) for path in {self.checkpoint(lang) for lang in self.languages}}
        for encoder in opened.values():
            encoder.model.to(pick_device("auto"))
        return {lang: opened[self.checkpoint(lang)] for lang in self.languages}

    def states(self, lang: str, texts: Sequence[str], layers: Sequence[int] | None = None) -> States:
        """Mean-pooled states [layers, N, D]; of the last layer if none is named."""
        from interlingua.probe.states import sentence_states

        return sentence_states(self.encoders[lang], texts, layers=layers)

    @cached_property
    def candidates(self) -> list[str]:
        """Ids of the test verses that are searched, which all languages have."""
        held = self.split.test_verses
        shared = [verse for verse, texts in held.items() if all(lang in texts for lang in self.languages)]
        return random.Random(0).sample(shared, min(CANDIDATES, len(shared)))

    @cached_property
    def found(self) -> dict[str, States]:
        """Language -> states of all layers of the candidates, [layers, N, D]."""
        depth = max(e.model.config.num_hidden_layers for e in self.encoders.values())
        texts = self.split.test_verses
        return {
            lang: self.states(lang, [texts[verse][lang] for verse in self.candidates], range(depth + 1))
            for lang in self.languages
        }


Measure = Callable[[Trained], Iterable[Row]]


def cost(trained: Trained) -> list[Row]:
    """Steps and tokens of pretraining; layers, width and parameters of the encoder.

    Parameters are those of one language, as a plain encoder without its LM's head has them.
    """
    model = trained.encoders[trained.languages[0]].model
    found = {
        "steps": trained.steps,
        "tokens": trained.tokens,
        "layers": model.config.num_hidden_layers,
        "width": model.config.hidden_size,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    return [("cost", "und", metric, float(value), 1) for metric, value in found.items()]


def retrieval(trained: Trained) -> list[Row]:
    """P@1 between English and each other language in the last layer, mean of both ways."""
    from interlingua.probe.alignment import retrieval_scores

    vectors = {lang: states[-1] for lang, states in trained.found.items()}
    return [
        (task, s.language, s.metric, s.value, s.n)
        for task, centre in (("retrieval", False), (f"retrieval {CENTRED}", True))
        for s in retrieval_scores(vectors, source=trained.languages[0], model="", centre=centre)
        if s.metric == "p1"
    ]


def classified(trained: Trained) -> list[Row]:
    """The part of the Bible by a logistic regression on frozen vectors of the last layer, taught in English."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    split, source = trained.split, trained.languages[0]
    taught = random.Random(0).sample(split.teach, min(_TAUGHT, len(split.teach)))
    vectors = trained.states(source, [e.text for e in taught])[0]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
    classifier.fit(vectors, [e.label for e in taught])
    rows: list[Row] = []
    for lang in trained.languages:
        tests = [e for e in split.test if e.lang == lang]
        own, labels = trained.states(lang, [e.text for e in tests])[0], [e.label for e in tests]
        # Moved to where the classifier was taught, by no label.
        moved = own - own.mean(axis=0) + vectors.mean(axis=0)
        rows.append(("bible part", lang, "accuracy", float(classifier.score(own, labels)), len(tests)))
        rows.append((f"bible part {CENTRED}", lang, "accuracy", float(classifier.score(moved, labels)), len(tests)))
    return rows


def _neighbours(verses: Verses, languages: Sequence[str]) -> list[tuple[str, str, bool]]:
    """Pairs of verses: one and the next, or one and another's next of another chapter, half each."""
    shared = [verse for verse, texts in verses.items() if all(lang in texts for lang in languages)]
    chapters = [verse.rsplit(".", 1)[0] for verse in shared]
    follows = [at for at in range(len(shared) - 1) if chapters[at] == chapters[at + 1]]
    chance = random.Random(0)
    found = []
    for at in chance.sample(follows, min(_PAIRS, len(follows))):
        if chance.random() < 0.5:
            found.append((shared[at], shared[at + 1], True))
            continue
        other = chance.choice([one for one in follows if chapters[one] != chapters[at]] or follows)
        found.append((shared[at], shared[other + 1], False))
    return found


def pairs(trained: Trained) -> list[Row]:
    """Does a verse follow another? Taught in English; tested on two of a language, and on one of it and one of English.

    By a logistic regression on ``|u - v|`` and ``u v`` of vectors with each language's mean taken off.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    source = trained.languages[0]
    taught = _neighbours({e.where: {source: e.text} for e in trained.split.teach}, [source])
    asked = _neighbours(trained.split.test_verses, trained.languages)
    texts = {e.where: e.text for e in trained.split.teach}

    def sides(lang: str, of: Sequence[tuple[str, str, bool]], text: Callable[[str], str]) -> tuple[States, States]:
        both = trained.states(lang, [text(one) for one, _, _ in of] + [text(other) for _, other, _ in of])[0]
        both = both - both.mean(axis=0)
        return both[: len(of)], both[len(of) :]

    def joint(left: States, right: States) -> States:
        return np.concatenate([np.abs(left - right), left * right], axis=1)

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.01))
    classifier.fit(joint(*sides(source, taught, lambda verse: texts[verse])), [right for _, _, right in taught])
    held = trained.split.test_verses
    vectors = {
        lang: sides(lang, asked, lambda verse, lang=lang: held[verse][lang])  # type: ignore[misc]
        for lang in trained.languages
    }
    gold = [right for _, _, right in asked]
    rows: list[Row] = []
    for lang, (left, right) in vectors.items():
        rows.append(("pairs within", lang, "accuracy", float(classifier.score(joint(left, right), gold)), len(gold)))
        if lang != source:
            first, second = vectors[source]
            mixed = [classifier.score(joint(left, second), gold), classifier.score(joint(first, right), gold)]
            rows.append(("pairs across", lang, "accuracy", float(np.mean(mixed)), len(gold)))
    return rows


def words(dictionaries: Path) -> Measure:
    """Mean reciprocal rank of the translation of English words, by their mean vectors over the test verses.

    Args:
        dictionaries: a table of MUSE's.
    """

    def measured(trained: Trained) -> list[Row]:
        from interlingua.probe.words import translate_words, word_vectors
        from interlingua.text.lexicons import read_lexicon_parts

        source, *others = trained.languages
        held = trained.split.test_verses
        rows: list[Row] = []
        for lang in others:
            entries = list(read_lexicon_parts(dictionaries, source_lang=source, target_lang=lang))
            wanted = {source: {e.source.lower() for e in entries}, lang: {e.target.lower() for e in entries}}
            ours, theirs = (
                word_vectors(
                    trained.encoders[own],
                    [(own, texts[own]) for texts in held.values() if own in texts],
                    # Sets come in another order each time; sorted words keep sums the same.
                    {own: sorted(wanted[own])},
                    layers=[-1],
                )[own]
                for own in (source, lang)
            )
            (one,) = translate_words(ours, theirs, entries, model="", scorings=["cosine"], every_part=True)
            rows.append(("words", lang, "mrr", one.metrics["mrr"], len(one.ranks)))
        return rows

    return measured


def bits(trained: Trained) -> list[Row]:
    """Bits a character of held-out verses, 15 % of the tokens masked, the same for all arms; of masked LMs only."""
    return _bits(trained, Path(str(trained.recipe.data.shards)) / "held-out")


def bits_of_chapters(trained: Trained) -> list[Row]:
    """The same of the test chapters, which have much text of every language, however little was pretrained on."""
    from interlingua.corpus import corpus_items
    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.recipe import DataRecipe
    from interlingua.shards.read import MANIFEST
    from interlingua.shards.write import write_shards

    shared = Path(str(trained.recipe.data.shards)).parent
    shards = shared / "test-shards"
    if not (shards / "train" / MANIFEST).exists():
        path = write_verses(trained.split.test_verses, trained.languages, shared / "test.tsv")
        tokenizer = open_tokenizer(Path(str(trained.recipe.vocab.path)))
        write_shards(shards, corpus_items(DataRecipe(parallel=(path,))), tokenizer, sorted(trained.languages),
                     unit_tokens=60, held_out=0.0)  # fmt: skip
    return _bits(trained, shards / "train")


def _bits(trained: Trained, folder: Path) -> list[Row]:
    from transformers import AutoModelForMaskedLM

    from interlingua.models.build import HEADS
    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.objectives.build import build_mixture, common_head
    from interlingua.recipe_objectives import MLMRecipe
    from interlingua.shards.read import ShardSet
    from interlingua.shards.stream import Stream
    from interlingua.train.dist import Spread, pick_device
    from interlingua.train.heldout import held_out_losses

    recipe = trained.recipe
    head = common_head(recipe.objectives, recipe.model.family)
    if head not in ("masked", "pretraining") or recipe.model.family not in HEADS["masked"]:
        return []
    shards = ShardSet(folder, verify=False)
    rows: list[Row] = []
    checkpoints = {lang: trained.checkpoint(lang) for lang in trained.languages}
    for checkpoint in dict.fromkeys(checkpoints.values()):
        tokenizer = open_tokenizer(checkpoint)
        stream = Stream(shards, tokenizer, seed=0, batch_tokens=8192, row_length=128, exponent=0.0)
        masked = build_mixture([MLMRecipe()], tokenizer, how="sum", seed=0).objectives
        model = AutoModelForMaskedLM.from_pretrained(checkpoint).eval().to(pick_device("auto"))
        loss_of = Spread(model, {}, "replicate").loss
        found = held_out_losses(loss_of, model.device, stream, masked, batches=6).bits_per_character["mlm"]
        rows += [("bits", lang, "bits_per_character", found[lang], shards.count(lang))
                 for lang, own in checkpoints.items() if own == checkpoint]  # fmt: skip
    return rows
