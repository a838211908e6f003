"""What makes a network multilingual: English beside its copy in other letters, one thing changed at a time.

In: two English Bibles. Out: multilinguality scores of small BERTs (Dufter and Schuetze 2020, arXiv 2005.00396), one an
arm and seed. Decisions: ``original`` is the paper's recipe with its hundred passes over the text; ``ours`` has a tenth
of its tokens, those that its first vectors were learned from included; what languages do not share is changed in
``plain``, at the full scale the original itself, at the small one a recipe of a tenth of its tokens that begins at
random and whose score is lower. Prices: the paper's text, the Easy-to-Read New Testament, may not be passed on, so the
numbers are of another text and its vocabulary; where the paper puts pieces of words in reverse order, words are here.
"""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import model_validator

from interlingua.errors import RecipeError
from interlingua.recipe import PretrainRecipe
from interlingua.recipe_base import Positive, Recipe
from interlingua.report.page import Cell, Section, Table
from interlingua.run import atomic_write
from interlingua.scores import Score, append_scores, read_scores
from interlingua.studies.arms import whole
from interlingua.studies.base import Claim, Evidence, Say, seed_values
from interlingua.studies.probing import Source
from interlingua.studies.tables import shown
from interlingua.text.fake import fake_tag

if TYPE_CHECKING:
    from interlingua.probe.fake import FakeCorpus

__all__ = ["FakeRecipe", "FakeStudy"]

TAUGHT = Source("bible/bible.en-bbe.tsv.zst", "a table with verse_id and text, the New Testament",
                "the Bible in Basic English")  # fmt: skip
UNSEEN = Source(
    "bible/bible.en.tsv.zst", "a table with verse_id and text, the whole Bible", "the New Heart English Bible"
)
LANG, FAKE = "en", fake_tag("en")
#: The paper's: tokens of English in the vocabulary, sentences of a step, steps of warm-up.
SIZE, SENTENCES, WARMUP = 2048, 256, 50
#: The paper's width of the network.
WIDTH = 64

Text = Literal["text", "reverse", "apart"]


@dataclass(frozen=True)
class Arm:
    """A recipe.

    Attributes:
        label: in tables.
        published: the paper's multilinguality score; none where it has no such arm.
        words: ``key.sub=value`` words for the recipe.
        text: how the fake language is written.
        near: whether tokens' neighbours in the other language are shown.
        begins: whether the token table begins with vectors that were learned apart.
    """

    label: str
    published: float | None = None
    words: tuple[str, ...] = ()
    text: Text = "text"
    near: bool = False
    begins: bool = False


_POSITIONS = ("model.separate_positions=true", "model.language_embeddings=true")
_SPECIALS = ("model.separate_specials=true",)
_NO_RANDOM = ("objectives.0.random=0",)
#: The recipe of a tenth of the tokens in which things are changed at the small scale.
_SHORT = ("train.optimizer=muon", "train.lr=1e-2", "train.embedding_lr=5e-3", "objectives.0.rate=0.3")
#: What languages do not share, or what else is changed, in the recipe ``plain``.
SWITCHES: Mapping[str, Arm] = {
    "plain": Arm("as it is"),
    "lang-pos": Arm("positions and token types of their own", 0.30, _POSITIONS),
    "shift-special": Arm("special tokens of their own", 0.66, _SPECIALS),
    "no-random": Arm("no random token in a hidden one's place", 0.68, _NO_RANDOM),
    "lang-pos+shift-special": Arm("the first and the second", 0.20, (*_POSITIONS, *_SPECIALS)),
    "lang-pos+no-random": Arm("the first and the third", 0.30, (*_POSITIONS, *_NO_RANDOM)),
    "shift-special+no-random": Arm("the second and the third", 0.68, (*_SPECIALS, *_NO_RANDOM)),
    "all three": Arm("all three", 0.12, (*_POSITIONS, *_SPECIALS, *_NO_RANDOM)),
    "inv-order": Arm("words in reverse order", 0.01, text="reverse"),
    "no-parallel": Arm("other texts: each language has half", text="apart"),
    "knn-replace": Arm("neighbours in hidden tokens' places", 0.74, ("objectives.0.mask=0.5",), near=True),
}
#: Those that the small scale has time for.
_SINGLE = ("lang-pos", "shift-special", "no-random", "all three", "inv-order", "no-parallel", "knn-replace")
RECIPES: Mapping[str, Arm] = {
    "original": Arm("the paper's", 0.70),
    "ours": Arm("begins with vectors of tokens", words=("train.embedding_lr=2e-4",), begins=True),
    "vectors alone": Arm("the same beginning, one step", words=("train.steps=1",), begins=True),
    "untrained": Arm("one step", 0.00, ("train.steps=1",)),
}
ARMS = {**RECIPES, **SWITCHES}


