"""Several tasks on one body: one task alone is single-task tuning; what is saved opens in plain transformers."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import DataError, RecipeError
from interlingua.models.checkpoint import save_checkpoint
from interlingua.models.encoder import Encoder
from interlingua.recipe_multitask import MixRecipe, MultitaskRecipe
from interlingua.recipe_transfer import LabelledFile, TaskRecipe, TuneRecipe
from interlingua.tasks import Answer, Question, TaggedSentence, TextExample
from interlingua.tasks.labels import label_differences, mapped, read_mapping
from interlingua.transfer.finetune import build_task, read_examples
from interlingua.transfer.multitask import TaskExamples, multitask, teach_together
from interlingua.transfer.shared import new_heads
from interlingua.transfer.together import OnHead, Schedule, Uncertain, apportioned
from interlingua.transfer.tune import tune_once

TUNE = TuneRecipe(epochs=2, batch_size=8, lr=1e-3, threads=1, freeze="none")


def tiny_encoder(family: str, tokenizer: Any, *, prefix: str = "") -> Encoder:
    torch.manual_seed(0)
    config = tiny_config(family, vocabulary=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    return Encoder("tiny", AutoModel.from_config(config).eval(), tokenizer, prefix, 100)


@pytest.fixture
def texts(tiny_texts: dict[str, list[str]]) -> list[TextExample]:
    """Short texts against long ones."""
    rows = []
    for lang in ("en", "de"):
        for text in tiny_texts[lang][:20]:
            rows += [TextExample(text[:12], lang, "short"), TextExample(text + " " + text, lang, "long")]
    return rows


@pytest.fixture
def sentences(tiny_texts: dict[str, list[str]]) -> list[TaggedSentence]:
    """Words that begin with a capital letter against others."""
    found = []
    for text in tiny_texts["en"][:30]:
        words = tuple(text.split()[:8])
        found.append(TaggedSentence(words, tuple("X" if w[0].isupper() else "y" for w in words), "en"))
    return found


@pytest.fixture
def questions(tiny_texts: dict[str, list[str]]) -> list[Question]:
    """The first word is the answer."""
    return [
        Question(str(i), "what first", text, (Answer(text.split()[0], 0),), "en")
        for i, text in enumerate(tiny_texts["en"][:12])
    ]


def set_of(examples: list[Any], **recipe: Any) -> TaskExamples:
    return TaskExamples(build_task(TaskRecipe(**recipe), examples), examples)


@pytest.mark.parametrize("prefix", ["", "query: "])
@pytest.mark.parametrize(
    "changes",
    [{}, {"freeze": 2}, {"l2_sp": 0.1}, {"method": "bitfit"}, {"select": "source-dev"}, {"layer_decay": 0.5}],
    ids=str,
)
def test_one_task_is_single_task_tuning_bit_for_bit(
    changes: dict[str, Any], prefix: str, hf_tokenizer: Any, texts: list[TextExample]
) -> None:
    """Every weight of the network against tune_once's."""
    encoder, tune = tiny_encoder("bert", hf_tokenizer, prefix=prefix), TUNE.model_copy(update=changes)
    task = build_task(TaskRecipe(), texts)
    dev = texts[::3] if tune.select != "last" else []
    single = tune_once(encoder, task, texts, tune, seed=1, dev_examples=dev)
    (headed,), said = teach_together(encoder, [TaskExamples(task, texts, dev)], tune, seed=1)
    ours = headed.model.state_dict()
    for name, value in single.model.state_dict().items():
        assert torch.equal(value, ours[name]), name
    assert said.split(",")[0] == single.selection.split(",")[0]


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_heads_share_one_body(
    family: str, hf_tokenizer: Any, texts: list[TextExample], sentences: list[TaggedSentence]
) -> None:
    """After a run, every parameter of the bare encoder is the same tensor in both networks, and has learnt."""
    encoder = tiny_encoder(family, hf_tokenizer, prefix="query: " if family == "bert" else "")
    sets = [set_of(sentences, type="tag", name="words"), set_of(texts, name="lengths")]
    (tagger, classifier), _ = teach_together(encoder, sets, TUNE, seed=0)
    before = encoder.model.state_dict()
    theirs = dict(classifier.model.base_model.named_parameters())
    for name, parameter in tagger.model.base_model.named_parameters():
        assert parameter is theirs[name], name
    changed = [n for n, p in tagger.model.base_model.named_parameters() if not torch.equal(p, before[n])]
    assert any("layers.0." in n or "layer.0." in n for n in changed)


