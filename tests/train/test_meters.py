"""train/flops.py and train/meters.py against torch's counter of operations, TensorBoard's reader, and clocks."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AlbertConfig, AlbertForMaskedLM, BertConfig, BertForMaskedLM

from interlingua.batch import rows_from_texts
from interlingua.errors import MissingExtraError
from interlingua.objectives import MaskedLM, Masking
from interlingua.objectives.base import Part
from interlingua.run import Run
from interlingua.train.flops import FlopCounter, peak_rate
from interlingua.train.meters import Meters, TensorBoard
from interlingua.train.prefetch import Prefetcher

V, D = 800, 64


@pytest.fixture
def torchs_products(monkeypatch):
    """Products that torch's counter knows, on any processor."""
    monkeypatch.setattr("interlingua.models.linear.onednn_is_quicker", lambda: False)


SHAPE = {"vocab_size": V, "hidden_size": D, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 128,
         "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip


def work(lengths, *, pack, rate=0.15):
    """One part of a step over texts of these lengths."""
    chance = np.random.default_rng(0)
    texts = [np.concatenate([[2], chance.integers(5, V, n - 2), [3]]) for n in lengths]
    batch = rows_from_texts(texts, pad_id=0, row_length=48, special_ids=np.arange(5), pack=pack)
    objective = MaskedLM(Masking(4, np.arange(5, V), rate=rate))
    return Part(0, objective, 1.0), batch, objective.prepare(batch, np.random.default_rng(1))


def counted(model, part, batch, targets) -> int:
    """What torch counts in a forward and backward pass; in-place products (one of the three of the output) it leaves
    out, and scaled_dot_product_attention on a CPU as well."""
    with FlopCounterMode(display=False) as counter:
        part.objective.loss(model, batch, targets).total.backward()
    return counter.get_total_flops() + 2 * targets.count * V * model.get_input_embeddings().weight.shape[1]


def attention_by_hand(batch, *, highest: float) -> float:
    lengths = torch.bincount(batch.segments_BL.flatten())[1:].double()
    return 12 * D * float((lengths**2).sum()) * (2 + highest)


@pytest.mark.usefixtures("torchs_products")
def test_matrices_are_what_torch_counts():
    """BERT, every token predicted, so that nothing is asked of some tokens only."""
    model = BertForMaskedLM(BertConfig(**SHAPE))
    part, batch, targets = work([48] * 6, pack=False)
    everything = batch.tokens - 2 * 6
    part, batch, targets = work([48] * 6, pack=False, rate=1.0)
    assert targets.count == everything
    ours = FlopCounter(model).step([(part, batch, targets)])
    share = everything / batch.tokens
    expected = counted(model, part, batch, targets) + attention_by_hand(batch, highest=share)
    assert ours == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("torchs_products")
def test_the_highest_layer_counts_what_is_asked():
    """BERT at 15 %: torch's count, which is a little larger where rows are filled up to the longest."""
    model = BertForMaskedLM(BertConfig(**SHAPE))
    part, batch, targets = work([20, 28, 16, 32, 48], pack=True)
    ours = FlopCounter(model).step([(part, batch, targets)])
    asked = targets.count / batch.tokens
    matrices = ours - attention_by_hand(batch, highest=asked)
    assert 0.97 * counted(model, part, batch, targets) < matrices <= counted(model, part, batch, targets)


def test_attention_is_what_torch_counts():
    """Plain transformers with its products written out: scores and sums over values, both directions of both passes."""
    model = BertForMaskedLM(BertConfig(**SHAPE, attn_implementation="eager"))
    tokens = torch.randint(5, V, (4, 40))
    with FlopCounterMode(display=False) as counter:
        model.bert(tokens).last_hidden_state.sum().backward()
    products = counter.get_flop_counts()["Global"][torch.ops.aten.bmm]
    assert products == 12 * D * (4 * 40**2) * 3


@pytest.mark.usefixtures("torchs_products")
def test_shared_layers_count_as_often_as_they_run():
    """ALBERT: one layer's weights, run three times."""
    config = AlbertConfig(**SHAPE, embedding_size=32, attn_implementation="sdpa")
    model = AlbertForMaskedLM(config)
    part, batch, targets = work([48] * 6, pack=False)
    ours = FlopCounter(model).step([(part, batch, targets)])
    expected = counted(model, part, batch, targets) + attention_by_hand(batch, highest=1.0)
    # The map from embeddings to the layers' width is part of the embeddings.
    assert ours == pytest.approx(expected - 6 * batch.tokens * 32 * D, rel=0.01)


def test_the_rate_is_a_matrix_product_s():
    """Between a tenth and ten times what a product of other sizes reaches."""
    rate = peak_rate(torch.device("cpu"))
    a, b = torch.randn(512, 1024), torch.randn(1024, 512)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - begin)
    assert 0.1 < rate / (2 * 512 * 1024 * 512 / min(times)) < 10


def test_readings(monkeypatch):
    """Speed, padding and data wait of a step of two seconds in which the loop waited for half a second."""
    clock = iter([10.0, 12.0, 12.0])
    monkeypatch.setattr("interlingua.train.meters.time.perf_counter", lambda: next(clock))
    meters = Meters(torch.device("cpu"), None, ranks=1)
    prepared = [work([20, 28, 16], pack=False)]
    readings = meters.read(prepared, 0.5)
    assert readings.tokens_per_second == 64 / 2
    assert readings.padding == pytest.approx(1 - 64 / (3 * 28))
    assert readings.data_wait == 0.25
    assert readings.flops_utilisation is None
    assert readings.memory_mb > 10
    assert meters.tokens == 64


def test_waiting_for_a_slow_maker_is_counted():
    """A maker that takes a tenth of a second, asked at once: about that is waited; asked later, nothing."""
    fetch = Prefetcher(lambda t: time.sleep(0.1) or t, 0, 3)
    assert fetch.get(0) == 0
    assert 0.05 < fetch.waited < 5
    time.sleep(0.5)
    before = fetch.waited
    assert fetch.get(1) == 1
    assert fetch.waited - before < 0.05
    fetch.close()


def test_tensorboard_reads_what_the_log_says(tmp_path):
    """Rows written there, read by TensorBoard's own reader; rows after a resumed step are dropped."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows = [{"step": i, "loss": {"mlm": 9.0 - i}, "lr": 0.5, "held_out": {"mlm": {"de": 2.0}}} for i in (1, 2, 3)]
    with Run(tmp_path / "run", "a: 1\n") as run:
        board = TensorBoard(run, 0)
        for row in rows:
            board.write(row)
        board.close()
        again = TensorBoard(run, 2)
        again.write({"step": 3, "loss": {"mlm": 1.0}})
        again.close()
    found = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {"loss/mlm", "lr", "held_out/mlm/de"}
    assert [(e.step, e.value) for e in found.Scalars("loss/mlm")] == [(1, 8.0), (2, 7.0), (3, 1.0)]


def test_tensorboard_that_is_not_there(tmp_path, monkeypatch):
    """The message holds the line that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with Run(tmp_path / "run", "a: 1\n") as run, pytest.raises(MissingExtraError, match="tensorboard"):
        TensorBoard(run, 0)


def test_what_the_formula_does_not_fit_is_not_counted():
    """Networks beside the model, and encoder-decoders."""
    model = BertForMaskedLM(BertConfig(**SHAPE))
    assert FlopCounter.of(model, {}) is not None
    assert FlopCounter.of(model, {"generator": torch.nn.Linear(2, 2)}) is None
    model.config.is_encoder_decoder = True
    assert FlopCounter.of(model, {}) is None
