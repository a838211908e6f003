"""One language made another by a vector: what small masked LMs say of moved states, by layer and alpha.

In: the bundled Bible in two languages, and the first beside its copy in other letters. Out: for each network, layer and
alpha the share of tokens of the target language, BLEU of single words, and how often a word becomes its translation
(:mod:`interlingua.evaluate.tokens`); what some sentences become, in ``sentences/``. Decisions: verses that are moved
are of chapters that no network saw, and means are of verses that it did; the layer is, for each network, the one with
the highest BLEU at alpha 1 on verses that are looked at for nothing else. Price: networks of this size translate little
of a real language.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from interlingua.recipe_base import Positive
from interlingua.report.page import Figure, Section, Table
from interlingua.run import atomic_write
from interlingua.scores import Score
from interlingua.studies.arms import LARGER, Arm, Setup, TokenArms, run_arms
from interlingua.studies.base import Claim, Evidence, Say
from interlingua.studies.measures import Measure, Row, Trained, cost
from interlingua.studies.tables import number_of
from interlingua.studies.words import MUSE
from interlingua.text.fake import fake_tag, fake_text
from interlingua.text.lexicons import read_lexicon_parts
from interlingua.tour.bible import BibleSplit, Verses

if TYPE_CHECKING:
    from interlingua.evaluate.tokens import TokenTranslation

__all__ = ["SteeringRecipe", "SteeringStudy"]

SOURCE, TARGET, COPY = "en", "de", fake_tag("en")
ALPHAS = (0.0, 1.0, 2.0, 3.0, 4.0)
#: Verses that are moved, others to choose the layer on, those that means are taken of, sentences that are written.
MOVED, CHOOSING, MEANS, SHOWN = 200, 100, 2000, 5
_MUON = {"optimizer": "muon", "lr": 5e-3, "embedding_lr": 2e-3}


def _drawn(target: str) -> str:
    return f"data.weights={{{SOURCE}: 1, {target}: 1}}"


ARMS = (
    Arm("copy", "English and its copy, masked LM", changes=(_drawn(COPY),)),
    Arm("mlm", "English and German, masked LM", changes=(_drawn(TARGET),)),
    Arm("tlm", "English and German, masked and translation LM", ({"type": "mlm"}, {"type": "tlm"}),
        (_drawn(TARGET), "mix=sample")),
)  # fmt: skip


class SteeringRecipe(TokenArms):
    """How large the study of steering is run."""

    tokens: Positive = 5_000_000
    languages: tuple[str, ...] = (SOURCE, TARGET, COPY)
    root: Path = Path("data")
    """Folder with the data that do not ship with the package; docs/study.md lists them."""


_LIU = "Liu et al. 2020 (arXiv 2010.10041), printed sentences of mBERT"
_SAID = "en to zh: alpha 1 mixes the two, 2 and 3 leave no English"
_LOST = "en to zh: at alpha 3 hardly a word of the sentence is left"
_BLEU = "bleu"


def _claims() -> Iterator[Claim]:
    for arm, label in (("copy", "English to its copy"), ("tlm", "English to German, with translation LM"),
                       ("mlm", "English to German")):  # fmt: skip
        yield Claim(f"{label}: the network names more tokens of the target at alpha 1 than unmoved", _SAID, _LIU,
                    {f"{arm} 1": 1, f"{arm} 0": -1}, "share")  # fmt: skip
        yield Claim(f"{label}: ... and more at 2 than at 1", _SAID, _LIU, {f"{arm} 2": 1, f"{arm} 1": -1}, "share")
        yield Claim(f"{label}: words of the translation are among them, more than unmoved", _SAID, _LIU,
                    {f"{arm} 1": 1, f"{arm} 0": -1}, _BLEU)  # fmt: skip
        yield Claim(f"{label}: at alpha 4 fewer are left than at 1", _LOST, _LIU,
                    {f"{arm} 1": 1, f"{arm} 4": -1}, _BLEU)  # fmt: skip


def _in(lang: str, texts: Mapping[str, str]) -> str | None:
    """A verse in a language; in the copy's letters what it is in English, in lower case, as the vocabulary is."""
    if lang == COPY:
        return fake_text(texts[SOURCE].lower()) if SOURCE in texts else None
    return texts.get(lang)


