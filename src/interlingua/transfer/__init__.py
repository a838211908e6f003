"""Teaching a task in one language to a network that knows many."""

from interlingua.transfer.finetune import build_task, finetune, open_tuned, read_examples, save_tuned
from interlingua.transfer.freezing import freeze
from interlingua.transfer.heads import new_head
from interlingua.transfer.tune import Tuned, tune_once

__all__ = [
    "Tuned",
    "build_task",
    "finetune",
    "freeze",
    "new_head",
    "open_tuned",
    "read_examples",
    "save_tuned",
    "tune_once",
]