class FakeRecipe(Recipe):
    """How long and how often."""

    root: Path = Path("data")
    """Folder with the data that do not ship with the package; docs/study.md lists them."""
    passes: Positive = 100
    """Of the original recipe over the text."""
    static: Positive = 5
    """Passes over the text that vectors of tokens are learned in."""
    original_seeds: tuple[int, ...] = (0,)
    """Of the original recipe."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of ours."""
    plain: Literal["original", "short"] = "short"
    """In which recipe things are changed: the original, or one of a tenth of its tokens."""
    switches: tuple[str, ...] = ()
    """Which changes; all if none is named."""
    switch_seeds: tuple[int, ...] = (0,)
    """Of the changes."""
    plain_seeds: tuple[int, ...] = (0, 1, 2)
    """Of the recipe in which things are changed; how much seeds differ is known from these and ours."""
    sentences: Positive = 10_000
    """Unseen sentences that are looked for."""
    changes: tuple[str, ...] = ()
    """`key.sub=value` words for all recipes."""

    @model_validator(mode="after")
    def _tenth(self) -> FakeRecipe:
        if 10 * self.static >= self.passes:
            raise ValueError(
                f"static = {self.static} of passes = {self.passes}: vectors alone take the tenth that ours may have"
            )
        return self


_DUFTER = "Dufter and Sch\u00fctze 2020, score from memory, unverified"
_SCORE = "score"


def _worse(arm: str, text: str, *, than: str = "plain") -> Claim:
    value, beside = ARMS[arm].published, ARMS["original" if than == "plain" else than].published
    figures = f"{value:.2f} : {beside:.2f}" if value is not None else f"below {beside:.2f}"
    return Claim(text, figures, _DUFTER, {than: 1, arm: -1}, _SCORE)


CLAIMS = (
    Claim("Two languages without a token in common meet in one network: training is worth more than a tenth",
          "0.70 : 0.00; sentences at layer 8 .97, tokens at layer 8 .79", "Dufter and Sch\u00fctze 2020, tables",
          {"original": 1, "untrained": -1}, _SCORE, margin=0.1),
    Claim("A recipe that begins with vectors of tokens reaches the original's score with a tenth of its tokens",
          "none: the recipe is ours", "the aim of this study", {"ours": 1, "original": -1}, _SCORE),
    _worse("lang-pos", "Without common positions they meet less"),
    _worse("lang-pos", "... and positions matter more than special tokens", than="shift-special"),
    _worse("lang-pos", "... and more than random tokens", than="no-random"),
    _worse("all three", "Without any of the three they meet less than without positions alone", than="lang-pos"),
    _worse("inv-order", "In reverse order they do not meet"),
    _worse("no-parallel", "With other texts they meet less"),
    Claim("Neighbours of the other language in hidden tokens' places help", "0.74 : 0.70", _DUFTER,
          {"knn-replace": 1, "plain": -1}, _SCORE),
)  # fmt: skip