def _with_copy(split: BibleSplit, languages: Sequence[str]) -> Verses:
    """The verses that are pretrained on, the copy among their languages."""
    return {
        verse: {lang: text for lang in languages if (text := _in(lang, texts))}
        for verse, texts in split.pretrain.items()
    }


def _pairs(verses: Verses, target: str, most: int) -> tuple[list[str], list[str]]:
    """The first so many verses in English and a language that have both."""
    both = [(texts[SOURCE], text) for texts in verses.values() if SOURCE in texts and (text := _in(target, texts))]
    return [source for source, _ in both[:most]], [text for _, text in both[:most]]


def _steered(dictionaries: Path, folder: Path) -> Measure:
    """What a network says of English verses that are moved to the language that it was taught beside English."""

    def measured(trained: Trained) -> list[Row]:
        from transformers import AutoModelForMaskedLM

        from interlingua.evaluate.tokens import translate_tokens
        from interlingua.models.checkpoint import open_checkpoint
        from interlingua.train.dist import pick_device

        target = next(lang for lang in (TARGET, COPY) if trained.recipe.data.weights.get(lang))
        verses = _pairs(trained.split.test_verses, target, MOVED + CHOOSING)
        network, tokenizer = open_checkpoint(trained.checkpoint(SOURCE), AutoModelForMaskedLM, with_head=True)
        entries = list(read_lexicon_parts(dictionaries, source_lang=SOURCE, target_lang=TARGET))
        texts = dict(zip((SOURCE, target), _pairs(trained.split.pretrain, target, MEANS), strict=True))

        def translated(part: slice) -> TokenTranslation:
            moved, references = (side[part] for side in verses)
            return translate_tokens(
                network.to(pick_device("auto")), tokenizer, moved, [text.lower() for text in references],
                languages=(SOURCE, target), alphas=ALPHAS, texts=texts,
                lexicon=[(e.source, fake_text(e.source.lower()) if target == COPY else e.target) for e in entries],
            )  # fmt: skip

        choosing, found = translated(slice(CHOOSING)), translated(slice(CHOOSING, None))
        moved = verses[0][CHOOSING:]
        lines = [
            f"{one.layer}\t{one.alpha:g}\t{moved[i]}\t{' '.join(one.texts[i].split())}\n"
            for one in found.steered
            for i in range(min(SHOWN, len(moved)))
        ]
        atomic_write(folder / "sentences" / f"{trained.recipe.name}.tsv", "".join(lines))
        rows: list[Row] = [(s.task, s.language, s.metric, s.value, s.n) for s in found.scores("")]
        rows += [
            (s.task.replace("steering", "choosing", 1), s.language, s.metric, s.value, s.n)
            for s in choosing.scores("")
            if s.metric == "bleu1"
        ]
        return [*rows, ("steering.reference", target, "target_share", found.reference_share, found.sentences)]

    return measured


