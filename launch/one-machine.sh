#!/usr/bin/env bash
# Raw text to a checkpoint on one machine, every core used, no GPU needed. Run it again after a crash: it goes on.
#   launch/one-machine.sh corpus.yaml pretrain.yaml runs/mine
set -euo pipefail
corpus=$1 recipe=$2 out=$3
cores=$(nproc)
interlingua corpus build "$corpus" --out "$out/corpus" --workers "$cores"
interlingua shards write "$recipe" --out "$out/shards" --workers "$cores"
interlingua pretrain "$recipe" --out "$out/run" "data.shards=$out/shards" "vocab.path=$out/shards/vocab"
