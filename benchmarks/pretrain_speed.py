"""Pretraining tokens/s: our loop and transformers.Trainer with its MLM collator.

The same BERT (H256 L6, dropout 0, same initial weights), the same text, the same number of steps and tokens a step,
one process after the other, in turn. Trainer has its best settings: texts grouped into full blocks (no padding),
fused AdamW, no logging, and the better of one and two threads. Prints one JSON line a run.

    python benchmarks/pretrain_speed.py ours|trainer --vocabulary 30000 --steps 8 --threads 2 --text FILE
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

BLOCK, ROWS, HIDDEN, LAYERS = 128, 32, 256, 6


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def config(vocabulary: int, pad: int):
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=4 * HIDDEN,
        max_position_embeddings=BLOCK,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=pad,
    )


def texts(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line]


def trainer(arguments: argparse.Namespace) -> dict[str, float]:
    import torch
    from transformers import (
        AutoTokenizer,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    torch.set_num_threads(arguments.threads)
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    ids = [
        i
        for row in tokenizer(texts(arguments.text), add_special_tokens=True, return_attention_mask=False)["input_ids"]
        for i in row
    ]
    need = BLOCK * ROWS * (arguments.steps + arguments.warmup)
    ids = (ids * (need // len(ids) + 1))[:need]
    blocks = [{"input_ids": ids[i : i + BLOCK]} for i in range(0, need, BLOCK)]
    torch.manual_seed(0)
    model = BertForMaskedLM(config(arguments.vocabulary, tokenizer.pad_token_id))
    marks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as out:
        run = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=out,
                per_device_train_batch_size=ROWS,
                max_steps=arguments.steps + arguments.warmup,
                optim="adamw_torch_fused",
                learning_rate=1e-3,
                report_to=[],
                logging_strategy="no",
                save_strategy="no",
                disable_tqdm=True,
                use_cpu=True,
                seed=0,
            ),
            train_dataset=blocks,
            data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15),
            callbacks=[Clock()],
        )
        run.train()
    spent = marks[-1] - marks[arguments.warmup - 1]
    return {"tokens_per_second": BLOCK * ROWS * arguments.steps / spent, "peak_mb": peak_mb()}


def ours(arguments: argparse.Namespace) -> dict[str, float]:
    import torch
    from transformers import BertForMaskedLM

    from interlingua.models.checkpoint import open_tokenizer
    from interlingua.objectives.build import build_mixture
    from interlingua.recipe import MLMRecipe, TrainRecipe
    from interlingua.shards import ShardSet, Stream, write_shards
    from interlingua.text.documents import Document
    from interlingua.train.loop import train

    tokenizer = open_tokenizer(arguments.tokenizer)
    marks: list[tuple[float, int]] = []
    tokens = 0
    with tempfile.TemporaryDirectory() as folder:
        documents = (Document(t, "en", "bench", i) for i, t in enumerate(texts(arguments.text)))
        write_shards(Path(folder), documents, tokenizer, ["en"], held_out=0)
        shards = ShardSet(Path(folder) / "train")
        stream = Stream(shards, tokenizer, seed=0, batch_tokens=BLOCK * ROWS, row_length=BLOCK)
        torch.manual_seed(0)
        model = BertForMaskedLM(config(arguments.vocabulary, tokenizer.pad_token_id))

        def on_step(progress) -> None:
            # Padding never counts: only real tokens of the packed rows do.
            batch = stream.batch(progress.step - 1)
            marks.append((time.perf_counter(), batch.tokens))

        mixture = build_mixture([MLMRecipe()], tokenizer, how="sample", seed=0)
        train(
            model,
            tokenizer,
            stream,
            mixture,
            TrainRecipe(
                steps=arguments.steps + arguments.warmup, batch_tokens=BLOCK * ROWS, row_length=BLOCK, lr=1e-3,
                threads=arguments.threads,
            ),
            seed=0,
            on_step=on_step,
        )  # fmt: skip
    tokens = sum(count for _, count in marks[arguments.warmup :])
    spent = marks[-1][0] - marks[arguments.warmup - 1][0]
    return {"tokens_per_second": tokens / spent, "peak_mb": peak_mb()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["ours", "trainer"])
    parser.add_argument("--vocabulary", type=int, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    chosen = parser.parse_args()
    print(json.dumps({"side": chosen.side, **(ours if chosen.side == "ours" else trainer)(chosen)}))
