"""Several gloo ranks against one process: the same losses and the same weights, in-batch negatives included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = """
import json, sys
import numpy as np
import torch, torch.distributed as dist
from transformers import BertConfig, BertForMaskedLM
from interlingua.models.checkpoint import open_tokenizer
from interlingua.objectives import AlignedTexts, MaskedLM, Masking, MomentumQueue, TranslationRanking, WordAlignment
from interlingua.objectives.mix import Mixture
from interlingua.objectives.simcse import DropoutPairs
from interlingua.recipe import TrainRecipe
from interlingua.shards import ShardSet, Stream
from interlingua.text import AlignedPair
from interlingua.train.loop import train

rank, world, meet, shards, vocab, out = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
torch.set_num_threads(1)
if world > 1:
    dist.init_process_group("gloo", init_method="file://" + meet, rank=rank, world_size=world)
from pathlib import Path
tokenizer = open_tokenizer(Path(vocab))
stream = Stream(ShardSet(Path(shards) / "train"), tokenizer, seed=3, batch_tokens=600, row_length=96)
torch.manual_seed(0)
model = BertForMaskedLM(BertConfig(
    vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
    max_position_embeddings=96, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    pad_token_id=tokenizer.pad_token_id)).double()
links = frozenset({(0, 0), (1, 1), (2, 1)})
pairs = [
    AlignedPair(("the", f"word{i}", "x"), ("das", f"Wort{i}"), "en", "de", links, frozenset(), "") for i in range(40)
]
aligned = WordAlignment(AlignedTexts(pairs, tokenizer, stream.languages, held_out=0.0))
ranking = TranslationRanking(languages=3, queue=MomentumQueue(model, size=50, momentum=0.9))
masked = MaskedLM(Masking(tokenizer.mask_token_id, np.arange(300, 900)))
mixture = Mixture([ranking, aligned, DropoutPairs(), masked], [1.0, 1.0, 1.0, 1.0], how="sum", seed=0)
losses = []
recipe = TrainRecipe(steps=4, lr=1e-2, threads=1, device="cpu", warmup=0.0)
train(model, tokenizer, stream, mixture, recipe, seed=5, on_step=lambda p: losses.append(p.losses))
if rank == 0:
    torch.save(model.state_dict(), out)
    print(json.dumps(losses))
if world > 1:
    dist.barrier()
    dist.destroy_process_group()
"""


def run(folder: Path, world: int, shards: Path, vocab: Path) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    folder.mkdir()
    words = [str(folder / "meet"), str(shards), str(vocab), str(folder / "weights.pt")]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), str(world), *words], stdout=subprocess.PIPE, text=True
        )
        for rank in range(world)
    ]
    printed = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * world
    return json.loads(printed[0].splitlines()[-1]), torch.load(folder / "weights.pt")


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_compute_what_one_process_does(tmp_path, shard_folder, hf_tokenizer, world):
    """Four steps of ranking with a queue, word alignment, dropout pairs and masked LM, in float64."""
    vocab = tmp_path / "vocab"
    hf_tokenizer.save_pretrained(vocab)
    losses, weights = run(tmp_path / "one", 1, shard_folder, vocab)
    shared_losses, shared_weights = run(tmp_path / "many", world, shard_folder, vocab)
    for one, many in zip(losses, shared_losses, strict=True):
        assert one.keys() == many.keys() == {"contrast", "align", "simcse", "mlm"}
        for name, value in one.items():
            assert many[name] == pytest.approx(value, rel=1e-9), name
    for name, value in weights.items():
        torch.testing.assert_close(shared_weights[name], value, rtol=0, atol=1e-9, msg=name)
