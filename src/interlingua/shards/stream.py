"""Batch t as a pure function of (seed, t).

In: a :class:`~interlingua.shards.ShardSet` and the shares of its languages. Out: :class:`~interlingua.batch.Batch`.
Decision: a batch is a fixed number of draws (so many that they come to about ``batch_tokens``), packed into rows by
first-fit-decreasing; which texts stand in batch t follows from the number of the draw alone, so there is no state to
save: resuming is asking for the next t. The global batch is the same for any number of ranks; a rank takes every
world-th row. Price: the number of tokens varies a few percent from batch to batch.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch

from interlingua.batch import Batch, rows_from_texts
from interlingua.errors import LanguageError, RecipeError, ShardError, nearest
from interlingua.languages import smoothed
from interlingua.shards.read import Located, ShardSet, Which
from interlingua.shards.sampling import DrawPlan, keyed_generator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Layout", "PhasedStream", "Source", "Stream", "Text", "Transform"]


@dataclass(frozen=True)
class Text:
    """A text on its way into a batch.

    Attributes:
        tokens: ids, int64 [n].
        starts: True where a token begins a word, bool [n].
        languages: language index of each token, int64 [n].
    """

    tokens: np.ndarray
    starts: np.ndarray
    languages: np.ndarray


class Transform(Protocol):
    """Another text for a text; a pure function of the text and the generator."""

    def __call__(self, text: Text, chance: np.random.Generator) -> Text:
        """The text that is used instead."""
        ...


class Source(Protocol):
    """Texts that do not come from the shards, laid out as a stream lays its own."""

    def has(self, split: str) -> bool:
        """Whether there are texts of a split (``train``, ``held-out``)."""
        ...

    def batch(self, t: int, stream: Stream) -> Batch:
        """Global batch ``t`` of the stream's split, a pure function of the stream's seed and ``t``."""
        ...


@dataclass(frozen=True)
class Layout:
    """What one draw is and how it is laid out.

    Attributes:
        kind: ``single``: one text a segment; ``running``: a row cut from running text as one segment (every text
            begins a row once an epoch); ``joined``: a translation pair as one segment; ``apart``: the texts of a
            translation group as linked segments; ``ordered``: two texts of a document as one segment, the second with
            token type 1, labelled 0 where they follow one another and 1 where they do not.
        languages: ``apart``: how many languages of a group are taken.
        restart_positions: ``joined``: positions restart at the second side.
        wrong: ``ordered``: what half of the pairs are: ``swapped``; or a second text ``other``, of another document,
            ``same``, from elsewhere in this one, or ``either``, one or the other as often. Where there is no such text
            (a language is one document, a document two texts) the other kind is taken, and else the two are swapped.
        transform: what is done to every text before it is laid out (code-switching).
        source: texts of the objective's own instead of the shards'; the other fields then say nothing.
    """

    kind: Literal["single", "running", "joined", "apart", "ordered"] = "single"
    languages: int = 2
    restart_positions: bool = True
    wrong: Literal["swapped", "other", "same", "either"] = "swapped"
    transform: Transform | None = None
    source: Source | None = None

    @property
    def which(self) -> Which:
        """The units that are drawn."""
        drawn: dict[str, Which] = {"joined": "linked", "apart": "linked", "ordered": "following"}
        return drawn.get(self.kind, "all")


#: By what is drawn: its name, what the shards should hold, and what to do.
_ABSENT: dict[Which, tuple[str, str, str]] = {
    "all": ("text", "text in at least one of them", "correct data.weights or the phases' languages"),
    "linked": (
        "translations",
        "pairs or parallel files for translation objectives, and data.weights for both sides",
        "add data.pairs or data.parallel, or drop the objectives that need them (tlm, contrast)",
    ),
    "following": (
        "documents of more than one text",
        "texts that follow one another in a document, for objectives that learn their order",
        "name documents in the input (a field `document`, or paragraphs: true for txt), make data.unit_tokens smaller "
        "so that long texts are divided, or drop the objectives that need them (nsp, sop)",
    ),
}


class Stream:
    """Batches from shards.

    Args:
        shards: where the texts are.
        tokenizer: gives the special ids.
        seed: of the run.
        batch_tokens: about so many tokens a batch.
        row_length: tokens a row; longer texts are cut to fit (counted in ``cut_tokens``).
        exponent: S of p^S over languages.
        cap: largest share of a language.
        weights: fixed shares instead.
        only: languages drawn at all; all where None.
        pivot: translation groups are drawn with this language as one member where it is there.
        window: texts of a language whose order is drawn together; 0: all of them.
    """

    def __init__(
        self,
        shards: ShardSet,
        tokenizer: PreTrainedTokenizerBase,
        *,
        seed: int,
        batch_tokens: int,
        row_length: int,
        exponent: float = 0.7,
        cap: float = 1.0,
        weights: Mapping[str, float] | None = None,
        only: Collection[str] | None = None,
        pivot: str | None = "en",
        window: int = 0,
    ) -> None:
        if row_length < 8:
            raise RecipeError(f"row_length = {row_length}", expected="at least 8", where="train.row_length")
        self.shards = shards
        self.languages = shards.languages
        self.split: str = shards.manifest["split"]
        self.seed = seed
        self.window = window
        self.batch_tokens = batch_tokens
        self.row_length = row_length
        weights = dict(weights or {})
        #: Languages drawn, by index; partners in translation groups come from them where there are any.
        self._wanted = {
            i
            for i, lang in enumerate(self.languages)
            if (not weights or weights.get(lang, 0) > 0) and (only is None or lang in only)
        }
        self.pivot = pivot if pivot in {self.languages[i] for i in self._wanted} else None
        self.cut_tokens = 0
        self.drawn: dict[str, int] = dict.fromkeys(self.languages, 0)
        self._first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
        self._last = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        self._pad = tokenizer.pad_token_id
        self._specials = np.array(tokenizer.all_special_ids)
        self._vocabulary = len(tokenizer)
        for lang in only or ():
            if lang not in self.languages:
                raise LanguageError(
                    f"language {lang!r}{nearest(lang, self.languages)}, which the shards do not hold",
                    expected=f"one of {', '.join(self.languages)}",
                    where="data.phases",
                )
        kinds: tuple[Which, ...] = ("all", "linked", "following")
        self._plans = {which: self._plan(exponent, cap, weights, which) for which in kinds}

    def _plan(self, exponent: float, cap: float, weights: dict[str, float], which: Which) -> DrawPlan | None:
        sizes = {
            lang: self.shards.count(lang, which)
            for i, lang in enumerate(self.languages)
            if weights or i in self._wanted
        }
        if which == "linked" and self.pivot and any(n for lang, n in sizes.items() if lang != self.pivot):
            # The pivot comes along as a partner; drawing it first as well would favour groups with many languages.
            sizes.pop(self.pivot)
        present = {lang: n for lang, n in sizes.items() if n}
        if not present:
            return None
        if weights and which == "all":
            return DrawPlan(sizes, weights, self.seed, window=self.window)
        # With fewer languages than the cap needs (pairs leave the pivot out) they share alike.
        shares = smoothed(present, exponent, cap=max(cap, 1 / len(present)))
        if weights:
            shares = {lang: weights[lang] for lang in present if weights.get(lang, 0) > 0}
        if not shares:
            return None
        return DrawPlan(present, shares, self.seed + 1 + (which == "following"), window=self.window)

    def plan(self, layout: Layout) -> DrawPlan:
        """The schedule of draws a layout uses.

        Raises:
            ShardError: the layout needs translations, or documents of several texts, and the shards hold none.
        """
        plan = self._plans[layout.which]
        if plan is None:
            what, expected, next_step = _ABSENT[layout.which]
            raise ShardError(
                f"no {what} of the languages drawn in the shards",
                expected=expected,
                where=str(self.shards.folder),
                next_step=next_step,
            )
        return plan

    def can(self, layout: Layout) -> bool:
        """Whether there is text for a layout."""
        return self._plans[layout.which] is not None if layout.source is None else layout.source.has(self.split)

    def draws(self, layout: Layout) -> int:
        """Draws a batch of this layout."""
        plan = self.plan(layout)
        if layout.kind == "running":
            return max(1, round(self.batch_tokens / self.row_length))
        before, after = plan.drawn_before(0), plan.drawn_before(1)
        weights = np.array([b - a for a, b in zip(before, after, strict=True)], dtype=float)
        room = self._room(layout)
        means = [min(room, self.shards.mean_tokens(lang)) + 2 for lang in plan.languages]
        texts = {"single": 1, "joined": 2, "ordered": 2}.get(layout.kind, layout.languages)
        return max(1, round(self.batch_tokens / (texts * float(np.average(means, weights=weights)))))

    def _room(self, layout: Layout) -> int:
        return (self.row_length - 3) // 2 if layout.kind in {"joined", "ordered"} else self.row_length - 2

    def batch(self, t: int, layout: Layout | None = None) -> Batch:
        """Global batch ``t`` of a layout."""
        layout = layout or Layout()
        if layout.source is not None:
            return layout.source.batch(t, self)
        groups, wrong, chance = self._chosen(t, layout)
        if layout.kind == "running":
            return self.laid_out([self._running(group[0], layout, chance) for group in groups], [])
        if layout.kind == "ordered":
            return self._ordered(groups, wrong, layout, chance)
        if layout.kind == "joined":
            return self._joined(groups, layout, chance)
        links, at = [], 0
        for group in groups:
            links += [(at + i, at + j) for i in range(len(group)) for j in range(i + 1, len(group))]
            at += len(group)
        texts = [self._text(unit, self._room(layout), layout, chance) for group in groups for unit in group]
        return self.laid_out(texts, links)

    def units(self, t: int, layout: Layout | None = None) -> list[list[Located]]:
        """Where the texts of batch ``t`` come from: the units of every segment (of running text: the first)."""
        layout = layout or Layout()
        if layout.source is not None:
            return []
        groups, _, _ = self._chosen(t, layout)
        return (
            groups
            if layout.kind in {"running", "ordered", "joined"}
            else [[unit] for group in groups for unit in group]
        )

    def _chosen(self, t: int, layout: Layout) -> tuple[list[list[Located]], np.ndarray, np.random.Generator]:
        """The units that belong together, which pairs of them are not in order, and the generator as it is then."""
        plan, count = self.plan(layout), self.draws(layout)
        languages, units = plan.draw(t * count, (t + 1) * count)
        chance = keyed_generator(self.seed, t, 2)
        located = [
            self.shards.unit(plan.languages[lang], number, layout.which)
            for lang, number in zip(languages.tolist(), units.tolist(), strict=True)
        ]
        wrong = np.zeros(0, dtype=bool)
        if layout.which == "all":
            groups = [[unit] for unit in located]
        elif layout.kind == "ordered":
            wrong = chance.random(len(located)) < 0.5
            groups = [
                self._pair(unit, layout, chance, wrong=w) for unit, w in zip(located, wrong.tolist(), strict=True)
            ]
        else:
            wanted = 2 if layout.kind == "joined" else layout.languages
            groups = [self._members(unit, wanted, chance) for unit in located]
            groups = _merged(groups) if layout.kind == "apart" else groups
        return groups, wrong, chance

    def laid_out(
        self,
        texts: list[Text],
        links: list[tuple[int, int]],
        positions: list[np.ndarray] | None = None,
        types: list[np.ndarray] | None = None,
    ) -> Batch:
        """Texts as packed rows of this stream's length."""
        return rows_from_texts(
            [text.tokens for text in texts],
            word_starts=[text.starts for text in texts],
            token_languages=[text.languages for text in texts],
            positions=positions,
            types=types,
            links=links,
            pad_id=self._pad,
            row_length=self.row_length,
            special_ids=self._specials,
        )

    def _members(self, unit: Located, wanted: int, chance: np.random.Generator) -> list[Located]:
        """The drawn unit, the pivot if it is a translation, and others at random; the pivot comes first."""
        others = self.shards.translations(unit)
        others = [o for o in others if o.language in self._wanted] or others
        pivot = self.languages.index(self.pivot) if self.pivot else -1
        first = [o for o in others if o.language == pivot][:1]
        rest = [o for o in others if o.language not in (pivot, unit.language)]
        spare = wanted - 1 - len(first)
        picked = [rest[i] for i in chance.permutation(len(rest))[:spare]] if spare > 0 and rest else []
        return [*first, unit, *picked]

    def _bare(self, unit: Located, layout: Layout, chance: np.random.Generator) -> Text:
        """A unit's text without specials, transformed."""
        tokens, starts = unit.shard.tokens(unit.unit), unit.shard.starts(unit.unit)
        if len(tokens) and tokens.max() >= self._vocabulary:
            raise ShardError(
                f"token {tokens.max()} in unit {unit.unit} of {unit.shard.path.name!r}",
                expected=f"tokens below {self._vocabulary}: the file was altered after it was opened",
                where=str(unit.shard.path),
                next_step="restore the file; the same command goes on from the last checkpoint",
            )
        self.drawn[self.languages[unit.language]] += 1
        text = Text(tokens, starts, np.full(len(tokens), unit.language))
        return layout.transform(text, chance) if layout.transform else text

    def _text(self, unit: Located, room: int, layout: Layout, chance: np.random.Generator) -> Text:
        """A unit's text between specials, cut to the room there is."""
        return self.framed(self._bare(unit, layout, chance), room, unit.language)

    def framed(self, text: Text, room: int, language: int) -> Text:
        """A text between specials, cut to the room there is."""
        self.cut_tokens += max(0, len(text.tokens) - room)
        return Text(
            np.concatenate([[self._first], text.tokens[:room], [self._last]]),
            np.concatenate([[True], text.starts[:room], [True]]),
            np.pad(text.languages[:room], 1, constant_values=language),
        )

    def _running(self, first: Located, layout: Layout, chance: np.random.Generator) -> Text:
        """A row of running text: a unit and those that follow it in its language, a closing special between.

        Units follow one another as they did in the input; behind the last comes the first.
        """
        language, number, index = self.languages[first.language], self.shards.number(first), first.language
        count = self.shards.count(language)

        def special(token: int) -> Text:
            return Text(np.array([token]), np.array([True]), np.array([index]))

        pieces, length = [special(self._first)], 1
        while length < self.row_length:
            text = self._bare(self.shards.unit(language, number % count), layout, chance)
            pieces += [text, special(self._last)]
            length += len(text.tokens) + 1
            number += 1
        return Text(
            np.concatenate([piece.tokens for piece in pieces])[: self.row_length],
            np.concatenate([piece.starts for piece in pieces])[: self.row_length],
            np.concatenate([piece.languages for piece in pieces])[: self.row_length],
        )

    def _joined(self, groups: list[list[Located]], layout: Layout, chance: np.random.Generator) -> Batch:
        joined, positions = [], []
        for first, second in groups:
            a, b = (self._text(unit, self._room(layout), layout, chance) for unit in (first, second))
            joined.append(_one_segment(a, b))
            length = len(b.tokens) - 1
            begin = 0 if layout.restart_positions else len(a.tokens)
            positions.append(np.concatenate([np.arange(len(a.tokens)), np.arange(begin, begin + length)]))
        return self.laid_out(joined, [], positions)

    def _ordered(
        self, groups: list[list[Located]], wrong: np.ndarray, layout: Layout, chance: np.random.Generator
    ) -> Batch:
        """Pairs of texts as one segment each, labelled."""
        segments, types = [], []
        for pair in groups:
            a, b = (self._text(one, self._room(layout), layout, chance) for one in pair)
            segments.append(_one_segment(a, b))
            types.append(np.repeat([0, 1], [len(a.tokens), len(b.tokens) - 1]))
        batch = self.laid_out(segments, [], types=types)
        return replace(batch, labels=torch.from_numpy(wrong.astype(np.int64)))

    def _pair(self, second: Located, layout: Layout, chance: np.random.Generator, *, wrong: bool) -> list[Located]:
        """The unit behind the one it goes on with, or a wrong pair."""
        first = replace(second, unit=second.unit - 1)
        if not wrong:
            return [first, second]
        elsewhere = self._elsewhere(first, layout, chance)
        return [second, first] if elsewhere is None else [first, elsewhere]

    def _elsewhere(self, first: Located, layout: Layout, chance: np.random.Generator) -> Located | None:
        """A text that does not follow ``first``; None where the two are to be swapped."""
        if layout.wrong == "swapped":
            return None
        document, language = first.shard.document(first.unit), self.languages[first.language]
        apart = self.shards.count(language) > len(document)
        here = layout.wrong == "same" or (layout.wrong == "either" and chance.random() < 0.5)
        if len(document) > 2 and (here or not apart):
            skipped = first.unit - document.start
            place = int(chance.integers(len(document) - 2))
            return replace(first, unit=document[place + 2 * (place >= skipped)])
        if apart:
            return self.shards.outside(first, int(chance.integers(self.shards.count(language) - len(document))))
        return None


