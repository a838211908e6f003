"""Copies and near copies: numpy against sets, exact Jaccard similarity and datatrove's own MinHash."""

from __future__ import annotations

import itertools
import random
import re
from pathlib import Path

import numpy as np
import pytest
from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.word_tokenizers import WordTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fixtures_corpora import kept_texts, write_lines

from interlingua.prepare import build_corpus
from interlingua.prepare.letters import Letters
from interlingua.prepare.likeness import MinHash, exact_keys, shingles
from interlingua.recipe_corpus import CorpusRecipe

WORDS = [f"{a}{b}{c}" for a in "bdklmnprst" for b in "aeiou" for c in ("n", "r", "lo", "ti", "sa", "ku")]


def sentences(count: int, length: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=length)) for _ in range(count)]


def grams(text: str, size: int) -> set[tuple[str, ...]]:
    tokens = re.findall(r"[^\W_]+", text.lower())
    return {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([*WORDS[:8], "Ab", "aB", "ΟΔΟΣ", "é", "E"]), max_size=12), min_size=1, max_size=6)
)
def test_shingles_are_those_of_plain_sets(texts: list[list[str]]) -> None:
    # Oracle: tuples of lower-case words in Python sets (accents folded by hand); equal iff the hashes are.
    plain = [grams(" ".join(words).replace("é", "e"), 3) for words in texts]
    hashes, starts = shingles(Letters([", ".join(words) for words in texts]), 3)
    found = [set(hashes[a:b].tolist()) for a, b in itertools.pairwise(starts)]
    assert [len(s) for s in found] == [len(s) for s in plain]
    for i in range(len(texts)):
        for j in range(len(texts)):
            assert jaccard(found[i], found[j]) == jaccard(plain[i], plain[j])


def test_scripts_without_spaces_are_cut_at_characters() -> None:
    tokens, bounds = Letters(["日本語、です", "ภาษาไทย", "two words", "漢字kanji漢"]).tokens
    assert np.diff(bounds).tolist() == [5, 7, 2, 4]
    assert len(tokens) == 18


def test_signatures_agree_as_often_as_the_sets_do() -> None:
    # Oracle: exact Jaccard similarity; the share of equal minima is binomial with that mean (four deviations allowed).
    minhash = MinHash(64, 16)
    for seed, changed in enumerate((0, 2, 6, 12, 25)):
        first = sentences(1, 120, seed)[0].split()
        second = list(first)
        for place in random.Random(seed).sample(range(120), changed):
            second[place] = "xx"
        pair = [" ".join(first), " ".join(second)]
        signatures = minhash.signatures(*shingles(Letters(pair), 5))
        share = float((signatures[:, 0] == signatures[:, 1]).mean())
        exact = jaccard(grams(pair[0], 5), grams(pair[1], 5))
        assert abs(share - exact) <= 4 * np.sqrt(exact * (1 - exact) / 1024) + 1e-9


def test_signatures_do_not_depend_on_the_batch() -> None:
    texts = sentences(300, 30, 7)
    minhash = MinHash(14, 8)
    together = minhash.signatures(*shingles(Letters(texts), 5))
    alone = np.concatenate([minhash.signatures(*shingles(Letters([text]), 5)) for text in texts], axis=1)
    np.testing.assert_array_equal(together, alone)


@given(st.lists(st.tuples(st.sampled_from(["en", "de"]), st.text(max_size=5)), min_size=1, max_size=30))
def test_keys_are_equal_where_group_and_text_are(rows: list[tuple[str, str]]) -> None:
    keys = exact_keys([group for group, _ in rows], [text.encode() for _, text in rows])
    assert len({tuple(key) for key in keys.tolist()}) == len(set(rows))


def near_corpus() -> list[str]:
    """Originals of 120 words, some followed later by a copy with one word changed; the rest share nothing."""
    originals = sentences(200, 120, 3)
    chance = random.Random(5)
    copies = []
    for text in chance.sample(originals, 60):
        words = text.split()
        words[chance.randrange(120)] = "changed"
        copies.append(" ".join(words))
    return originals + copies


def test_finds_the_near_copies_that_exact_similarity_names(tmp_path: Path) -> None:
    # Oracle: all pairs by exact Jaccard similarity (0.9 and more, or under 0.1: none in between), the first kept.
    texts = near_corpus()
    sets = [grams(text, 5) for text in texts]
    similar = [[j for j in range(i) if jaccard(sets[i], sets[j]) > 0.5] for i in range(len(texts))]
    expected = [text for text, earlier in zip(texts, similar, strict=True) if not earlier]
    assert len(expected) == 200
    source = write_lines(tmp_path / "near.jsonl", texts)
    recipe = CorpusRecipe(sources=[{"path": source, "lang": "en"}], identify={"declared": "trust"}, task_mb=0.02)
    build_corpus(recipe, tmp_path / "out")
    assert kept_texts(tmp_path / "out", "en") == expected


class Spaces(WordTokenizer):
    """Words between spaces, for datatrove, which has no tokenizer of its own that needs no further package."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        raise NotImplementedError


def test_keeps_as_many_as_datatrove(tmp_path: Path) -> None:
    # Oracle: datatrove's four MinHash stages on the same texts; it keeps one of each group, we keep the first.
    texts = near_corpus()
    config = MinhashConfig(hash_config=HashConfig(hash_fc="sha1"))
    folders = [str(tmp_path / name) for name in ("sig", "buckets", "remove")]
    documents = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]
    stages = [
        ([documents, MinhashDedupSignature(folders[0], config, language=Spaces())], 1),
        ([MinhashDedupBuckets(folders[0], folders[1], config=config)], config.num_buckets),
        ([MinhashDedupCluster(folders[1], folders[2], config=config)], 1),
        ([documents, MinhashDedupFilter(folders[2]), JsonlWriter(str(tmp_path / "kept"), compression=None)], 1),
    ]
    for number, (steps, tasks) in enumerate(stages):
        LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(tmp_path / f"logs{number}")).run()
    theirs = sum(len(file.read_text().splitlines()) for file in (tmp_path / "kept").glob("*.jsonl"))
    source = write_lines(tmp_path / "near.jsonl", texts)
    build_corpus(
        CorpusRecipe(sources=[{"path": source, "lang": "en"}], identify={"declared": "trust"}), tmp_path / "out"
    )
    assert len(kept_texts(tmp_path / "out", "en")) == theirs == 200


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.sampled_from([0.001, 0.003, 1.0]))
def test_the_first_copy_stays(tmp_path_factory: pytest.TempPathFactory, numbers: list[int], task_mb: float) -> None:
    # Oracle: dict.fromkeys keeps the first of each; the input is cut into tasks of different sizes.
    texts = [f"{sentences(1, 20, 100 + number)[0]}" for number in numbers]
    folder = tmp_path_factory.mktemp("copies")
    source = write_lines(folder / "in.jsonl", texts)
    recipe = CorpusRecipe(sources=[{"path": source, "lang": "en"}], identify={"declared": "trust"}, task_mb=task_mb)
    result = build_corpus(recipe, folder / "out")
    assert kept_texts(folder / "out", "en") == list(dict.fromkeys(texts))
    assert result.statistics is not None
    row = result.statistics["texts"]["en"]
    assert row["read"] == len(texts)
    assert row["dropped"].get("copy", 0) == len(texts) - len(set(texts))