class SteeringStudy:
    """Tokens of one language made another's."""

    name: ClassVar = "steering"
    title: ClassVar = "One language made another"
    question: ClassVar = "Does a masked LM whose states are moved by the difference of languages' means translate?"
    scales: ClassVar = {
        "small": SteeringRecipe(),
        "full": SteeringRecipe(
            tokens=2_000_000_000,
            seeds=(0, 1, 2, 3, 4),
            changes=(*LARGER, "train.lr=2e-3", "train.embedding_lr=1e-3"),
        ),
    }
    claims: ClassVar = tuple(_claims())

    def run(self, folder: Path, recipe: SteeringRecipe, *, say: Say) -> None:
        """Pretrain and measure what is missing."""
        setup = Setup(
            (cost, _steered(MUSE.file(recipe.root), folder)),
            tree={"model": {"layers": 4}, "train": _MUON},
            vocabulary=8000,
            verses=_with_copy,
        )
        run_arms(ARMS, folder, recipe, setup, say=say)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Shares and BLEU at each network's layer, seed by seed."""
        cells, layers = _cells(scores), _layers(scores)
        found: dict[str, dict[str, dict[int, float]]] = {"target_share": {}, "bleu1": {}}
        for (arm, seed, layer, alpha, metric), value in cells.items():
            if metric in found and layers.get(arm) == layer:
                found[metric].setdefault(f"{arm} {alpha:g}", {})[seed] = value
        return {
            "share": Evidence(found["target_share"], "share of tokens of the target"),
            _BLEU: Evidence(found["bleu1"], "BLEU of single words"),
        }

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """Every network by layer and alpha."""
        from interlingua.report.plots import heatmap

        cells, layers = _cells(scores), _layers(scores)
        shares = {s.model: s.value for s in scores if s.task == "steering.reference"}
        found = []
        for arm in ARMS:
            if arm.name not in layers:
                continue
            depth = sorted({layer for name, _, layer, _, _ in cells if name == arm.name})

            def mean(layer: int, alpha: float, metric: str, name: str = arm.name) -> float | None:
                own = [value for key, value in cells.items() if (key[0], *key[2:]) == (name, layer, alpha, metric)]
                return statistics.fmean(own) if own else None

            figure: Figure = heatmap(
                [[mean(layer, alpha, "bleu1") for alpha in ALPHAS] for layer in depth],
                [f"layer {layer}" for layer in depth],
                [f"alpha {alpha:g}" for alpha in ALPHAS],
                measure="BLEU of single words",
                languages=False,
                digits=1,
                title=f"{arm.label}: BLEU",
                caption="Mean over seeds; layer 0: the embeddings.",
            )
            best = layers[arm.name]
            table = Table(
                f"At layer {best}, mean over seeds", "",
                ["alpha", "tokens of the target", "BLEU of single words", "P@1 of words"],
                [[f"{alpha:g}", *(mean(best, alpha, metric) for metric in ("target_share", "bleu1", "p1"))]
                 for alpha in ALPHAS],
            )  # fmt: skip
            text = (
                f"The table is of layer {best}, means over seeds. Tokens of the target among those of the translations "
                f"themselves: {shares[arm.name]:.3f}."
            )
            found.append(Section(arm.label, [text], [figure, table]))

        def own(metric: str) -> float:
            return statistics.fmean(number_of(scores, metric).values())

        method = (
            f"BERT of {own('layers'):.0f} layers of width {own('width'):.0f}, 8,000 entries for three languages, "
            f"pretrained on {own('tokens') / 1e6:.1f} million tokens of the bundled Bible in two of them; {MOVED} "
            f"verses of chapters that it did not see are moved, by means over {MEANS:,} "
            "that it saw. Tokens of the target: more frequent in its text than in English. P@1: words of one token "
            "that became a translation of one token in MUSE's dictionary, or their own copy. All is in lower case. "
            "What some sentences become stands in sentences/, a file a network: layer, alpha, the verse, what is said."
        )
        return [Section("What was moved", [f"Command: interlingua study run {self.name} root=data", method]), *found]


_Key = tuple[str, int, int, float, str]


def _cells(scores: Sequence[Score], task: str = "steering") -> dict[_Key, float]:
    """(arm, seed, layer, alpha, metric) -> value."""
    found: dict[_Key, float] = {}
    for s in scores:
        parts = s.task.split(".", 2)
        if len(parts) == 3 and parts[0] == task and s.seed is not None:
            layer, alpha = int(parts[1].removeprefix("layer")), float(parts[2].removeprefix("alpha"))
            found[s.model, s.seed, layer, alpha, s.metric] = s.value
    return found


def _layers(scores: Sequence[Score]) -> dict[str, int]:
    """Arm -> the layer with the highest mean BLEU at alpha 1, on verses that are looked at for nothing else."""
    sums: dict[str, dict[int, list[float]]] = {}
    for (arm, _, layer, alpha, metric), value in _cells(scores, "choosing").items():
        if (alpha, metric) == (1.0, "bleu1"):
            sums.setdefault(arm, {}).setdefault(layer, []).append(value)
    return {arm: max(by, key=lambda layer: statistics.fmean(by[layer])) for arm, by in sums.items()}
