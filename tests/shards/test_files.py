"""shards/files.py: shards on object storage against the same ones on this disk, and a hundred gigabytes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interlingua.errors import ShardError
from interlingua.shards.files import Files, is_remote, joined
from interlingua.shards.format import Shard
from interlingua.shards.read import ShardSet, has_shards
from interlingua.shards.sampling import DrawPlan
from interlingua.shards.stream import Stream

HERE = Path(__file__).parent


@pytest.fixture
def bucket(shard_folder, tmp_path, monkeypatch):
    """The shards in fsspec's memory, and an empty cache."""
    monkeypatch.setenv("INTERLINGUA_CACHE", str(tmp_path / "cache"))
    storage = fsspec.filesystem("memory")
    storage.put(str(shard_folder), "/bucket/shards", recursive=True)
    yield "memory://bucket/shards"
    storage.rm("/bucket", recursive=True)


def stream(folder, tokenizer, **more):
    return Stream(ShardSet(folder), tokenizer, seed=2, batch_tokens=600, row_length=128, **more)


def test_addresses():
    """What is an address, and what lies below it."""
    assert is_remote("s3://bucket/shards")
    assert not is_remote("shards/train")
    assert not is_remote(Path("s3:/bucket"))
    assert joined("s3://bucket/shards/", "train") == "s3://bucket/shards/train"
    assert joined("shards", "train") == Path("shards/train")


def test_batches_are_those_of_a_local_folder(bucket, shard_folder, hf_tokenizer):
    """Ten batches from storage equal those from disk."""
    here, there = (stream(joined(at, "train"), hf_tokenizer) for at in (shard_folder, bucket))
    for t in range(10):
        a, b = here.batch(t), there.batch(t)
        assert torch.equal(a.tokens_BL, b.tokens_BL)
        assert torch.equal(a.languages_BL, b.languages_BL)
    assert has_shards(joined(bucket, "train"))
    assert not has_shards(joined(bucket, "nowhere"))


def test_copies_stay_within_their_room(tmp_path):
    """Twenty files of 1,000 bytes through a cache of 5,500: five copies at most, the newest among them; all correct."""
    storage = fsspec.filesystem("memory")
    for i in range(20):
        storage.pipe(f"/many/{i}.shard", bytes([i]) * 1000)
    files = Files("memory://many", copies=tmp_path / "cache", room=5500)
    chance = np.random.default_rng(0)
    for i in chance.integers(0, 20, 100).tolist():
        path = files.path(f"{i}.shard")
        assert path.read_bytes() == bytes([i]) * 1000
        kept = list((tmp_path / "cache").glob("*/*.shard"))
        assert sum(file.stat().st_size for file in kept) <= 5500
        assert path in kept
    assert len(kept) == 5
    storage.rm("/many", recursive=True)


def test_storage_without_the_file(bucket):
    """A file that is gone: ShardError with its address, and nothing half fetched."""
    fsspec.filesystem("memory").rm("/bucket/shards/train/000000.shard")
    shards = ShardSet(f"{bucket}/train")
    with pytest.raises(ShardError, match=r"memory://bucket/shards/train/000000\.shard"):
        shards.shard(0)


def test_a_damaged_copy_is_not_kept(bucket, tmp_path):
    """A bit that flipped on the way: ShardError, and the next run fetches the file again."""
    storage = fsspec.filesystem("memory")
    good = storage.cat("/bucket/shards/train/000000.shard")
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 1
    storage.pipe("/bucket/shards/train/000000.shard", bytes(bad))
    shards = ShardSet(f"{bucket}/train")
    with pytest.raises(ShardError, match="altered"):
        shards.shard(0)
    storage.pipe("/bucket/shards/train/000000.shard", good)
    assert shards.shard(0).header.units > 0


def test_a_missing_file_is_told_at_once(shard_folder, tmp_path):
    """A local folder that lacks a shard of its manifest, found before anything is read."""
    import shutil

    shutil.copytree(shard_folder / "train", tmp_path / "train")
    (tmp_path / "train" / "000000.shard").unlink()
    with pytest.raises(ShardError, match=r"000000\.shard"):
        ShardSet(tmp_path / "train", verify=False)


@given(
    size=st.integers(1, 500), window=st.integers(0, 600), seed=st.integers(0, 5), start=st.integers(0, 700)
)  # fmt: skip
def test_windows_are_permutations(size, window, seed, start):
    """An epoch draws every unit once, and the draws of a window come from one window of the units."""
    plan = DrawPlan({"en": size}, {"en": 1.0}, seed, window=window)
    _, units = plan.draw(0, 2 * size)
    for epoch in (units[:size], units[size:]):
        assert sorted(epoch.tolist()) == list(range(size))
        if 0 < window < size:
            for begin in range(0, size, window):
                assert len({unit // window for unit in epoch[begin : begin + window].tolist()}) == 1
    # Batch t does not depend on what was drawn before it.
    stop = min(2 * size, start + 50)
    if start < stop:
        assert (plan.draw(start, stop)[1] == units[start:stop]).all()


def test_a_token_that_cannot_be(shard_folder, tmp_path, hf_tokenizer):
    """Bytes that change after a file was opened: an error that names unit and file, no crash in the network."""
    import shutil

    shutil.copytree(shard_folder / "train", tmp_path / "train")
    source = stream(tmp_path / "train", hf_tokenizer)
    for path in (tmp_path / "train").glob("*.shard"):
        header = Shard(path).header
        with path.open("r+b") as file:
            file.seek(header.offsets()[0]["tokens"])
            file.write(b"\xff" * header.tokens * header.token_bytes)
    with pytest.raises(ShardError, match=r"token 65535 in unit \d+ of '\d+\.shard'"):
        source.batch(0)


def test_a_hundred_gigabytes(tmp_path):
    """A sparse set of 100 GB on disk: opened and read from, the process grows by less than 200 MB."""
    done = subprocess.run(
        [sys.executable, str(HERE / "sparse.py"), str(tmp_path), "5000", "20"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["bytes"] > 100e9
    assert found["batches"] == 20
    assert found["grown_mb"] < 200


def test_shards_written_anew_are_fetched_anew(bucket, shard_folder, tmp_path):
    """Another manifest at the same address: its own copies, not those of the files before."""
    first = ShardSet(f"{bucket}/train").shard(0).path
    storage = fsspec.filesystem("memory")
    manifest = json.loads(storage.cat("/bucket/shards/train/manifest.json"))
    storage.pipe("/bucket/shards/train/manifest.json", json.dumps(manifest | {"unit_tokens": 1}).encode())
    second = ShardSet(f"{bucket}/train").shard(0).path
    assert first.name == second.name
    assert first != second
