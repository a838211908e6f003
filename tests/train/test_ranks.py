"""Several gloo ranks against one process: the same losses and the same weights, in float64.

With every rank holding the whole network (DDP, in-batch negatives included) or a part of it (FSDP2), and going on with
another number of ranks than before.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import json, os, sys
import numpy as np
import torch, torch.distributed as dist
from transformers import BertConfig, BertForMaskedLM
from interlingua.models.checkpoint import open_tokenizer
from interlingua.objectives import AlignedTexts, MaskedLM, Masking, MomentumQueue, TranslationRanking, WordAlignment
from interlingua.objectives.mix import Mixture
from interlingua.objectives.simcse import DropoutPairs
from safetensors.torch import load_file
from interlingua.recipe import TrainRecipe
from interlingua.run import Run
from interlingua.shards import ShardSet, Stream
from interlingua.text import AlignedPair
from interlingua.train.heldout import held_out_losses
from interlingua.train.loop import train

rank, world, meet, shards, vocab, out, how, stop = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
torch.set_num_threads(1)
if world > 1:
    dist.init_process_group("gloo", init_method="file://" + meet, rank=rank, world_size=world)
from pathlib import Path
tokenizer = open_tokenizer(Path(vocab))
stream = Stream(ShardSet(Path(shards) / "train"), tokenizer, seed=3, batch_tokens=600, row_length=96)
torch.manual_seed(0)
dropout = 0.0 if how == "all" else 0.1
model = BertForMaskedLM(BertConfig(
    vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
    max_position_embeddings=96, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    pad_token_id=tokenizer.pad_token_id)).double()
links = frozenset({(0, 0), (1, 1), (2, 1)})
pairs = [
    AlignedPair(("the", f"word{i}", "x"), ("das", f"Wort{i}"), "en", "de", links, frozenset(), "") for i in range(40)
]
aligned = WordAlignment(AlignedTexts(pairs, tokenizer, stream.languages, held_out=0.0))
ranking = TranslationRanking(languages=3, queue=MomentumQueue(model, size=50, momentum=0.9))
masked = MaskedLM(Masking(tokenizer.mask_token_id, np.arange(300, 900)))
everything = [ranking, aligned, DropoutPairs(), masked]
learnt = everything if how == "all" else [masked]
mixture = Mixture(learnt, [1.0] * len(learnt), how="sum", seed=0)
losses = []
recipe = TrainRecipe(steps=4, lr=1e-2, threads=1, device="cpu", warmup=0.0, clip=0.01, save_every=2, evaluate_every=3,
                     accumulate=1 if how == "all" else 4, parallel="shard" if how == "shard" else "replicate")

def after(progress):
    losses.append({**progress.losses, "held out": progress.held_out.mean if progress.held_out else 0.0})
    if progress.step == int(stop):
        sys.stdout.write(json.dumps(losses))
        sys.stdout.flush()
        os._exit(0)  # as a killed machine would

held = Stream(ShardSet(Path(shards) / "held-out"), tokenizer, seed=3, batch_tokens=300, row_length=96)
run = None if how == "all" else Run(Path(out).parent / "run", "a: 1", leads=rank == 0)
evaluate = None if how == "all" else lambda loss: held_out_losses(loss, model.device, held, [masked], batches=2)
train(model, tokenizer, stream, mixture, recipe, seed=5, run=run, on_step=after, evaluate=evaluate)
if rank == 0:
    saved = load_file(run.checkpoints / "step-000004" / "model.safetensors") if run else model.state_dict()
    torch.save(saved, out)
    print(json.dumps(losses))
if world > 1:
    dist.barrier()
    dist.destroy_process_group()
"""


def run(
    folder: Path, world: int, shards: Path, vocab: Path, how: str, stop: int = 0
) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Run the script on so many ranks; with ``stop`` they end after that step, and a second call goes on."""
    folder.mkdir(exist_ok=True)
    words = [str(folder / f"meet-{world}-{stop}"), str(shards), str(vocab), str(folder / "weights.pt"), how, str(stop)]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SCRIPT, str(rank), str(world), *words],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    printed = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * world
    return json.loads(printed[0].splitlines()[-1]), {} if stop else torch.load(folder / "weights.pt")


@pytest.fixture
def vocab(tmp_path, hf_tokenizer) -> Path:
    hf_tokenizer.save_pretrained(tmp_path / "vocab")
    return tmp_path / "vocab"


def assert_same(one, other) -> None:
    for ours, theirs in zip(one[0], other[0], strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert theirs[name] == pytest.approx(value, rel=1e-9), name
    for name, value in one[1].items():
        torch.testing.assert_close(other[1][name], value, rtol=0, atol=1e-9, msg=name)


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_compute_what_one_process_does(tmp_path, shard_folder, vocab, world):
    """Four steps of ranking with a queue, word alignment, dropout pairs and masked LM: equal to 1e-9."""
    one = run(tmp_path / "one", 1, shard_folder, vocab, "all")
    assert one[0][0].keys() == {"contrast", "align", "simcse", "mlm", "held out"}
    assert_same(one, run(tmp_path / "many", world, shard_folder, vocab, "all"))


@pytest.mark.parametrize(("how", "begun", "ended"), [("replicate", 2, 4), ("shard", 2, 2), ("shard", 2, 1),
                                                    ("replicate", 1, 2), ("shard", 4, 2)])  # fmt: skip
def test_a_run_goes_on_with_another_number_of_ranks(tmp_path, shard_folder, vocab, how, begun, ended):
    """Dropout in four pieces, clipping, held-out loss; ended after step 3 of 4, taken up at 2: equal to 1e-9."""
    whole = run(tmp_path / "one", 1, shard_folder, vocab, "replicate")
    first, _ = run(tmp_path / "many", begun, shard_folder, vocab, how, stop=3)
    second, weights = run(tmp_path / "many", ended, shard_folder, vocab, how)
    assert first[2] == pytest.approx(second[0], rel=1e-9)
    assert_same(whole, (first[:2] + second, weights))
