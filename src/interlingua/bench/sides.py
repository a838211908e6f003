"""A side of a comparison: a process of its own that reads its work as JSON and answers with a line of JSON.

Memory and threads of one side would disturb the other. Price: importing torch again for every measurement.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from interlingua.errors import RunError

__all__ = ["answer", "ask", "run_trainer", "with_torchs_products"]


def ask(module: str, side: str, work: dict[str, Any]) -> dict[str, Any]:
    """Run ``module.main()`` in a process of its own.

    Args:
        module: dotted name.
        side: name of the side, its first argument.
        work: what it reads from standard input, as JSON.

    Raises:
        RunError: the process failed; its last words are in the message.
    """
    environment = os.environ | {
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", f"from {module} import main; main()", side],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise RunError(
            f"{side} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:] or 'no message'}",
            where=f"side {side} of {module}",
        )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def answer(sides: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
    """Run the side that the command line names; what it returns, and its peak memory, go to standard output."""
    row = sides[sys.argv[1]](json.load(sys.stdin))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write("\n" + json.dumps(row | {"side": sys.argv[1], "peak_mb": peak_mb}) + "\n")


def with_torchs_products(side: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The same side with torch's own matrix products, whatever the processor."""

    def plain(*work: Any) -> dict[str, Any]:
        os.environ["INTERLINGUA_ONEDNN"] = "0"
        return side(*work)

    return plain


def run_trainer(
    model: Any, rows: Sequence[dict[str, Any]], collator: Callable[..., Any], **arguments: Any
) -> tuple[list[float], list[float]]:
    """Train with ``transformers.Trainer`` on rows in their order: fused AdamW, a linear schedule, no logging or saving.

    Args:
        model: trained in place.
        rows: as many as the steps need.
        collator: rows to a batch.
        arguments: further ones of ``TrainingArguments``.

    Returns:
        Times before the first step and after every one, and the losses of the steps.
    """
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class InOrder(torch.utils.data.IterableDataset[dict[str, Any]]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            return iter(rows)

    marks, losses = [time.perf_counter()], []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(time.perf_counter())

    class Recording(Trainer):  # type: ignore[misc]
        def compute_loss(self, *args: Any, **more: Any) -> Any:
            loss = super().compute_loss(*args, **more)
            losses.append(float(loss.detach()))
            return loss

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            optim="adamw_torch_fused",
            lr_scheduler_type="linear",
            report_to=[],
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
            **arguments,
        )
        Recording(
            model=model, args=settings, train_dataset=InOrder(), data_collator=collator, callbacks=[Clock()]
        ).train()
    return marks, losses