class FakeStudy:
    """Multilinguality of English and its copy."""

    name: ClassVar = "fake"
    title: ClassVar = "English and its copy"
    question: ClassVar = "What must two languages share to meet in one network, and how little training is enough?"
    scales: ClassVar = {
        "small": FakeRecipe(switches=_SINGLE),
        "full": FakeRecipe(original_seeds=(0, 42, 43, 100, 101), plain="original", switch_seeds=(0, 42, 43, 100, 101)),
    }
    claims: ClassVar = CLAIMS

    def run(self, folder: Path, recipe: FakeRecipe, *, say: Say) -> None:
        """Pretrain and measure every arm and seed that has no scores yet."""
        work = _Fake(folder, recipe, say)
        for arm, seeds in work.planned.items():
            for seed in seeds:
                work.measure(arm, seed)
        shutil.rmtree(folder / "arms", ignore_errors=True)

    def evidence(self, scores: Sequence[Score]) -> Mapping[str, Evidence]:
        """Multilinguality scores, seed by seed."""
        values = dict(seed_values(scores, "multilinguality", "multilinguality", [FAKE]))
        # Where things are changed in the original itself, it is not run twice.
        if "plain" not in values and "original" in values and not RECIPES.keys() >= values.keys():
            values["plain"] = values["original"]
        return {_SCORE: Evidence(values, "multilinguality score")}

    def sections(self, scores: Sequence[Score]) -> list[Section]:
        """A table of recipes and one of changes."""
        cost = {s.model: s.value for s in scores if s.metric == "tokens"}
        text = (
            "The New Testament in Basic English, sentence by sentence, and its copy in letters of a private plane, "
            "which has only special tokens in common with it; WordPiece of 2,048 tokens a language; BERT of 12 layers "
            "of width 64. Measured on verses of the Old Testament of another translation that no network saw. "
            "Sentences, tokens: how often the nearest neighbour of a sentence (mean of its states) or of a token alone "
            "is its copy, at the embeddings and at layer 8, mean of both directions. The score is the mean of the "
            "four. Tokens of the vocabulary that the New Testament does not have count as any other, so that tokens "
            "cannot reach 1. Loss: of hidden tokens in held-out sentences of English, in nats, hidden as in the arm's "
            "training. Million tokens: of both languages, those that vectors of tokens were learned from included."
        )
        found = [Section("Recipes", [f"Command: interlingua study run {self.name}", text], [
            Table("Scores, mean \u00b1 deviation over seeds", "", _COLUMNS, _rows(RECIPES, scores, cost)),
        ])]  # fmt: skip
        if rows := _rows(SWITCHES, scores, cost):
            about = (
                "One thing at a time is changed in a recipe of a tenth of the original's tokens (Muon, 30 % of them "
                "hidden), or in the original itself: the column of tokens tells which."
            )
            found.append(Section("What languages share", [about], [
                Table("Scores, mean \u00b1 deviation over seeds", "", _COLUMNS, rows),
            ]))  # fmt: skip
        return found


_COLUMNS = ["arm", "score", "sentences, 0", "sentences, 8", "tokens, 0", "tokens, 8", "loss", "seeds",
            "million tokens", "published score"]  # fmt: skip
_PARTS = ("retrieval.layer0", "retrieval.layer8", "translation.layer0", "translation.layer8")


def _rows(arms: Mapping[str, Arm], scores: Sequence[Score], cost: Mapping[str, float]) -> list[list[Cell]]:
    whole_score = seed_values(scores, "multilinguality", "multilinguality", [FAKE])
    parts = [seed_values(scores, part, "p1", [FAKE]) for part in _PARTS]
    loss = seed_values(scores, "masked", "loss", [LANG])
    return [
        [
            f"{name}: {arm.label}",
            shown(whole_score[name].values()),
            *(statistics.fmean(by[name].values()) for by in parts),
            shown(loss.get(name, {}).values()),
            len(whole_score[name]),
            round(cost[name] / 1e6, 1),
            arm.published,
        ]
        for name, arm in arms.items()
        if name in whole_score
    ]