def _one_segment(a: Text, b: Text) -> Text:
    """Two texts behind one opening special."""
    return Text(*(np.concatenate([getattr(a, n), getattr(b, n)[1:]]) for n in ("tokens", "starts", "languages")))


class PhasedStream:
    """Streams that take over from one another: languages join, S is annealed (mmBERT, Marone et al. 2025).

    Args:
        streams: one a phase, over the same shards; each draws its texts in an order of its own.
        begins: share of the run's steps at which each phase begins; the first is 0.
        steps: of the run.
    """

    def __init__(self, streams: Sequence[Stream], begins: Sequence[float], *, steps: int) -> None:
        if list(begins) != sorted(set(begins)) or len(begins) != len(streams) or begins[0] != 0 or begins[-1] >= 1:
            raise RecipeError(
                f"phases that begin at {list(begins)!r}",
                expected="0, then rising shares of the steps below 1",
                where="data.phases",
            )
        self.streams = tuple(streams)
        self._first_steps = [round(begin * steps) for begin in begins]
        self.languages = streams[0].languages

    def at(self, t: int) -> Stream:
        """The stream of step ``t``."""
        return self.streams[bisect.bisect_right(self._first_steps, t) - 1]

    def plan(self, layout: Layout) -> None:
        """Refuse a layout that some phase has no data for."""
        for stream in self.streams:
            if layout.source is None:
                stream.plan(layout)

    def units(self, t: int, layout: Layout | None = None) -> list[list[Located]]:
        """Where the texts of batch ``t`` come from."""
        return self.at(t).units(t, layout)

    def batch(self, t: int, layout: Layout | None = None) -> Batch:
        """Global batch ``t`` of a layout."""
        return self.at(t).batch(t, layout)

    @property
    def drawn(self) -> dict[str, int]:
        """Texts drawn by this process, per language."""
        return {lang: sum(stream.drawn[lang] for stream in self.streams) for lang in self.languages}

    @property
    def cut_tokens(self) -> int:
        """Tokens cut because a text was longer than a row."""
        return sum(stream.cut_tokens for stream in self.streams)


def _merged(groups: list[list[Located]]) -> list[list[Located]]:
    """One group for all draws of the same translation group: none of its texts is a wrong candidate for another."""
    merged: dict[tuple[Path, int], list[Located]] = {}
    for group in groups:
        shard = group[0].shard
        members = merged.setdefault((shard.path, int(shard.translations(group[0].unit)[0])), [])
        members += [unit for unit in group if unit not in members]
    return list(merged.values())
