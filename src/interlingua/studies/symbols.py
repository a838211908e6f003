"""Does what a network learned from text help with DNA, music and proteins?

In: sequences with labels, their symbols written as words drawn at random. Out: accuracy of the pretrained network, of
its body under new embeddings, and of a network drawn anew, each taught the same. Decision: a draw has words, new
weights and an order of its own, so the deviation between draws is of all that is random; entries of the vocabulary that
no symbol takes are cut off before teaching, since they would learn nothing and cost more than the network. Price: how
much of the deviation is the words' is not told apart.
"""

from __future__ import annotations

import copy
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from interlingua.errors import VocabularyError
from interlingua.recipe_base import Positive
from interlingua.recipe_suite import SuiteEntry, SuiteRecipe
from interlingua.recipe_transfer import LabelledFile, TaskRecipe, TuneRecipe
from interlingua.report.page import Cell, Section, Table
from interlingua.scores import Score
from interlingua.studies.base import Claim, Evidence, Say, Values, unit_values
from interlingua.studies.probing import MASKED, ProbeRecipe, Probing, Source, kind_of, name_of
from interlingua.studies.suites import plain, run_entries
from interlingua.studies.tables import shown

if TYPE_CHECKING:
    from interlingua.models.encoder import Encoder

__all__ = ["SymbolsRecipe", "SymbolsStudy"]

Part = Literal["none", "embeddings", "body", "all"]
Name = Literal["splice", "composer", "protein"]


@dataclass(frozen=True)
class _Discipline:
    """What is taught, and in the paper for each arm of :data:`_ARMS`.

    Attributes:
        label: in tables.
        source: the file.
        columns: of ``read_sequences``.
        published: task of the paper -> accuracy of pretrained, new embeddings, all new.
    """

    label: str
    source: Source
    columns: Mapping[str, str]
    published: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def tags(self) -> bool:
        """Whether every symbol has a label."""
        return "labels" in self.columns


DISCIPLINES: dict[Name, _Discipline] = {
    "splice": _Discipline(
        "DNA, splice junctions",
        Source("xdisc/dna_splice.tsv.zst", "a table with split, label, sequence: primate splice junctions",
               "the UCI repository, Splice-junction Gene Sequences"),
        {}, {"splice": (97.5, 95.6, 95.0)},
    ),
    "composer": _Discipline(
        "Music, composer",
        Source("xdisc/music_composer.tsv.zst", "a table with split, label, notes: pieces of five collections",
               "the corpus of music21"),
        {"sequence": "notes"}, {"composer": (55.2, 55.2, 36.0)},
    ),
    "protein": _Discipline(
        "Proteins, secondary structure",
        Source("xdisc/protein_secondary_structure.tsv.zst", "a table with split, sequence, labels, mask",
               "FLIP (github.com/J-SNACKKB/FLIP), secondary structure"),
        {"labels": "labels", "mask": "mask"},
        {"localization": (64.8, 63.3, 58.6), "stability": (74.5, 75.4, 65.8), "fluorescence": (63.7, 37.3, 27.5)},
    ),
}  # fmt: skip
_ARMS: dict[Part, str] = {
    "none": "pretrained", "embeddings": "new embeddings", "body": "new body", "all": "all new",
}  # fmt: skip
#: The control: the most frequent label of the test part.
_MAJORITY = "majority"
_PUBLISHED: dict[Part, int] = {"none": 0, "embeddings": 1, "all": 2}


class SymbolsRecipe(ProbeRecipe):
    """What the study of symbols teaches."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Draws: of the words, of new weights, of the order."""
    arms: tuple[Part, ...] = ("none", "embeddings", "all")
    """Part of the network that is drawn anew."""
    taught: dict[Name, Annotated[int, Field(ge=0)]] = Field(default={"splice": 1000, "composer": 300, "protein": 50})
    """Sequences that are taught of each discipline, evenly spread; 0 or none named: all."""
    tested: Annotated[int, Field(ge=0)] = 200
    """Sequences that are tested; 0: all."""
    epochs: Positive = 4
    """Passes over them."""
    batch_size: Positive = 4
    """Sequences a step."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Of everything but the head, in all arms."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of the CPU; 0 measures."""


