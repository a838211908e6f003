"""Teaching a task in one language to a network that knows many."""

from interlingua.transfer.finetune import Tuned, build_task, finetune, read_examples, tune_once

__all__ = ["Tuned", "build_task", "finetune", "read_examples", "tune_once"]
