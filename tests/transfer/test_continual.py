"""Streams of tasks: what is kept of earlier steps, exact resume, and the measures of forgetting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from scipy.stats import chisquare
from tests.fixtures_models import tiny_config
from transformers import AutoModel

from interlingua.errors import RecipeError
from interlingua.models.encoder import Encoder
from interlingua.recipe_continual import ContinualRecipe, RetainRecipe, StepRecipe
from interlingua.recipe_transfer import LabelledFile, TaskRecipe, TuneRecipe
from interlingua.scores import Score
from interlingua.tasks import Span
from interlingua.transfer.continual import continual
from interlingua.transfer.finetune import build_task, open_tuned, read_examples
from interlingua.transfer.forgetting import forgetting, score_matrix
from interlingua.transfer.retain import Buffer, Distillation, Reservoir, frozen_copy
from interlingua.transfer.shared import Headed, new_heads
from interlingua.transfer.tune import tune_once

TUNE = TuneRecipe(epochs=2, batch_size=8, lr=1e-3, threads=1, freeze=1)
LANGS = ("en", "de", "es")


@pytest.fixture
def encoder(hf_tokenizer: Any) -> Encoder:
    torch.manual_seed(0)
    config = tiny_config("bert", vocabulary=len(hf_tokenizer), pad_token_id=hf_tokenizer.pad_token_id)
    return Encoder("tiny", AutoModel.from_config(config).eval(), hf_tokenizer, "query: ", 100)


@pytest.fixture
def topics(tiny_texts: dict[str, list[str]], tmp_path: Path) -> TaskRecipe:
    """Short texts against long ones, in three languages."""
    found = []
    for lang in LANGS:
        rows = "".join(f"{t[:12]}\tshort\n{t} {t}\tlong\n" for t in tiny_texts[lang][:12])
        (tmp_path / f"{lang}.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
        found.append(LabelledFile(path=tmp_path / f"{lang}.tsv", lang=lang))
    return TaskRecipe(name="topics", train=tuple(found), dev=tuple(found), test=tuple(found))


@pytest.fixture
def words(tiny_texts: dict[str, list[str]], tmp_path: Path) -> TaskRecipe:
    """Words that begin with a capital letter against others, in English."""
    lines = ("".join(f"{w}\t{'X' if w[0].isupper() else 'y'}\n" for w in t.split()[:8]) for t in tiny_texts["en"][:16])
    (tmp_path / "tags.tsv").write_text("\n".join(lines), encoding="utf-8")
    file = LabelledFile(path=tmp_path / "tags.tsv", lang="en")
    return TaskRecipe(type="tag", name="words", train=(file,), test=(file,))


def weights(folder: Path, task: str = "topics") -> dict[str, torch.Tensor]:
    return open_tuned(folder / task / "seed-0").model.state_dict()


def stream_of(*tasks: TaskRecipe, **more: Any) -> ContinualRecipe:
    return ContinualRecipe(tasks=tasks, **({"tune": TUNE} | more))


def test_one_step_is_single_task_tuning_bit_for_bit(encoder: Encoder, topics: TaskRecipe, tmp_path: Path) -> None:
    """A stream of one step with all languages against tune_once, as saved."""
    recipe = stream_of(topics, steps=(StepRecipe(name="all"),), tune=TUNE.model_copy(update={"select": "target-dev"}))
    continual(recipe, tmp_path / "run", encoder=encoder)
    examples = read_examples(topics, topics.train)
    task = build_task(topics, examples)
    single = tune_once(encoder, task, examples, recipe.tune, seed=0, dev_examples=examples).model.state_dict()
    ours = weights(tmp_path / "run")
    assert all(torch.equal(value, ours[name]) for name, value in single.items())


def test_brakes_without_force_change_nothing(encoder: Encoder, topics: TaskRecipe, tmp_path: Path) -> None:
    """Strength 0 is sequential tuning bit for bit; next to 0 with the whole way run, to 1e-7 (sums are rounded)."""
    for name, retain in (
        ("plain", RetainRecipe()),
        ("zero", RetainRecipe(ewc=0, ewc_examples=3, l2_sp=0, lwf=0, replay=0, lr_factor=1)),
        ("little", RetainRecipe(ewc=1e-20, ewc_examples=3, l2_sp=1e-20, lwf=1e-20)),
    ):
        continual(stream_of(topics, retain=retain), tmp_path / name, encoder=encoder)
    plain, zero, little = (weights(tmp_path / name) for name in ("plain", "zero", "little"))
    for name, value in plain.items():
        assert torch.equal(value, zero[name]), name
        torch.testing.assert_close(value, little[name], rtol=0, atol=1e-7)


@pytest.mark.parametrize("brake", [{"ewc": 1e4, "ewc_examples": 16}, {"l2_sp": 1e3}, {"lwf": 100.0}], ids=str)
def test_brakes_keep_the_network_where_it_was(
    brake: dict[str, Any], encoder: Encoder, topics: TaskRecipe, tmp_path: Path
) -> None:
    """With a strong brake the second step moves less of what the brake is about than without.

    EWC: weights, by how much they mattered; L2-SP: weights; LwF: outputs on the second step's texts.
    """
    steps = (StepRecipe(langs=("en",)), StepRecipe(langs=("es",)))
    texts = [e.text for e in read_examples(topics, topics.train) if e.lang == "es"]
    moved = {}
    for name, strength in (("plain", 1e-20), ("braked", 1.0)):
        scaled = {key: value if key == "ewc_examples" else value * strength for key, value in brake.items()}
        continual(
            stream_of(topics, steps=steps, retain=RetainRecipe(**scaled), keep="all"), tmp_path / name, encoder=encoder
        )
        first = tmp_path / name / "training" / "seed-0" / "after-1"
        before, after = open_tuned(first / "topics"), open_tuned(tmp_path / name / "topics" / "seed-0")
        if "lwf" in brake:
            inputs = before.tokenizer(texts, return_tensors="pt", padding=True)
            with torch.no_grad():
                moved[name] = float((before.model(**inputs).logits - after.model(**inputs).logits).norm())
            continue
        mattered = load_file(first / "fisher.safetensors")
        now = dict(after.model.named_parameters())
        moved[name] = sum(
            float((mattered.get(_key(n), torch.ones(())) * (p - now[n]).square()).sum().detach())
            for n, p in before.model.named_parameters()
        )
    assert moved["braked"] < 0.5 * moved["plain"]


def _key(name: str) -> str:
    """What a parameter of BERT with a classifier is called in the file of what mattered."""
    own = name.startswith(("classifier.", "bert.pooler.", "bert.encoder.layer.3."))
    return f"topics/{name}" if own else f"body/{name.removeprefix('bert.')}"


def test_a_stream_that_was_cut_off_goes_on_between_steps(
    encoder: Encoder, topics: TaskRecipe, words: TaskRecipe, tmp_path: Path
) -> None:
    """Weights and scores, with all brakes on, against the run that was not stopped; no finished step comes again."""
    retain = RetainRecipe(replay=7, replay_share=0.5, ewc=10, ewc_examples=4, l2_sp=0.1, lwf=0.5, lr_factor=0.7)
    steps = (
        StepRecipe(task="topics", langs=("en",)),
        StepRecipe(task="words"),
        StepRecipe(task="topics", langs=("de",)),
        StepRecipe(task="topics", langs=("es",)),
    )
    recipe = stream_of(topics, words, steps=steps, retain=retain)
    stream, scores = continual(recipe, tmp_path / "whole", encoder=encoder)
    assert stream.names == ["topics/en", "words/en", "topics/de", "topics/es"]

    class CutError(Exception):
        pass

    taught: list[int] = []

    def stop(seed: int, step: int, progress: Any) -> None:
        taught.append(step)
        if step == 3 and progress.step == 2 and taught.count(3) == 2:
            raise CutError

    with pytest.raises(CutError):
        continual(recipe, tmp_path / "cut", encoder=encoder, on_step=stop)
    taught_before = len(taught)
    _, again = continual(recipe, tmp_path / "cut", encoder=encoder, on_step=stop)
    assert set(taught[taught_before:]) == {3, 4}
    assert again == scores
    for task in ("topics", "words"):
        one, other = weights(tmp_path / "whole", task), weights(tmp_path / "cut", task)
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    said: list[str] = []
    continual(recipe, tmp_path / "cut", encoder=encoder, say=said.append)
    assert "seed 0: finished before" in said
    assert not list((tmp_path / "cut").rglob("after-*"))


def test_scores_are_those_of_the_verb_that_evaluates(encoder: Encoder, topics: TaskRecipe, tmp_path: Path) -> None:
    """The last row of the matrix against evaluate(); all cells are there, also those of steps to come."""
    from interlingua.evaluate import evaluate

    stream, scores = continual(stream_of(topics), tmp_path / "run", encoder=encoder)
    matrix = score_matrix(scores, stream.names, stream.metrics)
    assert matrix.shape == (4, 3)
    assert np.isfinite(matrix).all()
    tuned = open_tuned(tmp_path / "run" / "topics" / "seed-0")
    wanted = {
        s.language: s.value
        for s in evaluate([tuned], read_examples(topics, topics.test))
        if s.metric == "accuracy"
    }  # fmt: skip
    assert matrix[-1].tolist() == [wanted[name] for name in stream.names]


def test_another_task_leaves_the_first_one_s_head_alone(
    encoder: Encoder, topics: TaskRecipe, words: TaskRecipe, tmp_path: Path
) -> None:
    """After a step of another task the head's weights are those before it, the body's are not; both networks share."""
    steps = (StepRecipe(task="topics", langs=("en",)), StepRecipe(task="words"))
    continual(stream_of(topics, words, steps=steps, keep="all"), tmp_path / "run", encoder=encoder)
    first = open_tuned(tmp_path / "run" / "training" / "seed-0" / "after-1" / "topics").model.state_dict()
    last, tagger = weights(tmp_path / "run"), weights(tmp_path / "run", "words")
    assert torch.equal(first["classifier.weight"], last["classifier.weight"])
    name = "bert.encoder.layer.2.output.dense.weight"
    assert not torch.equal(first[name], last[name])
    assert torch.equal(last[name], tagger[name])


def test_rates_fall_from_step_to_step(
    encoder: Encoder, topics: TaskRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peak rates that the optimiser is given: of the network, and of its head."""
    import interlingua.train.optim as optim

    rates, build = [], optim.build_optimizer

    def spy(groups: Sequence[Any], **more: Any) -> Any:
        rates.append([rate for _, rate in groups][:2])
        return build(groups, **more)

    monkeypatch.setattr(optim, "build_optimizer", spy)
    continual(stream_of(topics, retain=RetainRecipe(lr_factor=0.5)), tmp_path / "run", encoder=encoder)
    np.testing.assert_allclose(rates, [[1e-3, 1e-3], [5e-4, 5e-4], [2.5e-4, 2.5e-4]])