_KAO = "Kao and Lee 2021 (arXiv 2103.07162), by a lecture's slide"


def _claims() -> Iterator[Claim]:
    text: dict[Name, str] = {"splice": "DNA", "composer": "Music", "protein": "Proteins (here: structure)"}
    for name, own in DISCIPLINES.items():

        def figures(better: Part, worse: Part, own: _Discipline = own) -> str:
            at = _PUBLISHED[better], _PUBLISHED[worse]
            return ", ".join(f"{task} {row[at[0]]} : {row[at[1]]}" for task, row in own.published.items())

        def claim(said: str, better: Part, worse: Part, name: Name = name, margin: float = 0.0) -> Claim:
            return Claim(f"{text[name]}: {said}", figures(better, worse), _KAO,
                         {f"{name} {better}": 1, f"{name} {worse}": -1}, "accuracy", margin, MASKED)  # fmt: skip

        yield claim("a network pretrained on text is better than one drawn anew", "none", "all")
        yield claim("its body under new embeddings is better than a network drawn anew", "embeddings", "all")
        if name == "splice":
            yield claim("its own embeddings are better than new ones", "none", "embeddings")
        if name == "composer":
            yield claim("new embeddings are as good as its own, within a point", "embeddings", "none", margin=-0.01)


class SymbolsStudy:
    """A network of text on sequences that are none."""

    name: ClassVar = "symbols"
    title: ClassVar = "DNA, music and proteins as words"
    question: ClassVar = "Does what a network learned from text help with DNA, music and proteins?"
    scales: ClassVar = {
        "small": SymbolsRecipe(),
        "full": SymbolsRecipe(
            model="mbert", seeds=(0, 1, 2, 3, 4), arms=("none", "embeddings", "body", "all"), taught={}, tested=0,
            epochs=20, batch_size=32, lr=5e-5,
        ),
    }  # fmt: skip
    claims: ClassVar = tuple(_claims())

    def run(self, folder: Path, recipe: SymbolsRecipe, *, say: Say) -> None:
        """Teach and score each draw, discipline and arm."""
        files = {name: own.source.file(recipe.root) for name, own in DISCIPLINES.items()}
        probing = Probing(folder, recipe.model, say)
        for seed in recipe.seeds:
            for name, file in files.items():
                suite = _suite(probing.folder / "drawn" / f"{name}-{seed}", name, seed, recipe)
                run_entries(probing, suite, encoder=cache(partial(_drawn, probing, name, file, suite)))
                probing.stage(f"{name}.{_MAJORITY}", _guessed, name, file, recipe.tested)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Accuracy, draw by draw."""
        return {"accuracy": Evidence(_accuracy(scores), "accuracy", model=kind_of(scores))}

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """Every discipline and arm."""
        from interlingua.report.plots import heatmap

        values = _accuracy(scores)
        taught = [s for s in plain(scores, "accuracy") if s.seed is not None]
        arms = [arm for arm in _ARMS if any(f"{name} {arm}" in values for name in DISCIPLINES)]
        names = [name for name in DISCIPLINES if any(f"{name} {arm}" in values for arm in arms)]
        rows: list[list[Cell]] = []
        for name in names:
            own = DISCIPLINES[name]
            tested = next(s.n for s in taught if s.task.startswith(f"{name}."))
            ours = (shown(values.get(f"{name} {arm}", {}).values()) for arm in arms)
            guess = shown(values.get(f"{name} {_MAJORITY}", {}).values())
            rows.append([own.label, *ours, guess, tested])
            for task, figures in own.published.items():
                theirs = {arm: f"{figures[place] / 100:.3f}" for arm, place in _PUBLISHED.items()}
                rows.append([f"published, {task}", *(theirs.get(arm) for arm in arms), None, None])
        text = (
            f"{name_of(scores)}; each symbol is a word of its vocabulary, drawn at random. Pretrained: the network as "
            "it is; new embeddings: those drawn anew; all new: every weight drawn anew. Each arm is taught with the "
            "same examples, rate and steps, and scored after the last. Accuracy on the test part, of proteins over "
            f"residues; mean \u00b1 deviation over {len({s.seed for s in taught})} draws of words, weights and order. "
            "Published: of BERT pretrained on English; stability and fluorescence are rank correlations."
        )
        matrix = [
            [statistics.fmean(by.values()) if (by := values.get(f"{name} {arm}")) else None for arm in arms]
            for name in names
        ]
        drawing = heatmap(matrix, [DISCIPLINES[name].label for name in names], [_ARMS[arm] for arm in arms],
                          measure="accuracy", languages=False, title="Accuracy by part drawn anew",
                          caption="Mean over draws.")  # fmt: skip
        columns = ["discipline", *(_ARMS[arm] for arm in arms), "most frequent label", "tested"]
        return [
            Section(
                "What was taught",
                [f"Command: interlingua study run {self.name} root=data", text],
                [drawing, Table("Accuracy, mean \u00b1 deviation over draws", "", columns, rows,
                                ["left", *["right"] * (len(columns) - 1)])],  # type: ignore[list-item]
            )
        ]  # fmt: skip


def _accuracy(scores: Sequence[Score]) -> Values:
    """Discipline and arm -> draw -> accuracy."""
    return unit_values(plain(scores, "accuracy"), lambda s: " ".join(s.task.split(".")[:2]), lambda s: s.seed)


def _suite(folder: Path, name: Name, seed: int, recipe: SymbolsRecipe) -> SuiteRecipe:
    """One draw of a discipline: an entry an arm."""
    own = DISCIPLINES[name]
    task = TaskRecipe(
        type="tag" if own.tags else "classify",
        train=(LabelledFile(path=Path("train.tsv"), lang="en", limit=recipe.taught.get(name, 0)),),
        test=(LabelledFile(path=Path("test.tsv"), lang="en", limit=recipe.tested),),
    )

    def tune(arm: Part) -> TuneRecipe:
        return TuneRecipe(epochs=recipe.epochs, batch_size=recipe.batch_size, lr=recipe.lr, freeze="none", fresh=arm,
                          max_length=512, threads=recipe.threads)  # fmt: skip

    return SuiteRecipe(
        name=f"{name}-{seed}", model=recipe.model, root=folder, seeds=(seed,),
        entries=tuple(SuiteEntry(name=f"{name}.{arm}.{seed}", task=task, tune=tune(arm)) for arm in recipe.arms),
    )  # fmt: skip


def _guessed(name: Name, file: Path, tested: int) -> Iterator[Score]:
    """The control of a discipline, on the sequences that are tested."""
    from interlingua.probe.symbols import read_sequences
    from interlingua.transfer.finetune import spread

    columns: dict[str, Any] = dict(DISCIPLINES[name].columns)
    found = [label for one in read_sequences(file, **columns) if one.split == "test" for label in one.labels]
    labels = Counter(spread(found, tested))
    share = max(labels.values()) / labels.total()
    yield Score(_MAJORITY, f"{name}.{_MAJORITY}", "en", "test", "accuracy", share, labels.total())


def _drawn(probing: Probing, name: Name, file: Path, suite: SuiteRecipe) -> Encoder:
    """Write a draw's labelled files; return the encoder with the entries that they need."""
    from interlingua.models.translator import take_entries
    from interlingua.probe.symbols import labelled_parts, read_sequences, symbol_words
    from interlingua.run import atomic_write
    from interlingua.vocab.trim import trim

    own, encoder = DISCIPLINES[name], probing.encoder
    columns: dict[str, Any] = dict(own.columns)
    found = list(read_sequences(file, **columns))
    words = symbol_words(encoder.tokenizer, (symbol for one in found for symbol in one.symbols), seed=suite.seeds[0])
    for part, rows in labelled_parts(found, words, tags=own.tags).items():
        atomic_write(suite.root / f"{part}.tsv", "".join(rows))
    used = {i for ids in encoder.tokenizer(list(words.values()), add_special_tokens=False)["input_ids"] for i in ids}
    try:
        tokenizer, kept_V = trim(encoder.tokenizer, used)
    except VocabularyError:  # merges hang together: such a vocabulary stays whole
        return encoder
    model = copy.deepcopy(encoder.model)
    take_entries(model, kept_V)
    return replace(encoder, model=model, tokenizer=tokenizer)