def test_three_types_learn_and_open_in_plain_transformers(
    hf_tokenizer: Any,
    texts: list[TextExample],
    sentences: list[TaggedSentence],
    questions: list[Question],
    tmp_path: Path,
) -> None:
    """Losses fall; logits of the saved networks in a process without us against ours in this one."""
    from interlingua.transfer.finetune import save_tuned

    encoder = tiny_encoder("bert", hf_tokenizer, prefix="query: ")
    sets = [
        set_of(texts, name="lengths"),
        set_of(sentences, type="tag", name="words"),
        set_of(questions, type="span", name="first", stride=8, max_question=8),
    ]
    losses: dict[str, list[float]] = {"lengths": [], "words": [], "first": []}
    heads, _ = teach_together(
        encoder, sets, TUNE.model_copy(update={"epochs": 4}), seed=0,
        on_step=lambda p: [losses[name].append(x) for name, x in p.losses.items()],
    )  # fmt: skip
    for name, values in losses.items():
        assert np.mean(values[-2:]) < np.mean(values[:2]), name
    code = (
        "import sys; sys.modules['interlingua'] = None\nimport torch, transformers\n"
        "t = transformers.AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "m = getattr(transformers, sys.argv[2]).from_pretrained(sys.argv[1]).eval()\n"
        "with torch.no_grad(): out = m(**t(sys.argv[3], return_tensors='pt'))\n"
        "print(list(out.values())[0].flatten().tolist())"
    )
    for headed in heads:
        folder = tmp_path / headed.task.name
        save_tuned(headed.tuned(0, ""), folder)
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder), headed.task.auto, texts[0].text],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        with torch.no_grad():
            own = headed.model(**headed.tokenizer(texts[0].text, return_tensors="pt"))
        wanted = next(iter(own.values())).flatten().tolist()
        np.testing.assert_allclose(np.array(eval(done.stdout)), wanted, atol=1e-5)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 5))
def test_apportioned_steps(sizes: list[int], more: int) -> None:
    """Sizes as shares give sizes back; any shares give at least one each and the wanted sum."""
    assert apportioned(sum(sizes), sizes) == sizes
    counts = apportioned(sum(sizes) + more, [1.0] * len(sizes))
    assert sum(counts) == sum(sizes) + more
    assert max(counts) - min(counts) <= 1


def test_the_schedule_shows_every_example_once_an_epoch(
    hf_tokenizer: Any, texts: list[TextExample], sentences: list[TaggedSentence]
) -> None:
    """Tokens of all batches of an epoch against those of all examples, by stream."""
    from interlingua.tasks import TaskStream

    sets = [set_of(texts, name="a"), set_of(sentences, type="tag", name="b")]
    heads = new_heads(tiny_encoder("bert", hf_tokenizer), [s.task for s in sets], TUNE, seed=0)
    encoded = [h.task.encode(s.train, h.tokenizer, max_length=64)[0] for h, s in zip(heads, sets, strict=True)]
    streams = [TaskStream(h.task, e, h.tokenizer, batch_size=7, seed=3) for h, e in zip(heads, encoded, strict=True)]
    counts = [s.steps_an_epoch for s in streams]
    schedule = Schedule(streams, [OnHead(h) for h in heads], counts, epochs=2, seed=3, model=heads[0].model)
    for epoch in range(2):
        seen: Counter[tuple[int, int]] = Counter()
        for t in range(epoch * sum(counts), (epoch + 1) * sum(counts)):
            (part,) = schedule.parts(t)
            tokens = schedule.batch(t)
            seen.update((part.index, int(i)) for i in tokens.tokens_BL[tokens.segments_BL > 0])
        assert seen == Counter((i, int(t)) for i, e in enumerate(encoded) for one in e for t in one.tokens)
    assert [schedule.parts(t)[0].index for t in range(sum(counts))] != sorted([0] * counts[0] + [1] * counts[1])


def test_uncertainty_weighting_is_that_of_the_paper(hf_tokenizer: Any, texts: list[TextExample]) -> None:
    """exp(-s) L + s / 2 and its gradient to s, -exp(-s) L + 1/2, by hand; a run learns one s a task."""
    (headed,) = new_heads(tiny_encoder("bert", hf_tokenizer), [build_task(TaskRecipe(), texts)], TUNE, seed=0)
    encoded, _ = headed.task.encode(texts[:4], headed.tokenizer, max_length=64)
    batch = headed.task.batch(encoded, headed.tokenizer)
    inner = OnHead(headed)
    weighted = Uncertain(inner)
    with torch.no_grad():
        weighted.weight.log_variance.fill_(0.3)
    targets = weighted.prepare(batch, np.random.default_rng(0))
    plain = float(inner.loss(headed.model, batch, targets).total.detach())
    loss = weighted.loss(headed.model, batch, targets)
    assert float(loss.total.detach()) == pytest.approx(math.exp(-0.3) * plain + 0.15 * 4, rel=1e-5)
    loss.total.backward()
    assert float(weighted.weight.log_variance.grad) == pytest.approx(-math.exp(-0.3) * plain + 2, rel=1e-4)
    sets = [set_of(texts, name="a"), set_of(texts, name="b")]
    _, said = teach_together(tiny_encoder("bert", hf_tokenizer), sets, TUNE, MixRecipe(uncertainty=True), seed=0)
    assert "learnt weights a " in said
    assert ", b " in said