def test_a_reservoir_is_a_uniform_sample() -> None:
    """How often each of 20 items is among the 5 kept, also after shrinking: chi-square at 0.1 %, seeds fixed."""
    for shrunk in (False, True):
        counts = np.zeros(20)
        for seed in range(4000):
            reservoir: Reservoir[int] = Reservoir(8 if shrunk else 5, seed)
            for item in range(20):
                if shrunk and item == 14:
                    reservoir.shrink(5)
                reservoir.add(item)
            assert len(set(reservoir.items)) == 5
            counts[reservoir.items] += 1
        assert chisquare(counts).pvalue > 0.001


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(1, 25), st.integers(0, 3))
def test_a_buffer_keeps_as_many_of_each(sizes: list[int], size: int, seed: int) -> None:
    """Quotas by hand; the same items whatever the steps were cut into within a group."""
    whole, pieces = Buffer[int](size, seed), Buffer[int](size, seed)
    for group, count in enumerate(sizes):
        whole.add({group: list(range(count))})
        pieces.add({group: list(range(count // 2))})
        pieces.add({group: list(range(count // 2, count))})
    assert whole.items == pieces.items
    each, more = divmod(size, len(sizes))
    for number, (group, items) in enumerate(whole.items.items()):
        assert len(items) == min(sizes[group], each + (number < more)) or len(items) <= each + (number < more)
    assert len(whole.items[len(sizes) - 1]) == min(sizes[-1], each + (len(sizes) - 1 < more))


def test_the_buffer_does_not_depend_on_the_batch_size(
    encoder: Encoder, topics: TaskRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens of what is replayed in the last step, at two batch sizes; of each language as many."""
    import interlingua.transfer.continual as module

    seen: dict[int, list[Any]] = {}
    by_task = module._by_task
    for batch_size in (4, 16):

        def spy(buffer: Any, size: int = batch_size) -> Any:
            seen[size] = [(e.lang, e.tokens.tolist()) for items in by_task(buffer).values() for e in items]
            return by_task(buffer)

        monkeypatch.setattr(module, "_by_task", spy)
        tune = TUNE.model_copy(update={"batch_size": batch_size})
        recipe = stream_of(topics, retain=RetainRecipe(replay=10), tune=tune)
        continual(recipe, tmp_path / str(batch_size), encoder=encoder)
    assert seen[4] == seen[16]
    assert Counter(lang for lang, _ in seen[4]) == {"en": 5, "de": 5}


@pytest.mark.parametrize("kind", ["classify", "tag"])
def test_distillation_is_torch_s_divergence(kind: str, encoder: Encoder, topics: TaskRecipe, words: TaskRecipe) -> None:
    """T^2 F.kl_div of the logits of plain forward passes; 0 where nothing has changed; pieces add up."""
    recipe = topics if kind == "classify" else words
    examples = read_examples(recipe, recipe.train)[:6]
    (headed,) = new_heads(encoder, [build_task(recipe, examples)], TUNE, seed=0)
    teacher = frozen_copy(headed.model.eval())
    encoded, _ = headed.task.encode(examples, headed.tokenizer, max_length=64)
    batch = headed.task.batch(encoded, headed.tokenizer)
    distillation = Distillation(headed, teacher, temperature=2.0)
    targets = distillation.prepare(batch, np.random.default_rng(0))
    assert float(distillation.loss(headed.model, batch, targets).total.detach()) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        headed.model.classifier.weight.add_(torch.randn_like(headed.model.classifier.weight))
        wanted = 0.0
        for one in encoded:
            inputs = {"input_ids": torch.from_numpy(one.tokens)[None]}
            logits = [m(**inputs).logits[0] / 2 for m in (headed.model, teacher)]
            if kind == "tag":
                logits = [x[torch.from_numpy(one.words[one.words >= 0])] for x in logits]
            now, before = (x.log_softmax(-1) for x in logits)
            wanted += 4 * float(F.kl_div(now, before, log_target=True, reduction="sum"))
    loss = distillation.loss(headed.model, batch, targets)
    assert float(loss.total.detach()) == pytest.approx(wanted, rel=1e-4)
    parts = 0.0
    for start, stop in ((0, 1), (1, batch.rows)):
        piece = batch.select_rows(start, stop)
        own = distillation.rows(targets, batch, start, stop)
        parts += float(distillation.loss(headed.model, piece, own).total.detach()) if piece.segments else 0.0
    assert parts == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(RecipeError, match="'span'"):
        Distillation(Headed(Span(), headed.model, headed.tokenizer, 0), teacher)


def test_a_frozen_copy_shares_what_does_not_learn(encoder: Encoder, topics: TaskRecipe) -> None:
    """Frozen parameters are the same tensors; the others are copies that take no gradient."""
    (headed,) = new_heads(encoder, [build_task(topics, read_examples(topics, topics.train))], TUNE, seed=0)
    other = dict(frozen_copy(headed.model).named_parameters())
    assert any(not p.requires_grad for p in headed.model.parameters())
    for name, parameter in headed.model.named_parameters():
        assert (other[name] is parameter) == (not parameter.requires_grad), name
        assert not other[name].requires_grad
        assert torch.equal(parameter, other[name])


def test_measures_by_hand() -> None:
    """The formulas of the papers on a matrix of three steps, in plain Python."""
    rows = [[0.1, 0.2, 0.3], [0.9, 0.4, 0.5], [0.7, 0.8, 0.6], [0.6, 0.7, 0.9]]
    found = forgetting(np.array(rows))
    assert found.average == pytest.approx((0.6 + 0.7 + 0.9) / 3)
    assert found.backward_transfer == pytest.approx(((0.6 - 0.9) + (0.7 - 0.8)) / 2)
    assert found.forgetting == pytest.approx(((0.9 - 0.6) + (0.8 - 0.7)) / 2)
    assert found.forward_transfer == pytest.approx(((0.4 - 0.2) + (0.6 - 0.3)) / 2)
    assert np.isnan(forgetting(np.array([[0.1], [0.9]])).backward_transfer)
    scores = [
        Score(f"after-{k}", "t", lang, f"step{j}", "accuracy", value, 5, seed)
        for k, row in enumerate(rows)
        for j, value in enumerate(row)
        for lang, seed in (("en", 0), ("de", 1))
    ]
    names = [f"step{j}" for j in range(3)]
    np.testing.assert_allclose(score_matrix(scores, names, dict.fromkeys(names, "accuracy")), rows)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"steps": (StepRecipe(task="nothing"),)}, "of task 'nothing'"),
        ({"steps": (StepRecipe(langs=("fr",)),)}, "without train examples"),
        ({"steps": (StepRecipe(langs=("en",)), StepRecipe(langs=("en",)))}, "two steps named 'en'"),
        ({"tune": TuneRecipe(method="lora")}, "'lora'"),
        ({"tune": TuneRecipe(l2_sp=1)}, "tune.l2_sp"),
    ],
)
def test_streams_that_cannot_run(changes: dict[str, Any], text: str, topics: TaskRecipe, tmp_path: Path) -> None:
    """Said before a network is opened."""
    with pytest.raises(RecipeError, match=text):
        continual(stream_of(topics, **changes), tmp_path / "run")


def test_labels_are_those_of_all_languages(encoder: Encoder, topics: TaskRecipe, tmp_path: Path) -> None:
    """A label that only a later language has is known to the head from the start."""
    file = tmp_path / "es.tsv"
    file.write_text(file.read_text(encoding="utf-8") + "jina\tname\n", encoding="utf-8")
    said: list[str] = []
    stream, _ = continual(stream_of(topics), tmp_path / "run", encoder=encoder, say=said.append)
    assert stream.tasks[0].labels == ("long", "name", "short")
    assert "label 'name': 1 in es; none in en, de" in said