def _pass(corpus: FakeCorpus) -> int:
    """Tokens of a pass over both languages, the two ends of each text included."""
    return 2 * (corpus.tokens + 2 * corpus.texts)


class _Fake:
    """The texts, made when they are needed, and the arms."""

    def __init__(self, folder: Path, recipe: FakeRecipe, say: Say) -> None:
        self.folder, self.recipe, self.say = folder, recipe, say
        self.file = folder / "scores.jsonl"
        self.done = {(s.model, s.seed) for s in read_scores(self.file)} if self.file.exists() else set()

    @property
    def planned(self) -> dict[str, tuple[int, ...]]:
        """Arm -> its seeds, the cheap ones first."""
        recipe = self.recipe
        if unknown := set(recipe.switches) - set(SWITCHES):
            raise RecipeError(f"switches {', '.join(sorted(unknown))}", expected=f"of {', '.join(SWITCHES)}",
                              where="switches")  # fmt: skip
        arms = dict.fromkeys(("untrained", "vectors alone", "ours"), recipe.seeds)
        arms |= dict.fromkeys(recipe.switches or SWITCHES, recipe.switch_seeds)
        arms["plain"] = recipe.plain_seeds
        if recipe.plain == "original":
            del arms["plain"]
        return {**arms, "original": recipe.original_seeds}

    def corpus(self, text: Text) -> FakeCorpus:
        """The New Testament and its copy."""
        from interlingua.probe.fake import FakeCorpus, write_fake

        path = self.folder / text / "corpus.json"
        if not path.exists():
            sentences = _sentences(TAUGHT.file(self.recipe.root))
            order = {"reverse": text == "reverse", "apart": text == "apart"}
            found = write_fake(sentences, LANG, path.parent, size=SIZE, **order)
            atomic_write(path, json.dumps(asdict(found), default=str))
            self.say(f"{text}: {found.texts:,} sentences a language, {found.tokens:,} tokens, {found.unknown} unknown")
        kept = json.loads(path.read_text(encoding="utf-8"))
        return FakeCorpus(**kept | {name: Path(kept[name]) for name in ("text", "vocab")})

    @cached_property
    def unseen(self) -> list[str]:
        """Verses of the Old Testament."""
        verses = [(name.partition(".")[0], text) for name, text in _verses(UNSEEN.file(self.recipe.root))]
        books = list(dict.fromkeys(book for book, _ in verses))
        old = set(books[: books.index("Matt")])
        return [text for book, text in verses if book in old][: self.recipe.sentences]

    def vectors(self, corpus: FakeCorpus) -> Path:
        """The folder of vectors and neighbours of the tokens of both languages."""
        from interlingua.models.checkpoint import open_tokenizer
        from interlingua.probe.tokens import token_vectors
        from interlingua.text.pairs import read_parallel

        folder = self.folder / "tokens"
        if not (folder / "neighbours.npy").exists():
            texts = [one for row in read_parallel(Path(corpus.text)) for one in row.texts.items()]
            texts.sort(key=lambda one: one[0] != LANG)
            found = token_vectors(
                open_tokenizer(corpus.vocab), texts, width=WIDTH, epochs=self.recipe.static, say=self.say
            )
            for name, table in (("vectors", found.vectors), ("neighbours", found.neighbours(5))):
                buffer = io.BytesIO()
                np.save(buffer, table)
                atomic_write(folder / f"{name}.npy", buffer.getvalue())
        return folder

    def plan(self, name: str, seed: int) -> tuple[PretrainRecipe, int]:
        """The recipe of an arm, and how many tokens its vectors were learned from."""
        from interlingua.recipe_file import load_recipe

        arm, corpus = ARMS[name], self.corpus(ARMS[name].text)
        words, static = list(arm.words), 0
        if arm.near or arm.begins:
            tables, static = self.vectors(corpus), self.recipe.static * 2 * corpus.tokens
            knn = ["objectives.0.knn=0.3", f"objectives.0.neighbours={tables / 'neighbours.npy'}"]
            words += knn if arm.near else [f"model.vectors={tables / 'vectors.npy'}"]
        # Where each language has half of the texts, they are passed over twice as often.
        both = self.corpus("text")
        tokens, batch, dropout = self.recipe.passes * _pass(both), round(SENTENCES * _pass(both) / both.texts / 2), 0.1
        short = name in SWITCHES and self.recipe.plain == "short"
        if arm.begins or short:
            tokens, batch, dropout = tokens // 10, 2048, 0.0
        if short:
            words = [*_SHORT, *words]
        # What vectors or neighbours were learned from counts as seen.
        steps = max(1, round((tokens - static) / batch))
        tree: dict[str, Any] = {
            "name": f"{name.replace(' ', '-')}-{seed}",
            "seed": seed,
            "data": {"parallel": [str(corpus.text)], "exponent": 1.0, "pivot": LANG},
            "vocab": {"path": str(corpus.vocab)},
            "model": {"family": "bert", "hidden": WIDTH, "layers": 12, "heads": 1, "feed_forward": 4 * WIDTH,
                      "positions": 512, "dropout": dropout},
            "objectives": [{"type": "mlm"}],
            "train": {"steps": steps, "batch_tokens": batch, "row_length": 128, "lr": 2e-3, "beta2": 0.999,
                      "warmup": min(0.1, WARMUP / steps), "evaluate_every": 10**6, "save_every": 500},
        }  # fmt: skip
        return load_recipe(tree, PretrainRecipe, [*words, *self.recipe.changes]), static

    def measure(self, name: str, seed: int) -> None:
        """Pretrain an arm, unless that was done, and write its scores."""
        from interlingua.pretrain import pretrain
        from interlingua.probe.fake import fake_sides
        from interlingua.probe.multilinguality import multilinguality

        if (name, seed) in self.done:
            return
        recipe, static = self.plan(name, seed)
        run = self.folder / "arms" / recipe.name
        result = whole(pretrain(recipe, run))
        sides = fake_sides(result.checkpoint, self.unseen, LANG)
        found = multilinguality(*sides)
        last = json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        seen = sum(last["drawn_tokens"].values()) + static
        held = last["held_out"]["mlm"]
        rows = found.scores(name, LANG, n=(len(sides[0].sentences), len(sides[0].tokens)), seed=seed)
        rows += [Score(name, "masked", lang, "held-out", "loss", held[lang], 1, seed) for lang in (LANG, FAKE)]
        rows.append(Score(name, "cost", "und", "-", "tokens", seen, 1, seed))
        append_scores(self.file, rows)
        # A study leaves numbers; the recipe that stays makes the weights again.
        shutil.rmtree(run / "checkpoints")
        perplexity = math.exp(statistics.fmean(held.values()))
        self.say(f"{recipe.name}: {recipe.train.steps:,} steps, {seen:,} tokens; multilinguality {found.score:.3f}, "
                 f"perplexity of hidden tokens {perplexity:.1f}")  # fmt: skip


def _verses(path: Path) -> list[tuple[str, str]]:
    """Verse id and text of a table."""
    from interlingua.text.documents import table_cells
    from interlingua.text.lines import ReadReport

    header, *rows = (cells for _, cells in table_cells(path, ReadReport(), "raise"))
    verse, text = header.index("verse_id"), header.index("text")
    return [(cells[verse], cells[text]) for cells in rows]


def _sentences(path: Path) -> list[str]:
    """The sentences of a table's verses, cut behind marks that end one."""
    return [part.strip() for _, text in _verses(path) for part in re.split(r"(?<=[.?!;:])\s+", text) if part.strip()]
