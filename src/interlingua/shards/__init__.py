"""Tokenised text on disk, and the stream of batches that is a pure function of seed and step."""

from interlingua.shards.format import Shard, ShardHeader, fingerprint
from interlingua.shards.read import ShardSet
from interlingua.shards.sampling import DrawPlan, permute
from interlingua.shards.stream import Layout, Stream
from interlingua.shards.write import WriteReport, write_shards

__all__ = [
    "DrawPlan",
    "Layout",
    "Shard",
    "ShardHeader",
    "ShardSet",
    "Stream",
    "WriteReport",
    "fingerprint",
    "permute",
    "write_shards",
]
