"""Checkpoints are Hugging Face folders, nothing else.

In: a model and its tokenizer. Out: a folder that plain ``transformers`` opens with nothing of ours installed; what
only a resumed run needs lies in ``training/`` beside it. Decisions: safetensors only; a folder appears whole or not
at all; opening checks that the task's class and the vocabulary fit before a single weight is read, and that no weight
of the network was left random. Price: pickled weights are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from interlingua.errors import CheckpointError
from interlingua.models.sharing import constrain, whole_state
from interlingua.run import atomic_folder, find_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["fingerprint", "open_checkpoint", "open_tokenizer", "save_checkpoint"]

#: What of a network a checkpoint may lack, besides the head that the asked-for class puts on it: training fills them.
HEADS = ("pooler.", "lm_head.")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and load reports of ``transformers``: what matters of them is checked and told here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """Tell of a file that the libraries cannot read in one kind of error, with its place."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{path.name!r} cannot be opened: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected="the files that belong together: config.json, tokenizer.json, model.safetensors",
            where=str(path),
            next_step="the checkpoint is damaged or of another architecture: fetch or save it again",
        ) from error


def write_checkpoint(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    weights: dict[str, Any] | None = None,
) -> None:
    """Write model and tokenizer files into an existing folder; ``weights`` where the model holds but parts of them."""
    with _quiet():
        model.save_pretrained(folder, state_dict=weights or whole_state(model))
        tokenizer.save_pretrained(folder)


def save_checkpoint(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Path:
    """Save a model and its tokenizer as one folder, atomically.

    Raises:
        SaveError: disk full; what stood in ``folder`` before is untouched.
    """
    with atomic_folder(folder) as temporary:
        write_checkpoint(temporary, model, tokenizer)
    return folder


def fingerprint(model: PreTrainedModel, *, head: bool = False) -> str:
    """A name for the weights of a network: a hash over its class and a part of every tensor.

    Args:
        model: the network.
        head: whether its head (and pooler) count; without, an encoder has one name with any head.
    """
    digest = hashlib.sha256(model.config.model_type.encode())
    for name, tensor in sorted((model if head else model.base_model).state_dict().items()):
        if not head and ".pooler." in f".{name}":
            continue
        flat = tensor.detach().reshape(-1)
        # A stride over the whole tensor: a trimmed vocabulary or one changed layer shows, at no cost.
        part = flat[:: max(1, len(flat) // 1024)].float().cpu().numpy()
        digest.update(f"{name} {tuple(tensor.shape)}".encode() + part.tobytes())
    return digest.hexdigest()[:16]


def _read_config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"no checkpoint in {str(folder)!r}",
            expected="a folder with config.json, model.safetensors and a tokenizer, or a run folder",
            where=str(folder),
            next_step="check the path; `interlingua doctor` lists the models that can be opened by name",
        )
    with _damaged(folder / "config.json"):
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not list(folder.glob("*.safetensors")):
        pickled = sorted(p.name for p in folder.glob("*.bin"))
        raise CheckpointError(
            f"no safetensors weights in {str(folder)!r}" + (f", only pickled ones: {pickled}" if pickled else ""),
            expected="model.safetensors",
            where=str(folder),
            next_step="pickled files can run code when opened; convert them where you trust them: "
            "AutoModel.from_pretrained(...).save_pretrained(...)",
        )
    return config


def open_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint or vocabulary folder."""
    from transformers import AutoTokenizer

    folder = find_checkpoint(folder)
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(
            f"no tokenizer.json in {str(folder)!r}",
            expected="a folder written by `interlingua vocab train` or a checkpoint with its tokenizer",
            where=str(folder),
        )
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # `tokenizers` raises bare Exception on a damaged file
        raise CheckpointError(
            f"'tokenizer.json' cannot be opened: {error}",
            expected="a file of the `tokenizers` library",
            where=str(folder / "tokenizer.json"),
            next_step="fetch or save it again",
        ) from error
    return tokenizer


def open_checkpoint(
    path: Path,
    auto_class: Any,
    *,
    families: Iterable[str] | None = None,
    fresh: Sequence[str] = (),
    with_head: bool = False,
    **config: Any,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Open a local checkpoint as a given auto class.

    Args:
        path: a Hugging Face folder, or a run folder (its best checkpoint is taken).
        auto_class: e.g. ``transformers.AutoModelForMaskedLM``.
        families: model types that will do; any if None.
        fresh: parts of names of weights that the file may lack, besides a head.
        with_head: the file may not lack a head either.
        config: config fields to set, e.g. ``num_labels=7``.

    Raises:
        CheckpointError: nothing there, pickled weights, another architecture, a vocabulary that does not fit, or
            weights of the network missing from the file.
    """
    folder = find_checkpoint(path)
    saved = _read_config(folder)
    family = saved.get("model_type")
    if families is not None and family not in set(families):
        raise CheckpointError(
            f"a checkpoint of architecture {family!r}",
            expected=f"one of {sorted(families)}",
            where=str(folder / "config.json"),
            next_step="open it with the verb for its own class, or choose another checkpoint",
        )
    tokenizer = open_tokenizer(folder)
    if len(tokenizer) > saved.get("vocab_size", len(tokenizer)):
        raise CheckpointError(
            f"a vocabulary of {len(tokenizer)} entries for a model of {saved['vocab_size']}",
            expected="a tokenizer no larger than the model's embedding table",
            where=str(folder),
            next_step="use the tokenizer that the model was trained with",
        )
    with _damaged(folder), _quiet():
        model, report = auto_class.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **config)
    body = "" if model.base_model is model else f"{model.base_model_prefix}."
    if with_head and (absent := sorted(k for k in report["missing_keys"] if not k.startswith(body or "\0"))):
        raise CheckpointError(
            f"{len(absent)} weights of the head of a {type(model).__name__} are not in the file, first {absent[0]!r}",
            expected="a checkpoint that was saved with this head",
            where=str(folder),
            next_step="take a model that has one, such as xlm-r, mbert, mmbert or a run of `interlingua pretrain`",
        )
    lacking = (*HEADS, *fresh)
    missing = [k for k in report["missing_keys"] if k.startswith(body) and not any(part in k for part in lacking)]
    if missing:
        raise CheckpointError(
            f"{len(missing)} weights of the network are not in the file, first {sorted(missing)[0]!r}",
            expected=f"all weights of a {type(model).__name__} except its head",
            where=str(folder),
            next_step="the checkpoint is of another architecture or damaged",
        )
    constrain(model, only_if_kept=True)
    return model.eval(), tokenizer