def files(tmp_path: Path, texts: list[TextExample], sentences: list[TaggedSentence]) -> tuple[TaskRecipe, TaskRecipe]:
    """Two tasks in files; the classification in two languages, with development texts in one."""
    for lang in ("en", "de"):
        rows = "".join(f"{e.text}\t{e.label}\n" for e in texts if e.lang == lang)
        (tmp_path / f"{lang}.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    tagged = "\n".join("".join(f"{w}\t{t}\n" for w, t in zip(s.words, s.tags, strict=True)) for s in sentences)
    (tmp_path / "tags.tsv").write_text(tagged, encoding="utf-8")
    english, german = (LabelledFile(path=tmp_path / f"{lang}.tsv", lang=lang) for lang in ("en", "de"))
    tags = LabelledFile(path=tmp_path / "tags.tsv", lang="en")
    return (
        TaskRecipe(name="lengths", train=(english, german), dev=(english,), test=(english, german)),
        TaskRecipe(type="tag", name="words", train=(tags,), test=(tags,)),
    )


def test_a_recipe_leaves_folders_that_are_found_again(
    hf_tokenizer: Any, texts: list[TextExample], sentences: list[TaggedSentence], tmp_path: Path
) -> None:
    """A second run opens what the first one saved; a language without development texts is named, or refused."""
    encoder = tiny_encoder("bert", hf_tokenizer)
    save_checkpoint(tmp_path / "model", encoder.model, hf_tokenizer)
    tasks = files(tmp_path, texts, sentences)
    recipe = MultitaskRecipe(
        model=str(tmp_path / "model"), tasks=tasks, tune=TUNE.model_copy(update={"select": "source-dev"}),
        mix=MixRecipe(over="language", weights={"lengths/en": 2, "lengths/de": 1, "words/en": 1}),
    )  # fmt: skip
    said: list[str] = []
    first = multitask(recipe, tmp_path / "run", say=said.append)
    assert "task lengths: no development examples in de; the epoch is chosen without them" in said
    second = multitask(recipe, tmp_path / "run", say=said.append)
    assert any("found in" in line for line in said)
    for name in ("lengths", "words"):
        ours, again = first[name][0].model.state_dict(), second[name][0].model.state_dict()
        assert all(torch.equal(ours[n], again[n]) for n in ours)
    with pytest.raises(RecipeError, match="no development examples in de"):
        multitask(recipe.model_copy(update={"missing_dev": "stop"}), tmp_path / "other")
    with pytest.raises(RecipeError, match="at all"):
        multitask(recipe.model_copy(update={"tasks": tasks[1:], "mix": MixRecipe()}), tmp_path / "third")
    with pytest.raises(RecipeError, match="a weight for each of lengths, words"):
        multitask(recipe.model_copy(update={"mix": MixRecipe(weights={"lengths": 1})}), tmp_path / "fourth")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"tasks": ()}, "no tasks"),
        ({"tasks": (TaskRecipe(name="a/b"),)}, "'a/b'"),
        ({"tasks": (TaskRecipe(name="a"),)}, "without training files"),
        (
            {"tasks": (TaskRecipe(name="a", train=(LabelledFile(path="x.tsv"),), shots=4),)},
            "shots = 4 in one of several",
        ),
        ({"tune": TuneRecipe(method="lora")}, "'lora'"),
        ({"tune": TuneRecipe(mixout=0.5)}, "mixout"),
    ],
)
def test_recipes_that_cannot_run(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    """Said before anything is read."""
    good = TaskRecipe(name="a", train=(LabelledFile(path=tmp_path / "none.tsv", lang="en"),))
    with pytest.raises(RecipeError, match=text):
        multitask(MultitaskRecipe(**({"tasks": (good,)} | changes)), tmp_path / "run")


def test_labels_are_merged_by_a_mapping(tmp_path: Path) -> None:
    """Whole tags and entity types, of one file and of all; what differs is named with counts."""
    (tmp_path / "map.tsv").write_text("PERSON\tPER\nDATE\tO\n", encoding="utf-8")
    (tmp_path / "own.tsv").write_text("B-X\tB-LOC\n", encoding="utf-8")
    (tmp_path / "en.tsv").write_text("Ann\tB-PERSON\nLee\tI-PERSON\nin\tO\nMay\tB-DATE\n\n", encoding="utf-8")
    (tmp_path / "de.tsv").write_text("Bonn\tB-X\n", encoding="utf-8")
    train = (
        LabelledFile(path=tmp_path / "en.tsv", lang="en"),
        LabelledFile(path=tmp_path / "de.tsv", lang="de", mapping=tmp_path / "own.tsv"),
    )
    plain = TaskRecipe(type="tag", tags="iob2", train=train)
    assert label_differences(read_examples(plain, train)) == [
        "label 'DATE': 1 in en; none in de",
        "label 'LOC': 1 in de; none in en",
        "label 'O': 1 in en; none in de",
        "label 'PERSON': 1 in en; none in de",
        "task.mapping: FILE with lines old<TAB>new merges labels",
    ]
    found = read_examples(plain.model_copy(update={"mapping": tmp_path / "map.tsv"}), train)
    assert [e.tags for e in found] == [("B-PER", "I-PER", "O", "O"), ("B-LOC",)]
    assert mapped([TextExample("x", "en", "good")], {"good": "positive"})[0].label == "positive"
    (tmp_path / "bad.tsv").write_text("a\tb\na\tc\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        read_mapping(tmp_path / "bad.tsv")
